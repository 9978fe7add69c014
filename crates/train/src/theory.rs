//! Runs of the theory, as records.

use std::collections::BTreeMap;

use isorate_results::{Header, Outcome, Provenance, Record, Run};
use isorate_theory::{
    Check, Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, TrajectoryRow, VerifyConfig, bilinear_gap_curves,
    gap_curves, losses, trajectory, verify,
};
use serde_json::{Value, json};

use crate::Error;
use crate::runner::Product;
use crate::spec::{ChecksRun, LossGapsRun, TrajectoriesRun};

/// A run that needs no data and no network.
#[derive(Clone, Debug)]
pub(crate) enum TheoryRun {
    Trajectories(TrajectoriesRun),
    LossGaps(LossGapsRun),
    Checks(ChecksRun),
}

impl TheoryRun {
    /// The seed of the random bases or parameter sets.
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Self::Trajectories(run) => run.mixture.seed,
            Self::LossGaps(run) => run.mixture.seed,
            Self::Checks(run) => run.seed,
        }
    }

    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Trajectories(_) => "trajectories",
            Self::LossGaps(_) => "loss gaps",
            Self::Checks(_) => "theory checks",
        }
    }

    /// Everything that the numbers depend on.
    pub(crate) fn spec(&self) -> Value {
        match self {
            Self::Trajectories(run) => {
                let TrajectoriesRun { mixture, rules, horizon, step_size, points, marks } = run;
                json!({
                    "kind": "trajectories", "mixture": mixture_spec(mixture), "rules": rules, "horizon": horizon,
                    "step_size": step_size, "points": points, "marks": marks,
                })
            }
            Self::LossGaps(run) => {
                let LossGapsRun { mixture, bilinear_delta, steps, points, marks } = run;
                json!({
                    "kind": "loss-gaps", "mixture": mixture_spec(mixture), "bilinear_delta": bilinear_delta,
                    "steps": steps, "points": points, "marks": marks,
                })
            }
            Self::Checks(run) => json!({ "kind": "theory-checks", "sets": run.sets }),
        }
    }

    pub(crate) fn execute(&self) -> Result<Product, Error> {
        match self {
            Self::Trajectories(run) => Ok(product(trajectories(run)?)),
            Self::LossGaps(run) => Ok(product(loss_gaps(run)?)),
            Self::Checks(run) => {
                let checks = verify(&VerifyConfig { sets: run.sets, seed: run.seed, ..VerifyConfig::default() })?;
                let (records, notes) = check_records(&checks);
                Ok(Product { notes, ..product(records) })
            }
        }
    }
}

fn product(records: Vec<Record>) -> Product {
    Product { outcome: Outcome::Finished, records, notes: BTreeMap::new() }
}

/// The mixture with every setting explicit.
fn mixture_spec(config: &MixtureConfig) -> Value {
    json!({
        "priors": config.priors, "mean_norm": config.mean_norm, "noise_std": config.noise_std,
        "dim": config.dim.unwrap_or(config.priors.len()), "seed": config.seed,
    })
}

/// The nearest number of steps.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "specifications allow positive sizes only")]
fn whole(steps: f64) -> usize {
    steps.round() as usize
}

/// `count` + 1 numbers of steps, evenly spread over 0..=`steps`, without repetition.
fn marks(steps: usize, count: usize) -> Vec<usize> {
    let mut marks: Vec<usize> = (0..=count).map(|i| i * steps / count).collect();
    marks.dedup();
    marks
}

fn follow(mixture: &Mixture, rule: Rule, network: Network, times: Vec<f64>, source: Source) -> Result<Vec<TrajectoryRow>, Error> {
    Ok(trajectory(mixture, &TrajectoryConfig { rule, times, network, source })?)
}

/// `alpha` by component for each rule: on the split `closed-form` at `points` times, and on `simulation` at `marks` times.
/// Under the key `mixture`: `prior` and `limit` by component.
fn trajectories(run: &TrajectoriesRun) -> Result<Vec<Record>, Error> {
    let mixture = Mixture::new(run.mixture.clone())?;
    let eta = run.step_size;
    let dense: Vec<f64> = (0..run.points).map(|i| run.horizon * i as f64 / (run.points - 1).max(1) as f64).collect();
    // As many whole steps as the horizon holds.
    let steps = whole(run.horizon / eta * (1.0 + 1e-12) - 0.5);
    let simulated: Vec<f64> = marks(steps, run.marks).into_iter().map(|n| n as f64 * eta).collect();
    let mut records = Vec::new();
    let components = mixture.priors().iter().zip(mixture.components().limits());
    for (c, (prior, limit)) in components.enumerate() {
        let base = Record::at_step(0).of("mixture").split("closed-form").group(&c.to_string());
        records.push(base.clone().metric("prior").value(*prior));
        records.push(base.metric("limit").value(limit));
    }
    for name in &run.rules {
        let rule = Rule::from_options(name, None, None)?;
        for (split, times, source) in
            [("closed-form", &dense, Source::ClosedForm), ("simulation", &simulated, Source::Simulation { eta })]
        {
            for row in follow(&mixture, rule, Network::LINEAR, times.clone(), source)? {
                let base = Record::at_step(whole(row.t / eta) as u64).time(row.t).of(name).split(split).metric("alpha");
                records.extend(row.alpha.iter().enumerate().map(|(c, alpha)| base.clone().group(&c.to_string()).value(*alpha)));
            }
        }
    }
    Ok(records)
}

/// `minority_gap` and `balanced_gap` of `gd` and `ngd` against SpecGD on (0, t*], t* being when SpecGD saturates the minority
/// component.
///
/// Group `linear`: closed form with the theorems' `minority_bound` and `balanced_bound`, and simulation. Group `bilinear`, both
/// layers from e^(−δ): closed form of `gd`, and simulation of both (the normalized flow has no closed form there).
fn loss_gaps(run: &LossGapsRun) -> Result<Vec<Record>, Error> {
    let mixture = Mixture::new(run.mixture.clone())?;
    let linear = GapGrid { mixture: &mixture, network: Network::LINEAR, group: "linear", horizon: mixture.horizon(), run };
    let mut records = Vec::new();
    for row in gap_curves(&mixture, &linear.dense())? {
        let base = |rule: &str| linear.base(rule, row.t, "closed-form");
        for (rule, minority, balanced) in [
            ("gd", Some(row.gf_minority_gap()), Some(row.gf_balanced_gap())),
            ("ngd", row.ngf_minority_gap(), row.ngf_balanced_gap()),
        ] {
            records.extend(minority.map(|gap| base(rule).metric("minority_gap").value(gap)));
            records.extend(balanced.map(|gap| base(rule).metric("balanced_gap").value(gap)));
        }
        if let Some(bounds) = row.bounds {
            records.push(base("gd").metric("minority_bound").value(bounds.gf_minority));
            records.push(base("gd").metric("balanced_bound").value(bounds.gf_balanced));
            records.push(base("ngd").metric("minority_bound").value(bounds.ngf_minority));
            records.push(base("ngd").metric("balanced_bound").value(bounds.ngf_balanced));
        }
    }
    records.extend(linear.simulate(run.marks)?);
    let network = Network::new(2, Some(run.bilinear_delta))?;
    // A layer's value grows from e^(−δ) at rate 1 until its square is the limit.
    let horizon = mixture.horizon().sqrt() - network.layer_start();
    let bilinear = GapGrid { mixture: &mixture, network, group: "bilinear", horizon, run };
    for row in bilinear_gap_curves(&mixture, run.bilinear_delta, &bilinear.dense())? {
        let base = bilinear.base("gd", row.t, "closed-form");
        records.push(base.clone().metric("minority_gap").value(row.gf_minority_gap()));
        records.push(base.metric("balanced_gap").value(row.gf_balanced_gap()));
    }
    records.extend(bilinear.simulate(run.points)?);
    Ok(records)
}

/// Where the gaps of one model are taken.
struct GapGrid<'a> {
    mixture: &'a Mixture,
    network: Network,
    group: &'static str,
    horizon: f64,
    run: &'a LossGapsRun,
}

impl GapGrid<'_> {
    fn eta(&self) -> f64 {
        self.horizon / self.run.steps as f64
    }

    fn dense(&self) -> Vec<f64> {
        (1..=self.run.points).map(|i| self.horizon * i as f64 / self.run.points as f64).collect()
    }

    fn base(&self, rule: &str, t: f64, split: &str) -> Record {
        Record::at_step(whole(t / self.eta()) as u64).time(t).of(rule).split(split).group(self.group)
    }

    /// Gaps of simulated matrices after `count` evenly spaced numbers of steps, the last at t*.
    fn simulate(&self, count: usize) -> Result<Vec<Record>, Error> {
        let eta = self.eta();
        let times: Vec<f64> = marks(self.run.steps, count).into_iter().skip(1).map(|n| n as f64 * eta).collect();
        let paths = |rule| follow(self.mixture, rule, self.network, times.clone(), Source::Simulation { eta });
        let spec = paths(Rule::SpecGd)?;
        let mut records = Vec::new();
        for (name, rule) in [("gd", Rule::Gd), ("ngd", Rule::Ngd)] {
            for (row, spec) in paths(rule)?.iter().zip(&spec) {
                let (ours, spec) = (losses(self.mixture, &row.alpha), losses(self.mixture, &spec.alpha));
                let base = self.base(name, row.t, "simulation");
                records.push(base.clone().metric("minority_gap").value(ours.minority - spec.minority));
                records.push(base.metric("balanced_gap").value(ours.balanced - spec.balanced));
            }
        }
        Ok(records)
    }
}

/// Checks as the run that a `theory-checks` experiment would store, so that one table shows both.
pub fn check_run(checks: &[Check]) -> Result<Run, Error> {
    let (records, notes) = check_records(checks);
    let header = Header::new("t1", "default", 0, json!({ "kind": "theory-checks" }), Provenance::default())?;
    Ok(Run { notes, ..Run::new(header, Outcome::Finished, records) })
}

/// `value`, `bound`, `margin` and `pass` by check, on the split `check`; statement and quantity as notes.
fn check_records(checks: &[Check]) -> (Vec<Record>, BTreeMap<String, String>) {
    let (mut records, mut notes) = (Vec::new(), BTreeMap::new());
    for check in checks {
        let base = Record::at_step(0).of("theory").split("check").group(&check.id);
        let pass = f64::from(u8::from(check.pass));
        for (metric, value) in [("value", check.value), ("bound", check.bound), ("margin", check.margin), ("pass", pass)] {
            records.push(base.clone().metric(metric).value(value));
        }
        notes.insert(format!("{}.statement", check.id), check.statement.clone());
        notes.insert(format!("{}.quantity", check.id), check.quantity.clone());
    }
    (records, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_whole_steps_from_first_to_last() {
        assert_eq!(marks(100, 4), [0, 25, 50, 75, 100]);
        assert_eq!(marks(3, 10), [0, 1, 2, 3]);
        assert_eq!(marks(0, 4), [0]);
    }
}
