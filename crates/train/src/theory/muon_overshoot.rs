//! Muon with momentum around saturation: the overshoot and what remains of it.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, TrajectoryRow, discrete, muon_longest_run, muon_overshoot,
    trajectory,
};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, whole};
use crate::Error;
use crate::spec::Context;

/// A simulation keeps all of its steps.
const MOST_STEPS: f64 = 1e6;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MuonOvershoot {
    mixture: MixtureConfig,
    /// Momenta β whose paths are shown.
    momenta: Vec<f64>,
    /// Step size η.
    step_size: f64,
    /// Steps shown before and after the limit.
    window: usize,
    /// The largest 1/(1−β) of the lines over it.
    longest_memory: f64,
    /// Momenta of the lines over 1/(1−β), evenly spaced in its logarithm.
    grid: usize,
    /// Momenta of the simulations over 1/(1−β).
    grid_marks: usize,
    /// What the end of a simulation is: after this many times 1/(1−β) steps beyond the last limit, and as many are watched.
    settling: f64,
    /// Step sizes, from η to 1.1 η, over which the recursion's late distance from the limits is the largest: it depends on where the
    /// limits are between grid points.
    step_sizes: usize,
}

impl TheoryRun for MuonOvershoot {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let mixture = check_mixture(&self.mixture, context)?;
        context.positive("step_size", self.step_size)?;
        if self.step_size >= mixture.horizon() {
            return Err(context
                .error("step_size", format!("{} must be less than the smallest limit, {}", self.step_size, mixture.horizon())));
        }
        if self.momenta.is_empty() {
            return Err(context.error("momenta", "[] must name at least one momentum"));
        }
        for momentum in &self.momenta {
            Rule::Muon { momentum: *momentum }.check().map_err(|error| context.error("momenta", error.to_string()))?;
        }
        context.positive("longest_memory", self.longest_memory)?;
        if !(self.longest_memory > 1.0 && self.longest_memory <= 1e4) {
            return Err(context.error("longest_memory", format!("{} must be more than 1 and at most 1e4", self.longest_memory)));
        }
        let setting = |name: &str| format!("{scale}.{name}");
        context.positive(&setting("settling"), self.settling)?;
        let farthest = mixture.components().limits().into_iter().fold(0.0, f64::max) / self.step_size;
        let steps = farthest + 2.0 * self.settling * self.longest_memory;
        if steps > MOST_STEPS {
            return Err(context.error(
                &setting("settling"),
                format!(
                    "{} makes simulations of {steps:.1e} steps, more than {MOST_STEPS:.0e}\nhint: raise step_size, or lower longest_memory",
                    self.settling
                ),
            ));
        }
        for (name, size) in
            [("window", self.window), ("grid", self.grid), ("grid_marks", self.grid_marks), ("step_sizes", self.step_sizes)]
        {
            context.at_least_one(&setting(name), size)?;
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// By class (groups `majority`, `minority`). Under `mixture`: `prior`, `limit`. Under `muon-β` for each momentum: `share`, α_c/a_c*,
    /// over time on the split `simulation`, and at the predicted turning point on `closed-form`. Under `memory-τ`, τ = 1/(1−β):
    /// `overshoot`, (α_c − a_c*)/η at the first turning point, on both splits, and `amplitude` of all classes: T/2 on `closed-form`, on
    /// `recursion` the largest |α_c − a_c*|/η at the end of the recursion in the components over all classes and step sizes, and on
    /// `simulation` the largest entry of UᵀWV − diag(a*) over η at the end of the simulation with matrices.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mixture = Mixture::new(self.mixture.clone())?;
        let limits = mixture.components().limits();
        let classes = [("majority", mixture.majority()), ("minority", mixture.minority())];
        let mut records = Vec::new();
        for (name, class) in classes {
            let base = Record::at_step(0).of("mixture").split("closed-form").group(name);
            records.push(base.clone().metric("prior").value(mixture.priors()[class]));
            records.push(base.metric("limit").value(limits[class]));
        }
        for &momentum in &self.momenta {
            for (name, class) in classes {
                self.path(&mixture, momentum, (name, class), &mut records)?;
            }
        }
        for index in 0..=self.grid {
            let memory = self.longest_memory.powf(index as f64 / self.grid as f64);
            let momentum = 1.0 - 1.0 / memory;
            let base = Record::at_step(0).of(&format!("memory-{memory}")).split("closed-form");
            for (name, class) in classes {
                let overshoot = muon_overshoot(momentum, limits[class] / self.step_size)?;
                records.push(base.clone().group(name).metric("overshoot").value(overshoot));
            }
            records.push(base.metric("amplitude").value(0.5 * muon_longest_run(momentum)?));
        }
        for index in 0..=self.grid_marks {
            let memory = self.longest_memory.powf(index as f64 / self.grid_marks as f64);
            self.late(&mixture, memory, &classes, &mut records)?;
        }
        Ok(records.into())
    }
}

impl MuonOvershoot {
    /// All classes at the steps from 0 to `last`.
    fn simulate(&self, mixture: &Mixture, momentum: f64, last: usize) -> Result<Vec<TrajectoryRow>, Error> {
        let times = (0..=last).map(|n| n as f64 * self.step_size).collect();
        let source = Source::Simulation { eta: self.step_size };
        let config = TrajectoryConfig { rule: Rule::Muon { momentum }, times, network: Network::LINEAR, source };
        Ok(trajectory(mixture, &config)?)
    }

    fn path(
        &self,
        mixture: &Mixture,
        momentum: f64,
        (name, class): (&str, usize),
        records: &mut Vec<Record>,
    ) -> Result<(), Error> {
        let limit = mixture.components().limits()[class];
        let distance = limit / self.step_size;
        let first = whole(distance).saturating_sub(self.window);
        let path = self.simulate(mixture, momentum, whole(distance) + self.window)?;
        let base = Record::at_step(0).of(&format!("muon-{momentum}")).group(name).metric("share");
        for (step, row) in path.iter().enumerate().skip(first) {
            let record = Record { step: step as u64, ..base.clone() };
            records.push(record.time(row.t).split("simulation").value(row.alpha[class] / limit));
        }
        let turn = distance + muon_overshoot(momentum, distance)?;
        let record = Record { step: whole(turn) as u64, ..base };
        records.push(record.time(turn * self.step_size).split("closed-form").value(turn / distance));
        Ok(())
    }

    /// First turning points of both classes, and late distances from the limits.
    fn late(&self, mixture: &Mixture, memory: f64, classes: &[(&str, usize)], records: &mut Vec<Record>) -> Result<(), Error> {
        let limits = mixture.components().limits();
        let momentum = 1.0 - 1.0 / memory;
        let farthest = limits.iter().copied().fold(0.0, f64::max) / self.step_size;
        let settled = whole(farthest + self.settling * memory) + 50;
        let last = settled + whole(self.settling * memory) + 50;
        let base = Record::at_step(0).of(&format!("memory-{memory}")).split("simulation");
        let away = |alpha: &[f64]| alpha.iter().zip(&limits).map(|(alpha, limit)| (alpha - limit).abs()).fold(0.0, f64::max);

        let path = self.simulate(mixture, momentum, last)?;
        for &(name, class) in classes {
            let turn = path.windows(2).find(|pair| pair[1].alpha[class] < pair[0].alpha[class]);
            let beyond = turn.map_or(f64::NAN, |pair| (pair[0].alpha[class] - limits[class]) / self.step_size);
            records.push(base.clone().group(name).metric("overshoot").value(beyond));
        }
        let late = path[settled..].iter().map(|row| away(&row.alpha).max(row.off_diagonal.unwrap_or(0.0)));
        records.push(base.clone().metric("amplitude").value(late.fold(0.0, f64::max) / self.step_size));

        let mut largest = 0.0_f64;
        for index in 0..self.step_sizes {
            let eta = self.step_size * (1.0 + 0.1 * index as f64 / self.step_sizes as f64);
            let steps: Vec<usize> = (settled..=last).collect();
            for alpha in discrete(&mixture.components(), &Network::LINEAR, Rule::Muon { momentum }, eta, &steps)? {
                largest = largest.max(away(&alpha) / eta);
            }
        }
        records.push(base.split("recursion").metric("amplitude").value(largest));
        Ok(())
    }
}
