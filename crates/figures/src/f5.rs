//! F5: what GD and NGD lose to `SpecGD`, with the bounds of the theorems.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::f2::{mixture, priors};
use crate::figure::{Figure, Key, Label, Panel, Sample, Series, sparse};
use crate::select::{Of, Selection, over_time};
use crate::style;

const RULES: [&str; 2] = ["gd", "ngd"];
const GAPS: [(&str, &str, &str); 2] =
    [("minority_gap", "minority_bound", "Minority-class loss"), ("balanced_gap", "balanced_bound", "Balanced loss")];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("f5", "f5", runs)?;
    let run = selection.single()?;
    let has = |group: &str| run.records.iter().any(|record| record.group == group && record.metric.ends_with("_gap"));
    let models: Vec<&str> = ["linear", "bilinear"].into_iter().filter(|&model| model == "linear" || has(model)).collect();
    let mut parts = Parts::default();
    let mut panels = Vec::new();
    for model in &models {
        for (gap, bound, title) in GAPS {
            let title = if models.len() > 1 { format!("{title}, {model} model") } else { title.to_owned() };
            panels.push(panel(&selection, run, (model, gap, bound), title, &mut parts)?);
        }
    }

    let mut keys: Vec<Key> = RULES
        .iter()
        .map(|key| style::rule(key))
        .map(|rule| Key { sample: Sample::Line(rule.colour), text: format!("loss of {} − loss of SpecGD", rule.name) })
        .collect();
    if parts.simulation {
        let rule = style::rule("gd");
        keys.push(Key { sample: Sample::Mark(rule.mark, Fill::Outline, rule.colour), text: "simulation".into() });
    }
    if !parts.bounds.is_empty() {
        keys.push(Key { sample: Sample::Dashed(style::INK), text: "lower bound (same colour)".into() });
    }
    let mut caption = format!(
        "Lines: closed form on (0, t*] (NGD: GD's path, re-timed), where t* is the time at which the minority component saturates under SpecGD. Dashed: the \
         lower bounds of Theorem 1 (GD) and Theorem 2 (NGD){}. {}; {} scale.",
        if parts.bounds.is_empty() { String::new() } else { format!(", here {}", parts.bounds.join(", ")) },
        mixture(run, &priors(run)),
        selection.scale(),
    );
    if !parts.bounds.is_empty() {
        caption.push_str(" The balanced constant for NGD was chosen here: that of the paper is not public.");
    }
    if models.len() > 1 {
        caption.push_str(" The theorems are about the linear model.");
    }
    if !parts.joined.is_empty() {
        let rules: Vec<String> = RULES.iter().filter(|key| parts.joined.contains(key)).map(|key| style::rule(key).name).collect();
        caption.push_str(&format!(" In the bilinear model the line of {} joins simulated points.", rules.join(" and that of ")));
    }
    Ok(Figure {
        id: "f5",
        title: "Loss gaps between GD or NGD and SpecGD with their lower bounds".into(),
        columns: GAPS.len(),
        panels,
        keys,
        caption,
    })
}

/// What the figure came to show.
#[derive(Default)]
struct Parts {
    simulation: bool,
    /// What the bounds are, in words.
    bounds: Vec<String>,
    /// The rules whose line in the bilinear model joins simulated points.
    joined: Vec<&'static str>,
}

/// `0.5 μt for the minority loss of NGD`, from the end of a bound; nothing where the mixture is not stored.
fn describe_bound(run: &Run, rule: &str, gap: &str, (time, bound): (f64, f64)) -> Option<String> {
    let mean = run.header.spec.pointer("/mixture/mean_norm").and_then(serde_json::Value::as_f64)?;
    let constant = bound / (mean * time);
    // The constants are simple fractions; three decimals remove the rounding of the quotient.
    let constant = (1e3 * constant).round() / 1e3;
    let loss = gap.strip_suffix("_gap").unwrap_or(gap);
    constant.is_finite().then(|| format!("{constant} μt for the {loss} loss of {rule}"))
}

fn panel(
    selection: &Selection<'_>,
    run: &Run,
    (model, gap, bound): (&str, &str, &str),
    title: String,
    parts: &mut Parts,
) -> Result<Panel, Error> {
    let (mut bounds, mut lines, mut marks, mut labels) = (vec![], vec![], vec![], vec![]);
    let mut last = 0.0_f64;
    for key in RULES {
        let style::Rule { name, colour, mark, .. } = style::rule(key);
        let of = |split, metric| Of { optimizer: key, split, metric, group: model };
        let simulation = over_time(run, of("simulation", gap));
        let mut theory = over_time(run, of("closed-form", gap));
        if theory.is_empty() {
            // A bilinear model has no closed form in general: then the simulation is the line.
            if model == "linear" || simulation.is_empty() {
                return Err(selection.missing(of("closed-form", gap)));
            }
            theory.clone_from(&simulation);
            parts.joined.push(key);
        }
        let limit = over_time(run, of("closed-form", bound));
        if model == "linear" && limit.is_empty() {
            return Err(selection.missing(of("closed-form", bound)));
        }
        last = theory.iter().chain(&simulation).map(|point| point.0).fold(last, f64::max);
        if let Some(&end) = theory.last() {
            labels.push(Label { text: name.clone(), end, colour });
        }
        if let Some(&end) = limit.last() {
            parts.bounds.extend(describe_bound(run, &name, gap, end));
            labels.push(Label { text: format!("{name} bound"), end, colour });
        }
        parts.simulation |= !simulation.is_empty();
        bounds.push(Series::Dashed { points: limit, colour });
        lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
        marks.push(Series::Marks { points: sparse(&simulation), colour, mark, radius: style::MARK_RADIUS, fill: Fill::Outline });
    }
    let series: Vec<Series> = [bounds, lines, marks].into_iter().flatten().collect();
    let heights = || series.iter().flat_map(Series::heights);
    let (low, high) = (heights().fold(0.0, f64::min), heights().fold(0.0, f64::max));
    Ok(Panel {
        title,
        x: Axis::linear("time t", 0.0, last, 6),
        y: Axis::linear_with_room("loss gap to SpecGD", low, high, 5),
        shares_y: false,
        series,
        labels,
    })
}
