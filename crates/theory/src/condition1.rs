use faer::{Mat, Side};

use crate::error::{Error, Result};
use crate::linalg::frobenius;
use crate::moments::MatrixMoments;

/// The largest relative residual ‖B‖_F/‖S_xx‖_F with which Condition 1 counts as true and closed forms are given.
///
/// The components under gradient descent move by its square, 1e-12, and the rest of W by about itself (see
/// [`crate::derivations::condition_1`]).
pub const CONDITION_1: f64 = 1e-6;

/// Eigenvalues of Σ_xx that differ by at most this, relative to the largest, span one eigenspace: their vectors are free in it.
const EQUAL_EIGENVALUES: f64 = 1e-9;

/// How far moments are from Condition 1 (arXiv 2510.22980), Σ_yx = U S_yx Vᵀ and Σ_xx = V̄ S_xx V̄ᵀ with the same V.
///
/// In the basis V̄ = \[V, V⊥\] of R^d, Σ_xx = V̄ (S_xx + B) V̄ᵀ, where S_xx is the diagonal. The condition leaves V⊥ free; the residual here is
/// the smallest over all choices, with V⊥ diagonalizing V⊥ᵀ Σ_xx V⊥, so that B has an in-span block and a coupling:
/// ‖B‖_F² = `span`² + 2 `leakage`².
#[derive(Debug, Clone, PartialEq)]
pub struct Condition1 {
    /// ‖B‖_F.
    pub absolute: f64,
    /// ‖B‖_F/‖S_xx‖_F with S_xx in all of R^d: the measure that is reported for data sets.
    pub relative: f64,
    /// ‖offdiag(Vᵀ Σ_xx V)‖_F: how much the components interact with each other.
    pub span: f64,
    /// ‖V⊥ᵀ Σ_xx V‖_F: how much they interact with directions that the labels do not know.
    pub leakage: f64,
    /// For each component the eigenspace of Σ_xx that its v_c belongs to.
    pub matched: Vec<Matched>,
    /// The principal angles between the span of V and that of as many leading eigenvectors of Σ_xx, ascending, in radians.
    pub principal_angles: Vec<f64>,
}

/// The eigenspace of Σ_xx that is matched to a component.
///
/// Each eigenvector is given to one component at most, the closest pairs first. Under Condition 1 every angle is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matched {
    /// The eigenvalue.
    pub eigenvalue: f64,
    /// The place of (the first of) its eigenvalues, from 0 for the largest.
    pub rank: usize,
    /// The angle between v_c and the eigenspace, in radians, from 0 to π/2.
    pub angle: f64,
}

/// Eigenvectors of equal eigenvalues.
struct Eigenspace {
    eigenvalue: f64,
    rank: usize,
    left: usize,
    /// The length of each v_c's projection.
    cosines: Vec<f64>,
    /// The length of what the projection leaves.
    sines: Vec<f64>,
}

impl MatrixMoments {
    /// In-span block A = Vᵀ Σ_xx V without its diagonal, and the coupling Σ_xx V − V A: their Frobenius norms.
    fn residual_parts(&self) -> (f64, f64) {
        let right = self.right();
        let image: Mat<f64> = self.sigma_xx() * right;
        let mut inner: Mat<f64> = right.transpose() * &image;
        let coupling: Mat<f64> = &image - right * &inner;
        for c in 0..inner.nrows() {
            inner[(c, c)] = 0.0;
        }
        (frobenius(inner.as_ref()), frobenius(coupling.as_ref()))
    }

    /// ‖B‖_F/‖S_xx‖_F in R^d, which is [`Condition1::relative`], without the eigenvectors: as V⊥ diagonalizes V⊥ᵀ Σ_xx V⊥,
    /// ‖Σ_xx‖_F² = ‖S_xx‖_F² + ‖B‖_F².
    pub fn condition1_residual(&self) -> f64 {
        let (span, leakage) = self.residual_parts();
        let squared = span * span + 2.0 * leakage * leakage;
        (squared / (self.sigma_xx().squared_norm_l2() - squared)).sqrt()
    }

    /// ‖B‖_F relative to the S_xx of the components alone: unlike [`Condition1::relative`] it is not made small by large variances in
    /// directions that have nothing to do with the labels.
    pub(crate) fn residual(&self) -> f64 {
        let (span, leakage) = self.residual_parts();
        let scale = self.components().s_xx().iter().map(|s| s * s).sum::<f64>().sqrt();
        (span * span + 2.0 * leakage * leakage).sqrt() / scale
    }

    /// How far the moments are from Condition 1: residuals, and the angles between V and the eigenvectors of Σ_xx.
    ///
    /// Takes about 10 d³ operations. Fails if the eigenvalue decomposition does not converge.
    pub fn condition1(&self) -> Result<Condition1> {
        let d = self.sigma_xx().nrows();
        let broken = |_| Error::Svd { rows: d, cols: d };
        let eigen = self.sigma_xx().self_adjoint_eigen(Side::Lower).map_err(broken)?;
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().rev().collect();
        // Row c holds the coordinates of v_c in the eigenvectors, by falling eigenvalue.
        let coordinates: Mat<f64> = self.right().transpose() * eigen.U().reverse_cols();
        let components = self.components().len();

        let (span, leakage) = self.residual_parts();
        let squared = span * span + 2.0 * leakage * leakage;
        let leading = coordinates.subcols(0, components);
        // The cosine of a small angle says nothing about it; the sine does.
        let outside = coordinates.subcols(components, d - components);
        let cosines = leading.singular_values().map_err(|_| Error::Svd { rows: components, cols: components })?;
        let mut sines = vec![0.0; components];
        if d > components {
            let found = outside.singular_values().map_err(|_| Error::Svd { rows: components, cols: d - components })?;
            sines[..found.len()].copy_from_slice(&found);
        }
        sines.reverse();
        let principal_angles = cosines.iter().zip(&sines).map(|(cosine, sine)| sine.atan2(*cosine)).collect();
        Ok(Condition1 {
            absolute: squared.sqrt(),
            relative: self.condition1_residual(),
            span,
            leakage,
            matched: match_eigenspaces(&values, &coordinates),
            principal_angles,
        })
    }
}

fn match_eigenspaces(values: &[f64], coordinates: &Mat<f64>) -> Vec<Matched> {
    let components = coordinates.nrows();
    let mut spaces = Vec::new();
    let mut start = 0;
    for end in 1..=values.len() {
        if end < values.len() && values[end - 1] - values[end] <= EQUAL_EIGENVALUES * values[0].abs() {
            continue;
        }
        let length = |c: usize, inside: bool| {
            let of = |j: usize| (start..end).contains(&j) == inside;
            (0..values.len()).filter(|&j| of(j)).map(|j| coordinates[(c, j)].powi(2)).sum::<f64>().sqrt()
        };
        spaces.push(Eigenspace {
            eigenvalue: values[start],
            rank: start,
            left: end - start,
            cosines: (0..components).map(|c| length(c, true)).collect(),
            sines: (0..components).map(|c| length(c, false)).collect(),
        });
        start = end;
    }
    let mut matched: Vec<Option<Matched>> = vec![None; components];
    for _ in 0..components {
        let mut best: Option<(usize, usize, f64)> = None;
        for c in (0..components).filter(|&c| matched[c].is_none()) {
            for (place, space) in spaces.iter().enumerate().filter(|(_, space)| space.left > 0) {
                if best.is_none_or(|(.., cosine)| space.cosines[c] > cosine) {
                    best = Some((c, place, space.cosines[c]));
                }
            }
        }
        let (c, place, cosine) = best.expect("there are d >= r eigenvectors for r components");
        let space = &mut spaces[place];
        space.left -= 1;
        let angle = space.sines[c].atan2(cosine);
        matched[c] = Some(Matched { eigenvalue: space.eigenvalue, rank: space.rank, angle });
    }
    matched.into_iter().map(|matched| matched.expect("every round matches one component")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::Components;
    use crate::mixture::{Mixture, MixtureConfig};

    #[test]
    fn a_mixture_has_no_residual_and_no_angles() {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.3, noise_std: 0.7, dim: Some(7), seed: 4 };
        let moments = MatrixMoments::rotated(&Mixture::new(config).expect("valid"), 5).expect("small");
        let found = moments.condition1().expect("converges");
        assert!(found.absolute < 1e-14 && found.relative < 1e-14, "{found:?}");
        assert!(found.matched.iter().all(|matched| matched.angle < 1e-13), "{found:?}");
        assert_eq!(found.matched.iter().map(|matched| matched.rank).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(found.principal_angles.iter().all(|angle| *angle < 1e-13), "{found:?}");
    }

    #[test]
    fn a_rotation_in_one_plane_is_found_as_its_angle() {
        // Σ_xx has the eigenvectors e_i; V is turned by 0.3 in the plane (1, 4), outside of the leading three.
        let angle = 0.3_f64;
        let second = Mat::from_fn(5, 5, |i, j| if i == j { [5.0, 4.0, 3.0, 2.0, 1.0][i] } else { 0.0 });
        let mut cross = Mat::from_fn(3, 5, |i, j| if i == j { [0.9, 0.6, 0.3][i] } else { 0.0 });
        cross[(1, 1)] = 0.6 * angle.cos();
        cross[(1, 4)] = 0.6 * angle.sin();
        let moments = MatrixMoments::given(cross, second).expect("valid");
        let found = moments.condition1().expect("converges");
        for (c, (matched, rank)) in found.matched.iter().zip([0, 1, 2]).enumerate() {
            assert_eq!(matched.rank, rank);
            assert!((matched.angle - if c == 1 { angle } else { 0.0 }).abs() < 1e-14, "{found:?}");
        }
        assert!((found.principal_angles[2] - angle).abs() < 1e-14 && found.principal_angles[1] < 1e-14, "{found:?}");
        // v₂ couples only to V⊥: e = (−sin, cos) in the plane, vᵀ Σ e = (1 − 4) sin cos.
        let leakage = 3.0 * angle.sin() * angle.cos();
        assert!(found.span < 1e-14 && (found.leakage - leakage).abs() < 1e-14, "{found:?}");
        // ‖Σ_xx‖_F² = 55 is what S_xx and B hold together.
        let relative = (2.0 * leakage * leakage / (55.0 - 2.0 * leakage * leakage)).sqrt();
        assert!((moments.condition1_residual() - relative).abs() < 1e-14, "{relative}");
        assert!((found.absolute - std::f64::consts::SQRT_2 * leakage).abs() < 1e-14);
        assert!((found.relative - found.absolute / (55.0 - found.absolute.powi(2)).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn equal_eigenvalues_are_one_space() {
        // Σ_xx = I: every V is a set of eigenvectors.
        let components = Components::new(vec![0.5, 0.2], vec![1.0, 1.0], 4).expect("valid");
        let rotated = MatrixMoments::from_spectra(components, 9).expect("small");
        let moments = MatrixMoments::given(rotated.sigma_yx().to_owned(), Mat::identity(4, 4)).expect("valid");
        let found = moments.condition1().expect("converges");
        assert!(found.matched.iter().all(|matched| matched.angle < 1e-13 && matched.rank == 0), "{found:?}");
    }
}
