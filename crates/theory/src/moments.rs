use faer::{Accum, Mat, MatRef};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::{frobenius, multiply};
use crate::mixture::Mixture;
use crate::random::{Purpose, orthonormal, stream};

/// Dense d×d moments stay below 32 MiB.
const LARGEST_DIM: usize = 2048;

/// Moments Σ_yx = U S_yx Vᵀ (k×d) and Σ_xx (d×d) as dense matrices, with bases U (k×r) and V (d×r) of orthonormal columns for
/// the r ≤ k components.
///
/// Condition 1 (arXiv 2510.22980) says that Vᵀ Σ_xx V is diagonal, S_xx. A mixture keeps it, with r = k; moments that were
/// [given](Self::given) keep it up to [`Self::condition1_residual`].
#[derive(Debug, Clone)]
pub struct MatrixMoments {
    components: Components,
    cross: Mat<f64>,
    second: Mat<f64>,
    spiked: Option<Spiked>,
    left: Mat<f64>,
    right: Mat<f64>,
}

/// Σ_xx = B Bᵀ + σ² I with B = (√p_c μ_c)_c, d×k: the form in which a mixture has it, and in which W Σ_xx costs 4 k² d
/// operations instead of 2 k d².
#[derive(Debug, Clone)]
struct Spiked {
    spikes: Mat<f64>,
    variance: f64,
}

impl MatrixMoments {
    /// The moments of the mixture, built class by class: Σ_yx = Σ_c p_c e_c μ_cᵀ and Σ_xx = Σ_c p_c μ_c μ_cᵀ + σ² I, with
    /// means μ_c = μ v_c for random orthonormal v_c; U = I.
    pub(crate) fn of_mixture(mixture: &Mixture) -> Result<Self> {
        let (k, d) = (mixture.classes(), mixture.dim());
        check_dim(d)?;
        let right = orthonormal(d, k, &mut stream(mixture.seed(), Purpose::Means, 0));
        Ok(Self::from_bases(mixture, Mat::identity(k, k), right))
    }

    /// The same mixture in the canonical basis: v_c = e_c and U = I, so that both moments are diagonal. Here, and whenever
    /// U and V are permutations, `SignGD` follows the path of `SpecGD`.
    pub fn canonical(mixture: &Mixture) -> Result<Self> {
        check_dim(mixture.dim())?;
        let k = mixture.classes();
        Ok(Self::from_bases(mixture, Mat::identity(k, k), Mat::identity(mixture.dim(), k)))
    }

    /// The same spectral components with both bases drawn at random (Haar) from `seed`: labels and inputs rotated.
    pub fn rotated(mixture: &Mixture, seed: u64) -> Result<Self> {
        let (k, d) = (mixture.classes(), mixture.dim());
        check_dim(d)?;
        let left = orthonormal(k, k, &mut stream(seed, Purpose::OutputBasis, 0));
        let right = orthonormal(d, k, &mut stream(seed, Purpose::Means, 0));
        Ok(Self::from_bases(mixture, left, right))
    }

    /// Moments that come from no mixture: `cross` = Σ_yx (k×d) and `second` = Σ_xx (d×d, symmetric).
    ///
    /// U and V are the singular vectors of Σ_yx with singular values s_yx,c above max(k, d) ε of the largest, in descending order, and
    /// s_xx,c = v_cᵀ Σ_xx v_c. Fails for matrices whose shapes do not fit, with entries that are not finite, or without a
    /// positive singular value.
    pub fn given(cross: Mat<f64>, second: Mat<f64>) -> Result<Self> {
        let (k, d) = cross.shape();
        check_dim(d)?;
        if second.shape() != (d, d) {
            return Err(Error::setting(
                "sigma_xx",
                format_args!("{}×{}", second.nrows(), second.ncols()),
                format!("must be {d}×{d}, as sigma_yx has {d} columns"),
                "sigma_yx is E[y xᵀ] (k×d) and sigma_xx is E[x xᵀ] (d×d)",
            ));
        }
        for (name, matrix) in [("sigma_yx", &cross), ("sigma_xx", &second)] {
            if !matrix.as_ref().is_all_finite() {
                return Err(Error::setting(
                    name,
                    format_args!("a matrix"),
                    "every entry must be finite",
                    "look for NaN in the data",
                ));
            }
        }
        let svd = cross.thin_svd().map_err(|_| Error::Svd { rows: k, cols: d })?;
        let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let floor = k.max(d) as f64 * f64::EPSILON * values.first().copied().unwrap_or(0.0);
        let rank = values.iter().take_while(|value| **value > floor).count();
        let left = svd.U().subcols(0, rank).to_owned();
        let right = svd.V().subcols(0, rank).to_owned();
        let mut image = Mat::zeros(d, rank);
        multiply(image.as_mut(), Accum::Replace, second.as_ref(), right.as_ref(), 1.0);
        let s_xx = (0..rank).map(|c| (0..d).map(|i| right[(i, c)] * image[(i, c)]).sum()).collect();
        let components = Components::new(values[..rank].to_vec(), s_xx, d)?;
        Ok(Self { components, cross, second, spiked: None, left, right })
    }

    /// ‖Vᵀ Σ_xx V − S_xx‖_F / ‖S_xx‖_F, how far Condition 1 is from true; 0 for a mixture, up to rounding.
    pub fn condition1_residual(&self) -> f64 {
        let (d, rank) = self.right.shape();
        let mut image = Mat::zeros(d, rank);
        multiply(image.as_mut(), Accum::Replace, self.second.as_ref(), self.right.as_ref(), 1.0);
        let mut rotated = Mat::zeros(rank, rank);
        multiply(rotated.as_mut(), Accum::Replace, self.right.transpose(), image.as_ref(), 1.0);
        for (c, value) in self.components.s_xx().iter().enumerate() {
            rotated[(c, c)] -= value;
        }
        let scale = self.components.s_xx().iter().map(|value| value * value).sum::<f64>().sqrt();
        frobenius(rotated.as_ref()) / scale
    }

    fn from_bases(mixture: &Mixture, left: Mat<f64>, right: Mat<f64>) -> Self {
        let (mu, variance) = (mixture.mean_norm(), mixture.noise_std().powi(2));
        let priors = mixture.priors();
        let (k, d) = (left.nrows(), right.nrows());
        let weighted = Mat::from_fn(k, k, |i, c| left[(i, c)] * (mu * priors[c]));
        let mut cross = Mat::zeros(k, d);
        multiply(cross.as_mut(), Accum::Replace, weighted.as_ref(), right.transpose(), 1.0);
        let spikes = Mat::from_fn(d, k, |i, c| right[(i, c)] * (mu * priors[c].sqrt()));
        let mut second = Mat::from_fn(d, d, |i, j| if i == j { variance } else { 0.0 });
        multiply(second.as_mut(), Accum::Add, spikes.as_ref(), spikes.transpose(), 1.0);
        Self { components: mixture.components(), cross, second, spiked: Some(Spiked { spikes, variance }), left, right }
    }

    /// The components (s_yx,c, s_xx,c).
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// Σ_yx, k×d.
    pub fn sigma_yx(&self) -> MatRef<'_, f64> {
        self.cross.as_ref()
    }

    /// Σ_xx, d×d.
    pub fn sigma_xx(&self) -> MatRef<'_, f64> {
        self.second.as_ref()
    }

    /// U, k×r with orthonormal columns; r = k for a mixture.
    pub fn left(&self) -> MatRef<'_, f64> {
        self.left.as_ref()
    }

    /// V, d×r with orthonormal columns; v_c = μ_c/μ for a mixture.
    pub fn right(&self) -> MatRef<'_, f64> {
        self.right.as_ref()
    }

    /// W Σ_xx − Σ_yx, the gradient of ½ E‖y − W x‖² in W (k×d), into `out`.
    pub(crate) fn gradient(&self, weights: &Mat<f64>, out: &mut Mat<f64>) {
        let variance = self.spiked.as_ref().map_or(0.0, |spiked| spiked.variance);
        for j in 0..weights.ncols() {
            let (w, yx) = (weights.col_as_slice(j), self.cross.col_as_slice(j));
            for ((value, w), yx) in out.col_as_slice_mut(j).iter_mut().zip(w).zip(yx) {
                *value = variance * w - yx;
            }
        }
        match &self.spiked {
            Some(Spiked { spikes, .. }) => {
                let mut projected = Mat::zeros(weights.nrows(), spikes.ncols());
                multiply(projected.as_mut(), Accum::Replace, weights.as_ref(), spikes.as_ref(), 1.0);
                multiply(out.as_mut(), Accum::Add, projected.as_ref(), spikes.transpose(), 1.0);
            }
            None => multiply(out.as_mut(), Accum::Add, weights.as_ref(), self.second.as_ref(), 1.0),
        }
    }

    /// Uᵀ W V (r×r) of a k×d matrix W.
    pub(crate) fn to_components(&self, weights: MatRef<'_, f64>) -> Mat<f64> {
        let (k, rank) = self.left.shape();
        let mut projected = Mat::zeros(k, rank);
        multiply(projected.as_mut(), Accum::Replace, weights, self.right.as_ref(), 1.0);
        let mut aligned = Mat::zeros(rank, rank);
        multiply(aligned.as_mut(), Accum::Replace, self.left.transpose(), projected.as_ref(), 1.0);
        aligned
    }

    /// The largest magnitude in W outside the aligned diagonal: the off-diagonal entries of Uᵀ W V and the entries of
    /// W (I − V Vᵀ). Zero in exact arithmetic for every rule that keeps the bases.
    pub(crate) fn off_diagonal(&self, weights: MatRef<'_, f64>) -> f64 {
        let (k, rank) = self.left.shape();
        let aligned = self.to_components(weights);
        let mut largest = 0.0_f64;
        for j in 0..rank {
            for i in (0..rank).filter(|&i| i != j) {
                largest = largest.max(aligned[(i, j)].abs());
            }
        }
        let mut projected = Mat::zeros(k, rank);
        multiply(projected.as_mut(), Accum::Replace, weights, self.right.as_ref(), 1.0);
        let mut rest = weights.to_owned();
        multiply(rest.as_mut(), Accum::Add, projected.as_ref(), self.right.transpose(), -1.0);
        for column in rest.col_iter() {
            for value in column.iter() {
                largest = largest.max(value.abs());
            }
        }
        largest
    }
}

fn check_dim(dim: usize) -> Result<()> {
    if dim > LARGEST_DIM {
        return Err(Error::setting(
            "dim",
            dim,
            format!("a simulation holds dense dim×dim moments and takes dim <= {LARGEST_DIM}"),
            "lower dim (the trajectories do not depend on it), or use the closed form",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::MixtureConfig;

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
    fn moments_that_do_not_fit_are_errors() {
        let broken = |cross: Mat<f64>, second: Mat<f64>| MatrixMoments::given(cross, second).expect_err("broken").to_string();
        assert!(broken(Mat::identity(3, 6), Mat::identity(5, 5)).contains("sigma_xx = 5×5"));
        assert!(broken(Mat::from_fn(3, 6, |_, _| f64::NAN), Mat::identity(6, 6)).contains("finite"));
        assert!(broken(Mat::zeros(3, 6), Mat::identity(6, 6)).contains("at least one"));
    }
}
