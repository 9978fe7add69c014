//! What the theory says of a labelled data set: moments by class, the predicted gaps, and how far they can be trusted.

mod measured;
pub(crate) mod population;
mod prediction;
pub(crate) mod trust;
mod window;

use faer::{Accum, Mat, MatRef, Side};

pub use measured::{Plan, follow};
pub use prediction::{LossRow, Prediction};
pub use trust::{Measure, Trust, trust};
pub use window::{Window, largest_error};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::multiply;
use crate::mixture::{Mixture, MixtureConfig};
use crate::moments::MatrixMoments;

/// The first and second moments of a labelled data set, one-hot labels e_c, features x ∈ R^d:
///
/// p_c = n_c/n, m_c = E\[x | c\], Σ_yx = Σ_c p_c e_c m_cᵀ and Σ_xx = E\[x xᵀ\], with the components of Σ_yx = U S_yx Vᵀ and
/// s_xx,c = v_cᵀ Σ_xx v_c.
#[derive(Debug, Clone)]
pub struct LabelledMoments {
    counts: Vec<usize>,
    priors: Vec<f64>,
    means: Mat<f64>,
    variances: Vec<f64>,
    moments: MatrixMoments,
}

/// The component that belongs to a class: the one whose left singular vector has the largest part in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// The component, 0 being the strongest.
    pub component: usize,
    /// |U_cj|, from 0 to 1. It is 1 for every class where components are classes, as in the data model.
    pub overlap: f64,
}

impl LabelledMoments {
    /// The moments from the class counts n_c, the class means (k×d), Σ_xx (d×d) and tr Cov(x | c) of each class. All are to be
    /// taken of the same rows. Components below 10⁻¹⁰ of the strongest one are dropped: that is what rounding leaves of the one that
    /// centring removes.
    ///
    /// Fails for fewer than two classes, an empty class, shapes that do not fit, entries that are not finite, or class means that
    /// are all zero.
    pub fn new(counts: Vec<usize>, means: Mat<f64>, second: Mat<f64>, variances: Vec<f64>) -> Result<Self> {
        let k = counts.len();
        if k < 2 || counts.contains(&0) {
            return Err(Error::setting(
                "counts",
                &counts,
                "there must be at least two classes, each with a sample",
                "leave out a class that has no samples",
            ));
        }
        if means.nrows() != k || variances.len() != k {
            return Err(Error::setting(
                "means",
                format_args!("{}×{}, {} variances", means.nrows(), means.ncols(), variances.len()),
                format!("there must be one row and one variance for each of the {k} classes"),
                "take the moments of all classes",
            ));
        }
        if let Some((class, value)) = variances.iter().enumerate().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
            return Err(Error::setting(
                format!("variances[{class}]"),
                value,
                "must be finite and not negative",
                "it is the trace of a covariance",
            ));
        }
        let n: f64 = counts.iter().map(|&count| count as f64).sum();
        let priors: Vec<f64> = counts.iter().map(|&count| count as f64 / n).collect();
        let cross = truncated(Mat::from_fn(k, means.ncols(), |class, i| priors[class] * means[(class, i)]))?;
        let moments = MatrixMoments::given(cross, second)?;
        Ok(Self { counts, priors, means, variances, moments })
    }

    /// n_c.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// p_c = n_c/n.
    pub fn priors(&self) -> &[f64] {
        &self.priors
    }

    /// m_c, k×d.
    pub fn means(&self) -> MatRef<'_, f64> {
        self.means.as_ref()
    }

    /// tr Cov(x | c).
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// Σ_yx, Σ_xx and their bases.
    pub fn moments(&self) -> &MatrixMoments {
        &self.moments
    }

    /// The components (s_yx,c, s_xx,c), the strongest first.
    pub fn components(&self) -> &Components {
        self.moments.components()
    }

    /// The minority: every class that has the smallest count, in order.
    pub fn minority(&self) -> Vec<usize> {
        let smallest = self.counts.iter().min().copied().unwrap_or(0);
        (0..self.counts.len()).filter(|&class| self.counts[class] == smallest).collect()
    }

    /// The largest class over the smallest one.
    pub fn imbalance(&self) -> f64 {
        let smallest = self.counts.iter().min().copied().unwrap_or(1);
        let largest = self.counts.iter().max().copied().unwrap_or(1);
        largest as f64 / smallest as f64
    }

    /// ‖m_c‖.
    pub fn mean_norms(&self) -> Vec<f64> {
        (0..self.counts.len()).map(|class| self.means.row(class).norm_l2()).collect()
    }

    /// The largest |cos| of the angle between the means of two classes; a mean that is zero has no angle.
    pub fn largest_cosine(&self) -> f64 {
        let norms = self.mean_norms();
        let mut largest = 0.0_f64;
        for a in 0..norms.len() {
            for b in (0..a).filter(|&b| norms[a] > 0.0 && norms[b] > 0.0) {
                let product: f64 = self.means.row(a).iter().zip(self.means.row(b).iter()).map(|(x, y)| x * y).sum();
                largest = largest.max((product / (norms[a] * norms[b])).abs());
            }
        }
        largest
    }

    /// The pooled within-class covariance Σ_w = Σ_xx − Σ_c p_c m_c m_cᵀ.
    pub fn within(&self) -> Mat<f64> {
        let mut within = self.moments.sigma_xx().to_owned();
        multiply(within.as_mut(), Accum::Add, self.means.transpose(), self.moments.sigma_yx(), -1.0);
        within
    }

    /// σ² = tr Σ_w/d, the variance of a feature within a class.
    pub fn noise_variance(&self) -> f64 {
        let total: f64 = self.priors.iter().zip(&self.variances).map(|(p, v)| p * v).sum();
        total / self.means.ncols() as f64
    }

    /// μ², the mean of ‖m_c‖² over the classes.
    pub fn mean_norm_squared(&self) -> f64 {
        let norms = self.mean_norms();
        norms.iter().map(|norm| norm * norm).sum::<f64>() / norms.len() as f64
    }

    /// The component of each class.
    pub fn matches(&self) -> Vec<Match> {
        let left = self.moments.left();
        (0..left.nrows())
            .map(|class| {
                let mut best = Match { component: 0, overlap: 0.0 };
                for component in 0..left.ncols() {
                    let overlap = left[(class, component)].abs();
                    if overlap > best.overlap {
                        best = Match { component, overlap };
                    }
                }
                best
            })
            .collect()
    }

    /// The mixture that the data model would be with the priors, μ and σ² of the data; `None` where it has no noise, or more
    /// classes than dimensions.
    pub fn idealized(&self) -> Option<Mixture> {
        Mixture::new(MixtureConfig {
            priors: self.priors.clone(),
            mean_norm: self.mean_norm_squared().sqrt(),
            noise_std: self.noise_variance().sqrt(),
            dim: Some(self.means.ncols()),
            seed: 0,
        })
        .ok()
    }

    /// The largest eigenvalue of Σ_xx, which limits the step size of gradient descent to 2/λ.
    pub fn largest_eigenvalue(&self) -> Result<f64> {
        let second = self.moments.sigma_xx();
        let d = second.nrows();
        let values = second.self_adjoint_eigenvalues(Side::Lower).map_err(|_| Error::Svd { rows: d, cols: d })?;
        Ok(values.into_iter().fold(0.0, f64::max))
    }
}

/// A part of the strongest component below which a component is what rounding left of centring the features.
const ROUNDING: f64 = 1e-10;

/// The matrix without such components.
fn truncated(matrix: Mat<f64>) -> Result<Mat<f64>> {
    let (rows, cols) = matrix.shape();
    if !matrix.as_ref().is_all_finite() {
        // Refused, with its name, where the moments are made.
        return Ok(matrix);
    }
    let svd = matrix.thin_svd().map_err(|_| Error::Svd { rows, cols })?;
    let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
    let rank = values.iter().take_while(|value| **value > ROUNDING * values[0]).count();
    if rank == values.len() {
        return Ok(matrix);
    }
    let left = Mat::from_fn(rows, rank, |i, j| svd.U()[(i, j)] * values[j]);
    let mut kept = Mat::zeros(rows, cols);
    multiply(kept.as_mut(), Accum::Replace, left.as_ref(), svd.V().subcols(0, rank).transpose(), 1.0);
    Ok(kept)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::population::Population;
    use super::*;

    /// The mixture, its moments by class, and E\[(v_jᵀ x)² | c\].
    pub(crate) fn of_mixture(config: MixtureConfig) -> (Mixture, LabelledMoments, Mat<f64>) {
        let mixture = Mixture::new(config).expect("valid");
        let population = Population::of_mixture(&mixture).expect("small");
        let data = population.moments().expect("valid");
        let seconds = population.projected(data.moments().right());
        (mixture, data, seconds)
    }

    fn example() -> (Mixture, LabelledMoments) {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 2.0, noise_std: 0.5, dim: Some(6), seed: 4 };
        let (mixture, data, _) = of_mixture(config);
        (mixture, data)
    }

    #[test]
    fn a_mixture_is_found_again() {
        let (mixture, data) = example();
        let found = data.idealized().expect("a mixture");
        assert!((found.mean_norm() - mixture.mean_norm()).abs() < 1e-12);
        assert!((found.noise_std() - mixture.noise_std()).abs() < 1e-12);
        assert_eq!(data.minority(), [2]);
        assert!((data.imbalance() - 2.5).abs() < 1e-12 && data.largest_cosine() < 1e-12);
        for (class, found) in data.matches().into_iter().enumerate() {
            assert_eq!(found.component, class);
            assert!((found.overlap - 1.0).abs() < 1e-12);
        }
        let within = data.within();
        assert!((within[(0, 0)] - 0.25).abs() < 1e-12 && within[(0, 1)].abs() < 1e-12);
        let (measures, trust) = trust(&data);
        assert!(measures.iter().all(|measure| measure.within), "{measures:?}");
        assert_eq!(trust, Trust::Whole);
    }

    #[test]
    fn what_rounding_leaves_of_centring_is_no_component() {
        let (mixture, data) = example();
        let (k, d) = (3, 6);
        // Centred: the means' weighted sum is zero up to an error of 1e-14.
        let mean = |i: usize| (0..k).map(|c| data.priors()[c] * data.means()[(c, i)]).sum::<f64>();
        let means = Mat::from_fn(k, d, |c, i| data.means()[(c, i)] - mean(i) + if i == 0 { 1e-14 } else { 0.0 });
        let second = Mat::from_fn(d, d, |i, j| data.moments().sigma_xx()[(i, j)] - mean(i) * mean(j));
        let centred = LabelledMoments::new(data.counts().to_vec(), means, second, data.variances().to_vec()).expect("valid");
        assert_eq!((mixture.classes(), centred.components().len()), (3, 2));
    }

    #[test]
    fn bad_moments_are_refused() {
        let (_, data) = example();
        let second = || data.moments().sigma_xx().to_owned();
        let cases = [
            LabelledMoments::new(vec![5], Mat::zeros(1, 6), second(), vec![1.0]),
            LabelledMoments::new(vec![5, 0], Mat::zeros(2, 6), second(), vec![1.0; 2]),
            LabelledMoments::new(vec![5, 2], Mat::zeros(3, 6), second(), vec![1.0; 2]),
            LabelledMoments::new(vec![5, 2], Mat::zeros(2, 6), second(), vec![1.0; 2]),
            LabelledMoments::new(vec![5, 2], Mat::identity(2, 6), second(), vec![1.0, f64::NAN]),
            LabelledMoments::new(vec![5, 2], Mat::identity(2, 5), second(), vec![1.0; 2]),
        ];
        for case in cases {
            let error = case.expect_err("must be rejected").to_string();
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
