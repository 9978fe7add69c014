//! T5: the sharp constants of Theorems 1 and 2.

use isorate_results::Run;

use crate::Error;
use crate::b5::{GAPS, overall};
use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table, full};

const NAMES: [&str; 4] = ["gf-minority", "gf-balanced", "ngf-minority", "ngf-balanced"];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new("t5", "b5", runs)?;
    let run = selection.single()?;
    let mut rows = Vec::new();
    for ((rule, metric, title), name) in GAPS.into_iter().zip(NAMES) {
        let value = |split| overall(&selection, run, (rule, metric), split);
        let (reported, infimum, found) = (value("reported")?, value("infimum")?, value("search")?);
        let note = |what: &str| {
            let key = format!("{name}.{what}");
            run.notes.get(&key).map(String::as_str).ok_or_else(|| selection.missing(format!("note `{key}`")))
        };
        rows.push(vec![
            Cell::text(title),
            Cell {
                shown: format!("{reported} ({})", if name == "ngf-balanced" { "expected" } else { "reported" }),
                fields: vec![full(reported)],
            },
            Cell::number(Some(infimum)),
            Cell::text(note("formula")?),
            Cell::text("proved, not attained"),
            Cell::text(if infimum >= reported { "yes" } else { "no" }),
            Cell::text(note("approached")?),
            Cell::number(Some(found)),
            Cell::text(note("found")?),
        ]);
    }
    Ok(Table {
        caption: format!(
            "The infimum of gap/(μt) under the conditions of Theorems 1 and 2; {} scale of the search. For the balanced loss of NGD public sources give no \
             constant; expected is 1/2, that of the other balanced gap.",
            selection.scale()
        ),
        columns: vec![
            Column::new("gap to SpecGD", Align::Wrapped),
            Column::new("constant", Align::Left),
            Column::new("infimum", Align::Right),
            Column::new("closed form", Align::Left),
            Column::new("status", Align::Wrapped),
            Column::new("holds", Align::Left),
            Column::new("approached for", Align::Wrapped),
            Column::new("found by search", Align::Right),
            Column::new("found at", Align::Wrapped),
        ],
        rows,
        headings: Vec::new(),
    })
}
