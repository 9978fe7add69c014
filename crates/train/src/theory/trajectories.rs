//! Trajectories of the spectral components, closed form and simulation.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, TrajectoryRow, trajectory};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, marks, whole};
use crate::Error;
use crate::spec::{Context, unknown};

/// The rules that need no parameter.
const PLAIN_RULES: [&str; 4] = ["gd", "ngd", "specgd", "signgd"];

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trajectories {
    mixture: MixtureConfig,
    /// Rules, by key, in the order of the panels.
    rules: Vec<String>,
    /// The last time.
    horizon: f64,
    /// Step size η of the simulation.
    step_size: f64,
    /// Times of the closed form, evenly spaced.
    points: usize,
    /// Times of the simulation, evenly spaced.
    marks: usize,
}

impl TheoryRun for Trajectories {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        check_mixture(&self.mixture, context)?;
        if self.rules.is_empty() {
            return Err(context.error("rules", "[] must name at least one rule"));
        }
        for rule in &self.rules {
            if !PLAIN_RULES.contains(&rule.as_str()) {
                return Err(context.error("rules", unknown("rule", rule, &PLAIN_RULES)));
            }
        }
        context.positive("horizon", self.horizon)?;
        let setting = |name: &str| format!("{scale}.{name}");
        context.positive(&setting("step_size"), self.step_size)?;
        if self.step_size > self.horizon {
            return Err(
                context.error(&setting("step_size"), format!("{} must be at most the horizon, {}", self.step_size, self.horizon))
            );
        }
        context.at_least_one(&setting("points"), self.points)?;
        context.at_least_one(&setting("marks"), self.marks)
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// `alpha` by component for each rule: on the split `closed-form` at `points` times, and on `simulation` at `marks` times.
    /// Under the key `mixture`: `prior` and `limit` by component.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mixture = Mixture::new(self.mixture.clone())?;
        let eta = self.step_size;
        let dense: Vec<f64> = (0..self.points).map(|i| self.horizon * i as f64 / (self.points - 1).max(1) as f64).collect();
        // As many whole steps as the horizon holds.
        let steps = whole(self.horizon / eta * (1.0 + 1e-12) - 0.5);
        let simulated: Vec<f64> = marks(steps, self.marks).into_iter().map(|n| n as f64 * eta).collect();
        let mut records = Vec::new();
        let components = mixture.priors().iter().zip(mixture.components().limits());
        for (c, (prior, limit)) in components.enumerate() {
            let base = Record::at_step(0).of("mixture").split("closed-form").group(&c.to_string());
            records.push(base.clone().metric("prior").value(*prior));
            records.push(base.metric("limit").value(limit));
        }
        for name in &self.rules {
            let rule = Rule::from_options(name, None, None)?;
            for (split, times, source) in
                [("closed-form", &dense, Source::ClosedForm), ("simulation", &simulated, Source::Simulation { eta })]
            {
                for row in follow(&mixture, rule, Network::LINEAR, times.clone(), source)? {
                    let base = Record::at_step(whole(row.t / eta) as u64).time(row.t).of(name).split(split).metric("alpha");
                    records
                        .extend(row.alpha.iter().enumerate().map(|(c, alpha)| base.clone().group(&c.to_string()).value(*alpha)));
                }
            }
        }
        Ok(records.into())
    }
}

fn follow(mixture: &Mixture, rule: Rule, network: Network, times: Vec<f64>, source: Source) -> Result<Vec<TrajectoryRow>, Error> {
    Ok(trajectory(mixture, &TrajectoryConfig { rule, times, network, source })?)
}
