//! Shampoo.

mod blocks;
mod factors;
mod graft;

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use self::blocks::Blocks;
use self::factors::Factors;
use self::graft::Grafting;
use super::{Check, Momentum, Rule, matrix_shape};
use crate::Result;
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2};
use crate::state::State;

pub use graft::Graft;

/// Shampoo: gradients preconditioned from both sides by roots of their second moments (V. Gupta, T. Koren, Y. Singer,
/// 2018), as Meta's Distributed Shampoo defines it (H.-J. Shi et al., 2023).
///
/// For a matrix W, [r, c], with gradient g in step t = 1, 2, …:
///
/// ```text
/// L ← L + ggᵀ,  R ← R + gᵀg                    [r, r] and [c, c]; for β₂ = 1, the sum
/// L ← β₂L + (1 − β₂)ggᵀ,  R likewise           for β₂ < 1, divided by 1 − β₂ᵗ where they are used
/// m ← β₁m + (1 − β₁)g,  m̂ = m/(1 − β₁ᵗ)
/// P = (L + εI)^(−1/4) m̂ (R + εI)^(−1/4)
/// W ← (1 − ηλ)W − η·P                          or, grafted, P·‖D‖_F/(‖P‖_F + 1e-16) for P
/// ```
///
/// **Start and period.** The roots are computed in step `start_step` and from then on in each step that is a multiple of
/// `precondition_every`; between those the last ones are used, while L and R take in every gradient. Before the first
/// roots P is the direction D of the graft.
///
/// **Grafting** ([`Graft`]): P gets the norm of the step D of another rule. D = m̂ for SGD and for none, D = m̂/(√v̂ + ε′)
/// for Adam, with its own β₂ and ε′. Without grafting, ε sets the step size wherever L or R are singular: directions
/// that no gradient had when the roots were computed are multiplied by up to ε^(−1/2), 10⁶ by default. A later
/// `start_step`, a larger ε or grafting prevents that.
///
/// **Blocks.** A dimension larger than `max_dim` is cut into pieces of `max_dim` and a rest, and every block of the
/// matrix is preconditioned and grafted as if it was a parameter of its own.
///
/// **Shapes.** Tensors of more dimensions, such as convolution filters [out, in, h, w], are matrices [out, in·h·w]; the
/// reference can also give each dimension a factor. Small matrices stay matrices; the reference may merge them into
/// vectors. A vector has one factor, L = Σggᵀ, and P = (L + εI)^(−1/2) m̂, blocked likewise.
///
/// **Special cases.** With ε = 0 and no grafting, the first step for any β₂ is P = UVᵀ, g = U diag(σ) Vᵀ: that of
/// [`SpecGd`](crate::SpecGd). ε = 0 means the roots of the pseudoinverse: eigenvalues up to k·ε₆₄·λ_max of a factor
/// [k, k] are dropped with their directions. While all gradients are zero, only the decay moves W.
///
/// **Computation.** Products are formed on the device and in the type of the parameter, roots by eigendecomposition on
/// the CPU in f64: only for that are the factors of a parameter on another device copied, and the roots copied back.
/// Decompositions run in parallel, each on one thread: those of all parameters, blocks and sides together on the CPU,
/// those of one parameter at a time on another device. There is no fallback to older roots: a factor that overflowed
/// ([`Error::NonFiniteFactor`](crate::Error::NonFiniteFactor)), or a decomposition without convergence, is an error of
/// [`Optimizer::step`](crate::Optimizer::step) that names the parameter; no weight and no state is changed.
///
/// **Defaults:** β₁ 0.9, β₂ 1, ε 1e-12, weight decay 0, `precondition_every` 1, `start_step` as `precondition_every`,
/// `max_dim` 1024, no grafting. The usual learning rate is 0.01.
///
/// **Costs.** State of a matrix or block: 2(r² + c²) elements for factors and roots, rc for m if β₁ > 0, rc for Adam's v;
/// during a step, factors and new roots once more. Each step: 4rc(r + c) operations; each computation of roots: two
/// eigendecompositions, [r, r] and [c, c].
///
/// In settings, `graft` is `"none"`, `"sgd"` or `"adam"`; `graft_beta2` and `graft_eps` belong to the last.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{Graft, GroupRules, NamedParam, Optimizer, Role, RuleConfig, Shampoo};
///
/// let w = Var::new(&[[5.0_f64, 0.0], [0.0, 0.1]], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Shampoo(Shampoo::new(0.1))))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// // The first step moves both singular values by the learning rate.
/// let moved = w.to_vec2::<f64>()?;
/// assert!((moved[0][0] - 4.9).abs() < 1e-9 && moved[1][1].abs() < 1e-9);
///
/// // Settings for a deep network: averages, roots every 20 steps, step sizes of Adam.
/// let shampoo = Shampoo { beta2: 0.99, eps: 1e-8, precondition_every: 20, graft: Graft::adam(), ..Shampoo::new(1e-3) };
/// # assert!(RuleConfig::Shampoo(shampoo).validate().is_ok());
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Fields", try_from = "Fields")]
pub struct Shampoo {
    /// Learning rate η > 0.
    pub lr: f64,
    /// Decay rate β₁ of the average of gradients, in [0, 1).
    pub beta1: f64,
    /// Decay rate β₂ of the factors, in [0, 1]; 1 means sums.
    pub beta2: f64,
    /// ε ≥ 0, added to the eigenvalues of the factors, in units of a squared gradient; 0 means the pseudoinverse.
    pub eps: f64,
    /// Decoupled weight decay λ ≥ 0.
    pub weight_decay: f64,
    /// Period of the roots in steps, at least 1.
    pub precondition_every: usize,
    /// The step of the first roots, at least 1; None is `precondition_every`.
    pub start_step: Option<usize>,
    /// The largest dimension of a block, at least 1.
    pub max_dim: usize,
    /// Whose step size P gets.
    pub graft: Graft,
}

impl Shampoo {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            beta1: default_beta1(),
            beta2: default_beta2(),
            eps: default_eps(),
            weight_decay: 0.0,
            precondition_every: default_period(),
            start_step: None,
            max_dim: default_max_dim(),
            graft: Graft::None,
        }
    }

    /// The step of the first roots.
    fn first_roots(&self) -> usize {
        self.start_step.unwrap_or(self.precondition_every)
    }

    fn computes_roots_in(&self, step: usize) -> bool {
        let start = self.first_roots();
        step == start || (step > start && step.is_multiple_of(self.precondition_every))
    }
}

impl Hyper for Shampoo {
    const NAME: &'static str = "shampoo";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("beta1", self.beta1)?;
        check.that((0.0..=1.0).contains(&self.beta2), "beta2", self.beta2, "it must lie in [0, 1]; 1 means a sum")?;
        check.not_negative("eps", self.eps)?;
        check.not_negative("weight_decay", self.weight_decay)?;
        let at_least_one = "it must be at least 1";
        check.that(self.precondition_every >= 1, "precondition_every", self.precondition_every, at_least_one)?;
        check.that(self.first_roots() >= 1, "start_step", self.first_roots(), at_least_one)?;
        check.that(self.max_dim >= 1, "max_dim", self.max_dim, at_least_one)?;
        if let Graft::Adam { beta2, eps } = self.graft {
            check.decay_rate("graft_beta2", beta2)?;
            check.not_negative("graft_eps", eps)?;
        }
        Ok(())
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let weight = param.var;
        let vector = matrix_shape(weight.dims()).is_none();
        let matrix = matrix_shape(weight.dims()).unwrap_or((weight.elem_count(), 1));
        let blocks = Blocks::new(matrix, self.max_dim);
        let factors = blocks.shapes().map(|shape| Factors::new(shape, vector, weight)).collect::<Result<_>>()?;
        Ok(Box::new(ShampooState {
            settings: *self,
            matrix,
            blocks,
            factors,
            momentum: Momentum::new(self.beta1, weight)?,
            grafting: Grafting::new(self.graft, weight)?,
            steps: 0,
            prepared: None,
        }))
    }
}

#[derive(Debug)]
struct ShampooState {
    settings: Shampoo,
    matrix: (usize, usize),
    blocks: Blocks,
    /// Those of each block.
    factors: Vec<Factors>,
    momentum: Momentum,
    grafting: Grafting,
    /// Steps taken.
    steps: usize,
    /// The factors after the coming step. They replace the others only in that step: if the decomposition for another
    /// parameter fails, this one stays as it is.
    prepared: Option<Vec<Factors>>,
}

impl ShampooState {
    /// P from m̂, both [r, c], where every block has roots.
    fn preconditioned(&self, average: &Tensor, graft: Option<&Tensor>) -> Result<Tensor> {
        let averages = self.blocks.split(average)?;
        let grafts = graft.map(|graft| self.blocks.split(graft)).transpose()?;
        let mut parts = Vec::with_capacity(averages.len());
        for (k, (factors, average)) in self.factors.iter().zip(&averages).enumerate() {
            let part = factors.precondition(average)?;
            parts.push(match &grafts {
                None => part,
                Some(grafts) => graft::with_norm_of(&part, &grafts[k])?,
            });
        }
        self.blocks.join(parts)
    }
}

impl Rule for ShampooState {
    fn prepare(&mut self, gradient: &Tensor) -> Result<()> {
        let Shampoo { beta2, eps, .. } = self.settings;
        let step = self.steps + 1;
        let gradients = self.blocks.split(&gradient.reshape(self.matrix)?)?;
        let mut factors = self
            .factors
            .iter()
            .zip(&gradients)
            .map(|(factors, gradient)| factors.after(gradient, beta2))
            .collect::<Result<Vec<_>>>()?;
        if self.settings.computes_roots_in(step) {
            factors::compute_roots(&mut factors, eps, correction(beta2, step))?;
        }
        self.prepared = Some(factors);
        Ok(())
    }

    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        if self.prepared.is_none() {
            self.prepare(gradient)?;
        }
        if let Some(factors) = self.prepared.take() {
            self.factors = factors;
        }
        self.steps += 1;
        let Shampoo { beta1, weight_decay, .. } = self.settings;
        let lr = self.settings.lr * lr_factor;

        let average = self.momentum.update(gradient)?.reshape(self.matrix)?;
        let average = if beta1 == 0.0 { average } else { (average / correction(beta1, self.steps))? };
        let graft = self.grafting.direction(&average, gradient, self.steps)?;
        let direction = if self.steps < self.settings.first_roots() {
            graft
        } else if self.settings.graft == Graft::None {
            self.preconditioned(&average, None)?
        } else {
            self.preconditioned(&average, Some(&graft))?
        };
        update2(&ScaledAdd { keep: 1.0 - lr * weight_decay, scale: -lr }, weight, &direction.reshape(weight.shape())?)
    }

    fn state(&self) -> State {
        let mut state = self.momentum.state().number("steps", self.steps as f64);
        state = self.grafting.write(state);
        for (k, factors) in self.factors.iter().enumerate() {
            state = factors.write(state, k);
        }
        state
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        let steps = super::take_count(state, "steps")?;
        let with_roots = steps >= self.settings.first_roots();
        let factors = self.factors.iter().enumerate().map(|(k, factors)| factors.restored(state, k, with_roots));
        Ok(Box::new(Self {
            settings: self.settings,
            matrix: self.matrix,
            blocks: self.blocks.clone(),
            factors: factors.collect::<Result<_>>()?,
            momentum: self.momentum.restored(state)?,
            grafting: self.grafting.restored(state)?,
            steps,
            prepared: None,
        }))
    }
}

/// 1 − βᵗ; 1 for the sum, β = 1.
fn correction(beta: f64, step: usize) -> f64 {
    if beta < 1.0 { 1.0 - beta.powf(step as f64) } else { 1.0 }
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    1.0
}

fn default_eps() -> f64 {
    1e-12
}

fn default_period() -> usize {
    1
}

fn default_max_dim() -> usize {
    1024
}

/// Shampoo as it stands in settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    lr: f64,
    #[serde(default = "default_beta1")]
    beta1: f64,
    #[serde(default = "default_beta2")]
    beta2: f64,
    #[serde(default = "default_eps")]
    eps: f64,
    #[serde(default)]
    weight_decay: f64,
    #[serde(default = "default_period")]
    precondition_every: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_step: Option<usize>,
    #[serde(default = "default_max_dim")]
    max_dim: usize,
    #[serde(default)]
    graft: graft::Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graft_beta2: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graft_eps: Option<f64>,
}

impl From<Shampoo> for Fields {
    fn from(shampoo: Shampoo) -> Self {
        let (graft, graft_beta2, graft_eps) = shampoo.graft.into_fields();
        Self {
            lr: shampoo.lr,
            beta1: shampoo.beta1,
            beta2: shampoo.beta2,
            eps: shampoo.eps,
            weight_decay: shampoo.weight_decay,
            precondition_every: shampoo.precondition_every,
            start_step: shampoo.start_step,
            max_dim: shampoo.max_dim,
            graft,
            graft_beta2,
            graft_eps,
        }
    }
}

impl TryFrom<Fields> for Shampoo {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        Ok(Self {
            lr: fields.lr,
            beta1: fields.beta1,
            beta2: fields.beta2,
            eps: fields.eps,
            weight_decay: fields.weight_decay,
            precondition_every: fields.precondition_every,
            start_step: fields.start_step,
            max_dim: fields.max_dim,
            graft: Graft::from_fields(fields.graft, fields.graft_beta2, fields.graft_eps)?,
        })
    }
}
