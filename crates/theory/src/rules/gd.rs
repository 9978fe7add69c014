//! Gradient descent: dominant components first, at the rates s_yx,c.

use crate::components::Components;
use crate::error::Result;
use crate::network::Network;
use crate::ode;
use crate::part::{Part, part};

/// The gradient flow.
///
/// - L = 1: α_c = a_c* (1 − e^{−s t}) + α_c(0) e^{−s t} with s = s_xx,c (arXiv 2510.22980, trajectories).
/// - L = 2: a(t) = s_yx / (s_xx + (s_yx/a₀ − s_xx) e^{−2 s_yx t}), the solution of ȧ = 2 a (s_yx − s_xx a).
/// - L ≥ 3: ȧ = L a^{2−2/L} (s_yx − s_xx a), integrated in u = ln w, a = w^L, with local errors of 1e-13. Tested to
///   1e-11 against quadrature (L = 3, 4, 6, δ = 1.5) and to 1e-10 against the closed form for L = 2; within L·1e-12 of a*, relatively,
///   the flow counts as arrived.
///
/// For L ≥ 2 the limit δ → ∞ stays at the saddle 0 for ever, which is an error.
pub(crate) fn closed_form(c: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    network.require_delta("gd", "never leaves the saddle at zero in the limit delta → ∞")?;
    let mut rows = vec![vec![0.0; c.len()]; times.len()];
    for (index, (yx, xx)) in c.pairs().enumerate() {
        let path: Vec<f64> = match network.depth() {
            1 => times.iter().map(|&t| linear(yx, xx, network.start(), t)).collect(),
            2 => times.iter().map(|&t| bilinear(yx, xx, network.start(), t)).collect(),
            _ => deep(yx, xx, network, times),
        };
        for (row, value) in rows.iter_mut().zip(path) {
            row[index] = value;
        }
    }
    Ok(rows)
}

/// a₀ e^{−s t} + a* (1 − e^{−s t}) without cancellation for small t.
pub(crate) fn linear(yx: f64, xx: f64, start: f64, t: f64) -> f64 {
    start * (-xx * t).exp() - part(Part::GdLimit, yx / xx) * (-part(Part::GdRate, xx * t)).exp_m1()
}

/// (1 − e^{−z})/z, which is 1 at z = 0: the linear flow is α = s_yx t φ(s_xx t).
pub(crate) fn phi(z: f64) -> f64 {
    if z == 0.0 { 1.0 } else { -(-z).exp_m1() / z }
}

/// The closed form for L = 2.
pub(crate) fn bilinear(yx: f64, xx: f64, start: f64, t: f64) -> f64 {
    let decay = (-part(Part::GdBilinearRate, 2.0 * yx * t)).exp();
    yx / (part(Part::GdBilinearLimit, xx) + part(Part::GdBilinearStart, yx / start - xx) * decay)
}

/// The numeric solution for any L ≥ 2 (L = 2 to test it).
pub(crate) fn deep(yx: f64, xx: f64, network: &Network, times: &[f64]) -> Vec<f64> {
    let depth = network.exponent();
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&i, &j| times[i].total_cmp(&times[j]));
    let mut path = vec![0.0; times.len()];
    let (mut u, mut now, mut step) = (-network.delta().unwrap_or(0.0), 0.0, 0.0);
    let residual = |u: f64| part(Part::GdDeepLimit, yx) - xx * u.exp().powi(depth);
    // An explicit method hovers around the fixed point at about its local tolerance in u, which is L times that in a: there the
    // flow counts as arrived.
    let settled = |u: f64| residual(u).abs() <= 10.0 * ode::LOCAL_TOLERANCE * f64::from(depth) * yx;
    for index in order {
        u = ode::integrate(
            u,
            times[index] - now,
            &mut step,
            |u| part(Part::GdDeepGrowth, u.exp().powi(depth - 2)) * residual(u),
            settled,
        );
        now = times[index];
        path[index] = if settled(u) { yx / xx } else { u.exp().powi(depth) };
    }
    path
}

/// The exact iterate of n steps of size η on the linear model from 0: a_c* (1 − (1 − η s_xx,c)^n).
pub(crate) fn discrete(c: &Components, eta: f64, steps: usize) -> Vec<f64> {
    c.pairs()
        .map(|(yx, xx)| {
            let rate = part(Part::GdDiscreteRate, eta * xx);
            let limit = part(Part::GdDiscreteLimit, yx / xx);
            let n = steps as f64;
            if rate < 0.5 {
                -limit * (n * (-rate).ln_1p()).exp_m1()
            } else {
                let sign = if rate > 1.0 && steps % 2 == 1 { -1.0 } else { 1.0 };
                limit * (1.0 - sign * (1.0 - rate).abs().powf(n))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components() -> Components {
        Components::new(vec![0.5, 0.3, 0.2], vec![1.5, 1.3, 1.2], 3).expect("valid")
    }

    #[test]
    fn the_discrete_form_is_the_recursion() {
        let c = components();
        for eta in [1e-3, 0.1, 0.5, 1.0, 1.4] {
            let mut alpha = vec![0.0; 3];
            for n in 0..40 {
                for (expected, value) in discrete(&c, eta, n).iter().zip(&alpha) {
                    assert!((expected - value).abs() < 1e-13 * value.abs().max(1.0), "eta {eta}, n {n}");
                }
                for (value, (yx, xx)) in alpha.iter_mut().zip(c.pairs()) {
                    *value += eta * (yx - xx * *value);
                }
            }
        }
    }

    #[test]
    fn the_numeric_solution_agrees_with_quadrature() {
        // t = ∫ dw / (w^{L−1} (s_yx − s_xx w^L)), substituting w = e^u.
        let (yx, xx) = (0.3_f64, 1.3_f64);
        let rule = crate::quadrature::GaussLegendre::new(16);
        for depth in [3, 4, 6] {
            let network = Network::new(depth, Some(1.5)).expect("valid");
            let exponent = network.exponent();
            let end = 0.9 * (yx / xx).powf(1.0 / f64::from(exponent));
            let (from, to) = (-1.5, end.ln());
            let panels = 200;
            let width = (to - from) / f64::from(panels);
            let time: f64 = (0..panels)
                .map(|panel| {
                    rule.integrate(from + f64::from(panel) * width, width, |u| {
                        1.0 / (u.exp().powi(exponent - 2) * (yx - xx * u.exp().powi(exponent)))
                    })
                })
                .sum();
            let value = deep(yx, xx, &network, &[time])[0];
            assert!((value - end.powi(exponent)).abs() < 1e-11, "L = {depth}: {value}");
        }
    }

    #[test]
    fn the_limit_is_reached_and_kept() {
        let c = components();
        for depth in [1, 2, 3, 4] {
            let network = Network::new(depth, Some(2.0)).expect("valid");
            let path = closed_form(&c, &network, &[1e6, 1e3, 1e9]).expect("finite delta");
            for row in &path {
                for (value, limit) in row.iter().zip(c.limits()) {
                    assert!((value - limit).abs() < 1e-12, "L = {depth}");
                }
            }
        }
    }

    #[test]
    fn the_saddle_is_an_error_with_a_hint() {
        let network = Network::new(2, None).expect("valid");
        let error = closed_form(&components(), &network, &[1.0]).expect_err("saddle").to_string();
        assert!(error.contains("delta") && error.contains("hint: give a finite initialization with --delta"), "{error}");
    }
}
