//! faer's decompositions, as the crate uses them: in f64, on one thread, with their memory.
//!
//! With more threads faer splits its sums by their number, and the result would depend on it; callers run several
//! decompositions at a time instead. Each is None when it did not converge.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::householder::{
    apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
    apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_reflectors,
};
use faer::linalg::qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Conj, Mat, MatRef, Par};

const ONE: Par = Par::Seq;

/// The eigenvalues of a symmetric matrix [n, n], of which the lower triangle is read, in nondecreasing order, and its
/// eigenvectors in the columns of `vectors`, [n, n], where they are asked for.
pub(crate) fn symmetric_eigen(matrix: MatRef<'_, f64>, vectors: Option<&mut Mat<f64>>) -> Option<Vec<f64>> {
    let size = matrix.nrows();
    let wanted = if vectors.is_some() { ComputeEigenvectors::Yes } else { ComputeEigenvectors::No };
    let mut values = Diag::zeros(size);
    let mut memory = MemBuffer::new(self_adjoint_evd_scratch::<f64>(size, wanted, ONE, faer::prelude::default()));
    let stack = MemStack::new(&mut memory);
    self_adjoint_evd(matrix, values.as_mut(), vectors.map(Mat::as_mut), ONE, stack, faer::prelude::default()).ok()?;
    Some(values.column_vector().iter().copied().collect())
}

/// The singular values of a matrix [m, n] in nonincreasing order, and its singular vectors in the columns of U and V,
/// [m, min(m, n)] and [n, min(m, n)], where they are asked for.
pub(crate) fn singular_values(x: MatRef<'_, f64>, vectors: Option<(&mut Mat<f64>, &mut Mat<f64>)>) -> Option<Vec<f64>> {
    let (m, n) = x.shape();
    let thin = if vectors.is_some() { ComputeSvdVectors::Thin } else { ComputeSvdVectors::No };
    let mut values = Diag::zeros(m.min(n));
    let mut memory = MemBuffer::new(svd_scratch::<f64>(m, n, thin, thin, ONE, faer::prelude::default()));
    let (u, v) = vectors.map(|(u, v)| (u.as_mut(), v.as_mut())).unzip();
    svd(x, values.as_mut(), u, v, ONE, MemStack::new(&mut memory), faer::prelude::default()).ok()?;
    Some(values.column_vector().iter().copied().collect())
}

/// The QR decomposition of a matrix [m, n] by Householder reflections: the triangular factor takes the place of the
/// upper triangle, and the first `columns(rank)` ≤ min(m, n) columns of Q are returned with the rank that faer has seen.
pub(crate) fn qr(matrix: &mut Mat<f64>, columns: impl FnOnce(usize) -> usize) -> (Mat<f64>, usize) {
    let (m, n) = matrix.shape();
    let size = m.min(n);
    let block = recommended_block_size::<f64>(m, n);
    let mut coefficients = Mat::zeros(block, size);
    let scratch = qr_in_place_scratch::<f64>(m, n, block, ONE, faer::prelude::default());
    let mut memory = MemBuffer::new(scratch.or(apply_scratch::<f64>(m, block, size)));
    let stack = MemStack::new(&mut memory);
    let rank = qr_in_place(matrix.as_mut(), coefficients.as_mut(), ONE, stack, faer::prelude::default()).rank;
    let mut q = Mat::identity(m, columns(rank));
    apply_reflectors(matrix.as_ref().subcols(0, size), coefficients.as_ref(), Conj::No, q.as_mut(), ONE, stack);
    (q, rank)
}
