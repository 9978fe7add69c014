//! The spectral-power flow: its closed form, the order of saturation, the minority loss, and the cycle in the end.

mod deep;

use rand::Rng;

use super::linear::mixtures;
use super::sets::sample;
use super::{Check, Group, Job, VerifyConfig};
use crate::components::Components;
use crate::discrete::discrete;
use crate::error::Result;
use crate::mixture::{Mixture, MixtureConfig};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::power_order::{
    power_cycle_residual, power_flip_exponent, power_order_range, power_saturation_spread, power_saturation_times,
};
use crate::random::{Purpose, stream};
use crate::rules::Rule;
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Spectral-power flow",
    statements: &[
        (
            "power-closed-form",
            "The matrix simulation of U Σ^p Vᵀ tends to the closed form, with order 1 in η, for p from 0.1 to 0.9",
        ),
        ("power-saturation", "It saturates after T/η − p/(2(1−p)) ln(T/η) steps, T = s_yx^{1−p}/((1−p) s_xx), up to a constant"),
        ("power-early", "The early rates of two components have the ratio (s_yx,i/s_yx,j)^p"),
        (
            "power-flip",
            "At p* = 1 − ln(s_xx,i/s_xx,j)/ln(s_yx,i/s_yx,j) two components reach half of their limits at the same time",
        ),
        ("power-spread", "The ratio of the times of majority and minority is (p_M/p_m)^{p* − p}"),
        ("power-order-range", "Weaker classes are first for p ≤ σ²/s_xx,M, and more frequent ones for p ≥ σ²/s_xx,m"),
        ("power-progress", "When the majority has come equally far, the minority has come farther the smaller p is"),
        (
            "power-minority-loss",
            "Under Theorem 1's conditions the minority loss on (0, t*] rises with p: GD's gap to U Σ^p Vᵀ falls from SpecGD's to 0",
        ),
        ("power-cycle", "The discrete rule ends between residuals ±(η s_xx/2)^{1/(1−p)}"),
        ("power-deep", "The matrix simulation of two and three layers tends to the incomplete beta form with order 1 in η"),
        ("power-deep-numeric", "The incomplete beta form solves dw/dt = (w^{L−1} r)^p"),
        ("power-deep-limit", "For p < 1/(L−1) the limit δ → ∞ leaves zero at once"),
        ("power-deep-flip", "With L layers the order turns round at p₁*/(L + (L−1)p₁*)"),
    ],
    jobs: &[
        Job { ids: &["power-closed-form"], run: |config| order(config, "power-closed-form", &[1], &[0.1, 0.3, 0.7, 0.9]) },
        Job { ids: &["power-saturation"], run: saturation },
        Job { ids: &["power-early"], run: early },
        Job { ids: &["power-flip"], run: flip },
        Job { ids: &["power-spread"], run: spread },
        Job { ids: &["power-order-range"], run: order_range },
        Job { ids: &["power-progress"], run: progress },
        Job { ids: &["power-minority-loss"], run: minority_loss },
        Job { ids: &["power-cycle"], run: cycle },
        Job { ids: &["power-deep"], run: |config| order(config, "power-deep", &[2, 3], &[0.3, 0.6]) },
        Job { ids: &["power-deep-numeric"], run: deep::numeric },
        Job { ids: &["power-deep-limit"], run: deep::limit },
        Job { ids: &["power-deep-flip"], run: deep::flip },
    ],
};

/// Three classes with random priors of at least 0.01 and at least a factor 1.3 apart, and SNR from 0.05 to 20.
fn random_mixture(seed: u64, index: usize) -> Result<Mixture> {
    let mut rng = stream(seed, Purpose::PowerMixtures, index);
    loop {
        let raw: Vec<f64> = (0..3).map(|_| rng.random_range(0.01_f64.ln()..0.0).exp()).collect();
        let sum: f64 = raw.iter().sum();
        let mut priors: Vec<f64> = raw.iter().map(|weight| weight / sum).collect();
        priors.sort_by(|a, b| b.total_cmp(a));
        let mean_norm = rng.random_range(0.5_f64.ln()..2.0_f64.ln()).exp();
        let snr = rng.random_range(0.05_f64.ln()..20.0_f64.ln()).exp();
        if priors[2] >= 0.01 && priors.windows(2).all(|pair| pair[0] > 1.3 * pair[1]) {
            let noise_std = mean_norm / snr.sqrt();
            return Mixture::new(MixtureConfig { priors, mean_norm, noise_std, dim: Some(4), seed: index as u64 });
        }
    }
}

fn describe(mixture: &Mixture) -> String {
    let priors: Vec<String> = mixture.priors().iter().map(|p| format!("{p:.3}")).collect();
    format!("p = ({}), SNR = {:.2}", priors.join(", "), mixture.snr())
}

/// α of the matrix simulation in random bases after each of the numbers of steps.
fn simulate(mixture: &Mixture, network: &Network, exponent: f64, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    let moments = MatrixMoments::rotated(mixture, mixture.seed())?;
    let mut simulation = Simulation::new(&moments, network, Rule::Power { exponent }, eta, mixture.seed())?;
    simulation.alphas_at(steps)
}

/// The times at which the components of a simulation come to half of their limits, between its steps by interpolation.
fn half_times(mixture: &Mixture, exponent: f64, resolution: f64) -> Result<Vec<f64>> {
    let c = mixture.components();
    let start: Vec<f64> = c.pairs().map(|(yx, xx)| yx.powf(1.0 - exponent) / xx).collect();
    let eta = start.iter().copied().fold(f64::INFINITY, f64::min) / resolution;
    let moments = MatrixMoments::rotated(mixture, mixture.seed())?;
    let mut simulation = Simulation::new(&moments, &Network::LINEAR, Rule::Power { exponent }, eta, mixture.seed())?;
    let mut before = simulation.alpha();
    let mut times = vec![f64::NAN; c.len()];
    // The slowest component has T ≤ max start/(1 − p), and half of it comes before ln 2 of that (GD).
    let longest = 1.5 * start.iter().copied().fold(0.0, f64::max) / eta;
    while (simulation.step() as f64) < longest && times.iter().any(|time| time.is_nan()) {
        let step = simulation.step() as f64;
        simulation.advance()?;
        let after = simulation.alpha();
        for (c, limit) in c.limits().into_iter().enumerate() {
            if times[c].is_nan() && after[c] >= 0.5 * limit {
                times[c] = eta * (step + (0.5 * limit - before[c]) / (after[c] - before[c]));
            }
        }
        before = after;
    }
    Ok(times)
}

/// Errors against the closed form at ten times up to 0.9 of the first saturation, for η and η/2.
fn order(config: &VerifyConfig, id: &'static str, depths: &[usize], exponents: &[f64]) -> Result<Vec<Check>> {
    const TIMES: usize = 10;
    let mixtures = &mixtures(config.seed)?[..3];
    let (mut least, mut finest, mut place) = (f64::INFINITY, 0.0_f64, String::new());
    for mixture in mixtures {
        let c = mixture.components();
        for &depth in depths {
            let network = if depth == 1 { Network::LINEAR } else { Network::new(depth, Some(1.5))? };
            for &exponent in exponents {
                let saturated = power_saturation_times(&c, &network, exponent)?;
                let end = 0.9 * saturated.iter().copied().fold(f64::INFINITY, f64::min);
                let times: Vec<f64> = (1..=TIMES).map(|i| end * i as f64 / TIMES as f64).collect();
                let exact = Rule::Power { exponent }.closed_form(&c, &network, &times)?;
                let errors = [20, 40]
                    .into_iter()
                    .map(|each| {
                        let steps: Vec<usize> = (1..=TIMES).map(|i| each * i).collect();
                        let path = simulate(mixture, &network, exponent, end / (TIMES * each) as f64, &steps)?;
                        Ok(super::largest_difference(&exact, &path))
                    })
                    .collect::<Result<Vec<f64>>>()?;
                let order = (errors[0] / errors[1]).log2();
                if order.is_nan() || order < least {
                    (least, place) = (order, format!("L = {depth}, p = {exponent}"));
                }
                finest = finest.max(errors[1]);
            }
        }
    }
    let quantity = format!(
        "smallest observed order, L in {depths:?}, p in {exponents:?}, {} mixtures, η = T/200 and T/400 (worst: {place}; largest error at T/400: {finest:.1e})",
        mixtures.len()
    );
    Ok(vec![Check::at_least(id, least, 0.9, quantity)])
}

fn saturation(config: &VerifyConfig) -> Result<Vec<Check>> {
    let (mut worst, mut place) = (0.0_f64, String::new());
    let mut trials = 0;
    for mixture in &mixtures(config.seed)? {
        let c = mixture.components();
        for exponent in [0.25, 0.5, 0.75] {
            let saturated = power_saturation_times(&c, &Network::LINEAR, exponent)?;
            for resolution in [60.0, 300.0] {
                let eta = saturated.iter().copied().fold(f64::INFINITY, f64::min) / resolution;
                let longest = saturated.iter().copied().fold(0.0, f64::max) / eta;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousand steps")]
                let steps: Vec<usize> = (0..=longest as usize + 5).collect();
                let path = simulate(mixture, &Network::LINEAR, exponent, eta, &steps)?;
                for (class, ((yx, xx), time)) in c.pairs().zip(&saturated).enumerate() {
                    // Within twice the residual of the final cycle nothing is left to saturate.
                    let near = 2.0 * (0.5 * eta * xx).powf(1.0 / (1.0 - exponent));
                    let reached = path.iter().position(|row| yx - xx * row[class] <= near);
                    let count = time / eta;
                    let predicted = count - exponent / (2.0 * (1.0 - exponent)) * count.ln();
                    let difference = (reached.map_or(f64::INFINITY, |step| step as f64) - predicted).abs();
                    trials += 1;
                    if difference > worst {
                        (worst, place) = (difference, format!("p = {exponent}, T/η = {count:.0}"));
                    }
                }
            }
        }
    }
    let quantity = format!(
        "largest |simulated − predicted| in steps, p = 0.25, 0.5, 0.75, {trials} classes and step sizes (worst: {place})"
    );
    Ok(vec![Check::at_most("power-saturation", worst, 2.0, quantity)])
}

fn early(config: &VerifyConfig) -> Result<Vec<Check>> {
    const TRIALS: usize = 30;
    let mut worst = 0.0_f64;
    for index in 0..TRIALS {
        let mixture = random_mixture(config.seed, index)?;
        let c = mixture.components();
        for exponent in [0.0, 0.25, 0.5, 0.75] {
            let saturated = power_saturation_times(&c, &Network::LINEAR, exponent)?;
            let eta = saturated.iter().copied().fold(f64::INFINITY, f64::min) / 2000.0;
            // A hundredth of the first saturation time.
            let alpha = &simulate(&mixture, &Network::LINEAR, exponent, eta, &[20])?[0];
            let (majority, minority) = (mixture.majority(), mixture.minority());
            let imbalance = (c.s_yx()[majority] / c.s_yx()[minority]).powf(exponent);
            worst = worst.max((alpha[majority] / alpha[minority] / imbalance - 1.0).abs());
        }
    }
    let quantity =
        format!("largest |measured/predicted − 1| at 1/100 of the first saturation time, p = 0 to 0.75, {TRIALS} mixtures");
    Ok(vec![Check::at_most("power-early", worst, 0.02, quantity)])
}

fn flip(config: &VerifyConfig) -> Result<Vec<Check>> {
    const TRIALS: usize = 30;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for index in 0..TRIALS {
        let mixture = random_mixture(config.seed, index)?;
        let c = mixture.components();
        for pair in [(0, 2), (0, 1), (1, 2)] {
            let exponent = power_flip_exponent(&c, pair, 1)?;
            let times = half_times(&mixture, exponent, 300.0)?;
            let difference = (times[pair.0] / times[pair.1]).ln().abs();
            if difference.is_nan() || difference > worst {
                (worst, place) = (difference, format!("p* = {exponent:.4}, {}", describe(&mixture)));
            }
        }
    }
    let quantity =
        format!("largest |ln of the ratio of the times to half| at p*, simulated, 3 pairs of {TRIALS} mixtures (worst: {place})");
    Ok(vec![Check::at_most("power-flip", worst, 1e-9, quantity)])
}

fn spread(config: &VerifyConfig) -> Result<Vec<Check>> {
    const TRIALS: usize = 12;
    let mut worst = 0.0_f64;
    for index in 0..TRIALS {
        let mixture = random_mixture(config.seed, index)?;
        for exponent in [0.0, 0.2, 0.4, 0.6, 0.8, 0.95] {
            let times = half_times(&mixture, exponent, 300.0)?;
            let measured = (times[mixture.majority()] / times[mixture.minority()]).ln();
            let predicted = power_saturation_spread(&mixture, exponent, 1)?.ln_1p();
            let difference = (measured - predicted).abs();
            worst = if difference.is_nan() { difference } else { worst.max(difference) };
        }
    }
    let quantity = format!("largest difference of ln T_M/T_m, times to half simulated, p = 0 to 0.95, {TRIALS} mixtures");
    Ok(vec![Check::at_most("power-spread", worst, 5e-3, quantity)])
}

fn order_range(config: &VerifyConfig) -> Result<Vec<Check>> {
    const TRIALS: usize = 30;
    let mut worst = f64::NEG_INFINITY;
    for index in 0..TRIALS {
        let mixture = random_mixture(config.seed, index)?;
        let (first, second) = power_order_range(&mixture);
        for (exponent, sign) in [(first, 1.0), (second, -1.0)] {
            // The priors fall with the index.
            for pair in half_times(&mixture, exponent, 300.0)?.windows(2) {
                worst = worst.max(sign * (pair[1] / pair[0]).ln());
            }
        }
    }
    let quantity =
        format!("largest ln of the ratio of two classes' times to half in the wrong order, at both ends, {TRIALS} mixtures");
    Ok(vec![Check::at_most("power-order-range", worst, 0.0, quantity)])
}

fn progress(config: &VerifyConfig) -> Result<Vec<Check>> {
    const TRIALS: usize = 20;
    const EXPONENTS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
    let mut least = f64::INFINITY;
    for index in 0..TRIALS {
        let mixture = random_mixture(config.seed, index)?;
        let c = mixture.components();
        let (yx, xx) = (c.s_yx(), c.s_xx());
        // Minority progress where the majority has reached each share, and whether the majority's residual is the larger there.
        let paths = EXPONENTS
            .into_iter()
            .map(|exponent| {
                let scales = yx.iter().zip(xx).map(|(yx, xx)| yx.powf(1.0 - exponent) / xx);
                let eta = scales.fold(f64::INFINITY, f64::min) / 400.0;
                // The majority comes to 90% before that of GD, ln 10.
                let longest = 2.5 * yx[0].powf(1.0 - exponent) / xx[0] / eta;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some ten thousand steps")]
                let steps: Vec<usize> = (0..=longest as usize).collect();
                let path = discrete(&c, &Network::LINEAR, Rule::Power { exponent }, eta, &steps)?;
                Ok((1..=9)
                    .map(|tenth| {
                        let level = f64::from(tenth) / 10.0 * yx[0] / xx[0];
                        let after = path.iter().position(|row| row[0] >= level)?;
                        let (before, after) = (&path[after.checked_sub(1)?], &path[after]);
                        let weight = (level - before[0]) / (after[0] - before[0]);
                        let minority = before[2] + weight * (after[2] - before[2]);
                        (yx[0] - xx[0] * level > yx[2] - xx[2] * minority).then_some(minority * xx[2] / yx[2])
                    })
                    .collect::<Vec<Option<f64>>>())
            })
            .collect::<Result<Vec<_>>>()?;
        for pair in paths.windows(2) {
            for (small, large) in pair[0].iter().zip(&pair[1]) {
                if let (Some(small), Some(large)) = (small, large) {
                    least = least.min(small - large);
                }
            }
        }
    }
    let quantity = format!(
        "smallest lead of the smaller p, as a share of a_m*, at 10% to 90% of a_M* while r_M > r_m, p = 0, 0.25, …, 1, recursion, {TRIALS} mixtures"
    );
    // SpecGD hovers within a step, 1/400 of a_m*; components that both have arrived lead by nothing.
    Ok(vec![Check::at_least("power-progress", least, -5e-3, quantity)])
}

fn minority_loss(config: &VerifyConfig) -> Result<Vec<Check>> {
    const EXPONENTS: [f64; 7] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0];
    let trials = config.sets.min(400);
    let (mut least, mut place) = (f64::INFINITY, String::new());
    for index in 0..trials {
        let sample = sample(config.seed, Purpose::PowerTheorem, index, trials);
        let (mu, variance, priors) = (sample.set.mean_norm, sample.set.variance, &sample.set.priors);
        let s_yx: Vec<f64> = priors.iter().map(|p| mu * p).collect();
        let s_xx: Vec<f64> = priors.iter().map(|p| mu * mu * p + variance).collect();
        let c = Components::new(s_yx, s_xx, priors.len())?;
        let horizon = c.limits()[0];
        let times: Vec<f64> = [0.01, 0.1, 0.3, 0.6, 1.0].into_iter().map(|share| share * horizon).collect();
        let paths = EXPONENTS
            .into_iter()
            .map(|exponent| Rule::Power { exponent }.closed_form(&c, &Network::LINEAR, &times))
            .collect::<Result<Vec<_>>>()?;
        for pair in paths.windows(2) {
            for ((small, large), t) in pair[0].iter().zip(&pair[1]).zip(&times) {
                // The difference of ½[(1 − μ α_m)² + σ² Σ α²], class 0 being the minority.
                let signal = mu * (small[0] - large[0]) * (1.0 - 0.5 * mu * (small[0] + large[0]));
                let noise: f64 = small.iter().zip(large).map(|(a, b)| (a - b) * (a + b)).sum();
                let relative = (signal - 0.5 * variance * noise) / (mu * t);
                if relative.is_nan() || relative < least {
                    (least, place) = (relative, sample.describe());
                }
            }
        }
    }
    let quantity = format!(
        "smallest rise of L_m/(μ t) between neighbours of p = 0, 0.1, 0.25, 0.5, 0.75, 0.9, 1 at 5 times on (0, t*], {trials} sets (worst: {place})"
    );
    Ok(vec![Check::at_least("power-minority-loss", least, 0.0, quantity)])
}

fn cycle(config: &VerifyConfig) -> Result<Vec<Check>> {
    let mixtures = mixtures(config.seed)?;
    let mut worst = 0.0_f64;
    for mixture in &mixtures {
        let c = mixture.components();
        for exponent in [0.2, 0.5, 0.7] {
            let saturated = power_saturation_times(&c, &Network::LINEAR, exponent)?;
            let eta = saturated.iter().copied().fold(f64::INFINITY, f64::min) / 50.0;
            let longest = saturated.iter().copied().fold(0.0, f64::max) / eta;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousand steps")]
            let last = longest as usize + 200;
            for row in simulate(mixture, &Network::LINEAR, exponent, eta, &[last, last + 1, last + 2, last + 3])? {
                for ((yx, xx), alpha) in c.pairs().zip(row) {
                    let predicted = power_cycle_residual(exponent, xx, eta)?;
                    let difference = ((yx - xx * alpha).abs() / predicted - 1.0).abs();
                    worst = if difference.is_nan() { difference } else { worst.max(difference) };
                }
            }
        }
    }
    let quantity = format!(
        "largest |measured/predicted − 1| of four late residuals, p = 0.2, 0.5, 0.7, η = T/50, {} mixtures in random bases",
        mixtures.len()
    );
    Ok(vec![Check::at_most("power-cycle", worst, 1e-6, quantity)])
}
