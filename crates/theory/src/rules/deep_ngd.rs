//! Normalized gradient descent with two and more layers: a re-timing of the gradient flow's path.

use super::deep_gd::DeepComponent;
use super::gd;
use super::ngd::Pace;
use crate::components::Components;
use crate::error::{Error, Result};
use crate::network::Network;
use crate::part::{Part, part};

/// Of a panel; ten digits of t remain.
const LARGEST_TOLERANCE: f64 = 1e-10;

/// The path of the gradient flow with L ≥ 2 layers from a balanced, aligned initialization.
pub(crate) enum DeepPath {
    /// L = 2, by its closed form.
    Bilinear { pairs: Vec<(f64, f64)>, start: f64 },
    /// L ≥ 3, by the inverse of the time as a function of the value.
    Deep { components: Vec<DeepComponent>, depth: i32, width: f64, tolerance: f64 },
}

impl DeepPath {
    pub(crate) fn new(c: &Components, network: &Network) -> Result<Self> {
        let depth = network.exponent();
        let start = network.layer_start();
        if depth == 2 {
            return Ok(Self::Bilinear { pairs: c.pairs().collect(), start: network.start() });
        }
        // The rates at which the flow leaves its start and comes to its limit.
        let fastest = c
            .pairs()
            .map(|(yx, xx)| {
                let limit = (yx / xx).powf(1.0 / f64::from(depth));
                (yx * start.powi(depth - 2)).max(xx * limit.powi(2 * depth - 2))
            })
            .fold(0.0, f64::max);
        let width = 1.0 / (f64::from(depth) * fastest);
        let waiting = start.powi(2 - depth) / (f64::from(depth - 2) * c.smallest_cross());
        // A value at time τ is as uncertain as τ itself, whose last digit is ε times the waiting time.
        let tolerance = 1e-14 + 64.0 * f64::EPSILON * waiting / width;
        if tolerance.is_nan() || tolerance > LARGEST_TOLERANCE {
            return Err(Error::setting(
                "delta",
                network.delta().unwrap_or(f64::INFINITY),
                format!(
                    "gradient flow with depth = {depth} waits for {waiting:.1e} near zero, too long to re-time its path in double precision"
                ),
                "lower delta, or use the simulation",
            ));
        }
        Ok(Self::Deep {
            components: c.pairs().map(|(yx, xx)| DeepComponent::new(yx, xx, depth, start)).collect(),
            depth,
            width,
            tolerance,
        })
    }

    /// The width of the first panel of the integral of the speed, which adapts afterwards.
    pub(crate) fn first_width(&self) -> f64 {
        match self {
            Self::Bilinear { pairs, .. } => 0.5 / pairs.iter().map(|pair| pair.0).fold(0.0, f64::max),
            Self::Deep { width, .. } => *width,
        }
    }

    /// α at the gradient flow's time τ, which may be infinite.
    pub(crate) fn alpha(&self, tau: f64) -> Vec<f64> {
        match self {
            Self::Bilinear { pairs, start } => pairs.iter().map(|&(yx, xx)| gd::bilinear(yx, xx, *start, tau)).collect(),
            Self::Deep { components, depth, .. } => components
                .iter()
                .map(|component| {
                    let layer = if tau.is_finite() { component.layer(component.at(tau)) } else { component.limit() };
                    layer.powi(*depth)
                })
                .collect(),
        }
    }
}

impl Pace for DeepPath {
    fn tolerance(&self) -> f64 {
        match self {
            Self::Bilinear { .. } => 1e-14,
            Self::Deep { tolerance, .. } => *tolerance,
        }
    }

    /// (Σ_c (w_c^{L−1} r_c)²)^{1/2}, scaled by the largest term: squares of tiny residuals would vanish.
    fn speed(&self, tau: f64) -> f64 {
        let terms: Vec<f64> = match self {
            Self::Bilinear { pairs, start } => pairs
                .iter()
                .map(|&(yx, xx)| {
                    // r = s_yx − s_xx a without cancellation: a = s_yx/(s_xx + e), r = s_yx e/(s_xx + e).
                    let rest = (yx / start - xx) * (-2.0 * yx * tau).exp();
                    let alpha = yx / (xx + rest);
                    alpha.powf(part(Part::NgdDeepExponent, 0.5)) * (alpha * rest).abs()
                })
                .collect(),
            Self::Deep { components, depth, .. } => {
                let exponent = part(Part::NgdDeepExponent, f64::from(*depth - 1));
                components
                    .iter()
                    .map(|component| {
                        let value = component.at(tau);
                        component.layer(value).powf(exponent) * component.residual(value).abs()
                    })
                    .collect()
            }
        };
        let largest = terms.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return 0.0;
        }
        largest * terms.iter().map(|term| (term / largest).powi(2)).sum::<f64>().sqrt()
    }

    /// Σ_c |w_c* − w_c|: the path is monotone in every component, so its length is at most that.
    fn left(&self, tau: f64) -> f64 {
        match self {
            Self::Bilinear { pairs, start } => pairs
                .iter()
                .map(|&(yx, xx)| {
                    let rest = (yx / start - xx) * (-2.0 * yx * tau).exp();
                    let (alpha, limit) = (yx / (xx + rest), yx / xx);
                    // √a* − √a = (a* − a)/(√a* + √a), a* − a = a* e/(s_xx + e).
                    (limit * rest / (xx + rest)).abs() / (limit.sqrt() + alpha.sqrt())
                })
                .sum(),
            Self::Deep { components, .. } => components.iter().map(|component| component.distance(component.at(tau)).abs()).sum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::components::Components;
    use crate::network::Network;
    use crate::rules::Rule;

    #[test]
    fn equal_components_move_on_a_straight_line() {
        // k equal components: every layer's value grows at 1/√k until (a*)^{1/L}.
        let c = Components::new(vec![0.25; 4], vec![1.25; 4], 4).expect("valid");
        for depth in [2, 3, 5] {
            let network = Network::new(depth, Some(2.0)).expect("valid");
            let root = 0.2_f64.powf(1.0 / f64::from(network.exponent()));
            let arrival = 2.0 * (root - network.layer_start());
            let times = [0.0, 1e-3, 0.2, 0.5, 0.99 * arrival, arrival * (1.0 + 1e-9), 10.0];
            let rows = Rule::Ngd.closed_form(&c, &network, &times).expect("finite delta");
            for (t, row) in times.iter().zip(rows) {
                let exact = (network.layer_start() + t / 2.0).min(root).powi(network.exponent());
                assert!(row.iter().all(|value| (value - exact).abs() < 1e-11), "L = {depth}, t = {t}: {row:?} against {exact}");
            }
        }
    }

    #[test]
    fn the_path_is_that_of_gradient_descent_at_unit_speed() {
        // Along the normalized flow Σ_c (dw_c)² = dt², and the components have the ratios of gradient descent.
        let c = Components::new(vec![0.5, 0.3, 0.2], vec![1.5, 1.3, 1.2], 3).expect("valid");
        for depth in [2, 3, 4] {
            let network = Network::new(depth, Some(2.0)).expect("valid");
            let root = |a: f64| a.powf(1.0 / f64::from(network.exponent()));
            for t in [0.1, 0.3, 0.5] {
                let h = 1e-5;
                let rows = Rule::Ngd.closed_form(&c, &network, &[t - h, t + h]).expect("finite delta");
                let speed =
                    rows[0].iter().zip(&rows[1]).map(|(a, b)| (root(*b) - root(*a)).powi(2)).sum::<f64>().sqrt() / (2.0 * h);
                assert!((speed - 1.0).abs() < 1e-7, "L = {depth}, t = {t}: {speed}");
            }
        }
    }

    #[test]
    fn a_waiting_time_beyond_double_precision_is_an_error() {
        let c = Components::new(vec![0.5, 0.3], vec![1.5, 1.3], 2).expect("valid");
        let network = Network::new(4, Some(20.0)).expect("valid");
        let error = Rule::Ngd.closed_form(&c, &network, &[1.0]).expect_err("too long").to_string();
        assert!(error.starts_with("delta = 20.0") && error.contains("hint: lower delta"), "{error}");
        // Two layers have a closed form that needs no waiting time.
        let network = Network::new(2, Some(20.0)).expect("valid");
        assert!(Rule::Ngd.closed_form(&c, &network, &[1.0]).expect("two layers")[0][0] > 0.1);
    }
}
