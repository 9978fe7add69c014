//! The choice that SOAP's definition leaves open, read off a reference trajectory.
//!
//! When a matrix [r, c] is not square, ggᵀ or gᵀg of the first gradient has a null space of d = |r − c| dimensions, and
//! any orthonormal basis N of it will do. A program takes what the rounding errors of its eigensolver give it: PyTorch
//! differs from itself between processors, and even with the alignment of memory. But the step depends on it: the
//! first update (the second step) moves W by η·Q_L sign(Qᵀ_L g Q_R) Qᵀ_R, for |g| ≫ ε. So with c > r, our basis N and
//! the reference's NX (X orthogonal, [d, d]),
//!
//! ```text
//! H = Qᵀ_L (W₁ − W₂/(1 − ηλ)) N/η = S Xᵀ,   S = sign(Qᵀ_L g NX)
//! ```
//!
//! and the columns x of X are the unit vectors for which Hx holds only ±1. They are unique up to order and sign, which
//! do not matter. The d(d − 1)/2 numbers in X are all that is taken from W₂; all other weights test the rule.

use candle_core::{DType, Tensor};
use faer::Mat;

use crate::decompose::{to_mat, to_tensor};
use crate::rules::Rule;
use crate::state::Value;
use crate::{Orthogonalizer, Result, Soap};

/// Largest d; 2^(d − 1) systems are solved.
const MAX_DIMENSIONS: usize = 10;

/// How far from ±1 an entry of Hx, and from 1 the norm of x, may be.
const SLACK: f64 = 0.05;

/// SOAP with the basis of the reference, where `rule` is SOAP after its first gradient, `weight` its weight,
/// `gradient` the second gradient and `expected` the reference's weight after it. None when the basis of `rule` is
/// already that, or none explains `expected`.
pub(super) fn with_basis_of_reference(
    settings: &Soap,
    rule: &dyn Rule,
    weight: &Tensor,
    gradient: &Tensor,
    expected: &Tensor,
) -> Result<Option<Box<dyn Rule>>> {
    let mut state = rule.state();
    let basis = |name: &str| {
        state.iter().find_map(|(key, value)| match value {
            Value::Tensor(tensor) if key == name => Some(tensor.clone()),
            _ => None,
        })
    };
    let (Some(left), Some(right)) = (basis("left_basis"), basis("right_basis")) else {
        return Ok(None);
    };
    let (r, c) = (left.dim(0)?, right.dim(0)?);
    // On the transpose when the matrix is tall, so that the null space is on the right.
    let oriented = |tensor: &Tensor| -> Result<Mat<f64>> {
        let matrix = to_mat(&tensor.reshape((r, c))?)?;
        Ok(if r > c { matrix.transpose().to_owned() } else { matrix })
    };
    let (small, large, name) = if r > c { (&right, &left, "left_basis") } else { (&left, &right, "right_basis") };
    let (small, large) = (to_mat(small)?, to_mat(large)?);
    let rank = r.min(c);
    let dimensions = r.max(c) - rank;
    // A single null vector is unique up to its sign, and fewer rows than dimensions do not determine X.
    if !(2..=MAX_DIMENSIONS.min(rank)).contains(&dimensions) {
        return Ok(None);
    }

    let keep = 1.0 - settings.lr * settings.weight_decay;
    let moved = (oriented(weight)? - oriented(expected)? * faer::Scale(1.0 / keep)) * faer::Scale(1.0 / settings.lr);
    let null = large.subcols(rank, dimensions);
    let h = small.transpose() * moved * null;
    let projected = small.transpose() * oriented(gradient)? * null;
    let Some(rotation) = rotation(&h)? else {
        return Ok(None);
    };
    // It must also be the one whose signs the gradient has.
    if !same_signs(&(&projected * &rotation), &(&h * &rotation)) || is_signed_permutation(&rotation) {
        return Ok(None);
    }
    let mut chosen = large.clone();
    chosen.subcols_mut(rank, dimensions).copy_from(null * rotation);
    state = state.tensor(name, &to_tensor(&chosen, weight)?);
    rule.restored(&mut state).map(Some)
}

/// X with H = SXᵀ, up to the order and signs of its columns.
fn rotation(h: &Mat<f64>) -> Result<Option<Mat<f64>>> {
    let d = h.ncols();
    let Some(rows) = independent_rows(h) else { return Ok(None) };
    let system = Mat::from_fn(d, d, |i, j| h[(rows[i], j)]);
    let inverse = faer::linalg::solvers::DenseSolveCore::inverse(&system.partial_piv_lu());
    let mut columns: Vec<Mat<f64>> = Vec::with_capacity(d);
    // The sign of a column does not matter: the first entry is +1.
    for pattern in 0..1_usize << (d - 1) {
        let signs = Mat::from_fn(d, 1, |i, _| if i > 0 && pattern >> (i - 1) & 1 == 1 { -1.0 } else { 1.0 });
        let x = &inverse * signs;
        let image = h * &x;
        let fits = (x.norm_l2() - 1.0).abs() < SLACK
            && (0..h.nrows()).all(|i| (image[(i, 0)].abs() - 1.0).abs() < SLACK)
            && columns.iter().all(|y| (y.transpose() * &x)[(0, 0)].abs() < SLACK);
        if fits {
            columns.push(x);
        }
    }
    if columns.len() != d {
        return Ok(None);
    }
    // With the signs known, the orthogonal matrix nearest to all of H.
    let signs = Mat::from_fn(h.nrows(), d, |i, j| (h * &columns[j])[(i, 0)].signum());
    let like = Tensor::zeros(1, DType::F64, &candle_core::Device::Cpu)?;
    let nearest = Orthogonalizer::Exact.apply(&to_tensor(&(h.transpose() * signs), &like)?)?;
    Ok(Some(to_mat(&nearest)?))
}

/// As many rows as there are columns, chosen one by one as the longest outside the span of those before.
fn independent_rows(h: &Mat<f64>) -> Option<Vec<usize>> {
    let mut rest = h.clone();
    let mut rows = Vec::new();
    for _ in 0..h.ncols() {
        let longest = (0..h.nrows()).max_by(|&i, &j| rest.row(i).norm_l2().total_cmp(&rest.row(j).norm_l2()))?;
        let length = rest.row(longest).norm_l2();
        if length < SLACK {
            return None;
        }
        let direction = rest.row(longest).to_owned() * faer::Scale(1.0 / length);
        let along = &rest * direction.transpose();
        rest -= along * &direction;
        rows.push(longest);
    }
    Some(rows)
}

fn same_signs(a: &Mat<f64>, b: &Mat<f64>) -> bool {
    (0..a.ncols()).all(|j| (0..a.nrows()).all(|i| a[(i, j)] * b[(i, j)] >= 0.0))
}

/// Whether the basis is ours already, up to what does not matter.
fn is_signed_permutation(x: &Mat<f64>) -> bool {
    x.col_iter().all(|column| (column.norm_max() - 1.0).abs() < 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries without structure.
    fn sample(rows: usize, columns: usize, seed: usize) -> Mat<f64> {
        Mat::from_fn(rows, columns, |i, j| (((i * 7 + 3) * (j * 5 + 2) * (i + 2 * j + seed)) as f64 * 1.618).sin())
    }

    #[test]
    fn the_rotation_is_found_up_to_order_and_signs() {
        for (rows, d) in [(4, 2), (2, 2), (6, 3), (9, 4), (12, 6)] {
            let like = Tensor::zeros(1, DType::F64, &candle_core::Device::Cpu).unwrap();
            let x = Orthogonalizer::Exact.apply(&to_tensor(&sample(d, d, 1), &like).unwrap()).unwrap();
            let x = to_mat(&x).unwrap();
            // Signs with independent columns: column 0 is all +1, and row j differs from row 0 in column j.
            let signs =
                Mat::from_fn(rows, d, |i, j| if j > 0 && (i == j || (i > d && (i * i + 3 * j) % 5 < 2)) { -1.0 } else { 1.0 });
            let noise = sample(rows, d, 3) * faer::Scale(1e-6);
            let found = rotation(&(&signs * x.transpose() + noise)).unwrap().expect("the signs determine it");
            assert!(is_signed_permutation(&round(&(found.transpose() * &x))), "{rows}×{d}");
        }
        // No rotation of signs.
        assert!(rotation(&sample(6, 2, 5)).unwrap().is_none());
        assert!(rotation(&Mat::zeros(4, 2)).unwrap().is_none());
    }

    fn round(x: &Mat<f64>) -> Mat<f64> {
        Mat::from_fn(x.nrows(), x.ncols(), |i, j| (x[(i, j)] * 1e4).round() / 1e4)
    }
}
