//! A2: how far the trajectories move for a residual of Condition 1, with the residual of real data on the same axis.

use isorate_results::Run;
use plotters::style::RGBColor;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::f2::{mixture, priors};
use crate::figure::{Figure, Key, Pair, Panel, Sample, Series};
use crate::select::Selection;
use crate::style::{self, Mark};

const RULES: [(&str, &str); 2] = [("gd", "α_{c} moves at second order"), ("specgd", "up to the first saturation")];

/// Data sets, their names, and the colours of their residuals.
const DATA: [(&str, &str, RGBColor); 2] =
    [("mnist", "MNIST", RGBColor(0x00, 0x72, 0xB2)), ("colored-mnist", "Colored-MNIST", RGBColor(0x00, 0x8A, 0x64))];

/// α, in grey, beside the rule's colour for W.
const COMPONENTS: RGBColor = RGBColor(0x80, 0x80, 0x80);

/// Where the lowest mark may stand: rounding is no movement.
const FLOOR: f64 = 1e-13;

/// (residual, value) of each draw.
fn draws(run: &Run, optimizer: &str, split: &str, metric: &str) -> Vec<Pair> {
    let residual = |step: u64| {
        run.records
            .iter()
            .find(|r| r.optimizer == "moments" && r.metric == "residual" && r.group == "all" && r.step == step)
            .map(|r| r.value)
    };
    run.records
        .iter()
        .filter(|r| r.optimizer == optimizer && r.split == split && r.metric == metric && r.group.parse::<u32>().is_ok())
        .filter_map(|r| Some((residual(r.step)?, r.value)))
        .filter(|(x, y)| *x > 0.0 && *y > FLOOR)
        .collect()
}

/// Of a data set, if it is stored.
fn real(run: &Run, optimizer: &str, split: &str, metric: &str, group: &str) -> Option<f64> {
    run.records
        .iter()
        .find(|r| r.optimizer == optimizer && r.split == split && r.metric == metric && r.group == group)
        .map(|r| r.value)
        .filter(|value| value.is_finite() && *value > 0.0)
}

/// The geometric mean over the draws at each residual, ascending.
fn means(points: &[Pair]) -> Vec<Pair> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted
        .chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq())
        .map(|same| (same[0].0, (same.iter().map(|point| point.1.ln()).sum::<f64>() / same.len() as f64).exp()))
        .collect()
}

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("a2", "a2", runs)?;
    let run = selection.single()?;
    let residuals: Vec<(&str, f64, RGBColor)> = DATA
        .into_iter()
        .filter_map(|(key, name, colour)| Some((name, real(run, "moments", "", "residual", key)?, colour)))
        .collect();
    let mut panels = Vec::new();
    for (index, (key, says)) in RULES.into_iter().enumerate() {
        let rule = style::rule(key);
        let measured = draws(run, key, "simulation", "movement");
        if measured.is_empty() {
            return Err(selection.missing(format!("record with optimizer `{key}`, split `simulation`, metric `movement`")));
        }
        let components = draws(run, key, "simulation", "component_movement");
        let marks = |points: Vec<Pair>, colour, mark, fill, radius| Series::Marks { points, colour, mark, radius, fill };
        let mut series = vec![
            Series::Dashed { points: means(&draws(run, key, "first-order", "largest_movement")), colour: rule.colour },
            Series::Line {
                points: means(&draws(run, key, "first-order", "movement")),
                colour: rule.colour,
                width: style::LINE_WIDTH,
            },
            marks(components, COMPONENTS, Mark::Square, Fill::Outline, style::MARK_RADIUS - 0.5),
            marks(measured, rule.colour, Mark::Circle, Fill::Outline, style::MARK_RADIUS),
        ];
        for (metric, mark, colour) in [("component_movement", Mark::Square, COMPONENTS), ("movement", Mark::Circle, rule.colour)]
        {
            if let (Some(x), Some(y)) =
                (real(run, "moments", "", "residual", "mnist"), real(run, key, "simulation", metric, "mnist"))
            {
                series.push(marks(vec![(x, y)], colour, mark, Fill::Full, 1.8 * style::MARK_RADIUS));
            }
        }
        panels.push(Panel {
            title: format!("{}: {says}", rule.name),
            x: Axis::log("relative residual ‖B‖_{F} / ‖S_{xx}‖_{F}", 1e-4, 1.0),
            // The range is the same for both and is set below.
            y: Axis::log("", 1e-8, 1.0),
            shares_y: index > 0,
            series,
            labels: vec![],
        });
    }
    let heights = || panels.iter().flat_map(|panel| &panel.series).flat_map(Series::heights);
    let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(0.0, f64::max).max(1.0));
    let across = || panels.iter().flat_map(|panel| &panel.series).flat_map(lengths).chain(residuals.iter().map(|r| r.1));
    let (left, right) = (across().fold(f64::INFINITY, f64::min), across().fold(0.0, f64::max));
    let x = Axis::log("relative residual ‖B‖_{F} / ‖S_{xx}‖_{F}", left, right);
    let y = Axis::log("relative movement on (0, t*]", low, high);
    for panel in &mut panels {
        let lines = residuals.iter().map(|&(_, at, colour)| Series::Dashed { points: vec![(at, y.low), (at, y.high)], colour });
        panel.series.splice(0..0, lines);
        (panel.x, panel.y) = (x.clone(), y.clone());
    }

    let mut keys = vec![
        Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "W, simulated with random B".into() },
        Key { sample: Sample::Line(style::INK), text: "W, first order (mean of the same B)".into() },
        Key { sample: Sample::Dashed(style::INK), text: "W, first order, worst B".into() },
        Key { sample: Sample::Mark(Mark::Square, Fill::Outline, COMPONENTS), text: "components α_{c}, simulated".into() },
    ];
    if real(run, "gd", "simulation", "movement", "mnist").is_some() {
        keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Full, style::INK), text: "W on MNIST (square: α_{c})".into() });
    }
    keys.extend(
        residuals
            .iter()
            .map(|(name, at, colour)| Key { sample: Sample::Dashed(*colour), text: format!("residual of {name}: {at:.2}") }),
    );
    let mut caption = format!(
        "How far W and its components are from what Condition 1 predicts, at most over (0, t*] and relative to what is learned at t*, the first \
         saturation of SpecGD. {} with a random residual B in random bases; {} scale.",
        mixture(run, &priors(run)),
        selection.scale(),
    );
    if !residuals.is_empty() {
        caption.push_str(
            " Data: embedded images, moments not centred; a residual that is small against the largest s_{xx,c}, which rules ‖S_{xx}‖, can be large \
             against the others, and then GD moves far more than in the mixture.",
        );
    }
    Ok(Figure {
        id: "a2",
        title: "Movement of the trajectories of GD and SpecGD against the residual of Condition 1".into(),
        columns: RULES.len(),
        panels,
        keys,
        caption,
    })
}

/// All x that a series reaches.
fn lengths(series: &Series) -> Vec<f64> {
    match series {
        Series::Line { points, .. } | Series::Dashed { points, .. } | Series::Marks { points, .. } => {
            points.iter().map(|point| point.0).collect()
        }
        Series::Band { points, .. } => points.iter().map(|point| point.0).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_geometric_and_ascend() {
        let found = means(&[(0.1, 4.0), (0.01, 2.0), (0.1, 1.0)]);
        assert_eq!(found[0], (0.01, 2.0));
        assert!((found[1].1 - 2.0).abs() < 1e-15 && found.len() == 2);
    }
}
