use faer::{Mat, MatRef};

use crate::mixture::Mixture;
use crate::moments::MatrixMoments;
use crate::part::{Part, part};

/// Losses of one iterate with aligned components α.
#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    /// L_c for each class in order.
    pub classes: Vec<f64>,
    /// L_m, the loss of the minority class.
    pub minority: f64,
    /// L_bal = (1/k) Σ_c L_c.
    pub balanced: f64,
}

/// The population losses of an aligned iterate W = U diag(α) Vᵀ on the mixture:
/// L_c = ½ E\[‖e_c − W x‖² | y = c\] = ½ \[(1 − μ α_c)² + σ² Σ_j α_j²\] (arXiv 2510.22980, before Theorem 1; no constant has to
/// be dropped in this form). `alpha` has one entry for each class.
pub fn losses(mixture: &Mixture, alpha: &[f64]) -> Losses {
    let noise = part(Part::LossNoise, mixture.noise_std().powi(2) * alpha.iter().map(|a| a * a).sum::<f64>());
    let signal = |a: f64| part(Part::LossSignal, mixture.mean_norm() * a);
    let classes = alpha.iter().map(|&a| 0.5 * ((1.0 - signal(a)).powi(2) + noise)).collect();
    collect(mixture, classes)
}

/// The same losses from matrices, without any assumption on W ∈ R^{k×d}:
/// ½ E\[‖e_c − W x‖² | y = c\] = ½ (‖e_c − W μ_c‖² + σ² ‖W‖_F²) with the means μ_c = μ v_c of `moments`.
///
/// The labels are e_c, so `moments` must have U = I, as [`Mixture::matrix_moments`] has.
pub fn matrix_losses(mixture: &Mixture, moments: &MatrixMoments, weights: MatRef<'_, f64>) -> Losses {
    let k = mixture.classes();
    let outputs: Mat<f64> = weights * moments.right();
    let noise = mixture.noise_std().powi(2) * weights.squared_norm_l2();
    let classes = (0..k)
        .map(|class| {
            let error: f64 = (0..k)
                .map(|row| {
                    let label = if row == class { 1.0 } else { 0.0 };
                    (label - mixture.mean_norm() * outputs[(row, class)]).powi(2)
                })
                .sum();
            0.5 * (error + noise)
        })
        .collect();
    collect(mixture, classes)
}

fn collect(mixture: &Mixture, classes: Vec<f64>) -> Losses {
    let minority = classes[mixture.minority()];
    let balanced = classes.iter().sum::<f64>() / classes.len() as f64;
    Losses { classes, minority, balanced }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::mixture::MixtureConfig;
    use crate::random::{Purpose, stream};

    fn mixture() -> Mixture {
        Mixture::new(MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.4, noise_std: 0.6, dim: Some(5), seed: 3 })
            .expect("valid")
    }

    #[test]
    fn the_aligned_form_is_the_matrix_form() {
        let mixture = mixture();
        let moments = mixture.matrix_moments().expect("small");
        let alpha = [0.7, -0.2, 0.4];
        let weights = Mat::from_fn(3, 5, |i, j| alpha[i] * moments.right()[(j, i)]);
        let (a, b) = (losses(&mixture, &alpha), matrix_losses(&mixture, &moments, weights.as_ref()));
        for (a, b) in a.classes.iter().zip(&b.classes) {
            assert!((a - b).abs() < 1e-14);
        }
        assert!((a.minority - a.classes[2]).abs() < 1e-16);
        assert!((a.balanced - b.balanced).abs() < 1e-14);
    }

    #[test]
    fn the_matrix_form_is_the_expected_error() {
        // Samples of the mixture itself, for a W that is not aligned.
        let mixture = mixture();
        let moments = mixture.matrix_moments().expect("small");
        let mut rng = stream(5, Purpose::Means, 9);
        let weights = Mat::from_fn(3, 5, |_, _| {
            let entry: f64 = StandardNormal.sample(&mut rng);
            0.3 * entry
        });
        let exact = matrix_losses(&mixture, &moments, weights.as_ref());
        let samples = 100_000;
        for class in 0..3 {
            let mut sum = 0.0;
            for _ in 0..samples {
                let x = Mat::from_fn(5, 1, |i, _| {
                    let noise: f64 = StandardNormal.sample(&mut rng);
                    mixture.mean_norm() * moments.right()[(i, class)] + mixture.noise_std() * noise
                });
                let output = &weights * &x;
                sum += (0..3).map(|i| (if i == class { 1.0 } else { 0.0 } - output[(i, 0)]).powi(2)).sum::<f64>();
            }
            let mean = 0.5 * sum / f64::from(samples);
            assert!((mean / exact.classes[class] - 1.0).abs() < 0.02, "{mean} against {}", exact.classes[class]);
        }
    }
}
