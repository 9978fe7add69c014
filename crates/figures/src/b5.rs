//! B5: the sharp constants of Theorems 1 and 2 by number of classes.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::canvas::Fill;
use crate::figure::{Figure, Key, Label, Pair, Panel, Sample, Series};
use crate::select::Selection;
use crate::style::{self, Mark};

/// Rule, metric and title of each gap.
pub(crate) const GAPS: [(&str, &str, &str); 4] = [
    ("gd", "minority_ratio", "GD, minority loss (Theorem 1)"),
    ("gd", "balanced_ratio", "GD, balanced loss (Theorem 1)"),
    ("ngd", "minority_ratio", "NGD, minority loss (Theorem 2)"),
    ("ngd", "balanced_ratio", "NGD, balanced loss (Theorem 2)"),
];
/// Ends of the splits' names, what they mean, and the mark.
const MEANS: [(&str, &str, Mark); 2] = [("one", "μ = 1", Mark::Square), ("third", "μ = k/3", Mark::Circle)];

/// The one value over all k.
pub(crate) fn overall(selection: &Selection<'_>, run: &Run, (rule, metric): (&str, &str), split: &str) -> Result<f64, Error> {
    run.records
        .iter()
        .find(|record| record.optimizer == rule && record.metric == metric && record.split == split && record.group == "all")
        .map(|record| record.value)
        .filter(|value| value.is_finite())
        .ok_or_else(|| {
            selection.missing(format!("record with optimizer `{rule}`, split `{split}`, metric `{metric}`, group `all`"))
        })
}

/// The finite values by k.
fn by_classes(run: &Run, (rule, metric): (&str, &str), split: &str) -> Vec<Pair> {
    let mut points: Vec<Pair> = run
        .records
        .iter()
        .filter(|record| record.optimizer == rule && record.metric == metric && record.split == split && record.value.is_finite())
        .filter_map(|record| Some((record.group.parse().ok().filter(|k| *k > 0.0)?, record.value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("b5", "b5", runs)?;
    let run = selection.single()?;
    let mut panels = Vec::new();
    let mut failing = Vec::new();
    for (index, (rule, metric, title)) in GAPS.into_iter().enumerate() {
        let colour = style::rule(rule).colour;
        let reported = overall(&selection, run, (rule, metric), "reported")?;
        let (mut lines, mut marks, mut labels) = (vec![], vec![], vec![]);
        let mut ends: Vec<Pair> = Vec::new();
        for (name, text, mark) in MEANS {
            let found = by_classes(run, (rule, metric), &format!("search-mean-{name}"));
            let proved = by_classes(run, (rule, metric), &format!("proved-mean-{name}"));
            let (Some(&end), false) = (proved.last(), found.is_empty()) else {
                return Err(selection.missing(format!("ratio `{metric}` of `{rule}` by number of classes for {text}")));
            };
            failing.extend(found.iter().filter(|point| point.1 < reported).map(|point| point.0.to_string()));
            // The bounds of Theorem 2 are the same for every μ: one line then.
            if ends.iter().any(|other| (other.1 - end.1).abs() < 1e-9) {
                labels.clear();
                labels.push(Label { text: "any μ".into(), end, colour });
            } else {
                labels.push(Label { text: text.into(), end, colour });
                lines.push(Series::Line { points: proved, colour, width: style::LINE_WIDTH });
            }
            ends.push(end);
            marks.push(Series::Marks { points: found, colour, mark, radius: style::MARK_RADIUS, fill: Fill::Outline });
        }
        let (low, high) = marks
            .iter()
            .flat_map(|series| if let Series::Marks { points, .. } = series { points.as_slice() } else { &[] })
            .fold((f64::INFINITY, 0.0_f64), |(low, high), point| (low.min(point.0), high.max(point.0)));
        // Public sources give no constant for the balanced loss of NGD.
        let word = if (rule, metric) == ("ngd", "balanced_ratio") { "expected" } else { "reported" };
        labels.push(Label { text: format!("{word} {reported}"), end: (high, reported), colour: style::AXIS });
        let dashed = Series::Dashed { points: vec![(low, reported), (high, reported)], colour: style::AXIS };
        panels.push(Panel {
            title: title.into(),
            x: Axis::log("number of classes k", low, high),
            y: Axis::linear("smallest gap/(μt)", 0.0, 1.0, 5),
            shares_y: index % 2 == 1,
            series: std::iter::once(dashed).chain(lines).chain(marks).collect(),
            labels,
        });
    }
    failing.dedup();
    let keys = vec![
        Key { sample: Sample::Line(style::INK), text: "proved lower bound".into() },
        Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "search, μ = k/3".into() },
        Key { sample: Sample::Mark(Mark::Square, Fill::Outline, style::INK), text: "search, μ = 1".into() },
        Key { sample: Sample::Dashed(style::AXIS), text: "reported or expected constant".into() },
    ];
    let below = if failing.is_empty() {
        "No search finds a ratio below the constant.".to_owned()
    } else {
        failing.sort();
        failing.dedup();
        format!("The search falls below the constant for k = {}, with NGD and the balanced loss only.", failing.join(" and "))
    };
    let caption = format!(
        "The smallest gap/(μt) over all SNR, priors with p_{{m}} ≤ 1/(5 SNR + 6k), and times in (0, t*], for each k; {} scale. Search: compass search from \
         many starts. The bounds for NGD are the infima for every k; those for GD are reached as k → ∞. {below} Public sources give no constant for the \
         balanced loss of NGD: 1/2 is that of the other balanced gap.",
        selection.scale()
    );
    Ok(Figure {
        id: "b5",
        title: "Smallest loss gaps that the conditions of Theorems 1 and 2 allow, by number of classes".into(),
        columns: 2,
        panels,
        keys,
        caption,
    })
}
