//! B2: how far Muon passes the limits of a frequent and of a rare class, over its momentum.

use isorate_results::{Record, Run};

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::f2::{mixture, priors};
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series};
use crate::select::{Of, Selection, over_time};
use crate::style::{self, Mark};

const CLASSES: [(&str, &str); 2] = [("minority", "Rare class"), ("majority", "Frequent class")];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("b2", "b2", runs)?;
    let run = selection.single()?;
    let of_mixture = |metric: &str, group: &str| {
        let found = run.records.iter().find(|record| {
            record.optimizer == "mixture" && record.metric == metric && record.group == group && record.value.is_finite()
        });
        found
            .map(|record| record.value)
            .ok_or_else(|| selection.missing(format!("record with optimizer `mixture`, metric `{metric}`, group `{group}`")))
    };
    let mut momenta: Vec<(f64, String)> = run
        .records
        .iter()
        .filter(|record| record.metric == "share")
        .filter_map(|record| Some((record.optimizer.strip_prefix("muon-")?.parse().ok()?, record.optimizer.clone())))
        .collect();
    momenta.sort_by(|a, b| a.0.total_cmp(&b.0));
    momenta.dedup();
    let mut panels = Vec::new();
    for (index, (group, name)) in CLASSES.into_iter().enumerate() {
        let title = format!("{name}, p_{{c}} = {}", of_mixture("prior", group)?);
        panels.push(path(&selection, run, (group, title), &momenta, index > 0)?);
    }
    // One range for both classes.
    let heights = || panels.iter().flat_map(|panel| &panel.series).flat_map(Series::heights);
    let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(f64::NEG_INFINITY, f64::max));
    let y = Axis::linear_with_room("share of the limit α_{c}/a_{c}*", low, high, 6);
    for panel in &mut panels {
        panel.y = y.clone();
    }
    panels.push(memory(&selection, run)?);

    let mut keys: Vec<Key> = momenta
        .iter()
        .enumerate()
        .map(|(rank, (momentum, _))| {
            let colour = style::component(rank, momenta.len());
            let text = if *momentum == 0.0 { "β = 0 (SpecGD)".to_owned() } else { format!("β = {momentum}") };
            Key { sample: Sample::Line(colour), text }
        })
        .collect();
    keys.push(Key { sample: Sample::Mark(Mark::Diamond, Fill::Full, style::INK), text: "predicted turning point".into() });
    keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "simulated turning point".into() });
    keys.push(Key { sample: Sample::Mark(Mark::Square, Fill::Outline, style::INK), text: "late, components".into() });
    keys.push(Key { sample: Sample::Mark(Mark::Cross, Fill::Outline, style::INK), text: "late, matrices".into() });
    keys.push(Key { sample: Sample::Dashed(style::INK), text: "limit; bounds".into() });
    let eta = run.header.spec.get("step_size").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    let caption = format!(
        "Muon with exact polar factors on a linear model, matrix simulation, η = {eta}: both classes pass their limits by the same number of steps, at \
         most 1/(1−β), a large share of the way for the rare class ({:.0} steps to its limit, {:.0} to that of the frequent one). Right: lines are \
         exact predictions of the first turning point, bent where the start is fewer than 1/(1−β) steps away, and the bound T/2 ≈ √(1.5/(1−β)) of \
         what remains, with the largest late distance over {} step sizes (components) and of U^{{⊤}}WV from the limits (matrices, for η). {}; {} scale.",
        of_mixture("limit", "minority")? / eta,
        of_mixture("limit", "majority")? / eta,
        run.header.spec.get("step_sizes").and_then(serde_json::Value::as_u64).unwrap_or(0),
        mixture(run, &priors(run)),
        selection.scale(),
    );
    Ok(Figure {
        id: "b2",
        title: "How far Muon with momentum passes the limits of the components".into(),
        columns: 3,
        panels,
        keys,
        caption,
    })
}

fn path(
    selection: &Selection<'_>,
    run: &Run,
    (group, title): (&str, String),
    momenta: &[(f64, String)],
    shares_y: bool,
) -> Result<Panel, Error> {
    let (mut lines, mut turns) = (vec![], vec![]);
    let (mut first, mut last) = (f64::INFINITY, 0.0_f64);
    for (rank, (_, key)) in momenta.iter().enumerate() {
        let colour = style::component(rank, momenta.len());
        let of = |split| Of { optimizer: key, split, metric: "share", group };
        let points = selection.over_time(run, of("simulation"))?;
        first = points.first().map_or(first, |point| first.min(point.0));
        last = points.last().map_or(last, |point| last.max(point.0));
        lines.push(Series::Line { points, colour, width: style::LINE_WIDTH });
        let points = over_time(run, of("closed-form"));
        turns.push(Series::Marks { points, colour, mark: Mark::Diamond, radius: 1.4 * style::MARK_RADIUS, fill: Fill::Full });
    }
    if momenta.is_empty() {
        return Err(selection.missing("record with metric `share`"));
    }
    let limit = Series::Dashed { points: vec![(first, 1.0), (last, 1.0)], colour: style::INK };
    Ok(Panel {
        title,
        x: Axis::linear("time t = η · step", first, last, 4),
        // The range is the same for both classes and is set by the caller.
        y: Axis::linear("", 0.0, 1.0, 5),
        shares_y,
        series: std::iter::once(limit).chain(lines).chain(turns).collect(),
        labels: Vec::new(),
    })
}

/// The values of a metric over τ of `memory-τ`.
fn over_memory(run: &Run, is: impl Fn(&Record) -> bool) -> Vec<Pair> {
    let mut points: Vec<Pair> = run
        .records
        .iter()
        .filter(|record| is(record) && record.value.is_finite() && record.value > 0.0)
        .filter_map(|record| Some((record.optimizer.strip_prefix("memory-")?.parse().ok()?, record.value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn memory(selection: &Selection<'_>, run: &Run) -> Result<Panel, Error> {
    let (mut lines, mut marks, mut labels) = (vec![], vec![], vec![]);
    let mut longest = 1.0_f64;
    for (rank, (group, _)) in CLASSES.into_iter().enumerate() {
        let colour = style::component(CLASSES.len() - 1 - rank, CLASSES.len());
        let is = |split: &'static str, metric: &'static str| {
            move |record: &Record| record.split == split && record.metric == metric && record.group == group
        };
        let theory = over_memory(run, is("closed-form", "overshoot"));
        let Some(&end) = theory.last() else {
            return Err(selection.missing(format!("record with metric `overshoot`, group `{group}`")));
        };
        longest = longest.max(end.0);
        labels.push(Label { text: if group == "minority" { "rare".into() } else { "frequent".into() }, end, colour });
        lines.push(Series::Line { points: theory, colour, width: 0.7 * style::LINE_WIDTH });
        let points = over_memory(run, is("simulation", "overshoot"));
        marks.push(Series::Marks { points, colour, mark: Mark::Circle, radius: style::MARK_RADIUS, fill: Fill::Outline });
    }
    let late = over_memory(run, |record| record.split == "closed-form" && record.metric == "amplitude");
    for (split, mark) in [("recursion", Mark::Square), ("simulation", Mark::Cross)] {
        let points = over_memory(run, |record| record.split == split && record.metric == "amplitude");
        marks.push(Series::Marks { points, colour: style::INK, mark, radius: style::MARK_RADIUS, fill: Fill::Outline });
    }
    let bound = vec![(1.0, 1.0), (longest, longest)];
    for (text, points) in [("1/(1−β)", &bound), ("T/2", &late)] {
        if let Some(&end) = points.last() {
            labels.push(Label { text: text.into(), end, colour: style::INK });
        }
    }
    let mut series: Vec<Series> = [bound, late].map(|points| Series::Dashed { points, colour: style::INK }).into();
    series.extend(lines.into_iter().chain(marks));
    let heights = || series.iter().flat_map(Series::heights);
    let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(1.0, f64::max));
    Ok(Panel {
        title: "|α_{c} − a_{c}*|/η".into(),
        x: Axis::log("1/(1−β)", 1.0, longest),
        y: Axis::log("steps beyond the limit", low, high),
        shares_y: false,
        series,
        labels,
    })
}
