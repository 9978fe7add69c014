//! The exact polar factor and other powers of the singular values, on the CPU in f64.

use candle_core::{DType, Device, Tensor};
use faer::{Mat, MatMut, MatRef};
use isorate_kernels::Threads;

use super::products::{lower_product, product};
use crate::factorize::{singular_values, symmetric_eigen};
use crate::reduce::{all_finite, f64_values, frobenius_norm};
use crate::{Error, Result};

/// Norms whose squares, and squared roundings, stay far inside the range of f64.
const SAFE_NORM: std::ops::Range<f64> = 1e-100..1e100;

/// UVᵀ of a contiguous f32 or f64 matrix [r, c] with at least one element.
pub(super) fn polar_factor(matrix: &Tensor, threads: Threads) -> Result<Tensor> {
    power_factor(matrix, 0.0, threads)
}

/// U diag(σ^p) Vᵀ of such a matrix for a power p ≥ 0; what is dropped from the polar factor is dropped here too.
pub(crate) fn spectral_power(matrix: &Tensor, power: f64) -> Result<Tensor> {
    power_factor(matrix, power, Threads::All)
}

fn power_factor(matrix: &Tensor, power: f64, threads: Threads) -> Result<Tensor> {
    let (rows, columns) = matrix.dims2()?;
    if !all_finite(matrix)? {
        return Err(Error::NonFiniteMatrix);
    }
    let norm = frobenius_norm(matrix)?;
    if norm == 0.0 {
        return Ok(matrix.zeros_like()?);
    }
    let mut values = f64_values(matrix)?;
    if !SAFE_NORM.contains(&norm) {
        for x in &mut values {
            *x /= norm;
        }
    }
    let dtype = matrix.dtype();
    let size = rows.max(columns) as f64;
    // A row-major [r, c] slice is the column-major c×r matrix Xᵀ, whose polar factor is the transpose of the one
    // wanted: nothing needs to be rearranged on the way in or out.
    let transposed = MatRef::from_column_major_slice(&values, columns, rows);
    let mut out = vec![0.0_f64; values.len()];
    let target = MatMut::from_column_major_slice_mut(&mut out, columns, rows);
    let converged = if dtype == DType::F64 {
        by_svd(transposed, size * f64::EPSILON, power, target, threads)
    } else {
        by_gram(transposed, size * f64::from(f32::EPSILON), power, target, threads)
    };
    if !converged {
        return Err(Error::SvdDidNotConverge { rows, columns });
    }
    if !SAFE_NORM.contains(&norm) && power > 0.0 {
        // UVᵀ does not depend on the scale of X; U diag(σ^p) Vᵀ takes its p-th power.
        let scale = norm.powf(power);
        for x in &mut out {
            *x *= scale;
        }
    }
    Ok(Tensor::from_vec(out, (rows, columns), &Device::Cpu)?.to_dtype(dtype)?.to_device(matrix.device())?)
}

/// Writes U diag(σ^p) Vᵀ of `x` from its thin singular value decomposition; false if that did not converge.
fn by_svd(x: MatRef<'_, f64>, tolerance: f64, power: f64, out: MatMut<'_, f64>, threads: Threads) -> bool {
    let (m, n) = x.shape();
    let size = m.min(n);
    let mut u = Mat::zeros(m, size);
    let mut v = Mat::zeros(n, size);
    let Some(s) = singular_values(x, Some((&mut u, &mut v))) else {
        return false;
    };
    let cut = tolerance * s[0];
    let rank = (0..size).take_while(|&i| s[i] > cut).count();
    if power > 0.0 {
        for (column, sigma) in u.col_iter_mut().zip(&s[..rank]) {
            let scale = sigma.powf(power);
            column.iter_mut().for_each(|x| *x *= scale);
        }
    }
    product(out, u.as_ref().subcols(0, rank), v.as_ref().subcols(0, rank).transpose(), threads);
    true
}

/// Writes U diag(σ^p) Vᵀ of `x` from the eigenvectors Q and eigenvalues σ² of its smaller Gram matrix:
/// X · Q diag(σ^p/σ) Qᵀ for a tall X, and the same from the left for a wide one.
///
/// Only for tolerances well above √ε₆₄, since squaring loses the singular values below √ε₆₄·σ_max.
fn by_gram(x: MatRef<'_, f64>, tolerance: f64, power: f64, out: MatMut<'_, f64>, threads: Threads) -> bool {
    let (m, n) = x.shape();
    let tall = m >= n;
    let size = m.min(n);
    let mut gram = Mat::zeros(size, size);
    // The lower triangle is all that the decomposition reads.
    if tall {
        lower_product(gram.as_mut(), x.transpose(), x, threads);
    } else {
        lower_product(gram.as_mut(), x, x.transpose(), threads);
    }
    let mut q = Mat::zeros(size, size);
    let Some(squares) = symmetric_eigen(gram.as_ref(), Some(&mut q)) else {
        return false;
    };
    // Eigenvalues come in nondecreasing order, and rounding can make the smallest ones negative.
    let sigma = |i: usize| squares[i].max(0.0).sqrt();
    let cut = tolerance * sigma(size - 1);
    let first = (0..size).take_while(|&i| sigma(i) <= cut).count();
    let kept = q.as_ref().subcols(first, size - first);
    let scaled = Mat::from_fn(size, size - first, |i, j| {
        let sigma = sigma(first + j);
        kept[(i, j)] * sigma.powf(power) / sigma
    });
    lower_product(gram.as_mut(), scaled.as_ref(), kept.transpose(), threads);
    let root = symmetric(&gram);
    if tall {
        product(out, x, root.as_ref(), threads);
    } else {
        product(out, root.as_ref(), x, threads);
    }
    true
}

/// The symmetric matrix with this lower triangle.
fn symmetric(lower: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(lower.nrows(), lower.ncols(), |i, j| lower[(i.max(j), i.min(j))])
}
