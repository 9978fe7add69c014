//! Muon with momentum: the overshoot beyond a limit, the swings after it, and the cycle in the end.

use rand::Rng;

use super::linear::mixtures;
use super::{Check, Group, Job, VerifyConfig};
use crate::components::Components;
use crate::discrete::Recursion;
use crate::error::Result;
use crate::losses::losses;
use crate::mixture::Mixture;
use crate::moments::MatrixMoments;
use crate::momentum::{
    muon_cycle_offset, muon_least_swing, muon_longest_run, muon_overshoot, muon_step_size, muon_swing, nesterov_overshoot,
};
use crate::network::Network;
use crate::random::{Purpose, stream};
use crate::rules::Rule;
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Muon with momentum",
    statements: &[
        (
            "muon-overshoot",
            "Muon passes a limit N steps away by ⌊N + G(N)⌋ − N steps, between β/(1−β) and 1/(1−β) when N is large",
        ),
        ("muon-bound", "After the first saturation |α_c − a_c*| ≤ η/(1−β) for ever"),
        ("muon-matrix", "Simulated with matrices in rotated bases, every class passes its limit by that overshoot"),
        (
            "muon-swing",
            "A swing after one of X steps reaches between the roots of (q − Y)e^{λY} = (q + X)e^{−λX} and of the same with τ",
        ),
        ("muon-swing-sharp", "Both bounds of a swing are attained"),
        ("muon-longest-run", "In the end |α_c − a_c*| ≤ η T/2 with T/2 = τ tanh(λT/2), T ≈ √(6/(1−β))"),
        (
            "muon-cycle",
            "A cycle of T steps up and T down exists exactly if its middle is within τ tanh(λT/2) − T/2 steps of the limit",
        ),
        ("muon-loss", "In the end Muon's population loss is at most Σ_c s_xx,c η² T²/8 above its minimum"),
        ("muon-share", "With η = φ(1−β) a_m* every class passes its limit by βφ a_m* to φ a_m*, at most φ of the rarest's limit"),
        ("nesterov-overshoot", "Nesterov's look-ahead shortens the overshoot by β of a step, before rounding to the grid"),
    ],
    jobs: &[
        Job { ids: &["muon-overshoot", "muon-bound"], run: overshoot },
        Job { ids: &["muon-matrix"], run: matrix },
        Job { ids: &["muon-swing", "muon-swing-sharp"], run: swings },
        Job { ids: &["muon-longest-run"], run: longest_run },
        Job { ids: &["muon-cycle"], run: cycle },
        Job { ids: &["muon-loss"], run: loss },
        Job { ids: &["muon-share"], run: share },
        Job { ids: &["nesterov-overshoot"], run: nesterov },
    ],
};

/// Steps of difference that are rounding: distances of thousands of steps have errors of 1e-12, roots of 1e-10.
const STEP_TOLERANCE: f64 = 1e-8;

/// Components with limits at random distances, and a step size.
struct Draw {
    momentum: f64,
    eta: f64,
    components: Components,
    /// N = a*/η of each component.
    distances: Vec<f64>,
}

impl Draw {
    /// 1 − β log-uniform from `smallest` to 1, and `count` distances log-uniform from 0.2 to `farthest` steps; s_xx and η are log-uniform.
    fn new(seed: u64, purpose: Purpose, index: usize, count: usize, smallest: f64, farthest: f64) -> Result<Self> {
        let mut rng = stream(seed, purpose, index);
        let mut log_uniform = |low: f64, high: f64| rng.random_range(low.ln()..high.ln()).exp();
        let momentum = 1.0 - log_uniform(smallest, 1.0);
        let eta = log_uniform(1e-5, 1.0);
        let s_xx: Vec<f64> = (0..count).map(|_| log_uniform(0.1, 10.0)).collect();
        let s_yx = s_xx.iter().map(|xx| xx * eta * log_uniform(0.2, farthest)).collect();
        let components = Components::new(s_yx, s_xx, count)?;
        let distances = components.limits().iter().map(|limit| limit / eta).collect();
        Ok(Self { momentum, eta, components, distances })
    }

    /// Calls `visit` with (a* − α)/η of all components after each of `steps` steps of the recursion.
    fn follow(&self, steps: usize, mut visit: impl FnMut(usize, &[f64])) -> Result<()> {
        let rule = Rule::Muon { momentum: self.momentum };
        let mut recursion = Recursion::new(&self.components, &Network::LINEAR, rule, self.eta)?;
        let limits = self.components.limits();
        for step in 0..steps {
            let left: Vec<f64> = recursion.alpha().iter().zip(&limits).map(|(alpha, limit)| (limit - alpha) / self.eta).collect();
            visit(step, &left);
            recursion.advance();
        }
        Ok(())
    }
}

/// How far a path goes before it turns for the first time; later swings of one that starts near its limit may go farther.
#[derive(Clone)]
struct FirstSwing {
    beyond: f64,
    turned: bool,
}

impl Default for FirstSwing {
    fn default() -> Self {
        Self { beyond: f64::NEG_INFINITY, turned: false }
    }
}

impl FirstSwing {
    fn see(&mut self, beyond: f64) {
        self.turned |= beyond < self.beyond;
        if !self.turned {
            self.beyond = beyond;
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive numbers of steps, at most 1e6")]
fn whole(steps: f64) -> usize {
    steps.ceil().clamp(0.0, 1e6) as usize
}

fn overshoot(config: &VerifyConfig) -> Result<Vec<Check>> {
    const DRAWS: usize = 24;
    const COUNT: usize = 40;
    let (mut worst, mut place) = (0.0_f64, String::new());
    let mut largest = 0.0_f64;
    for index in 0..DRAWS {
        let draw = Draw::new(config.seed, Purpose::MuonOvershoot, index, COUNT, 1e-3, 2000.0)?;
        let tau = 1.0 / (1.0 - draw.momentum);
        let mut first = vec![FirstSwing::default(); COUNT];
        draw.follow(whole(2000.0 + 3.0 * tau), |_, left| {
            for (first, left) in first.iter_mut().zip(left) {
                first.see(-left);
                // Beyond the limit once, either side counts.
                if first.beyond > 0.0 {
                    largest = largest.max(left.abs() / tau);
                }
            }
        })?;
        for (measured, &distance) in first.iter().map(|first| first.beyond).zip(&draw.distances) {
            let difference = (muon_overshoot(draw.momentum, distance)? - measured).abs();
            if difference.is_nan() || difference > worst {
                worst = difference;
                place = format!("β = {:.4}, N = {distance:.2}", draw.momentum);
            }
        }
    }
    let trials = DRAWS * COUNT;
    Ok(vec![
        Check::at_most(
            "muon-overshoot",
            worst,
            STEP_TOLERANCE,
            format!("largest |measured − predicted| in steps, recursion, {trials} trials in β, N, s_xx, η (worst: {place})"),
        ),
        Check::at_most(
            "muon-bound",
            largest,
            1.0 + STEP_TOLERANCE,
            format!("largest |α − a*|(1−β)/η from the first step beyond a* on, recursion, {trials} trials in β, N, s_xx, η"),
        ),
    ])
}

/// Muon on matrices with both bases random: calls `visit` after each step.
fn simulate(mixture: &Mixture, momentum: f64, eta: f64, steps: usize, mut visit: impl FnMut(usize, &[f64])) -> Result<()> {
    let moments = MatrixMoments::rotated(mixture, mixture.seed())?;
    let mut simulation = Simulation::new(&moments, &Network::LINEAR, Rule::Muon { momentum }, eta, mixture.seed())?;
    for step in 0..steps {
        visit(step, &simulation.alpha());
        simulation.advance()?;
    }
    Ok(())
}

/// (α_c − a_c*)/η where every class turns for the first time in the matrix simulation.
fn simulated_overshoots(mixture: &Mixture, momentum: f64, eta: f64) -> Result<Vec<f64>> {
    let limits = mixture.components().limits();
    let farthest = limits.iter().copied().fold(0.0, f64::max) / eta;
    let mut first = vec![FirstSwing::default(); limits.len()];
    simulate(mixture, momentum, eta, whole(farthest + 1.0 / (1.0 - momentum)) + 2, |_, alpha| {
        for (first, (alpha, limit)) in first.iter_mut().zip(alpha.iter().zip(&limits)) {
            first.see((alpha - limit) / eta);
        }
    })?;
    Ok(first.into_iter().map(|first| first.beyond).collect())
}

fn matrix(config: &VerifyConfig) -> Result<Vec<Check>> {
    let mixtures = mixtures(config.seed)?;
    let mut worst = 0.0_f64;
    let mut classes = 0;
    for mixture in &mixtures {
        for momentum in [0.5, 0.9, 0.95] {
            let eta = mixture.horizon() / 25.3;
            let measured = simulated_overshoots(mixture, momentum, eta)?;
            classes += measured.len();
            for (measured, limit) in measured.iter().zip(mixture.components().limits()) {
                let difference = (muon_overshoot(momentum, limit / eta)? - measured).abs();
                worst = if difference.is_nan() { difference } else { worst.max(difference) };
            }
        }
    }
    let quantity = format!(
        "largest |measured − predicted| in steps, η = a_m*/25.3, β = 0.5, 0.9, 0.95, {classes} classes of {} mixtures",
        mixtures.len()
    );
    Ok(vec![Check::at_most("muon-matrix", worst, 1e-6, quantity)])
}

/// Where the direction of each component turned, as distances beyond the limit, starting with the distance of the start.
fn turning_points(draw: &Draw, steps: usize) -> Result<Vec<Vec<f64>>> {
    let mut turns: Vec<Vec<f64>> = draw.distances.iter().map(|&distance| vec![distance]).collect();
    let mut last = [draw.distances.clone(), draw.distances.clone()];
    draw.follow(steps, |step, left| {
        for (c, turns) in turns.iter_mut().enumerate() {
            let (before, now) = (last[1][c] - last[0][c], left[c] - last[1][c]);
            if step > 1 && before * now < 0.0 {
                turns.push(last[1][c].abs());
            }
        }
        last.swap(0, 1);
        last[1].copy_from_slice(left);
    })?;
    Ok(turns)
}

fn swings(config: &VerifyConfig) -> Result<Vec<Check>> {
    const DRAWS: usize = 16;
    const COUNT: usize = 20;
    let (mut worst, mut swings) = (f64::NEG_INFINITY, 0_usize);
    let (mut to_upper, mut to_lower) = (f64::INFINITY, f64::INFINITY);
    for index in DRAWS..2 * DRAWS {
        let draw = Draw::new(config.seed, Purpose::MuonOvershoot, index, COUNT, 4e-3, 300.0)?;
        let tau = 1.0 / (1.0 - draw.momentum);
        for turns in turning_points(&draw, whole(300.0 + 8.0 * tau))? {
            for (place, pair) in turns.windows(2).enumerate() {
                let above = muon_swing(draw.momentum, pair[0])? - pair[1];
                let below = if place == 0 { f64::INFINITY } else { pair[1] - muon_least_swing(draw.momentum, pair[0])? };
                swings += 1;
                worst = worst.max(-above).max(-below);
                if above.is_nan() || below.is_nan() {
                    worst = f64::NAN;
                }
                // Where a swing is a matter of many steps.
                if tau > 20.0 && pair[0] > 0.2 * tau {
                    to_upper = to_upper.min(above);
                    to_lower = to_lower.min(below);
                }
            }
        }
    }
    let trials = DRAWS * COUNT;
    Ok(vec![
        Check::at_most(
            "muon-swing",
            worst,
            STEP_TOLERANCE,
            format!("largest step outside of the bounds, recursion, {swings} swings of {trials} trials in β, N, s_xx, η"),
        ),
        Check::at_most(
            "muon-swing-sharp",
            to_upper.max(to_lower),
            0.25,
            format!("distance in steps of the nearest swing to its bounds: {to_upper:.3} from above, {to_lower:.3} from below"),
        ),
    ])
}

fn longest_run(config: &VerifyConfig) -> Result<Vec<Check>> {
    const COUNT: usize = 30;
    let (mut worst, mut place, mut nearest) = (f64::NEG_INFINITY, String::new(), 0.0_f64);
    for (index, momentum) in [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98].into_iter().enumerate() {
        let mut draw = Draw::new(config.seed, Purpose::MuonCycle, index, COUNT, 0.1, 100.0)?;
        draw.momentum = momentum;
        let half = 0.5 * muon_longest_run(momentum)?;
        let tau = 1.0 / (1.0 - momentum);
        let (settled, end) = (whole(200.0 + 200.0 * tau), whole(300.0 + 300.0 * tau));
        draw.follow(end, |step, left| {
            if step < settled {
                return;
            }
            for (left, distance) in left.iter().zip(&draw.distances) {
                let excess = left.abs() - half;
                nearest = nearest.max(left.abs() / half);
                if excess.is_nan() || excess > worst {
                    worst = excess;
                    place = format!("β = {momentum}, N = {distance:.2}");
                }
            }
        })?;
    }
    let quantity = format!(
        "largest |α − a*|/η − T/2 after 200(1 + 1/(1−β)) steps, recursion, 240 trials, β from 0 to 0.98 (worst: {place}; largest ratio {nearest:.3})"
    );
    Ok(vec![Check::at_most("muon-longest-run", worst, STEP_TOLERANCE, quantity)])
}

/// Whether the recursion, after being driven up and down by `half_period` steps until the momentum has settled, goes on by itself.
fn cycle_persists(momentum: f64, half_period: usize, offset: f64) -> bool {
    let (mut left, mut average) = (0.5 * half_period as f64 + offset, 0.0);
    let driven = whole(40.0 / (1.0 - momentum) / (2 * half_period) as f64).max(2) * 2 * half_period;
    let total = 2 * driven;
    (0..total).all(|step| {
        average = momentum * average + (1.0 - momentum) * left;
        let scheduled = if step % (2 * half_period) < half_period { 1.0 } else { -1.0 };
        left -= scheduled;
        step < driven || average * scheduled > 0.0
    })
}

fn cycle(_: &VerifyConfig) -> Result<Vec<Check>> {
    let (mut wrong, mut tried) = (0, 0);
    for momentum in [0.0, 0.3, 0.5, 0.7, 0.9, 0.95, 0.98] {
        let mut half_period = 1;
        loop {
            let offset = muon_cycle_offset(momentum, half_period)?;
            for (share, expected) in [(0.98, true), (-0.98, true), (1.02, false), (-1.02, false)] {
                tried += 1;
                wrong += i32::from(cycle_persists(momentum, half_period, share * offset.max(0.0)) != (expected && offset > 0.0));
            }
            half_period += 1;
            if offset <= 0.0 {
                break;
            }
        }
    }
    let quantity = format!(
        "wrong verdicts of {tried} at 0.98 and 1.02 of the offset, all T up to the first without a cycle, β from 0 to 0.98"
    );
    Ok(vec![Check::at_most("muon-cycle", f64::from(wrong), 0.0, quantity)])
}

fn loss(config: &VerifyConfig) -> Result<Vec<Check>> {
    let mixtures = mixtures(config.seed)?;
    let mut worst = 0.0_f64;
    for mixture in &mixtures {
        let c = mixture.components();
        // The population loss is the mean of the class losses.
        let population = |alpha: &[f64]| -> f64 {
            losses(mixture, alpha).classes.iter().zip(mixture.priors()).map(|(loss, prior)| loss * prior).sum()
        };
        let least = population(&c.limits());
        for momentum in [0.5, 0.9] {
            let eta = mixture.horizon() / 10.3;
            let run = muon_longest_run(momentum)?;
            let bound: f64 = c.s_xx().iter().map(|xx| xx * (eta * run).powi(2) / 8.0).sum();
            let farthest = c.limits().into_iter().fold(0.0, f64::max) / eta;
            let settled = whole(farthest + 60.0 / (1.0 - momentum));
            simulate(mixture, momentum, eta, settled + 200, |step, alpha| {
                if step >= settled {
                    worst = worst.max((population(alpha) - least) / bound);
                }
            })?;
        }
    }
    let quantity = format!(
        "largest excess over the bound, η = a_m*/10.3, β = 0.5, 0.9, 200 steps after the majority and 60/(1−β) more, {} mixtures",
        mixtures.len()
    );
    Ok(vec![Check::at_most("muon-loss", worst, 1.0, quantity)])
}

fn share(config: &VerifyConfig) -> Result<Vec<Check>> {
    const SHARE: f64 = 0.1;
    let mixtures = mixtures(config.seed)?;
    let (mut worst, mut range) = (f64::NEG_INFINITY, (f64::INFINITY, 0.0_f64));
    for mixture in &mixtures {
        for momentum in [0.5, 0.9] {
            let eta = muon_step_size(momentum, mixture.horizon(), SHARE)?;
            let measured = simulated_overshoots(mixture, momentum, eta)?;
            for beyond in measured {
                let relative = beyond * eta / (SHARE * mixture.horizon());
                range = (range.0.min(relative), range.1.max(relative));
                // The average still holds a part (1 + N/τ) β^N of the start, at least ten times 1/(1−β) steps away.
                worst = worst.max(relative - 1.0).max(momentum - 1e-3 - relative);
            }
        }
    }
    let quantity = format!(
        "largest violation; the overshoots are from {:.3} to {:.3} of φ a_m*, φ = 0.1, β = 0.5, 0.9, simulated, {} mixtures",
        range.0,
        range.1,
        mixtures.len()
    );
    Ok(vec![Check::at_most("muon-share", worst, 0.0, quantity)])
}

fn nesterov(config: &VerifyConfig) -> Result<Vec<Check>> {
    const DRAWS: usize = 24;
    const COUNT: usize = 10;
    let mut worst = 0.0_f64;
    for index in 0..DRAWS {
        let draw = Draw::new(config.seed, Purpose::MuonOvershoot, 2 * DRAWS + index, COUNT, 1e-3, 2000.0)?;
        let beta = draw.momentum;
        for &distance in &draw.distances {
            let (mut left, mut average, mut first) = (distance, 0.0, FirstSwing::default());
            while !first.turned {
                first.see(-left);
                average = beta * average + (1.0 - beta) * left;
                left -= (beta * average + (1.0 - beta) * left).signum();
            }
            let difference = (nesterov_overshoot(beta, distance)? - first.beyond).abs();
            worst = if difference.is_nan() { difference } else { worst.max(difference) };
        }
    }
    let quantity = format!("largest |measured − predicted| in steps, recursion, {} trials in β, N", DRAWS * COUNT);
    Ok(vec![Check::at_most("nesterov-overshoot", worst, STEP_TOLERANCE, quantity)])
}
