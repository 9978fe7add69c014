//! B1: the spectral-power flow between GD and `SpecGD`, and where the order of the classes turns round.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::f2::mixture;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series, sparse};
use crate::select::{Of, Selection, over_time};
use crate::style::{self, Mark};

const COLUMNS: usize = 3;

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("b1", "b1", runs)?;
    let run = selection.single()?;
    let priors = selection.by_index(run, "mixture", "prior")?;
    let limits = selection.by_index(run, "mixture", "limit")?;
    if priors.len() != limits.len() {
        return Err(selection.missing(format!("limit for each of the {} priors: there are {}", priors.len(), limits.len())));
    }
    let mut ranks: Vec<usize> = (0..priors.len()).collect();
    ranks.sort_by(|&a, &b| priors[b].total_cmp(&priors[a]));
    let classes: Vec<Class> = ranks
        .iter()
        .enumerate()
        .map(|(rank, &index)| Class {
            group: index.to_string(),
            limit: limits[index],
            name: format!("p_{{c}} = {}", priors[index]),
            colour: style::component(rank, priors.len()),
        })
        .collect();

    let mut panels = Vec::new();
    let exponents = shown(run);
    if exponents.is_empty() {
        return Err(selection.missing("record with metric `alpha`"));
    }
    for (index, exponent) in exponents.iter().enumerate() {
        panels.push(paths(&selection, run, exponent, &classes, index % COLUMNS > 0)?);
    }
    panels.push(times(&selection, run, &classes)?);
    panels.push(ratios(&selection, run)?);

    let keys = vec![
        Key { sample: Sample::Line(style::INK), text: "closed form".into() },
        Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "matrix simulation".into() },
        Key { sample: Sample::Mark(Mark::Diamond, Fill::Full, style::INK), text: "saturation (a–d); p* (f)".into() },
        Key { sample: Sample::Dashed(style::INK), text: "common limit; equal times".into() },
    ];
    let caption = format!(
        "Linear model under the rule U Σ^{{p}} V^{{⊤}}, from GD to SpecGD: components α_{{c}}(t) from 0. Dark: frequent class. Below p* the rarest \
         class saturates first, above it the most frequent. Last two panels: time to half of the limit, which has the order of saturation, and its \
         ratio between the most frequent and the rarest class for L layers (simulated from e^{{−{}}} a layer). {}; {} scale.",
        run.header.spec.get("delta").and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN),
        mixture(run, &priors),
        selection.scale(),
    );
    Ok(Figure {
        id: "b1",
        title: "The spectral-power flow between GD and SpecGD, and the order in which classes saturate".into(),
        columns: COLUMNS,
        panels,
        keys,
        caption,
    })
}

struct Class {
    group: String,
    limit: f64,
    name: String,
    colour: plotters::style::RGBColor,
}

/// The exponents whose paths were stored, as in their keys, from GD to `SpecGD`.
fn shown(run: &Run) -> Vec<String> {
    let mut found: Vec<(f64, String)> = run
        .records
        .iter()
        .filter(|record| record.metric == "alpha")
        .filter_map(|record| Some((exponent(&record.optimizer)?, record.optimizer.clone())))
        .collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.dedup();
    found.into_iter().map(|(_, key)| key).collect()
}

/// p of `power-p`.
fn exponent(key: &str) -> Option<f64> {
    key.strip_prefix("power-")?.parse().ok()
}

fn paths(selection: &Selection<'_>, run: &Run, key: &str, classes: &[Class], shares_y: bool) -> Result<Panel, Error> {
    let (mut references, mut lines, mut marks, mut ends) = (vec![], vec![], vec![], vec![]);
    let mut last = 0.0_f64;
    let saturated = |group: &str| {
        let of = |record: &&isorate_results::Record| {
            record.optimizer == key && record.metric == "saturation_time" && record.group == group && record.value.is_finite()
        };
        run.records.iter().find(of).map(|record| record.value)
    };
    for class in classes {
        let of = |split| Of { optimizer: key, split, metric: "alpha", group: &class.group };
        let theory = selection.over_time(run, of("closed-form"))?;
        last = theory.last().map_or(last, |point| last.max(point.0));
        let colour = class.colour;
        lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
        let points = sparse(&over_time(run, of("simulation")));
        marks.push(Series::Marks { points, colour, mark: Mark::Circle, radius: 0.8 * style::MARK_RADIUS, fill: Fill::Outline });
        if let Some(time) = saturated(&class.group) {
            let points = vec![(time, class.limit)];
            ends.push(Series::Marks { points, colour, mark: Mark::Diamond, radius: 1.6 * style::MARK_RADIUS, fill: Fill::Full });
        }
    }
    for class in classes {
        references.push(Series::Dashed { points: vec![(0.0, class.limit), (last, class.limit)], colour: class.colour });
    }
    let highest = classes.iter().map(|class| class.limit).fold(0.0, f64::max);
    let title = match exponent(key) {
        Some(1.0) => "p = 1, GD: never saturates".to_owned(),
        Some(0.0) => "p = 0, SpecGD".to_owned(),
        Some(p) => format!("p = {p}"),
        None => key.to_owned(),
    };
    Ok(Panel {
        title,
        x: Axis::linear("time t", 0.0, last, 5),
        y: Axis::linear_with_room("component α_{c}", 0.0, highest, 5),
        shares_y,
        series: references.into_iter().chain(lines).chain(marks).chain(ends).collect(),
        labels: Vec::new(),
    })
}

/// The values of a metric over p.
fn over_exponent(run: &Run, split: &str, metric: &str, group: &str) -> Vec<Pair> {
    let mut points: Vec<Pair> = run
        .records
        .iter()
        .filter(|record| record.split == split && record.metric == metric && record.group == group && record.value.is_finite())
        .filter_map(|record| Some((exponent(&record.optimizer)?, record.value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

fn times(selection: &Selection<'_>, run: &Run, classes: &[Class]) -> Result<Panel, Error> {
    let (mut lines, mut marks, mut labels) = (vec![], vec![], vec![]);
    for class in classes {
        let theory = over_exponent(run, "closed-form", "half_time", &class.group);
        let Some(&end) = theory.last() else {
            return Err(selection.missing(format!("record with metric `half_time`, group `{}`", class.group)));
        };
        labels.push(Label { text: class.name.clone(), end, colour: class.colour });
        lines.push(Series::Line { points: theory, colour: class.colour, width: style::LINE_WIDTH });
        marks.push(Series::Marks {
            points: over_exponent(run, "simulation", "half_time", &class.group),
            colour: class.colour,
            mark: Mark::Circle,
            radius: style::MARK_RADIUS,
            fill: Fill::Outline,
        });
    }
    let series: Vec<Series> = lines.into_iter().chain(marks).collect();
    let high = series.iter().flat_map(Series::heights).fold(0.0, f64::max);
    Ok(Panel {
        title: "Time to half of the limit".into(),
        x: Axis::linear("exponent p", 0.0, 1.0, 5),
        y: Axis::linear_with_room("time", 0.0, high, 5),
        shares_y: false,
        series,
        labels,
    })
}

fn ratios(selection: &Selection<'_>, run: &Run) -> Result<Panel, Error> {
    let depths: Vec<u64> = run
        .header
        .spec
        .get("depths")
        .and_then(serde_json::Value::as_array)
        .map(|depths| depths.iter().filter_map(serde_json::Value::as_u64).collect())
        .unwrap_or_default();
    let (mut lines, mut marks, mut flips, mut labels) = (vec![], vec![], vec![], vec![]);
    for (rank, depth) in depths.iter().enumerate() {
        let colour = style::component(rank, depths.len());
        let group = format!("depth-{depth}");
        let theory = over_exponent(run, "closed-form", "time_ratio", &group);
        let Some(&end) = theory.last() else {
            return Err(selection.missing(format!("record with metric `time_ratio`, group `{group}`")));
        };
        labels.push(Label { text: format!("L = {depth}"), end: (1.0, end.1), colour });
        lines.push(Series::Line { points: theory, colour, width: style::LINE_WIDTH });
        let points = over_exponent(run, "simulation", "time_ratio", &group);
        marks.push(Series::Marks { points, colour, mark: Mark::Circle, radius: style::MARK_RADIUS, fill: Fill::Outline });
        let flip = run.records.iter().find(|record| record.metric == "flip" && record.group == group);
        if let Some(flip) = flip.filter(|record| record.value.is_finite()) {
            let points = vec![(flip.value, 1.0)];
            flips.push(Series::Marks { points, colour, mark: Mark::Diamond, radius: 1.8 * style::MARK_RADIUS, fill: Fill::Full });
        }
    }
    let equal = Series::Dashed { points: vec![(0.0, 1.0), (1.0, 1.0)], colour: style::INK };
    let series: Vec<Series> = std::iter::once(equal).chain(lines).chain(marks).chain(flips).collect();
    let high = series.iter().flat_map(Series::heights).fold(0.0, f64::max);
    Ok(Panel {
        title: "Most frequent over rarest".into(),
        x: Axis::linear("exponent p", 0.0, 1.0, 5),
        y: Axis::linear_with_room("ratio of the times", 0.0, high, 5),
        shares_y: false,
        series,
        labels,
    })
}
