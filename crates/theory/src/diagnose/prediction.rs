use faer::{Accum, Mat};

use super::LabelledMoments;
use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::multiply;
use crate::network::Network;
use crate::part::{Part, part};
use crate::rules::Rule;
use crate::trajectory::check_times;

/// The losses by class that Condition 1 predicts for a linear model from W(0) = 0 on a labelled data set.
///
/// Under Condition 1 W(t) = U diag(α(t)) Vᵀ with the closed forms α_j(t) of the rule in the components (arXiv 2510.22980, trajectories).
/// The loss of class c is then, without any further assumption on the data,
///
/// L_c(t) = ½ E\[‖e_c − W x‖² | c\] = ½ \[1 − 2 Σ_j U_cj α_j (v_jᵀ m_c) + Σ_j α_j² E\[(v_jᵀ x)² | c\]\].
///
/// For the data model it is the paper's L_c. The means need be neither orthogonal nor of one length, the covariances neither isotropic
/// nor equal: what such data do to the prediction goes through the residual of Condition 1 alone.
#[derive(Debug, Clone)]
pub struct Prediction {
    components: Components,
    /// U, k×r.
    left: Mat<f64>,
    /// v_jᵀ m_c, r×k.
    signals: Mat<f64>,
    /// E\[(v_jᵀ x)² | c\], r×k.
    seconds: Mat<f64>,
    minority: Vec<usize>,
}

/// The losses of every class under the three flows at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct LossRow {
    /// The time.
    pub t: f64,
    /// L_c under gradient flow.
    pub gd: Vec<f64>,
    /// L_c under normalized gradient flow.
    pub ngd: Vec<f64>,
    /// L_c under spectral flow.
    pub specgd: Vec<f64>,
}

impl Prediction {
    /// The prediction for a data set, with E\[(v_jᵀ x)² | c\] (r×k) for the right singular vectors v_j of its moments. Fails for
    /// another shape or a value that is not finite.
    pub fn new(data: &LabelledMoments, seconds: Mat<f64>) -> Result<Self> {
        let (r, k) = (data.components().len(), data.counts().len());
        if seconds.shape() != (r, k) || !seconds.is_all_finite() {
            return Err(Error::setting(
                "seconds",
                format_args!("{}×{}", seconds.nrows(), seconds.ncols()),
                format!("must be {r}×{k}, one finite value for each component and class"),
                "project the rows of each class on the right singular vectors of the moments",
            ));
        }
        let mut signals = Mat::zeros(r, k);
        multiply(signals.as_mut(), Accum::Replace, data.moments().right().transpose(), data.means().transpose(), 1.0);
        let left = data.moments().left().to_owned();
        Ok(Self { components: data.components().clone(), left, signals, seconds, minority: data.minority() })
    }

    /// L_c of W = U diag(α) Vᵀ for each class.
    pub fn losses(&self, alpha: &[f64]) -> Vec<f64> {
        (0..self.left.nrows())
            .map(|class| {
                let signal: f64 =
                    alpha.iter().enumerate().map(|(j, a)| self.left[(class, j)] * a * self.signals[(j, class)]).sum();
                let second: f64 = alpha.iter().enumerate().map(|(j, a)| a * a * self.seconds[(j, class)]).sum();
                0.5 * (1.0 - 2.0 * part(Part::DiagnosisSignal, signal) + part(Part::DiagnosisSecond, second))
            })
            .collect()
    }

    /// The losses at each time, in the order given.
    pub fn at(&self, times: &[f64]) -> Result<Vec<LossRow>> {
        check_times(times)?;
        let path = |rule: Rule| -> Result<Vec<Vec<f64>>> {
            let alphas = rule.closed_form(&self.components, &Network::LINEAR, times)?;
            Ok(alphas.iter().map(|alpha| self.losses(alpha)).collect())
        };
        let rows = path(Rule::Gd)?.into_iter().zip(path(Rule::Ngd)?).zip(path(Rule::SpecGd)?);
        Ok(times.iter().zip(rows).map(|(&t, ((gd, ngd), specgd))| LossRow { t, gd, ngd, specgd }).collect())
    }

    /// The time t* = min a_j*, at which `SpecGD` has the first component at its limit. Until then its path is t U Vᵀ.
    pub fn first_saturation(&self) -> f64 {
        self.components.limits().into_iter().fold(f64::INFINITY, f64::min)
    }

    /// max a_j*, when it has the last one there.
    pub fn last_saturation(&self) -> f64 {
        self.components.limits().into_iter().fold(0.0, f64::max)
    }

    /// The mean of a loss over the minority classes.
    pub fn minority_of(&self, losses: &[f64]) -> f64 {
        self.minority.iter().map(|&class| losses[class]).sum::<f64>() / self.minority.len() as f64
    }

    /// The time at which the mean output e_cᵀ W m_c that a class gives for its own members has come to half of its limit
    /// Σ_j U_cj a_j* (v_jᵀ m_c), for each class under a rule with a closed form; `None` for a class whose limit is not positive (no
    /// linear model of these moments recognizes it) and where half is not reached in 10⁶ times the last saturation.
    pub fn half_times(&self, rule: Rule) -> Result<Vec<Option<f64>>> {
        let limits = self.components.limits();
        let score = |class: usize, alpha: &[f64]| -> f64 {
            alpha.iter().enumerate().map(|(j, a)| self.left[(class, j)] * a * self.signals[(j, class)]).sum()
        };
        // Geometric times: 40 a decade, which is 6% apart, and a bisection between two of them.
        let last = self.last_saturation();
        let times: Vec<f64> = (0..=480).map(|i| last * 10_f64.powf(f64::from(i) / 40.0 - 6.0)).collect();
        let alphas = rule.closed_form(&self.components, &Network::LINEAR, &times)?;
        (0..self.left.nrows())
            .map(|class| {
                let half = 0.5 * score(class, &limits);
                if half <= 0.0 {
                    return Ok(None);
                }
                let Some(index) = alphas.iter().position(|alpha| score(class, alpha) >= half) else { return Ok(None) };
                let (mut low, mut high) = (if index == 0 { 0.0 } else { times[index - 1] }, times[index]);
                for _ in 0..40 {
                    let middle = 0.5 * (low + high);
                    let alpha = rule.closed_form(&self.components, &Network::LINEAR, &[middle])?;
                    if score(class, &alpha[0]) >= half {
                        high = middle;
                    } else {
                        low = middle;
                    }
                }
                Ok(Some(high))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::tests::of_mixture;
    use crate::mixture::MixtureConfig;

    #[test]
    fn half_times_of_a_mixture_are_in_closed_form() {
        let config = MixtureConfig { priors: vec![0.6, 0.3, 0.1], mean_norm: 2.0, noise_std: 1.0, dim: Some(5), seed: 1 };
        let (mixture, data, seconds) = of_mixture(config);
        let prediction = Prediction::new(&data, seconds).expect("fits");
        let components = mixture.components();
        let gd = prediction.half_times(Rule::Gd).expect("closed form");
        let spec = prediction.half_times(Rule::SpecGd).expect("closed form");
        for class in 0..3 {
            let (half, limit) = (std::f64::consts::LN_2 / components.s_xx()[class], components.limits()[class]);
            assert!((gd[class].expect("learned") - half).abs() < 1e-9);
            assert!((spec[class].expect("learned") - 0.5 * limit).abs() < 1e-9);
        }
        assert!((prediction.first_saturation() - mixture.horizon()).abs() < 1e-12);
    }

    #[test]
    fn shapes_are_checked() {
        let config = MixtureConfig { priors: vec![0.6, 0.4], mean_norm: 2.0, noise_std: 1.0, dim: Some(5), seed: 1 };
        let (_, data, _) = of_mixture(config);
        let error = Prediction::new(&data, Mat::zeros(3, 2)).expect_err("must be rejected").to_string();
        assert!(error.contains("2×2") && error.contains("\nhint: "), "{error}");
    }
}
