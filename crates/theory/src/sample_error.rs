//! The leading terms of what a finite sample does to a trajectory.

use crate::mixture::Mixture;
use crate::part::{Part, part};

/// The standard deviation of √n (α̂_c(t) − α_c(t)) for gradient descent from W(0) = 0 on the moments of n examples, as n → ∞, for each
/// class; `time` ≥ 0, and ∞ gives that of the limits a_c*, which all rules share.
///
/// To first order α̂_c − α_c = f δyx_cc + s_yx,c f′ δxx_cc with f(s) = (1 − e^{−s t})/s at s = s_xx,c: only the two diagonal entries of the
/// moments' errors enter, and they are means of independent terms. With u = v_cᵀ x (module [`crate::derivations::finite_samples`]):
/// Var = f² V₁ + 2 f g C + g² V₂, g = s_yx,c f′, V₁ = p(μ² + σ²) − p²μ², C = p(μ³ + 3μσ²) − pμ(pμ² + σ²),
/// V₂ = p(μ⁴ + 6μ²σ² + 3σ⁴) + (1 − p) 3σ⁴ − (pμ² + σ²)².
pub fn gd_sampling_deviation(mixture: &Mixture, time: f64) -> Vec<f64> {
    let (mu, var) = (mixture.mean_norm(), mixture.noise_std().powi(2));
    let square = mu * mu;
    mixture
        .priors()
        .iter()
        .map(|&p| {
            let (s_yx, s_xx) = (mu * p, p * square + var);
            let decay = (-s_xx * time).exp();
            let response = if time.is_finite() { -(-s_xx * time).exp_m1() / s_xx } else { 1.0 / s_xx };
            let slope = if time.is_finite() { (time * decay - response) / s_xx } else { -1.0 / (s_xx * s_xx) };
            let weight = s_yx * slope;
            let cross = p * (square + var) - p * p * square;
            let mixed = p * mu * (square + 3.0 * var) - p * mu * s_xx;
            let fourth = p * (square * square + 6.0 * square * var + 3.0 * var * var) + (1.0 - p) * 3.0 * var * var;
            let second = fourth - s_xx * s_xx;
            (part(Part::SampleCross, response * response * cross)
                + part(Part::SampleMixed, 2.0 * response * weight * mixed)
                + part(Part::SampleSecond, weight * weight * second))
            .sqrt()
        })
        .collect()
}

/// lim n (1 − E\[α̂_c(t)\]/t) for `SpecGD` before its first saturation, for each class:
/// (1/(2 SNR)) \[Σ_{j≠c} 1/(p_c + p_j) + (d − k)/p_c\].
///
/// There W = t polar(Σ̂_yx), and the polar factor of a diagonal matrix changes on its diagonal only to second order: the components'
/// rates are insensitive to sampling, with a loss of order 1/n where gradient descent errs by 1/√n. A rare class needs
/// n ≫ (d − k)/(2 SNR p_c) examples (module [`crate::derivations::finite_samples`]).
pub fn specgd_rate_loss(mixture: &Mixture) -> Vec<f64> {
    let priors = mixture.priors();
    let beyond = (mixture.dim() - mixture.classes()) as f64;
    (0..priors.len())
        .map(|c| {
            let others: f64 = (0..priors.len()).filter(|&j| j != c).map(|j| 1.0 / (priors[c] + priors[j])).sum();
            (part(Part::RotationWithin, others) + part(Part::RotationBeyond, beyond / priors[c])) / (2.0 * mixture.snr())
        })
        .collect()
}

/// α̂_c(t)/t for `SpecGD` before its first saturation when n is of the order of d or below it: (1 + (d − k)/(SNR p_c n))^{−1/2}, for
/// each class.
///
/// A row of Σ̂_yx has the signal μ p_c along v_c and noise of length σ √(p_c (d − k)/n) outside the span of the means. Noise of
/// different rows comes from different examples and is nearly orthogonal in high dimension, so the polar factor normalizes
/// the rows. Rotations within the span are left out: they cost 1/n without a factor d.
pub fn specgd_rate_share(mixture: &Mixture, samples: usize) -> Vec<f64> {
    let beyond = (mixture.dim() - mixture.classes()) as f64;
    let share = |p: &f64| (1.0 + part(Part::NoiseShare, beyond / (mixture.snr() * p * samples as f64))).sqrt().recip();
    mixture.priors().iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::MixtureConfig;

    fn mixture(noise_std: f64) -> Mixture {
        let config = MixtureConfig { priors: vec![0.7, 0.3], mean_norm: 2.0, noise_std, dim: Some(5), seed: 0 };
        Mixture::new(config).expect("valid")
    }

    #[test]
    fn late_times_tend_to_the_limit_and_early_ones_to_the_cross_moment() {
        let mixture = mixture(1.0);
        for (late, limit) in gd_sampling_deviation(&mixture, 60.0).iter().zip(gd_sampling_deviation(&mixture, f64::INFINITY)) {
            assert!((late / limit - 1.0).abs() < 1e-12);
        }
        // α ≈ t Σ_yx,cc: variance t² (p(μ² + σ²) − p²μ²).
        let t = 1e-6;
        let early = gd_sampling_deviation(&mixture, t)[1];
        assert!((early / t - (0.3 * 5.0 - 0.36_f64).sqrt()).abs() < 1e-5);
        assert!(gd_sampling_deviation(&mixture, 0.0).iter().all(|value| *value == 0.0));
    }

    #[test]
    fn without_noise_only_the_class_frequencies_are_random() {
        // a* = μp/(μ²p) = 1/μ whatever the frequencies.
        assert!(gd_sampling_deviation(&mixture(1e-8), f64::INFINITY).iter().all(|value| *value < 1e-7));
    }

    #[test]
    fn the_rate_loss_by_hand() {
        // SNR = 4: (1/8) (1/1 + 3/0.7).
        assert!((specgd_rate_loss(&mixture(1.0))[0] - 0.125 * (1.0 + 3.0 / 0.7)).abs() < 1e-14);
        // The share has the part beyond the span of the means for large n.
        let (n, share) = (1_000_000_u32, specgd_rate_share(&mixture(1.0), 1_000_000)[0]);
        assert!((f64::from(n) * (1.0 - share) - 0.125 * 3.0 / 0.7).abs() < 1e-5);
    }
}
