//! B6: where the bounds of Theorems 1 and 2 hold, and until when `SpecGD` is ahead.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series};
use crate::select::Selection;
use crate::style;

/// Rule, metric and title of each boundary.
const BOUNDARIES: [(&str, &str, &str); 3] = [
    ("gd", "balanced_boundary", "GD, balanced loss: gap ≥ μt/2 below the line"),
    ("ngd", "minority_boundary", "NGD, minority loss: gap ≥ μt/2 below the line"),
    ("ngd", "balanced_boundary", "NGD, balanced loss: gap ≥ μt/2 below the line"),
];

/// The finite values of one metric over SNR, for one k.
fn over_snr(run: &Run, (rule, metric): (&str, &str), group: &str) -> Vec<Pair> {
    let values = |rule: &str, metric: &str| -> Vec<(u64, f64)> {
        run.records
            .iter()
            .filter(|record| {
                record.optimizer == rule && record.metric == metric && record.group == group && record.value.is_finite()
            })
            .map(|record| (record.step, record.value))
            .collect()
    };
    let snr = values("mixture", "snr");
    let mut points: Vec<Pair> = values(rule, metric)
        .into_iter()
        .filter_map(|(step, value)| Some((snr.iter().find(|(other, _)| *other == step)?.1, value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("b6", "b6", runs)?;
    let run = selection.single()?;
    let mut classes: Vec<usize> = run.records.iter().filter_map(|record| record.group.parse().ok()).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() {
        return Err(selection.missing("record with a number of classes as its group"));
    }
    let mut panels = Vec::new();
    for (index, (rule, metric, title)) in BOUNDARIES.into_iter().enumerate() {
        let (mut lines, mut bounds, mut labels) = (vec![], vec![], vec![]);
        for (rank, k) in classes.iter().enumerate() {
            let group = k.to_string();
            let colour = style::component(rank, classes.len());
            let points = over_snr(run, (rule, metric), &group);
            let Some(&end) = points.last() else {
                return Err(selection.missing(format!("record with optimizer `{rule}`, metric `{metric}`, group `{group}`")));
            };
            labels.push(Label { text: format!("k = {k}"), end, colour });
            lines.push(Series::Line { points, colour, width: style::LINE_WIDTH });
            bounds.push(Series::Dashed { points: over_snr(run, ("mixture", "prior_bound"), &group), colour });
        }
        panels.push(panel(title, "smallest prior p_{m}", index % 2 == 1, bounds, lines, labels));
    }
    let (mut lines, mut labels) = (vec![], vec![]);
    for (rank, k) in classes.iter().enumerate() {
        let points = over_snr(run, ("ngd", "minority_lead"), &k.to_string());
        let colour = style::component(rank, classes.len());
        if let Some(&end) = points.last() {
            labels.push(Label { text: format!("k = {k}"), end, colour });
            lines.push(Series::Line { points, colour, width: style::LINE_WIDTH });
        }
    }
    panels.push(panel("NGD, minority loss: SpecGD ahead below the line", "time t/t*", false, vec![], lines, labels));
    let keys = vec![
        Key { sample: Sample::Line(style::INK), text: "boundary for one minority class, other priors equal".into() },
        Key { sample: Sample::Dashed(style::INK), text: "the theorems' condition p_{m} = 1/(5 SNR + 6k)".into() },
    ];
    Ok(Figure {
        id: "b6",
        title: "Where the bounds of Theorems 1 and 2 hold without their condition on the smallest prior".into(),
        columns: 2,
        panels,
        keys,
        caption: String::new() + selection.scale(),
    })
}

fn panel(title: &str, y: &str, shares_y: bool, bounds: Vec<Series>, lines: Vec<Series>, labels: Vec<Label>) -> Panel {
    let series: Vec<Series> = bounds.into_iter().chain(lines).collect();
    let points = || {
        series.iter().flat_map(|series| match series {
            Series::Line { points, .. } | Series::Dashed { points, .. } => points.as_slice(),
            _ => &[],
        })
    };
    let range = |of: fn(&Pair) -> f64| {
        points().map(of).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
    };
    let axis = |label: &str, (low, high): (f64, f64)| {
        if low > 0.0 && high.is_finite() { Axis::log(label, low, high) } else { Axis::log(label, 0.1, 10.0) }
    };
    Panel {
        title: title.to_owned(),
        x: axis("SNR = μ²/σ²", range(|point| point.0)),
        y: axis(y, range(|point| point.1)),
        shares_y,
        series,
        labels,
    }
}
