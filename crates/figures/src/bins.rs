//! Measures of text by the frequency of the token that is to be predicted.

use std::collections::BTreeSet;

use crate::Error;
use crate::axis::Axis;
use crate::curves::{Height, Stroke, fitted, layers};
use crate::figure::Panel;
use crate::select::Selection;
use crate::training::{Case, Measure, Spread, epochs, value_at};

/// The name of a bin of token types; bin 0 has the most frequent ones.
pub(crate) fn group(bin: usize) -> String {
    format!("bin-{bin}")
}

/// The bins that were measured, in order; a token type that takes more than the share of a bin leaves others empty.
pub(crate) fn measured(selection: &Selection<'_>, case: &Case<'_>) -> Result<Vec<usize>, Error> {
    let records = case.rules.iter().flat_map(|rule| &rule.runs).flat_map(|run| &run.records);
    let bins: BTreeSet<usize> = records
        .filter(|record| record.split == "test" && record.value.is_finite())
        .filter_map(|record| record.group.strip_prefix("bin-")?.parse().ok())
        .collect();
    if bins.is_empty() { Err(selection.missing(Measure::new("test", "loss", "bin-…"))) } else { Ok(bins.into_iter().collect()) }
}

/// One metric at the end of training over the bins, a line for each rule.
pub(crate) fn panel(
    selection: &Selection<'_>,
    case: &Case<'_>,
    title: &str,
    metric: &str,
    height: Height<'_>,
) -> Result<Panel, Error> {
    let bins = measured(selection, case)?;
    let last = bins.last().map_or(1, |bin| bin + 1);
    let factor = if matches!(height, Height::Percent(_)) { 100.0 } else { 1.0 };
    let mut strokes = Vec::new();
    for rule in case.rules.iter().rev() {
        let mut points = Vec::new();
        for &bin in &bins {
            let name = group(bin);
            let of = Measure::new("test", metric, &name);
            // A run that stopped has no end of training.
            let end = epochs(&case.rules, of).last().copied();
            let values: Vec<f64> = rule.runs.iter().filter_map(|run| value_at(run, of, end?)).collect();
            match Spread::of(&values) {
                Some(spread) => points.push(((bin + 1) as f64, spread.times(factor))),
                None if rule.stopped().count() == rule.runs.len() => {}
                None => return Err(selection.missing(format!("{of}, optimizer `{}`, at the end of training", rule.key))),
            }
        }
        if !points.is_empty() {
            strokes.push(Stroke { key: rule.key, points, ends: Vec::new() });
        }
    }
    if strokes.is_empty() {
        return Err(selection.missing(format!("run that finished, with metric `{metric}` by token frequency")));
    }
    let series = layers(&strokes, (if factor > 1.0 { 0.0 } else { f64::NEG_INFINITY }, f64::INFINITY));
    let (Height::Percent(label) | Height::Fitted(label)) = height;
    Ok(Panel {
        title: title.to_owned(),
        x: Axis {
            label: format!("frequency bin ({last}: rarest)"),
            low: 0.6,
            high: last as f64 + 0.4,
            ..Axis::linear("", 1.0, last as f64, last)
        },
        y: fitted(label, &series),
        shares_y: false,
        series,
        labels: Vec::new(),
    })
}
