use isorate_results::{Outcome, Run};
use serde_json::Value;

use super::Spread;

/// What is measured of a network in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measure<'a> {
    pub(crate) split: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) group: &'a str,
}

impl<'a> Measure<'a> {
    pub(crate) const fn new(split: &'a str, metric: &'a str, group: &'a str) -> Self {
        Self { split, metric, group }
    }

    /// Accuracy on a group of the test set.
    pub(crate) const fn accuracy(group: &'a str) -> Self {
        Self::new("test", "accuracy", group)
    }
}

impl std::fmt::Display for Measure<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { split, metric, group } = self;
        write!(formatter, "record with split `{split}`, metric `{metric}`, group `{group}`")
    }
}

/// The runs of one update rule, one for each seed, by seed; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) key: &'a str,
    pub(crate) runs: Vec<&'a Run>,
}

/// A point of a curve over the epochs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) epoch: f64,
    pub(crate) spread: Spread,
}

/// The finite values of a run: (epoch, value), by epoch.
pub(crate) fn values(run: &Run, of: Measure<'_>) -> Vec<(f64, f64)> {
    let mut points: Vec<_> = run
        .series(of.split, of.metric, of.group)
        .filter(|record| record.value.is_finite())
        .filter_map(|record| Some((record.epoch.filter(|epoch| epoch.is_finite())?, record.value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The value of a run at one of the measured epochs.
pub(crate) fn value_at(run: &Run, of: Measure<'_>, epoch: f64) -> Option<f64> {
    values(run, of).into_iter().find(|point| same_epoch(point.0, epoch)).map(|point| point.1)
}

/// Epochs are steps times batch size over number of images: equal up to rounding.
pub(super) fn same_epoch(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * (1.0 + a.abs())
}

impl<'a> Rule<'a> {
    /// Mean and spread over those seeds that have a measurement, at each epoch that one has.
    pub(crate) fn curve(&self, of: Measure<'_>) -> Vec<Point> {
        let mut values: Vec<(f64, f64)> = self.runs.iter().flat_map(|run| values(run, of)).collect();
        // By the value as well, so that the order of the runs leaves no trace in a sum.
        values.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        values
            .chunk_by(|a, b| same_epoch(a.0, b.0))
            .filter_map(|same| {
                let spread = Spread::of(&same.iter().map(|point| point.1).collect::<Vec<_>>())?;
                Some(Point { epoch: same[0].0, spread })
            })
            .collect()
    }

    /// Mean and spread at one epoch, over those seeds that were measured there.
    pub(crate) fn at(&self, of: Measure<'_>, epoch: f64) -> Option<Spread> {
        let values: Vec<f64> = self.runs.iter().filter_map(|run| value_at(run, of, epoch)).collect();
        Spread::of(&values)
    }

    /// The runs that diverged or failed.
    pub(crate) fn stopped(&self) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().copied().filter(|run| run.outcome != Outcome::Finished)
    }

    /// Where each run that diverged or failed was measured last: (epoch, value).
    pub(crate) fn ends(&self, of: Measure<'_>) -> Vec<(f64, f64)> {
        self.stopped().filter_map(|run| values(run, of).last().copied()).collect()
    }

    /// The step size of its runs.
    pub(crate) fn step_size(&self) -> Option<f64> {
        self.runs[0].header.spec.pointer("/optimizer/step_size").and_then(Value::as_f64)
    }

    /// The step sizes that it was chosen from, in increasing order; empty if the runs do not say.
    pub(crate) fn grid(&self) -> Vec<f64> {
        let grid = self.runs[0].header.spec.pointer("/optimizer/grid").and_then(Value::as_array);
        let mut grid: Vec<f64> = grid.into_iter().flatten().filter_map(Value::as_f64).collect();
        grid.sort_by(f64::total_cmp);
        grid
    }

    /// By which criterion its step size was chosen, as the runs say: `average`, `worst` or `both`.
    pub(crate) fn chosen_by(&self) -> &'a str {
        selection(self.runs[0])
    }

    /// Time inside training steps, seconds, of the runs that were finished and measured it.
    pub(crate) fn train_seconds(&self) -> Option<Spread> {
        let finished = self.runs.iter().filter(|run| run.outcome == Outcome::Finished);
        let seconds: Vec<f64> =
            finished.map(|run| run.header.provenance.train_seconds).filter(|seconds| *seconds > 0.0).collect();
        Spread::of(&seconds)
    }

    /// Seconds that an epoch of training steps takes, mean over seeds.
    pub(crate) fn seconds_per_epoch(&self) -> Option<f64> {
        let epochs = self.runs[0].header.spec.get("epochs").and_then(Value::as_f64).filter(|epochs| *epochs > 0.0)?;
        Some(self.train_seconds()?.mean / epochs)
    }

    /// The most memory that one of its runs needed, bytes.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        self.runs.iter().map(|run| run.header.provenance.peak_memory_bytes).max().filter(|bytes| *bytes > 0)
    }
}

/// By which criterion a run's step size was chosen; runs that do not say serve for both.
pub(super) fn selection(run: &Run) -> &str {
    run.header.spec.pointer("/optimizer/selection").and_then(Value::as_str).unwrap_or("both")
}

/// All epochs at which any run was measured, in order.
pub(crate) fn epochs(rules: &[Rule<'_>], of: Measure<'_>) -> Vec<f64> {
    let mut epochs: Vec<f64> =
        rules.iter().flat_map(|rule| &rule.runs).flat_map(|run| values(run, of)).map(|point| point.0).collect();
    epochs.sort_by(f64::total_cmp);
    epochs.dedup_by(|a, b| same_epoch(*a, *b));
    epochs
}

/// The measured epoch that is nearest to one that is asked for.
pub(crate) fn nearest(epochs: &[f64], wanted: f64) -> Option<f64> {
    epochs.iter().copied().min_by(|a, b| (a - wanted).abs().total_cmp(&(b - wanted).abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_epoch_is_a_measured_one() {
        assert_eq!(nearest(&[0.0, 0.9, 2.0], 1.0), Some(0.9));
        assert_eq!(nearest(&[], 1.0), None);
    }
}
