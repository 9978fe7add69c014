//! Accuracies of training runs over seeds: what F1 draws, T2 tabulates and the claims compare.

use std::collections::{BTreeMap, BTreeSet};

use isorate_results::{Outcome, Run};

use crate::select::{Selection, list};
use crate::{Error, style};

/// The runs of one update rule, one for each seed, by seed.
pub(crate) struct Rule<'a> {
    pub(crate) key: &'a str,
    pub(crate) runs: Vec<&'a Run>,
}

/// Mean and spread of a measurement over seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// Sample standard deviation (divided by n − 1); `None` for one seed.
    pub(crate) deviation: Option<f64>,
    pub(crate) seeds: usize,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let seeds = values.len();
        if seeds == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / seeds as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self { mean, deviation: (seeds > 1).then(|| (squares / (seeds - 1) as f64).sqrt()), seeds })
    }
}

/// A point of a curve over the epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) epoch: f64,
    pub(crate) spread: Spread,
}

impl<'a> Selection<'a> {
    /// The training runs (those that measured a test accuracy) by update rule, in the order of [`style::ORDER`].
    pub(crate) fn rules(&self) -> Result<Vec<Rule<'a>>, Error> {
        let mut rules: BTreeMap<(usize, &str), Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            let Some(record) = run.records.iter().find(|record| record.split == "test" && record.metric == "accuracy") else {
                continue;
            };
            let key = record.optimizer.as_str();
            let place = style::ORDER.iter().position(|known| *known == key).unwrap_or(style::ORDER.len());
            rules.entry((place, key)).or_default().push(run);
        }
        if rules.is_empty() {
            return Err(self.missing("training run (with split `test`, metric `accuracy`)"));
        }
        let mut found = Vec::new();
        for ((_, key), mut runs) in rules {
            runs.sort_by_key(|run| run.header.seed);
            if let Some(pair) = runs.windows(2).find(|pair| pair[0].header.seed == pair[1].header.seed) {
                let (a, b, seed) = (&pair[0].header.run_id, &pair[1].header.run_id, pair[0].header.seed);
                return Err(self.mixed(format!("the runs {a} and {b} are both of `{key}` with seed {seed}")));
            }
            found.push(Rule { key, runs });
        }
        self.one_data(&found)?;
        Ok(found)
    }

    /// All training runs must have seen the same data with the same model.
    fn one_data(&self, rules: &[Rule<'_>]) -> Result<(), Error> {
        for part in ["data", "model"] {
            let settings: BTreeSet<String> = rules
                .iter()
                .flat_map(|rule| &rule.runs)
                .filter_map(|run| run.header.spec.get(part))
                .map(ToString::to_string)
                .collect();
            if settings.len() > 1 {
                let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
                return Err(self.mixed(format!("their setting `{part}` is {}", list(&settings))));
            }
        }
        Ok(())
    }
}

/// The finite test accuracies of a run on one group: (epoch, fraction), by epoch.
pub(crate) fn accuracies(run: &Run, group: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = run
        .series("test", "accuracy", group)
        .filter(|record| record.value.is_finite())
        .filter_map(|record| Some((record.epoch.filter(|epoch| epoch.is_finite())?, record.value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

impl Rule<'_> {
    /// Mean and spread of the accuracy on one group over those seeds that have a measurement, at each epoch that one has.
    pub(crate) fn curve(&self, group: &str) -> Vec<Point> {
        let mut values: Vec<(f64, f64)> = self.runs.iter().flat_map(|run| accuracies(run, group)).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        values
            .chunk_by(|a, b| same_epoch(a.0, b.0))
            .filter_map(|same| {
                let spread = Spread::of(&same.iter().map(|point| point.1).collect::<Vec<_>>())?;
                Some(Point { epoch: same[0].0, spread })
            })
            .collect()
    }

    /// Mean and spread at one epoch, over those seeds that were measured there.
    pub(crate) fn at(&self, group: &str, epoch: f64) -> Option<Spread> {
        let values: Vec<f64> = self.runs.iter().filter_map(|run| accuracy_at(run, group, epoch)).collect();
        Spread::of(&values)
    }

    /// The runs that diverged.
    pub(crate) fn diverged(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().copied().filter(|run| matches!(run.outcome, Outcome::Diverged { .. }))
    }
}

/// The accuracy of a run at one of the measured epochs.
pub(crate) fn accuracy_at(run: &Run, group: &str, epoch: f64) -> Option<f64> {
    accuracies(run, group).into_iter().find(|point| same_epoch(point.0, epoch)).map(|point| point.1)
}

/// Epochs are steps times batch size over number of images: equal up to rounding.
fn same_epoch(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * (1.0 + a.abs())
}

/// All epochs at which any run measured the group, in order.
pub(crate) fn epochs(rules: &[Rule<'_>], group: &str) -> Vec<f64> {
    let mut epochs: Vec<f64> =
        rules.iter().flat_map(|rule| &rule.runs).flat_map(|run| accuracies(run, group)).map(|point| point.0).collect();
    epochs.sort_by(f64::total_cmp);
    epochs.dedup_by(|a, b| same_epoch(*a, *b));
    epochs
}

/// The measured epoch that is nearest to one that is asked for.
pub(crate) fn nearest(epochs: &[f64], wanted: f64) -> Option<f64> {
    epochs.iter().copied().min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))
}

/// `3 epochs`, `0.25 epochs`, `1 epoch`.
pub(crate) fn count_epochs(epoch: f64) -> String {
    let rounded = (epoch * 100.0).round() / 100.0;
    format!("{rounded} {}", if (rounded - 1.0).abs() < f64::EPSILON { "epoch" } else { "epochs" })
}

/// How many seeds, in words, for captions: `5 seeds`, `3 to 5 seeds`.
pub(crate) fn count_seeds(rules: &[Rule<'_>]) -> String {
    let counts: BTreeSet<usize> = rules.iter().map(|rule| rule.runs.len()).collect();
    match (counts.first(), counts.last()) {
        (Some(1), Some(1)) => "one seed".into(),
        (Some(low), Some(high)) if low == high => format!("{low} seeds"),
        (Some(low), Some(high)) => format!("{low} to {high} seeds"),
        _ => "no seeds".into(),
    }
}

/// What diverged, in a sentence; empty if nothing did.
pub(crate) fn say_diverged(rules: &[Rule<'_>]) -> Option<String> {
    let said: Vec<String> = rules
        .iter()
        .map(|rule| (rule, rule.diverged().count()))
        .filter(|&(_, diverged)| diverged > 0)
        .map(|(rule, diverged)| format!("{} with {diverged} of {}", style::rule(rule.key).name, rule.runs.len()))
        .collect();
    (!said.is_empty()).then(|| format!("Diverged: {} seeds", said.join(", ")))
}

/// Data, model and length of the training runs, from their specification; what it does not hold is left out.
pub(crate) fn describe(run: &Run) -> String {
    let spec = &run.header.spec;
    let text = |pointer: &str| spec.pointer(pointer).and_then(|value| value.as_str().map(str::to_owned));
    let number = |pointer: &str| spec.pointer(pointer).and_then(serde_json::Value::as_f64);
    let mut parts = Vec::new();
    let mut data = match text("/data/name").as_deref() {
        Some("colored-mnist" | "colored_mnist") => "Colored-MNIST".to_owned(),
        Some(name) => name.to_owned(),
        None => "data".to_owned(),
    };
    let mut about = Vec::new();
    if let Some(correlation) = number("/data/correlation") {
        let percent = (1e4 * correlation).round() / 100.0;
        about.push(format!("colour agrees with digit for {percent}%"));
    }
    about.extend(text("/data/source").map(|source| format!("source: {source}")));
    if !about.is_empty() {
        data = format!("{data} ({})", about.join("; "));
    }
    parts.push(data);
    let images = ["train", "validation", "test"]
        .into_iter()
        .filter_map(|split| number(&format!("/data/{split}")).map(|count| (split, count)))
        .map(|(split, count)| format!("{} {}", thousands(count), if split == "train" { "training" } else { split }))
        .collect::<Vec<_>>();
    if !images.is_empty() {
        parts.push(format!("{} images", images.join(" / ")));
    }
    if let Some(kind) = text("/model/kind") {
        let kind = if kind == "mlp" { "MLP".to_owned() } else { kind };
        let widths = spec.pointer("/model/widths").and_then(|widths| widths.as_array().cloned()).unwrap_or_default();
        let widths: Vec<String> = widths.iter().map(ToString::to_string).collect();
        parts.push(if widths.is_empty() { kind } else { format!("{kind} {}", widths.join("–")) });
    }
    parts.extend(number("/batch_size").map(|size| format!("batch {size}")));
    parts.extend(number("/epochs").map(count_epochs));
    parts.join(", ")
}

/// `12,000`.
pub(crate) fn thousands(count: f64) -> String {
    let digits = format!("{count:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_is_the_sample_standard_deviation() {
        assert_eq!(Spread::of(&[]), None);
        assert_eq!(Spread::of(&[0.5]), Some(Spread { mean: 0.5, deviation: None, seeds: 1 }));
        assert_eq!(Spread::of(&[1.0, 3.0]), Some(Spread { mean: 2.0, deviation: Some(2.0_f64.sqrt()), seeds: 2 }));
    }

    #[test]
    fn numbers_in_words() {
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
        assert_eq!(count_epochs(1.0), "1 epoch");
        assert_eq!(count_epochs(0.253), "0.25 epochs");
        assert_eq!(nearest(&[0.0, 0.9, 2.0], 1.0), Some(0.9));
    }
}
