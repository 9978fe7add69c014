//! Grafting: the step size of one rule for the direction of another.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::correction;
use crate::elementwise::{AdamStep, AverageSquare, overwritten3, update2};
use crate::reduce::{frobenius_norm, total};
use crate::rules::zeros;
use crate::state::State;
use crate::{Error, Result};

/// The rule whose step size [`Shampoo`](crate::Shampoo) takes (R. Anil et al., 2020), and whose direction D it takes
/// before its first roots. m̂ is the bias-corrected average of gradients of Shampoo.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Graft {
    /// The step size of Shampoo itself; D = m̂.
    #[default]
    None,
    /// D = m̂
    Sgd,
    /// D = m̂/(√v̂ + ε), where v ← β₂v + (1 − β₂)g² and v̂ = v/(1 − β₂ᵗ).
    Adam {
        /// Decay rate β₂ of v, in [0, 1).
        beta2: f64,
        /// ε ≥ 0.
        eps: f64,
    },
}

impl Graft {
    /// That of Adam with its usual settings: β₂ 0.999, ε 1e-8.
    pub fn adam() -> Self {
        Self::Adam { beta2: DEFAULT_BETA2, eps: DEFAULT_EPS }
    }

    pub(super) fn into_fields(self) -> (Name, Option<f64>, Option<f64>) {
        match self {
            Self::None => (Name::None, None, None),
            Self::Sgd => (Name::Sgd, None, None),
            Self::Adam { beta2, eps } => (Name::Adam, Some(beta2), Some(eps)),
        }
    }

    pub(super) fn from_fields(name: Name, beta2: Option<f64>, eps: Option<f64>) -> Result<Self, String> {
        let other = match name {
            Name::Adam => {
                return Ok(Self::Adam { beta2: beta2.unwrap_or(DEFAULT_BETA2), eps: eps.unwrap_or(DEFAULT_EPS) });
            }
            Name::None => Self::None,
            Name::Sgd => Self::Sgd,
        };
        let misplaced = [("graft_beta2", beta2.is_some()), ("graft_eps", eps.is_some())];
        match misplaced.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("shampoo: `{key}` has a meaning only with graft = \"adam\"")),
            None => Ok(other),
        }
    }
}

const DEFAULT_BETA2: f64 = 0.999;
const DEFAULT_EPS: f64 = 1e-8;

/// The name of a graft in settings.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Name {
    #[default]
    None,
    Sgd,
    Adam,
}

/// A graft with its state for one parameter.
#[derive(Debug)]
pub(super) struct Grafting {
    graft: Graft,
    /// v of Adam.
    second: Option<Var>,
}

impl Grafting {
    pub fn new(graft: Graft, weight: &Var) -> Result<Self> {
        let second = if matches!(graft, Graft::Adam { .. }) { Some(zeros(weight)?) } else { None };
        Ok(Self { graft, second })
    }

    /// D, [r, c], after taking in the gradient of this step, from m̂, [r, c].
    pub fn direction(&mut self, average: &Tensor, gradient: &Tensor, step: usize) -> Result<Tensor> {
        let (Graft::Adam { beta2, eps }, Some(second)) = (self.graft, &self.second) else {
            return Ok(average.clone());
        };
        update2(&AverageSquare { keep: beta2 }, second, gradient)?;
        let adam = AdamStep { keep: 0.0, step: -1.0, root: correction(beta2, step).sqrt(), eps };
        overwritten3(&adam, average.zeros_like()?, average, &second.reshape(average.shape())?)
    }

    pub fn write(&self, state: State) -> State {
        state.tensor_if_any("graft_second", self.second.as_deref())
    }

    pub fn restored(&self, state: &mut State) -> Result<Self> {
        let second = self.second.as_ref().map(|second| state.take_like("graft_second", second)).transpose()?;
        Ok(Self { second, ..*self })
    }
}

/// x·‖like‖_F/(‖x‖_F + 1e-16)
pub(super) fn with_norm_of(x: &Tensor, like: &Tensor) -> Result<Tensor> {
    const TINY: f64 = 1e-16;
    if x.device().is_cpu() {
        return Ok((x * (frobenius_norm(like)? / (frobenius_norm(x)? + TINY)))?);
    }
    // Elsewhere the norms stay on the device: reading a number would wait for all work there.
    let norm = |x: &Tensor| Ok::<_, Error>(total(&x.sqr()?)?.sqrt()?);
    let factor = (norm(like)? / (norm(x)? + TINY)?)?;
    Ok(x.broadcast_mul(&factor)?)
}
