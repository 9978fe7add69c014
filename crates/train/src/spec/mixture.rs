use isorate_theory::{Mixture, MixtureConfig};
use serde::{Deserialize, Serialize};

use super::{Context, Scale, Scales, unknown};
use crate::Error;

/// Trajectories of the spectral components, closed form and simulation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trajectories {
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    title: String,
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    kind: String,
    mixture: MixtureConfig,
    /// Rules, by key, in the order of the panels.
    rules: Vec<String>,
    /// The last time.
    horizon: f64,
    scale: Scales<TrajectoriesScale>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrajectoriesScale {
    /// Step size η of the simulation.
    step_size: f64,
    /// Times of the closed form, evenly spaced.
    points: usize,
    /// Times of the simulation, evenly spaced.
    marks: usize,
}

/// The loss gaps of Theorems 1 and 2 on (0, t*].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossGaps {
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    title: String,
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    kind: String,
    mixture: MixtureConfig,
    /// δ of the bilinear model that is shown beside the linear one: both layers start at e^(−δ).
    bilinear_delta: f64,
    scale: Scales<LossGapsScale>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LossGapsScale {
    /// Steps of the simulation from 0 to t*.
    steps: usize,
    /// Times of the closed form, evenly spaced.
    points: usize,
    /// Times of the simulation, evenly spaced.
    marks: usize,
}

/// Every check of the theory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checks {
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    title: String,
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    kind: String,
    seed: u64,
    scale: Scales<ChecksScale>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChecksScale {
    /// Parameter sets for each theorem.
    sets: usize,
}

/// A trajectories experiment at one scale.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TrajectoriesRun {
    pub(crate) mixture: MixtureConfig,
    pub(crate) rules: Vec<String>,
    pub(crate) horizon: f64,
    pub(crate) step_size: f64,
    pub(crate) points: usize,
    pub(crate) marks: usize,
}

impl Trajectories {
    pub(crate) fn at(&self, scale: Scale) -> Option<TrajectoriesRun> {
        self.scale.get(scale).map(|sizes| TrajectoriesRun {
            mixture: self.mixture.clone(),
            rules: self.rules.clone(),
            horizon: self.horizon,
            step_size: sizes.step_size,
            points: sizes.points,
            marks: sizes.marks,
        })
    }

    pub(super) fn check(&self, context: &Context) -> Result<(), Error> {
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
        for (scale, sizes) in self.scale.iter() {
            let setting = |name: &str| format!("scale.{}.{name}", scale.name());
            context.positive(&setting("step_size"), sizes.step_size)?;
            if sizes.step_size > self.horizon {
                return Err(context
                    .error(&setting("step_size"), format!("{} must be at most the horizon, {}", sizes.step_size, self.horizon)));
            }
            context.at_least_one(&setting("points"), sizes.points)?;
            context.at_least_one(&setting("marks"), sizes.marks)?;
        }
        Ok(())
    }
}

/// A loss-gaps experiment at one scale.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LossGapsRun {
    pub(crate) mixture: MixtureConfig,
    pub(crate) bilinear_delta: f64,
    pub(crate) steps: usize,
    pub(crate) points: usize,
    pub(crate) marks: usize,
}

impl LossGaps {
    pub(crate) fn at(&self, scale: Scale) -> Option<LossGapsRun> {
        self.scale.get(scale).map(|sizes| LossGapsRun {
            mixture: self.mixture.clone(),
            bilinear_delta: self.bilinear_delta,
            steps: sizes.steps,
            points: sizes.points,
            marks: sizes.marks,
        })
    }

    pub(super) fn check(&self, context: &Context) -> Result<(), Error> {
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
        for (scale, sizes) in self.scale.iter() {
            for (name, size) in [("steps", sizes.steps), ("points", sizes.points), ("marks", sizes.marks)] {
                context.at_least_one(&format!("scale.{}.{name}", scale.name()), size)?;
            }
        }
        Ok(())
    }
}

/// A theory-checks experiment at one scale.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChecksRun {
    pub(crate) sets: usize,
    #[serde(skip)]
    pub(crate) seed: u64,
}

impl Checks {
    pub(crate) fn at(&self, scale: Scale) -> Option<ChecksRun> {
        self.scale.get(scale).map(|sizes| ChecksRun { sets: sizes.sets, seed: self.seed })
    }

    pub(super) fn check(&self, context: &Context) -> Result<(), Error> {
        for (scale, sizes) in self.scale.iter() {
            context.at_least_one(&format!("scale.{}.sets", scale.name()), sizes.sets)?;
        }
        Ok(())
    }
}

/// The rules that need no parameter.
const PLAIN_RULES: [&str; 4] = ["gd", "ngd", "specgd", "signgd"];

fn check_mixture(config: &MixtureConfig, context: &Context) -> Result<Mixture, Error> {
    Mixture::new(config.clone()).map_err(|error| context.error("mixture", error.to_string()))
}
