use crate::components::Components;
use crate::error::{Error, Result};
use crate::ode_system::integrate_system;
use crate::part::{Part, part};
use crate::trajectory::check_times;

/// How Shampoo's statistics gather the gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accumulation {
    /// L = Σ_s G_s G_sᵀ (Gupta, Koren and Singer 2018, arXiv 1802.09568).
    Sum,
    /// L ← β₂ L + (1 − β₂) G Gᵀ from 0.
    Average {
        /// β₂, from 0 (idealized Shampoo without memory, which is `SpecGD`) up to but not including 1.
        decay: f64,
        /// Whether the average of n gradients is divided by 1 − β₂ⁿ.
        bias_correction: bool,
    },
}

/// Which sides of the gradient are preconditioned; in shared bases both forms are the same rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// L^{−1/4} G R^{−1/4}.
    Both,
    /// L^{−1/2} G.
    Left,
}

/// Shampoo with accumulation: Δ = (L + ε I)^{−1/4} G (R + ε I)^{−1/4}, L of G Gᵀ (k×k) and R of Gᵀ G (d×d).
///
/// In shared bases each component has the step r_c/√(v_c + ε), v_c being the sum or the average of its r_c²: `AdaGrad` or `RMSProp` in
/// the components. Theory of this project; the derivation is [`crate::derivations::shampoo`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shampoo {
    /// Sum or average.
    pub accumulation: Accumulation,
    /// ε, at least 0; with 0 directions that never had a gradient get no step.
    pub epsilon: f64,
    /// Both sides, or the left.
    pub sides: Sides,
}

impl Shampoo {
    /// The sum, ε = 0, both sides.
    pub const SUM: Self = Self { accumulation: Accumulation::Sum, epsilon: 0.0, sides: Sides::Both };

    /// The average with bias correction, ε = 0, both sides.
    pub fn average(decay: f64) -> Self {
        Self { accumulation: Accumulation::Average { decay, bias_correction: true }, ..Self::SUM }
    }

    /// Fails if β₂ or ε is outside its domain.
    pub fn check(self) -> Result<()> {
        if let Accumulation::Average { decay, .. } = self.accumulation
            && !(0.0..1.0).contains(&decay)
        {
            return Err(Error::setting(
                "decay",
                decay,
                "the decay of the statistics must be at least 0 and less than 1",
                "0 is SpecGD, 0.99 and 0.999 are common",
            ));
        }
        check_epsilon("epsilon", self.epsilon)
    }
}

fn check_epsilon(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::setting(name, value, "must be at least 0 and finite", "it is compared with squared gradients: such as 1e-12"))
}

/// α_c at the times T = η² n of Shampoo with summed statistics, in the limit of small steps, from W(0) = 0 on the linear model.
///
/// With u = 1 − α_c/a_c*, and `damping` δ = η √ε (0 for none),
///
/// T = a_c*² (u² − 1 − 2 (1 + 4 e_c) ln u)/8, e_c = δ/(s_xx,c a_c*²).
///
/// Without damping α_c(T)/a_c* is one function of T/a_c*² for all components of all problems: u² = −W₀(−e^{−1−8T/a_c*²}), Lambert's W.
/// It begins as α_c ≈ 2 √T for every component, whatever its prior. Fails for negative or infinite times or damping.
///
/// ```
/// use isorate_theory::{Components, shampoo_sum};
///
/// let c = Components::new(vec![0.5, 0.02], vec![1.5, 1.02], 2)?;
/// let early = &shampoo_sum(&c, 0.0, &[1e-8])?[0];
/// assert!(early.iter().all(|alpha| (alpha / 2e-4 - 1.0).abs() < 0.01));
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn shampoo_sum(c: &Components, damping: f64, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    check_times(times)?;
    check_epsilon("damping", damping)?;
    Ok(times
        .iter()
        .map(|&time| {
            c.pairs()
                .map(|(yx, xx)| {
                    let limit = yx / xx;
                    let share = damping / (xx * limit * limit);
                    -limit * (-logarithm(time / (limit * limit), share)).exp_m1()
                })
                .collect()
        })
        .collect())
}

/// The constant 1 − √(−W₀(−e^{−3})) ≈ 0.7709: with the clock θ = 2η√n, Shampoo's sum has
/// 0.7709 min(θ, a_c*) ≤ α_c ≤ min(θ, a_c*), that is between `SpecGD` at time θ and this fraction of it.
pub(crate) fn sandwich() -> f64 {
    part(Part::ShampooSandwich, -(-logarithm(0.25, 0.0)).exp_m1())
}

/// −ln u at the time τ = T/a*²: the solution y ≥ 0 of 8τ = h(y) + 8 e y with h(y) = e^{−2y} − 1 + 2y, by Newton's method.
fn logarithm(time: f64, share: f64) -> f64 {
    let wanted = 8.0 * time;
    if wanted == 0.0 {
        return 0.0;
    }
    let damping = part(Part::ShampooDamping, 8.0 * share);
    // From above its zero Newton's method descends monotonically, as the function is convex and increasing. Above are √(3/2 · 8τ),
    // because h(y) ≥ 2y²/3 up to y = 1, and (8τ + 1)/2.
    let mut y = if wanted < 1.0 { (1.5 * wanted).sqrt() } else { 0.5 * (wanted + 1.0) };
    for _ in 0..100 {
        let value = part(Part::ShampooShape, shape(y)) + damping * y - wanted;
        let next = y - value / (-2.0 * (-2.0 * y).exp_m1() + damping);
        if !next.is_finite() || (next - y).abs() <= 1e-15 * y {
            break;
        }
        y = next.max(0.0);
    }
    y
}

/// e^{−2y} − 1 + 2y, for small y by its series 2y² − 4y³/3 + … so that nothing cancels.
fn shape(y: f64) -> f64 {
    if y > 0.05 {
        return (-2.0 * y).exp_m1() + 2.0 * y;
    }
    let mut term = 2.0 * y * y;
    let mut sum = term;
    // (2y)^n/n! with 2y ≤ 0.1 is below rounding, relative to the first term, from n = 14 on.
    for n in 3..14 {
        term *= -2.0 * y / f64::from(n);
        sum += term;
    }
    sum
}

/// α_c at the times t = η n of Shampoo with averaged statistics, in the limit η → 0 with λ = (1 − β₂)/η fixed (`rate`), from
/// W(0) = 0 on the linear model without ε: the flow
///
/// α̇_c = r_c/√v̂_c, v̇_c = λ (r_c² − v_c), v_c(0) = 0,
///
/// v̂ = v/(1 − e^{−λt}) with bias correction, else v; integrated to a local error of 1e-12. α_c/a_c* is one function of t/a_c* and
/// λ a_c*. Fails for bad times or a rate that is not positive and finite.
pub fn shampoo_average(c: &Components, rate: f64, bias_correction: bool, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    check_times(times)?;
    if !(rate.is_finite() && rate > 0.0) {
        return Err(Error::setting(
            "rate",
            rate,
            "(1 − decay)/eta must be positive and finite",
            "decay = 0.99 with eta = 1e-3 is 10",
        ));
    }
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&i, &j| times[i].total_cmp(&times[j]));
    let mut rows = vec![vec![0.0; c.len()]; times.len()];
    for (component, limit) in c.limits().into_iter().enumerate() {
        let path = averaged(rate * limit, bias_correction, order.iter().map(|&index| times[index] / limit));
        for (&index, share) in order.iter().zip(path) {
            rows[index][component] = limit * share;
        }
    }
    Ok(rows)
}

/// α/a* at ascending times t/a*, with λ a* = `rate`.
///
/// Unknowns: y = −ln(r/r₀) and g = v̂/r₀² (corrected) or v/(r₀² λ t) over x = √t, in which both start smoothly: y' = 2x/√g, or
/// 2/√(λ g).
fn averaged(rate: f64, bias_correction: bool, times: impl Iterator<Item = f64>) -> Vec<f64> {
    /// Where the series of the start, with an error of its square, hands over to the integration.
    const START: f64 = 1e-6;
    const TOLERANCE: f64 = 1e-12;
    /// r has vanished to rounding.
    const SETTLED: f64 = 40.0;
    // y ≈ t with correction, ≈ 2 √(t/λ) without.
    let first = if bias_correction { START.sqrt() } else { 0.5 * START * rate.sqrt() };
    let derivative = |x: f64, state: &[f64], out: &mut [f64]| {
        let (y, g) = (state[0], state[1].max(f64::MIN_POSITIVE));
        let square = (-2.0 * y).exp();
        if bias_correction {
            // d v̂/dt = λ (r² − v̂)/(1 − e^{−λt}).
            out[0] = 2.0 * x / g.sqrt();
            out[1] = 2.0 * x * rate * (square - g) / -(-rate * x * x).exp_m1();
        } else {
            out[0] = 2.0 / (rate * g).sqrt();
            out[1] = 2.0 * (square - g) / x - 2.0 * x * rate * g;
        }
    };
    let mut state = if bias_correction { [START, 1.0 - START] } else { [START, 1.0 - 4.0 / 3.0 * START] };
    let (mut now, mut step) = (first, 0.1 * first);
    times
        .map(|time| {
            let x = time.sqrt();
            if x <= first {
                return if bias_correction { time } else { 2.0 * (time / rate).sqrt() };
            }
            integrate_system(&mut state, (now, x - now), &mut step, TOLERANCE, derivative, |state| state[0] > SETTLED);
            now = x;
            -(-state[0]).exp_m1()
        })
        .collect()
}

/// The mean age of the gradients in the statistics at time t, in units of t: 1/λ − t e^{−λt}/(1 − e^{−λt}); t/2 for λ → 0.
pub(crate) fn lag(rate: f64, t: f64) -> f64 {
    let x = rate * t;
    if x < 1e-4 { t * (0.5 - x / 12.0) } else { (1.0 - x / x.exp_m1()) / rate }
}

/// α̇_c of the average with bias correction where r_c falls slowly: v̂ ≈ r² + 2 r |ṙ| · lag, so that the rate ρ solves
/// ρ² (1 + 2 ρ · lag/(a_c* − α_c)) = 1; to first order in the lag 1 − lag/(a_c* − α_c).
pub(crate) fn effective_rate(rate: f64, t: f64, distance: f64) -> f64 {
    let relative = part(Part::ShampooLag, 2.0 * lag(rate, t) / distance);
    let mut rho = 1.0_f64;
    for _ in 0..60 {
        // Newton's method on ρ² + k ρ³ − 1, convex and increasing for ρ > 0.
        rho -= (rho * rho * (1.0 + relative * rho) - 1.0) / (2.0 * rho + 3.0 * relative * rho * rho);
    }
    rho
}

/// |α_c − a_c*| at which the average comes to alternate around a_c*: there √(v + ε) = η s_xx/2 with v = r², so that
/// |r_c| = √((η s_xx/2)² − ε): η/2 in α for ε = 0. From √ε = η s_xx/2 on the component comes to rest instead, 0.
pub(crate) fn hover(eta: f64, s_xx: f64, epsilon: f64) -> f64 {
    let half = part(Part::ShampooHover, 0.5 * eta * s_xx);
    (half * half - part(Part::ShampooHoverDamping, epsilon)).max(0.0).sqrt().copysign(half) / s_xx
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_solves_its_equation() {
        // u' = −u/√(q + e²), q' = u², over x = √τ.
        for share in [0.0, 0.1, 3.0] {
            let mut state = [1.0, share * share];
            let (mut now, mut step) = (0.0, 1e-4);
            if share == 0.0 {
                let start: f64 = 1e-12;
                state = [1.0 - 2.0 * start.sqrt(), start];
                now = start.sqrt();
            }
            for time in [1e-3, 0.05, 0.3, 1.0] {
                let x: f64 = f64::sqrt(time);
                integrate_system(
                    &mut state,
                    (now, x - now),
                    &mut step,
                    1e-13,
                    |x, s, out| {
                        out[0] = -2.0 * x * s[0] / s[1].sqrt();
                        out[1] = 2.0 * x * s[0] * s[0];
                    },
                    |_| false,
                );
                now = x;
                let u = (-logarithm(time, share)).exp();
                assert!((u - state[0]).abs() < 1e-8, "e = {share}, τ = {time}: {u} against {}", state[0]);
            }
        }
        assert!((sandwich() - 0.7709).abs() < 1e-4, "{}", sandwich());
    }

    #[test]
    fn the_average_between_its_limits() {
        // Fast memory: SpecGD. Slow memory without correction: the sum with η scaled by 1/√(1 − β₂).
        let fast = averaged(1e5, true, [0.1, 0.5, 0.9].into_iter());
        for (share, t) in fast.iter().zip([0.1, 0.5, 0.9]) {
            assert!((share - t).abs() < 1e-3, "{share} at {t}");
        }
        let rate = 1e-3;
        for (share, time) in averaged(rate, false, [0.02, 0.1].into_iter().map(|time| rate * time)).iter().zip([0.02, 0.1]) {
            let sum = -(-logarithm(time, 0.0)).exp_m1();
            assert!((share - sum).abs() < 1e-4, "{share} against {sum}");
        }
        // Before it saturates, the clock 2 artanh √(1 − e^{−λt})/λ, the same for all.
        let (rate, t): (f64, f64) = (1e4, 1e-3);
        let clock = 2.0 * (-(-rate * t).exp_m1()).sqrt().atanh() / rate;
        let share = averaged(rate, false, [t].into_iter())[0];
        assert!((share / clock - 1.0).abs() < 2e-3, "{share} against {clock}");
    }

    #[test]
    fn bad_input_is_an_error() {
        let c = Components::new(vec![0.5], vec![1.5], 1).expect("valid");
        for error in [
            shampoo_sum(&c, -1.0, &[1.0]).expect_err("negative damping"),
            shampoo_sum(&c, 0.0, &[f64::NAN]).expect_err("no time"),
            shampoo_average(&c, 0.0, true, &[1.0]).expect_err("no memory"),
            shampoo_average(&c, 1.0, true, &[-1.0]).expect_err("negative time"),
            Shampoo::average(1.0).check().expect_err("no decay"),
            Shampoo { epsilon: f64::NAN, ..Shampoo::SUM }.check().expect_err("not a number"),
        ] {
            assert!(error.to_string().contains("\nhint: "), "{error}");
        }
    }
}
