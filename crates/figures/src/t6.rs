//! T6: data sets diagnosed, prediction against measurement.

use isorate_results::Run;

use crate::Error;
use crate::d1::{Set, data_sets};
use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table, full, significant};

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new("t6", "d1", runs)?;
    let run = selection.single()?;
    let columns = vec![
        Column::new("data", Align::Left),
        Column::new("imbalance", Align::Right),
        Column::new("Condition 1 residual", Align::Right),
        Column::new("eigenvector residual", Align::Right),
        Column::new("verdict", Align::Left),
        Column::new("over", Align::Left),
        Column::new("t*", Align::Right),
        pair("peak"),
        pair("peak time"),
        pair("end"),
        Column::new("error up to t*", Align::Right),
        Column::new("error in the window", Align::Right),
    ];
    let mut rows = Vec::new();
    for name in data_sets(&selection, run)? {
        let set = Set { selection: &selection, run, name };
        let number = |metric: &str| set.number("train", metric);
        for rule in ["gd", "ngd"] {
            let of = |what: &str| number(&format!("{rule}_minority_{what}"));
            let both = |what: &str| [of(&format!("predicted_{what}")), of(&format!("measured_{what}"))];
            rows.push(vec![
                Cell::text(name),
                Cell::number(number("imbalance")),
                Cell::number(number("condition1-residual")),
                Cell::number(number("eigenvector-residual")),
                Cell::text(set.note("verdict")?),
                Cell::text(crate::style::rule(rule).name),
                Cell::number(number("first_saturation")),
                cell(both("peak"), "none"),
                cell(both("peak_time"), "–"),
                cell(both("end"), "after"),
                percent(of("early_error")),
                percent(of("window_error")),
            ]);
        }
    }
    let caption = format!(
        "The lead of SpecGD in the loss of the rarest classes, predicted / measured on the training rows with a linear model; end: a twentieth of \
         the largest lead is left; `after`: more is left at the last time, three times the last predicted saturation. Errors are relative to the largest measured lead. {} scale.",
        selection.scale()
    );
    Ok(Table { caption, columns, rows, headings: Vec::new() })
}

fn pair(title: &str) -> Column {
    Column {
        title: title.to_owned(),
        align: Align::Right,
        fields: vec![format!("{title}: predicted"), format!("{title}: measured")],
    }
}

fn cell(values: [Option<f64>; 2], missing: &str) -> Cell {
    let shown = values.map(|value| value.map_or_else(|| missing.to_owned(), significant)).join(" / ");
    Cell { shown, fields: values.map(|value| value.map_or_else(String::new, full)).into() }
}

fn percent(value: Option<f64>) -> Cell {
    Cell {
        shown: value.map_or_else(|| "–".to_owned(), |value| format!("{:.1}%", 100.0 * value)),
        fields: vec![value.map_or_else(String::new, full)],
    }
}
