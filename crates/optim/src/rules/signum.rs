//! Sign descent with momentum; without momentum, SignGD.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Momentum, Rule, is_zero};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::elementwise::{SignStep, update2};
use crate::state::State;

/// Signum: steepest descent in the elementwise maximum norm, with momentum (J. Bernstein et al., 2018).
///
/// For a parameter W of any shape with gradient g:
///
/// ```text
/// M ← βM + (1 − β)g                M₀ = 0
/// W ← (1 − ηλ)W − η·sign(M)        sign(0) = 0
/// ```
///
/// β = 0 is SignGD, `rule = "signgd"` in settings.
///
/// Defaults: momentum 0.9, weight decay 0. State: one tensor when momentum > 0.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Role, RuleConfig, Signum};
///
/// let w = Var::new(&[3.0_f64, 0.0, -4.0], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Signum(Signum::new(0.5))))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// assert_eq!(w.to_vec1::<f64>()?, [2.5, 0.0, -3.5]);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signum {
    /// Learning rate η > 0: how far every element moves in a step.
    pub lr: f64,
    /// Momentum β in [0, 1).
    #[serde(default = "default_momentum")]
    pub momentum: f64,
    /// Decoupled weight decay λ ≥ 0; not written when it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_decay: f64,
}

fn default_momentum() -> f64 {
    0.9
}

impl Signum {
    /// The rule with its default momentum.
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: default_momentum(), weight_decay: 0.0 }
    }

    /// SignGD: no momentum.
    pub fn signgd(lr: f64) -> Self {
        Self { lr, momentum: 0.0, weight_decay: 0.0 }
    }
}

impl Hyper for Signum {
    const NAME: &'static str = "signum";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("momentum", self.momentum)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        Ok(Box::new(SignumState { settings: *self, momentum: Momentum::new(self.momentum, param.var)? }))
    }
}

#[derive(Debug)]
pub(crate) struct SignumState {
    settings: Signum,
    momentum: Momentum,
}

impl Rule for SignumState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let average = self.momentum.update(gradient)?;
        let lr = self.settings.lr * lr_factor;
        update2(&SignStep { keep: 1.0 - lr * self.settings.weight_decay, step: lr }, weight, average)
    }

    fn state(&self) -> State {
        self.momentum.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self { momentum: self.momentum.restored(state)?, ..*self }))
    }
}
