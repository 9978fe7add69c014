use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Accum, Mat, MatMut, MatRef, Par, Spec};

use crate::error::{Error, Result};

/// out ← \[out +\] α A B on the calling thread: results must not depend on the number of threads, and these matrices are
/// small.
pub(crate) fn multiply(out: MatMut<'_, f64>, accum: Accum, a: MatRef<'_, f64>, b: MatRef<'_, f64>, alpha: f64) {
    faer::linalg::matmul::matmul(out, accum, a, b, alpha, Par::Seq);
}

/// ‖A‖_F, scaled so that no square overflows.
pub(crate) fn frobenius(a: MatRef<'_, f64>) -> f64 {
    a.norm_l2()
}

/// Applies functions to singular values: A = Σ_i σ_i u_i v_iᵀ ↦ Σ_i f(σ_i) u_i v_iᵀ, with buffers that are used again from step
/// to step.
pub(crate) struct SpectralMap {
    left: Mat<f64>,
    singular: Diag<f64>,
    right: Mat<f64>,
    buffer: MemBuffer,
}

impl SpectralMap {
    /// A map for matrices of this shape.
    pub(crate) fn new(rows: usize, cols: usize) -> Self {
        let rank = rows.min(cols);
        let scratch = svd_scratch::<f64>(rows, cols, ComputeSvdVectors::Thin, ComputeSvdVectors::Thin, Par::Seq, Spec::default());
        Self {
            left: Mat::zeros(rows, rank),
            singular: Diag::zeros(rank),
            right: Mat::zeros(cols, rank),
            buffer: MemBuffer::new(scratch),
        }
    }

    /// out ← U f(Σ) Vᵀ, where f(σ) is taken as 0 for σ ≤ max(`floor`, max(rows, cols) ε σ_max).
    pub(crate) fn apply(
        &mut self,
        matrix: MatRef<'_, f64>,
        floor: f64,
        map: impl Fn(f64) -> f64,
        out: MatMut<'_, f64>,
    ) -> Result<()> {
        let (rows, cols) = matrix.shape();
        svd(
            matrix,
            self.singular.as_mut(),
            Some(self.left.as_mut()),
            Some(self.right.as_mut()),
            Par::Seq,
            MemStack::new(&mut self.buffer),
            Spec::default(),
        )
        .map_err(|_| Error::Svd { rows, cols })?;
        let values = self.singular.column_vector();
        let largest = values.iter().copied().fold(0.0, f64::max);
        let cut = floor.max(rows.max(cols) as f64 * f64::EPSILON * largest);
        for (column, &sigma) in self.left.col_iter_mut().zip(values.iter()) {
            let factor = if sigma > cut { map(sigma) } else { 0.0 };
            for entry in column.iter_mut() {
                *entry *= factor;
            }
        }
        multiply(out, Accum::Replace, self.left.as_ref(), self.right.transpose(), 1.0);
        Ok(())
    }
}

/// The polar factor U Vᵀ of the truncated singular value decomposition A = U Σ Vᵀ: singular values up to
/// max(rows, cols)·ε·σ_max count as zero and their directions are dropped.
///
/// It is the step of steepest descent under the spectral norm, argmax of ⟨A, Δ⟩ over ‖Δ‖₂ ≤ 1 (arXiv 2510.22980, the
/// definition of `SpecGD`). Fails if the decomposition does not converge.
pub fn polar_factor(matrix: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let (rows, cols) = matrix.shape();
    let mut out = Mat::zeros(rows, cols);
    if rows == 0 || cols == 0 {
        return Ok(out);
    }
    if !matrix.is_all_finite() {
        return Err(Error::setting(
            "matrix",
            format!("{rows}×{cols}"),
            "every entry must be finite to have a singular value decomposition",
            "look for an overflow before this call",
        ));
    }
    SpectralMap::new(rows, cols).apply(matrix, 0.0, |_| 1.0, out.as_mut())?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polar_factor_drops_what_has_no_direction() {
        let matrix = Mat::from_fn(3, 4, |i, j| if i == j && i < 2 { 3.0 } else { 0.0 });
        let polar = polar_factor(matrix.as_ref()).expect("converges");
        for i in 0..3 {
            for j in 0..4 {
                let expected = if i == j && i < 2 { 1.0 } else { 0.0 };
                assert!((polar[(i, j)] - expected).abs() < 1e-15);
            }
        }
        let zero = Mat::<f64>::zeros(2, 2);
        assert_eq!(polar_factor(zero.as_ref()).expect("converges"), zero);
    }

    #[test]
    fn non_finite_and_empty_input() {
        let bad = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert!(polar_factor(bad.as_ref()).is_err());
        assert_eq!(polar_factor(Mat::<f64>::zeros(0, 3).as_ref()).expect("empty").shape(), (0, 3));
    }
}
