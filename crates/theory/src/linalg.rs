use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::matmul::triangular::{self, BlockStructure};
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
///
/// The smaller of the two singular bases, U say, is kept. While Uᵀ A has orthogonal rows for the next matrix too, as along a
/// trajectory in shared bases, their norms are its singular values and no decomposition is needed; this is tested each time, to the
/// backward error that a decomposition has itself.
pub(crate) struct SpectralMap {
    decomposition: Decomposition,
    /// The smaller basis of the last decomposition, square.
    basis: Option<Mat<f64>>,
    /// Basisᵀ A, m×n with m ≤ n.
    rotated: Mat<f64>,
    gram: Mat<f64>,
    scaled: Mat<f64>,
    singular: Vec<f64>,
}

impl SpectralMap {
    /// A map for matrices of this shape.
    pub(crate) fn new(rows: usize, cols: usize) -> Self {
        let (m, n) = (rows.min(cols), rows.max(cols));
        Self {
            decomposition: Decomposition::new(m, n),
            basis: None,
            rotated: Mat::zeros(m, n),
            gram: Mat::zeros(m, m),
            scaled: Mat::zeros(m, m),
            singular: vec![0.0; m],
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
        let (matrix, out) =
            if matrix.nrows() > matrix.ncols() { (matrix.transpose(), out.transpose_mut()) } else { (matrix, out) };
        let mut basis = match self.basis.take() {
            Some(basis) => basis,
            None => self.decomposition.left_basis(matrix)?,
        };
        self.rotate(basis.as_ref(), matrix);
        if !self.rows_are_orthogonal(floor) {
            basis = self.decomposition.left_basis(matrix)?;
            self.rotate(basis.as_ref(), matrix);
        }
        let cut = self.cut(floor);
        for ((column, source), &sigma) in self.scaled.col_iter_mut().zip(basis.col_iter()).zip(&self.singular) {
            let factor = if sigma > cut { map(sigma) / sigma } else { 0.0 };
            for (entry, value) in column.iter_mut().zip(source.iter()) {
                *entry = factor * value;
            }
        }
        multiply(out, Accum::Replace, self.scaled.as_ref(), self.rotated.as_ref(), 1.0);
        self.basis = Some(basis);
        Ok(())
    }

    fn rotate(&mut self, basis: MatRef<'_, f64>, matrix: MatRef<'_, f64>) {
        multiply(self.rotated.as_mut(), Accum::Replace, basis.transpose(), matrix, 1.0);
        let (rows, lower) = (self.rotated.as_ref(), BlockStructure::TriangularLower);
        let full = BlockStructure::Rectangular;
        triangular::matmul(self.gram.as_mut(), lower, Accum::Replace, rows, full, rows.transpose(), full, 1.0, Par::Seq);
        for (index, sigma) in self.singular.iter_mut().enumerate() {
            *sigma = self.gram[(index, index)].sqrt();
        }
    }

    fn largest(&self) -> f64 {
        self.singular.iter().copied().fold(0.0, f64::max)
    }

    fn cut(&self, floor: f64) -> f64 {
        floor.max(self.rotated.ncols() as f64 * f64::EPSILON * self.largest())
    }

    /// Whether changing the rows by 8 √n ε σ_max, as rounding does, makes them orthogonal: ⟨row_i, row_j⟩ is at most that times the
    /// larger of their norms. Rows that the cut drops do not count.
    fn rows_are_orthogonal(&self, floor: f64) -> bool {
        let cut = self.cut(floor);
        let tolerance = 8.0 * (self.rotated.ncols() as f64).sqrt() * f64::EPSILON * self.largest();
        (0..self.singular.len()).filter(|&j| self.singular[j] > cut).all(|j| {
            let (column, sigma) = (self.gram.col(j), self.singular[j]);
            (j + 1..self.singular.len())
                .filter(|&i| self.singular[i] > cut)
                .all(|i| column[i].abs() <= tolerance * sigma.max(self.singular[i]))
        })
    }
}

/// Singular value decompositions of m×n matrices, m ≤ n, in one buffer.
struct Decomposition {
    left: Mat<f64>,
    singular: Diag<f64>,
    buffer: MemBuffer,
}

impl Decomposition {
    fn new(m: usize, n: usize) -> Self {
        let scratch = svd_scratch::<f64>(m, n, ComputeSvdVectors::Thin, ComputeSvdVectors::No, Par::Seq, Spec::default());
        Self { left: Mat::zeros(m, m), singular: Diag::zeros(m), buffer: MemBuffer::new(scratch) }
    }

    /// U, m×m.
    fn left_basis(&mut self, matrix: MatRef<'_, f64>) -> Result<Mat<f64>> {
        let (rows, cols) = matrix.shape();
        svd(
            matrix,
            self.singular.as_mut(),
            Some(self.left.as_mut()),
            None,
            Par::Seq,
            MemStack::new(&mut self.buffer),
            Spec::default(),
        )
        .map_err(|_| Error::Svd { rows, cols })?;
        Ok(self.left.clone())
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
    use crate::random::{Purpose, orthonormal, stream};

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
    fn a_kept_basis_gives_what_a_decomposition_gives() {
        let mut rng = stream(3, Purpose::OutputBasis, 0);
        for (rows, cols) in [(4, 9), (9, 4), (5, 5)] {
            let m = rows.min(cols);
            let (u, v) = (orthonormal(rows, m, &mut rng), orthonormal(cols, m, &mut rng));
            let other = orthonormal(cols, m, &mut rng);
            let mut map = SpectralMap::new(rows, cols);
            // Shared bases, also with values that change order and sign, or vanish; then other bases.
            let values =
                |step: usize| Mat::from_fn(m, m, |i, j| if i == j { (i as f64 + 0.5 - step as f64).powi(3) } else { 0.0 });
            for step in 0..6 {
                let right = if step < 4 { &v } else { &other };
                let matrix = &u * values(step) * right.transpose();
                let (mut kept, mut fresh) = (Mat::zeros(rows, cols), Mat::zeros(rows, cols));
                map.apply(matrix.as_ref(), 0.0, f64::sqrt, kept.as_mut()).expect("converges");
                SpectralMap::new(rows, cols).apply(matrix.as_ref(), 0.0, f64::sqrt, fresh.as_mut()).expect("converges");
                let exact = &u
                    * Mat::from_fn(m, m, |i, j| values(step)[(i, j)].abs().sqrt().copysign(values(step)[(i, j)]))
                    * right.transpose();
                assert!(frobenius((&kept - &exact).as_ref()) < 1e-12, "{rows}×{cols}, step {step}");
                assert!(frobenius((&fresh - &exact).as_ref()) < 1e-12, "{rows}×{cols}, step {step}");
            }
        }
    }

    #[test]
    fn norms_of_what_is_not_finite() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(!frobenius(Mat::from_fn(3, 5, |i, j| if (i, j) == (1, 3) { value } else { 1.0 }).as_ref()).is_finite());
        }
    }

    #[test]
    fn non_finite_and_empty_input() {
        let bad = Mat::from_fn(2, 2, |_, _| f64::NAN);
        assert!(polar_factor(bad.as_ref()).is_err());
        assert_eq!(polar_factor(Mat::<f64>::zeros(0, 3).as_ref()).expect("empty").shape(), (0, 3));
    }
}
