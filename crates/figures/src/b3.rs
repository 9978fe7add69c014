//! B3: the response of Newton–Schulz steps, and how late a rare component is under them.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Label, Panel, Sample, Series, sparse};
use crate::select::{Of, Selection, interpolate, over_time};
use crate::style::{self, Mark};

const RULE: &str = "newton-schulz";

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("b3", "b3", runs)?;
    let run = selection.single()?;
    let steps = groups(run, "response");
    let imbalances = groups(run, "share");
    let Some((last, others)) = steps.split_last() else {
        return Err(selection.missing("record with metric `response`"));
    };
    let mut panels = vec![response(&selection, run, last, others, &imbalances)?];
    let mut simulated = false;
    panels.push(growth(&selection, run, last, &imbalances, &mut simulated)?);
    let mut keys = vec![Key { sample: Sample::Line(style::INK), text: "flow".into() }];
    if simulated {
        keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "matrix simulation".into() });
    }
    keys.push(Key { sample: Sample::Dashed(style::INK), text: "exact polar factor (SpecGD)".into() });
    keys.push(Key {
        sample: Sample::Mark(Mark::Diamond, Fill::Full, style::INK),
        text: "x of the rare class at the start".into(),
    });
    let setting = |name: &str| run.header.spec.pointer(&format!("/{name}")).and_then(serde_json::Value::as_f64);
    let scales = match (setting("mean_norm"), setting("noise_std")) {
        (Some(mean), Some(noise)) => format!("‖μ_{{c}}‖ = {mean}, σ = {noise}; "),
        _ => String::new(),
    };
    let classes = run.header.spec.pointer("/classes").and_then(serde_json::Value::as_u64).unwrap_or_default();
    let caption = format!(
        "Left: what Newton–Schulz steps with Muon's quintic make of a singular value x = σ/‖G‖_{{F}}; the diamonds are p_{{m}}/‖p‖ of \
         Gaussian mixtures with {} equal classes and one that is {} times rarer. Right: the rare class's component under Muon with \
         {last} steps, without momentum, over t/t*, t* being when SpecGD saturates it. {scales}{} scale.",
        classes.saturating_sub(1),
        imbalances.join(", "),
        selection.scale(),
    );
    Ok(Figure {
        id: "b3",
        title: "The response of Newton–Schulz steps, and a rare component under them".into(),
        columns: 2,
        panels,
        keys,
        caption,
    })
}

/// The groups of a metric, in the order of their numbers.
fn groups(run: &Run, metric: &str) -> Vec<String> {
    let mut found: Vec<String> = run.records.iter().filter(|r| r.metric == metric).map(|r| r.group.clone()).collect();
    found.sort_by(|a, b| a.parse().unwrap_or(f64::MAX).total_cmp(&b.parse().unwrap_or(f64::MAX)));
    found.dedup();
    found
}

fn response(selection: &Selection<'_>, run: &Run, last: &str, others: &[String], imbalances: &[String]) -> Result<Panel, Error> {
    let curve = |group: &str| selection.over_time(run, Of { optimizer: RULE, split: "closed-form", metric: "response", group });
    let main = curve(last)?;
    let (low, high) = (main.first().map_or(1e-5, |p| p.0), main.last().map_or(1.0, |p| p.0));
    let mut series = vec![Series::Dashed { points: vec![(low, 1.0), (high, 1.0)], colour: style::INK }];
    let mut labels = Vec::new();
    for (index, group) in others.iter().enumerate() {
        let colour = style::component(2 * others.len() - index, 2 * others.len() + 1);
        let points = curve(group)?;
        labels.extend(points.last().map(|&end| Label { text: named(group), end, colour }));
        series.push(Series::Line { points, colour, width: style::LINE_WIDTH });
    }
    let orange = style::rule("muon").colour;
    labels.extend(main.last().map(|&end| Label { text: named(last), end, colour: orange }));
    series.push(Series::Line { points: main.clone(), colour: orange, width: style::LINE_WIDTH });
    for (index, imbalance) in imbalances.iter().enumerate() {
        let share = run.records.iter().find(|r| r.metric == "share" && r.group == *imbalance).map_or(f64::NAN, |r| r.value);
        let Some(height) = interpolate(&main, share) else { continue };
        series.push(Series::Marks {
            points: vec![(share, height)],
            colour: style::component(index, imbalances.len()),
            mark: Mark::Diamond,
            radius: 2.0 * style::MARK_RADIUS,
            fill: Fill::Full,
        });
    }
    Ok(Panel {
        title: "Response φ(x)".into(),
        x: Axis::log("singular value x = σ/‖G‖_{F}", low, high),
        y: Axis::linear("rate φ(x)", 0.0, 1.25, 5),
        shares_y: false,
        series,
        labels,
    })
}

fn named(steps: &str) -> String {
    if steps == "1" { "1 step".into() } else { format!("{steps} steps") }
}

fn growth(
    selection: &Selection<'_>,
    run: &Run,
    steps: &str,
    imbalances: &[String],
    simulated: &mut bool,
) -> Result<Panel, Error> {
    let (mut lines, mut marks, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = 0.0_f64;
    for (index, imbalance) in imbalances.iter().enumerate() {
        let of = |optimizer, split| Of { optimizer, split, metric: "minority", group: imbalance };
        let colour = style::component(index, imbalances.len());
        if index == 0 {
            // Over t/t* SpecGD is the same for all.
            lines.push(Series::Dashed { points: selection.over_time(run, of("specgd", "closed-form"))?, colour: style::INK });
        }
        let theory = selection.over_time(run, of(RULE, "closed-form"))?;
        let simulation = over_time(run, of(RULE, "simulation"));
        *simulated |= !simulation.is_empty();
        last = theory.iter().chain(&simulation).map(|point| point.0).fold(last, f64::max);
        labels.extend(theory.last().map(|&end| Label { text: format!("{imbalance}:1"), end, colour }));
        lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
        marks.push(Series::Marks {
            points: sparse(&simulation),
            colour,
            mark: Mark::Circle,
            radius: style::MARK_RADIUS,
            fill: Fill::Outline,
        });
    }
    lines.extend(marks);
    Ok(Panel {
        title: format!("Rare class under Muon with {steps} Newton–Schulz steps"),
        x: Axis::linear("time t/t*", 0.0, last, 6),
        y: Axis::linear("α_{m} / a_{m}*", 0.0, 1.1, 5),
        shares_y: false,
        series: lines,
        labels,
    })
}
