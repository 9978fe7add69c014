use faer::{Accum, Mat};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::multiply;
use crate::mixture::{SCALE, check_priors, check_scale};
use crate::moments::MatrixMoments;

/// The largest |cosine| of the angle between two class means that counts as orthogonal.
///
/// The gradient-descent trajectories α_c move by the square of it (see [`crate::derivations::condition_1`]), far below what a
/// file with six digits can say.
pub const ORTHOGONAL: f64 = 1e-6;

/// A Gaussian mixture with any class means: k classes with priors p_c, x | y = c ~ N(μ_c, σ² I_d), one-hot labels.
///
/// Its moments are Σ_yx = Σ_c p_c e_c μ_cᵀ and Σ_xx = Σ_c p_c μ_c μ_cᵀ + σ² I. When the means are orthogonal, of equal length or not,
/// they satisfy Condition 1 (arXiv 2510.22980) with U = I, v_c = μ_c/‖μ_c‖, s_yx,c = p_c ‖μ_c‖ and s_xx,c = p_c ‖μ_c‖² + σ²: all closed
/// forms of the trajectories hold, component c is class c, and the order of the components is that of p_c ‖μ_c‖ instead of that
/// of the priors alone. The paper's theorems on losses are about equal lengths: they need a [`crate::Mixture`].
///
/// When the means are not orthogonal there is only the simulation. (With *equal* priors Condition 1 still holds, in the singular
/// bases of the matrix of means, because Σ_yxᵀ Σ_yx = Mᵀ M/k² and Σ_xx = Mᵀ M/k + σ² I commute: give the moments as matrices for
/// the closed form of those components, which are then not the classes.)
///
/// ```
/// use isorate_theory::GaussianMixture;
///
/// let mixture = GaussianMixture::new(vec![0.8, 0.2], &[vec![3.0, 0.0, 4.0], vec![0.0, 2.0, 0.0]], 1.0)?;
/// // s_yx = p ‖μ‖, s_xx = p ‖μ‖² + σ²
/// assert_eq!(mixture.components()?.s_yx(), [4.0, 0.4]);
/// assert_eq!(mixture.components()?.s_xx(), [21.0, 1.8]);
/// let oblique = GaussianMixture::new(vec![0.8, 0.2], &[vec![1.0, 0.0], vec![3.0, 4.0]], 1.0)?;
/// assert!(oblique.components().is_err_and(|error| error.to_string().contains("cosine 0.6")));
/// # Ok::<(), isorate_theory::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianMixture {
    priors: Vec<f64>,
    /// k×d.
    means: Mat<f64>,
    norms: Vec<f64>,
    noise_std: f64,
}

impl GaussianMixture {
    /// Checks priors, means (`means[c]` is μ_c ∈ R^d, not zero) and the noise's standard deviation σ.
    pub fn new(priors: Vec<f64>, means: &[Vec<f64>], noise_std: f64) -> Result<Self> {
        check_priors(&priors)?;
        check_scale("noise_std", noise_std)?;
        if means.len() != priors.len() {
            return Err(Error::setting(
                "means",
                format_args!("{} rows", means.len()),
                format!("must have one mean for each of the {} priors", priors.len()),
                "give as many means as priors",
            ));
        }
        let dim = means[0].len();
        let mut norms = Vec::with_capacity(means.len());
        for (class, mean) in means.iter().enumerate() {
            if mean.is_empty() || mean.len() != dim {
                return Err(Error::setting(
                    format!("means[{class}]"),
                    mean,
                    format!("every mean must have the same number of entries, at least one; means[0] has {dim}"),
                    "give one number for each dimension of the inputs",
                ));
            }
            // norm_l2 scales: no square overflows.
            let norm = Mat::from_fn(dim, 1, |i, _| mean[i]).norm_l2();
            if !(mean.iter().all(|x| x.is_finite()) && SCALE.contains(&norm)) {
                return Err(Error::setting(
                    format!("means[{class}]"),
                    mean,
                    format!("every entry must be finite, and the mean's length from {:e} to {:e}", SCALE.start(), SCALE.end()),
                    "a class whose mean is 0 has no direction to learn",
                ));
            }
            norms.push(norm);
        }
        let means = Mat::from_fn(priors.len(), dim, |c, i| means[c][i]);
        Ok(Self { priors, means, norms, noise_std })
    }

    /// The number k of classes.
    pub fn classes(&self) -> usize {
        self.priors.len()
    }

    /// The dimension d of the inputs.
    pub fn dim(&self) -> usize {
        self.means.ncols()
    }

    /// The pair of classes whose means are the farthest from orthogonal, with the cosine of their angle.
    pub fn least_orthogonal(&self) -> (usize, usize, f64) {
        let mut worst = (0, 1, 0.0_f64);
        for i in 0..self.classes() {
            for j in i + 1..self.classes() {
                let cosine: f64 =
                    (0..self.dim()).map(|x| self.means[(i, x)] / self.norms[i] * (self.means[(j, x)] / self.norms[j])).sum();
                if cosine.abs() > worst.2.abs() {
                    worst = (i, j, cosine);
                }
            }
        }
        worst
    }

    /// s_yx,c = p_c ‖μ_c‖ and s_xx,c = p_c ‖μ_c‖² + σ², in class order. Fails unless the means are orthogonal to [`ORTHOGONAL`].
    pub fn components(&self) -> Result<Components> {
        let (first, second, cosine) = self.least_orthogonal();
        if cosine.abs() > ORTHOGONAL {
            return Err(Error::NotOrthogonal { first, second, cosine, bound: ORTHOGONAL });
        }
        let pairs = || self.priors.iter().zip(&self.norms);
        Components::new(
            pairs().map(|(p, norm)| p * norm).collect(),
            pairs().map(|(p, norm)| p * norm * norm + self.noise_std * self.noise_std).collect(),
            self.dim(),
        )
    }

    /// Σ_yx and Σ_xx as matrices, built class by class; their bases are those of [`MatrixMoments::given`]. Fails for a dimension too
    /// large to hold d×d moments.
    pub fn matrix_moments(&self) -> Result<MatrixMoments> {
        let (k, d) = (self.classes(), self.dim());
        MatrixMoments::check_dim(d)?;
        let cross = Mat::from_fn(k, d, |c, i| self.priors[c] * self.means[(c, i)]);
        let variance = self.noise_std * self.noise_std;
        let mut second = Mat::from_fn(d, d, |i, j| if i == j { variance } else { 0.0 });
        multiply(second.as_mut(), Accum::Add, cross.transpose(), self.means.as_ref(), 1.0);
        MatrixMoments::given(cross, second)
    }

    /// Priors, means by class and σ.
    pub(crate) fn parts(&self) -> (Vec<f64>, Vec<Vec<f64>>, f64) {
        let means = (0..self.classes()).map(|c| (0..self.dim()).map(|i| self.means[(c, i)]).collect()).collect();
        (self.priors.clone(), means, self.noise_std)
    }

    /// α_c = e_cᵀ W μ_c/‖μ_c‖ of W ∈ R^{k×d}: what output c answers to the direction of its own class. For orthogonal means that is
    /// \[Uᵀ W V\]_cc.
    pub(crate) fn alpha(&self, weights: faer::MatRef<'_, f64>) -> Vec<f64> {
        (0..self.classes())
            .map(|c| (0..self.dim()).map(|i| weights[(c, i)] * (self.means[(c, i)] / self.norms[c])).sum())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::{Mixture, MixtureConfig};

    #[test]
    fn equal_lengths_are_the_data_model() {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.3, noise_std: 0.7, dim: Some(5), seed: 4 };
        let mixture = Mixture::new(config).expect("valid");
        let moments = mixture.matrix_moments().expect("small");
        let means: Vec<Vec<f64>> = (0..3).map(|c| (0..5).map(|i| 1.3 * moments.right()[(i, c)]).collect()).collect();
        let general = GaussianMixture::new(vec![0.5, 0.3, 0.2], &means, 0.7).expect("valid");
        for (a, b) in general.components().expect("orthogonal").pairs().zip(mixture.components().pairs()) {
            assert!((a.0 - b.0).abs() < 1e-15 && (a.1 - b.1).abs() < 1e-15);
        }
        let dense = general.matrix_moments().expect("small");
        assert!((dense.sigma_xx() - moments.sigma_xx()).norm_max() < 1e-15);
        assert!((dense.sigma_yx() - moments.sigma_yx()).norm_max() < 1e-15);
    }

    #[test]
    fn with_equal_priors_condition_1_holds_whatever_the_means() {
        let means = vec![vec![1.0, 0.2, 0.0], vec![0.5, 1.0, 0.3], vec![-0.4, 0.1, 2.0]];
        let equal = GaussianMixture::new(vec![1.0 / 3.0; 3], &means, 0.8).expect("valid");
        assert!(equal.components().is_err());
        assert!(equal.matrix_moments().expect("small").condition1_residual() < 1e-14);
        let unequal = GaussianMixture::new(vec![0.6, 0.3, 0.1], &means, 0.8).expect("valid");
        assert!(unequal.matrix_moments().expect("small").condition1_residual() > 1e-2);
    }

    #[test]
    fn errors_name_the_class_and_the_rule() {
        let message = |priors: &[f64], means: &[&[f64]], noise| {
            let means: Vec<Vec<f64>> = means.iter().map(|mean| mean.to_vec()).collect();
            GaussianMixture::new(priors.to_vec(), &means, noise)
                .and_then(|mixture| mixture.components())
                .expect_err("must be rejected")
                .to_string()
        };
        let half = [0.5, 0.5];
        let texts = [
            message(&half, &[&[1.0, 0.0]], 1.0),
            message(&half, &[], 1.0),
            message(&half, &[&[1.0, 0.0], &[0.0]], 1.0),
            message(&half, &[&[], &[]], 1.0),
            message(&half, &[&[1.0, f64::NAN], &[0.0, 1.0]], 1.0),
            message(&half, &[&[1.0, 0.0], &[0.0, 0.0]], 1.0),
            message(&half, &[&[1.0, 0.0], &[0.0, f64::INFINITY]], 1.0),
            message(&half, &[&[1.0, 0.0], &[0.0, 1.0]], -1.0),
            message(&[0.5, 0.6], &[&[1.0, 0.0], &[0.0, 1.0]], 1.0),
            message(&half, &[&[1.0], &[2.0]], 1.0),
            message(&[0.5, 0.3, 0.2], &[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, -3.0, 4.0]], 1.0),
        ];
        insta::assert_snapshot!(texts.join("\n\n"));
    }
}
