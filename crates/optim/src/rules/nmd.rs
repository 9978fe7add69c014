//! Normalized momentum descent; without momentum, normalized gradient descent.

use candle_core::{DType, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Momentum, Rule, is_zero};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2};
use crate::reduce::{frobenius_norm, with_length};
use crate::state::State;

/// Normalized momentum descent (NMD): steepest descent in the Frobenius norm of each parameter tensor.
///
/// For a parameter W of any shape with gradient g:
///
/// ```text
/// M ← βM + (1 − β)g                M₀ = 0
/// W ← (1 − ηλ)W − η·M/‖M‖_F
/// ```
///
/// β = 0 is normalized gradient descent (NGD), `rule = "ngd"` in settings. The norm is that of one parameter tensor,
/// not of the whole model. A zero M gives no update besides the decay; a norm so small that η/‖M‖_F overflows counts as
/// zero.
///
/// Defaults: momentum 0.9, weight decay 0. State: one tensor when momentum > 0. The rule does not change when the loss is multiplied by
/// a constant.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Nmd, Optimizer, Role, RuleConfig};
///
/// let w = Var::new(&[[3.0_f64, 4.0]], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Nmd(Nmd::new(1.0))))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// assert!((w.to_vec2::<f64>()?[0][0] - 2.4).abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nmd {
    /// Learning rate η > 0: the Frobenius norm of each step.
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

impl Nmd {
    /// The rule with its default momentum.
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: default_momentum(), weight_decay: 0.0 }
    }

    /// Normalized gradient descent: no momentum.
    pub fn ngd(lr: f64) -> Self {
        Self { lr, momentum: 0.0, weight_decay: 0.0 }
    }
}

impl Hyper for Nmd {
    const NAME: &'static str = "nmd";

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
        Ok(Box::new(NmdState { settings: *self, momentum: Momentum::new(self.momentum, param.var)? }))
    }
}

#[derive(Debug)]
pub(crate) struct NmdState {
    settings: Nmd,
    momentum: Momentum,
}

impl Rule for NmdState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let average = self.momentum.update(gradient)?;
        let lr = self.settings.lr * lr_factor;
        let keep = 1.0 - lr * self.settings.weight_decay;
        if !weight.device().is_cpu() {
            return update2(&ScaledAdd { keep, scale: 1.0 }, weight, &with_length(average, -lr)?);
        }
        let scale = -lr / frobenius_norm(average)?;
        let largest = if weight.dtype() == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
        // Also false for 0/0.
        let moves = scale.abs() <= largest;
        if !moves && self.settings.weight_decay == 0.0 {
            return Ok(());
        }
        update2(&ScaledAdd { keep, scale: if moves { scale } else { 0.0 } }, weight, average)
    }

    fn state(&self) -> State {
        self.momentum.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self { momentum: self.momentum.restored(state)?, ..*self }))
    }
}
