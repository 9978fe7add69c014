//! D1: data sets diagnosed, predicted against measured leads of `SpecGD`.

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series};
use crate::select::{Of, Selection, over_time};
use crate::style::{self, Mark};
use isorate_results::Run;

const RULES: [&str; 2] = ["gd", "ngd"];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("d1", "d1", runs)?;
    let run = selection.single()?;
    let names = data_sets(&selection, run)?;
    let mut panels = Vec::new();
    let mut held_out = false;
    for name in &names {
        let set = Set { selection: &selection, run, name };
        let verdict = format!("{}: {}", set.short(), set.note("verdict")?);
        panels.push(set.gap("minority", verdict, "lead in loss, rarest classes", &mut held_out)?);
        panels.push(set.gap("balanced", "all classes equally".into(), "lead in balanced loss", &mut held_out)?);
        panels.push(set.half_times()?);
    }
    let mut keys: Vec<Key> = RULES
        .iter()
        .map(|key| style::rule(key))
        .map(|rule| Key { sample: Sample::Line(rule.colour), text: format!("over {}, predicted", rule.name) })
        .collect();
    keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "measured, training rows".into() });
    if held_out {
        keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Full, style::INK), text: "measured, held-out rows".into() });
    }
    keys.push(Key { sample: Sample::Dashed(style::AXIS), text: "first saturation t*".into() });
    for key in ["gd", "specgd"] {
        let rule = style::rule(key);
        let text = format!("half learned, {}", rule.name);
        keys.push(Key { sample: Sample::Mark(rule.mark, Fill::Outline, rule.colour), text });
    }
    let mut caption = String::new();
    for name in &names {
        let set = Set { selection: &selection, run, name };
        caption.push_str(&format!("{}. ", set.note("title")?));
    }
    caption.push_str(&format!(
        "Loss of GD or NGD − loss of SpecGD for a linear model, one step size for all rules. Lines: closed forms under Condition 1; marks: matrices followed on the moments \
         as they are. Right: predicted time until half of a class's own score is there; the rarest classes are full. {} scale.",
        capital(selection.scale()),
    ));
    Ok(Figure {
        id: "d1",
        title: "Predicted and measured leads of SpecGD on data sets".into(),
        columns: 3,
        panels,
        keys,
        caption,
    })
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The data sets in the order in which they were diagnosed.
pub(crate) fn data_sets<'a>(selection: &Selection<'_>, run: &'a Run) -> Result<Vec<&'a str>, Error> {
    let records = run
        .records
        .iter()
        .filter(|record| record.optimizer == "diagnosis" && record.metric == "first_saturation" && record.value.is_finite());
    let names: Vec<&str> = records.map(|record| record.group.as_str()).collect();
    if names.is_empty() {
        return Err(selection.missing("record with optimizer `diagnosis`, metric `first_saturation`"));
    }
    Ok(names)
}

/// One data set of the run.
pub(crate) struct Set<'a> {
    pub(crate) selection: &'a Selection<'a>,
    pub(crate) run: &'a Run,
    pub(crate) name: &'a str,
}

impl Set<'_> {
    pub(crate) fn note(&self, name: &str) -> Result<&str, Error> {
        let key = format!("{}.{name}", self.name);
        self.run.notes.get(&key).map(String::as_str).ok_or_else(|| self.selection.missing(format!("note `{key}`")))
    }

    /// A number of the data set on a split; `None` for one that is not there or not finite.
    pub(crate) fn number(&self, split: &str, metric: &str) -> Option<f64> {
        let mut found = self.run.series(split, metric, self.name).filter(|record| record.optimizer == "diagnosis");
        found.next().map(|record| record.value).filter(|value| value.is_finite())
    }

    /// The name, without the folders of a file.
    fn short(&self) -> &str {
        self.name.rsplit(['/', '\\']).next().unwrap_or(self.name)
    }

    fn gap(&self, loss: &str, title: String, label: &str, held_out: &mut bool) -> Result<Panel, Error> {
        let metric = format!("{loss}_gap");
        let (mut lines, mut marks, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        let first = self.number("train", "first_saturation");
        let (mut from, mut last) = (f64::INFINITY, 0.0_f64);
        for key in RULES {
            let style::Rule { name, colour, mark, .. } = style::rule(key);
            let of = |split| Of { optimizer: key, split, metric: &metric, group: self.name };
            // Time is drawn logarithmically, so that what happens before t* can be seen; a tenth of t* is early enough.
            let shown = |points: Vec<Pair>| -> Vec<Pair> {
                points.into_iter().filter(|point| point.0 > 0.0 && first.is_none_or(|first| point.0 >= 0.1 * first)).collect()
            };
            let predicted = shown(self.selection.over_time(self.run, of("closed-form"))?);
            let measured = shown(self.selection.over_time(self.run, of("train"))?);
            let held = apart(&shown(over_time(self.run, of("held-out"))));
            from = predicted.iter().chain(&measured).map(|point| point.0).fold(from, f64::min);
            *held_out |= !held.is_empty();
            last = predicted.iter().chain(&measured).map(|point| point.0).fold(last, f64::max);
            if let Some(&end) = predicted.last() {
                labels.push(Label { text: name, end, colour });
            }
            lines.push(Series::Line { points: predicted, colour, width: style::LINE_WIDTH });
            marks.push(Series::Marks { points: held, colour, mark, radius: 2.2, fill: Fill::Full });
            marks.push(Series::Marks { points: apart(&measured), colour, mark, radius: style::MARK_RADIUS, fill: Fill::Outline });
        }
        let heights = || lines.iter().chain(&marks).flat_map(Series::heights);
        let (low, high) = (heights().fold(0.0, f64::min), heights().fold(0.0, f64::max));
        let y = Axis::linear_with_room(label, low, high, 5);
        let x = Axis::log("time t", from, last);
        let mut series = vec![Series::Dashed { points: vec![(x.low, 0.0), (x.high, 0.0)], colour: style::AXIS }];
        if let Some(first) = first.filter(|first| *first <= last) {
            series.push(Series::Dashed { points: vec![(first, y.low), (first, y.high)], colour: style::AXIS });
        }
        series.extend(lines);
        series.extend(marks);
        Ok(Panel { title, x, y, shares_y: false, series, labels })
    }

    /// Predicted half times by prior, under GD and `SpecGD`.
    fn half_times(&self) -> Result<Panel, Error> {
        let value = |metric: &str, index: usize| {
            let group = format!("{}/{index}", self.name);
            self.run.series("train", metric, &group).find(|record| record.optimizer == "class").map(|record| record.value)
        };
        let priors: Vec<f64> = (0..self.run.records.len()).map_while(|index| value("prior", index)).collect();
        let count = priors.len();
        let mut series = Vec::new();
        let mut heights: Vec<f64> = Vec::new();
        for (metric, key) in [("half_time_gd", "gd"), ("half_time_specgd", "specgd")] {
            let rule = style::rule(key);
            for (rare, fill) in [(false, Fill::Outline), (true, Fill::Full)] {
                let points: Vec<Pair> = (0..count)
                    .filter(|&index| (value("minority", index) == Some(1.0)) == rare)
                    .filter_map(|index| {
                        Some((priors[index], value(metric, index).filter(|time| time.is_finite() && *time > 0.0)?))
                    })
                    .collect();
                heights.extend(points.iter().map(|point| point.1));
                series.push(Series::Marks {
                    points,
                    colour: rule.colour,
                    mark: rule.mark,
                    radius: style::MARK_RADIUS + 0.6,
                    fill,
                });
            }
        }
        if heights.is_empty() {
            return Err(self.selection.missing(format!("finite half time of a class of `{}`", self.name)));
        }
        let bounds =
            |values: &[f64]| (values.iter().copied().fold(f64::INFINITY, f64::min), values.iter().copied().fold(0.0, f64::max));
        let ((left, right), (low, high)) = (bounds(&priors), bounds(&heights));
        let x = Axis::log("share of the class", left, right);
        Ok(Panel {
            title: "half learned, predicted".to_owned(),
            x,
            y: Axis::log("time t", low, high),
            shares_y: false,
            series,
            labels: Vec::new(),
        })
    }
}

/// The points, less those that are nearer than a tenth of their time to the one before.
fn apart(points: &[Pair]) -> Vec<Pair> {
    let mut kept: Vec<Pair> = Vec::new();
    for &point in points {
        if kept.last().is_none_or(|before| point.0 >= 1.1 * before.0) {
            kept.push(point);
        }
    }
    kept
}
