//! T4: the best stopping point of each rule under cross-entropy.

use isorate_results::Run;

use crate::Error;
use crate::select::Selection;
use crate::stopping::{CONTENDERS, SCORES, Stop, data, lead, stops};
use crate::table::{Align, Cell, Column, Table, full, significant};
use crate::training::Spread;

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new("t4", "f4", runs)?;
    let run = selection.single()?;
    let mut columns =
        vec![Column { title: "rule".into(), align: Align::Left, fields: vec!["training data".into(), "rule".into()] }];
    columns.push(Column::new("step size", Align::Right));
    columns.push(Column {
        title: "range over step sizes (%)".into(),
        align: Align::Right,
        fields: vec!["balanced validation accuracy: lowest of the step sizes".into(), "highest of the step sizes".into()],
    });
    for (score, _) in SCORES {
        let two = |title: &str| Column {
            title: format!("{score}: {title}"),
            align: Align::Right,
            fields: vec![format!("{score}: {title}, mean"), format!("{score}: {title}, standard deviation")],
        };
        columns.extend([two("stop at t"), two("test (%)"), two("oracle (%)"), two("SpecGD's lead (%)")]);
    }
    let (mut rows, mut headings) = (Vec::new(), Vec::new());
    for (name, about) in data(&selection, run)? {
        headings.push((rows.len(), if name == "population" { "Population".into() } else { about }));
        for contender in CONTENDERS {
            let group = contender.group(&name);
            let step_size = run
                .records
                .iter()
                .find(|record| record.optimizer == contender.rule && record.metric == "step_size" && record.group == group);
            let Some(step_size) = step_size else { continue };
            let label = contender.name();
            let mut row = vec![
                Cell { shown: label.clone(), fields: vec![name.clone(), label] },
                Cell::number(Some(step_size.value)),
                sensitivity(run, contender.rule, &group),
            ];
            for (score, _) in SCORES {
                let metric = format!("best_{score}");
                let ours = stops(run, contender, &name, &metric);
                if ours.is_empty() {
                    return Err(selection.missing(format!("record with metric `{metric}`, group `{group}.seed-…`")));
                }
                let oracle = stops(run, contender, &name, &format!("{metric}_oracle"));
                let of = |stops: &[Stop], value: fn(&Stop) -> f64| Spread::of(&stops.iter().map(value).collect::<Vec<_>>());
                row.push(cell(of(&ours, |stop| stop.time), significant));
                row.push(cell(of(&ours, |stop| 100.0 * stop.score), tenth));
                row.push(cell(of(&oracle, |stop| 100.0 * stop.score), tenth));
                let lead = lead(&stops(run, CONTENDERS[0], &name, &metric), &ours);
                row.push(match lead.filter(|_| contender != CONTENDERS[0]) {
                    Some(Spread { mean, deviation, seeds }) => {
                        cell(Some(Spread { mean: 100.0 * mean, deviation: deviation.map(|by| 100.0 * by), seeds }), tenth)
                    }
                    None => cell(None, tenth),
                });
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(selection.missing("record with metric `step_size`"));
    }
    let seeds = run.header.spec.get("seeds").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    let caption = format!(
        "Best stopping points under cross-entropy, mean ± standard deviation over {seeds} seeds: the time t = η·step that a validation \
         set chooses, the test accuracy there, the best test accuracy of the whole path (oracle), and the lead of SpecGD's stopping \
         point, paired by seed. Times are in units of each rule's own norm. Step sizes from a grid (the horizon in {} steps), chosen \
         with other seeds; their range is that of the best class-balanced validation accuracy there; {} scale.",
        step_counts(run),
        selection.scale()
    );
    Ok(Table { caption, columns, rows, headings })
}

/// Lowest and highest best balanced validation score over the grid of step sizes.
fn sensitivity(run: &Run, rule: &str, group: &str) -> Cell {
    let scores = || run.series("validation", "tuning_balanced", group).filter(|record| record.optimizer == rule).map(|r| r.value);
    let (low, high) = (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
    if !(low.is_finite() && high.is_finite()) {
        return Cell { shown: "–".into(), fields: vec![String::new(), String::new()] };
    }
    let (low, high) = (100.0 * low, 100.0 * high);
    Cell { shown: format!("{} to {}", tenth(low), tenth(high)), fields: vec![full(low), full(high)] }
}

fn step_counts(run: &Run) -> String {
    let counts = run.header.spec.get("step_counts").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
    counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn tenth(value: f64) -> String {
    format!("{value:.1}")
}

fn cell(spread: Option<Spread>, show: fn(f64) -> String) -> Cell {
    let Some(Spread { mean, deviation, .. }) = spread else {
        return Cell { shown: "–".into(), fields: vec![String::new(), String::new()] };
    };
    // Equal values have a deviation of the size of rounding.
    let deviation = deviation.map(|by| if by <= 1e-12 * mean.abs() { 0.0 } else { by });
    let shown = match deviation {
        Some(deviation) => format!("{} ± {}", show(mean), show(deviation)),
        None => show(mean),
    };
    Cell { shown, fields: vec![full(mean), deviation.map_or_else(String::new, full)] }
}
