//! The spectral-power flow of deep models.

use super::random_mixture;
use crate::checks::linear::mixtures;
use crate::checks::{Check, VerifyConfig, largest_difference};
use crate::discrete::discrete;
use crate::error::Result;
use crate::network::Network;
use crate::power_order::{power_flip_exponent, power_saturation_times};
use crate::rules::Rule;

/// The path of ẇ = sign(r)(w^{L−1}|r|)^p in u = ln w by Dormand–Prince.
fn integrated(exponent: f64, (yx, xx): (f64, f64), network: &Network, times: &[f64]) -> Vec<f64> {
    let depth = network.exponent();
    let (mut u, mut now, mut step) = (-network.delta().unwrap_or(0.0), 0.0, 0.0);
    let rate = |u: f64| {
        let w = u.exp();
        let residual = yx - xx * w.powi(depth);
        (w.powi(depth - 1) * residual.abs()).powf(exponent).copysign(residual) / w
    };
    times
        .iter()
        .map(|&t| {
            u = crate::ode::integrate(u, t - now, &mut step, rate, |_| false);
            now = t;
            u.exp().powi(depth)
        })
        .collect()
}

pub(super) fn numeric(config: &VerifyConfig) -> Result<Vec<Check>> {
    let mixtures = &mixtures(config.seed)?[..3];
    let (mut worst, mut trials) = (0.0_f64, 0);
    for mixture in mixtures {
        let c = mixture.components();
        for (depth, delta, exponent) in
            [(2, 0.0, 0.5), (2, 1.0, 0.2), (2, 4.0, 0.8), (3, 0.3, 0.3), (3, 3.0, 0.5), (4, 1.0, 0.6), (5, 0.5, 0.9)]
        {
            let network = Network::new(depth, Some(delta))?;
            let saturated = power_saturation_times(&c, &network, exponent)?;
            for (index, pair) in c.pairs().enumerate() {
                let times: Vec<f64> = [0.01, 0.2, 0.5, 0.8, 0.95].map(|share| share * saturated[index]).into();
                let exact = Rule::Power { exponent }.closed_form(&c, &network, &times)?;
                for (value, row) in integrated(exponent, pair, &network, &times).iter().zip(&exact) {
                    let difference = (value - row[index]).abs() / row[index];
                    worst = if difference.is_nan() { difference } else { worst.max(difference) };
                    trials += 1;
                }
            }
        }
    }
    let quantity =
        format!("largest relative difference of α to the integrated equation up to 0.95 T, L = 2 to 5, {trials} points");
    Ok(vec![Check::at_most("power-deep-numeric", worst, 1e-10, quantity)])
}

pub(super) fn limit(config: &VerifyConfig) -> Result<Vec<Check>> {
    let mixtures = mixtures(config.seed)?;
    let mut worst = 0.0_f64;
    for mixture in &mixtures {
        let c = mixture.components();
        for (depth, exponent) in [(2, 0.25), (2, 0.5), (3, 0.25), (4, 0.15)] {
            let limit = Network::new(depth, None)?;
            let small = Network::new(depth, Some(80.0))?;
            let longest = power_saturation_times(&c, &limit, exponent)?.into_iter().fold(0.0, f64::max);
            let times: Vec<f64> = (1..=10).map(|i| longest * f64::from(i) / 10.0).collect();
            let rule = Rule::Power { exponent };
            let (a, b) = (rule.closed_form(&c, &limit, &times)?, rule.closed_form(&c, &small, &times)?);
            worst = worst.max(largest_difference(&a, &b));
        }
    }
    let quantity =
        format!("largest difference of α between δ = 80 and δ → ∞ at ten times, L = 2, 3, 4, {} mixtures", mixtures.len());
    Ok(vec![Check::at_most("power-deep-limit", worst, config.tolerance, quantity)])
}

pub(super) fn flip(config: &VerifyConfig) -> Result<Vec<Check>> {
    const TRIALS: usize = 20;
    let mut worst = 0.0_f64;
    for index in 0..TRIALS {
        let mixture = random_mixture(config.seed, index)?;
        let c = mixture.components();
        for depth in [2, 3] {
            let exponent = power_flip_exponent(&c, (0, 2), depth)?;
            let network = Network::new(depth, Some(14.0))?;
            // Resolved by the SpecGD time scale, which is of the same order.
            let eta = c.limits()[2].powf(1.0 / depth as f64) / 1000.0;
            let steps: Vec<usize> = (0..=20_000).collect();
            let path = discrete(&c, &network, Rule::Power { exponent }, eta, &steps)?;
            let half = |class: usize| {
                let level = 0.5 * c.limits()[class];
                path.iter().position(|row| row[class] >= level).map_or(f64::NAN, |step| step as f64)
            };
            let difference = (half(0) / half(2)).ln().abs();
            worst = if difference.is_nan() { difference } else { worst.max(difference) };
        }
    }
    let quantity =
        format!("largest |ln of the ratio of the times to half| at p*, L = 2, 3, δ = 14, recursion, {TRIALS} mixtures");
    Ok(vec![Check::at_most("power-deep-flip", worst, 0.02, quantity)])
}
