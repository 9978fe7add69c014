//! The softmax cross-entropy of a linear model: on a sample, and of a mixture's population.

use faer::{Accum, Mat, MatMut, MatRef, Side};
use rand_distr::{Distribution, StandardNormal};

use crate::error::{Error, Result};
use crate::linalg::{frobenius, multiply};
use crate::part::{Part, part};
use crate::random::{Purpose, stream};
use crate::sampling::{Sample, Sampler};

/// A loss of a linear model W ∈ R^{k×d} with its gradient.
pub(crate) trait Objective {
    /// Writes the gradient at W into `gradient` (k×d) and returns the loss in nats. `step` names the draws of an objective that is
    /// estimated anew at each step.
    fn gradient(&mut self, weights: MatRef<'_, f64>, step: usize, gradient: MatMut<'_, f64>) -> Result<f64>;

    /// √E‖x‖², the scale of the gradient's entries and of their rounding errors.
    fn input_scale(&self) -> f64;
}

/// The mean cross-entropy over a sample, L(W) = −(1/n) Σ_i log softmax(W x_i)_{y_i}, with ∇L = (1/n) (P − Y) Xᵀ, where the columns
/// of P are the probabilities softmax(W x_i) and those of Y the one-hot labels.
pub struct SampleLoss<'a> {
    sample: &'a Sample,
    /// W X, then P − Y; k×n.
    logits: Mat<f64>,
}

impl std::fmt::Debug for SampleLoss<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SampleLoss").field("samples", &self.sample.labels().len()).finish_non_exhaustive()
    }
}

impl<'a> SampleLoss<'a> {
    /// The loss on `sample`.
    pub fn new(sample: &'a Sample) -> Self {
        Self { sample, logits: Mat::zeros(sample.classes(), sample.labels().len()) }
    }

    /// The loss at W (k×d) in nats, and its gradient (k×d).
    ///
    /// # Panics
    /// If W has another shape.
    pub fn evaluate(&mut self, weights: MatRef<'_, f64>) -> (f64, Mat<f64>) {
        let mut gradient = Mat::zeros(weights.nrows(), weights.ncols());
        (self.write(weights, gradient.as_mut()), gradient)
    }

    fn write(&mut self, weights: MatRef<'_, f64>, gradient: MatMut<'_, f64>) -> f64 {
        let n = self.sample.labels().len() as f64;
        multiply(self.logits.as_mut(), Accum::Replace, weights, self.sample.features(), 1.0);
        let mut loss = 0.0;
        for (column, &label) in self.logits.col_iter_mut().zip(self.sample.labels()) {
            let column = column.try_as_col_major_mut().expect("columns are contiguous").as_slice_mut();
            loss -= softmax(column, label);
            column[label] -= 1.0;
        }
        multiply(gradient, Accum::Replace, self.logits.as_ref(), self.sample.features().transpose(), 1.0 / n);
        loss / n
    }
}

impl Objective for SampleLoss<'_> {
    fn gradient(&mut self, weights: MatRef<'_, f64>, _: usize, gradient: MatMut<'_, f64>) -> Result<f64> {
        Ok(self.write(weights, gradient))
    }

    fn input_scale(&self) -> f64 {
        frobenius(self.sample.features()) / (self.sample.labels().len() as f64).sqrt()
    }
}

/// Replaces logits by probabilities and returns log softmax(logits)_label, without overflow for any finite logits.
fn softmax(logits: &mut [f64], label: usize) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let chosen = logits[label] - largest;
    let mut sum = 0.0;
    for value in logits.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in logits {
        *value /= sum;
    }
    chosen - sum.ln()
}

/// The cross-entropy of a mixture's population.
///
/// Given y = c the logits W x are Gaussian in R^k, with mean W μ_c and covariance σ² W Wᵀ, and Stein's identity removes x from the
/// gradient (module [`crate::derivations::population_softmax`]):
/// ∇L = Σ_c p_c (E_c\[s\] − e_c) μ_cᵀ + σ² Σ_c p_c E_c\[diag(s) − s sᵀ\] W, s = softmax(W x). Only k-dimensional Gaussian expectations
/// are left. They are estimated with `draws` antithetic pairs that are drawn anew at each step; the priors and the means enter
/// exactly, and no noise leaves the span of the means.
#[derive(Debug)]
pub struct PopulationLoss<'a> {
    sampler: &'a Sampler,
    means: Mat<f64>,
    draws: usize,
    seed: u64,
    noise: Mat<f64>,
    spread: Mat<f64>,
    probabilities: Mat<f64>,
}

impl<'a> PopulationLoss<'a> {
    /// The loss over the mixture of `sampler`; `draws` ≥ 1 antithetic pairs for each class and step.
    pub fn new(sampler: &'a Sampler, draws: usize, seed: u64) -> Result<Self> {
        if !(1..=1 << 20).contains(&draws) {
            return Err(Error::setting(
                "draws",
                draws,
                "must be from 1 to 2^20",
                "a few hundred pairs for each class are enough",
            ));
        }
        let k = sampler.mixture().classes();
        let zeros = || Mat::zeros(k, 2 * draws);
        let (noise, spread, probabilities) = (zeros(), zeros(), zeros());
        Ok(Self { sampler, means: sampler.class_means(), draws, seed, noise, spread, probabilities })
    }

    /// The loss at W (k×d) in nats, and its gradient (k×d), with the draws of `step`. Fails if W is not finite.
    ///
    /// # Panics
    /// If W has another shape.
    pub fn evaluate(&mut self, weights: MatRef<'_, f64>, step: usize) -> Result<(f64, Mat<f64>)> {
        let mut gradient = Mat::zeros(weights.nrows(), weights.ncols());
        let loss = self.gradient(weights, step, gradient.as_mut())?;
        Ok((loss, gradient))
    }
}

impl Objective for PopulationLoss<'_> {
    fn gradient(&mut self, weights: MatRef<'_, f64>, step: usize, mut gradient: MatMut<'_, f64>) -> Result<f64> {
        let mixture = self.sampler.mixture();
        let k = mixture.classes();
        let mut rng = stream(self.seed, Purpose::PopulationDraws, step);
        for j in 0..self.draws {
            for i in 0..k {
                let draw: f64 = StandardNormal.sample(&mut rng);
                self.noise[(i, 2 * j)] = draw;
                self.noise[(i, 2 * j + 1)] = -draw;
            }
        }
        let root = covariance_root(weights)?;
        multiply(self.spread.as_mut(), Accum::Replace, root.as_ref(), self.noise.as_ref(), mixture.noise_std());
        let mut centres = Mat::zeros(k, k);
        multiply(centres.as_mut(), Accum::Replace, weights, self.means.as_ref(), 1.0);

        // Σ_c p_c (E_c[s] − e_c) e_cᵀ and Σ_c p_c E_c[diag(s) − s sᵀ].
        let (mut errors, mut jacobian) = (Mat::<f64>::zeros(k, k), Mat::<f64>::zeros(k, k));
        let mut loss = 0.0;
        let each = 0.5 / self.draws as f64;
        for (class, &prior) in mixture.priors().iter().enumerate() {
            for (column, spread) in self.probabilities.col_iter_mut().zip(self.spread.col_iter()) {
                let column = column.try_as_col_major_mut().expect("columns are contiguous").as_slice_mut();
                for ((logit, centre), spread) in column.iter_mut().zip(centres.col(class).iter()).zip(spread.iter()) {
                    *logit = centre + spread;
                }
                loss -= prior * each * softmax(column, class);
                for (i, &probability) in column.iter().enumerate() {
                    errors[(i, class)] += prior * each * probability;
                    jacobian[(i, i)] += prior * each * probability;
                }
            }
            let probabilities = self.probabilities.as_ref();
            multiply(jacobian.as_mut(), Accum::Add, probabilities, probabilities.transpose(), -prior * each);
            errors[(class, class)] -= prior;
        }
        multiply(gradient.as_mut(), Accum::Replace, errors.as_ref(), self.means.transpose(), part(Part::SoftmaxMeans, 1.0));
        let variance = part(Part::SoftmaxNoise, mixture.noise_std().powi(2));
        multiply(gradient, Accum::Add, jacobian.as_ref(), weights, variance);
        Ok(loss)
    }

    fn input_scale(&self) -> f64 {
        let mixture = self.sampler.mixture();
        (mixture.mean_norm().powi(2) + mixture.dim() as f64 * mixture.noise_std().powi(2)).sqrt()
    }
}

/// (W Wᵀ)^{1/2}, the symmetric root: with it the logits' noise σ W z has the law of σ (W Wᵀ)^{1/2} g, g ~ N(0, I_k).
pub(crate) fn covariance_root(weights: MatRef<'_, f64>) -> Result<Mat<f64>> {
    let (k, d) = weights.shape();
    let failed = || Error::Svd { rows: k, cols: d };
    if !weights.is_all_finite() {
        return Err(failed());
    }
    let mut gram = Mat::zeros(k, k);
    multiply(gram.as_mut(), Accum::Replace, weights, weights.transpose(), 1.0);
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| failed())?;
    let values = eigen.S().column_vector();
    let scaled = Mat::from_fn(k, k, |i, j| eigen.U()[(i, j)] * values[j].max(0.0).sqrt());
    let mut root = Mat::zeros(k, k);
    multiply(root.as_mut(), Accum::Replace, scaled.as_ref(), eigen.U().transpose(), 1.0);
    Ok(root)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::{Mixture, MixtureConfig};

    fn sampler() -> Sampler {
        let config = MixtureConfig { priors: vec![0.6, 0.3, 0.1], mean_norm: 1.5, noise_std: 0.8, dim: Some(5), seed: 3 };
        let mixture = Mixture::new(config).expect("valid");
        Sampler::new(&mixture, &mixture.matrix_moments().expect("small")).expect("fits")
    }

    fn weights() -> Mat<f64> {
        Mat::from_fn(3, 5, |i, j| ((7 * i + 3 * j) as f64).sin())
    }

    /// Central differences of the loss, whose error is about h² + ε/h.
    fn differences(loss: &mut dyn FnMut(MatRef<'_, f64>) -> f64) -> Mat<f64> {
        let h = 1e-5;
        Mat::from_fn(3, 5, |i, j| {
            let mut moved = |by: f64| {
                let mut weights = weights();
                weights[(i, j)] += by;
                loss(weights.as_ref())
            };
            (moved(h) - moved(-h)) / (2.0 * h)
        })
    }

    #[test]
    fn the_gradient_on_a_sample_is_the_difference_quotient() {
        let sample = sampler().sample(50, 1, 0).expect("drawn");
        let mut objective = SampleLoss::new(&sample);
        let (loss, gradient) = objective.evaluate(weights().as_ref());
        let expected = differences(&mut |w| objective.evaluate(w).0);
        assert!(frobenius((gradient.as_ref() - expected.as_ref()).as_ref()) < 1e-9);
        // One example by hand.
        let logits = weights() * sample.features();
        let by_hand: f64 =
            (0..50).map(|i| (0..3).map(|c| logits[(c, i)].exp()).sum::<f64>().ln() - logits[(sample.labels()[i], i)]).sum();
        assert!((loss - by_hand / 50.0).abs() < 1e-13);
        // The rows of the gradient sum to zero: probabilities and labels both sum to one.
        for j in 0..5 {
            assert!((0..3).map(|i| gradient[(i, j)]).sum::<f64>().abs() < 1e-14);
        }
    }

    #[test]
    fn at_zero_the_loss_is_the_logarithm_of_the_classes() {
        let sampler = sampler();
        let sample = sampler.sample(200, 1, 0).expect("drawn");
        let zero = Mat::zeros(3, 5);
        assert!((SampleLoss::new(&sample).evaluate(zero.as_ref()).0 - 3.0_f64.ln()).abs() < 1e-14);
        let (loss, gradient) = PopulationLoss::new(&sampler, 4, 0).expect("valid").evaluate(zero.as_ref(), 0).expect("finite");
        assert!((loss - 3.0_f64.ln()).abs() < 1e-14);
        // Σ_c p_c (1/k − e_c) μ_cᵀ, exactly: at zero no logit is random.
        let means = sampler.class_means();
        for i in 0..3 {
            for j in 0..5 {
                let expected: f64 = [0.6, 0.3, 0.1]
                    .iter()
                    .enumerate()
                    .map(|(c, p)| p * (1.0 / 3.0 - f64::from(u8::from(c == i))) * means[(j, c)])
                    .sum();
                assert!((gradient[(i, j)] - expected).abs() < 1e-14);
            }
        }
    }

    #[test]
    fn huge_logits_are_no_overflow() {
        let mut logits = [1e300, -1e300, 0.0];
        let log = softmax(&mut logits, 1);
        assert!((log + 2e300).abs() < 1e285);
        assert!(logits.iter().zip([1.0, 0.0, 0.0]).all(|(value, expected): (&f64, f64)| (value - expected).abs() < 1e-15));
    }

    #[test]
    fn bad_input() {
        assert!(PopulationLoss::new(&sampler(), 0, 0).is_err());
        let broken = Mat::from_fn(3, 5, |_, _| f64::NAN);
        assert!(PopulationLoss::new(&sampler(), 2, 0).expect("valid").evaluate(broken.as_ref(), 0).is_err());
    }
}
