//! The loss gaps of Theorems 1 and 2 on (0, t*].

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    GapRow, Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, bilinear_gap_curves, gap_curves, losses, trajectory,
};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, marks, whole};
use crate::Error;
use crate::spec::Context;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LossGaps {
    mixture: MixtureConfig,
    /// δ of the bilinear model that is shown beside the linear one: both layers start at e^(−δ).
    bilinear_delta: f64,
    /// Steps of the simulation from 0 to t*.
    steps: usize,
    /// Times of the closed form, evenly spaced.
    points: usize,
    /// Times of the simulation, evenly spaced.
    marks: usize,
}

impl TheoryRun for LossGaps {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let mixture = check_mixture(&self.mixture, context)?;
        let violated = mixture.violated_conditions();
        if !violated.is_empty() {
            return Err(context.error("mixture", format!("the theorems do not speak of it: {}", violated.join("; "))));
        }
        context.positive("bilinear_delta", self.bilinear_delta)?;
        if (-self.bilinear_delta).exp() >= mixture.horizon().sqrt() {
            return Err(context.error(
                "bilinear_delta",
                format!(
                    "{} starts the layers at or above the minority component's limit\nhint: choose more than {:.2}",
                    self.bilinear_delta,
                    -0.5 * mixture.horizon().ln()
                ),
            ));
        }
        for (name, size) in [("steps", self.steps), ("points", self.points), ("marks", self.marks)] {
            context.at_least_one(&format!("{scale}.{name}"), size)?;
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// `minority_gap` and `balanced_gap` of `gd` and `ngd` against SpecGD on (0, t*], t* being when SpecGD saturates the minority
    /// component.
    ///
    /// Group `linear`: closed form with the theorems' `minority_bound` and `balanced_bound`, and simulation. Group `bilinear`, both
    /// layers from e^(−δ): closed form (of `ngd`: GD's path, re-timed) and simulation.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let run = self;
        let mixture = Mixture::new(run.mixture.clone())?;
        let linear = GapGrid { mixture: &mixture, network: Network::LINEAR, group: "linear", horizon: mixture.horizon(), run };
        let mut records = Vec::new();
        for row in gap_curves(&mixture, &linear.dense())? {
            let base = |rule: &str| linear.base(rule, row.t, "closed-form");
            records.extend(linear.gaps(&row));
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
            records.extend(bilinear.gaps(&row));
        }
        records.extend(bilinear.simulate(run.marks)?);
        Ok(records.into())
    }
}

/// Where the gaps of one model are taken.
struct GapGrid<'a> {
    mixture: &'a Mixture,
    network: Network,
    group: &'static str,
    horizon: f64,
    run: &'a LossGaps,
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

    fn gaps(&self, row: &GapRow) -> Vec<Record> {
        let base = |rule: &str| self.base(rule, row.t, "closed-form");
        let mut records = Vec::new();
        for (name, minority, balanced) in [
            ("gd", Some(row.gf_minority_gap()), Some(row.gf_balanced_gap())),
            ("ngd", row.ngf_minority_gap(), row.ngf_balanced_gap()),
        ] {
            records.extend(minority.map(|gap| base(name).metric("minority_gap").value(gap)));
            records.extend(balanced.map(|gap| base(name).metric("balanced_gap").value(gap)));
        }
        records
    }

    /// Gaps of simulated matrices after `count` evenly spaced numbers of steps, the last at t*.
    fn simulate(&self, count: usize) -> Result<Vec<Record>, Error> {
        let eta = self.eta();
        let times: Vec<f64> = marks(self.run.steps, count).into_iter().skip(1).map(|n| n as f64 * eta).collect();
        let paths = |rule| {
            let (network, source) = (self.network, Source::Simulation { eta });
            trajectory(self.mixture, &TrajectoryConfig { rule, times: times.clone(), network, source })
        };
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
