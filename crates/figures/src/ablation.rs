//! Variants of one rule against each other: B7 (which parameters Muon gets) and B8 (how exact its polar factor is).

use isorate_results::Run;

use crate::Error;
use crate::axis::{Axis, Scale};
use crate::canvas::Fill;
use crate::curves::{About, View, assemble, panel, title};
use crate::figure::{Figure, Key, Panel, Sample, Series};
use crate::select::Selection;
use crate::style::{self, Mark};
use crate::training::{Case, Choice, Measure, epochs};

/// The names that the worst part of the data goes by: groups, or classes.
const WORST: [&str; 2] = ["worst-group", "worst-class"];

/// For each case: the minority and the worst group or class over epochs, and both at the end.
pub(crate) fn figure(about: &About<'_>, runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new(about.id, about.experiment, runs)?;
    let cases = selection.cases(Choice::Average)?;
    let mut panels = Vec::new();
    for case in &cases {
        let named = |text: &str| title(&cases, case, text);
        let worst = worst(case);
        let (minority, least) = (named("minority"), named(&worst.replace('-', " ")));
        panels.push(panel(&selection, &case.rules, &View::accuracy(&minority, "minority"))?);
        panels.push(panel(&selection, &case.rules, &View::accuracy(&least, worst).sharing_y())?);
        panels.push(Panel { title: named("end of training"), ..ends(&selection, case, ["minority", worst])? });
    }
    let mut figure = assemble(about, &selection, &cases, 3, panels);
    let last = ["end: minority", "end: worst"].map(String::from).into_iter().zip([Fill::Full, Fill::Outline]);
    figure.keys.extend(last.map(|(text, fill)| Key { sample: Sample::Mark(Mark::Circle, fill, style::INK), text }));
    Ok(figure)
}

/// The worst group where there are groups, else the worst class.
fn worst(case: &Case<'_>) -> &'static str {
    let measured = |group: &&str| !epochs(&case.rules, Measure::accuracy(group)).is_empty();
    WORST.into_iter().find(measured).unwrap_or(WORST[0])
}

/// Mean and spread at the end of training, a row for each rule.
fn ends(selection: &Selection<'_>, case: &Case<'_>, groups: [&str; 2]) -> Result<Panel, Error> {
    let mut series = Vec::new();
    let mut ticks = Vec::new();
    for (index, rule) in case.rules.iter().enumerate() {
        let style::Rule { name, colour, mark, .. } = style::rule(rule.key);
        let middle = -(index as f64);
        ticks.push((middle, name));
        for (group, (fill, offset)) in groups.into_iter().zip([(Fill::Full, 0.14), (Fill::Outline, -0.14)]) {
            let of = Measure::accuracy(group);
            let Some(end) = epochs(&case.rules, of).last().copied() else { return Err(selection.missing(of)) };
            // A rule that stopped in every seed has an empty row.
            let Some(spread) = rule.at(of, end).map(|spread| spread.times(100.0)) else { continue };
            let (height, deviation) = (middle + offset, spread.deviation.unwrap_or(0.0));
            let points = vec![(spread.mean - deviation, height), (spread.mean + deviation, height)];
            series.push(Series::Line { points, colour, width: style::REFERENCE_WIDTH });
            let radius = style::MARK_RADIUS + 0.5;
            series.push(Series::Marks { points: vec![(spread.mean, height)], colour, mark, radius, fill });
        }
    }
    let across = |series: &Series| match series {
        Series::Line { points, .. } => points.iter().map(|point| point.0).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    let (low, high) =
        series.iter().flat_map(across).fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
    if low > high {
        return Err(selection.missing("run that finished"));
    }
    Ok(Panel {
        title: String::new(),
        x: Axis::linear_with_room("test accuracy (%)", low, high, 4),
        y: Axis { label: String::new(), low: 0.6 - case.rules.len() as f64, high: 0.4, scale: Scale::Linear, ticks },
        shares_y: false,
        series,
        labels: Vec::new(),
    })
}
