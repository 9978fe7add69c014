//! Spectral gradient descent.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Orthogonalized, Rule, is_zero, orthogonalized_step};
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2};
use crate::state::State;
use crate::{Orthogonalizer, Result};

/// Spectral gradient descent (SpecGD): steepest descent in the spectral norm.
///
/// For a matrix W, [r, c], with gradient g = U diag(σ) Vᵀ:
///
/// ```text
/// W ← (1 − ηλ)W − η·UVᵀ
/// ```
///
/// by the exact polar factor ([`Orthogonalizer::Exact`]): every singular direction of the gradient moves at the same
/// rate. Singular values under max(r, c)·ε·σ_max are dropped with their directions; a zero gradient gives no update
/// besides the decay.
///
/// Tensors of more dimensions, such as convolution filters [out, in, h, w], are matrices [out, in·h·w]. Vectors are not
/// accepted: their group has its own rule, by default [`Nmd::ngd`](crate::Nmd::ngd) with the same learning rate, which
/// is steepest descent in the ℓ2 norm.
///
/// Default: weight decay 0. No state. With momentum, the rule is [`Muon`](crate::Muon) with the exact orthogonalizer.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Role, RuleConfig, SpecGd};
///
/// let w = Var::new(&[[5.0_f64, 0.0], [0.0, 0.1]], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::SpecGd(SpecGd::new(0.1))))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// // The large and the small singular value both lose 0.1.
/// let w = w.to_vec2::<f64>()?;
/// assert!((w[0][0] - 4.9).abs() < 1e-12 && w[1][1].abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecGd {
    /// Learning rate η > 0: the spectral norm of each step.
    pub lr: f64,
    /// Decoupled weight decay λ ≥ 0; not written when it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_decay: f64,
}

impl SpecGd {
    /// The rule.
    pub fn new(lr: f64) -> Self {
        Self { lr, weight_decay: 0.0 }
    }
}

impl Hyper for SpecGd {
    const NAME: &'static str = "specgd";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        Ok(Box::new(SpecGdState { settings: *self, matrix: param.matrix(Self::NAME)? }))
    }
}

#[derive(Debug)]
pub(crate) struct SpecGdState {
    settings: SpecGd,
    matrix: (usize, usize),
}

impl Rule for SpecGdState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        orthogonalized_step(self, weight, gradient, lr_factor)
    }

    fn orthogonalized(&mut self) -> Option<&mut dyn Orthogonalized> {
        Some(self)
    }

    fn state(&self) -> State {
        State::new()
    }

    fn restored(&self, _: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self { ..*self }))
    }
}

impl Orthogonalized for SpecGdState {
    fn orthogonalizer(&self) -> &Orthogonalizer {
        &Orthogonalizer::Exact
    }

    fn direction(&mut self, gradient: &Tensor) -> Result<Tensor> {
        Ok(gradient.reshape(self.matrix)?)
    }

    fn update(&mut self, weight: &Var, orthogonal: &Tensor, lr_factor: f64) -> Result<()> {
        let lr = self.settings.lr * lr_factor;
        let update = ScaledAdd { keep: 1.0 - lr * self.settings.weight_decay, scale: -lr };
        update2(&update, weight, &orthogonal.reshape(weight.shape())?)
    }
}
