use faer::{Accum, Mat, MatRef};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::{SpectralMap, multiply};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::part::{Part, part};
use crate::rules::Rule;
use crate::simulation::Simulation;

const MOST_STEPS: f64 = 1e6;

/// sup_t |α_c(t) − α_c^∞(t)| for each component: how far the flow of `SpecGD` from aligned layers w₀ = e^{−δ} is from its limit δ → ∞.
///
/// (w₀ + t)^L − t^L grows until the component saturates at t = w* − w₀, w* = (a_c*)^{1/L}, and falls afterwards: the largest deviation is
/// a_c* − (w* − w₀)^L = L (a_c*)^{(L−1)/L} e^{−δ} + O(e^{−2δ}). For w₀ ≥ w* it is α_c(0) = w₀^L.
pub fn delta_deviation(components: &Components, network: &Network) -> Vec<f64> {
    let start = part(Part::DeviationStart, network.layer_start());
    components
        .limits()
        .into_iter()
        .map(|limit| {
            let layer = limit.powf(1.0 / f64::from(network.exponent()));
            if start < layer { limit - (layer - start).powi(network.exponent()) } else { start.powi(network.exponent()) }
        })
        .collect()
}

/// The two values between which α_c alternates under `SpecGD` with steps of size `eta` once it has come to its limit, the lower one first: the
/// L-th powers of the grid points w₀ + nη on the two sides of w* = (a_c*)^{1/L}.
///
/// Until then the steps are the flow's own path; so these values are its whole discretization error, at most
/// (w* + η)^L − a_c* = L (a_c*)^{(L−1)/L} η + O(η²). A component whose w* is a grid point stays on it. For η < w*; fails for an η that is not
/// positive and finite.
pub fn alternation(components: &Components, network: &Network, eta: f64) -> Result<Vec<(f64, f64)>> {
    crate::discrete::check_eta(eta)?;
    let (exponent, start) = (network.exponent(), network.layer_start());
    Ok(components
        .limits()
        .into_iter()
        .map(|limit| {
            let position = (limit.powf(1.0 / f64::from(exponent)) - start) / eta;
            if (position - position.round()).abs() <= 1e-12 * position.abs() {
                return (limit, limit);
            }
            let below = start + eta * position.floor();
            (below.powi(exponent), (below + part(Part::AlternationStep, eta)).powi(exponent))
        })
        .collect())
}

/// e_c(t) at each time, the first-order error of gradient descent with steps of size η against its flow: α_c after t/η steps is
/// α_c(t) + η e_c(t) + O(η²).
///
/// Euler's method on ẇ = f(w), f(w) = w^{L−1}(s_yx − s_xx w^L), is off by −(η/2) f(w) ln(f(w)/f(w₀)), because the variation f g of the flow obeys
/// ġ = −½ f′ along it and ∫ f′ dt = ln f; with α = w^L, e = −½ L w^{L−1} f(w) ln(f(w)/f(w₀)). Fails as the flow does.
pub fn euler_error(components: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    let exponent = network.exponent();
    let rows = Rule::Gd.closed_form(components, network, times)?;
    let first = Rule::Gd.closed_form(components, network, &[0.0])?;
    let speed = |alpha: f64, yx: f64, xx: f64| {
        let layer = alpha.powf(1.0 / f64::from(exponent));
        (layer.powi(exponent - 1), layer.powi(exponent - 1) * (yx - xx * alpha))
    };
    Ok(rows
        .into_iter()
        .map(|row| {
            row.into_iter()
                .zip(&first[0])
                .zip(components.pairs())
                .map(|((alpha, &start), (yx, xx))| {
                    let ((factor, now), (_, before)) = (speed(alpha, yx, xx), speed(start, yx, xx));
                    let ratio = now / before;
                    let term = if ratio > 0.0 { now * ratio.ln() } else { 0.0 };
                    -part(Part::EulerTerm, 0.5 * f64::from(exponent) * factor * term)
                })
                .collect()
        })
        .collect())
}

/// The layers that a deviation is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Balanced and aligned, [`Simulation::new`].
    Aligned,
    /// Independent Gaussian entries of the same size, [`Simulation::from_random`].
    Gaussian,
}

/// How far a simulation of `SpecGD` was from the idealized flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Deviation {
    /// The largest |α_c(n) − min((nη)^L, a_c*)| over all steps and components.
    pub alpha: f64,
    /// The largest magnitude of W outside the aligned diagonal over all steps.
    pub off_diagonal: f64,
    /// How many components ended below half of their limit: trapped at zero (see [`specgd_deviation`]).
    pub trapped: usize,
}

/// Simulates `SpecGD` with matrices from small layers and compares each step with the idealized flow min(t^L, a_c*), which starts at exactly zero
/// (δ → ∞), in aligned bases, in continuous time; up to 1.25 times the last saturation time.
///
/// From aligned layers the deviation is [`delta_deviation`] plus that of the steps, [`alternation`]. From Gaussian layers the bases align by
/// themselves, in a time of the order e^{−δ}, and the deviation is of the order of max(e^{−δ}, η) for every L — with one exception: for even
/// L and η above about e^{−δ} a component whose layers' values happen to have a negative product can be trapped in a cycle of two steps at zero for
/// ever (derivation in [`crate::derivations::depth`]). Fails for L ≥ 2 without δ and for more than 10⁶ steps.
pub fn specgd_deviation(moments: &MatrixMoments, network: &Network, start: Start, eta: f64, seed: u64) -> Result<Deviation> {
    crate::discrete::check_eta(eta)?;
    let components = moments.components();
    let limits = components.limits();
    let ideal = Network::new(network.depth(), None)?;
    let root = 1.0 / f64::from(network.exponent());
    let horizon = 1.25 * limits.iter().map(|limit| limit.powf(root)).fold(0.0, f64::max);
    if horizon / eta > MOST_STEPS {
        return Err(Error::setting(
            "eta",
            eta,
            format!(
                "the last component saturates after {:.1e} steps, and a deviation is measured over at most {MOST_STEPS:e}",
                horizon / eta
            ),
            "raise eta",
        ));
    }
    let mut simulation = match start {
        Start::Aligned => Simulation::new(moments, network, Rule::SpecGd, eta, seed)?,
        Start::Gaussian => Simulation::from_random(moments, network, Rule::SpecGd, eta, seed)?,
    };
    let mut deviation = Deviation { alpha: 0.0, off_diagonal: 0.0, trapped: 0 };
    loop {
        let t = simulation.step() as f64 * eta;
        let alpha = simulation.alpha();
        let flow = &Rule::SpecGd.closed_form(components, &ideal, &[t])?[0];
        for (alpha, flow) in alpha.iter().zip(flow) {
            deviation.alpha = deviation.alpha.max((alpha - flow).abs());
        }
        deviation.off_diagonal = deviation.off_diagonal.max(simulation.off_diagonal());
        if t > horizon {
            deviation.trapped = alpha.iter().zip(&limits).filter(|(alpha, limit)| **alpha < 0.5 * **limit).count();
            return Ok(deviation);
        }
        simulation.advance()?;
    }
}

/// W_2 W_1 V = P(t) of the bilinear flow of `SpecGD` from balanced layers that are not aligned, W_2 = B = (W_1 V)ᵀ, while the residual is still
/// S = diag(s_yx): P(t) = S^{−1} ((S B Bᵀ S)^{1/2} + t S)² S^{−1}.
///
/// So P = t² I + O(t ‖B‖): the bases align by themselves, and what B was is a correction of relative order ‖B‖/t.
pub(crate) fn balanced_bilinear(s_yx: &[f64], outer: MatRef<'_, f64>, t: f64) -> Result<Mat<f64>> {
    let k = s_yx.len();
    let scaled = Mat::from_fn(k, outer.ncols(), |i, j| s_yx[i] * outer[(i, j)]);
    let mut gram = Mat::zeros(k, k);
    multiply(gram.as_mut(), Accum::Replace, scaled.as_ref(), scaled.transpose(), 1.0);
    let mut root = Mat::zeros(k, k);
    SpectralMap::new(k, k).apply(gram.as_ref(), 0.0, f64::sqrt, root.as_mut())?;
    let sum = Mat::from_fn(k, k, |i, j| {
        let growth = if i == j { part(Part::BalancedGrowth, t * s_yx[i]) } else { 0.0 };
        part(Part::BalancedStart, root[(i, j)]) + growth
    });
    let mut square = Mat::zeros(k, k);
    multiply(square.as_mut(), Accum::Replace, sum.as_ref(), sum.as_ref(), 1.0);
    Ok(Mat::from_fn(k, k, |i, j| square[(i, j)] / (s_yx[i] * s_yx[j])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components() -> Components {
        Components::new(vec![0.5, 0.3, 0.2], vec![1.5, 1.3, 1.2], 3).expect("valid")
    }

    #[test]
    fn the_largest_deviation_is_where_it_says() {
        let c = components();
        for depth in 1..=4 {
            for delta in [0.1, 1.0, 3.0] {
                let network = Network::new(depth, Some(delta)).expect("valid");
                let ideal = Network::new(depth, None).expect("valid");
                let times: Vec<f64> = (0..=20_000).map(|i| 1e-4 * f64::from(i)).collect();
                let a = Rule::SpecGd.closed_form(&c, &network, &times).expect("a flow");
                let b = Rule::SpecGd.closed_form(&c, &ideal, &times).expect("a flow");
                for (class, expected) in delta_deviation(&c, &network).into_iter().enumerate() {
                    let found = a.iter().zip(&b).map(|(a, b)| (a[class] - b[class]).abs()).fold(0.0, f64::max);
                    assert!((found - expected).abs() < 5e-4, "L = {depth}, δ = {delta}: {found} against {expected}");
                }
            }
        }
    }

    #[test]
    fn a_hit_does_not_alternate_and_bad_steps_are_errors() {
        let c = Components::new(vec![0.25], vec![1.0], 1).expect("valid");
        let network = Network::new(2, None).expect("valid");
        assert_eq!(alternation(&c, &network, 0.1).expect("a step"), [(0.25, 0.25)]);
        let (low, high) = alternation(&c, &network, 0.2).expect("a step")[0];
        assert!((low - 0.16).abs() < 1e-15 && (high - 0.36).abs() < 1e-15);
        for eta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(alternation(&c, &network, eta).is_err());
        }
    }

    #[test]
    fn one_layer_has_the_known_first_order_error() {
        // a*(1 − (1 − η s)^n) − a*(1 − e^{−s t}) = η a* s² t e^{−s t}/2 + O(η²).
        let c = components();
        let times = [0.0, 0.3, 1.0, 4.0];
        let rows = euler_error(&c, &Network::LINEAR, &times).expect("a flow");
        for (t, row) in times.iter().zip(rows) {
            for (value, (yx, xx)) in row.iter().zip(c.pairs()) {
                assert!((value - 0.5 * yx * xx * t * (-xx * t).exp()).abs() < 1e-14);
            }
        }
    }
}
