use faer::{Accum, Mat, MatRef};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::multiply;
use crate::mixture::Mixture;
use crate::random::{Purpose, orthonormal, stream};

/// Dense d×d moments stay below 32 MiB.
const LARGEST_DIM: usize = 2048;

/// Moments Σ_yx = U S_yx Vᵀ (k×d) and Σ_xx = V S_xx Vᵀ + σ² (I − V Vᵀ) (d×d) as dense matrices, with the bases U (k×k)
/// and V (d×k, orthonormal columns) that diagonalize them (Condition 1 of arXiv 2510.22980).
#[derive(Debug, Clone)]
pub struct MatrixMoments {
    components: Components,
    cross: Mat<f64>,
    second: Mat<f64>,
    left: Mat<f64>,
    right: Mat<f64>,
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

    fn from_bases(mixture: &Mixture, left: Mat<f64>, right: Mat<f64>) -> Self {
        let (mu, variance) = (mixture.mean_norm(), mixture.noise_std().powi(2));
        let priors = mixture.priors();
        let (k, d) = (left.nrows(), right.nrows());
        let weighted = Mat::from_fn(k, k, |i, c| left[(i, c)] * (mu * priors[c]));
        let mut cross = Mat::zeros(k, d);
        multiply(cross.as_mut(), Accum::Replace, weighted.as_ref(), right.transpose(), 1.0);
        let scaled = Mat::from_fn(d, k, |i, c| right[(i, c)] * (mu * mu * priors[c]));
        let mut second = Mat::from_fn(d, d, |i, j| if i == j { variance } else { 0.0 });
        multiply(second.as_mut(), Accum::Add, scaled.as_ref(), right.transpose(), 1.0);
        Self { components: mixture.components(), cross, second, left, right }
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

    /// U, k×k orthogonal.
    pub fn left(&self) -> MatRef<'_, f64> {
        self.left.as_ref()
    }

    /// V, d×k with orthonormal columns v_c = μ_c/μ.
    pub fn right(&self) -> MatRef<'_, f64> {
        self.right.as_ref()
    }

    /// Uᵀ W V (k×k) of a k×d matrix W.
    pub(crate) fn to_components(&self, weights: MatRef<'_, f64>) -> Mat<f64> {
        let k = self.left.nrows();
        let mut projected = Mat::zeros(k, k);
        multiply(projected.as_mut(), Accum::Replace, weights, self.right.as_ref(), 1.0);
        let mut aligned = Mat::zeros(k, k);
        multiply(aligned.as_mut(), Accum::Replace, self.left.transpose(), projected.as_ref(), 1.0);
        aligned
    }

    /// The largest magnitude in W outside the aligned diagonal: the off-diagonal entries of Uᵀ W V and the entries of
    /// W (I − V Vᵀ). Zero in exact arithmetic for every rule that keeps the bases.
    pub(crate) fn off_diagonal(&self, weights: MatRef<'_, f64>) -> f64 {
        let k = self.left.nrows();
        let aligned = self.to_components(weights);
        let mut largest = 0.0_f64;
        for j in 0..k {
            for i in (0..k).filter(|&i| i != j) {
                largest = largest.max(aligned[(i, j)].abs());
            }
        }
        let mut projected = Mat::zeros(k, k);
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
