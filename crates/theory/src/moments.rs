mod given;

use faer::{Accum, Mat, MatRef};
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::multiply;
use crate::mixture::Mixture;
use crate::random::{Purpose, orthonormal, stream};

/// Dense d×d moments stay below 32 MiB.
const LARGEST_DIM: usize = 2048;

/// Moments Σ_yx = U S_yx Vᵀ (k×d) and Σ_xx (d×d) as dense matrices, with bases U (k×r) and V (d×r) of orthonormal columns for
/// the r ≤ min(k, d) components.
///
/// Condition 1 (arXiv 2510.22980) says that Vᵀ Σ_xx V is diagonal, S_xx, and that Σ_xx couples the span of V to nothing else. A
/// mixture keeps it, with r = k; moments that were [given](Self::given) keep it up to [`Self::condition1`].
#[derive(Debug, Clone)]
pub struct MatrixMoments {
    components: Components,
    cross: Mat<f64>,
    second: Mat<f64>,
    spiked: Option<Spiked>,
    left: Mat<f64>,
    right: Mat<f64>,
    /// ‖Σ_xx‖₂, which for given moments can be larger than every s_xx,c.
    second_norm: f64,
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
        Self::check_dim(d)?;
        let right = orthonormal(d, k, &mut stream(mixture.seed(), Purpose::Means, 0));
        Ok(Self::from_bases(mixture, Mat::identity(k, k), right))
    }

    /// The same mixture in the canonical basis: v_c = e_c and U = I, so that both moments are diagonal. Here, and whenever
    /// U and V are permutations, `SignGD` follows the path of `SpecGD`.
    pub fn canonical(mixture: &Mixture) -> Result<Self> {
        Self::check_dim(mixture.dim())?;
        let k = mixture.classes();
        Ok(Self::from_bases(mixture, Mat::identity(k, k), Mat::identity(mixture.dim(), k)))
    }

    /// The same spectral components in bases that are permutations with signs, drawn from `seed`: column c of U is ±e_{π(c)}, that of V
    /// is ±e_{ρ(c)} with an injective ρ. `SignGD` follows the path of `SpecGD` here too.
    pub fn permuted(mixture: &Mixture, seed: u64) -> Result<Self> {
        let (k, d) = (mixture.classes(), mixture.dim());
        Self::check_dim(d)?;
        let left = signed_permutation(k, k, &mut stream(seed, Purpose::Permutations, 0));
        let right = signed_permutation(d, k, &mut stream(seed, Purpose::Permutations, 1));
        Ok(Self::from_bases(mixture, left, right))
    }

    /// The same spectral components with both bases drawn at random (Haar) from `seed`: labels and inputs rotated.
    pub fn rotated(mixture: &Mixture, seed: u64) -> Result<Self> {
        let (k, d) = (mixture.classes(), mixture.dim());
        Self::check_dim(d)?;
        let left = orthonormal(k, k, &mut stream(seed, Purpose::OutputBasis, 0));
        let right = orthonormal(d, k, &mut stream(seed, Purpose::Means, 0));
        Ok(Self::from_bases(mixture, left, right))
    }

    /// Fails for a dimension whose d×d moments are too large to hold.
    pub(crate) fn check_dim(dim: usize) -> Result<()> {
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

    /// Moments that come from no mixture, from their spectra: Σ_yx = U S_yx Vᵀ (r×d) and Σ_xx = V S_xx Vᵀ of rank r, with bases U
    /// (r×r) and V (d×r) drawn at random (Haar) from `seed`. They satisfy Condition 1; the order of the components stays.
    pub fn from_spectra(components: Components, seed: u64) -> Result<Self> {
        let (r, d) = (components.len(), components.dim());
        Self::check_dim(d)?;
        let left = orthonormal(r, r, &mut stream(seed, Purpose::OutputBasis, 0));
        let right = orthonormal(d, r, &mut stream(seed, Purpose::Means, 0));
        Ok(Self::with_bases(components, left, right))
    }

    /// Σ_yx = U S_yx Vᵀ and Σ_xx = V S_xx Vᵀ in given bases (orthonormal columns).
    pub(crate) fn with_bases(components: Components, left: Mat<f64>, right: Mat<f64>) -> Self {
        let ((k, r), d) = (left.shape(), right.nrows());
        let weighted = Mat::from_fn(k, r, |i, c| left[(i, c)] * components.s_yx()[c]);
        let mut cross = Mat::zeros(k, d);
        multiply(cross.as_mut(), Accum::Replace, weighted.as_ref(), right.transpose(), 1.0);
        let scaled = Mat::from_fn(d, r, |i, c| right[(i, c)] * components.s_xx()[c]);
        let mut second = Mat::zeros(d, d);
        multiply(second.as_mut(), Accum::Replace, scaled.as_ref(), right.transpose(), 1.0);
        let second_norm = components.largest_second();
        Self { components, cross, second, spiked: None, left, right, second_norm }
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
        let components = mixture.components();
        let second_norm = components.largest_second().max(variance);
        Self { components, cross, second, spiked: Some(Spiked { spikes, variance }), left, right, second_norm }
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

    /// ‖Σ_xx‖₂, its largest eigenvalue: gradient descent on the linear model is stable for η below 2/‖Σ_xx‖₂.
    pub fn largest_eigenvalue(&self) -> f64 {
        self.second_norm
    }

    /// The magnitude below which a gradient W Σ_xx − Σ_yx with ‖W‖_F = `norm` is only the rounding error of its own subtraction; see
    /// [`Components::residual_floor`].
    pub(crate) fn residual_floor(&self, norm: f64) -> f64 {
        let size = self.cross.nrows().max(self.cross.ncols()) as f64;
        4.0 * size * f64::EPSILON * (self.components.largest_cross() + norm * self.second_norm)
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

/// `cols` different unit vectors ±e_i of R^`rows` as columns.
fn signed_permutation(rows: usize, cols: usize, rng: &mut ChaCha8Rng) -> Mat<f64> {
    let mut places: Vec<usize> = (0..rows).collect();
    places.shuffle(rng);
    let signs: Vec<f64> = (0..cols).map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
    Mat::from_fn(rows, cols, |i, c| if i == places[c] { signs[c] } else { 0.0 })
}
