//! The linear model: closed forms and exact discrete forms against matrix simulations.

use super::{Check, Group, Job, VerifyConfig, largest_difference};
use crate::components::Components;
use crate::discrete::discrete;
use crate::error::Result;
use crate::mixture::{Mixture, MixtureConfig};
use crate::network::Network;
use crate::rules::Rule;
use crate::simulation::Simulation;

pub(super) const POWER: Rule = Rule::Power { exponent: 0.5 };
pub(super) const MUON: Rule = Rule::Muon { momentum: 0.9 };

/// The mixtures of the trajectory checks: two to ten classes, d = k and d > k, low and high SNR, a rare class, equal classes.
/// The directions of the means come from the seed.
pub(super) fn mixtures(seed: u64) -> Result<Vec<Mixture>> {
    [
        (vec![0.5, 0.3, 0.2], 1.0, 1.0, 3),
        (vec![0.9, 0.1], 2.0, 0.5, 2),
        (vec![0.4, 0.25, 0.2, 0.1, 0.05], 1.5, 1.0, 8),
        (vec![0.6, 0.39, 0.01], 1.0, 2.0, 6),
        (vec![0.1; 10], 3.0, 1.5, 12),
    ]
    .into_iter()
    .zip(0..)
    .map(|((priors, mean_norm, noise_std, dim), index)| {
        Mixture::new(MixtureConfig { priors, mean_norm, noise_std, dim: Some(dim), seed: seed.wrapping_add(index) })
    })
    .collect()
}

pub(super) const GROUP: Group = Group {
    title: "Trajectories of the linear model",
    statements: &[
        ("gd-discrete", "GD simulated with matrices is a_c*(1 − (1 − η s_xx,c)^n)"),
        ("ngd-discrete", "NGD simulated with matrices is the recursion α ← α + η r/‖r‖₂"),
        ("specgd-discrete", "SpecGD simulated with matrices walks the grid η n and alternates around a_c*"),
        ("specgd-hit", "A component that hits a_c* under SpecGD stays there"),
        (
            "specgd-amplification",
            "Once a component alternates at grid fraction f, SpecGD multiplies errors outside the means' span by 1 − ρ(1 − ρ)/(f(1 − f)) every two steps, ρ = σ²/s_xx,c",
        ),
        ("power-discrete", "The power rule simulated with matrices is the recursion α ← α + η sign(r)|r|^p"),
        ("muon-discrete", "Muon simulated with matrices is SpecGD on the averaged residual of each component"),
        ("muon-specgd", "Muon with momentum equals SpecGD until the first component saturates"),
        ("gd-order", "The GD simulation tends to a_c*(1 − e^{−s_xx,c t}) with order 1 in η"),
        ("ngd-order", "The NGD simulation tends to the re-timed GD path with order 1 in η"),
        ("power-order", "The power-rule simulation tends to its closed form with order 1 in η"),
        ("specgd-continuous", "The SpecGD simulation stays within one step of min(t, a_c*)"),
    ],
    jobs: &[
        Job {
            ids: &["gd-discrete"],
            run: |config| Ok(vec![discrete_form(config, &mixtures(config.seed)?, "gd-discrete", Rule::Gd)?]),
        },
        Job {
            ids: &["ngd-discrete"],
            run: |config| Ok(vec![discrete_form(config, &mixtures(config.seed)?, "ngd-discrete", Rule::Ngd)?]),
        },
        Job {
            ids: &["specgd-discrete"],
            run: |config| Ok(vec![discrete_form(config, &mixtures(config.seed)?, "specgd-discrete", Rule::SpecGd)?]),
        },
        Job { ids: &["specgd-hit"], run: |config| Ok(vec![hit(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["specgd-amplification"], run: |config| Ok(vec![amplification(config)?]) },
        Job {
            ids: &["power-discrete"],
            run: |config| Ok(vec![discrete_form(config, &mixtures(config.seed)?, "power-discrete", POWER)?]),
        },
        Job {
            ids: &["muon-discrete"],
            run: |config| Ok(vec![discrete_form(config, &mixtures(config.seed)?, "muon-discrete", MUON)?]),
        },
        Job { ids: &["muon-specgd"], run: |config| Ok(vec![muon_specgd(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["gd-order"], run: |config| Ok(vec![order(config, &mixtures(config.seed)?, "gd-order", Rule::Gd)?]) },
        Job { ids: &["ngd-order"], run: |config| Ok(vec![order(config, &mixtures(config.seed)?, "ngd-order", Rule::Ngd)?]) },
        Job { ids: &["power-order"], run: |config| Ok(vec![order(config, &mixtures(config.seed)?, "power-order", POWER)?]) },
        Job { ids: &["specgd-continuous"], run: |config| Ok(vec![specgd_continuous(&mixtures(config.seed)?)?]) },
    ],
};

/// A horizon by which the rule has come close to its limit (GD) or through all saturations (the others).
pub(super) fn horizon(c: &Components, rule: Rule) -> f64 {
    let limits = c.limits();
    let largest = limits.iter().copied().fold(0.0, f64::max);
    match rule {
        Rule::Gd => 3.0 / c.s_xx().iter().copied().fold(f64::INFINITY, f64::min),
        Rule::Ngd => limits.iter().map(|a| a * a).sum::<f64>().sqrt(),
        Rule::Power { exponent } => {
            c.pairs().map(|(yx, xx)| 1.1 * yx.powf(1.0 - exponent) / ((1.0 - exponent) * xx)).fold(0.0, f64::max)
        }
        _ => largest,
    }
}

/// α of the matrix simulation after each number of steps (ascending).
fn simulate(mixture: &Mixture, rule: Rule, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    let matrices = mixture.matrix_moments()?;
    let mut simulation = Simulation::new(&matrices, &Network::LINEAR, rule, eta, mixture.seed())?;
    simulation.alphas_at(steps)
}

const DISCRETE_STEPS: usize = 200;

/// With d = k over 240 steps, through every saturation; with d > k the same, but for the rules that alternate around their limits
/// only until the first saturation, because rounding errors outside the span of the means are amplified afterwards
/// (`specgd-amplification`). NGD is compared for 199 steps, until it arrives: then it alternates as a whole, with the same effect.
fn discrete_form(config: &VerifyConfig, mixtures: &[Mixture], id: &'static str, rule: Rule) -> Result<Check> {
    let mut worst = 0.0_f64;
    let alternates = matches!(rule, Rule::SpecGd | Rule::Muon { .. });
    for mixture in mixtures {
        let c = mixture.components();
        // A little more than the horizon's two hundredth part: no component lands on its limit.
        let eta = horizon(&c, rule) / (DISCRETE_STEPS as f64 - 0.63);
        let mut compare = |mixture: &Mixture, count: usize| -> Result<()> {
            let steps: Vec<usize> = (0..=count).collect();
            let exact = discrete(&c, &Network::LINEAR, rule, eta, &steps)?;
            worst = worst.max(largest_difference(&exact, &simulate(mixture, rule, eta, &steps)?));
            Ok(())
        };
        let all = if rule == Rule::Ngd { DISCRETE_STEPS - 1 } else { DISCRETE_STEPS + 40 };
        compare(&Mixture::new(MixtureConfig { dim: None, ..mixture.config() })?, all)?;
        if mixture.dim() > mixture.classes() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 200")]
            let first = (mixture.horizon() / eta).floor() as usize;
            compare(mixture, if alternates { first } else { all })?;
        }
    }
    let span = match rule {
        Rule::Ngd => "199 steps, until it arrives",
        _ if alternates => "240 steps (d = k), and up to the first saturation (d > k)",
        _ => "240 steps",
    };
    let quantity = format!("largest difference of α, {span}, {} mixtures with random orthonormal means", mixtures.len());
    Ok(Check::at_most(id, worst, config.tolerance, quantity))
}

/// A component c that alternates at the fraction f of the grid (its residuals are f η s_c and (1 − f) η s_c in turn) turns an
/// error e towards the complement of the means into e (1 − ρ/f) and then e (1 − ρ/f)(1 − ρ/(1 − f)) = e (1 − ρ(1 − ρ)/(f(1 − f))),
/// ρ = σ²/s_c: the polar factor's off-diagonal entry is the gradient's, e σ², over the residual's size.
fn amplification(config: &VerifyConfig) -> Result<Check> {
    let mixture =
        Mixture::new(MixtureConfig { priors: vec![0.7, 0.3], mean_norm: 1.0, noise_std: 1.0, dim: Some(4), seed: config.seed })?;
    let matrices = mixture.matrix_moments()?;
    let fraction = 0.05;
    let eta = mixture.horizon() / (50.0 + fraction);
    let rho = mixture.noise_std().powi(2) / mixture.components().s_xx()[mixture.minority()];
    let predicted = (1.0 - rho * (1.0 - rho) / (fraction * (1.0 - fraction))).abs();
    let mut simulation = Simulation::new(&matrices, &Network::LINEAR, Rule::SpecGd, eta, config.seed)?;
    // The minority class alternates from step 51 on, the other one grows until step 89.
    let mut read = |step: usize| -> Result<f64> {
        while simulation.step() < step {
            simulation.advance()?;
        }
        Ok(simulation.off_diagonal())
    };
    let (early, late) = (read(68)?, read(86)?);
    let measured = (late / early).powf(1.0 / 9.0);
    let quantity = format!(
        "|measured/predicted growth − 1| for p = (0.7, 0.3), d = 4, f = {fraction}: {measured:.4} against {predicted:.4} every two steps"
    );
    Ok(Check::at_most("specgd-amplification", (measured / predicted - 1.0).abs(), 0.01, quantity))
}

fn hit(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let minority = mixture.minority();
        let eta = mixture.horizon() / 37.0;
        let steps: Vec<usize> = (37..=80).collect();
        for row in simulate(mixture, Rule::SpecGd, eta, &steps)? {
            worst = worst.max((row[minority] - mixture.horizon()).abs());
        }
    }
    let quantity = format!("largest |α_m − a_m*| from step 37 to 80 with η = a_m*/37, simulated, {} mixtures", mixtures.len());
    Ok(Check::at_most("specgd-hit", worst, config.tolerance, quantity))
}

fn muon_specgd(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let c = mixture.components();
        // 100.5 steps to the first saturation: the 100th is the last before it.
        let eta = mixture.horizon() / 100.5;
        let steps: Vec<usize> = (0..=100).collect();
        let exact = discrete(&c, &Network::LINEAR, Rule::SpecGd, eta, &steps)?;
        worst = worst.max(largest_difference(&exact, &simulate(mixture, MUON, eta, &steps)?));
    }
    let quantity = format!("largest difference of α over the 100 steps before it, β = 0.9, {} mixtures", mixtures.len());
    Ok(Check::at_most("muon-specgd", worst, config.tolerance, quantity))
}

/// Errors of the simulation against the flow at the same twenty times for η, η/2, η/4; the order is the last ratio's log₂.
fn order(config: &VerifyConfig, mixtures: &[Mixture], id: &'static str, rule: Rule) -> Result<Check> {
    const TIMES: usize = 20;
    let (mut least, mut finest) = (f64::INFINITY, 0.0_f64);
    for mixture in mixtures {
        let c = mixture.components();
        // NGD arrives at the optimum in finite time and then hovers: compare while it moves.
        let end = horizon(&c, rule) * if rule == Rule::Ngd { 0.9 } else { 1.0 };
        let times: Vec<f64> = (1..=TIMES).map(|i| end * i as f64 / TIMES as f64).collect();
        let exact = rule.closed_form(&c, &Network::LINEAR, &times)?;
        let errors = [10, 20, 40]
            .into_iter()
            .map(|each| {
                let steps: Vec<usize> = (1..=TIMES).map(|i| each * i).collect();
                let simulated = simulate(mixture, rule, end / (TIMES * each) as f64, &steps)?;
                Ok(largest_difference(&exact, &simulated))
            })
            .collect::<Result<Vec<f64>>>()?;
        // NGD on equal classes walks a straight line without any error.
        if errors[2] > config.tolerance {
            least = least.min((errors[1] / errors[2]).log2());
        }
        finest = finest.max(errors[2]);
    }
    let quantity = format!(
        "smallest observed order over {} mixtures from η = T/400 to T/800 (largest error at T/800: {finest:.1e})",
        mixtures.len()
    );
    Ok(Check::at_least(id, least, 0.9, quantity))
}

fn specgd_continuous(mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let c = mixture.components();
        for count in [50, 200] {
            let eta = 1.2 * horizon(&c, Rule::SpecGd) / count as f64;
            let steps: Vec<usize> = (0..=count).collect();
            let times: Vec<f64> = steps.iter().map(|&n| n as f64 * eta).collect();
            let exact = Rule::SpecGd.closed_form(&c, &Network::LINEAR, &times)?;
            worst = worst.max(largest_difference(&exact, &simulate(mixture, Rule::SpecGd, eta, &steps)?) / eta);
        }
    }
    let quantity = format!("largest |α − min(t, a*)|/η, 50 and 200 steps to 1.2 max a*, {} mixtures", mixtures.len());
    Ok(Check::at_most("specgd-continuous", worst, 1.0, quantity))
}
