//! The quintic Newton–Schulz iteration.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

use super::device_name;
use crate::elementwise::{ScaledAdd2, overwritten3};
use crate::reduce::frobenius_norm;
use crate::{Error, Result};

/// (a, b, c) of Jordan's quintic, chosen for the steepest slope at 0.
///
/// Source: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024.
pub const JORDAN_COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);

/// Inputs of a smaller norm are not brought to norm 1. This is how `torch.optim.Muon` uses its `eps`; Jordan's
/// implementation adds 1e-7 to the norm instead, which changes each step by some 1e-7.
const SMALLEST_NORM: f64 = 1e-7;

/// The type in which the iteration computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IterationDtype {
    /// The type of the parameter.
    #[default]
    Tensor,
    /// bfloat16, as in the reference implementations. candle has no bfloat16 matrix product on the CPU.
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
/// use isorate_optim::{NewtonSchulz, Orthogonalizer};
///
/// let x = Tensor::new(&[[0.5_f64]], &Device::Cpu)?;
/// let once = Orthogonalizer::NewtonSchulz(NewtonSchulz { steps: 1, ..NewtonSchulz::default() });
/// // One step from σ = 1: a + b + c.
/// assert!((once.apply(&x)?.to_vec2::<f64>()?[0][0] - 0.701).abs() < 1e-5);
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
        Self { steps: 5, dtype: IterationDtype::Tensor }
    }
}

impl NewtonSchulz {
    /// `matrix` is contiguous, f32 or f64.
    pub(super) fn apply(&self, matrix: &Tensor) -> Result<Tensor> {
        let dtype = self.dtype.resolve(matrix.dtype());
        if dtype == DType::BF16 && matrix.device().is_cpu() {
            return Err(Error::MatrixDtype {
                orthogonalizer: "newton-schulz",
                dtype,
                device: device_name(matrix.device()),
                accepted: "f16, f32 and f64",
            });
        }
        let norm = frobenius_norm(matrix)?;
        if norm == 0.0 {
            return Ok(matrix.zeros_like()?);
        }
        let (rows, columns) = matrix.dims2()?;
        let wide = if rows > columns { matrix.t()?.contiguous()? } else { matrix.clone() };
        let start = (wide / norm.max(SMALLEST_NORM))?.to_dtype(dtype)?;
        let end = self.iterate(start)?.to_dtype(matrix.dtype())?;
        Ok(if rows > columns { end.t()?.contiguous()? } else { end })
    }

    /// The iteration itself, from a wide matrix of norm at most 1.
    fn iterate(&self, mut x: Tensor) -> Result<Tensor> {
        let (rows, columns) = x.dims2()?;
        let eye = Tensor::eye(rows, x.dtype(), x.device())?;
        let precise = matches!(x.dtype(), DType::F32 | DType::F64);
        if precise && columns >= GRAM_ASPECT * rows {
            let mut left = self.steps;
            while left > 0 {
                let run = left.min(GRAM_RUN);
                x = gram_run(&x, run, &eye)?;
                left -= run;
            }
        } else {
            for _ in 0..self.steps {
                let gram = x.matmul(&x.t()?)?;
                x = polynomial(&gram, &eye)?.matmul(&x)?;
            }
        }
        Ok(x)
    }
}

/// From this aspect ratio on, the products with the long side dominate, and [`gram_run`] is faster.
const GRAM_ASPECT: usize = 2;

/// Steps on one Gram matrix. Its rounding errors grow with each step, by up to a² for the smallest singular values;
/// after five steps in f32 they change X by some 1e-4 of its norm, far less than an iteration in bfloat16 does.
const GRAM_RUN: usize = 5;

/// P = aI + bA + cA², so that a step is X ← PX.
fn polynomial(gram: &Tensor, eye: &Tensor) -> Result<Tensor> {
    let (a, b, c) = JORDAN_COEFFICIENTS;
    overwritten3(&ScaledAdd2 { keep: c, scale1: b, scale2: a }, gram.matmul(gram)?, gram, eye)
}

/// `steps` steps that touch the long side of X only twice: P is a polynomial in A = XXᵀ, so it commutes with A, and the
/// next A is PAP. The product of all P is applied to X at the end.
fn gram_run(x: &Tensor, steps: usize, eye: &Tensor) -> Result<Tensor> {
    let mut gram = x.matmul(&x.t()?)?;
    let mut product = polynomial(&gram, eye)?;
    let mut last = product.clone();
    for _ in 1..steps {
        gram = last.matmul(&gram)?.matmul(&last)?;
        last = polynomial(&gram, eye)?;
        product = last.matmul(&product)?;
    }
    Ok(product.matmul(x)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn scalar_map(sigma: f64, steps: usize) -> f64 {
        // A diagonal matrix goes through the same products as any other.
        let x = Tensor::new(&[[sigma, 0.0], [0.0, 0.5]], &Device::Cpu).unwrap();
        let iteration = NewtonSchulz { steps, dtype: IterationDtype::Tensor };
        iteration.iterate(x).unwrap().to_vec2::<f64>().unwrap()[0][0]
    }

    #[test]
    fn singular_values_go_through_the_known_map() {
        // σ, after five steps, after three steps; computed in float64 from the coefficients alone.
        let table = [
            (1.0, 0.696_436, 0.720_706),
            (0.5, 0.765_439, 0.824_367),
            (0.1, 0.712_120, 0.707_080),
            (0.01, 0.698_917, 0.400_062),
            (0.001, 0.470_544, 0.040_859),
        ];
        for (sigma, five, three) in table {
            assert!((scalar_map(sigma, 5) - five).abs() < 1e-6, "{sigma}: {}", scalar_map(sigma, 5));
            assert!((scalar_map(sigma, 3) - three).abs() < 1e-6, "{sigma}: {}", scalar_map(sigma, 3));
        }
    }

    #[test]
    fn five_steps_stay_in_the_documented_range() {
        for i in 0..=1000 {
            let sigma = 0.01 + 0.99 * f64::from(i) / 1000.0;
            // The bounds are rounded to three digits.
            let value = (scalar_map(sigma, 5) * 1e3).round() / 1e3;
            assert!((0.682..=1.134).contains(&value), "{sigma}: {value}");
        }
    }

    #[test]
    fn both_forms_of_the_iteration_agree() {
        let values: Vec<f64> = (0..6 * 40).map(|i| (f64::from(i) * 0.73).sin() / 12.0).collect();
        let x = Tensor::from_vec(values, (6, 40), &Device::Cpu).unwrap();
        for steps in [1, 2, 5, 6, 11] {
            let mut plain = x.clone();
            let eye = Tensor::eye(6, DType::F64, &Device::Cpu).unwrap();
            for _ in 0..steps {
                let gram = plain.matmul(&plain.t().unwrap()).unwrap();
                plain = polynomial(&gram, &eye).unwrap().matmul(&plain).unwrap();
            }
            let iteration = NewtonSchulz { steps, dtype: IterationDtype::Tensor };
            let gram = iteration.iterate(x.clone()).unwrap();
            let difference = crate::reduce::max_abs(&(plain - gram).unwrap()).unwrap();
            assert!(difference < 1e-10, "{steps} steps: {difference:e}");
        }
    }
}
