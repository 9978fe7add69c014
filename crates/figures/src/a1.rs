//! A1: one finite sample against the closed forms, and how the error falls with the size of the sample.

use isorate_results::Run;
use plotters::style::RGBColor;

use crate::Error;
use crate::axis::{Axis, minus};
use crate::canvas::Fill;
use crate::f2::mixture;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series};
use crate::select::{Of, Selection};
use crate::style::{self, Mark};

/// Rules of the errors, and how they differ where colours are shared.
const RULES: [&str; 5] = ["gd", "ngd", "specgd", "muon", "muon-ns"];
/// Rules of the trajectories.
const SHOWN: [&str; 3] = ["gd", "specgd", "muon-ns"];

/// Name, colour, mark and fill.
fn look(key: &str) -> (String, RGBColor, Mark, Fill) {
    let style::Rule { name, colour, mark, .. } = style::rule(key);
    match key {
        "muon" => (format!("{name}, β = 0.9"), colour, mark, Fill::Outline),
        // Of the spectral family, and apart from it by more than its mark.
        "muon-ns" => ("Muon, Newton–Schulz".to_owned(), RGBColor(0x8A, 0x6D, 0x00), Mark::Wedge, Fill::Outline),
        _ => (name, colour, mark, Fill::Full),
    }
}

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("a1", "a1", runs)?;
    let run = selection.single()?;
    let priors = selection.by_index(run, "mixture", "prior")?;
    let number = |name: &str| run.header.spec.pointer(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    let mut panels = SHOWN.iter().map(|key| trajectories(&selection, run, key, &priors)).collect::<Result<Vec<_>, Error>>()?;
    let heights = || panels.iter().flat_map(|panel| &panel.series).flat_map(Series::heights);
    let y = Axis::linear_with_room("component α_{c}", heights().fold(0.0, f64::min), heights().fold(0.0, f64::max), 5);
    for (index, panel) in panels.iter_mut().enumerate() {
        panel.y = y.clone();
        panel.shares_y = index > 0;
    }

    let (dim, high) = (number("/mixture/dim"), number("/high_dim"));
    let cases = [
        (format!("linear.d-{dim}"), format!("Linear model, d = {dim}")),
        (format!("bilinear.d-{dim}"), format!("Bilinear model, d = {dim}")),
        (format!("linear.d-{high}"), format!("Linear model, d = {high}")),
    ];
    let mut fitted = Vec::new();
    for (case, title) in &cases {
        panels.push(errors(&selection, run, case, title.clone(), &mut fitted)?);
    }
    let ends = || panels[SHOWN.len()..].iter().flat_map(|panel| &panel.series).flat_map(Series::heights);
    let y = Axis::log("sup_{t} max_{c} |error|", ends().fold(f64::INFINITY, f64::min), ends().fold(0.0, f64::max));
    for (index, panel) in panels[SHOWN.len()..].iter_mut().enumerate() {
        panel.y = y.clone();
        panel.shares_y = index > 0;
    }

    let mut keys = vec![
        Key { sample: Sample::Dashed(style::INK), text: "population, closed form".into() },
        Key { sample: Sample::Line(style::INK), text: format!("one sample, n = {} (upper panels)", number("/shown_samples")) },
    ];
    for key in RULES {
        let (text, colour, mark, fill) = look(key);
        keys.push(Key { sample: Sample::Mark(mark, fill, colour), text });
    }
    let caption = format!(
        "Upper panels: components α_{{c}}(t) of a linear model in the population's bases, descent on the moments of one sample (darker: \
         more frequent class); the closed form beside Muon is that of SpecGD. Lower panels: largest error of a component over the path, \
         mean and standard deviation over {} samples, with power laws fitted to n > d; vertical line: n = d. References: the \
         closed forms of the population from zero (linear; SpecGD's for both Muons), the same descent on the population's moments \
         (bilinear). Muon levels off at its overshoot, about η β/(1 − β). {}; initial weights Gaussian, rows of length {}; {} scale. Slopes: {}.",
        number("/trials"),
        mixture(run, &priors),
        minus(&number("/initial_scale").to_string()),
        selection.scale(),
        fitted.join("; "),
    );
    Ok(Figure {
        id: "a1",
        title: "Trajectories on finite samples against the population's, and the error against the size of the sample".into(),
        columns: SHOWN.len(),
        panels,
        keys,
        caption,
    })
}

fn trajectories(selection: &Selection<'_>, run: &Run, key: &str, priors: &[f64]) -> Result<Panel, Error> {
    let mut ranks: Vec<usize> = (0..priors.len()).collect();
    ranks.sort_by(|&a, &b| priors[b].total_cmp(&priors[a]));
    let (mut lines, mut dashes) = (Vec::new(), Vec::new());
    let mut last = 0.0_f64;
    for (rank, component) in ranks.into_iter().enumerate() {
        let group = component.to_string();
        let of = |split| Of { optimizer: key, split, metric: "alpha", group: &group };
        let colour = style::component(rank, priors.len());
        let (sample, exact) = (selection.over_time(run, of("simulation"))?, selection.over_time(run, of("closed-form"))?);
        last = sample.iter().chain(&exact).map(|point| point.0).fold(last, f64::max);
        lines.push(Series::Line { points: sample, colour, width: style::LINE_WIDTH });
        dashes.push(Series::Dashed { points: exact, colour: style::INK });
    }
    Ok(Panel {
        title: look(key).0,
        x: Axis::linear("time t = η · step", 0.0, last, 4),
        y: Axis::linear("", 0.0, 1.0, 5),
        shares_y: false,
        series: lines.into_iter().chain(dashes).collect(),
        labels: Vec::new(),
    })
}

/// Error over n in one model; what was fitted is added to `fitted`, in words.
fn errors(selection: &Selection<'_>, run: &Run, case: &str, title: String, fitted: &mut Vec<String>) -> Result<Panel, Error> {
    let (mut lines, mut marks, mut bars, mut labels, mut slopes) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for key in RULES {
        let (name, colour, mark, fill) = look(key);
        let by_size = |metric: &str| by_size(run, key, case, metric);
        let points = by_size("error");
        let Some((&first, &last)) = points.first().zip(points.last()) else {
            return Err(selection.missing(format!("record with optimizer `{key}`, metric `error`, group `{case}.n-…`")));
        };
        (low, high) = (low.min(first.0), high.max(last.0));
        for (point, (_, by)) in points.iter().zip(by_size("error_deviation")) {
            // On a logarithmic axis nothing at or below zero has a place.
            let below = (point.1 - by).max(0.3 * point.1);
            bars.push(Series::Line { points: vec![(point.0, below), (point.0, point.1 + by)], colour, width: 0.8 });
        }
        let constant = |metric: &str| {
            run.records
                .iter()
                .find(|record| {
                    record.optimizer == key && record.group == case && record.metric == metric && record.value.is_finite()
                })
                .map(|record| record.value)
        };
        // Muon's errors end at its overshoot or at Newton–Schulz's other rates: no power law.
        let fit = (constant("slope"), constant("slope_error"), constant("intercept"));
        if let (false, (Some(slope), Some(error), Some(intercept))) = (key.starts_with("muon"), fit) {
            let dim: f64 = case.rsplit('-').next().and_then(|dim| dim.parse().ok()).unwrap_or(0.0);
            let ends: Vec<f64> = points.iter().map(|point| point.0).filter(|&n| n > dim).collect();
            if let (Some(&from), Some(&to)) = (ends.first(), ends.last()) {
                let at = |n: f64| (n, (intercept + slope * n.ln()).exp());
                lines.push(Series::Line { points: vec![at(from), at(to)], colour, width: style::REFERENCE_WIDTH });
                slopes.push(minus(&format!("{name} {slope:.2} ± {error:.2}")));
                labels.push(Label { text: minus(&format!("{slope:.2}")), end: at(to), colour });
            }
        }
        marks.push(Series::Marks { points, colour, mark, radius: style::MARK_RADIUS, fill });
    }
    if !slopes.is_empty() {
        fitted.push(format!(
            "{} {}",
            title.replacen("Linear", "linear", 1).replacen("Bilinear", "bilinear", 1),
            slopes.join(", ")
        ));
    }
    let dim: f64 = case.rsplit('-').next().and_then(|dim| dim.parse().ok()).unwrap_or(0.0);
    let border = if dim > low && dim < high {
        let heights = || marks.iter().flat_map(Series::heights);
        let ends = (heights().fold(f64::INFINITY, f64::min), heights().fold(0.0, f64::max));
        vec![Series::Dashed { points: vec![(dim, ends.0), (dim, ends.1)], colour: style::AXIS }]
    } else {
        Vec::new()
    };
    Ok(Panel {
        title,
        x: Axis::log("examples n", low, high),
        y: Axis::linear("", 0.0, 1.0, 5),
        shares_y: false,
        series: [border, bars, lines, marks].into_iter().flatten().collect(),
        labels,
    })
}

/// The positive values of a metric over the sizes of samples, by size.
fn by_size(run: &Run, key: &str, case: &str, metric: &str) -> Vec<Pair> {
    let prefix = format!("{case}.n-");
    let mut points: Vec<Pair> = run
        .records
        .iter()
        .filter(|record| record.optimizer == key && record.metric == metric && record.value.is_finite())
        .filter_map(|record| Some((record.group.strip_prefix(&prefix)?.parse().ok()?, record.value)))
        .filter(|&(_, value)| metric != "error" || value > 0.0)
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup_by(|a, b| a.0 <= b.0);
    points
}
