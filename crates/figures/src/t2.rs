//! T2: test accuracy by group early, halfway and at the end of training.

use isorate_results::Run;

use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table, full};
use crate::training::{self, Spread, count_epochs};
use crate::{Error, style};

const GROUPS: [&str; 2] = ["minority", "majority"];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new("t2", "f1", runs)?;
    let rules = selection.rules()?;
    let epochs = training::epochs(&rules, "minority");
    let points = points(&epochs);
    if points.is_empty() {
        return Err(selection.missing("record with split `test`, metric `accuracy`, group `minority` after the first step"));
    }
    let mut columns = vec![Column::new("optimizer", Align::Left), Column::new("seeds", Align::Left)];
    for group in GROUPS {
        for &epoch in &points {
            let title = format!("{group}, {}", count_epochs(epoch));
            let fields =
                vec![format!("{title}: mean (%)"), format!("{title}: standard deviation (%)"), format!("{title}: seeds")];
            columns.push(Column { title, align: Align::Right, fields });
        }
    }
    let mut rows = Vec::new();
    for rule in &rules {
        let diverged = rule.diverged().count();
        let seeds = match diverged {
            0 => rule.runs.len().to_string(),
            _ => format!("{} ({diverged} diverged)", rule.runs.len()),
        };
        let mut row = vec![Cell::text(style::rule(rule.key).name), Cell::text(seeds)];
        for group in GROUPS {
            row.extend(points.iter().map(|&epoch| percent(rule.at(group, epoch))));
        }
        rows.push(row);
    }
    let mut caption = format!(
        "Test accuracy in percent, mean ± standard deviation over seeds. {}; {} scale.",
        training::describe(rules[0].runs[0]),
        selection.scale()
    );
    if let Some(diverged) = training::say_diverged(&rules) {
        caption.push_str(&format!(" {diverged}; means are over the seeds measured at that epoch."));
    }
    Ok(Table { caption, columns, rows, headings: Vec::new() })
}

/// Early (the first epoch, or a quarter of the training if that is earlier), halfway and at the end, as far as measured.
fn points(epochs: &[f64]) -> Vec<f64> {
    let Some(&end) = epochs.last() else { return Vec::new() };
    let trained: Vec<f64> = epochs.iter().copied().filter(|&epoch| epoch > 0.0).collect();
    let mut points: Vec<f64> =
        [(end / 4.0).min(1.0), end / 2.0, end].into_iter().filter_map(|wanted| training::nearest(&trained, wanted)).collect();
    points.dedup();
    points
}

fn percent(spread: Option<Spread>) -> Cell {
    let Some(Spread { mean, deviation, seeds }) = spread else {
        return Cell { shown: "–".into(), fields: vec![String::new(), String::new(), "0".into()] };
    };
    let deviation = deviation.map(|deviation| 100.0 * deviation);
    let shown = match deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}", 100.0 * mean),
        None => format!("{:.1}", 100.0 * mean),
    };
    let fields = vec![full(100.0 * mean), deviation.map_or_else(String::new, full), seeds.to_string()];
    Cell { shown, fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_come_from_what_was_measured() {
        let epochs: Vec<f64> = (0..=24).map(|i| f64::from(i) / 2.0).collect();
        assert_eq!(points(&epochs), [1.0, 6.0, 12.0]);
        assert_eq!(points(&[0.0, 0.3, 0.6, 1.0]), [0.3, 0.6, 1.0]);
        assert_eq!(points(&[0.0, 2.0]), [2.0]);
        assert!(points(&[0.0]).is_empty());
        assert!(points(&[]).is_empty());
    }
}
