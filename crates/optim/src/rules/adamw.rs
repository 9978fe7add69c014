//! AdamW.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::adam::{Moments, default_beta1, default_beta2, default_eps};
use super::{Check, Rule};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::state::State;

/// Adam with decoupled weight decay, as `torch.optim.AdamW` defines it (I. Loshchilov, F. Hutter, 2019).
///
/// For a parameter W of any shape with gradient g, in step t = 1, 2, …, element by element:
///
/// ```text
/// m ← β₁m + (1 − β₁)g
/// v ← β₂v + (1 − β₂)g²
/// W ← (1 − ηλ)W − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
/// ```
///
/// Defaults: β₁ 0.9, β₂ 0.999, ε 1e-8, weight decay 0.01. State: two tensors.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{AdamW, GroupRules, NamedParam, Optimizer, Role, RuleConfig};
///
/// let w = Var::new(&[1.0_f64, -2.0], &Device::Cpu)?;
/// let rule = RuleConfig::AdamW(AdamW { weight_decay: 0.5, ..AdamW::new(0.1) });
/// let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// assert!((w.to_vec1::<f64>()?[0] - (0.95 - 0.1)).abs() < 1e-8);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamW {
    /// Learning rate η > 0.
    pub lr: f64,
    /// Decay rate β₁ of the first moment, in [0, 1).
    #[serde(default = "default_beta1")]
    pub beta1: f64,
    /// Decay rate β₂ of the second moment, in [0, 1).
    #[serde(default = "default_beta2")]
    pub beta2: f64,
    /// ε ≥ 0, added to the root of the second moment.
    #[serde(default = "default_eps")]
    pub eps: f64,
    /// Decoupled weight decay λ ≥ 0.
    #[serde(default = "default_weight_decay")]
    pub weight_decay: f64,
}

fn default_weight_decay() -> f64 {
    0.01
}

impl AdamW {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self { lr, beta1: default_beta1(), beta2: default_beta2(), eps: default_eps(), weight_decay: default_weight_decay() }
    }

    /// The settings that are usual beside Muon for embeddings, output heads, gains and biases: lr 3e-4, β 0.9 and 0.95,
    /// ε 1e-10, no weight decay.
    ///
    /// Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
    pub fn beside_muon() -> Self {
        Self { lr: 3e-4, beta1: 0.9, beta2: 0.95, eps: 1e-10, weight_decay: 0.0 }
    }
}

impl Hyper for AdamW {
    const NAME: &'static str = "adamw";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("beta1", self.beta1)?;
        check.decay_rate("beta2", self.beta2)?;
        check.not_negative("eps", self.eps)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let moments = Moments::new(self.beta1, self.beta2, self.eps, param.var)?;
        Ok(Box::new(AdamWState { settings: *self, moments }))
    }
}

#[derive(Debug)]
pub(crate) struct AdamWState {
    settings: AdamW,
    moments: Moments,
}

impl Rule for AdamWState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let lr = self.settings.lr * lr_factor;
        self.moments.step(weight, gradient, lr, 1.0 - lr * self.settings.weight_decay)
    }

    fn state(&self) -> State {
        self.moments.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self { moments: self.moments.restored(state)?, ..*self }))
    }
}
