//! F1: accuracy on the majority and the minority group over training, and the spectrum of the data's moments.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Label, Panel, Sample, Series};
use crate::select::Selection;
use crate::style::{self, Mark};
use crate::training::{self, Point, Rule};

/// The update rules that the figure of the paper compares; all must be there.
const COMPARED: [&str; 3] = ["muon", "nmd", "signum"];
/// Smaller than this, relative to the largest, is zero up to the rounding of single precision.
const ZERO: f64 = 1e-7;

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("f1", "f1", runs)?;
    let rules = selection.rules()?;
    for key in COMPARED {
        if !rules.iter().any(|rule| rule.key == key) {
            return Err(selection.missing(format!("training run of `{key}`")));
        }
    }
    let last = training::epochs(&rules, "minority").last().copied().unwrap_or(0.0);
    let minority = accuracy_panel(&selection, &rules, "minority", "Minority: colour misleads", last)?;
    let majority = Panel { shares_y: true, ..accuracy_panel(&selection, &rules, "majority", "Majority: colour agrees", last)? };
    let moments = Moments::of(&selection)?;

    let several = rules.iter().any(|rule| rule.runs.len() > 1);
    let mut keys = Vec::new();
    if several {
        keys.push(Key { sample: Sample::Band(style::AXIS), text: "mean ± standard deviation".into() });
    }
    if rules.iter().any(|rule| rule.diverged().next().is_some()) {
        keys.push(Key { sample: Sample::Mark(Mark::Cross, Fill::Full, style::INK), text: "end of a seed that diverged".into() });
    }
    keys.extend(Moments::keys());

    let (seeds, scale) = (training::count_seeds(&rules), selection.scale());
    let mut caption = format!(
        "Test accuracy on images whose colour does not agree with their digit (a) and on images whose colour does (b); {}; {seeds}{}; {scale} scale.",
        training::describe(rules[0].runs[0]),
        if several { "" } else { ", so no spread is shown" },
    );
    if let Some(diverged) = training::say_diverged(&rules) {
        caption.push_str(&format!(" {diverged}; means are over the seeds measured at that epoch."));
    }
    caption.push_str(&moments.caption());
    Ok(Figure {
        id: "f1",
        title: "Test accuracy by group over training, and the spectrum of the data's moments".into(),
        columns: 3,
        panels: vec![minority, majority, moments.panel()],
        keys,
        caption,
    })
}

fn accuracy_panel(selection: &Selection<'_>, rules: &[Rule<'_>], group: &str, title: &str, last: f64) -> Result<Panel, Error> {
    let (mut bands, mut lines, mut marks, mut crosses, mut labels) = (vec![], vec![], vec![], vec![], vec![]);
    // The first rule is drawn last, on top.
    for rule in rules.iter().rev() {
        let curve = rule.curve(group);
        let Some(end) = curve.last() else {
            let key = rule.key;
            return Err(
                selection.missing(format!("record with optimizer `{key}`, split `test`, metric `accuracy`, group `{group}`"))
            );
        };
        let style::Rule { name, colour, mark } = style::rule(rule.key);
        let percent = |point: &Point| (point.epoch, 100.0 * point.spread.mean);
        // A band needs a spread; where only one seed is left there is none.
        for stretch in curve.chunk_by(|a, b| a.spread.deviation.is_some() == b.spread.deviation.is_some()) {
            let band: Vec<_> = stretch
                .iter()
                .filter_map(|point| Some((point.epoch, 100.0 * point.spread.mean, 100.0 * point.spread.deviation?)))
                .map(|(epoch, mean, deviation)| (epoch, (mean - deviation).max(0.0), (mean + deviation).min(100.0)))
                .collect();
            bands.push(Series::Band { points: band, colour, opacity: style::BAND_OPACITY });
        }
        lines.push(Series::Line { points: curve.iter().map(percent).collect(), colour, width: style::LINE_WIDTH });
        marks.push(Series::Marks {
            points: thin(&curve, last).map(percent).collect(),
            colour,
            mark,
            radius: style::MARK_RADIUS,
            fill: Fill::Full,
        });
        let ends = rule.diverged().filter_map(|run| training::accuracies(run, group).last().copied());
        let points = ends.map(|(epoch, accuracy)| (epoch, 100.0 * accuracy)).collect();
        crosses.push(Series::Marks { points, colour, mark: Mark::Cross, radius: style::MARK_RADIUS + 0.5, fill: Fill::Full });
        labels.push(Label { text: name, end: percent(end), colour });
    }
    labels.reverse();
    Ok(Panel {
        title: title.to_owned(),
        x: Axis::linear("epoch", 0.0, last, 6),
        y: Axis::percent("test accuracy (%)"),
        shares_y: false,
        series: [bands, lines, marks, crosses].into_iter().flatten().collect(),
        labels,
    })
}

/// At most seven of the points of a curve, at even distances, for marks.
fn thin(curve: &[Point], last: f64) -> impl Iterator<Item = &Point> {
    let mut next = 0.0;
    let step = last / 6.0;
    curve.iter().filter(move |point| {
        let take = point.epoch >= next - 1e-9;
        if take {
            next = (point.epoch / step + 1e-9).floor() * step + step;
        }
        take
    })
}

/// The moments of the data.
struct Moments {
    /// Singular values of `Σ_yx`, descending.
    cross: Vec<f64>,
    /// Diagonal of `Vᵀ Σ_xx V`.
    along: Vec<f64>,
    /// Largest eigenvalues of `Σ_xx`, descending.
    eigenvalues: Vec<f64>,
    residual: Option<f64>,
}

impl Moments {
    const COLOURS: [plotters::style::RGBColor; 3] = [
        plotters::style::RGBColor(0x6A, 0x00, 0xA8),
        plotters::style::RGBColor(0x8A, 0x6D, 0x00),
        plotters::style::RGBColor(0x60, 0x60, 0x60),
    ];

    fn of(selection: &Selection<'_>) -> Result<Self, Error> {
        let is_moments = |run: &&&Run| run.records.iter().any(|record| record.optimizer == "data");
        let all: Vec<&Run> = selection.runs.iter().filter(is_moments).copied().collect();
        let run = match all[..] {
            [run] => run,
            [] => return Err(selection.missing("run with the moments of the data (optimizer `data`)")),
            _ => return Err(selection.mixed(format!("{} of them hold the moments of the data", all.len()))),
        };
        let residual =
            run.series("train", "condition1_residual", "all").map(|record| record.value).find(|value| value.is_finite());
        let moments = Self {
            cross: selection.by_index(run, "data", "s_yx")?,
            along: selection.by_index(run, "data", "s_xx")?,
            eigenvalues: selection.by_index(run, "data", "eigenvalue")?,
            residual,
        };
        for (metric, values) in [("s_yx", &moments.cross), ("eigenvalue", &moments.eigenvalues)] {
            if values.iter().all(|&value| value <= 0.0) {
                return Err(selection.missing(format!("positive value of the metric `{metric}`")));
            }
        }
        Ok(moments)
    }

    fn spectra(&self) -> [&[f64]; 3] {
        [&self.cross, &self.along, &self.eigenvalues]
    }

    /// (index from 1, value) of what is not zero up to rounding, as a logarithmic axis can show no more.
    fn positive(values: &[f64]) -> Vec<(f64, f64)> {
        let largest = values.iter().copied().fold(0.0, f64::max);
        values
            .iter()
            .enumerate()
            .map(|(index, &value)| ((index + 1) as f64, value))
            .filter(|&(_, value)| value > ZERO * largest)
            .collect()
    }

    fn panel(&self) -> Panel {
        let all: Vec<(f64, f64)> = self.spectra().into_iter().flat_map(Self::positive).collect();
        let low = all.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
        let high = all.iter().map(|point| point.1).fold(0.0, f64::max);
        let last = all.iter().map(|point| point.0).fold(1.0, f64::max);
        let marks = [Mark::Circle, Mark::Diamond, Mark::Square];
        let mut series = Vec::new();
        // The long spectrum lies below the others.
        for index in [2, 1, 0] {
            let points = Self::positive(self.spectra()[index]);
            let colour = Self::COLOURS[index];
            let radius = if index == 2 { 1.6 } else { style::MARK_RADIUS - 0.4 };
            series.push(Series::Line { points: points.clone(), colour, width: 1.0 });
            series.push(Series::Marks { points, colour, mark: marks[index], radius, fill: Fill::Full });
        }
        Panel {
            title: "Moments of the data".into(),
            x: Axis::log("index", 1.0, last),
            y: Axis::log("singular value, eigenvalue", low, high),
            shares_y: false,
            series,
            labels: Vec::new(),
        }
    }

    fn keys() -> [Key; 3] {
        let [cross, along, eigenvalues] = Self::COLOURS;
        [
            Key { sample: Sample::Marked(Mark::Circle, cross), text: "c: singular values s_{yx} of Σ_{yx}".into() },
            Key { sample: Sample::Marked(Mark::Diamond, along), text: "c: variances s_{xx} along them".into() },
            Key { sample: Sample::Marked(Mark::Square, eigenvalues), text: "c: eigenvalues of Σ_{xx}".into() },
        ]
    }

    fn caption(&self) -> String {
        let zero = self.spectra().into_iter().map(|values| values.len() - Self::positive(values).len()).sum::<usize>();
        let mut text =
            String::from(" Moments (c) of the training images: Σ_{yx} = E[y x^{⊤}] = U S_{yx} V^{⊤}, Σ_{xx} = E[x x^{⊤}]");
        if let Some(residual) = self.residual {
            text.push_str(&format!(
                "; what Σ_{{xx}} has outside the diagonal of V^{{⊤}}Σ_{{xx}}V is {residual:.2} of the diagonal (Frobenius norms)"
            ));
        }
        if zero > 0 {
            text.push_str(&format!("; {zero} values that are zero up to rounding are left out"));
        }
        text.push('.');
        text
    }
}
