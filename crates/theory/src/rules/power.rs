//! The spectral-power flow U Σ^p Vᵀ between `SpecGD` (p = 0) and GD (p = 1); theory of this project.

use super::{gd, specgd};
use crate::components::Components;
use crate::error::{Error, Result};
use crate::network::Network;

/// The flow of the linear model. With r = s_yx − s_xx α, α̇ = sign(r) |r|^p has
/// |r|^{1−p} = \[|r₀|^{1−p} − (1−p) s_xx t\]₊ for p < 1: component c saturates at the finite time |r₀|^{1−p}/((1−p) s_xx).
/// p = 1 is GD and p = 0 is `SpecGD`, also for deep models; other p have a closed form for L = 1 only.
pub(crate) fn closed_form(p: f64, c: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    if p >= 1.0 {
        return gd::closed_form(c, network, times);
    }
    if p <= 0.0 {
        return Ok(specgd::closed_form(c, network, times));
    }
    if network.depth() > 1 {
        return Err(Error::NoClosedForm {
            rule: "power",
            reason: "with two or more layers only p = 0 (specgd) and p = 1 (gd) have one",
        });
    }
    let start = network.start();
    Ok(times.iter().map(|&t| c.pairs().map(|(yx, xx)| component(p, yx, xx, start, t)).collect()).collect())
}

fn component(p: f64, yx: f64, xx: f64, start: f64, t: f64) -> f64 {
    let residual = yx - xx * start;
    // The part of |r₀|^{1−p} that is used up at time t.
    let used = (1.0 - p) * xx * t / residual.abs().powf(1.0 - p);
    if used >= 1.0 || residual == 0.0 {
        return yx / xx;
    }
    // (r₀ − r)/s_xx with r/r₀ = (1 − used)^{1/(1−p)}, without cancellation for small t.
    start - residual / xx * ((-used).ln_1p() / (1.0 - p)).exp_m1()
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
