//! Newton–Schulz steps in place of the polar factor: the response, and what it does to a rare component.

use faer::{Accum, Mat};
use rand::Rng;

use super::{Check, Group, Job, VerifyConfig, largest_difference};
use crate::error::Result;
use crate::linalg::multiply;
use crate::losses::matrix_losses;
use crate::mixture::{Mixture, MixtureConfig};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::newton_schulz::NewtonSchulz;
use crate::random::{Purpose, orthonormal, stream};
use crate::rules::{Rule, newton_schulz::matrix_direction};
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Newton–Schulz and a rare component",
    statements: &[
        ("ns-matrix", "Newton–Schulz steps on a matrix keep its singular vectors and map σ/‖G‖_F by φ"),
        (
            "ns-range",
            "φ maps [0.01, 1] onto the interval found from the critical points of the quintic: [0.6818, 1.1344] for 5 steps",
        ),
        (
            "ns-threshold",
            "φ first reaches a rate where the quintic's increasing branch pulls it back to: 1/2 at x = 0.00107 for 5 steps",
        ),
        ("ns-slope", "A very small singular value is amplified by 3.4445^steps"),
        ("ns-flow", "Muon with Newton–Schulz steps tends to the flow dα_c/dt = φ(r_c/‖r‖) with order 1 in η"),
        ("ns-delay", "A rare component needs D(p_m/‖p‖, 1/2) times as long as under SpecGD for half of its limit"),
        (
            "ns-dead-zone",
            "A saturated component's residual is multiplied by 1 − η s_xx κ/‖r‖ a step, and dies out for η < 2‖r‖/(κ s_xx)",
        ),
        ("ns-hover", "Beyond that it alternates at the x = |r_c|/‖r‖ with φ(x)/x = 2‖r‖/(η s_xx)"),
        ("ns-gap", "The gap (L_m^GF − L_m)/(μ t) begins at φ(p_m/‖p‖) − μ p_m"),
        (
            "ns-theorem",
            "The constant 1/4 of Theorem 1 fails under its conditions for Muon with 5 Newton–Schulz steps, for a prior small enough",
        ),
    ],
    jobs: &[
        Job { ids: &["ns-matrix"], run: |config| Ok(vec![matrix(config)]) },
        Job { ids: &["ns-range"], run: |_| Ok(vec![range()?]) },
        Job { ids: &["ns-threshold"], run: |_| Ok(vec![threshold()?]) },
        Job { ids: &["ns-slope"], run: |config| Ok(vec![slope(config)?]) },
        Job { ids: &["ns-flow"], run: |config| Ok(vec![flow(config)?]) },
        Job { ids: &["ns-delay"], run: |config| Ok(vec![delay(config)?]) },
        Job { ids: &["ns-dead-zone"], run: |config| Ok(vec![dead_zone(config)?]) },
        Job { ids: &["ns-hover"], run: |config| Ok(vec![hover(config)?]) },
        Job { ids: &["ns-gap"], run: |config| Ok(vec![gap(config)?]) },
        Job { ids: &["ns-theorem"], run: |config| Ok(vec![theorem(config)?]) },
    ],
};

/// Muon's number of steps.
const FIVE: usize = 5;

fn rule(steps: usize) -> Result<Rule> {
    Ok(Rule::NewtonSchulz { response: NewtonSchulz::new(steps)?, momentum: 0.0 })
}

/// Half of the rest for one class, most of the other half for another, and a rare class; μ = σ = 1.
fn with_minority(minority: f64, seed: u64) -> Result<Mixture> {
    let rest = 1.0 - minority;
    Mixture::new(MixtureConfig {
        priors: vec![0.6 * rest, 0.4 * rest, minority],
        mean_norm: 1.0,
        noise_std: 1.0,
        dim: Some(5),
        seed,
    })
}

/// U diag(`values`) Vᵀ with random bases, and the same bases.
fn with_values(values: &[f64], rows: usize, cols: usize, seed: u64, index: usize) -> (Mat<f64>, Mat<f64>, Mat<f64>) {
    let mut rng = stream(seed, Purpose::NewtonSchulz, index);
    let rank = values.len();
    let (left, right) = (orthonormal(rows, rank, &mut rng), orthonormal(cols, rank, &mut rng));
    let scaled = Mat::from_fn(rows, rank, |i, c| left[(i, c)] * values[c]);
    let mut matrix = Mat::zeros(rows, cols);
    multiply(matrix.as_mut(), Accum::Replace, scaled.as_ref(), right.transpose(), 1.0);
    (matrix, left, right)
}

/// The matrix iteration between the bases of its argument.
fn responses(steps: usize, matrix: &Mat<f64>, left: &Mat<f64>, right: &Mat<f64>) -> Mat<f64> {
    let mut out = Mat::zeros(matrix.nrows(), matrix.ncols());
    matrix_direction(steps, matrix, 0.0, out.as_mut());
    left.transpose() * &out * right
}

fn matrix(config: &VerifyConfig) -> Check {
    const SHAPES: [(usize, usize); 4] = [(3, 5), (8, 8), (6, 4), (10, 2)];
    let (mut worst, mut place) = (0.0_f64, String::new());
    for steps in 1..=FIVE {
        for (index, (rows, cols)) in SHAPES.into_iter().enumerate() {
            let mut rng = stream(config.seed, Purpose::NewtonSchulz, 100 + index);
            // From 1 down to 1e-5, evenly in the logarithm.
            let values: Vec<f64> = (0..rows.min(cols)).map(|_| 10.0_f64.powf(-5.0 * rng.random::<f64>())).collect();
            let (matrix, left, right) = with_values(&values, rows, cols, config.seed, index);
            let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
            let response = NewtonSchulz::new(steps).expect("from 1 to 5");
            let mapped = responses(steps, &matrix, &left, &right);
            for j in 0..values.len() {
                for i in 0..values.len() {
                    let expected = if i == j { response.response(values[i] / norm) } else { 0.0 };
                    let error = (mapped[(i, j)] - expected).abs();
                    if error > worst || error.is_nan() {
                        worst = error;
                        place = format!("{rows}×{cols}, {steps} steps, σ/‖G‖_F = {:.2e}", values[i] / norm);
                    }
                }
            }
        }
    }
    let quantity = format!("largest entry of Uᵀ NS(G) V − diag φ, 1 to 5 steps, 4 shapes, σ from 1 to 1e-5; worst at {place}");
    Check::at_most("ns-matrix", worst, config.tolerance, quantity)
}

/// The extremes of φ by brute force, on a grid that is even in ln x.
fn brute(response: NewtonSchulz, low: f64, points: u32) -> (f64, f64) {
    (0..=points)
        .map(|i| response.response((low.ln() * (1.0 - f64::from(i) / f64::from(points))).exp()))
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)))
}

fn range() -> Result<Check> {
    const LOW: f64 = 0.01;
    let mut worst = 0.0_f64;
    let mut steps_of_worst = 0;
    for steps in 1..=10 {
        let response = NewtonSchulz::new(steps)?;
        let (low, high) = response.image(LOW, 1.0)?;
        let (least, greatest) = brute(response, LOW, 60_000);
        let error = (low - least).abs().max((high - greatest).abs());
        if error > worst || error.is_nan() {
            (worst, steps_of_worst) = (error, steps);
        }
    }
    let (low, high) = NewtonSchulz::new(FIVE)?.image(LOW, 1.0)?;
    let quantity = format!(
        "largest difference of the ends of φ([0.01, 1]) from the extremes on 60,001 points, 1 to 10 steps, worst for {steps_of_worst}; 5 steps: [{low:.5}, {high:.5}]"
    );
    // The grid misses an extreme by at most the curvature over half a spacing of 8e-5 in ln x.
    Ok(Check::at_most("ns-range", worst, 1e-4, quantity))
}

fn threshold() -> Result<Check> {
    const SPACING: f64 = 1e-4;
    let mut worst = 0.0_f64;
    let mut half = 0.0;
    for steps in [1, 3, FIVE] {
        let response = NewtonSchulz::new(steps)?;
        for rate in [0.25, 0.5, 1.0] {
            let Some(predicted) = response.smallest_reaching(rate) else {
                worst = f64::NAN;
                continue;
            };
            // The first point from 1e-5 on that reaches it.
            let mut x = 1e-5_f64;
            while response.response(x) < rate && x < 1.0 {
                x *= 1.0 + SPACING;
            }
            let error = (predicted / x - 1.0).abs();
            if error > worst || error.is_nan() {
                worst = error;
            }
            if (steps, rate) == (FIVE, 0.5) {
                half = predicted;
            }
        }
    }
    let quantity = format!(
        "largest relative distance from the first point of a grid of spacing 1e-4 that reaches 1/4, 1/2, 1; 1, 3, 5 steps; 1/2 after 5 at x = {half:.6}"
    );
    Ok(Check::at_most("ns-threshold", worst, 1.5 * SPACING, quantity))
}

fn slope(config: &VerifyConfig) -> Result<Check> {
    let mut worst = 0.0_f64;
    for steps in 1..=10 {
        let response = NewtonSchulz::new(steps)?;
        // Small enough for the cubic term, large enough for rounding.
        let small = 1e-4 / 3.4445_f64.powf(steps as f64);
        let (matrix, left, right) = with_values(&[1.0, small], 3, 4, config.seed, 200 + steps);
        let measured = responses(steps, &matrix, &left, &right)[(1, 1)] / small;
        worst = worst.max((measured / response.slope() - 1.0).abs());
    }
    let quantity =
        "largest relative difference on 3×4 matrices with singular values 1 and 1e-4/3.4445^steps, 1 to 10 steps".into();
    Ok(Check::at_most("ns-slope", worst, 1e-6, quantity))
}

/// α of the simulation after each number of steps, ascending.
fn simulate(mixture: &Mixture, rule: Rule, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    let matrices = mixture.matrix_moments()?;
    let mut simulation = Simulation::new(&matrices, &Network::LINEAR, rule, eta, mixture.seed())?;
    simulation.alphas_at(steps)
}

/// Errors at the same times for η, η/2, η/4; up to seven tenths of the largest limit, where ‖r‖ is still large.
fn flow(config: &VerifyConfig) -> Result<Check> {
    const TIMES: usize = 14;
    let (mut least, mut finest) = (f64::INFINITY, 0.0_f64);
    for (minority, steps) in [(0.1, FIVE), (0.01, FIVE), (0.001, FIVE), (0.001, 3)] {
        let mixture = with_minority(minority, config.seed)?;
        let c = mixture.components();
        let end = 0.7 * c.limits().into_iter().fold(0.0, f64::max);
        let times: Vec<f64> = (1..=TIMES).map(|i| end * i as f64 / TIMES as f64).collect();
        let exact = rule(steps)?.closed_form(&c, &Network::LINEAR, &times)?;
        let mut errors = Vec::new();
        for each in [100, 200, 400] {
            let marks: Vec<usize> = (1..=TIMES).map(|i| each * i).collect();
            errors.push(largest_difference(&exact, &simulate(&mixture, rule(steps)?, end / (TIMES * each) as f64, &marks)?));
        }
        least = least.min((errors[1] / errors[2]).log2());
        finest = finest.max(errors[2]);
    }
    let quantity = format!(
        "smallest log₂ of the ratio of the errors at η and η/2, p_m from 0.1 to 0.001, 3 and 5 steps; largest error with the finest η: {finest:.1e}"
    );
    Ok(Check::at_least("ns-flow", least, 0.9, quantity))
}

fn delay(config: &VerifyConfig) -> Result<Check> {
    let (mut worst, mut place) = (0.0_f64, String::new());
    for (minority, steps) in [(1e-3, FIVE), (3e-4, FIVE), (1e-4, FIVE), (1e-3, 4)] {
        let mixture = with_minority(minority, config.seed)?;
        let norm = mixture.priors().iter().map(|p| p * p).sum::<f64>().sqrt();
        let predicted = NewtonSchulz::new(steps)?.delay(minority / norm, 0.5)?;
        let half = 0.5 * mixture.horizon();
        let eta = half / 100.0;
        let moments = mixture.matrix_moments()?;
        let mut simulation = Simulation::new(&moments, &Network::LINEAR, rule(steps)?, eta, mixture.seed())?;
        let mut before = 0.0;
        let mut measured = f64::NAN;
        while simulation.step() < 20_000 {
            simulation.advance()?;
            let now = simulation.alpha()[mixture.minority()];
            if now >= half {
                measured = (simulation.step() as f64 - (now - half) / (now - before)) * eta / half;
                break;
            }
            before = now;
        }
        let error = (measured / predicted - 1.0).abs();
        if error > worst || error.is_nan() {
            worst = error;
            place = format!("p_m = {minority}, {steps} steps: {measured:.3} against {predicted:.3}");
        }
    }
    let quantity = format!("largest |measured/predicted − 1| of the time to a_m*/2 over SpecGD's, 4 cases; worst at {place}");
    // ‖r‖ falls meanwhile by about the delay times p_m/p_M.
    Ok(Check::at_most("ns-delay", worst, 0.015, quantity))
}

/// The rare class after its saturation.
struct Saturated {
    eta: f64,
    s_xx: f64,
    /// Its residual and ‖r‖ after each step.
    read: Vec<(f64, f64)>,
}

/// Runs the rare class's mixture with η = `ratio` ‖r(0)‖/(κ s_xx) until its residual is read: (r, ‖r‖) after each of `steps` steps.
fn saturated(config: &VerifyConfig, ratio: f64, steps: std::ops::Range<usize>) -> Result<Saturated> {
    let mixture = with_minority(0.01, config.seed)?;
    let c = mixture.components();
    let minority = mixture.minority();
    let response = NewtonSchulz::new(FIVE)?;
    let norm = c.s_yx().iter().map(|yx| yx * yx).sum::<f64>().sqrt();
    let s_xx = c.s_xx()[minority];
    // κ is the product of the factors, not the formula's.
    let eta = ratio * norm / (3.4445_f64.powi(5) * s_xx);
    let steps: Vec<usize> = steps.collect();
    let read = simulate(&mixture, Rule::NewtonSchulz { response, momentum: 0.0 }, eta, &steps)?
        .into_iter()
        .map(|alpha| {
            let residuals: Vec<f64> = c.pairs().zip(&alpha).map(|((yx, xx), a)| yx - xx * a).collect();
            (residuals[minority], residuals.iter().map(|r| r * r).sum::<f64>().sqrt())
        })
        .collect();
    Ok(Saturated { eta, s_xx, read })
}

fn dead_zone(config: &VerifyConfig) -> Result<Check> {
    let response = NewtonSchulz::new(FIVE)?;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for ratio in [0.3, 0.7, 1.3] {
        let Saturated { eta, s_xx, read } = saturated(config, ratio, 0..80)?;
        let mut pairs = 0;
        for pair in read.windows(2) {
            let ((r, norm), (next, _)) = (pair[0], pair[1]);
            // Small enough for φ's cubic term, large enough for the rounding of s_yx − s_xx α.
            if !(1e-12..1e-6).contains(&r.abs()) || next.abs() < 1e-13 {
                continue;
            }
            pairs += 1;
            let error = (next / r - response.damping(eta, s_xx, norm)).abs();
            if error > worst || error.is_nan() {
                worst = error;
                place = format!("η κ s_xx/‖r(0)‖ = {ratio}: {:.4} a step", next / r);
            }
        }
        if pairs == 0 {
            worst = f64::NAN;
        }
    }
    let quantity = format!(
        "largest |r(n+1)/r(n) − (1 − η s_xx κ/‖r‖)| of the saturated class p_m = 0.01 with |r| from 1e-12 to 1e-6; worst at {place}"
    );
    Ok(Check::at_most("ns-dead-zone", worst, 1e-3, quantity))
}

fn hover(config: &VerifyConfig) -> Result<Check> {
    let response = NewtonSchulz::new(FIVE)?;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for ratio in [2.2, 2.35, 2.5] {
        let Saturated { eta, s_xx, read } = saturated(config, ratio, 0..18)?;
        // The majority learns meanwhile: ‖r‖ falls by a part in a hundred every few steps.
        for pair in read[10..].windows(2) {
            let amplitude = 0.5 * (pair[0].0 - pair[1].0).abs();
            let norm = 0.5 * (pair[0].1 + pair[1].1);
            let alternates = pair[0].0 * pair[1].0 < 0.0;
            let measured = if alternates { amplitude / norm } else { 0.0 };
            let error = response.hover(eta, s_xx, norm).map_or(f64::NAN, |x| (measured / x - 1.0).abs());
            if error > worst || error.is_nan() {
                worst = error;
                place = format!("η κ s_xx/‖r(0)‖ = {ratio}: x = {measured:.5}");
            }
        }
    }
    let quantity =
        format!("largest |measured/predicted − 1| of the alternating share x, steps 10 to 18, p_m = 0.01; worst at {place}");
    Ok(Check::at_most("ns-hover", worst, 0.05, quantity))
}

/// (L_m^GD − L_m^NS)/(μ η) after one step of real matrices.
fn first_gap(mixture: &Mixture, steps: usize) -> Result<f64> {
    let moments: MatrixMoments = mixture.matrix_moments()?;
    let eta = 1e-5 * mixture.horizon();
    let mut found = [0.0; 2];
    for (loss, rule) in found.iter_mut().zip([Rule::Gd, rule(steps)?]) {
        let mut simulation = Simulation::new(&moments, &Network::LINEAR, rule, eta, mixture.seed())?;
        simulation.advance()?;
        // Less ½, the loss at 0: the differences are small.
        *loss = matrix_losses(mixture, &moments, simulation.weights()).minority - 0.5;
    }
    Ok((found[0] - found[1]) / (mixture.mean_norm() * eta))
}

fn gap(config: &VerifyConfig) -> Result<Check> {
    let (mut worst, mut place) = (0.0_f64, String::new());
    for steps in [1, 3, FIVE] {
        for minority in [0.04, 4e-3, 4e-4] {
            let mixture = with_minority(minority, config.seed)?;
            let (measured, predicted) = (first_gap(&mixture, steps)?, NewtonSchulz::new(steps)?.early_gap(&mixture));
            let error = (measured - predicted).abs();
            if error > worst || error.is_nan() {
                worst = error;
                place = format!("p_m = {minority}, {steps} steps: {measured:.4} against {predicted:.4}");
            }
        }
    }
    let quantity = format!("largest difference of gap/(μ t) after one step of η = 1e-5 t*, 9 cases; worst at {place}");
    // Rounding of a loss near ½ over μ η = 4e-9, and second order in η.
    Ok(Check::at_most("ns-gap", worst, 1e-5, quantity))
}

/// Both sides of the prior at which the early gap is 1/4; the mixture satisfies the conditions of Theorem 1.
fn theorem(config: &VerifyConfig) -> Result<Check> {
    let response = NewtonSchulz::new(FIVE)?;
    let early = |minority: f64| Ok::<f64, crate::Error>(response.early_gap(&with_minority(minority, config.seed)?));
    let (mut low, mut high) = (1e-6_f64, 1e-2_f64);
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if early(middle)? < 0.25 { low = middle } else { high = middle }
    }
    let below = with_minority(0.9 * low, config.seed)?;
    let above = first_gap(&with_minority(1.1 * high, config.seed)?, FIVE)?;
    let allowed = below.violated_conditions().is_empty() && above > 0.25;
    let value = if allowed { first_gap(&below, FIVE)? } else { f64::NAN };
    let quantity = format!(
        "gap/(μ t) after one step at p_m = {:.3e}, k = 3, μ = σ = 1, within the conditions; the prior with 1/4 is {high:.3e}, above it {above:.3}",
        0.9 * low
    );
    Ok(Check::below("ns-theorem", value, 0.25, quantity))
}
