//! Muon.

use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Momentum, Orthogonalized, Rule, orthogonalized_step};
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2};
use crate::orthogonalize::{IterationDtype, Name, OrthogonalizerSettings};
use crate::state::State;
use crate::{NewtonSchulz, Orthogonalizer, Result};

/// Muon: momentum, orthogonalized (K. Jordan et al., 2024).
///
/// For a matrix W, [r, c], with gradient g:
///
/// ```text
/// M ← βM + (1 − β)g                M₀ = 0
/// U = M                            or (1 − β)g + βM with Nesterov
/// W ← (1 − ηλ)W − η·s·orthogonalize(U)
/// ```
///
/// There is no bias correction. The scale s depends on the shape ([`Scale`]); weight decay λ is decoupled and
/// multiplied by η alone. Orthogonalizers: [`Orthogonalizer`]. With the exact one, β = 0 and scale `none` the rule is
/// [`SpecGd`](crate::SpecGd). A zero U gives no update besides the decay.
///
/// Tensors of more dimensions, such as convolution filters [out, in, h, w], are matrices [out, in·h·w], also for
/// s. Vectors are not accepted: their group has its own rule.
///
/// Defaults: momentum 0.95, Nesterov on, five Newton–Schulz steps in the type of the parameter, scale `original`,
/// weight decay 0. The usual learning rate is 0.02 with scale `original`. State: one tensor when momentum > 0. The
/// definition is that of `torch.optim.Muon`, which iterates in bfloat16.
///
/// In settings, `orthogonalizer` is `"newton-schulz"`, `"you"`, `"polar-express"`, `"polynomial"` or `"exact"`. `ns_dtype`
/// is for all but the last, `ns_steps` for the first, and `"polynomial"` needs `coefficients = [[a, b, c], …]`, one
/// triple for each step.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, Muon, NamedParam, Optimizer, Orthogonalizer, Role, RuleConfig, Scale};
///
/// let w = Var::new(&[[5.0_f64, 0.0], [0.0, 0.1]], &Device::Cpu)?;
/// let muon = Muon { orthogonalizer: Orthogonalizer::Exact, scale: Scale::None, ..Muon::new(0.1) };
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Muon(muon)))?;
/// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
/// assert!((w.to_vec2::<f64>()?[0][0] - 4.9).abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Fields", try_from = "Fields")]
pub struct Muon {
    /// Learning rate η > 0.
    pub lr: f64,
    /// Momentum β in [0, 1).
    pub momentum: f64,
    /// Whether the step looks ahead along M.
    pub nesterov: bool,
    /// How U is orthogonalized.
    pub orthogonalizer: Orthogonalizer,
    /// The factor s.
    pub scale: Scale,
    /// Decoupled weight decay λ ≥ 0.
    pub weight_decay: f64,
}

/// The factor s of [`Muon`] for a matrix [r, c].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// s = 1
    None,
    /// s = √max(1, r/c), as in Jordan's implementation and `torch.optim.Muon`.
    #[default]
    Original,
    /// s = 0.2·√max(r, c), which gives the root mean square of an AdamW step, so that its learning rates carry over
    /// (Moonlight, J. Liu et al., 2025).
    MatchRmsAdamw,
    /// s = √(r/c), steepest descent in the norm from root mean square to root mean square (Scion, Dion).
    Spectral,
}

impl Scale {
    /// s for a matrix of `rows` × `columns`; filters of a convolution count as flattened.
    pub fn factor(self, rows: usize, columns: usize) -> f64 {
        let (r, c) = (rows as f64, columns as f64);
        match self {
            Self::None => 1.0,
            Self::Original => (r / c).max(1.0).sqrt(),
            Self::MatchRmsAdamw => 0.2 * r.max(c).sqrt(),
            Self::Spectral => (r / c).sqrt(),
        }
    }
}

impl Muon {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self {
            lr,
            momentum: default_momentum(),
            nesterov: default_nesterov(),
            orthogonalizer: Orthogonalizer::NewtonSchulz(NewtonSchulz::default()),
            scale: Scale::default(),
            weight_decay: 0.0,
        }
    }
}

impl Hyper for Muon {
    const NAME: &'static str = "muon";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("momentum", self.momentum)?;
        self.orthogonalizer.validate(&check)?;
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        self.orthogonalizer.validate_on(&Check { rule: Self::NAME }, param.var.device())?;
        let matrix = param.matrix(Self::NAME)?;
        Ok(Box::new(MuonState { settings: self.clone(), matrix, momentum: Momentum::new(self.momentum, param.var)? }))
    }
}

#[derive(Debug)]
pub(crate) struct MuonState {
    settings: Muon,
    matrix: (usize, usize),
    momentum: Momentum,
}

impl Rule for MuonState {
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        orthogonalized_step(self, weight, gradient, lr_factor)
    }

    fn orthogonalized(&mut self) -> Option<&mut dyn Orthogonalized> {
        Some(self)
    }

    fn state(&self) -> State {
        self.momentum.state()
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        let momentum = self.momentum.restored(state)?;
        Ok(Box::new(Self { settings: self.settings.clone(), matrix: self.matrix, momentum }))
    }
}

impl Orthogonalized for MuonState {
    fn orthogonalizer(&self) -> &Orthogonalizer {
        &self.settings.orthogonalizer
    }

    fn direction(&mut self, gradient: &Tensor) -> Result<Tensor> {
        let direction = if self.settings.nesterov {
            self.momentum.update_looking_ahead(gradient)?
        } else {
            self.momentum.update(gradient)?.clone()
        };
        Ok(direction.reshape(self.matrix)?)
    }

    fn update(&mut self, weight: &Var, orthogonal: &Tensor, lr_factor: f64) -> Result<()> {
        let Muon { scale, weight_decay, .. } = self.settings;
        let lr = self.settings.lr * lr_factor;
        let (rows, columns) = self.matrix;
        let update = ScaledAdd { keep: 1.0 - lr * weight_decay, scale: -lr * scale.factor(rows, columns) };
        update2(&update, weight, &orthogonal.reshape(weight.shape())?)
    }
}

fn default_momentum() -> f64 {
    0.95
}

fn default_nesterov() -> bool {
    true
}

/// Muon as it stands in settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    lr: f64,
    #[serde(default = "default_momentum")]
    momentum: f64,
    #[serde(default = "default_nesterov")]
    nesterov: bool,
    #[serde(default)]
    orthogonalizer: Name,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ns_steps: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ns_dtype: Option<IterationDtype>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coefficients: Option<Vec<[f64; 3]>>,
    #[serde(default)]
    scale: Scale,
    #[serde(default)]
    weight_decay: f64,
}

impl From<Muon> for Fields {
    fn from(muon: Muon) -> Self {
        let OrthogonalizerSettings { name, ns_steps, ns_dtype, coefficients } = muon.orthogonalizer.into();
        Self {
            lr: muon.lr,
            momentum: muon.momentum,
            nesterov: muon.nesterov,
            orthogonalizer: name,
            ns_steps,
            ns_dtype,
            coefficients,
            scale: muon.scale,
            weight_decay: muon.weight_decay,
        }
    }
}

impl TryFrom<Fields> for Muon {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let Fields { orthogonalizer: name, ns_steps, ns_dtype, coefficients, .. } = fields;
        Ok(Self {
            lr: fields.lr,
            momentum: fields.momentum,
            nesterov: fields.nesterov,
            orthogonalizer: OrthogonalizerSettings { name, ns_steps, ns_dtype, coefficients }.read(Self::NAME)?,
            scale: fields.scale,
            weight_decay: fields.weight_decay,
        })
    }
}
