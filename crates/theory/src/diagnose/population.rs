//! Exact moments of Gaussian classes with any means and covariances, for checks of the diagnosis.

use faer::{Mat, MatRef};

use super::LabelledMoments;
use crate::error::Result;
use crate::mixture::Mixture;

/// Gaussian classes: x | c ~ N(m_c, C_c).
#[derive(Debug, Clone)]
pub(crate) struct Population {
    pub(crate) counts: Vec<usize>,
    /// k×d.
    pub(crate) means: Mat<f64>,
    /// C_c, d×d.
    pub(crate) covariances: Vec<Mat<f64>>,
}

impl Population {
    /// The classes of the data model; a million samples, so that the counts give its priors.
    pub(crate) fn of_mixture(mixture: &Mixture) -> Result<Self> {
        let matrices = mixture.matrix_moments()?;
        let (k, d) = (mixture.classes(), mixture.dim());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a million times a probability")]
        let counts = mixture.priors().iter().map(|prior| (1e6 * prior).round() as usize).collect();
        let means = Mat::from_fn(k, d, |class, i| mixture.mean_norm() * matrices.right()[(i, class)]);
        let variance = mixture.noise_std().powi(2);
        let covariances = vec![Mat::from_fn(d, d, |i, j| if i == j { variance } else { 0.0 }); k];
        Ok(Self { counts, means, covariances })
    }

    /// E\[x xᵀ | c\] = C_c + m_c m_cᵀ.
    pub(crate) fn second(&self, class: usize) -> Mat<f64> {
        let d = self.means.ncols();
        Mat::from_fn(d, d, |i, j| self.covariances[class][(i, j)] + self.means[(class, i)] * self.means[(class, j)])
    }

    pub(crate) fn moments(&self) -> Result<LabelledMoments> {
        let d = self.means.ncols();
        let total: f64 = self.counts.iter().map(|&count| count as f64).sum();
        let mut second = Mat::zeros(d, d);
        for (class, &count) in self.counts.iter().enumerate() {
            let weight = count as f64 / total;
            second += faer::Scale(weight) * self.second(class);
        }
        let variances = self.covariances.iter().map(|covariance| (0..d).map(|i| covariance[(i, i)]).sum()).collect();
        LabelledMoments::new(self.counts.clone(), self.means.clone(), second, variances)
    }

    /// E\[(v_jᵀ x)² | c\], r×k.
    pub(crate) fn projected(&self, directions: MatRef<'_, f64>) -> Mat<f64> {
        let images: Vec<Mat<f64>> = (0..self.counts.len()).map(|class| self.second(class) * directions).collect();
        Mat::from_fn(directions.ncols(), self.counts.len(), |j, class| {
            directions.col(j).iter().zip(images[class].col(j).iter()).map(|(v, image)| v * image).sum()
        })
    }

    /// ½ E‖e_c − W x‖² for each class, without any assumption on W (k×d).
    pub(crate) fn losses(&self, weights: MatRef<'_, f64>) -> Vec<f64> {
        (0..self.counts.len())
            .map(|class| {
                let outputs = weights * self.means.row(class).transpose();
                let image = weights * self.second(class);
                let mut square = 0.0;
                for j in 0..weights.ncols() {
                    for i in 0..weights.nrows() {
                        square += image[(i, j)] * weights[(i, j)];
                    }
                }
                0.5 * (1.0 - 2.0 * outputs[class] + square)
            })
            .collect()
    }
}
