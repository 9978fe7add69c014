use crate::error::{Error, Result};
use crate::part::{Part, part};
use crate::rules::Rule;

const ROUNDS: usize = 200;

/// How far Muon with momentum β passes the limit of a component of a linear model before it turns, in steps: (α_c − a_c*)/η there.
///
/// `distance` is N = a_c*/η, the number of steps to the limit. The value is ⌊N + G(N)⌋ − N with G of [`muon_swing`]: between G(N) − 1 and
/// G(N), hence less than 1/(1−β), and less than N + 1. It depends on nothing but β and N: all components that are far from their limit at the
/// start pass it by the same β/(1−β) to 1/(1−β) steps. Exact for the recursion of [`discrete`](crate::discrete()), except where the
/// momentum vanishes exactly at a step. Later swings are smaller, unless N is less than T/2 of [`muon_longest_run`]. Derived in
/// [`crate::derivations::momentum`].
///
/// Fails for β outside \[0, 1) or a distance that is not positive and finite.
///
/// ```
/// use isorate_theory::muon_overshoot;
///
/// // Far from the limit, β/(1 − β) = 9 steps and the part of a step to the next grid point.
/// assert!((muon_overshoot(0.9, 1000.25)? - 9.75).abs() < 1e-9);
/// // From near by, the average still holds the start.
/// assert!(muon_overshoot(0.9, 5.25)? < 4.0);
/// // SpecGD passes by less than a step.
/// assert!((muon_overshoot(0.0, 5.25)? - 0.75).abs() < 1e-15);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn muon_overshoot(momentum: f64, distance: f64) -> Result<f64> {
    let swing = muon_swing(momentum, distance)?;
    if momentum == 0.0 {
        // A limit on the grid is hit, and kept.
        return Ok(distance.ceil() - distance);
    }
    Ok((distance + swing).floor() - distance)
}

/// G(X): no swing of Muon with momentum β reaches as far beyond the limit as G(X) steps, if the swing before it ended X steps away on
/// the other side (or the component started from there).
///
/// With τ = 1/(1−β) and λ = ln(1/β), G(X) is the larger root Y of (τ − Y) e^{λY} = (τ + X) e^{−λX}, that is
/// Y = τ + W₀(−κ e^{−κ})/λ with κ = λ(τ + X) and Lambert's W. G rises from 0 to τ, G(X) < X beyond T/2 of [`muon_longest_run`], and
/// for β → 1 it is τ F(X/τ) with F(x) = 1 + W₀(−(1+x) e^{−(1+x)}). Derived in [`crate::derivations::momentum`].
///
/// Fails for β outside \[0, 1) or a distance that is not positive and finite.
pub fn muon_swing(momentum: f64, distance: f64) -> Result<f64> {
    check(momentum, distance)?;
    let (tau, lambda) = scales(momentum);
    let start = part(Part::MuonWarmStart, (tau + distance) * (-lambda * distance).exp());
    Ok(larger_root(lambda, part(Part::MuonMemory, tau), start))
}

/// The least that a swing of Muon reaches beyond the limit after one that ended `distance` = X steps away: the larger root Y of
/// (q − Y) e^{λY} = (q + X) e^{−λX}, q = β/(1−β), or 0 where that is negative. Not for the first swing, which is
/// [`muon_overshoot`].
///
/// Fails like [`muon_swing`].
pub fn muon_least_swing(momentum: f64, distance: f64) -> Result<f64> {
    check(momentum, distance)?;
    let (tau, lambda) = scales(momentum);
    let memory = part(Part::MuonLeast, momentum * tau);
    if momentum == 0.0 {
        return Ok(0.0);
    }
    Ok(larger_root(lambda, memory, (memory + distance) * (-lambda * distance).exp()).max(0.0))
}

/// T: in the end no run of steps in one direction is longer, and |α_c − a_c*| ≤ η T/2 for every component of a linear model under Muon.
///
/// T is the positive root of T/2 = τ tanh(λT/2) with τ = 1/(1−β), λ = ln(1/β); it is near √(6/(1−β)) for β near 1 and 2 for
/// β = 0. Symmetric cycles of every whole half-period below T exist (see [`muon_cycle_offset`]). Derived in
/// [`crate::derivations::momentum`]. Fails for β outside \[0, 1).
///
/// ```
/// let run = isorate_theory::muon_longest_run(0.99)?;
/// assert!(run > 24.0 && run < (6.0_f64 / 0.01).sqrt());
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn muon_longest_run(momentum: f64) -> Result<f64> {
    Rule::Muon { momentum }.check()?;
    let (tau, lambda) = scales(momentum);
    let tau = part(Part::MuonLongestRun, tau);
    // τ tanh(λT/2) − T/2 is concave, so that Newton's method falls to the larger root from above.
    let mut run = 2.0 * tau;
    for _ in 0..ROUNDS {
        let tanh = (0.5 * lambda * run).tanh();
        let slope = if lambda.is_finite() { 0.5 * lambda * tau * (1.0 - tanh * tanh) } else { 0.0 } - 0.5;
        let next = run - (tau * tanh - 0.5 * run) / slope;
        if next >= run || !next.is_finite() {
            break;
        }
        run = next;
    }
    Ok(run)
}

/// How far, in steps, the middle of a symmetric cycle may be from the limit: α goes up for `half_period` = T steps and down for as many,
/// for ever, exactly if |c| < τ tanh(λT/2) − T/2, where a* + c η is its middle. Not positive if there is no such cycle.
///
/// Derived in [`crate::derivations::momentum`]. Fails for β outside \[0, 1) or T = 0.
pub fn muon_cycle_offset(momentum: f64, half_period: usize) -> Result<f64> {
    Rule::Muon { momentum }.check()?;
    if half_period == 0 {
        return Err(Error::setting("half_period", half_period, "must be at least one step", "1 is the cycle of SpecGD"));
    }
    let (tau, lambda) = scales(momentum);
    let half = 0.5 * half_period as f64;
    Ok(part(Part::MuonCycle, tau * (lambda * half).tanh()) - half)
}

/// The step size η = φ (1−β) a* up to which Muon passes a limit a* = `limit` by less than φ a*, φ = `share`.
///
/// The overshoot is less than η/(1−β) whatever the start. All classes pass their limits by the same amount, so the rarest, with the
/// smallest limit, has the largest overshoot relative to it, and decides. Fails for β outside \[0, 1), or a limit or share that is
/// not positive and finite.
///
/// ```
/// // a_m* = 0.01: a tenth of it allows η = 1e-4 at β = 0.9, ten times less than without momentum.
/// assert!((isorate_theory::muon_step_size(0.9, 0.01, 0.1)? - 1e-4).abs() < 1e-18);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn muon_step_size(momentum: f64, limit: f64, share: f64) -> Result<f64> {
    Rule::Muon { momentum }.check()?;
    for (name, value) in [("limit", limit), ("share", share)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::setting(
                name,
                value,
                "must be positive and finite",
                "the limit of a class is s_yx/s_xx; a share of it is 0.1, say",
            ));
        }
    }
    Ok(share * part(Part::MuonStepSize, 1.0 - momentum) * limit)
}

/// [`muon_overshoot`] with Nesterov's look-ahead: the direction is that of β M + (1−β) ∇ after M ← β M + (1−β) ∇.
///
/// It is ⌊N + Y⌋ − N with the larger root Y of (τ − β − Y) e^{λY} = β (τ + N) e^{−λN}: far from the limit β less than without, which is at
/// most one step. Fails like [`muon_overshoot`].
pub fn nesterov_overshoot(momentum: f64, distance: f64) -> Result<f64> {
    check(momentum, distance)?;
    if momentum == 0.0 {
        return Ok(distance.ceil() - distance);
    }
    let (tau, lambda) = scales(momentum);
    let start = momentum * (tau + distance) * (-lambda * distance).exp();
    let swing = larger_root(lambda, tau - part(Part::NesterovAhead, momentum), start);
    Ok((distance + swing).floor() - distance)
}

/// τ = 1/(1−β) and λ = ln(1/β).
fn scales(momentum: f64) -> (f64, f64) {
    (1.0 / (1.0 - momentum), -momentum.ln())
}

/// The larger root Y of (b − Y) e^{λY} = d ≥ 0. As a zero of Y − b + d e^{−λY}, which is convex, it is reached from b by Newton's method
/// from above.
fn larger_root(lambda: f64, b: f64, d: f64) -> f64 {
    let mut y = b;
    for _ in 0..ROUNDS {
        let decayed = d * (-lambda * y).exp();
        let next = y - (y - b + decayed) / (1.0 - lambda * decayed);
        if next >= y || !next.is_finite() {
            break;
        }
        y = next;
    }
    y
}

fn check(momentum: f64, distance: f64) -> Result<()> {
    Rule::Muon { momentum }.check()?;
    if distance.is_finite() && distance > 0.0 {
        return Ok(());
    }
    Err(Error::setting(
        "distance",
        distance,
        "the number of steps to the limit must be positive and finite",
        "it is a*/η, the limit over the step size",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swings_solve_their_equation_and_have_their_limits() {
        for momentum in [0.01, 0.3, 0.5, 0.9, 0.99, 0.9999] {
            let (tau, lambda) = scales(momentum);
            let mut last = 0.0;
            for x in [0.01, 0.5, 3.0, 20.0, 1e3, 1e6] {
                let y = muon_swing(momentum, x).expect("valid");
                let (left, right) = ((tau - y) * (lambda * y).exp(), (tau + x) * (-lambda * x).exp());
                assert!((left - right).abs() < 1e-11 * tau, "β = {momentum}, X = {x}: {left} against {right}");
                assert!(y >= last && y <= tau, "β = {momentum}, X = {x}: {y}");
                assert!(muon_least_swing(momentum, x).expect("valid") <= y);
                last = y;
            }
            let run = muon_longest_run(momentum).expect("valid");
            assert!((muon_swing(momentum, 0.5 * run).expect("valid") - 0.5 * run).abs() < 1e-5, "β = {momentum}");
            assert!(muon_swing(momentum, 0.6 * run).expect("valid") < 0.6 * run);
            assert!(muon_swing(momentum, 0.4 * run).expect("valid") > 0.4 * run);
        }
        assert!((muon_longest_run(0.0).expect("valid") - 2.0).abs() < 1e-15);
        let ratio = muon_longest_run(1.0 - 1e-6).expect("valid") / 6e6_f64.sqrt();
        assert!((ratio - 1.0).abs() < 1e-3, "{ratio}");
    }

    #[test]
    fn the_cycle_of_specgd_is_that_of_no_momentum() {
        // α alternates between two grid points wherever the limit is between them.
        assert!((muon_cycle_offset(0.0, 1).expect("valid") - 0.5).abs() < 1e-15);
        assert!(muon_cycle_offset(0.0, 2).expect("valid") <= 0.0);
    }

    #[test]
    fn bad_input() {
        for error in [
            muon_overshoot(1.0, 5.0).expect_err("β"),
            muon_swing(0.9, 0.0).expect_err("distance"),
            muon_least_swing(0.9, f64::NAN).expect_err("distance"),
            muon_longest_run(-0.1).expect_err("β"),
            muon_cycle_offset(0.9, 0).expect_err("half-period"),
            muon_step_size(0.9, 0.0, 0.1).expect_err("limit"),
            muon_step_size(0.9, 0.1, f64::INFINITY).expect_err("share"),
            nesterov_overshoot(f64::NAN, 1.0).expect_err("β"),
        ] {
            assert!(error.to_string().contains("\nhint: "), "{error}");
        }
    }
}
