//! Scion.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Momentum, Orthogonalized, Rule, orthogonalized_step};
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, SignStep, update2};
use crate::orthogonalize::{IterationDtype, Name, OrthogonalizerSettings};
use crate::state::State;
use crate::unit::unit_vectors;
use crate::{NewtonSchulz, Orthogonalizer, Result, Role};

/// Scion: steepest descent in a norm chosen for each layer, within a ball of that norm (T. Pethick et al., 2025, arXiv
/// 2502.07529).
///
/// For a parameter W with gradient g and a norm with radius ρ:
///
/// ```text
/// M ← βM + (1 − β)g                M₀ = 0
/// D = argmax ⟨M, D⟩ over ‖D‖ ≤ 1   minus the linear minimization oracle of the norm
/// W ← (1 − η)W − η·ρ·D             constrained: a Frank–Wolfe step, W goes to and stays in ‖W‖ ≤ ρ
/// W ← W − η·ρ·D                    unconstrained
/// ```
///
/// The norms and their D ([`ScionNorm`]), for a matrix [r, c] = \[out, in\] and M = U diag(σ) Vᵀ:
///
/// | `norm` | D | meant for |
/// |---|---|---|
/// | `spectral` | √(r/c)·UVᵀ | hidden matrices |
/// | `spectral-max` | max(1, √(r/c))·UVᵀ | the first layer of an image model |
/// | `spectral-conv` | √(out/in)/k²·UVᵀ of M as \[out, in·k·k\] | filters \[out, in, k, k\]; k is one dimension for \[out, in, k\] |
/// | `sign` | sign(M)/c | heads |
/// | `col-norm` | each column m becomes √r·m/‖m‖ | embeddings |
/// | `row-norm` | each row m becomes m/(√c·‖m‖) | heads |
/// | `bias-rms` | M/RMS(M), the tensor taken as one vector | vectors |
/// | `auto` | by role and shape | |
///
/// `auto` takes `sign` for [`Role::Head`], `col-norm` for [`Role::Embedding`], `bias-rms` for [`Role::Vector`] and for
/// every tensor of less than two dimensions, and otherwise `spectral` for two dimensions and `spectral-conv` for more.
/// An embedding table is stored as \[vocabulary, dimension\], so for that role rows and columns change places in
/// `col-norm` and `row-norm`: the embedding of each token is normalized. The reference implementation's `Auto` goes by
/// shape alone and leaves heads and embeddings to the user.
///
/// UVᵀ comes from an [`Orthogonalizer`], exact or not. Where M is zero, D is: a zero column, row or tensor gives no
/// update besides the shrinking of W. The reference implementation adds 1e-8 to the lengths it divides by; here nothing
/// is added. The constrained form is the unconstrained one with weight decay 1 (η times it): no other is needed.
///
/// Defaults: momentum β 0.9 (the paper's α = 1 − β is 0.1), radius 1, constrained, norm `auto`, five Newton–Schulz steps
/// in the type of the parameter. Learning rates and radii of the authors: nanoGPT η = 2⁻¹², ρ = 50, heads and shared
/// embeddings `sign` with 3000; MLP η = 2⁻⁶, ρ = 1, head 1024; CNN η = 2⁻⁴, β 0.5, ρ = 8, head 128. The radius belongs to the
/// kind of layer, so give every group its own. State: one tensor when momentum > 0.
///
/// In settings, `orthogonalizer`, `ns_steps`, `ns_dtype` and `coefficients` are as for [`Muon`](crate::Muon), for the
/// norms that need them.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, NamedParam, Optimizer, Role, RuleConfig, Scion};
///
/// let head = Var::new(&[[0.5_f64, -0.5], [0.25, 0.0]], &Device::Cpu)?;
/// let rule = RuleConfig::Scion(Scion { radius: 4.0, ..Scion::new(0.1) });
/// let params = vec![NamedParam::new("head", Role::Head, head.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule))?;
/// optimizer.backward_step(&head.sqr()?.sum_all()?)?;
/// // 0.9·W − 0.1·4·sign(W)/2
/// let w = head.to_vec2::<f64>()?;
/// assert!((w[0][0] - 0.25).abs() < 1e-12 && (w[1][0] - 0.025).abs() < 1e-12 && w[1][1] == 0.0);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Fields", try_from = "Fields")]
pub struct Scion {
    /// Learning rate η > 0; at most 1 in the constrained form.
    pub lr: f64,
    /// Momentum β in [0, 1).
    pub momentum: f64,
    /// The radius ρ > 0 of the ball.
    pub radius: f64,
    /// Whether W is kept in the ball.
    pub constrained: bool,
    /// The norm.
    pub norm: ScionNorm,
    /// How M is orthogonalized in the spectral norms.
    pub orthogonalizer: Orthogonalizer,
}

/// The norm of [`Scion`], with the directions in the table there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScionNorm {
    /// By role and shape.
    #[default]
    Auto,
    /// The spectral norm, from root mean square to root mean square.
    Spectral,
    /// The spectral norm with a factor of at least 1.
    SpectralMax,
    /// The spectral norm of the filters of a convolution, summed over their positions.
    SpectralConv,
    /// The largest absolute value, times the number of inputs.
    Sign,
    /// The largest root mean square of a column.
    ColNorm,
    /// The largest ℓ2 norm of a row, times the root of the number of inputs.
    RowNorm,
    /// The root mean square of all elements.
    BiasRms,
}

impl ScionNorm {
    /// Whether the norm is one of matrices only.
    pub(crate) fn needs_matrices(self) -> bool {
        !matches!(self, Self::Auto | Self::BiasRms)
    }

    /// Whether settings with this norm may name an orthogonalizer.
    fn may_orthogonalize(self) -> bool {
        matches!(self, Self::Auto | Self::Spectral | Self::SpectralMax | Self::SpectralConv)
    }

    /// The norm that `auto` means for this parameter.
    fn for_param(self, param: &Param<'_>) -> Self {
        match (self, param.role, param.var.rank()) {
            (Self::Auto, Role::Vector, _) | (Self::Auto, _, 0 | 1) => Self::BiasRms,
            (Self::Auto, Role::Head, _) => Self::Sign,
            (Self::Auto, Role::Embedding, _) => Self::ColNorm,
            (Self::Auto, Role::Matrix, 2) => Self::Spectral,
            (Self::Auto, Role::Matrix, _) => Self::SpectralConv,
            (given, _, _) => given,
        }
    }
}

impl Scion {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            momentum: default_momentum(),
            radius: default_radius(),
            constrained: default_constrained(),
            norm: ScionNorm::Auto,
            orthogonalizer: Orthogonalizer::NewtonSchulz(NewtonSchulz::default()),
        }
    }
}

impl Hyper for Scion {
    const NAME: &'static str = "scion";

    /// The constrained form is that of weight decay 1.
    fn weight_decay(&self) -> f64 {
        if self.constrained { 1.0 } else { 0.0 }
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.that(
            !self.constrained || self.lr <= 1.0,
            "lr",
            self.lr,
            "a constrained step goes at most all the way to the ball's edge, so it must be at most 1",
        )?;
        check.decay_rate("momentum", self.momentum)?;
        check.that(
            self.radius.is_finite() && self.radius > 0.0,
            "radius",
            self.radius,
            "a radius must be positive and finite",
        )?;
        self.orthogonalizer.validate(&check)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let norm = self.norm.for_param(param);
        let (direction, matrix) = match norm {
            ScionNorm::Auto | ScionNorm::BiasRms => {
                let count = param.var.elem_count();
                (Direction::Unit { dim: 0, scale: (count as f64).sqrt() }, (count, 1))
            }
            _ => {
                let matrix = param.matrix(Self::NAME)?;
                (Direction::of_matrix(norm, param, matrix), matrix)
            }
        };
        if matches!(direction, Direction::Orthogonal { .. }) {
            self.orthogonalizer.validate_on(&Check { rule: Self::NAME }, param.var.device())?;
        }
        let momentum = Momentum::new(self.momentum, param.var)?;
        Ok(Box::new(ScionState { settings: self.clone(), direction, matrix, momentum }))
    }
}

/// D of a matrix, up to its computation.
#[derive(Clone, Copy, Debug)]
enum Direction {
    /// scale·UVᵀ
    Orthogonal { scale: f64 },
    /// scale·sign(M)
    Sign { scale: f64 },
    /// scale·m/‖m‖ for each vector m along `dim`
    Unit { dim: usize, scale: f64 },
}

impl Direction {
    fn of_matrix(norm: ScionNorm, param: &Param<'_>, (rows, columns): (usize, usize)) -> Self {
        let (r, c) = (rows as f64, columns as f64);
        // An embedding table is the transpose of the layer's matrix.
        let transposed = param.role == Role::Embedding;
        match norm {
            ScionNorm::Spectral => Self::Orthogonal { scale: (r / c).sqrt() },
            ScionNorm::SpectralMax => Self::Orthogonal { scale: (r / c).sqrt().max(1.0) },
            ScionNorm::SpectralConv => {
                let positions: usize = param.var.dims()[2..].iter().product();
                let k = positions as f64;
                Self::Orthogonal { scale: (r / (c / k)).sqrt() / k }
            }
            ScionNorm::ColNorm if transposed => Self::Unit { dim: 1, scale: c.sqrt() },
            ScionNorm::ColNorm => Self::Unit { dim: 0, scale: r.sqrt() },
            ScionNorm::RowNorm if transposed => Self::Unit { dim: 0, scale: 1.0 / r.sqrt() },
            ScionNorm::RowNorm => Self::Unit { dim: 1, scale: 1.0 / c.sqrt() },
            ScionNorm::Auto | ScionNorm::BiasRms | ScionNorm::Sign => Self::Sign { scale: 1.0 / c },
        }
    }
}

#[derive(Debug)]
pub(crate) struct ScionState {
    settings: Scion,
    direction: Direction,
    /// The shape in which the direction is taken; [n, 1] for a vector.
    matrix: (usize, usize),
    momentum: Momentum,
}

impl ScionState {
    /// W ← keep·W − step·D, D to be multiplied by the second number.
    fn coefficients(&self, lr_factor: f64) -> (f64, f64) {
        let lr = self.settings.lr * lr_factor;
        (if self.settings.constrained { 1.0 - lr } else { 1.0 }, lr * self.settings.radius)
    }
}

impl Rule for ScionState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let (keep, step) = self.coefficients(lr_factor);
        match self.direction {
            Direction::Orthogonal { .. } => orthogonalized_step(self, weight, gradient, lr_factor),
            Direction::Sign { scale } => update2(&SignStep { keep, step: step * scale }, weight, self.momentum.update(gradient)?),
            Direction::Unit { dim, scale } => {
                let matrix = self.momentum.update(gradient)?.reshape(self.matrix)?;
                let (unit, _) = unit_vectors(&matrix, dim)?;
                update2(&ScaledAdd { keep, scale: -step * scale }, weight, &unit.reshape(weight.shape())?)
            }
        }
    }

    fn orthogonalized(&mut self) -> Option<&mut dyn Orthogonalized> {
        match self.direction {
            Direction::Orthogonal { .. } => Some(self),
            _ => None,
        }
    }

    fn state(&self) -> State {
        self.momentum.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        let momentum = self.momentum.restored(state)?;
        Ok(Box::new(Self { settings: self.settings.clone(), momentum, ..*self }))
    }
}

/// Of use where the direction is [`Direction::Orthogonal`].
impl Orthogonalized for ScionState {
    fn orthogonalizer(&self) -> &Orthogonalizer {
        &self.settings.orthogonalizer
    }

    fn direction(&mut self, gradient: &Tensor) -> Result<Tensor> {
        Ok(self.momentum.update(gradient)?.reshape(self.matrix)?)
    }

    fn update(&mut self, weight: &Var, orthogonal: &Tensor, lr_factor: f64) -> Result<()> {
        let (keep, step) = self.coefficients(lr_factor);
        let scale = match self.direction {
            Direction::Orthogonal { scale } => scale,
            Direction::Sign { .. } | Direction::Unit { .. } => 1.0,
        };
        update2(&ScaledAdd { keep, scale: -step * scale }, weight, &orthogonal.reshape(weight.shape())?)
    }
}

fn default_momentum() -> f64 {
    0.9
}

fn default_radius() -> f64 {
    1.0
}

fn default_constrained() -> bool {
    true
}

/// Scion as it stands in settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    lr: f64,
    #[serde(default = "default_momentum")]
    momentum: f64,
    #[serde(default = "default_radius")]
    radius: f64,
    #[serde(default = "default_constrained")]
    constrained: bool,
    #[serde(default)]
    norm: ScionNorm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    orthogonalizer: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ns_steps: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ns_dtype: Option<IterationDtype>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coefficients: Option<Vec<[f64; 3]>>,
}

impl From<Scion> for Fields {
    fn from(scion: Scion) -> Self {
        let Scion { lr, momentum, radius, constrained, norm, orthogonalizer } = scion;
        let (orthogonalizer, ns_steps, ns_dtype, coefficients) = if norm.may_orthogonalize() {
            let OrthogonalizerSettings { name, ns_steps, ns_dtype, coefficients } = orthogonalizer.into();
            (Some(name), ns_steps, ns_dtype, coefficients)
        } else {
            (None, None, None, None)
        };
        Self { lr, momentum, radius, constrained, norm, orthogonalizer, ns_steps, ns_dtype, coefficients }
    }
}

impl TryFrom<Fields> for Scion {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let Fields { lr, momentum, radius, constrained, norm, orthogonalizer, ns_steps, ns_dtype, coefficients } = fields;
        let given = [
            ("orthogonalizer", orthogonalizer.is_some()),
            ("ns_steps", ns_steps.is_some()),
            ("ns_dtype", ns_dtype.is_some()),
            ("coefficients", coefficients.is_some()),
        ];
        if let (false, Some((key, _))) = (norm.may_orthogonalize(), given.iter().find(|(_, given)| *given)) {
            return Err(format!("scion: `{key}` has no meaning with a norm that is not spectral"));
        }
        let name = orthogonalizer.unwrap_or_default();
        let orthogonalizer = OrthogonalizerSettings { name, ns_steps, ns_dtype, coefficients }.read(Self::NAME)?;
        Ok(Self { lr, momentum, radius, constrained, norm, orthogonalizer })
    }
}
