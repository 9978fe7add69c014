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

/// The finite values above 0 (a boundary at 0 has no place on a logarithmic axis) of one metric over SNR, for one k.
fn over_snr(run: &Run, (rule, metric): (&str, &str), group: &str) -> Vec<Pair> {
    let values = |rule: &str, metric: &str| -> Vec<(u64, f64)> {
        run.records
            .iter()
            .filter(|record| {
                record.optimizer == rule
                    && record.metric == metric
                    && record.group == group
                    && record.value.is_finite()
                    && record.value > 0.0
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
    let (mut panels, mut nowhere) = (vec![], vec![]);
    for (index, (rule, metric, title)) in BOUNDARIES.into_iter().enumerate() {
        let (mut lines, mut bounds, mut labels) = (vec![], vec![], vec![]);
        for (rank, k) in classes.iter().enumerate() {
            let group = k.to_string();
            let colour = style::component(rank, classes.len());
            let points = over_snr(run, (rule, metric), &group);
            if let Some(&end) = points.last() {
                labels.push(Label { text: format!("k = {k}"), end, colour });
                lines.push(Series::Line { points, colour, width: style::LINE_WIDTH });
            } else {
                nowhere.push(format!("k = {k} in panel {}", ["a", "b", "c"][index]));
            }
            bounds.push(Series::Dashed { points: over_snr(run, ("mixture", "prior_bound"), &group), colour });
        }
        if lines.is_empty() {
            return Err(selection.missing(format!("finite record with optimizer `{rule}`, metric `{metric}`")));
        }
        panels.push(panel(title, "smallest prior p_{m}", bounds, lines, labels));
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
    let mut last = panel("NGD, minority loss: SpecGD ahead below the line", "time t/t*", vec![], lines, labels);
    let highest = last.series.iter().flat_map(Series::heights).fold(1.0, f64::max);
    last.y = Axis::linear_with_room("time t/t*", 0.0, highest, 6);
    panels.push(last);
    // 1/4 holds up to equal priors where every boundary is at 1/k.
    let everywhere = classes.iter().all(|k| {
        let points = over_snr(run, ("gd", "minority_boundary"), &k.to_string());
        !points.is_empty() && points.iter().all(|point| (point.1 * *k as f64 - 1.0).abs() < 1e-9)
    });
    let minority = if everywhere { " The bound μt/4 for the minority loss of GD holds for every p_{m} here." } else { "" };
    let nowhere = if nowhere.is_empty() {
        String::new()
    } else {
        format!(" It fails for every p_{{m}}, and has no line, for {}.", nowhere.join(", "))
    };
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
        caption: format!(
            "One minority class, the other priors equal; μ = k/3 for GD, any μ for NGD; {} scale. Boundaries: the smallest p_{{m}} at which the gap \
             falls below μt/2 somewhere on (0, t*]; a line that ends at 1/k means that the bound holds up to equal priors.{nowhere}{minority} On (0, t*] itself no gap \
             becomes negative for any p_{{m}}. Last panel: with p_{{m}} at the condition, the time at which SpecGD falls behind NGD in the minority loss; no line where it is \
             ahead at all times looked at.",
            selection.scale()
        ),
    })
}

fn panel(title: &str, y: &str, bounds: Vec<Series>, lines: Vec<Series>, labels: Vec<Label>) -> Panel {
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
        shares_y: false,
        series,
        labels,
    }
}
