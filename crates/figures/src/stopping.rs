//! Best stopping points of early-stopping runs: what F4 draws, T4 tabulates and the claims compare.

use isorate_results::Run;

use crate::select::Selection;
use crate::training::{Spread, thousands};
use crate::{Error, style};

/// A rule with the directions of the means that it was run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contender {
    pub(crate) rule: &'static str,
    pub(crate) basis: &'static str,
}

/// In the order of tables and keys. The directions of the means matter to `SignGD` alone.
pub(crate) const CONTENDERS: [Contender; 5] = [
    Contender { rule: "specgd", basis: "rotated" },
    Contender { rule: "ngd", basis: "rotated" },
    Contender { rule: "signgd", basis: "rotated" },
    Contender { rule: "signgd", basis: "canonical" },
    Contender { rule: "gd", basis: "rotated" },
];

impl Contender {
    pub(crate) fn name(self) -> String {
        let name = style::rule(self.rule).name;
        if self.basis == "canonical" { format!("{name}, canonical means") } else { name }
    }

    pub(crate) fn group(self, data: &str) -> String {
        format!("{data}.{}", self.basis)
    }
}

/// The best stopping point of one seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stop {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    /// η · step.
    pub(crate) time: f64,
    /// The test score there, a fraction.
    pub(crate) score: f64,
}

/// Scores that a stopping point is chosen by, and their names in text.
pub(crate) const SCORES: [(&str, &str); 2] = [("balanced", "Class-balanced"), ("worst", "Worst-class")];

/// The training data of the run, `n-2000` first and `population` last, and what they are called.
pub(crate) fn data(selection: &Selection<'_>, run: &Run) -> Result<Vec<(String, String)>, Error> {
    let mut found: Vec<(usize, String)> = Vec::new();
    for record in run.records.iter().filter(|record| record.metric == "step_size") {
        let Some((name, _)) = record.group.split_once('.') else { continue };
        let size = name.strip_prefix("n-").and_then(|size| size.parse().ok()).unwrap_or(usize::MAX);
        if !found.iter().any(|(_, known)| known == name) {
            found.push((size, name.to_owned()));
        }
    }
    if found.is_empty() {
        return Err(selection.missing("record with metric `step_size`"));
    }
    found.sort();
    Ok(found
        .into_iter()
        .map(|(size, name)| {
            let title = if size == usize::MAX { "population".to_owned() } else { format!("n = {}", thousands(size as f64)) };
            (name, title)
        })
        .collect())
}

/// The stopping points by seed; empty if the contender was not run.
pub(crate) fn stops(run: &Run, contender: Contender, data: &str, metric: &str) -> Vec<Stop> {
    let prefix = format!("{}.seed-", contender.group(data));
    let mut stops: Vec<Stop> = run
        .records
        .iter()
        .filter(|record| record.optimizer == contender.rule && record.metric == metric && record.value.is_finite())
        .filter_map(|record| {
            let seed = record.group.strip_prefix(&prefix)?.parse().ok()?;
            Some(Stop { seed, step: record.step, time: record.time?, score: record.value })
        })
        .collect();
    stops.sort_by_key(|stop| stop.seed);
    stops
}

/// Mean and deviation of the lead in score of one contender's stopping points over another's, seed by seed.
pub(crate) fn lead(ours: &[Stop], others: &[Stop]) -> Option<Spread> {
    let leads: Vec<f64> =
        ours.iter().filter_map(|stop| Some(stop.score - others.iter().find(|other| other.seed == stop.seed)?.score)).collect();
    Spread::of(&leads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(seed: u64, score: f64) -> Stop {
        Stop { seed, step: 1, time: 0.1, score }
    }

    #[test]
    fn leads_are_paired_by_seed() {
        let spread = lead(&[stop(1, 0.8), stop(2, 0.9), stop(3, 0.7)], &[stop(2, 0.6), stop(1, 0.7)]).expect("two pairs");
        assert!((spread.mean - 0.2).abs() < 1e-15 && spread.seeds == 2);
        assert!((spread.deviation.expect("two") - 0.02_f64.sqrt()).abs() < 1e-15);
        assert_eq!(lead(&[stop(1, 0.5)], &[stop(2, 0.5)]), None);
    }
}
