//! NGD's re-timing against integrations that do not share its quadrature.

use rand::Rng;

use super::{Check, Group, Job, VerifyConfig, is_worse};
use crate::components::Components;
use crate::error::Result;
use crate::network::Network;
use crate::random::{Purpose, stream};
use crate::rules::{Rule, ngd};

pub(super) const GROUP: Group = Group {
    title: "The re-timing of NGD",
    statements: &[
        ("ngd-retiming", "τ(t) solves t = ∫₀^τ ‖∇(s)‖_F ds to 1e-10, also for stiff spectra"),
        ("ngd-equation", "The re-timed path of GD solves NGD's equation dα/dt = r/‖r‖₂"),
    ],
    jobs: &[
        Job { ids: &["ngd-retiming"], run: |config| Ok(vec![retiming(config)?]) },
        Job { ids: &["ngd-equation"], run: |config| Ok(vec![equation(config)?]) },
    ],
};

/// Two to six components, log-uniform: s_xx over `decades` on both sides of 1, s_yx over as many below 1.
fn components(config: &VerifyConfig, index: usize, decades: f64) -> Result<Components> {
    let mut rng = stream(config.seed, Purpose::Spectra, 10_000 + index);
    let k = 2 + index % 5;
    let s_xx = (0..k).map(|_| 10_f64.powf(decades * (2.0 * rng.random::<f64>() - 1.0))).collect();
    Components::new((0..k).map(|_| 10_f64.powf(-decades * rng.random::<f64>())).collect(), s_xx, k)
}

/// ∫_a^b f by adaptive Simpson panels with Richardson's correction, to `tolerance`.
fn simpson(f: &impl Fn(f64) -> f64, a: f64, b: f64, tolerance: f64) -> f64 {
    fn refine(f: &impl Fn(f64) -> f64, a: (f64, f64), m: (f64, f64), b: (f64, f64), tolerance: f64, depth: u32) -> f64 {
        let rule = |a: (f64, f64), m: f64, b: (f64, f64)| (b.0 - a.0) / 6.0 * (a.1 + 4.0 * m + b.1);
        let point = |x: f64| (x, f(x));
        let (left, right) = (point(0.5 * (a.0 + m.0)), point(0.5 * (m.0 + b.0)));
        let (whole, halves) = (rule(a, m.1, b), rule(a, left.1, m) + rule(m, right.1, b));
        let error = (halves - whole) / 15.0;
        // Not a number is given up, too.
        if error.is_nan() || error.abs() <= tolerance || depth == 0 {
            return halves + error;
        }
        // Panels share the tolerance by halves: the sum of all errors stays below it.
        let half = 0.5 * tolerance;
        refine(f, a, left, m, half.max(1e-300), depth - 1) + refine(f, m, right, b, half.max(1e-300), depth - 1)
    }
    let m = 0.5 * (a + b);
    refine(f, (a, f(a)), (m, f(m)), (b, f(b)), tolerance, 40)
}

fn retiming(config: &VerifyConfig) -> Result<Check> {
    const SETS: usize = 120;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for index in 0..SETS {
        // Ratios of the rates up to 1e2, 1e6 and 1e12.
        let decades = [1.0, 3.0, 6.0][index % 3];
        let c = components(config, index, decades)?;
        let length = c.limits().iter().map(|a| a * a).sum::<f64>().sqrt();
        // The path is no shorter than the straight line to the optimum: NGD has not arrived at any of these times.
        let times: Vec<f64> = [1e-3, 0.3, 0.9, 0.999].iter().map(|share| share * length).collect();
        let speed = |tau: f64| c.pairs().map(|(yx, xx)| (yx * (-xx * tau).exp()).powi(2)).sum::<f64>().sqrt();
        for (t, tau) in times.iter().zip(ngd::retimed(&c, 0.0, &times)) {
            // In x = ln(1 + s τ) with the largest rate s all time scales are of one size.
            let fastest = c.largest_second();
            let integrand = |x: f64| speed(x.exp_m1() / fastest) * x.exp() / fastest;
            let end = (fastest * tau).ln_1p();
            let error = if end.is_finite() { (simpson(&integrand, 0.0, end, 1e-13 * t) / t - 1.0).abs() } else { f64::INFINITY };
            if is_worse(error, worst) {
                (worst, place) = (error, format!("set {index}, rates over 1e±{decades}, t = {:.3} ‖a*‖", t / length));
            }
        }
    }
    let quantity =
        format!("largest |∫₀^τ‖∇‖ds − t|/t by adaptive Simpson quadrature, {SETS} random spectra, 4 times each ({place})");
    Ok(Check::at_most("ngd-retiming", worst, 1e-10, quantity))
}

/// dα/dt = r/‖r‖, r = s_yx − s_xx α, from 0 to `end` by classical Runge–Kutta steps of order 4 with step doubling.
fn integrate(c: &Components, end: f64, tolerance: f64) -> Vec<f64> {
    let slope = |alpha: &[f64]| -> Vec<f64> {
        let r: Vec<f64> = c.pairs().zip(alpha).map(|((yx, xx), a)| yx - xx * a).collect();
        let norm = r.iter().map(|r| r * r).sum::<f64>().sqrt();
        r.into_iter().map(|r| r / norm).collect()
    };
    let moved = |alpha: &[f64], k: &[f64], h: f64| -> Vec<f64> { alpha.iter().zip(k).map(|(a, k)| a + h * k).collect() };
    let step = |alpha: &[f64], h: f64| -> Vec<f64> {
        let k1 = slope(alpha);
        let k2 = slope(&moved(alpha, &k1, 0.5 * h));
        let k3 = slope(&moved(alpha, &k2, 0.5 * h));
        let k4 = slope(&moved(alpha, &k3, h));
        (0..alpha.len()).map(|i| alpha[i] + h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i])).collect()
    };
    let (mut alpha, mut t, mut h) = (vec![0.0; c.len()], 0.0, 1e-3 * end);
    while t < end {
        h = h.min(end - t);
        let once = step(&alpha, h);
        let twice = step(&step(&alpha, 0.5 * h), 0.5 * h);
        let error = once.iter().zip(&twice).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / 15.0;
        // The share of the whole tolerance that this step may use; the correction below is worth more.
        let allowed = tolerance * h / end;
        if error <= allowed || h < 1e-14 * end {
            alpha = once.iter().zip(&twice).map(|(a, b)| b + (b - a) / 15.0).collect();
            t += h;
        }
        h *= (0.9 * (allowed / error.max(1e-300)).powf(0.25)).clamp(0.2, 2.0);
    }
    alpha
}

fn equation(config: &VerifyConfig) -> Result<Check> {
    const SETS: usize = 15;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for index in 0..SETS {
        let decades = [0.5, 1.0, 1.5][index % 3];
        let c = components(config, 200 + index, decades)?;
        let length = c.limits().iter().map(|a| a * a).sum::<f64>().sqrt();
        let t = [0.3, 0.7, 0.95][index / 3 % 3] * length;
        let exact = &Rule::Ngd.closed_form(&c, &Network::LINEAR, &[t])?[0];
        let error = exact.iter().zip(integrate(&c, t, 1e-11 * length)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / length;
        if is_worse(error, worst) {
            (worst, place) = (error, format!("set {index}, rates over 1e±{decades}, t = {:.2} ‖a*‖", t / length));
        }
    }
    let quantity =
        format!("largest |α(t) − α|/‖a*‖ with α from Runge–Kutta integration of the equation, {SETS} random spectra ({place})");
    Ok(Check::at_most("ngd-equation", worst, 1e-10, quantity))
}
