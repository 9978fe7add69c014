//! The spectral-power flow U Σ^p Vᵀ between `SpecGD` (p = 0) and GD (p = 1); theory of this project.

use super::{gd, specgd};
use crate::components::Components;
use crate::error::Result;
use crate::incomplete_beta::{BetaIntegral, Place};
use crate::network::Network;
use crate::part::{Part, part};

/// The flow from the network's initialization.
///
/// L = 1: with r = s_yx − s_xx α, α̇ = sign(r) |r|^p has |r|^{1−p} = \[|r₀|^{1−p} − (1−p) s_xx t\]₊ for p < 1: component c saturates
/// at the finite time |r₀|^{1−p}/((1−p) s_xx).
///
/// L ≥ 2: each layer's value moves by ẇ = (w^{L−1} r)^p, α = w^L, and time is an incomplete beta integral of z = α/a*:
/// t = C ∫_{z₀}^{z} x^{a−1} (1−x)^{b−1} dx with a = (1 − p(L−1))/L, b = 1 − p, C = (a*)^a s_yx^{−p}/L. It is inverted to about 1e-13 of
/// a*. For p < 1/(L−1) the flow leaves zero at once, so that the limit δ → ∞ exists; otherwise it is an error.
///
/// p = 1 is GD and p = 0 is `SpecGD` for every L. See [`crate::derivations::spectral_power`].
pub(crate) fn closed_form(p: f64, c: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    if p >= 1.0 {
        return gd::closed_form(c, network, times);
    }
    if p <= 0.0 {
        return Ok(specgd::closed_form(c, network, times));
    }
    if network.depth() > 1 {
        let flows = c.pairs().map(|(yx, xx)| Deep::new(p, yx, xx, network)).collect::<Result<Vec<_>>>()?;
        return Ok(times.iter().map(|&t| flows.iter().map(|flow| flow.alpha(t)).collect()).collect());
    }
    let start = network.start();
    Ok(times.iter().map(|&t| c.pairs().map(|(yx, xx)| component(p, yx, xx, start, t)).collect()).collect())
}

/// The times at which the components reach their limits; infinite for p = 1.
pub(crate) fn saturation(p: f64, c: &Components, network: &Network) -> Result<Vec<f64>> {
    c.pairs()
        .map(|(yx, xx)| {
            if network.depth() > 1 && p < 1.0 {
                return Ok(Deep::new(p, yx, xx, network)?.saturation());
            }
            let residual = (yx - xx * network.start()).abs();
            Ok(residual.powf(1.0 - p) / (part(Part::PowerRate, 1.0 - p) * xx))
        })
        .collect()
}

fn component(p: f64, yx: f64, xx: f64, start: f64, t: f64) -> f64 {
    let residual = yx - xx * start;
    // The part of |r₀|^{1−p} that is used up at time t.
    let used = part(Part::PowerRate, 1.0 - p) * xx * t / residual.abs().powf(1.0 - p);
    if used >= 1.0 || residual == 0.0 {
        return yx / xx;
    }
    // (r₀ − r)/s_xx with r/r₀ = (1 − used)^{1/(1−p)}, without cancellation for small t.
    start - residual / xx * (part(Part::PowerShape, 1.0 / (1.0 - p)) * (-used).ln_1p()).exp_m1()
}

/// One component of two or more layers, 0 < p < 1.
struct Deep {
    integral: BetaIntegral,
    /// z₀ = α(0)/a*, or its inverse when that is above 1.
    start: Place,
    /// C.
    scale: f64,
    limit: f64,
    rising: bool,
}

impl Deep {
    fn new(p: f64, yx: f64, xx: f64, network: &Network) -> Result<Self> {
        let depth = f64::from(network.exponent());
        let (limit, a, b) = (yx / xx, deep_exponent(p, network.depth()), 1.0 - p);
        if a <= 0.0 && network.delta().is_none() {
            network
                .require_delta("power", &format!("and p = {p} ≥ 1/(depth − 1) never leaves the saddle at zero as delta → ∞"))?;
        }
        let scale = part(Part::PowerDeepScale, limit.powf(a) * yx.powf(-p) / depth);
        let ln = network.delta().map_or(f64::NEG_INFINITY, |delta| -delta * depth - limit.ln());
        let residual = yx - xx * network.start();
        let rising = residual >= 0.0;
        let (integral, start) = if rising {
            (BetaIntegral { a, b }, Place { ln, gap: residual / yx })
        } else {
            // x ↦ 1/x turns the way down from z₀ > 1 into a way up from 1/z₀.
            (BetaIntegral { a: 1.0 - a - b, b }, Place { ln: -ln, gap: -residual / (xx * network.start()) })
        };
        Ok(Self { integral, start, scale, limit, rising })
    }

    fn saturation(&self) -> f64 {
        self.scale * self.integral.to_one(self.start)
    }

    fn alpha(&self, t: f64) -> f64 {
        let place = self.integral.invert(self.start, t / self.scale);
        if place.gap <= 0.5 {
            let x = 1.0 - place.gap;
            return if self.rising { self.limit * x } else { self.limit / x };
        }
        self.limit * (if self.rising { place.ln } else { -place.ln }).exp()
    }
}

/// a = (1 − p(L−1))/L.
pub(crate) fn deep_exponent(p: f64, depth: usize) -> f64 {
    let depth = depth as f64;
    (1.0 - part(Part::PowerDeepExponent, p * (depth - 1.0))) / depth
}

/// sign(g) |g|^p where |g| is more than rounding noise, else 0.
pub(crate) fn scalar_direction(p: f64, gradient: &[f64], floor: f64, out: &mut [f64]) {
    for (value, g) in out.iter_mut().zip(gradient) {
        *value = if g.abs() > floor { g.abs().powf(p).copysign(*g) } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_gd_and_specgd() {
        let c = Components::new(vec![0.5, 0.2], vec![1.5, 1.2], 2).expect("valid");
        let times = [0.0, 0.05, 0.2, 1.0, 5.0];
        let path = |p: f64| closed_form(p, &c, &Network::LINEAR, &times).expect("linear");
        let far = |a: &[Vec<f64>], b: &[Vec<f64>]| {
            a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
        };
        assert!(far(&path(1.0 - 1e-9), &path(1.0)) < 1e-8);
        assert!(far(&path(1e-9), &path(0.0)) < 1e-8);
        assert!(far(&path(0.5), &path(0.0)) > 0.01);
    }

    #[test]
    fn solves_its_equation() {
        let (yx, xx) = (0.4, 1.3);
        for p in [0.1, 0.5, 0.9] {
            for t in [0.05, 0.1, 0.2] {
                let h = 1e-5;
                let slope = (component(p, yx, xx, 0.0, t + h) - component(p, yx, xx, 0.0, t - h)) / (2.0 * h);
                let rate = (yx - xx * component(p, yx, xx, 0.0, t)).powf(p);
                assert!((slope - rate).abs() < 1e-8, "p = {p}, t = {t}: {slope} against {rate}");
            }
            let saturation = yx.powf(1.0 - p) / ((1.0 - p) * xx);
            assert!(component(p, yx, xx, 0.0, 0.9 * saturation) < yx / xx);
            assert!((component(p, yx, xx, 0.0, 1.001 * saturation) - yx / xx).abs() < 1e-16);
        }
    }
}
