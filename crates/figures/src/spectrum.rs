//! What a network has learned of each component of the data's cross-moment over training, and the stable rank of its weights.

use isorate_results::Run;

use crate::Error;
use crate::axis::Axis;
use crate::curves::{Height, Over, View, panel, rule_keys, title};
use crate::figure::{Figure, Key, Panel, Sample, Series};
use crate::select::Selection;
use crate::style;
use crate::training::{Case, Choice, Measure, Rule, caption, epochs};

/// More components than a figure can show.
const MOST: usize = 1000;

/// What is told apart in an experiment.
enum Components {
    /// The components of the training images' cross-moment, so many.
    Numbered(usize),
    /// The component of a spurious attribute and that of the class, on group-balanced images.
    Halves,
}

impl Components {
    /// What was measured.
    fn of(selection: &Selection<'_>, cases: &[Case<'_>]) -> Result<Self, Error> {
        let rules = || cases.iter().flat_map(|case| &case.rules);
        let measured = |of: Measure<'_>| rules().any(|rule| !rule.curve(of).is_empty());
        if measured(Measure::new("balanced", "learned", "core")) {
            return Ok(Self::Halves);
        }
        let count = (0..MOST).take_while(|&component| measured(Measure::new("train", "learned", &component.to_string()))).count();
        if count == 0 { Err(selection.missing(Measure::new("train", "learned", "0"))) } else { Ok(Self::Numbered(count)) }
    }

    fn count(&self) -> usize {
        match self {
            Self::Numbered(count) => *count,
            Self::Halves => 2,
        }
    }

    /// Split and group of a component, the fast ones first.
    fn place(&self, component: usize) -> (&'static str, String) {
        match self {
            Self::Numbered(_) => ("train", component.to_string()),
            Self::Halves => ("balanced", ["spurious", "core"][component].to_owned()),
        }
    }

    fn key(&self, component: usize) -> String {
        match self {
            Self::Halves => ["spurious half (fast)", "core half (slow)"][component].to_owned(),
            Self::Numbered(_) if component == 0 => "c = 1 (fast)".to_owned(),
            Self::Numbered(count) if component + 1 == *count => format!("{count} (slow)"),
            Self::Numbered(_) => (component + 1).to_string(),
        }
    }

    fn shows(&self) -> &'static str {
        match self {
            Self::Numbered(_) => {
                "Share ρ_{c} = u_{c}^{⊤} Cov(softmax f(x), x) v_{c} / s_{yx,c} that a network has learned of each component of the \
                 centred cross-moment of its training images, from the largest singular value s_{yx,c} (dark) to the smallest (light); \
                 0: nothing, 1: as much as the labels"
            }
            Self::Halves => {
                "Share ρ = u^{⊤} Cov(softmax f(x), x) v / s that a network has learned of the spurious and of the core half, u s v^{⊤} \
                 being the centred cross-moment of the attribute (dark) or the class (light) with held-out images in which the two are \
                 independent; 0: predictions do not depend on it, 1: as much as the labels"
            }
        }
    }
}

/// The spectrum that the networks of an experiment learn, for each case: a panel of `ρ_c` for each rule, then the stable ranks.
pub(crate) fn figure(id: &'static str, experiment: &str, runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new(id, experiment, runs)?;
    let cases = selection.cases(Choice::Average)?;
    let components = Components::of(&selection, &cases)?;
    let mut panels = Vec::new();
    for case in &cases {
        let named = |text: &str| title(&cases, case, text);
        for rule in &case.rules {
            let learned = learned(&selection, case, rule, &components)?;
            panels.extend(learned.map(|panel| Panel { title: named(&style::rule(rule.key).name), ..panel }));
        }
        for group in ["hidden", "head"] {
            let view = View {
                title: &named(group),
                of: Measure::new("train", "stable_rank", group),
                over: Over::Epochs,
                height: Height::Fitted("stable rank"),
                shares_y: false,
            };
            panels.push(panel(&selection, &case.rules, &view)?);
        }
    }
    let columns = columns(panels.len() / cases.len());
    share_heights(&mut panels, columns);
    let mut keys = rule_keys(&cases);
    let count = components.count();
    keys.extend(
        (0..count)
            .map(|component| Key { sample: Sample::Line(style::component(component, count)), text: components.key(component) }),
    );
    let shows = format!(
        "{}; and stable rank ‖W‖_{{F}}^{{2}}/‖W‖_{{2}}^{{2}} of hidden weights (mean over layers) and of the head. Means over seeds",
        components.shows()
    );
    let title = match components {
        Components::Numbered(_) => {
            "Learned share of each component of the data's cross-moment by optimizer, and stable ranks of the weights"
        }
        Components::Halves => "Learned share of the spurious and the core half by optimizer, and stable ranks of the weights",
    };
    Ok(Figure {
        id,
        title: title.into(),
        columns,
        panels,
        keys,
        caption: caption(&shows, &selection, &cases, Some(Choice::Average)),
    })
}

/// As many panels in a row as let the cases begin their own rows, if there is such a number.
fn columns(of_a_case: usize) -> usize {
    [4, 3, 5].into_iter().find(|columns| of_a_case.is_multiple_of(*columns)).unwrap_or(4)
}

/// `ρ_c` over epochs under one rule; `None` for a rule that stopped in every seed before it was measured.
fn learned(selection: &Selection<'_>, case: &Case<'_>, rule: &Rule<'_>, components: &Components) -> Result<Option<Panel>, Error> {
    let (split, group) = components.place(0);
    let last = epochs(&case.rules, Measure::new(split, "learned", &group)).last().copied().unwrap_or_default();
    let mut series = vec![Series::Dashed { points: vec![(0.0, 1.0), (last, 1.0)], colour: style::AXIS }];
    // The slow components are what is looked for: on top.
    for component in 0..components.count() {
        let (split, group) = components.place(component);
        let of = Measure::new(split, "learned", &group);
        let curve = rule.curve(of);
        if curve.is_empty() && rule.stopped().count() < rule.runs.len() {
            return Err(selection.missing(format!("{of}, optimizer `{}`", rule.key)));
        }
        let points = curve.iter().map(|point| (point.epoch, point.spread.mean)).collect();
        series.push(Series::Line { points, colour: style::component(component, components.count()), width: 1.4 });
    }
    let empty = series.iter().skip(1).all(|line| line.heights().next().is_none());
    Ok((!empty).then(|| Panel {
        title: String::new(),
        x: Axis::linear("epoch", 0.0, last, 4),
        // The range is the same for all and is set later.
        y: Axis::linear("learned share ρ_{c}", 0.0, 1.0, 5),
        shares_y: false,
        series,
        labels: Vec::new(),
    }))
}

/// One range for all shares, with its numbers at the first panel of a row.
fn share_heights(panels: &mut [Panel], columns: usize) {
    let shares: Vec<bool> = panels.iter().map(|panel| panel.y.label.starts_with("learned")).collect();
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for (panel, _) in panels.iter().zip(&shares).filter(|(_, shares)| **shares) {
        low = panel.series.iter().flat_map(Series::heights).fold(low, f64::min);
        high = panel.series.iter().flat_map(Series::heights).fold(high, f64::max);
    }
    for (index, panel) in panels.iter_mut().enumerate().filter(|(index, _)| shares[*index]) {
        panel.y = Axis::linear_with_room(&panel.y.label, low, high, 5);
        panel.shares_y = index % columns > 0 && shares[index - 1];
    }
}
