//! Dion.

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::{Check, Rule, zeros};
use crate::config::{Hyper, Param};
use crate::elementwise::{ScaledAdd, update2, updated2};
use crate::orthonormal::orthonormalize;
use crate::reduce::{all_finite, f64_values};
use crate::state::State;
use crate::unit::unit_vectors;
use crate::{Error, Result};

/// Dion: a low-rank orthonormal update with error feedback (K. Ahn et al., 2025, arXiv 2504.05295).
///
/// For a matrix W, [r, c], r ≥ c, with gradient G and a rank k ≤ c:
///
/// ```text
/// M ← M + G                        M₀ = 0, [r, c]
/// P = qr(MQ)                       orthonormal columns, [r, k]
/// R = MᵀP                          [c, k]
/// M ← M − (1 − μ)·PRᵀ              what is applied fades; the rest stays for later steps
/// Q = R with columns of length 1   Q₀ random, [c, k]
/// W ← (1 − ηλ)W − η·√(r/c)·PQᵀ
/// ```
///
/// One step of power iteration for each update: where M changes slowly, P and Q go to its first k singular vectors, and
/// PQᵀ to the first k terms of UVᵀ. A matrix with r < c is transposed for all but the factor √(r/c), as in the reference
/// implementation, so P always has the long side and Q the short one.
///
/// A direction that M does not have is left out: column j of P is zero when column j of MQ depends on those before it,
/// or when ‖R_j‖ ≤ max(r, c)·ε·max‖R_i‖ (ε of the parameter's type; R_j estimates a singular value, so this is the
/// truncation of [`SpecGd`](crate::SpecGd)). Its column of Q stays as it was and is tried again in the next step. A zero
/// M so gives no update besides the decay, and M of rank 1 an update of rank 1. The reference implementation adds
/// 1e-8 to the lengths of the columns of R instead, which damps every direction of a small M.
///
/// Q₀ has entries uniform in [−1, 1), made from `seed` and the name of the parameter: the same on every device and for
/// every order of the parameters.
///
/// Tensors of more dimensions, such as convolution filters [out, in, h, w], are matrices [out, in·h·w], also for
/// √(r/c). Vectors are not accepted: their group has its own rule.
///
/// Defaults, those of the reference implementation: momentum μ 0.95, rank fraction 1 (less saves time on large matrices),
/// weight decay 0.01; seed 0. Its usual learning rate is 0.01. State: M and Qᵀ, [k, min(r, c)].
/// Cost: four products of 2rck operations on the device of the parameter, and a QR decomposition of
/// max(r, c) × k on one thread of the CPU in f64 (from other devices that matrix is copied there and back); parameters
/// on the CPU are decomposed in parallel.
///
/// In settings, `rank = 8` or `rank_fraction = 0.25`.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{Dion, GroupRules, NamedParam, Optimizer, Rank, Role, RuleConfig};
///
/// let w = Var::new(&[[3.0_f64, 6.0], [2.0, 4.0], [1.0, 2.0]], &Device::Cpu)?;
/// let dion = Dion { rank: Rank::Absolute(1), weight_decay: 0.0, ..Dion::new(0.1) };
/// let params = vec![NamedParam::new("w", Role::Matrix, w.clone())];
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Dion(dion)))?;
/// optimizer.backward_step(&(w.sqr()?.sum_all()? * 0.5)?)?;
/// // The gradient has rank 1 and norm √70, so W shrinks by 0.1·√(3/2)/√70 of itself.
/// let left = 1.0 - 0.1 * (1.5_f64 / 70.0).sqrt();
/// assert!((w.to_vec2::<f64>()?[0][1] - 6.0 * left).abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Fields", try_from = "Fields")]
pub struct Dion {
    /// Learning rate η > 0.
    pub lr: f64,
    /// Momentum μ in [0, 1): how much of an applied direction stays in M.
    pub momentum: f64,
    /// The rank k of the update.
    pub rank: Rank,
    /// Decoupled weight decay λ ≥ 0.
    pub weight_decay: f64,
    /// Seed of Q₀.
    pub seed: u64,
}

/// The rank k of [`Dion`]'s update of a matrix [r, c].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rank {
    /// k itself, from 1 to min(r, c).
    Absolute(usize),
    /// k = ⌈f·min(r, c)⌉ with f in (0, 1].
    Fraction(f64),
}

impl Rank {
    /// k for a matrix of `rows` × `columns`.
    ///
    /// ```
    /// use isorate_optim::Rank;
    ///
    /// assert_eq!(Rank::Fraction(0.25).of(784, 512), 128);
    /// assert_eq!(Rank::Fraction(0.01).of(3, 4), 1);
    /// ```
    pub fn of(self, rows: usize, columns: usize) -> usize {
        match self {
            Self::Absolute(rank) => rank,
            Self::Fraction(fraction) => {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the exact dimension")]
                let rank = (fraction * rows.min(columns) as f64).ceil() as usize;
                rank
            }
        }
    }
}

impl Dion {
    /// The rule with its default hyperparameters.
    pub fn new(lr: f64) -> Self {
        Self { lr, momentum: default_momentum(), rank: Rank::Fraction(1.0), weight_decay: default_weight_decay(), seed: 0 }
    }
}

impl Hyper for Dion {
    const NAME: &'static str = "dion";

    fn weight_decay(&self) -> f64 {
        self.weight_decay
    }

    fn validate(&self) -> Result<()> {
        let check = Check { rule: Self::NAME };
        check.lr(self.lr)?;
        check.decay_rate("momentum", self.momentum)?;
        match self.rank {
            Rank::Absolute(rank) => check.that(rank >= 1, "rank", rank, "an update has at least rank 1")?,
            Rank::Fraction(f) => check.that(f > 0.0 && f <= 1.0, "rank_fraction", f, "it must lie in (0, 1]")?,
        }
        check.not_negative("weight_decay", self.weight_decay)
    }

    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        let (rows, columns) = param.matrix(Self::NAME)?;
        let rank = self.rank.of(rows, columns);
        let short = rows.min(columns);
        if rank > short {
            return Err(Error::RankTooLarge { name: param.name.to_owned(), rank, rows, columns });
        }
        let directions = Tensor::from_vec(start(self.seed, param.name, rank * short), (rank, short), &Device::Cpu)?;
        let directions = directions.to_dtype(param.var.dtype())?.to_device(param.var.device())?;
        Ok(Box::new(DionState {
            settings: *self,
            matrix: (rows, columns),
            momentum: zeros(param.var)?,
            directions: Var::from_tensor(&directions)?,
            prepared: None,
        }))
    }
}

/// `count` numbers, uniform in [−1, 1): SplitMix64 from the FNV-1a hash of seed and name. Integer arithmetic alone, so
/// that every platform has the same bits.
fn start(seed: u64, name: &str, count: usize) -> Vec<f64> {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let mut state = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 53 bits, exact in f64.
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[derive(Debug)]
pub(crate) struct DionState {
    settings: Dion,
    matrix: (usize, usize),
    /// M, in the shape of the parameter.
    momentum: Var,
    /// Qᵀ, [k, min(r, c)].
    directions: Var,
    prepared: Option<Prepared>,
}

/// Of the coming step.
#[derive(Debug)]
struct Prepared {
    /// Pᵀ, [k, max(r, c)].
    basis: Tensor,
    /// Rᵀ, [k, min(r, c)].
    image: Tensor,
}

impl DionState {
    /// The matrix with its long side first.
    fn tall(&self, x: &Tensor) -> Result<Tensor> {
        let matrix = x.reshape(self.matrix)?;
        let (rows, columns) = self.matrix;
        Ok(if rows < columns { matrix.t()? } else { matrix })
    }

    /// ABᵀ, [r, c], for Aᵀ [k, max(r, c)] and Bᵀ [k, min(r, c)].
    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let (rows, columns) = self.matrix;
        Ok(if rows < columns { b.t()?.matmul(a)? } else { a.t()?.matmul(b)? })
    }

    /// P and R of M + G. M itself stays as it is, so that a failure changes nothing.
    fn decomposed(&self, gradient: &Tensor) -> Result<Prepared> {
        let finite = |x: &Tensor| if all_finite(x)? { Ok(()) } else { Err(Error::NonFiniteMatrix) };
        let sum = updated2(&ScaledAdd { keep: 1.0, scale: 1.0 }, &self.momentum, gradient)?;
        // (MQ)ᵀ row by row is MQ column by column.
        let product = self.directions.matmul(&self.tall(&sum)?.t()?)?.contiguous()?;
        finite(&product)?;
        let (rank, long) = product.dims2()?;
        let mut values = f64_values(&product)?;
        orthonormalize(&mut values, long, rank);
        let basis = Tensor::from_vec(values, (rank, long), &Device::Cpu)?;
        let basis = basis.to_dtype(product.dtype())?.to_device(product.device())?;
        let image = basis.matmul(&self.tall(&sum)?)?;
        finite(&image)?;
        Ok(Prepared { basis, image })
    }

    /// max(r, c)·ε of the parameter's type.
    fn tolerance(&self) -> f64 {
        let epsilon = if self.momentum.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
        self.matrix.0.max(self.matrix.1) as f64 * epsilon
    }
}

impl Rule for DionState {
    fn prepare(&mut self, gradient: &Tensor) -> Result<()> {
        self.prepared = Some(self.decomposed(gradient)?);
        Ok(())
    }

    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
        let Dion { lr, momentum: mu, weight_decay, .. } = self.settings;
        let Prepared { basis, image } = match self.prepared.take() {
            Some(prepared) => prepared,
            None => self.decomposed(gradient)?,
        };
        update2(&ScaledAdd { keep: 1.0, scale: 1.0 }, &self.momentum, gradient)?;
        let (unit, norm) = unit_vectors(&image, 1)?;
        let present = norm.broadcast_gt(&(norm.max_keepdim(0)? * self.tolerance())?)?;
        let basis = basis.broadcast_mul(&present.to_dtype(norm.dtype())?)?;
        let directions = present.broadcast_as(unit.shape())?.contiguous()?.where_cond(&unit, &self.directions)?;

        let applied = self.product(&basis, &image)?.reshape(weight.shape())?;
        update2(&ScaledAdd { keep: 1.0, scale: mu - 1.0 }, &self.momentum, &applied)?;
        let orthonormal = self.product(&basis, &directions)?.reshape(weight.shape())?;
        self.directions.set(&directions)?;
        let lr = lr * lr_factor;
        let (rows, columns) = self.matrix;
        let scale = (rows as f64 / columns as f64).sqrt();
        update2(&ScaledAdd { keep: 1.0 - lr * weight_decay, scale: -lr * scale }, weight, &orthonormal)
    }

    fn state(&self) -> State {
        State::new().tensor("directions", &self.directions).tensor("momentum", &self.momentum)
    }

    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>> {
        Ok(Box::new(Self {
            momentum: state.take_like("momentum", &self.momentum)?,
            directions: state.take_like("directions", &self.directions)?,
            prepared: None,
            ..*self
        }))
    }
}

fn default_momentum() -> f64 {
    0.95
}

fn default_weight_decay() -> f64 {
    0.01
}

/// Dion as it stands in settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    lr: f64,
    #[serde(default = "default_momentum")]
    momentum: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rank_fraction: Option<f64>,
    #[serde(default = "default_weight_decay")]
    weight_decay: f64,
    #[serde(default)]
    seed: u64,
}

impl From<Dion> for Fields {
    fn from(dion: Dion) -> Self {
        let (rank, rank_fraction) = match dion.rank {
            Rank::Absolute(rank) => (Some(rank), None),
            Rank::Fraction(fraction) => (None, Some(fraction)),
        };
        let Dion { lr, momentum, weight_decay, seed, .. } = dion;
        Self { lr, momentum, rank, rank_fraction, weight_decay, seed }
    }
}

impl TryFrom<Fields> for Dion {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let rank = match (fields.rank, fields.rank_fraction) {
            (Some(_), Some(_)) => return Err("dion: `rank` and `rank_fraction` exclude each other; give one".into()),
            (Some(rank), None) => Rank::Absolute(rank),
            (None, fraction) => Rank::Fraction(fraction.unwrap_or(1.0)),
        };
        let Fields { lr, momentum, weight_decay, seed, .. } = fields;
        Ok(Self { lr, momentum, rank, weight_decay, seed })
    }
}
