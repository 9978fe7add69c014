//! Deep linear models.

use super::linear::mixtures;
use super::{Check, Group, Job, VerifyConfig, largest_difference};
use crate::discrete::discrete;
use crate::error::Result;
use crate::growth::growth_times;
use crate::mixture::{Mixture, MixtureConfig};
use crate::network::Network;
use crate::rules::deep_gd::DeepComponent;
use crate::rules::{Rule, gd};
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Depth",
    statements: &[
        ("depth-gd-bilinear", "The GD simulation of two layers tends to its closed form with order 1 in η"),
        ("depth-gd-deep", "The GD simulation of three and four layers tends to the numeric solution with order 1 in η"),
        ("depth-gd-numeric", "The numeric solution for L layers satisfies the closed form's equation at L = 2"),
        (
            "depth-gd-implicit",
            "GD with L ≥ 3 layers reaches a layer's value w at an elementary time t(w), which the numeric solution has",
        ),
        ("depth-gd-times", "GD simulated with L layers learns half of each component at the time of its closed form"),
        (
            "depth-gd-apart",
            "Under GD depth pulls the components apart: the relative spread of the times of majority and minority grows with L",
        ),
        ("depth-ngd", "NGD simulated with L layers tends to GD's path at unit speed of a layer's values, with order 1 in η"),
        ("depth-specgd", "The SpecGD simulation of L layers is (w₀ + η n)^L until the first component saturates"),
        ("depth-saturation", "SpecGD with L layers saturates at (a_c*)^{1/L} − w₀, to one step (Proposition 2)"),
        ("depth-spread", "The relative spread of saturation times is ((SNR + 1/p_m)/(SNR + 1/p_M))^{1/L} − 1"),
        ("depth-shrinks", "That spread shrinks with every layer"),
        (
            "depth-later",
            "Under SpecGD every further layer delays the saturation of components with a_c* < 1 and hastens that of a_c* > 1",
        ),
    ],
    jobs: &[
        Job {
            ids: &["depth-gd-bilinear"],
            run: |config| Ok(vec![order(&mixtures(config.seed)?, "depth-gd-bilinear", Rule::Gd, &[2])?]),
        },
        Job {
            ids: &["depth-gd-deep"],
            run: |config| Ok(vec![order(&mixtures(config.seed)?, "depth-gd-deep", Rule::Gd, &[3, 4])?]),
        },
        Job { ids: &["depth-gd-numeric"], run: |config| Ok(vec![numeric(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-gd-implicit"], run: |config| Ok(vec![implicit(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-gd-times", "depth-gd-apart"], run: |config| gd_times(&mixtures(config.seed)?) },
        Job { ids: &["depth-ngd"], run: |config| Ok(vec![order(&mixtures(config.seed)?, "depth-ngd", Rule::Ngd, &[2, 3, 4])?]) },
        Job { ids: &["depth-specgd"], run: |config| Ok(vec![specgd(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["depth-saturation"], run: |config| Ok(vec![saturation(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-spread"], run: |config| Ok(vec![spread(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-shrinks"], run: |config| Ok(vec![shrinks(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-later"], run: |config| Ok(vec![later(config.seed, &mixtures(config.seed)?)?]) },
    ],
};

fn simulate(mixture: &Mixture, network: &Network, rule: Rule, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    let matrices = mixture.matrix_moments()?;
    let mut simulation = Simulation::new(&matrices, network, rule, eta, mixture.seed())?;
    simulation.alphas_at(steps)
}

/// The first two mixtures and δ = 1, to a time at which the fastest component is near its limit: the order in η from η/2, η/4.
fn order(mixtures: &[Mixture], id: &'static str, rule: Rule, depths: &[usize]) -> Result<Check> {
    const TIMES: usize = 10;
    let (mut least, mut finest) = (f64::INFINITY, 0.0_f64);
    for mixture in &mixtures[..2] {
        let c = mixture.components();
        for &depth in depths {
            let network = Network::new(depth, Some(if rule == Rule::Ngd { 2.0 } else { 1.0 }))?;
            // Normalized, a layer's values move at unit speed and first come to a limit in no less than the time of the longest way.
            let longest = mixture.saturation_times(&network).into_iter().fold(0.0, f64::max);
            let end = if rule == Rule::Ngd { 0.8 * longest } else { 4.0 / c.largest_cross() };
            let times: Vec<f64> = (1..=TIMES).map(|i| end * i as f64 / TIMES as f64).collect();
            let exact = rule.closed_form(&c, &network, &times)?;
            let errors = [40, 80]
                .into_iter()
                .map(|each| {
                    let steps: Vec<usize> = (1..=TIMES).map(|i| each * i).collect();
                    let eta = end / (TIMES * each) as f64;
                    Ok(largest_difference(&exact, &simulate(mixture, &network, rule, eta, &steps)?))
                })
                .collect::<Result<Vec<f64>>>()?;
            least = least.min((errors[0] / errors[1]).log2());
            finest = finest.max(errors[1]);
        }
    }
    let quantity = format!(
        "smallest observed order, L in {depths:?}, δ = {}, two mixtures, η = T/400 and T/800 (largest error at T/800: {finest:.1e})",
        if rule == Rule::Ngd { 2 } else { 1 },
    );
    Ok(Check::at_least(id, least, 0.9, quantity))
}

fn implicit(mixtures: &[Mixture]) -> Result<Check> {
    let (mut worst, mut place) = (0.0_f64, String::new());
    for mixture in mixtures {
        for depth in [3, 4, 5, 8] {
            // The waiting time is of the order e^{(L−2)δ}; α at a given time is as uncertain as that time's last digit.
            for exponent in [0.0, 2.0, 4.0] {
                let delta = exponent / (depth - 2) as f64;
                let network = Network::new(depth, Some(delta))?;
                for (yx, xx) in mixture.components().pairs() {
                    let component = DeepComponent::new(yx, xx, network.exponent(), network.layer_start());
                    let start = network.layer_start() / component.limit();
                    for part in [0.2, 0.5, 0.8, 0.99, 0.9999] {
                        let share = start + part * (1.0 - start);
                        let solved = gd::deep(yx, xx, &network, &[component.time_to(share)])[0];
                        let exact = (share * component.limit()).powi(network.exponent());
                        let difference = (solved - exact).abs() / exact.max(yx / xx);
                        if difference > worst || difference.is_nan() {
                            (worst, place) = (difference, format!("L = {depth}, δ = {delta:.2}, a* = {:.4}", yx / xx));
                        }
                    }
                }
            }
        }
    }
    let quantity = format!(
        "largest relative difference of α at t(w), five w of each component, L = 3, 4, 5, 8, (L − 2)δ = 0, 2, 4, {} mixtures ({place})",
        mixtures.len()
    );
    Ok(Check::at_most("depth-gd-implicit", worst, 1e-10, quantity))
}

/// The times at which GD simulated with L = 1 to 4 layers learns half of each component, from δ = 3 (from 0 for L = 1).
fn gd_times(mixtures: &[Mixture]) -> Result<Vec<Check>> {
    let (mut worst, mut least, mut spreads) = (0.0_f64, f64::INFINITY, Vec::new());
    for mixture in [&mixtures[0], &mixtures[2]] {
        let c = mixture.components();
        let mut before = f64::NEG_INFINITY;
        for depth in 1..=4 {
            let network = if depth == 1 { Network::LINEAR } else { Network::new(depth, Some(3.0))? };
            let predicted = growth_times(&c, &network, Rule::Gd, 0.5)?;
            let last = predicted.iter().copied().fold(0.0, f64::max);
            let eta = 0.02 / c.largest_second();
            // Long waits near zero need no fine steps: 3,000 are enough.
            let eta = eta.max(last / 3000.0);
            let matrices = mixture.matrix_moments()?;
            let mut simulation = Simulation::new(&matrices, &network, Rule::Gd, eta, mixture.seed())?;
            let mut measured = vec![f64::INFINITY; c.len()];
            let mut earlier = simulation.alpha();
            while (simulation.step() as f64) * eta < 1.2 * last {
                simulation.advance()?;
                let alpha = simulation.alpha();
                for (class, limit) in c.limits().into_iter().enumerate() {
                    let (a, b) = (earlier[class], alpha[class]);
                    if measured[class].is_infinite() && b >= 0.5 * limit {
                        measured[class] = eta * (simulation.step() as f64 - (b - 0.5 * limit) / (b - a));
                    }
                }
                earlier = alpha;
            }
            for (measured, predicted) in measured.iter().zip(&predicted) {
                worst = worst.max((measured / predicted - 1.0).abs());
            }
            let spread = measured[mixture.minority()] / measured[mixture.majority()] - 1.0;
            least = least.min(spread - before);
            before = spread;
            spreads.push(format!("{spread:.2}"));
        }
    }
    let quantity =
        "largest relative difference of the times of α_c = a_c*/2, L = 1 to 4, δ = 3 (0 for L = 1), two mixtures".to_owned();
    let listed = format!(
        "smallest increase of t_m/t_M − 1 from L to L + 1, times of a_c*/2, L = 1 to 4, δ = 3, two mixtures ({} and {}; limits of δ → ∞ for L ≥ 2: {:.2} and {:.2})",
        spreads[..4].join(", "),
        spreads[4..].join(", "),
        prior_ratio(&mixtures[0]) - 1.0,
        prior_ratio(&mixtures[2]) - 1.0,
    );
    Ok(vec![Check::at_most("depth-gd-times", worst, 0.02, quantity), Check::below("depth-gd-apart", -least, 0.0, listed)])
}

fn prior_ratio(mixture: &Mixture) -> f64 {
    mixture.priors()[mixture.majority()] / mixture.priors()[mixture.minority()]
}

fn numeric(mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        for delta in [0.0, 1.0, 5.0] {
            let network = Network::new(2, Some(delta))?;
            let c = mixture.components();
            for (yx, xx) in c.pairs() {
                let times: Vec<f64> = (0..=20).map(|i| f64::from(i) * 0.5 / yx).collect();
                let solved = gd::deep(yx, xx, &network, &times);
                let exact: Vec<f64> = times.iter().map(|&t| gd::bilinear(yx, xx, network.start(), t)).collect();
                worst = worst.max(largest_difference(&[solved], &[exact]));
            }
        }
    }
    let quantity = format!("largest difference of α at 21 times, δ = 0, 1, 5, {} mixtures", mixtures.len());
    Ok(Check::at_most("depth-gd-numeric", worst, 1e-10, quantity))
}

fn specgd(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        for depth in [2, 3, 4] {
            let network = Network::new(depth, Some(4.0))?;
            let times = mixture.saturation_times(&network);
            let eta = times[mixture.minority()] / 100.5;
            let steps: Vec<usize> = (0..=100).collect();
            let walked: Vec<f64> = steps.iter().map(|&n| n as f64 * eta).collect();
            let exact = Rule::SpecGd.closed_form(&mixture.components(), &network, &walked)?;
            worst = worst.max(largest_difference(&exact, &simulate(mixture, &network, Rule::SpecGd, eta, &steps)?));
        }
    }
    let quantity = format!("largest difference of α over the 100 steps before it, L = 2, 3, 4, {} mixtures", mixtures.len());
    Ok(Check::at_most("depth-specgd", worst, config.tolerance, quantity))
}

fn saturation(mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let c = mixture.components();
        for depth in [1, 2, 3, 4] {
            let network = Network::new(depth, Some(4.0))?;
            let times = mixture.saturation_times(&network);
            let eta = times.iter().copied().fold(0.0, f64::max) / 150.0;
            let steps: Vec<usize> = (0..=152).collect();
            let path = simulate(mixture, &network, Rule::SpecGd, eta, &steps)?;
            for (class, (time, limit)) in times.iter().zip(c.limits()).enumerate() {
                // The 1e-9 is for the class that hits its limit at step 150 to rounding.
                let reached = path.iter().position(|row| row[class] >= limit * (1.0 - 1e-9));
                let measured = reached.map_or(f64::INFINITY, |step| step as f64 * eta);
                worst = worst.max((measured - time).abs() / eta);
            }
        }
    }
    let quantity = format!("largest |simulated − predicted time|/η, L = 1 to 4, {} mixtures", mixtures.len());
    Ok(Check::at_most("depth-saturation", worst, 1.0, quantity))
}

/// Saturation steps of the minority and the majority class under `SpecGD` in the limit δ → ∞, with η = t_m/`resolution`.
fn saturation_steps(mixture: &Mixture, depth: usize, resolution: f64) -> Result<(f64, f64, f64)> {
    let c = mixture.components();
    let network = Network::new(depth, None)?;
    let times = mixture.saturation_times(&network);
    let (first, last) = (times[mixture.minority()], times[mixture.majority()]);
    let eta = first / resolution;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand steps")]
    let steps: Vec<usize> = (0..=(last / eta).ceil() as usize + 1).collect();
    let path = discrete(&c, &network, Rule::SpecGd, eta, &steps)?;
    let reached = |class: usize| {
        let limit = c.limits()[class];
        path.iter().position(|row| row[class] >= limit * (1.0 - 1e-12)).map_or(f64::INFINITY, |step| step as f64)
    };
    Ok((reached(mixture.minority()), reached(mixture.majority()), eta / first))
}

fn spread(mixtures: &[Mixture]) -> Result<Check> {
    let (mut worst, mut example) = (0.0_f64, String::new());
    for mixture in mixtures {
        for depth in [1, 2, 3, 4] {
            let (first, last, relative) = saturation_steps(mixture, depth, 400.25)?;
            let predicted = mixture.saturation_spread(&Network::new(depth, None)?);
            // Both times are measured to one step: n_M/n_m is within (1 + ΔT) η/t_m of t_M/t_m.
            let allowed = (1.0 + predicted) * relative;
            let measured = last / first - 1.0;
            if mixture.classes() == 3 && depth == 2 && example.is_empty() {
                example = format!("for p = {:?}, L = 2: {measured:.4} against {predicted:.4}", mixture.priors());
            }
            worst = worst.max((measured - predicted).abs() / allowed);
        }
    }
    let quantity = format!(
        "largest |measured − predicted ΔT| over its resolution at η = t_m/400, L = 1 to 4, {} mixtures ({example})",
        mixtures.len()
    );
    Ok(Check::at_most("depth-spread", worst, 1.0, quantity))
}

fn shrinks(mixtures: &[Mixture]) -> Result<Check> {
    let mut least = f64::INFINITY;
    for mixture in mixtures.iter().filter(|mixture| mixture.saturation_spread(&Network::LINEAR) > 0.0) {
        for depth in 1..4 {
            let measured = |depth: usize| -> Result<f64> {
                let (first, last, _) = saturation_steps(mixture, depth, 400.25)?;
                Ok(last / first - 1.0)
            };
            least = least.min(measured(depth)? - measured(depth + 1)?);
        }
    }
    let quantity = "smallest measured ΔT(L) − ΔT(L + 1), L = 1 to 3, mixtures with unequal priors".to_owned();
    Ok(Check::at_least("depth-shrinks", least, 0.0, quantity))
}

/// Short means in little noise: every a_c* is above 1 (3.5, 2.7, 1.4), which the theorems' condition μ ≥ 1 excludes.
fn short_means(seed: u64) -> Result<Mixture> {
    Mixture::new(MixtureConfig { priors: vec![0.6, 0.3, 0.1], mean_norm: 0.2, noise_std: 0.1, dim: Some(4), seed })
}

fn later(seed: u64, mixtures: &[Mixture]) -> Result<Check> {
    let (mut least, mut counts) = (f64::INFINITY, [0, 0]);
    let short = short_means(seed)?;
    for mixture in mixtures.iter().chain([&short]) {
        let limits = mixture.components().limits();
        let eta = 0.004;
        let mut before: Vec<f64> = Vec::new();
        for depth in 1..=5 {
            let network = Network::new(depth, (depth > 1).then_some(12.0))?;
            let last = mixture.saturation_times(&network).into_iter().fold(0.0, f64::max);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a thousand steps")]
            let steps: Vec<usize> = (0..=(last / eta) as usize + 2).collect();
            let path = simulate(mixture, &network, Rule::SpecGd, eta, &steps)?;
            let times: Vec<f64> = limits
                .iter()
                .enumerate()
                .map(|(class, limit)| {
                    let reached = path.iter().position(|row| row[class] >= limit * (1.0 - 1e-9));
                    reached.map_or(f64::INFINITY, |step| step as f64 * eta)
                })
                .collect();
            for ((now, before), limit) in times.iter().zip(&before).zip(&limits) {
                counts[usize::from(*limit > 1.0)] += 1;
                least = least.min((now - before) * (1.0 - limit).signum());
            }
            before = times;
        }
    }
    let quantity = format!(
        "smallest change of the simulated saturation time in the stated direction, L to L + 1, L = 1 to 5, η = {}, δ = 12 ({} changes with a* < 1, {} with a* > 1)",
        0.004, counts[0], counts[1]
    );
    Ok(Check::below("depth-later", -least, 0.0, quantity))
}
