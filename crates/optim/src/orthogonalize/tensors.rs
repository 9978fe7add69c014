//! The iteration by candle's operations: on devices, and in half precision on the CPU. Matrices of equal shape go through
//! it together, [count, r, c], and nothing is read back from a device.

use candle_core::{D, DType, Tensor};

use super::schedule::{Iteration, Normalization, SMALLEST_NORM};
use crate::Result;
use crate::elementwise::{ScaledAdd2, overwritten3};

/// The results for contiguous f32 or f64 matrices [count, r, c], computed in `dtype`.
pub(super) fn apply(iteration: &Iteration<'_>, matrices: &Tensor, dtype: DType) -> Result<Tensor> {
    let (_, rows, columns) = matrices.dims3()?;
    let tall = rows > columns;
    let x = normalized(matrices, iteration.normalization)?;
    let mut x = if tall { x.transpose(1, 2)?.contiguous()? } else { x }.to_dtype(dtype)?;
    let eye =
        Tensor::eye(rows.min(columns), dtype, x.device())?.broadcast_as((x.dim(0)?, rows.min(columns), rows.min(columns)))?;
    let eye = eye.contiguous()?;
    for run in iteration.runs(dtype, rows, columns) {
        x = gram_run(run, &x, &eye)?;
    }
    let x = x.to_dtype(matrices.dtype())?;
    Ok(if tall { x.transpose(1, 2)?.contiguous()? } else { x })
}

/// X/max(factor·‖X‖_F + added, 1e-7) for each matrix; zero where X is zero.
fn normalized(x: &Tensor, normalization: Normalization) -> Result<Tensor> {
    let largest = x.abs()?.max_keepdim(D::Minus1)?.max_keepdim(1)?;
    // Squares of numbers up to 1 neither overflow nor vanish together.
    let smallest = if x.dtype() == DType::F64 { f64::MIN_POSITIVE } else { f64::from(f32::MIN_POSITIVE) };
    let unit = largest.maximum(smallest)?;
    let scaled = x.broadcast_div(&unit)?;
    let norm = scaled.sqr()?.sum_keepdim(D::Minus1)?.sum_keepdim(1)?.sqrt()?;
    // max(factor·norm·unit + added, 1e-7)/unit, which cannot overflow for a large unit.
    let added = (unit.recip()? * normalization.added)?;
    let divisor = ((norm * normalization.factor)? + added)?.maximum(&(unit.recip()? * SMALLEST_NORM)?)?;
    Ok(scaled.broadcast_div(&divisor)?)
}

/// P = aI + bA + cA², so that a step is X ← PX.
fn polynomial([a, b, c]: [f64; 3], gram: &Tensor, eye: &Tensor) -> Result<Tensor> {
    overwritten3(&ScaledAdd2 { keep: c, scale1: b, scale2: a }, gram.matmul(gram)?, gram, eye)
}

/// The same as in [`super::slices`], without the use of symmetry.
fn gram_run(run: &[[f64; 3]], x: &Tensor, eye: &Tensor) -> Result<Tensor> {
    let [first, rest @ ..] = run else { return Ok(x.clone()) };
    let mut gram = x.matmul(&x.transpose(1, 2)?)?;
    let mut total = polynomial(*first, &gram, eye)?;
    let mut last = total.clone();
    for coefficients in rest {
        gram = last.matmul(&last.matmul(&gram)?)?;
        last = polynomial(*coefficients, &gram, eye)?;
        total = last.matmul(&total)?;
    }
    Ok(total.matmul(x)?)
}
