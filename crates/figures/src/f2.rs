//! F2: how the components of a linear model grow under GD, NGD and `SpecGD`.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Label, Panel, Sample, Series, sparse};
use crate::select::{Of, Selection, over_time};
use crate::style::{self, Mark};

/// The rules, and what their closed forms say.
const RULES: [(&str, &str); 3] =
    [("gd", "rates follow the priors"), ("ngd", "same path, re-timed"), ("specgd", "one rate for all")];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("f2", "f2", runs)?;
    let run = selection.single()?;
    let panels = RULES.map(|(key, says)| (key, format!("{}: {says}", style::rule(key).name)));
    let Growth { panels, priors, simulated } = growth(&selection, run, &panels, "time t = η · step")?;

    let mut keys = vec![Key { sample: Sample::Line(style::INK), text: "closed form".into() }];
    if simulated {
        keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "simulation, step by step".into() });
    }
    keys.push(Key { sample: Sample::Dashed(style::INK), text: "common limit s_{yx,c} / s_{xx,c}".into() });
    let caption = format!(
        "Diagonal entries α_{{c}}(t) of U^{{⊤}}W(t)V for a linear model from W(0) = 0 under the population square loss, one for each class; \
         {}; {} scale. Darker: more frequent class.{}",
        mixture(run, &priors),
        selection.scale(),
        if simulated { "" } else { " No simulation was stored." },
    );
    Ok(Figure {
        id: "f2",
        title: "Growth of the components of a linear model under GD, NGD and SpecGD".into(),
        columns: RULES.len(),
        panels,
        keys,
        caption,
    })
}

/// Panels of `α_c` over time, and what they show.
pub(crate) struct Growth {
    pub(crate) panels: Vec<Panel>,
    /// By component.
    pub(crate) priors: Vec<f64>,
    /// Whether there are simulated points.
    pub(crate) simulated: bool,
}

/// One panel for each rule (its key, and the title), with a line and marks for each component: the more frequent, the darker.
pub(crate) fn growth(selection: &Selection<'_>, run: &Run, rules: &[(&str, String)], time: &str) -> Result<Growth, Error> {
    let priors = selection.by_index(run, "mixture", "prior")?;
    let limits = selection.by_index(run, "mixture", "limit")?;
    if priors.len() != limits.len() {
        return Err(selection.missing(format!("limit for each of the {} priors: there are {}", priors.len(), limits.len())));
    }
    // Colours go by the priors, whatever the order of the components.
    let mut ranks: Vec<usize> = (0..priors.len()).collect();
    ranks.sort_by(|&a, &b| priors[b].total_cmp(&priors[a]));

    let mut panels = Vec::new();
    let mut simulated = false;
    for (index, (key, title)) in rules.iter().enumerate() {
        let (mut references, mut lines, mut marks, mut labels) = (vec![], vec![], vec![], vec![]);
        let mut last = 0.0_f64;
        for (rank, &component) in ranks.iter().enumerate() {
            let group = component.to_string();
            let of = |split| Of { optimizer: key, split, metric: "alpha", group: &group };
            let theory = selection.over_time(run, of("closed-form"))?;
            let simulation = over_time(run, of("simulation"));
            simulated |= !simulation.is_empty();
            last = theory.iter().chain(&simulation).map(|point| point.0).fold(last, f64::max);
            let colour = style::component(rank, priors.len());
            references.push((component, colour));
            lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
            marks.push(Series::Marks {
                points: sparse(&simulation),
                colour,
                mark: Mark::Circle,
                radius: style::MARK_RADIUS,
                fill: Fill::Outline,
            });
            if index + 1 == rules.len() {
                labels.push(Label { text: format!("p = {}", priors[component]), end: (last, limits[component]), colour });
            }
        }
        for label in &mut labels {
            label.end.0 = last;
        }
        let references = references.into_iter().map(|(component, colour)| Series::Dashed {
            points: vec![(0.0, limits[component]), (last, limits[component])],
            colour,
        });
        panels.push(Panel {
            title: title.clone(),
            x: Axis::linear(time, 0.0, last, 5),
            // The range is the same for all and is set below.
            y: Axis::linear("", 0.0, 1.0, 5),
            shares_y: index > 0,
            series: references.chain(lines).chain(marks).collect(),
            labels,
        });
    }
    let heights = || panels.iter().flat_map(|panel| &panel.series).flat_map(Series::heights);
    let (low, high) = (heights().fold(0.0, f64::min), heights().fold(0.0, f64::max));
    let y = Axis::linear_with_room("component α_{c}", low, high, 6);
    for panel in &mut panels {
        panel.y = y.clone();
    }
    Ok(Growth { panels, priors, simulated })
}

/// The priors of the mixture that the run was made with; none where it has no mixture.
pub(crate) fn priors(run: &Run) -> Vec<f64> {
    let priors = run.header.spec.pointer("/mixture/priors").and_then(serde_json::Value::as_array);
    priors.into_iter().flatten().filter_map(serde_json::Value::as_f64).collect()
}

/// The mixture in words.
pub(crate) fn mixture(run: &Run, priors: &[f64]) -> String {
    let number = |name: &str| run.header.spec.pointer(&format!("/mixture/{name}")).and_then(serde_json::Value::as_f64);
    let listed = match priors.len() {
        0..=10 => format!("p = ({})", priors.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        count => format!("{count} classes"),
    };
    let mut text = format!("Gaussian mixture with priors {listed}");
    if let (Some(mean), Some(noise)) = (number("mean_norm"), number("noise_std")) {
        text.push_str(&format!(", ‖μ_{{c}}‖ = {mean}, σ = {noise}"));
    }
    text
}
