//! Normalized gradient descent: gradient descent's path, travelled at unit speed.

use std::sync::LazyLock;

use faer::{Mat, MatMut};

use super::{deep_ngd, gd};
use crate::components::Components;
use crate::error::Result;
use crate::linalg::frobenius;
use crate::network::Network;
use crate::part::{Part, part};
use crate::quadrature::GaussLegendre;

static RULE: LazyLock<GaussLegendre> = LazyLock::new(|| GaussLegendre::new(10));

/// The tolerance of a panel whose speeds are exact to rounding.
const PANEL_TOLERANCE: f64 = 1e-14;

/// The normalized gradient flow: the gradient flow at time τ(t), where t = ∫₀^τ ‖∇(s)‖ ds (arXiv 2510.22980, trajectories).
///
/// - L = 1: ‖∇(s)‖_F² = Σ_c r_c² e^{−2 s_xx,c s}, r_c = s_yx,c − s_xx,c α_c(0).
/// - L ≥ 2, each layer normalized by itself: the layers stay balanced, the gradient of each has the norm
///   ‖∇(s)‖² = Σ_c (w_c^{L−1} r_c)² along the gradient flow's own path, and so t is the length of the path of a layer's values w. This
///   has no closed form, but it is the same integral over a known path (derivation in [`crate::derivations::depth`]).
///
/// The integral is taken by adaptive Gauss–Legendre panels and inverted by a safeguarded Newton iteration in the panel;
/// t(τ) is accurate to about 1e-13 relatively, and |dw/dt| ≤ 1 carries that over to α. The flow reaches the optimum in the
/// finite time ∫₀^∞ ‖∇‖ ds and stays. For L ≥ 2 the limit δ → ∞ is an error, and for L ≥ 3 so is a δ whose waiting time near the saddle, of
/// the order e^{(L−2)δ}, leaves t(τ) fewer than 10 digits.
pub(crate) fn closed_form(c: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    if network.depth() == 1 {
        let taus = retimed(c, network.start(), times);
        return Ok(taus
            .into_iter()
            .map(|tau| c.pairs().map(|(yx, xx)| gd::linear(yx, xx, network.start(), tau)).collect())
            .collect());
    }
    network.require_delta("ngd", "never leaves the saddle at zero in the limit delta → ∞")?;
    let path = deep_ngd::DeepPath::new(c, network)?;
    Ok(retime(&path, path.first_width(), times).into_iter().map(|tau| path.alpha(tau)).collect())
}

/// The times τ(t) at which the gradient flow of the linear model from α(0) = `start` is where the normalized one is at t, for each t
/// of `times`; infinite once the flow has arrived at the optimum.
pub(crate) fn retimed(c: &Components, start: f64, times: &[f64]) -> Vec<f64> {
    retime(&Path::new(c, start), 1.0 / c.largest_second(), times)
}

fn retime(path: &impl Pace, width: f64, times: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&i, &j| times[i].total_cmp(&times[j]));
    let mut taus = vec![0.0; times.len()];
    let mut clock = Clock { tau: 0.0, time: 0.0, width };
    for index in order {
        taus[index] = path.retime(&mut clock, times[index]);
    }
    taus
}

/// The path of a gradient flow, of which the normalized flow is a re-timing.
pub(crate) trait Pace {
    /// ‖∇(τ)‖_F.
    fn speed(&self, tau: f64) -> f64;

    /// At least ∫_τ^∞ ‖∇‖, what is left of the path, and 0 in the limit.
    fn left(&self, tau: f64) -> f64;

    /// Relative agreement of one panel of the integral with its two halves; the panel's own error is then far smaller.
    fn tolerance(&self) -> f64 {
        PANEL_TOLERANCE
    }

    fn integral(&self, from: f64, width: f64) -> f64 {
        RULE.integrate(from, width, |tau| self.speed(tau))
    }

    /// τ with t(τ) = `target`, infinite once the flow has arrived; the clock moves to the start of the panel that holds it, so
    /// that ascending targets walk the path once.
    fn retime(&self, clock: &mut Clock, target: f64) -> f64 {
        loop {
            if target <= clock.time {
                return clock.tau;
            }
            let left = self.left(clock.tau);
            if target >= clock.time + left || left <= f64::EPSILON * clock.time {
                return f64::INFINITY;
            }
            let half = 0.5 * clock.width;
            let whole = self.integral(clock.tau, clock.width);
            let halves = self.integral(clock.tau, half) + self.integral(clock.tau + half, half);
            if (whole - halves).abs() > self.tolerance() * halves && half > f64::EPSILON * clock.tau {
                clock.width = half;
                continue;
            }
            if clock.time + halves < target {
                clock.tau += clock.width;
                clock.time += halves;
                clock.width *= 2.0;
                continue;
            }
            return self.invert(clock, target);
        }
    }

    /// Solves ∫_{clock}^{τ} ‖∇‖ = target − clock.time in the clock's panel.
    fn invert(&self, clock: &Clock, target: f64) -> f64 {
        let wanted = target - clock.time;
        let (mut low, mut high) = (0.0, clock.width);
        let mut x = (wanted / self.speed(clock.tau)).min(clock.width);
        // Newton doubles the correct digits each round; bisection, should it be needed, takes at most 60 rounds.
        for _ in 0..80 {
            let error = self.integral(clock.tau, x) - wanted;
            if error.abs() <= f64::EPSILON * wanted {
                break;
            }
            if error > 0.0 {
                high = x;
            } else {
                low = x;
            }
            let newton = x - error / self.speed(clock.tau + x);
            let next = if newton > low && newton < high { newton } else { 0.5 * (low + high) };
            let settled = (next - x).abs() <= f64::EPSILON * x;
            x = next;
            if settled {
                break;
            }
        }
        clock.tau + x
    }
}

/// A point (τ, t(τ)) of the path and the width of the next panel.
pub(crate) struct Clock {
    tau: f64,
    time: f64,
    width: f64,
}

struct Path {
    residuals: Vec<f64>,
    rates: Vec<f64>,
    slowest: f64,
}

impl Path {
    fn new(c: &Components, start: f64) -> Self {
        Self {
            residuals: c.pairs().map(|(yx, xx)| yx - xx * start).collect(),
            rates: c.s_xx().to_vec(),
            slowest: c.s_xx().iter().copied().fold(f64::INFINITY, f64::min),
        }
    }
}

impl Pace for Path {
    fn speed(&self, tau: f64) -> f64 {
        let terms = self.residuals.iter().zip(&self.rates).map(|(r, s)| r * (-part(Part::NgdRate, *s) * tau).exp());
        // Scaled by the largest term: squares of tiny residuals would vanish.
        let largest = terms.clone().map(f64::abs).fold(0.0, f64::max);
        if largest == 0.0 {
            return 0.0;
        }
        largest * terms.map(|term| part(Part::NgdSquare, (term / largest).powi(2))).sum::<f64>().sqrt()
    }

    /// ∫_τ^∞ ‖∇‖ ≤ ‖∇(τ)‖/min s.
    fn left(&self, tau: f64) -> f64 {
        self.speed(tau) / self.slowest
    }
}

/// r/‖r‖₂, or 0 where the gradient is only rounding noise.
pub(crate) fn scalar_direction(gradient: &[f64], floor: f64, out: &mut [f64]) {
    let largest = gradient.iter().fold(0.0_f64, |a, g| a.max(g.abs()));
    if largest == 0.0 {
        out.fill(0.0);
        return;
    }
    let norm = largest * gradient.iter().map(|g| (g / largest).powi(2)).sum::<f64>().sqrt();
    for (value, g) in out.iter_mut().zip(gradient) {
        *value = if norm > floor { part(Part::NgdDirection, g / norm) } else { 0.0 };
    }
}

/// ∇/‖∇‖_F, or 0 where the gradient is only rounding noise.
pub(crate) fn matrix_direction(gradient: &Mat<f64>, floor: f64, mut out: MatMut<'_, f64>) {
    let norm = frobenius(gradient.as_ref());
    out.copy_from(gradient);
    let factor = if norm > floor { 1.0 / norm } else { 0.0 };
    for column in out.col_iter_mut() {
        for value in column.iter_mut() {
            *value *= factor;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_components_move_on_a_straight_line() {
        // k equal components: ‖∇‖ = √k s_yx e^{−s τ}, so α_c = t/√k until a*.
        let c = Components::new(vec![0.25; 4], vec![1.25; 4], 4).expect("valid");
        let times = [0.0, 1e-9, 0.1, 0.3, 0.39999, 0.4, 0.5, 1e9];
        let rows = closed_form(&c, &Network::LINEAR, &times).expect("linear");
        for (t, row) in times.iter().zip(rows) {
            for value in row {
                assert!((value - (t / 2.0).min(0.2)).abs() < 1e-14, "t = {t}: {value}");
            }
        }
    }

    #[test]
    fn two_components_with_rates_one_to_two_have_an_elementary_integral() {
        // ‖∇‖ = e^{−τ} √(1 + e^{−2τ}); with v = e^{−τ} the time is ∫_v^1 √(1+v²) dv = [v√(1+v²) + asinh v]/2.
        let c = Components::new(vec![1.0, 1.0], vec![1.0, 2.0], 2).expect("valid");
        let antiderivative = |v: f64| 0.5 * (v * (1.0 + v * v).sqrt() + v.asinh());
        for tau in [1e-8_f64, 1e-3, 0.3, 1.0, 3.0, 10.0, 20.0] {
            let t = antiderivative(1.0) - antiderivative((-tau).exp());
            let row = &closed_form(&c, &Network::LINEAR, &[t]).expect("linear")[0];
            let exact = [-(-tau).exp_m1(), -0.5 * (-2.0 * tau).exp_m1()];
            for (value, exact) in row.iter().zip(exact) {
                assert!((value - exact).abs() < 1e-13, "τ = {tau}: {value} against {exact}");
            }
        }
    }

    #[test]
    fn stiff_and_tiny_components() {
        let c = Components::new(vec![1.0, 1e-12], vec![1e6, 1e-6], 2).expect("valid");
        let times = [1e-12, 1e-7, 9e-7, 1e-6, 1.5e-6, 1e-3];
        let rows = closed_form(&c, &Network::LINEAR, &times).expect("linear");
        for pair in rows.windows(2) {
            for (a, b) in pair[0].iter().zip(&pair[1]) {
                assert!(a.is_finite() && b >= a);
            }
        }
        // The large component alone: t = α until it saturates at 1e-6.
        assert!((rows[2][0] - 9e-7).abs() < 1e-15);
    }
}
