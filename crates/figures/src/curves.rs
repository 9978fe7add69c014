//! Curves of several update rules over training: mean and spread over seeds.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series};
use crate::select::Selection;
use crate::style::{self, Mark};
use crate::training::{Case, Choice, Measure, Rule, Spread, caption, case_name, epochs};

/// What lies below the curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Epochs,
    /// Time inside training steps: epochs times the seconds of an epoch.
    Time,
}

/// What lies beside the curves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Height<'a> {
    /// Fractions, shown in percent over all of [0, 100].
    Percent(&'a str),
    /// Whatever the curves reach.
    Fitted(&'a str),
}

/// One panel: one measure of every rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) title: &'a str,
    pub(crate) of: Measure<'a>,
    pub(crate) over: Over,
    pub(crate) height: Height<'a>,
    /// Whether the panel to the left has the same y axis.
    pub(crate) shares_y: bool,
}

impl<'a> View<'a> {
    /// Accuracies on a group of the test set, over epochs.
    pub(crate) const fn accuracy(title: &'a str, group: &'a str) -> Self {
        let (over, height) = (Over::Epochs, Height::Percent("test accuracy (%)"));
        Self { title, of: Measure::accuracy(group), over, height, shares_y: false }
    }

    pub(crate) const fn over(self, over: Over) -> Self {
        Self { over, ..self }
    }

    pub(crate) const fn on(self, split: &'a str) -> Self {
        Self { of: Measure { split, ..self.of }, ..self }
    }

    pub(crate) const fn sharing_y(self) -> Self {
        Self { shares_y: true, ..self }
    }
}

/// A row of panels for each case; where there are several, their titles begin with the case.
pub(crate) fn rows(selection: &Selection<'_>, cases: &[Case<'_>], views: &[View<'_>]) -> Result<Vec<Panel>, Error> {
    let panels = cases.iter().flat_map(|case| views.iter().map(move |view| (case, view)));
    panels
        .map(|(case, view)| {
            let panel = panel(selection, &case.rules, view)?;
            Ok(Panel { title: title(cases, case, view.title), ..panel })
        })
        .collect()
}

/// The title of a panel: where there are several cases it begins with the case, else with a capital.
pub(crate) fn title(cases: &[Case<'_>], case: &Case<'_>, text: &str) -> String {
    if cases.len() > 1 {
        return format!("{}: {text}", case_name(case.name));
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// One measure of the rules.
pub(crate) fn panel(selection: &Selection<'_>, rules: &[Rule<'_>], view: &View<'_>) -> Result<Panel, Error> {
    let (factor, limits) = match view.height {
        Height::Percent(_) => (100.0, (0.0, 100.0)),
        Height::Fitted(_) => (1.0, (f64::NEG_INFINITY, f64::INFINITY)),
    };
    let mut strokes = Vec::new();
    let mut last = 0.0_f64;
    // The first rule is drawn last, on top.
    for rule in rules.iter().rev() {
        let curve = rule.curve(view.of);
        // A rule that stopped in every seed before a measurement has nothing to show; its caption says so.
        if curve.is_empty() && rule.stopped().count() == rule.runs.len() {
            continue;
        }
        if curve.is_empty() {
            let key = rule.key;
            return Err(selection.missing(format!("{}, optimizer `{key}`", view.of)));
        }
        let unit = match view.over {
            Over::Epochs => 1.0,
            Over::Time => match rule.seconds_per_epoch() {
                Some(seconds) => seconds,
                None if rule.stopped().count() == rule.runs.len() => continue,
                None => return Err(selection.missing(format!("training time of `{}`", rule.key))),
            },
        };
        let points: Vec<(f64, Spread)> = curve.iter().map(|point| (unit * point.epoch, point.spread.times(factor))).collect();
        let ends = rule.ends(view.of).into_iter().map(|(epoch, value)| (unit * epoch, factor * value)).collect();
        last = points.last().map_or(last, |point| last.max(point.0));
        strokes.push(Stroke { key: rule.key, points, ends });
    }
    if strokes.is_empty() {
        return Err(selection.missing(view.of));
    }
    if view.over == Over::Epochs {
        last = epochs(rules, view.of).last().copied().unwrap_or(last);
    }
    let (unit, x) = match view.over {
        Over::Epochs => (1.0, "epoch"),
        Over::Time if last > 600.0 => (60.0, "training time (min)"),
        Over::Time => (1.0, "training time (s)"),
    };
    for point in strokes.iter_mut().flat_map(|stroke| &mut stroke.points) {
        point.0 /= unit;
    }
    for end in strokes.iter_mut().flat_map(|stroke| &mut stroke.ends) {
        end.0 /= unit;
    }
    let series = layers(&strokes, limits);
    let y = match view.height {
        Height::Percent(label) => Axis::percent(label),
        Height::Fitted(label) => fitted(label, &series),
    };
    Ok(Panel {
        title: view.title.to_owned(),
        x: Axis::linear(x, 0.0, last / unit, if x == "epoch" { 6 } else { 4 }),
        y,
        shares_y: view.shares_y,
        series,
        labels: Vec::new(),
    })
}

/// An axis around all that is drawn.
pub(crate) fn fitted(label: &str, series: &[Series]) -> Axis {
    let heights = || series.iter().flat_map(Series::heights);
    let (low, high) = (heights().fold(f64::INFINITY, f64::min), heights().fold(f64::NEG_INFINITY, f64::max));
    Axis::linear_with_room(label, low, high, 5)
}

/// What one rule shows in a panel.
pub(crate) struct Stroke<'a> {
    pub(crate) key: &'a str,
    /// By x.
    pub(crate) points: Vec<(f64, Spread)>,
    /// Where seeds stopped.
    pub(crate) ends: Vec<Pair>,
}

/// Bands below lines below marks below crosses; the last stroke is on top. Bands stay within `limits`.
pub(crate) fn layers(strokes: &[Stroke<'_>], (low, high): Pair) -> Vec<Series> {
    let (mut bands, mut lines, mut marks, mut crosses) = (vec![], vec![], vec![], vec![]);
    // Marks at every point, or at every second, …, so that they can be told apart.
    let longest = strokes.iter().map(|stroke| stroke.points.len()).max().unwrap_or(0);
    let every = if longest <= 10 { 1 } else { (longest - 1).div_ceil(6) };
    for Stroke { key, points, ends } in strokes {
        let style::Rule { colour, mark, hollow, .. } = style::rule(key);
        // A band needs a spread; where only one seed is left there is none.
        for stretch in points.chunk_by(|a, b| a.1.deviation.is_some() == b.1.deviation.is_some()) {
            let band: Vec<_> = stretch
                .iter()
                .filter_map(|(x, spread)| Some((*x, spread.mean, spread.deviation?)))
                .map(|(x, mean, deviation)| (x, (mean - deviation).max(low), (mean + deviation).min(high)))
                .collect();
            bands.push(Series::Band { points: band, colour, opacity: style::BAND_OPACITY });
        }
        let line: Vec<Pair> = points.iter().map(|(x, spread)| (*x, spread.mean)).collect();
        marks.push(Series::Marks {
            points: line.iter().copied().step_by(every).collect(),
            colour,
            mark,
            radius: style::MARK_RADIUS,
            fill: if hollow { Fill::Outline } else { Fill::Full },
        });
        lines.push(if hollow {
            Series::Dashed { points: line, colour }
        } else {
            Series::Line { points: line, colour, width: style::LINE_WIDTH }
        });
        let points = ends.clone();
        crosses.push(Series::Marks { points, colour, mark: Mark::Cross, radius: style::MARK_RADIUS + 0.5, fill: Fill::Full });
    }
    [bands, lines, marks, crosses].into_iter().flatten().collect()
}

/// The names of the rules beside the ends of their curves.
pub(crate) fn end_labels(rules: &[Rule<'_>], of: Measure<'_>, factor: f64) -> Vec<Label> {
    let ends = rules.iter().filter_map(|rule| Some((rule, rule.curve(of).last().copied()?)));
    ends.map(|(rule, end)| {
        let style::Rule { name, colour, .. } = style::rule(rule.key);
        Label { text: name, end: (end.epoch, factor * end.spread.mean), colour }
    })
    .collect()
}

/// Keys of the rules of all cases.
pub(crate) fn rule_keys(cases: &[Case<'_>]) -> Vec<Key> {
    let mut keys: Vec<&str> = Vec::new();
    for key in style::ORDER.into_iter().chain(cases.iter().flat_map(|case| case.rules.iter().map(|rule| rule.key))) {
        if !keys.contains(&key) && cases.iter().any(|case| case.rule(key).is_some()) {
            keys.push(key);
        }
    }
    keys.into_iter()
        .map(|key| {
            let style::Rule { name, colour, mark, hollow } = style::rule(key);
            Key { sample: if hollow { Sample::Hollow(mark, colour) } else { Sample::Marked(mark, colour) }, text: name }
        })
        .collect()
}

/// Keys of what is drawn around and on curves.
pub(crate) fn spread_keys(cases: &[Case<'_>]) -> Vec<Key> {
    let rules = || cases.iter().flat_map(|case| &case.rules);
    let mut keys = Vec::new();
    if rules().any(|rule| rule.runs.len() > 1) {
        keys.push(Key { sample: Sample::Band(style::AXIS), text: "mean ± standard deviation".into() });
    }
    if rules().any(|rule| rule.stopped().next().is_some()) {
        keys.push(Key { sample: Sample::Mark(Mark::Cross, Fill::Full, style::INK), text: "end of a seed that stopped".into() });
    }
    keys
}

/// What a figure of curves says about itself.
pub(crate) struct About<'a> {
    pub(crate) id: &'static str,
    pub(crate) experiment: &'a str,
    pub(crate) title: &'a str,
    /// What the panels show: the beginning of the caption.
    pub(crate) shows: &'a str,
}

/// A figure with a row of curves for each case, at the step sizes chosen by average validation score.
pub(crate) fn figure(about: &About<'_>, views: &[View<'_>], runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new(about.id, about.experiment, runs)?;
    let cases = selection.cases(Choice::Average)?;
    let panels = rows(&selection, &cases, views)?;
    Ok(assemble(about, &selection, &cases, views.len(), panels))
}

/// Panels with the keys of the rules and the caption.
pub(crate) fn assemble(
    about: &About<'_>,
    selection: &Selection<'_>,
    cases: &[Case<'_>],
    columns: usize,
    panels: Vec<Panel>,
) -> Figure {
    let mut keys = rule_keys(cases);
    keys.extend(spread_keys(cases));
    Figure {
        id: about.id,
        title: about.title.to_owned(),
        columns,
        panels,
        keys,
        caption: caption(about.shows, selection, cases, Some(Choice::Average)),
    }
}
