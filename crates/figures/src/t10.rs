//! T10: the step sizes that every training experiment was run at, and the grids that they were chosen from.

use isorate_results::Run;

use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table, full};
use crate::training::{Choice, Rule, case_name};
use crate::{Error, style};

/// The experiments that train networks.
pub(crate) const EXPERIMENTS: [&str; 8] = ["f1", "f3", "f6-networks", "f7", "f8", "f9", "b7", "b8"];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let fields = ["experiment", "case", "optimizer"].map(String::from).into();
    let mut columns = vec![Column { title: "optimizer".into(), align: Align::Left, fields }];
    for title in ["by average", "by worst"] {
        columns.push(Column::new(title, Align::Right));
    }
    columns.push(Column::new("grid", Align::Left));
    columns.push(Column::new("at an edge", Align::Left));
    let (mut rows, mut headings) = (Vec::new(), Vec::new());
    let mut scale = "";
    for experiment in EXPERIMENTS {
        let selection = Selection::new("t10", experiment, runs)?;
        if !scale.is_empty() && scale != selection.scale() {
            return Err(selection.mixed(format!("they are of the scale `{}`, others of `{scale}`", selection.scale())));
        }
        scale = selection.scale();
        let cases = selection.cases(Choice::Average)?;
        let worst = selection.worst(&cases)?;
        for case in &cases {
            let name = case_name(case.name);
            let heading = if name.is_empty() { String::new() } else { format!(": {name}") };
            headings.push((rows.len(), format!("{}{heading}", experiment.to_uppercase())));
            for rule in &case.rules {
                let other = worst.iter().find(|other| other.name == case.name).and_then(|other| other.rule(rule.key));
                let shown = style::rule(rule.key).name;
                let mut row = vec![Cell { fields: vec![experiment.into(), case.name.into(), shown.clone()], shown }];
                row.extend(steps(rule, other));
                rows.push(row);
            }
        }
    }
    Ok(Table {
        caption: format!(
            "Step sizes chosen on validation data by the average score and by that of the worst group or class (for text: mean loss, and \
             loss on the rarest tokens), on tuning seeds that no figure shows; a choice at an edge of its grid means that a larger or \
             smaller step size was not tried; {scale} scale."
        ),
        columns,
        rows,
        headings,
    })
}

/// Both choices, the grid, and whether a choice is at an edge of it.
fn steps(average: &Rule<'_>, worst: Option<&Rule<'_>>) -> [Cell; 4] {
    let cell = |step: Option<f64>| match step {
        Some(step) => Cell { shown: step.to_string(), fields: vec![full(step)] },
        None => Cell::number(None),
    };
    let chosen = [average.step_size(), worst.and_then(Rule::step_size)];
    let grid = average.grid();
    let edge = |step: f64| {
        grid.len() > 1 && [grid.first(), grid.last()].into_iter().flatten().any(|end| end.to_bits() == step.to_bits())
    };
    let edges = chosen.into_iter().flatten().any(edge);
    let listed: Vec<String> = grid.iter().map(ToString::to_string).collect();
    let listed = if listed.is_empty() { "–".to_owned() } else { listed.join(", ") };
    [cell(chosen[0]), cell(chosen[1]), Cell::text(listed), Cell::text(if edges { "yes" } else { "no" })]
}
