//! Adam.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Rule, zeros};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::elementwise::{AdamStep, AverageSquare, ScaledAdd, updated2};
use crate::several::{AdamUpdate, update_all};
use crate::state::State;

/// Adam, as `torch.optim.Adam` defines it (D. Kingma, J. Ba, 2015).
///
/// For a parameter W of any shape with gradient g, in step t = 1, 2, …, element by element:
///
/// ```text
/// g ← g + λW                       weight decay λ, coupled
/// m ← β₁m + (1 − β₁)g
/// v ← β₂v + (1 − β₂)g²
/// W ← W − η/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + ε)
/// ```
///
/// t counts the steps in which this parameter had a gradient. An element with m = 0 is not moved.
///
/// Defaults: β₁ 0.9, β₂ 0.999, ε 1e-8, weight decay 0. State: two tensors.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{Adam, GroupRules, NamedParam, Optimizer, Role, RuleConfig};
///
/// let w = Var::new(&[1.0_f64, -2.0], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Adam(Adam::new(0.1))))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// // The first step of Adam is η·sign(g).
/// assert!((w.to_vec1::<f64>()?[1] - -1.9).abs() < 1e-8);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adam {
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
    /// Coupled weight decay λ ≥ 0.
    #[serde(default)]
    pub weight_decay: f64,
}

pub(super) fn default_beta1() -> f64 {
    0.9
}

pub(super) fn default_beta2() -> f64 {
    0.999
}

pub(super) fn default_eps() -> f64 {
    1e-8
}

impl Adam {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self { lr, beta1: default_beta1(), beta2: default_beta2(), eps: default_eps(), weight_decay: 0.0 }
    }
}

impl Hyper for Adam {
    const NAME: &'static str = "adam";

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
        Ok(Box::new(AdamState { settings: *self, moments }))
    }
}

#[derive(Debug)]
pub(crate) struct AdamState {
    settings: Adam,
    moments: Moments,
}

impl Rule for AdamState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let Adam { weight_decay, .. } = self.settings;
        let lr = self.settings.lr * lr_factor;
        if weight_decay == 0.0 {
            self.moments.step(weight, gradient, lr, 1.0)
        } else {
            let decayed = updated2(&ScaledAdd { keep: 1.0, scale: weight_decay }, gradient, weight)?;
            self.moments.step(weight, &decayed, lr, 1.0)
        }
    }

    fn state(&self) -> State {
        self.moments.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self { moments: self.moments.restored(state)?, ..*self }))
    }
}

/// Both moments with their bias correction: what Adam and AdamW share.
#[derive(Debug)]
pub(super) struct Moments {
    beta1: f64,
    beta2: f64,
    eps: f64,
    first: Var,
    second: Var,
    /// β₁ᵗ and β₂ᵗ.
    powers: (f64, f64),
}

impl Moments {
    pub(super) fn new(beta1: f64, beta2: f64, eps: f64, weight: &Var) -> Result<Self> {
        Ok(Self { beta1, beta2, eps, first: zeros(weight)?, second: zeros(weight)?, powers: (1.0, 1.0) })
    }

    pub(super) fn state(&self) -> State {
        State::new()
            .tensor("first", &self.first)
            .tensor("second", &self.second)
            .number("beta1_power", self.powers.0)
            .number("beta2_power", self.powers.1)
    }

    pub(super) fn restored(&self, state: &mut State) -> Result<Self> {
        Ok(Self {
            first: state.take_like("first", &self.first)?,
            second: state.take_like("second", &self.second)?,
            powers: (state.take_number("beta1_power")?, state.take_number("beta2_power")?),
            ..*self
        })
    }

    /// W ← keep·W − lr·m̂/(√v̂ + ε)
    pub(super) fn step(&mut self, weight: &Var, gradient: &Tensor, lr: f64, keep: f64) -> Result<()> {
        self.powers = (self.powers.0 * self.beta1, self.powers.1 * self.beta2);
        let (step, root) = (lr / (1.0 - self.powers.0), (1.0 - self.powers.1).sqrt());
        let update = AdamUpdate {
            first: ScaledAdd { keep: self.beta1, scale: 1.0 - self.beta1 },
            second: AverageSquare { keep: self.beta2 },
            step: AdamStep { keep, step, root, eps: self.eps },
        };
        update_all(&update, [weight, &self.first, &self.second], gradient)
    }
}
