use faer::MatRef;

use super::LabelledMoments;
use crate::error::{Error, Result};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::rules::Rule;
use crate::simulation::Simulation;

/// Past the last predicted saturation by this factor.
const HORIZON: f64 = 3.0;
/// Steps of the default step size, at least.
const STEPS: f64 = 600.0;
const MOST_STEPS: usize = 20_000;
const FEWEST_STEPS: f64 = 60.0;

/// The steps of a comparison of rules on a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The step size η, of all rules.
    pub eta: f64,
    /// The numbers of steps after which losses are taken: ascending from 0 to the last, denser at the beginning.
    pub steps: Vec<usize>,
    /// The largest eigenvalue λ of Σ_xx: gradient descent is stable for η < 2/λ.
    pub largest_eigenvalue: f64,
}

impl Plan {
    /// A plan that ends at 3 max a_j*, with about `marks` numbers of steps, spaced as squares.
    ///
    /// The default step size is the largest of 1, 2, 5 times a power of ten that takes at least 600 steps to the end and is at most
    /// half of the stability limit of gradient descent, 1/λ. It takes at most 20,000 steps; where that is not enough the
    /// plan ends earlier. A step size that is given must be below 2/λ and take from 60 to 20,000 steps.
    pub fn new(data: &LabelledMoments, eta: Option<f64>, marks: usize) -> Result<Self> {
        let horizon = HORIZON * data.components().limits().into_iter().fold(0.0, f64::max);
        let largest = data.largest_eigenvalue()?;
        let eta = match eta {
            None => round_down((horizon / STEPS).min(1.0 / largest)),
            Some(eta) => {
                check_eta(eta, horizon, largest)?;
                eta
            }
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the line itself")]
        let count = (horizon / eta).ceil().min(MOST_STEPS as f64) as usize;
        let marks = marks.max(1);
        let mut steps: Vec<usize> = (0..=marks).map(|i| (count * i * i).div_ceil(marks * marks)).collect();
        steps.dedup();
        Ok(Self { eta, steps, largest_eigenvalue: largest })
    }

    /// n η for each of the steps.
    pub fn times(&self) -> Vec<f64> {
        self.steps.iter().map(|&step| step as f64 * self.eta).collect()
    }
}

fn check_eta(eta: f64, horizon: f64, largest: f64) -> Result<()> {
    let (fewest, most) = (horizon / MOST_STEPS as f64, horizon / FEWEST_STEPS);
    let rule = if !(eta.is_finite() && eta > 0.0) {
        "the step size must be positive and finite".to_owned()
    } else if eta >= 2.0 / largest {
        format!(
            "gradient descent diverges on these data from 2/λ = {:.3e} on, λ being the largest eigenvalue of Σ_xx",
            2.0 / largest
        )
    } else if eta > most {
        format!("takes fewer than {FEWEST_STEPS} steps to the end at {horizon:.3e}, three times the last saturation")
    } else if eta < fewest {
        format!("takes more than {MOST_STEPS} steps to the end at {horizon:.3e}, three times the last saturation")
    } else {
        return Ok(());
    };
    let suggestion = round_down((horizon / STEPS).min(1.0 / largest));
    Err(Error::setting("step size", eta, rule, format!("{suggestion:?} is the default here")))
}

/// The largest of 1, 2, 5 times a power of ten that is not above a positive number.
fn round_down(value: f64) -> f64 {
    let exponent = value.log10().floor();
    let unit = 10_f64.powf(exponent);
    let factor = [5.0, 2.0, 1.0].into_iter().find(|factor| factor * unit <= value).unwrap_or(1.0);
    // Through text, so that 2 × 10⁻³ is 0.002 and not the number next to it.
    format!("{factor}e{exponent}").parse().unwrap_or(factor * unit)
}

/// Follows a rule with real matrices on the moments as they are, from W(0) = 0: `visit` sees W after each number of steps in
/// `steps` (ascending). Nothing is assumed of the moments.
pub fn follow<E: From<Error>>(
    moments: &MatrixMoments,
    rule: Rule,
    eta: f64,
    steps: &[usize],
    mut visit: impl FnMut(usize, MatRef<'_, f64>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut simulation = Simulation::new(moments, &Network::LINEAR, rule, eta, 0)?;
    for &step in steps {
        while simulation.step() < step {
            simulation.advance()?;
        }
        visit(step, simulation.weights())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::tests::of_mixture;
    use crate::mixture::MixtureConfig;

    #[test]
    fn step_sizes_are_round_and_stable() {
        assert_eq!(round_down(0.0034).to_bits(), 0.002_f64.to_bits());
        assert_eq!(round_down(0.05).to_bits(), 0.05_f64.to_bits());
        assert_eq!(round_down(7.0).to_bits(), 5.0_f64.to_bits());
        assert_eq!(round_down(1e-9).to_bits(), 1e-9_f64.to_bits());
        let config = MixtureConfig { priors: vec![0.7, 0.3], mean_norm: 3.0, noise_std: 1.0, dim: Some(4), seed: 0 };
        let (mixture, data, _) = of_mixture(config);
        let plan = Plan::new(&data, None, 30).expect("valid");
        assert!((plan.largest_eigenvalue - mixture.components().s_xx()[0]).abs() < 1e-12);
        assert!(plan.eta * plan.largest_eigenvalue <= 1.0);
        assert_eq!(plan.steps[0], 0);
        assert!(plan.steps.is_sorted() && plan.times().last().is_some_and(|t| *t >= 3.0 * mixture.components().limits()[0]));
        for eta in [0.0, f64::NAN, 10.0, 0.2, 1e-9] {
            let error = Plan::new(&data, Some(eta), 30).expect_err("must be rejected").to_string();
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
