use serde::{Deserialize, Serialize};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::part::{Part, part};

/// How far the priors' sum may be from 1.
const PRIOR_SUM_TOLERANCE: f64 = 1e-9;
/// Squares and products of the settings must neither overflow nor vanish.
pub(crate) const SCALE: std::ops::RangeInclusive<f64> = 1e-100..=1e100;
const SMALLEST_PRIOR: f64 = 1e-100;

/// A Gaussian mixture as written in a file; [`Mixture::new`] checks it. (Model files with
/// other keys are read by [`crate::Model::from_toml`].)
///
/// The keys are `priors`, `mean_norm`, `noise_std`, and optionally `dim` (default: the number of classes) and `seed`
/// (default 0); any other key is an error of the parser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureConfig {
    /// Class probabilities p_c, positive, with sum 1.
    pub priors: Vec<f64>,
    /// The common length μ of the orthogonal class means.
    pub mean_norm: f64,
    /// The standard deviation σ of the isotropic noise in each coordinate.
    pub noise_std: f64,
    /// The dimension d of the inputs, at least the number of classes; the number of classes if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// The seed of the random orthonormal directions of the means.
    #[serde(default)]
    pub seed: u64,
}

impl MixtureConfig {
    /// A mixture in as many dimensions as classes, with seed 0.
    pub fn new(priors: Vec<f64>, mean_norm: f64, noise_std: f64) -> Self {
        Self { priors, mean_norm, noise_std, dim: None, seed: 0 }
    }
}

/// The data model DM of arXiv 2510.22980: k classes with priors p_c and orthogonal means μ_c ∈ R^d of length μ,
/// x | y = c ~ N(μ_c, σ² I_d), one-hot labels.
///
/// It satisfies Condition 1 (joint diagonalization) with U = I, v_c = μ_c/μ and
/// s_yx,c = μ p_c, s_xx,c = μ² p_c + σ². A value of this type is valid: at least two classes, priors positive with sum 1
/// (within 1e-9), μ and σ positive, d ≥ k.
///
/// ```
/// use isorate_theory::{Mixture, MixtureConfig};
///
/// let mixture = Mixture::new(MixtureConfig {
///     priors: vec![0.5, 0.3, 0.2],
///     mean_norm: 1.0,
///     noise_std: 1.0,
///     dim: None,
///     seed: 0,
/// })?;
/// assert_eq!(mixture.minority(), 2);
/// // a_c* = μ p_c / (μ² p_c + σ²)
/// assert!((mixture.components().limits()[0] - 0.5 / 1.5).abs() < 1e-15);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    priors: Vec<f64>,
    mean_norm: f64,
    noise_std: f64,
    dim: usize,
    seed: u64,
}

impl Mixture {
    /// Checks a configuration.
    pub fn new(config: MixtureConfig) -> Result<Self> {
        let MixtureConfig { priors, mean_norm, noise_std, dim, seed } = config;
        check_priors(&priors)?;
        check_scale("mean_norm", mean_norm)?;
        check_scale("noise_std", noise_std)?;
        let classes = priors.len();
        let dim = dim.unwrap_or(classes);
        if dim < classes {
            return Err(Error::setting(
                "dim",
                dim,
                format!("more classes than dimensions: {classes} orthogonal means need dim >= {classes}"),
                "raise dim, or leave it out to use the number of classes",
            ));
        }
        Ok(Self { priors, mean_norm, noise_std, dim, seed })
    }

    /// The configuration that makes this mixture again.
    pub fn config(&self) -> MixtureConfig {
        MixtureConfig {
            priors: self.priors.clone(),
            mean_norm: self.mean_norm,
            noise_std: self.noise_std,
            dim: Some(self.dim),
            seed: self.seed,
        }
    }

    /// The number k of classes.
    pub fn classes(&self) -> usize {
        self.priors.len()
    }

    /// The class probabilities p_c.
    pub fn priors(&self) -> &[f64] {
        &self.priors
    }

    /// The common length μ of the class means.
    pub fn mean_norm(&self) -> f64 {
        self.mean_norm
    }

    /// The noise's standard deviation σ.
    pub fn noise_std(&self) -> f64 {
        self.noise_std
    }

    /// The dimension d of the inputs.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The seed of the directions of the means.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The signal-to-noise ratio SNR = μ²/σ².
    pub fn snr(&self) -> f64 {
        (self.mean_norm / self.noise_std).powi(2)
    }

    /// The minority class m = argmin p_c (the first of equals).
    pub fn minority(&self) -> usize {
        let mut best = 0;
        for (class, &prior) in self.priors.iter().enumerate() {
            if prior < self.priors[best] {
                best = class;
            }
        }
        best
    }

    /// The majority class M = argmax p_c (the first of equals).
    pub fn majority(&self) -> usize {
        let mut best = 0;
        for (class, &prior) in self.priors.iter().enumerate() {
            if prior > self.priors[best] {
                best = class;
            }
        }
        best
    }

    /// The spectral components s_yx,c = μ p_c and s_xx,c = μ² p_c + σ² (the lemma after Condition 1), in class order.
    pub fn components(&self) -> Components {
        let (mu, variance) = (self.mean_norm, self.noise_std * self.noise_std);
        let s_yx = self.priors.iter().map(|p| part(Part::LemmaCross, mu * p)).collect();
        let s_xx = self.priors.iter().map(|p| part(Part::LemmaSignal, mu * mu * p) + part(Part::LemmaNoise, variance)).collect();
        // The settings' range keeps every product positive and finite.
        Components::of_valid(s_yx, s_xx, self.dim)
    }

    /// t* = a_m*, the time at which `SpecGD` saturates the minority component and up to which the theorems speak.
    pub fn horizon(&self) -> f64 {
        self.components().limits()[self.minority()]
    }

    /// The times (a_c*)^{1/L} − w₀ at which the components saturate under `SpecGD` (arXiv 2510.22980, Proposition 2); 0 for a
    /// component that starts at or above its limit.
    ///
    /// In units of η steps. They tend to (a_c*)^{1/L} at the rate e^{−δ}, and with L → ∞ to 1: with every layer a component with
    /// a_c* < 1 saturates later, one with a_c* > 1 earlier. Since a_c* < 1/μ, every component saturates later when μ ≥ 1, the first condition of
    /// Theorems 1 and 2.
    pub fn saturation_times(&self, network: &Network) -> Vec<f64> {
        let root = part(Part::SaturationRoot, 1.0 / f64::from(network.exponent()));
        let start = part(Part::SaturationStart, network.layer_start());
        self.components().limits().iter().map(|limit| (limit.powf(root) - start).max(0.0)).collect()
    }

    /// ΔT = t_M/t_m − 1, the relative spread of the saturation times of the majority and the minority class under `SpecGD`:
    /// ((SNR + 1/p_m)/(SNR + 1/p_M))^{1/L} − 1 in the limit δ → ∞ (arXiv 2510.22980, after Proposition 2), times w_m/(w_m − w₀) for a finite δ,
    /// w_m = (a_m*)^{1/L}. So it tends to its limit from above, with the error ΔT w₀/(w_m − w₀) ≈ e^{−δ} ΔT/w_m. Infinite if the minority
    /// component starts at or above its limit.
    pub fn saturation_spread(&self, network: &Network) -> f64 {
        let term = |class: usize| part(Part::SpreadSnr, self.snr()) + part(Part::SpreadPrior, 1.0 / self.priors[class]);
        let root = part(Part::SpreadRoot, 1.0 / f64::from(network.exponent()));
        let limit = (root * (term(self.minority()) / term(self.majority())).ln()).exp_m1();
        let (layer, start) = (self.horizon().powf(1.0 / f64::from(network.exponent())), network.layer_start());
        if start < layer { limit + part(Part::SpreadStart, limit * start / (layer - start)) } else { f64::INFINITY }
    }

    /// Σ_yx and Σ_xx as matrices, with the directions of the means drawn from the seed. Fails for a `dim` too large to hold
    /// d×d moments.
    pub fn matrix_moments(&self) -> Result<MatrixMoments> {
        MatrixMoments::of_mixture(self)
    }

    /// The conditions of Theorems 1 and 2 that the mixture violates, each as one sentence; empty if the theorems apply.
    ///
    /// The conditions are μ ≥ 1, k ≥ 3μ and p_m ≤ 1/(5·SNR + 6k).
    pub fn violated_conditions(&self) -> Vec<String> {
        let (mu, k) = (self.mean_norm, self.classes() as f64);
        let minority = self.priors[self.minority()];
        let bound = 1.0 / (5.0 * self.snr() + 6.0 * k);
        let mut violated = Vec::new();
        if mu < 1.0 {
            violated.push(format!("μ ≥ 1 does not hold: μ = {mu}"));
        }
        if k < 3.0 * mu {
            violated.push(format!("k ≥ 3μ does not hold: k = {k}, μ = {mu}"));
        }
        if minority > bound {
            violated.push(format!("p_m ≤ 1/(5·SNR + 6k) = {bound} does not hold: p_m = {minority}"));
        }
        violated
    }
}

/// At least two classes, every prior positive, their sum 1.
pub(crate) fn check_priors(priors: &[f64]) -> Result<()> {
    if priors.len() < 2 {
        return Err(Error::setting(
            "priors",
            priors,
            "a mixture needs at least two classes",
            "give one probability for each class, such as [0.7, 0.3]",
        ));
    }
    if let Some((index, prior)) = priors.iter().enumerate().find(|(_, p)| !(p.is_finite() && **p >= SMALLEST_PRIOR)) {
        return Err(Error::setting(
            format!("priors[{index}]"),
            prior,
            format!("every prior must be positive (at least {SMALLEST_PRIOR:e}) and finite"),
            "leave out a class that has no examples",
        ));
    }
    let sum: f64 = priors.iter().sum();
    if (sum - 1.0).abs() > PRIOR_SUM_TOLERANCE {
        return Err(Error::setting(
            "priors",
            priors,
            format!("the priors must sum to 1 within {PRIOR_SUM_TOLERANCE:e}, their sum is {sum:?}"),
            "divide each prior by the sum",
        ));
    }
    Ok(())
}

/// A length, `mean_norm` or `noise_std`, is positive and neither too large nor too small to be squared.
pub(crate) fn check_scale(name: &'static str, value: f64) -> Result<()> {
    if SCALE.contains(&value) {
        return Ok(());
    }
    Err(Error::setting(
        name,
        value,
        format!("must be positive and finite, from {:e} to {:e}", SCALE.start(), SCALE.end()),
        if name == "noise_std" {
            "noiseless data have no finite signal-to-noise ratio: use a small value such as 1e-3"
        } else {
            "it is the length of the class means, such as 1.0"
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(priors: &[f64]) -> MixtureConfig {
        MixtureConfig { priors: priors.to_vec(), mean_norm: 1.0, noise_std: 1.0, dim: None, seed: 0 }
    }

    fn message(config: MixtureConfig) -> String {
        Mixture::new(config).expect_err("must be rejected").to_string()
    }

    #[test]
    fn errors_name_setting_value_rule_and_hint() {
        let empty = message(config(&[]));
        let one = message(config(&[1.0]));
        let negative = message(config(&[1.1, -0.1]));
        let sum = message(config(&[0.5, 0.4]));
        let noise = message(MixtureConfig { noise_std: 0.0, ..config(&[0.5, 0.5]) });
        let mean = message(MixtureConfig { mean_norm: f64::NAN, ..config(&[0.5, 0.5]) });
        let dim = message(MixtureConfig { dim: Some(1), ..config(&[0.5, 0.5]) });
        insta::assert_snapshot!([empty, one, negative, sum, noise, mean, dim].join("\n\n"));
    }

    #[test]
    fn the_sum_tolerance_is_where_it_says() {
        assert!(Mixture::new(config(&[0.5, 0.5 + 9e-10])).is_ok());
        assert!(Mixture::new(config(&[0.5, 0.5 + 2e-9])).is_err());
    }

    #[test]
    fn extremes_keep_finite_components() {
        for (mean_norm, noise_std, prior) in [(1e100, 1e-100, 1e-100), (1e-100, 1e100, 1e-12), (1e6, 1e-6, 1e-12)] {
            let mixture = Mixture::new(MixtureConfig { mean_norm, noise_std, ..config(&[1.0 - prior, prior]) }).expect("valid");
            assert!(mixture.components().limits().iter().all(|a| a.is_finite() && *a > 0.0));
        }
    }

    #[test]
    fn conditions_are_checked_one_by_one() {
        let good = Mixture::new(config(&[0.5, 0.5 - 1.0 / 23.0, 1.0 / 23.0])).expect("valid");
        assert!(good.violated_conditions().is_empty());
        let bad = Mixture::new(MixtureConfig { mean_norm: 0.9, ..config(&[0.6, 0.4]) }).expect("valid");
        assert_eq!(bad.violated_conditions().len(), 3);
    }
}
