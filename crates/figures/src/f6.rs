//! F6: how depth changes the growth of the components under `SpecGD` and GD, in theory.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::f2::mixture;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series, sparse};
use crate::select::{Of, Selection};
use crate::style::{self, Mark};

const DEPTHS: usize = 4;
const RULES: [&str; 2] = ["specgd", "gd"];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("f6", "f6", runs)?;
    let run = selection.single()?;
    let priors = selection.by_index(run, "mixture", "prior")?;
    let limits = selection.by_index(run, "mixture", "limit")?;
    let mut ranks: Vec<usize> = (0..priors.len()).collect();
    ranks.sort_by(|&a, &b| priors[b].total_cmp(&priors[a]));
    let view = View { selection: &selection, run, priors: &priors, limits: &limits, ranks };
    let mut panels = Vec::new();
    for rule in RULES {
        panels.extend(view.growth(rule)?);
    }
    panels.push(view.saturation()?);
    panels.push(view.spread()?);
    panels.push(view.deviations("delta", "initial scale δ")?);
    panels.push(view.deviations("eta", "step size η")?);

    let mut keys = vec![
        Key { sample: Sample::Line(style::INK), text: "formula".into() },
        Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "simulation, aligned layers".into() },
        Key {
            sample: Sample::Mark(Mark::Triangle, Fill::Full, style::INK),
            text: "simulation, Gaussian layers (mean, range)".into(),
        },
        Key { sample: Sample::Dashed(style::INK), text: "limits > 1 (i), δ → ∞ (j)".into() },
    ];
    for rule in RULES.map(style::rule) {
        keys.push(Key { sample: Sample::Line(rule.colour), text: format!("{} (j–l)", rule.name) });
    }
    let number = |name: &str| run.header.spec.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    let caption = format!(
        "Deep linear models with L layers. a–h: α_{{c}}/a_{{c}}* from layers e^{{−δ}}, δ = {} (one layer: from 0); time in units of that at which the \
         majority component has {} of its limit. i: saturation times (a_{{c}}*)^{{1/L}} under SpecGD for δ → ∞ in units of layer steps; dashed: a \
         mixture with short means, whose limits are above 1. j: relative spread of the times of majority and minority: saturation under SpecGD, \
         {} of the limit under GD. k, l: largest distance of W from the idealized flow over training, L = {}: against δ with η = e^{{−δ}}/20, and against η \
         with δ = 12 (SpecGD) and δ = 2 (GD, distance from its flow). {}; {} scale. Darker: more frequent class.",
        number("delta"),
        number("fraction"),
        number("fraction"),
        number("error_layers"),
        mixture(run, &priors),
        selection.scale(),
    );
    Ok(Figure {
        id: "f6",
        title: "Depth: growth of the components, saturation times, and the error of the idealization".into(),
        columns: DEPTHS,
        panels,
        keys,
        caption,
    })
}

/// What every panel draws from.
struct View<'a> {
    selection: &'a Selection<'a>,
    run: &'a Run,
    priors: &'a [f64],
    limits: &'a [f64],
    /// The components by falling prior.
    ranks: Vec<usize>,
}

impl View<'_> {
    /// The number of one record.
    fn value(&self, of: Of<'_>) -> Result<f64, Error> {
        let found = self.run.series(of.split, of.metric, of.group).find(|record| record.optimizer == of.optimizer);
        found.map(|record| record.value).ok_or_else(|| self.selection.missing(of))
    }

    /// Values over L = 1, 2, … for the groups `{before}L{L}{after}`, as far as they go.
    fn over_depth(&self, (optimizer, split, metric): (&str, &str, &str), before: &str, after: &str) -> Result<Vec<Pair>, Error> {
        let group = |depth: usize| format!("{before}L{depth}{after}");
        let mut points = Vec::new();
        for depth in 1.. {
            match self.value(Of { optimizer, split, metric, group: &group(depth) }) {
                Ok(value) => points.push((depth as f64, value)),
                // L = 1 has no limit of δ → ∞.
                Err(_) if depth == 1 && metric == "spread_limit" => {}
                Err(error) if points.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(points)
    }

    fn colour(&self, rank: usize) -> plotters::style::RGBColor {
        style::component(rank, self.priors.len())
    }

    /// `α_c/a_c*` for every depth, in one row with one range.
    fn growth(&self, rule: &str) -> Result<Vec<Panel>, Error> {
        let mut panels = Vec::new();
        let mut last = 0.0_f64;
        for depth in 1..=DEPTHS {
            let unit = self.value(Of { optimizer: rule, split: "closed-form", metric: "unit", group: &format!("L{depth}") })?;
            let (mut lines, mut marks, mut labels) = (vec![], vec![], vec![]);
            for (rank, &component) in self.ranks.iter().enumerate() {
                let group = format!("L{depth}/c{component}");
                let path = |split| -> Result<Vec<Pair>, Error> {
                    let points =
                        self.selection.over_time(self.run, Of { optimizer: rule, split, metric: "alpha", group: &group })?;
                    Ok(points.into_iter().map(|(t, alpha)| (t / unit, alpha / self.limits[component])).collect())
                };
                let (theory, simulation) = (path("closed-form")?, path("simulation")?);
                last = theory.last().map_or(last, |point| last.max(point.0));
                let colour = self.colour(rank);
                lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
                marks.push(Series::Marks {
                    points: sparse(&simulation),
                    colour,
                    mark: Mark::Circle,
                    radius: style::MARK_RADIUS,
                    fill: Fill::Outline,
                });
                if depth == DEPTHS {
                    // The curves end together: their names stand below each other.
                    labels.push(Label {
                        text: format!("p = {}", self.priors[component]),
                        end: (0.0, 0.8 - 0.2 * rank as f64),
                        colour,
                    });
                }
            }
            let plural = if depth == 1 { "" } else { "s" };
            panels.push(Panel {
                title: format!("{}, {depth} layer{plural}", style::rule(rule).name),
                x: Axis::linear("time / majority's time", 0.0, 1.0, 4),
                y: Axis::linear("α_{c} / a_{c}*", 0.0, 1.12, 6),
                shares_y: depth > 1,
                series: lines.into_iter().chain(marks).collect(),
                labels,
            });
        }
        for panel in &mut panels {
            panel.x = Axis::linear("time / majority's time", 0.0, last, 4);
        }
        Ok(panels)
    }

    fn saturation(&self) -> Result<Panel, Error> {
        let (mut dashed, mut lines, mut marks) = (vec![], vec![], vec![]);
        for (rank, &component) in self.ranks.iter().enumerate() {
            let after = format!("/c{component}");
            let colour = self.colour(rank);
            for (prefix, short) in [("", false), ("short/", true)] {
                let theory = self.over_depth(("specgd", "closed-form", "saturation"), prefix, &after)?;
                let points = self.over_depth(("specgd", "simulation", "saturation"), prefix, &after)?;
                if short {
                    dashed.push(Series::Dashed { points: theory, colour });
                } else {
                    lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
                }
                marks.push(Series::Marks { points, colour, mark: Mark::Circle, radius: style::MARK_RADIUS, fill: Fill::Outline });
            }
        }
        let series: Vec<Series> = [dashed, lines, marks].into_iter().flatten().collect();
        let high = series.iter().flat_map(Series::heights).fold(0.0, f64::max);
        let last = last_x(&series);
        Ok(Panel {
            title: "Saturation, SpecGD".into(),
            x: Axis::linear("layers L", 0.5, last + 0.3, 8),
            y: Axis::linear_with_room("time (a_{c}*)^{1/L}", 0.0, high, 5),
            shares_y: false,
            series,
            labels: vec![],
        })
    }

    fn spread(&self) -> Result<Panel, Error> {
        let mut series = vec![];
        for key in RULES {
            let colour = style::rule(key).colour;
            if key == "gd" {
                let points = self.over_depth((key, "closed-form", "spread_limit"), "", "")?;
                series.push(Series::Dashed { points, colour });
            }
            let theory = self.over_depth((key, "closed-form", "spread"), "", "")?;
            series.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
            let points = self.over_depth((key, "simulation", "spread"), "", "")?;
            series.push(Series::Marks { points, colour, mark: Mark::Circle, radius: style::MARK_RADIUS, fill: Fill::Outline });
        }
        let heights = || series.iter().flat_map(Series::heights).filter(|height| *height > 0.0);
        let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(0.0, f64::max));
        let last = last_x(&series);
        Ok(Panel {
            title: "Spread of the times".into(),
            x: Axis::linear("layers L", 0.5, last + 0.3, 8),
            y: Axis::log("ΔT", low, high),
            shares_y: false,
            series,
            labels: vec![],
        })
    }

    /// Largest deviations against `variable`: lines of the formulas, marks of the simulations.
    fn deviations(&self, variable: &str, title: &str) -> Result<Panel, Error> {
        let (mut series, mut labels) = (vec![], vec![]);
        for key in RULES {
            let style::Rule { name, colour, .. } = style::rule(key);
            let theory = self.over_setting(key, "closed-form", "aligned", variable);
            if theory.is_empty() {
                if key == "specgd" {
                    let group = format!("aligned/{variable}=…");
                    return Err(self.selection.missing(Of {
                        optimizer: key,
                        split: "closed-form",
                        metric: "deviation",
                        group: &group,
                    }));
                }
                continue;
            }
            let line: Vec<Pair> = theory.iter().map(|(x, values)| (*x, mean(values))).collect();
            labels.extend(line.last().map(|&end| Label { text: name, end, colour }));
            series.push(Series::Line { points: line, colour, width: style::LINE_WIDTH });
            let simulated = self.over_setting(key, "simulation", "aligned", variable);
            let points = simulated.iter().map(|(x, values)| (*x, mean(values))).collect();
            series.push(Series::Marks { points, colour, mark: Mark::Circle, radius: style::MARK_RADIUS, fill: Fill::Outline });
            let drawn = self.over_setting(key, "simulation", "gaussian", variable);
            let range = |values: &[f64]| {
                (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max))
            };
            let band = drawn.iter().map(|(x, values)| (*x, range(values).0, range(values).1)).collect();
            series.push(Series::Band { points: band, colour, opacity: style::BAND_OPACITY });
            let points = drawn.iter().map(|(x, values)| (*x, mean(values))).collect();
            series.push(Series::Marks { points, colour, mark: Mark::Triangle, radius: style::MARK_RADIUS, fill: Fill::Full });
        }
        let heights = || series.iter().flat_map(Series::heights).filter(|height| *height > 0.0);
        let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(0.0, f64::max));
        let xs = || series.iter().flat_map(xs_of);
        let (first, last) = (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max));
        let (x, name) = if variable == "eta" {
            (Axis::log(title, first, last), "Error in η")
        } else {
            (Axis::linear(title, first - 0.2, last + 0.2, 5), "Error in δ, SpecGD")
        };
        if variable != "eta" {
            labels.clear();
        }
        Ok(Panel { title: name.into(), x, y: Axis::log("largest deviation", low, high), shares_y: false, series, labels })
    }

    /// The values of `deviation` by the setting in the groups `{start}/{variable}=x…`, in rising order.
    fn over_setting(&self, optimizer: &str, split: &str, start: &str, variable: &str) -> Vec<(f64, Vec<f64>)> {
        let prefix = format!("{start}/{variable}=");
        let mut found: Vec<(f64, Vec<f64>)> = Vec::new();
        for record in &self.run.records {
            let fits = record.optimizer == optimizer && record.split == split && record.metric == "deviation";
            let Some(rest) = record.group.strip_prefix(&prefix).filter(|_| fits && record.value.is_finite()) else { continue };
            let Ok(x) = rest.split('/').next().unwrap_or_default().parse::<f64>() else { continue };
            match found.iter_mut().find(|(known, _)| (*known - x).abs() < f64::EPSILON * x.abs()) {
                Some((_, values)) => values.push(record.value),
                None => found.push((x, vec![record.value])),
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn xs_of(series: &Series) -> Vec<f64> {
    match series {
        Series::Line { points, .. } | Series::Dashed { points, .. } | Series::Marks { points, .. } => {
            points.iter().map(|point| point.0).collect()
        }
        Series::Band { points, .. } => points.iter().map(|point| point.0).collect(),
    }
}

fn last_x(series: &[Series]) -> f64 {
    series.iter().flat_map(xs_of).fold(0.0, f64::max)
}
