//! The spectral-power rule.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Momentum, Rule, is_zero, matrix_shape};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2};
use crate::orthogonalize::spectral_power;
use crate::state::State;

/// The spectral-power rule: gradient descent with a power of the singular values, from SpecGD to gradient descent.
///
/// For a matrix W, [r, c], with gradient g:
///
/// ```text
/// M ← βM + (1 − β)g                M₀ = 0
/// W ← (1 − ηλ)W − η·U diag(σᵖ) Vᵀ  where M = U diag(σ) Vᵀ
/// ```
///
/// p = 0 is [`SpecGd`](crate::SpecGd), bit for bit without momentum: all singular directions move at one rate. p = 1 is
/// gradient descent: each moves at the rate of its own singular value. In between, a direction whose singular value is
/// s times smaller moves sᵖ times slower. The rule is not normalized: for p > 0 the step grows with the p-th power of
/// the loss's scale. Singular values under max(r, c)·ε·σ_max are dropped with their directions, as in
/// [`Orthogonalizer::Exact`](crate::Orthogonalizer::Exact), except at p = 1, where M is used as it is. A zero M gives no
/// update besides the decay.
///
/// Tensors of more dimensions, such as convolution filters [out, in, h, w], are matrices [out, in·h·w]. A vector is a
/// matrix with one column, whose singular value is its norm: its step is η·‖M‖ᵖ·M/‖M‖, which is
/// [`Nmd`](crate::Nmd) at p = 0.
///
/// Defaults: exponent 0.5, momentum 0, weight decay 0. State: one tensor when momentum > 0. Cost: one singular value
/// decomposition in f64 on the CPU for a f64 parameter, one eigendecomposition of the smaller Gram matrix for f32
/// (matrices on other devices are copied there and back); parameters on the CPU are decomposed in parallel.
///
/// Source: a family of this project, made to interpolate between the two rules. Its flow α̇ = (s_yx − s_xx α)ᵖ has a
/// closed form; the crate `isorate-theory` has it as `Rule::Power`.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Power, Role, RuleConfig};
///
/// let w = Var::new(&[[4.0_f64, 0.0], [0.0, 0.25]], &Device::Cpu)?;
/// let rule = RuleConfig::Power(Power { exponent: 0.5, ..Power::new(0.1) });
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule))?;
/// optimizer.backward_step(&(w.sqr()?.sum_all()? * 0.5)?)?;
/// // Singular values 4 and 0.25 move by 0.1·√4 and 0.1·√0.25.
/// let w = w.to_vec2::<f64>()?;
/// assert!((w[0][0] - 3.8).abs() < 1e-12 && (w[1][1] - 0.2).abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Learning rate η > 0.
    pub lr: f64,
    /// The exponent p of the singular values, from 0 to 1.
    #[serde(default = "default_exponent")]
    pub exponent: f64,
    /// Momentum β in [0, 1).
    #[serde(default)]
    pub momentum: f64,
    /// Decoupled weight decay λ ≥ 0; not written when it is 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_decay: f64,
}

fn default_exponent() -> f64 {
    0.5
}

impl Power {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self { lr, exponent: default_exponent(), momentum: 0.0, weight_decay: 0.0 }
    }
}

impl Hyper for Power {
    const NAME: &'static str = "power";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.that((0.0..=1.0).contains(&self.exponent), "exponent", self.exponent, "it must lie in [0, 1]")?;
        check.decay_rate("momentum", self.momentum)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let matrix = matrix_shape(param.var.dims()).unwrap_or((param.var.elem_count(), 1));
        let momentum = Momentum::new(self.momentum, param.var)?;
        Ok(Box::new(PowerState { settings: *self, matrix, momentum, prepared: None }))
    }
}

#[derive(Debug)]
pub(crate) struct PowerState {
    settings: Power,
    matrix: (usize, usize),
    momentum: Momentum,
    /// U diag(σᵖ) Vᵀ for the coming step.
    prepared: Option<Tensor>,
}

impl PowerState {
    fn direction(&self, average: &Tensor) -> Result<Tensor> {
        if self.settings.exponent >= 1.0 {
            return Ok(average.clone());
        }
        spectral_power(&average.reshape(self.matrix)?, self.settings.exponent)
    }
}

impl Rule for PowerState {
    fn prepare(&mut self, gradient: &Tensor) -> Result<()> {
        // The momentum itself takes the gradient in later: a failure here leaves every state as it was.
        self.prepared = Some(self.direction(&self.momentum.ahead(gradient)?)?);
        Ok(())
    }

    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let prepared = self.prepared.take();
        let average = self.momentum.update(gradient)?.clone();
        let direction = match prepared {
            Some(direction) => direction,
            None => self.direction(&average)?,
        };
        let lr = self.settings.lr * lr_factor;
        let update = ScaledAdd { keep: 1.0 - lr * self.settings.weight_decay, scale: -lr };
        update2(&update, weight, &direction.reshape(weight.shape())?)
    }

    fn state(&self) -> State {
        self.momentum.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self { momentum: self.momentum.restored(state)?, prepared: None, ..*self }))
    }
}
