//! Decompositions of small dense matrices, on the CPU in f64.
//!
//! A tensor on another device is copied here and the result copied back. Each decomposition runs on one thread, so that
//! its bits do not depend on the number of threads; callers run several at a time.

use candle_core::{Device, Tensor};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

use crate::factorize::{qr, symmetric_eigen};
use crate::reduce::f64_values;
use crate::{Error, Result};

/// The eigenvalues of a symmetric matrix, in nondecreasing order, and its eigenvectors in the columns, in this order.
#[derive(Debug)]
pub(crate) struct Eigh {
    pub values: Vec<f64>,
    pub vectors: Mat<f64>,
}

/// The eigendecomposition of a symmetric matrix, of which one triangle is read.
///
/// A row of zeros, such as that of a token that no text had, is left out: its unit vector has the eigenvalue 0. (With such rows the
/// algorithm may not come to an end.) When it does not converge, A + ‖A‖_max·I is decomposed: its eigenvectors are the same, its
/// eigenvalues are not smaller by orders of magnitude than ‖A‖, and a difference of them is right to a few ε₆₄·‖A‖, as are those of A.
pub(crate) fn eigh(matrix: MatRef<'_, f64>) -> Result<Eigh> {
    let size = matrix.nrows();
    if !all_finite(matrix) {
        return Err(Error::NonFiniteFactor { size });
    }
    // Of the triangle that is read.
    let entry = |i: usize, j: usize| matrix[(i.max(j), i.min(j))];
    let (rows, zeros): (Vec<usize>, Vec<usize>) = (0..size).partition(|&i| (0..size).any(|j| entry(i, j) != 0.0));
    let scale = rows.iter().flat_map(|&i| (0..=i).map(move |j| entry(i, j).abs())).fold(0.0, f64::max);
    // The squares that the algorithm forms of entries near the ends of the range would leave it.
    let scaled = Mat::from_fn(rows.len(), rows.len(), |i, j| entry(rows[i], rows[j]) / scale);
    let (mut found, vectors) =
        decomposed(&scaled, 0.0).or_else(|| decomposed(&scaled, 1.0)).ok_or(Error::EighDidNotConverge { size })?;
    for value in &mut found {
        *value *= scale;
    }
    // Zeros come after the negative ones.
    let below = found.partition_point(|&value| value < 0.0);
    let mut all = Eigh { values: vec![0.0; size], vectors: Mat::zeros(size, size) };
    for (index, &value) in found.iter().enumerate() {
        let place = if index < below { index } else { index + zeros.len() };
        all.values[place] = value;
        for (i, &row) in rows.iter().enumerate() {
            all.vectors[(row, place)] = vectors[(i, index)];
        }
    }
    for (place, &row) in (below..).zip(&zeros) {
        all.vectors[(row, place)] = 1.0;
    }
    Ok(all)
}

/// The eigenvalues and eigenvectors of A from those of A + shift·I, if these are found.
fn decomposed(matrix: &Mat<f64>, shift: f64) -> Option<(Vec<f64>, Mat<f64>)> {
    let size = matrix.nrows();
    let mut vectors = Mat::zeros(size, size);
    let shifted = Mat::from_fn(size, size, |i, j| if i == j { matrix[(i, j)] + shift } else { matrix[(i, j)] });
    let mut values = symmetric_eigen(shifted.as_ref(), Some(&mut vectors))?;
    for value in &mut values {
        *value -= shift;
    }
    Some((values, vectors))
}

/// Whether every entry is finite.
pub(crate) fn all_finite(matrix: MatRef<'_, f64>) -> bool {
    matrix.col_iter().all(|column| column.iter().all(|x| x.is_finite()))
}

impl Eigh {
    /// A^(−1/p) = V diag((max(λ, 0) + ε)^(−1/p)) Vᵀ.
    ///
    /// For ε = 0 it is the root of the pseudoinverse: eigenvalues up to size·ε₆₄·λ_max are dropped with their
    /// directions. Rounding leaves eigenvalues of a singular matrix on either side of zero, hence max(λ, 0).
    pub fn inverse_root(&self, p: f64, eps: f64) -> Mat<f64> {
        let size = self.values.len();
        let largest = self.values.last().map_or(0.0, |value| value.max(0.0));
        let cut = size as f64 * f64::EPSILON * largest;
        // The square root of the wanted eigenvalue: the result is then a product of a matrix with its own transpose.
        let half = |value: f64| {
            if eps > 0.0 {
                (value.max(0.0) + eps).powf(-0.5 / p)
            } else if value > cut {
                value.powf(-0.5 / p)
            } else {
                0.0
            }
        };
        let factors: Vec<f64> = self.values.iter().map(|&value| half(value)).collect();
        let scaled = Mat::from_fn(size, size, |i, j| self.vectors[(i, j)] * factors[j]);
        symmetric_square(scaled.as_ref())
    }
}

/// BBᵀ, of which one triangle is computed and copied to the other.
fn symmetric_square(b: MatRef<'_, f64>) -> Mat<f64> {
    let size = b.nrows();
    let mut product = Mat::zeros(size, size);
    triangular::matmul(
        product.as_mut(),
        BlockStructure::TriangularLower,
        Accum::Replace,
        b,
        BlockStructure::Rectangular,
        b.transpose(),
        BlockStructure::Rectangular,
        1.0,
        Par::Seq,
    );
    for j in 1..size {
        for i in 0..j {
            product[(i, j)] = product[(j, i)];
        }
    }
    product
}

/// The orthonormal factor Q, [m, min(m, n)], of the QR decomposition of a matrix [m, n], by Householder reflections:
/// QᵀQ = I whatever the rank. The signs of its columns are arbitrary.
pub(crate) fn thin_q(mut matrix: Mat<f64>) -> Mat<f64> {
    let size = matrix.nrows().min(matrix.ncols());
    qr(&mut matrix, |_| size).0
}

/// A matrix on any device as an f64 matrix on the CPU.
pub(crate) fn to_mat(tensor: &Tensor) -> Result<Mat<f64>> {
    let (rows, columns) = tensor.dims2()?;
    let values = f64_values(&tensor.contiguous()?)?;
    Ok(MatRef::from_row_major_slice(&values, rows, columns).to_owned())
}

/// An f64 matrix as a tensor of the type and on the device of another.
pub(crate) fn to_tensor(matrix: &Mat<f64>, like: &Tensor) -> Result<Tensor> {
    let (rows, columns) = matrix.shape();
    let values: Vec<f64> = matrix.row_iter().flat_map(|row| row.iter().copied()).collect();
    let tensor = Tensor::from_vec(values, (rows, columns), &Device::Cpu)?;
    // Converted before it travels: not every device has f64.
    Ok(tensor.to_dtype(like.dtype())?.to_device(like.device())?)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "tests compare exact values")]
mod tests {
    use super::*;
    use candle_core::DType;

    /// Entries without structure, from a linear congruence.
    fn sample(rows: usize, columns: usize, seed: u64) -> Mat<f64> {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Mat::from_fn(rows, columns, |_, _| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
        })
    }

    fn difference(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
        (a - b).norm_max()
    }

    fn identity(n: usize) -> Mat<f64> {
        Mat::identity(n, n)
    }

    #[test]
    fn eigh_diagonalizes() {
        for n in [1, 2, 7, 40] {
            let b = sample(n, n, n as u64);
            let a = &b + b.transpose();
            let Eigh { values, vectors } = eigh(a.as_ref()).unwrap();
            let diagonal = Mat::from_fn(n, n, |i, j| if i == j { values[i] } else { 0.0 });
            assert!(difference(&(&vectors * diagonal * vectors.transpose()), &a) < 1e-13 * n as f64);
            assert!(difference(&(vectors.transpose() * &vectors), &identity(n)) < 1e-14 * n as f64);
            assert!(values.is_sorted());
        }
    }

    #[test]
    fn rows_of_zeros_are_eigenvectors() {
        let b = sample(7, 5, 4);
        let zeros = [0, 3, 6];
        let b = Mat::from_fn(7, 5, |i, j| if zeros.contains(&i) { 0.0 } else { b[(i, j)] });
        // Eigenvalues on both sides of those of the zeros.
        for sign in [1.0, -1.0] {
            let a =
                Mat::from_fn(7, 7, |i, j| (&b * b.transpose())[(i, j)] + if i + j == 3 && i * j == 2 { sign * 9.0 } else { 0.0 });
            let Eigh { values, vectors } = eigh(a.as_ref()).unwrap();
            let diagonal = Mat::from_fn(7, 7, |i, j| if i == j { values[i] } else { 0.0 });
            assert!(difference(&(&vectors * diagonal * vectors.transpose()), &a) < 1e-13);
            assert!(difference(&(vectors.transpose() * &vectors), &identity(7)) < 1e-13);
            assert!(values.is_sorted());
            for row in zeros {
                let place = (0..7).find(|&place| vectors[(row, place)] == 1.0).unwrap();
                assert!(values[place] == 0.0);
            }
        }
    }

    /// What is decomposed when the first attempt does not converge.
    #[test]
    fn shifted_matrices_have_the_same_decomposition() {
        let b = sample(30, 12, 6);
        let a = &b * b.transpose();
        let a = &a * faer::Scale(1.0 / a.norm_max());
        for shift in [0.0, 1.0] {
            let (values, vectors) = decomposed(&a, shift).unwrap();
            let diagonal = Mat::from_fn(30, 30, |i, j| if i == j { values[i] } else { 0.0 });
            assert!(difference(&(&vectors * diagonal * vectors.transpose()), &a) < 1e-14);
            assert!(values[..18].iter().all(|value| value.abs() < 1e-14) && values[18] > 1e-3);
        }
    }

    #[test]
    fn eigh_at_the_ends_of_the_range_and_of_bad_matrices() {
        for scale in [1e-300, 1e300] {
            let a = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 * scale } else { scale });
            let values = eigh(a.as_ref()).unwrap().values;
            assert!((values[0] / scale - 1.0).abs() < 1e-14 && (values[1] / scale - 3.0).abs() < 1e-14);
        }
        let zero = eigh(Mat::zeros(3, 3).as_ref()).unwrap();
        assert_eq!(zero.values, [0.0; 3]);
        assert!(difference(&zero.vectors, &identity(3)) == 0.0);
        for bad in [f64::NAN, f64::INFINITY] {
            for place in [(0, 0), (2, 1), (2, 2)] {
                let mut a = identity(3);
                a[place] = bad;
                assert!(matches!(eigh(a.as_ref()), Err(Error::NonFiniteFactor { size: 3 })));
            }
        }
    }

    #[test]
    fn inverse_roots_multiply_to_the_inverse() {
        for n in [1, 3, 20] {
            let b = sample(n, n + 5, 3);
            let a = &b * b.transpose();
            for (p, eps) in [(1_u8, 0.0), (2, 0.1), (4, 0.0), (4, 1e-3)] {
                let root = eigh(a.as_ref()).unwrap().inverse_root(f64::from(p), eps);
                let power = (1..p).fold(root.clone(), |x, _| x * &root);
                let shifted = &a + identity(n) * faer::Scale(eps);
                assert!(difference(&(power * shifted), &identity(n)) < 1e-10, "size {n}, p = {p}");
                assert!(difference(&root, &root.transpose().to_owned()) == 0.0);
            }
        }
    }

    #[test]
    fn roots_of_singular_matrices_are_those_of_the_pseudoinverse() {
        let b = sample(6, 2, 5);
        let a = &b * b.transpose();
        let root = eigh(a.as_ref()).unwrap().inverse_root(4.0, 0.0);
        let inverse = &root * &root * &root * &root;
        assert!(difference(&(&a * &inverse * &a), &a) < 1e-10);
        assert!(difference(&(&inverse * &a * &inverse), &inverse) < 1e-10 * inverse.norm_max());
        let zero = eigh(Mat::zeros(3, 3).as_ref()).unwrap();
        assert!(zero.inverse_root(4.0, 0.0).norm_max() == 0.0);
        assert!(difference(&zero.inverse_root(4.0, 16.0), &(identity(3) * faer::Scale(0.5))) < 1e-15);
    }

    #[test]
    fn q_is_orthonormal_and_spans_the_columns_whatever_the_rank() {
        for (m, n) in [(1, 1), (5, 5), (9, 4), (4, 9), (70, 33), (90, 90)] {
            let a = sample(m, n, 7);
            let low = sample(m, 1, 8) * sample(1, n, 9);
            for (a, tolerance) in [(a, 1e-13), (low, 1e-13), (Mat::zeros(m, n), 0.0)] {
                let q = thin_q(a.clone());
                assert_eq!(q.shape(), (m, m.min(n)));
                assert!(difference(&(q.transpose() * &q), &identity(m.min(n))) < 1e-13);
                // QQᵀ leaves the columns of A where they are.
                assert!(difference(&(&q * (q.transpose() * &a)), &a) <= tolerance * m as f64);
            }
        }
    }

    #[test]
    fn tensors_keep_their_layout() {
        let a = sample(3, 5, 1);
        let tensor = to_tensor(&a, &Tensor::zeros(1, DType::F64, &Device::Cpu).unwrap()).unwrap();
        assert_eq!(tensor.dims(), [3, 5]);
        assert!(tensor.to_vec2::<f64>().unwrap()[1][4] == a[(1, 4)]);
        assert!(difference(&to_mat(&tensor).unwrap(), &a) == 0.0);
        // Also of a view that is not contiguous.
        assert!(difference(&to_mat(&tensor.t().unwrap()).unwrap(), &a.transpose().to_owned()) == 0.0);
    }
}
