//! T1: the checks of the theory.

use isorate_results::Run;

use crate::Error;
use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table};

/// One check, as it was stored.
pub(crate) struct Check<'a> {
    pub(crate) id: &'a str,
    /// The group that its statement belongs to.
    heading: &'a str,
    pub(crate) statement: &'a str,
    pub(crate) quantity: &'a str,
    pub(crate) value: Option<f64>,
    pub(crate) bound: Option<f64>,
    pub(crate) margin: Option<f64>,
    pub(crate) pass: bool,
}

/// All checks of the run, in the order of their first records.
pub(crate) fn checks<'a>(selection: &Selection<'_>, run: &'a Run) -> Result<Vec<Check<'a>>, Error> {
    let mut ids: Vec<&str> = Vec::new();
    for record in run.records.iter().filter(|record| record.split == "check") {
        if !ids.contains(&record.group.as_str()) {
            ids.push(&record.group);
        }
    }
    if ids.is_empty() {
        return Err(selection.missing("record with split `check`"));
    }
    ids.into_iter()
        .map(|id| {
            let number = |metric: &str| run.series("check", metric, id).next().map(|record| record.value);
            let finite = |metric: &str| number(metric).filter(|value| !value.is_nan());
            let note = |name: &str| {
                let key = format!("{id}.{name}");
                run.notes.get(&key).map(String::as_str).ok_or_else(|| selection.missing(format!("note `{key}`")))
            };
            let pass = finite("pass")
                .ok_or_else(|| selection.missing(format!("record with split `check`, metric `pass`, group `{id}`")))?;
            Ok(Check {
                id,
                heading: note("heading")?,
                statement: note("statement")?,
                quantity: note("quantity")?,
                value: finite("value"),
                bound: finite("bound"),
                margin: finite("margin"),
                pass: pass > 0.5,
            })
        })
        .collect()
}

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new("t1", "t1", runs)?;
    let run = selection.single()?;
    let checks = checks(&selection, run)?;
    let passed = checks.iter().filter(|check| check.pass).count();
    let mut headings: Vec<(usize, String)> = Vec::new();
    for (index, check) in checks.iter().enumerate() {
        if headings.last().is_none_or(|(_, last)| last != check.heading) {
            headings.push((index, check.heading.to_owned()));
        }
    }
    let rows = checks.iter().map(|check| {
        vec![
            Cell { shown: check.id.to_owned(), fields: vec![check.heading.to_owned(), check.id.to_owned()] },
            Cell::text(check.statement),
            Cell::text(check.quantity),
            Cell::number(check.value),
            Cell::number(check.bound),
            Cell::number(check.margin),
            Cell::text(if check.pass { "yes" } else { "no" }),
        ]
    });
    Ok(Table {
        caption: format!("Checks of the theory: {passed} of {} pass; {} scale.", checks.len(), selection.scale()),
        columns: vec![
            Column { title: "id".into(), align: Align::Left, fields: vec!["group".into(), "id".into()] },
            Column::new("statement", Align::Wrapped),
            Column::new("quantity", Align::Wrapped),
            Column::new("value", Align::Right),
            Column::new("bound", Align::Right),
            Column::new("margin", Align::Right),
            Column::new("pass", Align::Left),
        ],
        rows: rows.collect(),
        headings,
    })
}
