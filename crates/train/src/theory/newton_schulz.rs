//! The response of Newton–Schulz steps, and a rare class under Muon with them.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{Mixture, MixtureConfig, Network, NewtonSchulz, Rule, Source, TrajectoryConfig, trajectory};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture, marks};
use crate::Error;
use crate::spec::Context;

/// Where the curves of the response begin.
const SMALLEST_SHARE: f64 = 1e-5;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewtonSchulzResponse {
    /// Numbers of Newton–Schulz steps whose response is shown; the last is the one that the mixtures are trained with.
    newton_schulz_steps: Vec<usize>,
    /// p_M/p_m of each mixture: `classes` − 1 equal classes and a rare one.
    imbalances: Vec<f64>,
    classes: usize,
    mean_norm: f64,
    noise_std: f64,
    seed: u64,
    /// The last time, in units of t* = a_m*, when SpecGD saturates the rare class.
    horizon: f64,
    /// Steps of the simulation up to t*.
    steps: usize,
    /// Points of each curve.
    points: usize,
    /// Times of the simulation, evenly spaced.
    marks: usize,
}

impl NewtonSchulzResponse {
    fn mixture(&self, imbalance: f64) -> MixtureConfig {
        let common = imbalance / (imbalance * (self.classes - 1) as f64 + 1.0);
        let mut priors = vec![common; self.classes - 1];
        priors.push(common / imbalance);
        let (mean_norm, noise_std, seed) = (self.mean_norm, self.noise_std, self.seed);
        MixtureConfig { priors, mean_norm, noise_std, dim: None, seed }
    }
}

impl TheoryRun for NewtonSchulzResponse {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        if self.classes < 2 {
            return Err(context.error("classes", format!("{} must be at least 2", self.classes)));
        }
        if self.newton_schulz_steps.is_empty() || self.imbalances.is_empty() {
            return Err(context.error("newton_schulz_steps", "neither it nor imbalances may be empty"));
        }
        for &steps in &self.newton_schulz_steps {
            NewtonSchulz::new(steps).map_err(|error| context.error("newton_schulz_steps", error.to_string()))?;
        }
        for &imbalance in &self.imbalances {
            if !(imbalance.is_finite() && imbalance >= 1.0) {
                return Err(context.error("imbalances", format!("{imbalance} must be at least 1, the ratio p_M/p_m")));
            }
            check_mixture(&self.mixture(imbalance), context)?;
        }
        context.positive("horizon", self.horizon)?;
        for (name, size) in [("steps", self.steps), ("points", self.points), ("marks", self.marks)] {
            context.at_least_one(&format!("{scale}.{name}"), size)?;
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    /// `response` of `newton-schulz`, the group being the number of steps: φ at x, which stands in the place of the time. `share` of
    /// `newton-schulz` by imbalance: x_m = p_m/‖p‖₂.
    ///
    /// `minority` of `newton-schulz` and `specgd` by imbalance, on the splits `closed-form` and `simulation`: α_m/a_m* over t/t*.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mut records = Vec::new();
        let base = |rule: &str, split: &str| Record::at_step(0).of(rule).split(split);
        let spread = |count: usize| (0..count).map(move |i| i as f64 / (count - 1).max(1) as f64);
        for &steps in &self.newton_schulz_steps {
            let response = NewtonSchulz::new(steps)?;
            for part in spread(self.points) {
                let x = SMALLEST_SHARE.powf(1.0 - part);
                let record = base("newton-schulz", "closed-form").metric("response").group(&steps.to_string());
                records.push(record.time(x).value(response.response(x)));
            }
        }
        // The check has seen that there is one.
        let response = NewtonSchulz::new(self.newton_schulz_steps.last().copied().unwrap_or(5))?;
        for &imbalance in &self.imbalances {
            let mixture = Mixture::new(self.mixture(imbalance))?;
            let group = imbalance.to_string();
            let (minority, limit) = (mixture.minority(), mixture.horizon());
            let norm = mixture.priors().iter().map(|p| p * p).sum::<f64>().sqrt();
            let share = base("newton-schulz", "closed-form").metric("share").group(&group);
            records.push(share.value(mixture.priors()[minority] / norm));
            let eta = limit / self.steps as f64;
            let dense: Vec<f64> = spread(self.points).map(|part| part * self.horizon * limit).collect();
            let last = super::whole(self.horizon * self.steps as f64);
            let simulated: Vec<f64> = marks(last, self.marks).into_iter().map(|n| n as f64 * eta).collect();
            for (name, rule) in [("specgd", Rule::SpecGd), ("newton-schulz", Rule::NewtonSchulz { response, momentum: 0.0 })] {
                for (split, times, source) in
                    [("closed-form", &dense, Source::ClosedForm), ("simulation", &simulated, Source::Simulation { eta })]
                {
                    let config = TrajectoryConfig { rule, times: times.clone(), network: Network::LINEAR, source };
                    for row in trajectory(&mixture, &config)? {
                        let record = base(name, split).metric("minority").group(&group);
                        records.push(record.time(row.t / limit).value(row.alpha[minority] / limit));
                    }
                }
            }
        }
        Ok(records.into())
    }
}
