//! Odd polynomials whose repeated application brings singular values near 1.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use super::device_name;
use crate::{Error, Result};

/// (a, b, c) of Jordan's quintic, chosen for the steepest slope at 0.
///
/// Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
pub const JORDAN_COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);

/// [`PolynomialSchedule::You`].
const YOU: [[f64; 3]; 5] = [
    [4.0848, -6.8946, 2.9270],
    [3.9505, -6.3029, 2.6377],
    [3.7418, -5.5913, 2.3037],
    [2.8769, -3.1427, 1.2046],
    [2.8366, -3.0525, 1.2012],
];

/// [`PolynomialSchedule::PolarExpress`].
const POLAR_EXPRESS: [[f64; 3]; 5] = [
    [8.156_554_524_902_461, -22.483_292_925_577_95, 15.878_769_915_207_462],
    [4.042_929_935_166_739, -2.808_917_465_908_714, 0.500_017_845_105_131_6],
    [3.891_667_802_292_660_7, -2.772_484_153_217_685, 0.506_064_817_850_339_3],
    [3.285_753_657_755_655, -2.368_129_493_342_537_6, 0.464_490_242_330_031_06],
    [2.346_541_325_859_637_7, -1.709_782_838_268_708_1, 0.423_235_511_693_053_23],
];

/// The type in which the iteration computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IterationDtype {
    /// The type of the parameter.
    #[default]
    Tensor,
    /// bfloat16, as in the reference implementations. On a CPU with AVX512-BF16 it was faster than f32 from 512×512 on, and slower
    /// at 128×784. Other CPUs give the same bits; their speed was not measured.
    BF16,
    /// float16.
    F16,
    /// float32.
    F32,
    /// float64.
    F64,
}

impl IterationDtype {
    fn resolve(self, tensor: DType) -> DType {
        match self {
            Self::Tensor => tensor,
            Self::BF16 => DType::BF16,
            Self::F16 => DType::F16,
            Self::F32 => DType::F32,
            Self::F64 => DType::F64,
        }
    }
}

/// The quintic Newton–Schulz iteration X ← aX + (bA + cA²)X with A = XXᵀ and Jordan's coefficients.
///
/// It starts from X/max(‖X‖_F, 1e-7), on the transpose where r > c. The singular vectors stay as they are; each
/// singular value σ goes through σ ← aσ + bσ³ + cσ⁵. Five steps bring every σ/‖X‖_F of [0.01, 1] into
/// [0.682, 1.134], not to 1: this is the map that Muon's authors chose for speed.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_optim::{NewtonSchulz, Orthogonalize};
///
/// let x = Tensor::new(&[[0.5_f64]], &Device::Cpu)?;
/// // One step from σ = 1: a + b + c.
/// assert!((NewtonSchulz::jordan(1).orthogonalize(&x)?.to_vec2::<f64>()?[0][0] - 0.701).abs() < 1e-5);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewtonSchulz {
    /// Number of steps, at least 1. Default 5.
    pub steps: usize,
    /// The type in which the iteration computes. Default: the type of the matrix.
    pub dtype: IterationDtype,
}

impl Default for NewtonSchulz {
    fn default() -> Self {
        Self::jordan(5)
    }
}

impl NewtonSchulz {
    /// Jordan's quintic, `steps` times, in the type of the matrix.
    pub fn jordan(steps: usize) -> Self {
        Self { steps, dtype: IterationDtype::Tensor }
    }

    pub(super) fn iteration(&self) -> Iteration<'static> {
        let (a, b, c) = JORDAN_COEFFICIENTS;
        Iteration {
            name: "newton-schulz",
            steps: vec![[a, b, c]; self.steps].into(),
            normalization: Normalization::PLAIN,
            dtype: self.dtype,
        }
    }
}

/// The coefficients (a, b, c) of each step of an [`OddPolynomial`], first step first.
#[derive(Clone, Debug, PartialEq)]
pub enum PolynomialSchedule {
    /// You Jiacheng's five steps, found by numerical search: (4.0848, −6.8946, 2.9270), (3.9505, −6.3029, 2.6377),
    /// (3.7418, −5.5913, 2.3037), (2.8769, −3.1427, 1.2046), (2.8366, −3.0525, 1.2012). Singular values σ/‖X‖_F of
    /// [0.01, 1] end in [0.978, 1.032].
    ///
    /// Source: the speed records of modded-nanogpt, 2025. Start: X/max(‖X‖_F, 1e-7).
    You,
    /// Polar Express, five steps, each the best odd quintic for the interval that the steps before it leave, with the
    /// safety factor of the implementation in Dion. Singular values σ/(1.02‖X‖_F) of [0.001, 1] end in [0.859, 1.141].
    ///
    /// Source: N. Amsel et al., "The Polar Express: Optimal Matrix Sign Methods and Their Application to the Muon
    /// Algorithm", 2025; numbers of Microsoft's Dion. Start: X/(1.02‖X‖_F + 1e-7).
    PolarExpress,
    /// Coefficients of one's own, one (a, b, c) for each step. Start: X/max(‖X‖_F, 1e-7), so that every singular value
    /// lies in [0, 1].
    Custom(Vec<[f64; 3]>),
}

impl PolynomialSchedule {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::You => "you",
            Self::PolarExpress => "polar-express",
            Self::Custom(_) => "polynomial",
        }
    }
}

/// A schedule of odd quintic polynomials X ← aX + (bA + cA²)X with A = XXᵀ, each step with its own (a, b, c).
///
/// Singular vectors stay as they are, singular values go through the polynomials of the [`PolynomialSchedule`], which also says
/// how X is normalized. [`NewtonSchulz`] is the same with one polynomial repeated.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_optim::{OddPolynomial, Orthogonalize};
///
/// let x = Tensor::new(&[[3.0_f64, 0.0], [0.0, 0.3]], &Device::Cpu)?;
/// let o = OddPolynomial::you().orthogonalize(&x)?.to_vec2::<f64>()?;
/// assert!((o[0][0] - 1.0).abs() < 0.03 && (o[1][1] - 1.0).abs() < 0.03);
/// // The classical Newton–Schulz cubic, twelve times.
/// let cubic = OddPolynomial::custom(vec![[1.5, -0.5, 0.0]; 12]);
/// assert!((cubic.orthogonalize(&x)?.to_vec2::<f64>()?[1][1] - 1.0).abs() < 1e-9);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct OddPolynomial {
    /// The coefficients.
    pub schedule: PolynomialSchedule,
    /// The type in which the iteration computes. Default: the type of the matrix.
    pub dtype: IterationDtype,
}

impl OddPolynomial {
    /// [`PolynomialSchedule::You`], in the type of the matrix.
    pub fn you() -> Self {
        Self { schedule: PolynomialSchedule::You, dtype: IterationDtype::Tensor }
    }

    /// [`PolynomialSchedule::PolarExpress`], in the type of the matrix.
    pub fn polar_express() -> Self {
        Self { schedule: PolynomialSchedule::PolarExpress, dtype: IterationDtype::Tensor }
    }

    /// [`PolynomialSchedule::Custom`], in the type of the matrix.
    pub fn custom(coefficients: Vec<[f64; 3]>) -> Self {
        Self { schedule: PolynomialSchedule::Custom(coefficients), dtype: IterationDtype::Tensor }
    }

    /// (a, b, c) of each step.
    pub fn coefficients(&self) -> &[[f64; 3]] {
        match &self.schedule {
            PolynomialSchedule::You => &YOU,
            PolynomialSchedule::PolarExpress => &POLAR_EXPRESS,
            PolynomialSchedule::Custom(coefficients) => coefficients,
        }
    }

    pub(super) fn iteration(&self) -> Iteration<'_> {
        let normalization = match self.schedule {
            PolynomialSchedule::PolarExpress => Normalization { factor: 1.02, added: SMALLEST_NORM },
            _ => Normalization::PLAIN,
        };
        Iteration { name: self.schedule.name(), steps: self.coefficients().into(), normalization, dtype: self.dtype }
    }
}

/// Inputs of a smaller norm are not brought to norm 1. This is how `torch.optim.Muon` uses its `eps`; Jordan's
/// implementation adds 1e-7 to the norm instead, which changes each step by some 1e-7.
pub(super) const SMALLEST_NORM: f64 = 1e-7;

/// The divisor of X: max(factor·‖X‖_F + added, 1e-7).
#[derive(Clone, Copy, Debug)]
pub(super) struct Normalization {
    pub factor: f64,
    pub added: f64,
}

impl Normalization {
    const PLAIN: Self = Self { factor: 1.0, added: 0.0 };

    pub fn divisor(self, norm: f64) -> f64 {
        (self.factor * norm + self.added).max(SMALLEST_NORM)
    }
}

/// What the implementations of the iteration need to know.
#[derive(Clone, Debug)]
pub(super) struct Iteration<'a> {
    pub name: &'static str,
    /// (a, b, c) of each step.
    pub steps: Cow<'a, [[f64; 3]]>,
    pub normalization: Normalization,
    dtype: IterationDtype,
}

impl Iteration<'_> {
    /// The type in which to compute for a matrix.
    pub fn dtype(&self, matrix: &Tensor) -> Result<DType> {
        let dtype = self.dtype.resolve(matrix.dtype());
        let refused = match matrix.device() {
            Device::Cpu | Device::Cuda(_) => false,
            Device::Metal(_) => dtype == DType::F64,
        };
        if refused {
            return Err(Error::MatrixDtype {
                orthogonalizer: self.name,
                dtype,
                device: device_name(matrix.device()),
                accepted: "bf16, f16 and f32",
                hint: "choose the type in which the iteration computes",
            });
        }
        Ok(dtype)
    }

    /// The steps for a matrix [rows, columns], in runs on one Gram matrix each.
    ///
    /// A run of many steps keeps the products with the long side few (Gram form); with runs of one step, the iteration is
    /// the plain one, which is best where no side is longer. In half precision a Gram matrix is only good for one step.
    pub fn runs(&self, dtype: DType, rows: usize, columns: usize) -> impl Iterator<Item = &[[f64; 3]]> {
        let in_runs = rows != columns && matches!(dtype, DType::F32 | DType::F64);
        let longest = if in_runs { GROWTH } else { 0.0 };
        let mut rest: &[[f64; 3]] = &self.steps;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let mut growth = 1.0;
            let within = rest.iter().take_while(|[a, ..]| {
                let before = growth;
                growth *= a * a;
                before <= longest
            });
            let (run, others) = rest.split_at(within.count().max(1));
            rest = others;
            Some(run)
        })
    }
}

/// The error of a Gram matrix grows by up to a² in each step; once it has grown by more than this, the iteration starts
/// again from X.
///
/// Five steps of every schedule here stay below it (Polar Express, the steepest: 1.8e5). In f32 they differ from the plain
/// form by at most 5e-4 of the norm of the result, Polar Express by 2e-3, for any condition number; bfloat16 rounds each
/// element by up to 4e-3. Without a restart, six steps of Jordan's quintic differ by up to 5e-3, eight by 1, and ten
/// diverge.
const GROWTH: f64 = 2e5;

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(iteration: &Iteration<'_>, dtype: DType) -> Vec<usize> {
        iteration.runs(dtype, 8, 9).map(<[_]>::len).collect()
    }

    #[test]
    fn five_steps_need_no_restart() {
        for dtype in [DType::F32, DType::F64] {
            assert_eq!(lengths(&NewtonSchulz::default().iteration(), dtype), [5]);
            assert_eq!(lengths(&OddPolynomial::you().iteration(), dtype), [5]);
            assert_eq!(lengths(&OddPolynomial::polar_express().iteration(), dtype), [5]);
        }
        assert_eq!(lengths(&NewtonSchulz::jordan(12).iteration(), DType::F32), [5, 5, 2]);
        assert_eq!(lengths(&NewtonSchulz::jordan(10).iteration(), DType::F64), [5, 5]);
        assert_eq!(NewtonSchulz::default().iteration().runs(DType::F64, 8, 8).count(), 5);
        assert_eq!(NewtonSchulz::default().iteration().runs(DType::BF16, 8, 9).count(), 5);
        let steep = OddPolynomial::custom(vec![[1e9, 0.0, 0.0], [1.0, 0.0, 0.0]]);
        assert_eq!(lengths(&steep.iteration(), DType::F32), [1, 1]);
    }
}
