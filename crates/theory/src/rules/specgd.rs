//! Spectral gradient descent: all components at the same rate.

use crate::components::Components;
use crate::network::Network;
use crate::part::{Part, part};

/// The flow: every layer's value moves at unit speed to (a_c*)^{1/L}, so α_c = min(w₀ + t, (a_c*)^{1/L})^L; for L = 1 from 0
/// that is min(t, a_c*) (arXiv 2510.22980, trajectories and Proposition 2). In the limit δ → ∞ it is min(t^L, a_c*).
/// An initialization above the limit comes down at the same speed.
pub(crate) fn closed_form(c: &Components, network: &Network, times: &[f64]) -> Vec<Vec<f64>> {
    let exponent = network.exponent();
    let start = part(Part::SpecGdDeepStart, network.layer_start());
    let root = part(Part::SpecGdDeepRoot, 1.0 / f64::from(exponent));
    let slope = if exponent == 1 { Part::SpecGdSlope } else { Part::SpecGdDeepTime };
    times
        .iter()
        .map(|&t| {
            c.limits()
                .into_iter()
                .map(|limit| {
                    let limit = part(Part::SpecGdLimit, limit);
                    let distance = limit.powf(root) - start;
                    if t >= distance.abs() { limit } else { (start + part(slope, t.copysign(distance))).powi(exponent) }
                })
                .collect()
        })
        .collect()
}

/// The exact iterate of n steps of size η on the linear model from 0: η n until the next step would pass a_c*, then the two
/// grid points around a_c* in turn; a component that hits a_c* (to rounding) stays.
pub(crate) fn discrete(c: &Components, eta: f64, steps: usize) -> Vec<f64> {
    let limits = c.limits();
    let norm = limits.iter().map(|a| a * a).sum::<f64>().sqrt();
    let floor = c.residual_floor(norm);
    c.pairs()
        .zip(limits)
        .map(|((yx, xx), limit)| {
            let n = steps as f64;
            let nearest = (limit / eta).round();
            let hit = nearest > 0.0 && (yx - xx * eta * nearest).abs() <= floor;
            if hit {
                return eta * n.min(nearest);
            }
            let above = (limit / eta).ceil();
            let past = n - above;
            if past < 0.0 { part(Part::SpecGdGrid, eta * n) } else { eta * (above - part(Part::SpecGdAlternation, past % 2.0)) }
        })
        .collect()
}

/// sign(g) where |g| is more than rounding noise, else 0: the truncated polar factor of a diagonal gradient.
pub(crate) fn scalar_direction(gradient: &[f64], floor: f64, out: &mut [f64]) {
    for (value, g) in out.iter_mut().zip(gradient) {
        *value = if g.abs() > floor { g.signum() } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_at_unit_rate_and_saturates() {
        let c = Components::new(vec![0.5, 0.3, 0.2], vec![1.5, 1.3, 1.2], 3).expect("valid");
        let rows = closed_form(&c, &Network::LINEAR, &[0.0, 0.1, 0.2, 1.0]);
        assert_eq!(rows[0], [0.0; 3]);
        assert_eq!(rows[1], [0.1; 3]);
        assert_eq!(rows[2], [0.2, 0.2, 0.2 / 1.2]);
        assert_eq!(rows[3], c.limits());
    }

    #[test]
    fn alternates_around_the_limit_or_stays_on_it() {
        // a* = 0.25: hit by η = 0.05, missed by η = 0.1.
        let c = Components::new(vec![0.25], vec![1.0], 1).expect("valid");
        let path = |eta: f64| -> Vec<f64> { (0..8).map(|n| discrete(&c, eta, n)[0]).collect() };
        let close = |values: Vec<f64>, expected: [f64; 8]| {
            for (value, expected) in values.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-15, "{values:?}");
            }
        };
        close(path(0.05), [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.25, 0.25]);
        close(path(0.1), [0.0, 0.1, 0.2, 0.3, 0.2, 0.3, 0.2, 0.3]);
        // A step longer than a*: between 0 and η.
        close(path(0.4), [0.0, 0.4, 0.0, 0.4, 0.0, 0.4, 0.0, 0.4]);
    }

    #[test]
    fn deep_paths_come_from_both_sides() {
        let c = Components::new(vec![0.25], vec![1.0], 1).expect("valid");
        let from_above = Network::new(2, Some(0.0)).expect("valid");
        let rows = closed_form(&c, &from_above, &[0.0, 0.2, 0.5, 9.0]);
        for (row, expected) in rows.iter().zip([1.0, 0.64, 0.25, 0.25]) {
            assert!((row[0] - expected).abs() < 1e-15);
        }
        let limit = Network::new(3, None).expect("valid");
        assert!((closed_form(&c, &limit, &[0.5])[0][0] - 0.125).abs() < 1e-16);
    }
}
