//! Stochastic gradient descent.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Rule, zeros};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2};
use crate::several::{SgdUpdate, update_all};
use crate::state::State;

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` defines it.
///
/// For a parameter W of any shape with gradient g:
///
/// ```text
/// g ← g + λW                       weight decay λ, coupled
/// M ← μM + g                       M is g in the first step; no dampening
/// W ← W − η·M                      or W − η·(g + μM) with Nesterov
/// ```
///
/// Unlike the averages of the other rules, M is a sum: with momentum μ the step is up to 1/(1−μ) times as long.
///
/// Defaults: momentum 0, Nesterov off, weight decay 0. State: one tensor when momentum > 0.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Role, RuleConfig, Sgd};
///
/// let w = Var::new(&[1.0_f64, -2.0], &Device::Cpu)?;
/// let rule = RuleConfig::Sgd(Sgd { momentum: 0.9, ..Sgd::new(0.1) });
/// let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule))?;
/// optimizer.backward_step(&(w.sqr()?.sum_all()? * 0.5)?)?;
/// assert_eq!(w.to_vec1::<f64>()?, [0.9, -1.8]);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate η > 0.
    pub lr: f64,
    /// Momentum μ in [0, 1).
    #[serde(default)]
    pub momentum: f64,
    /// Whether the step looks ahead along M. Needs momentum > 0.
    #[serde(default)]
    pub nesterov: bool,
    /// Coupled weight decay λ ≥ 0.
    #[serde(default)]
    pub weight_decay: f64,
}

impl Sgd {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

impl Hyper for Sgd {
    const NAME: &'static str = "sgd";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("momentum", self.momentum)?;
        check.that(!self.nesterov || self.momentum > 0.0, "nesterov", self.nesterov, "Nesterov needs a momentum above 0")?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let buffer = if self.momentum > 0.0 { Some(zeros(param.var)?) } else { None };
        Ok(Box::new(SgdState { settings: *self, buffer }))
    }
}

#[derive(Debug)]
pub(crate) struct SgdState {
    settings: Sgd,
    buffer: Option<Var>,
}

impl Rule for SgdState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let Sgd { momentum, nesterov, weight_decay, .. } = self.settings;
        let lr = self.settings.lr * lr_factor;
        let Some(buffer) = &self.buffer else {
            return update2(&ScaledAdd { keep: 1.0 - lr * weight_decay, scale: -lr }, weight, gradient);
        };
        // Without dampening, μ·0 + g is the first buffer that torch sets apart.
        update_all(&SgdUpdate { lr, momentum, nesterov, decay: weight_decay }, [weight, buffer], gradient)
    }

    fn state(&self) -> State {
        State::new().tensor_if_any("momentum", self.buffer.as_deref())
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        let buffer = self.buffer.as_ref().map(|buffer| state.take_like("momentum", buffer)).transpose()?;
        Ok(Box::new(Self { buffer, ..*self }))
    }
}
