//! Moments that are given as matrices.

use faer::{Mat, Side};

use super::MatrixMoments;
use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::frobenius;

/// Singular values of Σ_yx that differ by at most this times max(k, d) ε ‖Σ_yx‖₂ count as equal: a few times the rounding error of
/// the decomposition.
const EQUAL_SINGULAR_VALUES: f64 = 64.0;

/// How far Σ_xx may be from symmetric or from positive semidefinite, relative to its largest entry or eigenvalue: what
/// averaging many samples in double precision leaves.
const SECOND_MOMENT_TOLERANCE: f64 = 1e-9;

/// How much of Σ_yx may lie where Σ_xx vanishes, relative to ‖Σ_yx‖₂: the square root of the relative size, max(k, d) ε, under which an
/// eigenvalue counts as zero, as |E\[y xᵀ\] e|² ≤ E‖y‖² · eᵀ Σ_xx e for every direction e.
const RANGE_TOLERANCE: f64 = 1e-6;

impl MatrixMoments {
    /// Moments that come from no mixture: `cross` = Σ_yx (k×d) and `second` = Σ_xx (d×d, symmetric positive semidefinite).
    ///
    /// U and V are the singular vectors of Σ_yx with singular values s_yx,c above max(k, d) ε of the largest, in descending order, and
    /// s_xx,c = v_cᵀ Σ_xx v_c. Σ_yx may have any shape, k > d and k < d included: there are r = rank Σ_yx components, no more than the
    /// smaller of the two, and rows of W outside the span of U stay 0. Where singular values coincide, any rotation of their
    /// vectors would do as well: then V is the one that also diagonalizes Σ_xx among them, with ascending s_xx,c, so that Condition 1
    /// never fails for the choice of a basis.
    ///
    /// Σ_xx may be rank deficient, but not where Σ_yx is not: no data have labels that depend on a direction in which x is 0, and the
    /// loss would have no minimum.
    ///
    /// Fails for matrices without entries, whose shapes do not fit, with entries that are not finite, without a positive singular value, or
    /// that cannot be moments: Σ_xx not symmetric, with a negative eigenvalue, or 0 in a direction that Σ_yx has (all up to rounding).
    pub fn given(cross: Mat<f64>, second: Mat<f64>) -> Result<Self> {
        let (k, d) = cross.shape();
        Self::check_dim(d)?;
        check_shapes(&cross, &second)?;
        let (second, values) = check_second(second)?;
        let second_norm = values[d - 1].max(0.0);
        let (components, left, right) = decompose(&cross, &second)?;
        let moments = Self { components, cross, second, spiked: None, left, right, second_norm };
        let zero = k.max(d) as f64 * f64::EPSILON * second_norm;
        if values[0] <= zero {
            moments.check_range(zero)?;
        }
        Ok(moments)
    }

    /// Fails if Σ_yx has a part in the directions whose second moment is at most `zero`.
    fn check_range(&self, zero: f64) -> Result<()> {
        let d = self.second.nrows();
        let eigen = self.second.self_adjoint_eigen(Side::Lower).map_err(|_| Error::Svd { rows: d, cols: d })?;
        let null = eigen.S().column_vector().iter().take_while(|value| **value <= zero).count();
        let part = frobenius((&self.cross * eigen.U().subcols(0, null)).as_ref()) / self.components.largest_cross();
        if part > RANGE_TOLERANCE {
            return Err(Error::setting(
                "sigma_xx",
                format_args!("a matrix of rank {}", d - null),
                format!(
                    "sigma_yx has a share {part:.1e} in directions where sigma_xx is 0 (at most {RANGE_TOLERANCE:e} is rounding)"
                ),
                "no data have such moments: the labels cannot depend on a direction in which x never varies",
            ));
        }
        Ok(())
    }
}

/// Both matrices have entries, all of them finite, and fit together.
fn check_shapes(cross: &Mat<f64>, second: &Mat<f64>) -> Result<()> {
    let (k, d) = cross.shape();
    if k == 0 || d == 0 {
        return Err(Error::setting(
            "sigma_yx",
            format_args!("{k}×{d}"),
            "must have at least one row and one column",
            "sigma_yx is E[y xᵀ], one row for each output and one column for each input",
        ));
    }
    if second.shape() != (d, d) {
        return Err(Error::setting(
            "sigma_xx",
            format_args!("{}×{}", second.nrows(), second.ncols()),
            format!("must be {d}×{d}, as sigma_yx has {d} columns"),
            "sigma_yx is E[y xᵀ] (k×d) and sigma_xx is E[x xᵀ] (d×d)",
        ));
    }
    for (name, matrix) in [("sigma_yx", cross), ("sigma_xx", second)] {
        for (j, column) in matrix.col_iter().enumerate() {
            if let Some((i, value)) = column.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                return Err(Error::setting(
                    format!("{name}[{i}][{j}]"),
                    value,
                    "every entry must be finite",
                    "look for NaN or infinite values in the data",
                ));
            }
        }
    }
    Ok(())
}

/// Σ_xx, made exactly symmetric, with its eigenvalues in ascending order.
fn check_second(mut second: Mat<f64>) -> Result<(Mat<f64>, Vec<f64>)> {
    let d = second.nrows();
    let largest = second.norm_max();
    for j in 0..d {
        for i in 0..j {
            let (upper, lower) = (second[(i, j)], second[(j, i)]);
            if (upper - lower).abs() > SECOND_MOMENT_TOLERANCE * largest {
                return Err(Error::setting(
                    format!("sigma_xx[{i}][{j}]"),
                    upper,
                    format!("sigma_xx must be symmetric, but sigma_xx[{j}][{i}] = {lower:?}"),
                    "sigma_xx is E[x xᵀ]",
                ));
            }
            let mean = 0.5 * upper + 0.5 * lower;
            second[(i, j)] = mean;
            second[(j, i)] = mean;
        }
    }
    let values = second.self_adjoint_eigenvalues(Side::Lower).map_err(|_| Error::Svd { rows: d, cols: d })?;
    let (smallest, top) = (values[0], values[d - 1]);
    if smallest < -SECOND_MOMENT_TOLERANCE * top.abs().max(smallest.abs()) {
        return Err(Error::setting(
            "sigma_xx",
            format_args!("a matrix with the eigenvalue {smallest:e}"),
            format!("must be positive semidefinite (to {SECOND_MOMENT_TOLERANCE:e} of its largest eigenvalue, {top:e})"),
            "sigma_xx is E[x xᵀ], whose eigenvalues are never negative",
        ));
    }
    Ok((second, values))
}

/// Components and bases of Σ_yx, with V diagonalizing Σ_xx among equal singular values.
fn decompose(cross: &Mat<f64>, second: &Mat<f64>) -> Result<(Components, Mat<f64>, Mat<f64>)> {
    let (k, d) = cross.shape();
    let svd = cross.thin_svd().map_err(|_| Error::Svd { rows: k, cols: d })?;
    let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let rounding = k.max(d) as f64 * f64::EPSILON * values[0];
    let rank = values.iter().take_while(|value| **value > rounding).count();
    if rank == 0 {
        return Err(Error::setting(
            "sigma_yx",
            format_args!("zeros"),
            "at least one entry must differ from 0: there is nothing to learn",
            "sigma_yx is E[y xᵀ]",
        ));
    }
    let mut left = svd.U().subcols(0, rank).to_owned();
    let mut right = svd.V().subcols(0, rank).to_owned();
    let mut start = 0;
    for end in 1..=rank {
        if end < rank && values[end - 1] - values[end] <= EQUAL_SINGULAR_VALUES * rounding {
            continue;
        }
        if end - start > 1 {
            let count = end - start;
            let block = right.subcols(start, count).to_owned();
            let inner: Mat<f64> = block.transpose() * (second * &block);
            let eigen = inner.self_adjoint_eigen(Side::Lower).map_err(|_| Error::Svd { rows: count, cols: count })?;
            right.subcols_mut(start, count).copy_from(&block * eigen.U());
            let turned = left.subcols(start, count) * eigen.U();
            left.subcols_mut(start, count).copy_from(&turned);
        }
        start = end;
    }
    let image: Mat<f64> = second * &right;
    let s_xx: Vec<f64> = (0..rank).map(|c| (0..d).map(|i| right[(i, c)] * image[(i, c)]).sum()).collect();
    if let Some((c, value)) = s_xx.iter().enumerate().find(|(_, value)| value.is_nan() || **value <= 0.0) {
        return Err(Error::setting(
            "sigma_xx",
            format_args!("a matrix with vᵀ sigma_xx v = {value:e}"),
            format!("must be positive along v, the right singular vector {c} of sigma_yx"),
            "no data have such moments: the labels cannot depend on a direction in which x never varies",
        ));
    }
    Ok((Components::new(values[..rank].to_vec(), s_xx, d)?, left, right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::{Mixture, MixtureConfig};
    use crate::random::{Purpose, orthonormal, stream};

    #[test]
    fn given_moments_of_a_mixture_have_its_components() {
        let config = MixtureConfig { priors: vec![0.2, 0.5, 0.3], mean_norm: 1.5, noise_std: 0.5, dim: Some(6), seed: 1 };
        let mixture = Mixture::new(config).expect("valid");
        let exact = MatrixMoments::rotated(&mixture, 4).expect("small");
        let given = MatrixMoments::given(exact.cross.clone(), exact.second.clone()).expect("valid");
        assert!(given.condition1_residual() < 1e-14);
        let mut expected: Vec<(f64, f64)> = mixture.components().pairs().collect();
        expected.sort_by(|a, b| b.0.total_cmp(&a.0));
        for ((yx, xx), (expected_yx, expected_xx)) in given.components.pairs().zip(expected) {
            assert!((yx - expected_yx).abs() < 1e-14 && (xx - expected_xx).abs() < 1e-14);
        }
    }

    #[test]
    fn a_direction_that_the_labels_do_not_know_is_no_component() {
        let config = MixtureConfig { priors: vec![0.2, 0.5, 0.3], mean_norm: 1.5, noise_std: 0.5, dim: Some(6), seed: 1 };
        let exact = MatrixMoments::rotated(&Mixture::new(config).expect("valid"), 4).expect("small");
        let mut low_rank = exact.cross.clone();
        for j in 0..6 {
            low_rank[(2, j)] = low_rank[(0, j)] + low_rank[(1, j)];
        }
        let given = MatrixMoments::given(low_rank, exact.second.clone()).expect("valid");
        assert_eq!(given.components.len(), 2);
        assert!(given.condition1_residual() > 1e-3);
    }

    #[test]
    fn equal_singular_values_get_the_basis_that_diagonalizes_the_second_moment() {
        let components = Components::new(vec![0.3; 4], vec![1.0, 1.5, 0.7, 2.0], 6).expect("valid");
        let exact = MatrixMoments::from_spectra(components, 3).expect("small");
        let given = MatrixMoments::given(exact.cross.clone(), exact.second.clone()).expect("valid");
        assert!(given.condition1_residual() < 1e-13);
        for (value, expected) in given.components.s_xx().iter().zip([0.7, 1.0, 1.5, 2.0]) {
            assert!((value - expected).abs() < 1e-13);
        }
        let back = given.to_components(given.cross.as_ref());
        for (c, row) in (0..4).flat_map(|c| (0..4).map(move |row| (c, row))) {
            let expected = if c == row { 0.3 } else { 0.0 };
            assert!((back[(row, c)] - expected).abs() < 1e-13);
        }
    }

    #[test]
    fn more_outputs_than_inputs_and_a_rank_deficient_second_moment_are_fine() {
        let components = Components::new(vec![0.5, 0.2], vec![1.0, 1.5], 3).expect("valid");
        let left = orthonormal(7, 2, &mut stream(1, Purpose::OutputBasis, 0));
        let right = orthonormal(3, 2, &mut stream(1, Purpose::Means, 0));
        let exact = MatrixMoments::with_bases(components.clone(), left, right);
        let given = MatrixMoments::given(exact.cross.clone(), exact.second.clone()).expect("valid");
        assert_eq!((given.left.shape(), given.right.shape()), ((7, 2), (3, 2)));
        for (a, b) in given.components.pairs().zip(components.pairs()) {
            assert!((a.0 - b.0).abs() < 1e-14 && (a.1 - b.1).abs() < 1e-14);
        }
        assert!((given.largest_eigenvalue() - 1.5).abs() < 1e-14);
    }

    #[test]
    fn moments_that_do_not_fit_are_errors() {
        let broken = |cross: Mat<f64>, second: Mat<f64>| MatrixMoments::given(cross, second).expect_err("broken").to_string();
        assert!(broken(Mat::identity(3, 6), Mat::identity(5, 5)).contains("sigma_xx = 5×5"));
        assert!(broken(Mat::from_fn(3, 6, |_, _| f64::NAN), Mat::identity(6, 6)).contains("finite"));
        assert!(broken(Mat::zeros(3, 6), Mat::identity(6, 6)).contains("nothing to learn"));
        assert!(broken(Mat::zeros(0, 0), Mat::zeros(0, 0)).contains("at least one row"));
        assert!(broken(Mat::identity(2, 3), Mat::from_fn(3, 3, |i, j| i as f64 - j as f64)).contains("symmetric"));
        let negative = Mat::from_fn(3, 3, |i, j| if i == j { 1.0 } else { 2.0 });
        assert!(broken(Mat::identity(2, 3), negative).contains("eigenvalue -1"));
        let null = Mat::from_fn(3, 3, |i, j| if i == j && i > 0 { 1.0 } else { 0.0 });
        assert!(broken(Mat::identity(2, 3), null).contains("never varies"));
        // e₁ + e₂ has a part where Σ_xx is 0, and vᵀ Σ_xx v = ½ > 0 alone would not tell.
        let tilted = Mat::from_fn(1, 2, |_, _| 1.0);
        let half = Mat::from_fn(2, 2, |i, j| if i == 0 && j == 0 { 1.0 } else { 0.0 });
        assert!(broken(tilted, half).contains("rank 1"));
    }
}
