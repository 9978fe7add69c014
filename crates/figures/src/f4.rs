//! F4: accuracies under cross-entropy along the path of each rule, and where to stop.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Panel, Sample, Series};
use crate::select::{Of, Selection, over_time};
use crate::stopping::{CONTENDERS, Contender, SCORES, data, stops};
use crate::style;

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("f4", "f4", runs)?;
    let run = selection.single()?;
    let data = data(&selection, run)?;
    let shown: Vec<Contender> = CONTENDERS
        .into_iter()
        .filter(|contender| data.iter().any(|(name, _)| !stops(run, *contender, name, "best_balanced").is_empty()))
        .collect();
    if shown.is_empty() {
        return Err(selection.missing("record with metric `best_balanced`"));
    }
    let mut panels = Vec::new();
    for (score, title) in SCORES {
        for (index, (name, about)) in data.iter().enumerate() {
            let mut panel = panel(&selection, run, &shown, score, name)?;
            panel.title = format!("{title}, {about}");
            panel.shares_y = index > 0;
            panels.push(panel);
        }
    }
    // One time axis for all: the units differ between rules, the ends of their paths are what they have in common.
    let ends = || panels.iter().flat_map(|panel| [panel.x.low, panel.x.high]);
    let (low, high) = (ends().fold(f64::INFINITY, f64::min), ends().fold(0.0, f64::max));
    for panel in &mut panels {
        panel.x = Axis::log("time t = η · step", low, high);
    }

    let mut keys: Vec<Key> = shown
        .iter()
        .map(|&contender| {
            let colour = style::rule(contender.rule).colour;
            let sample = if contender.basis == "canonical" { Sample::Dashed(colour) } else { Sample::Band(colour) };
            Key { sample, text: contender.name() }
        })
        .collect();
    keys.push(Key {
        sample: Sample::Mark(style::rule("specgd").mark, Fill::Full, style::INK),
        text: "best stopping point of each seed".into(),
    });
    let number = |name: &str| run.header.spec.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
    let seeds = run.header.spec.get("seeds").and_then(serde_json::Value::as_array).map_or(0, Vec::len);
    let caption = format!(
        "Test accuracy of a linear model trained from W(0) = 0 by full-batch descent on the cross-entropy of a Gaussian mixture with \
         {} classes of priors proportional to 1/c in {} dimensions, ‖μ_{{c}}‖ = {}, σ = {}: n fixed examples, or the population with \
         fresh draws at each step. Mean and standard deviation over {seeds} seeds; time is in units of each rule's own norm. Points: \
         chosen on a validation set, measured on a test set. Orthogonal means in random directions; SignGD alone depends on them, \
         and is also shown with means along coordinate axes (dashed). Length of the means, noise and n are ours; {} scale.",
        number("classes"),
        number("dim"),
        number("mean_norm"),
        number("noise_std"),
        selection.scale(),
    );
    Ok(Figure {
        id: "f4",
        title: "Class-balanced and worst-class accuracy under cross-entropy along the paths of SpecGD, NGD and SignGD".into(),
        columns: data.len(),
        panels,
        keys,
        caption,
    })
}

/// One score on one training set; the title and the axes' final ranges are set by the caller.
fn panel(selection: &Selection<'_>, run: &Run, shown: &[Contender], score: &str, data: &str) -> Result<Panel, Error> {
    let (mut bands, mut lines, mut marks) = (vec![], vec![], vec![]);
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    // The strongest rule is drawn last.
    for &contender in shown.iter().rev() {
        let style::Rule { colour, mark, .. } = style::rule(contender.rule);
        let group = contender.group(data);
        let deviation = format!("{score}_deviation");
        let of = |metric| Of { optimizer: contender.rule, split: "test", metric, group: &group };
        let percent = |points: Vec<(f64, f64)>| points.into_iter().map(|(time, value)| (time, 100.0 * value)).collect::<Vec<_>>();
        let mean = percent(selection.over_time(run, of(score))?);
        let spread = percent(over_time(run, of(&deviation)));
        low = mean.iter().map(|point| point.0).fold(low, f64::min);
        high = mean.iter().map(|point| point.0).fold(high, f64::max);
        if contender.basis == "canonical" {
            lines.push(Series::Dashed { points: mean, colour });
        } else {
            let band = mean.iter().zip(&spread).map(|(mean, by)| (mean.0, mean.1 - by.1, mean.1 + by.1)).collect();
            bands.push(Series::Band { points: band, colour, opacity: style::BAND_OPACITY });
            lines.push(Series::Line { points: mean, colour, width: style::LINE_WIDTH });
        }
        let points = stops(run, contender, data, &format!("best_{score}"));
        marks.push(Series::Marks {
            points: points.iter().map(|stop| (stop.time, 100.0 * stop.score)).collect(),
            colour,
            mark,
            radius: style::MARK_RADIUS,
            fill: if contender.basis == "canonical" { Fill::Outline } else { Fill::Full },
        });
    }
    Ok(Panel {
        title: String::new(),
        x: Axis { low, high, ..Axis::log("", low, high) },
        y: Axis::percent("test accuracy (%)"),
        shares_y: false,
        series: [bands, lines, marks].into_iter().flatten().collect(),
        labels: Vec::new(),
    })
}
