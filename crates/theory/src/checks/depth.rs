//! Deep linear models.

use super::linear::mixtures;
use super::{Check, Group, Job, VerifyConfig, largest_difference};
use crate::discrete::discrete;
use crate::error::Result;
use crate::mixture::Mixture;
use crate::network::Network;
use crate::rules::{Rule, gd};
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Depth",
    statements: &[
        ("depth-gd-bilinear", "The GD simulation of two layers tends to its closed form with order 1 in η"),
        ("depth-gd-deep", "The GD simulation of three and four layers tends to the numeric solution with order 1 in η"),
        ("depth-gd-numeric", "The numeric solution for L layers satisfies the closed form's equation at L = 2"),
        ("depth-specgd", "The SpecGD simulation of L layers is (w₀ + η n)^L until the first component saturates"),
        ("depth-saturation", "SpecGD with L layers saturates at (a_c*)^{1/L} − w₀, to one step (Proposition 2)"),
        ("depth-spread", "The relative spread of saturation times is ((SNR + 1/p_m)/(SNR + 1/p_M))^{1/L} − 1"),
        ("depth-shrinks", "That spread shrinks with every layer"),
    ],
    jobs: &[
        Job {
            ids: &["depth-gd-bilinear"],
            run: |config| Ok(vec![gd_order(&mixtures(config.seed)?, "depth-gd-bilinear", &[2])?]),
        },
        Job { ids: &["depth-gd-deep"], run: |config| Ok(vec![gd_order(&mixtures(config.seed)?, "depth-gd-deep", &[3, 4])?]) },
        Job { ids: &["depth-gd-numeric"], run: |config| Ok(vec![numeric(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-specgd"], run: |config| Ok(vec![specgd(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["depth-saturation"], run: |config| Ok(vec![saturation(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-spread"], run: |config| Ok(vec![spread(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-shrinks"], run: |config| Ok(vec![shrinks(&mixtures(config.seed)?)?]) },
    ],
};

fn simulate(mixture: &Mixture, network: &Network, rule: Rule, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    let matrices = mixture.matrix_moments()?;
    let mut simulation = Simulation::new(&matrices, network, rule, eta, mixture.seed())?;
    steps
        .iter()
        .map(|&step| {
            while simulation.step() < step {
                simulation.advance()?;
            }
            Ok(simulation.alpha())
        })
        .collect()
}

/// The first two mixtures and δ = 1, to a time at which the fastest component is near its limit: the order in η from η/2, η/4.
fn gd_order(mixtures: &[Mixture], id: &'static str, depths: &[usize]) -> Result<Check> {
    const TIMES: usize = 10;
    let (mut least, mut finest) = (f64::INFINITY, 0.0_f64);
    for mixture in &mixtures[..2] {
        let c = mixture.components();
        let end = 4.0 / c.largest_cross();
        let times: Vec<f64> = (1..=TIMES).map(|i| end * i as f64 / TIMES as f64).collect();
        for &depth in depths {
            let network = Network::new(depth, Some(1.0))?;
            let exact = Rule::Gd.closed_form(&c, &network, &times)?;
            let errors = [40, 80]
                .into_iter()
                .map(|each| {
                    let steps: Vec<usize> = (1..=TIMES).map(|i| each * i).collect();
                    let eta = end / (TIMES * each) as f64;
                    Ok(largest_difference(&exact, &simulate(mixture, &network, Rule::Gd, eta, &steps)?))
                })
                .collect::<Result<Vec<f64>>>()?;
            least = least.min((errors[0] / errors[1]).log2());
            finest = finest.max(errors[1]);
        }
    }
    let quantity = format!(
        "smallest observed order, L in {depths:?}, δ = 1, two mixtures, η = T/400 and T/800 (largest error at T/800: {finest:.1e})"
    );
    Ok(Check::at_least(id, least, 0.9, quantity))
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
            let predicted = mixture.saturation_spread(depth);
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
    for mixture in mixtures.iter().filter(|mixture| mixture.saturation_spread(1) > 0.0) {
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
