//! gap/(μ t) of Theorems 1 and 2 without cancellation.

use std::sync::LazyLock;

use crate::part::{Part, part};
use crate::quadrature::GaussLegendre;
use crate::rules::gd::phi;

/// Panels of a horizon: the ratios are read at their ends.
const PANELS: usize = 64;
/// The fastest exponential decays by at most this much in a panel; four nodes then integrate ‖∇‖ to about 1e-14.
const DECAY_PER_PANEL: f64 = 0.25;
const NODES: usize = 4;
/// No set of the theorems' conditions comes near this; a bug must not hang a check.
const MOST_PANELS: usize = 1_000_000;

static RULE: LazyLock<GaussLegendre> = LazyLock::new(|| GaussLegendre::new(NODES));

/// A mixture as the theorems see it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TheoremSet {
    /// μ.
    pub mean_norm: f64,
    /// σ².
    pub variance: f64,
    /// p_c; the minority class is the first.
    pub priors: Vec<f64>,
}

/// gap/(μ t) for the minority and the balanced loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratios {
    pub minority: f64,
    pub balanced: f64,
}

/// The smallest ratios over (0, t*] and the fractions t/t* at which they are found; a fraction of 0 is the limit t → 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Smallest {
    pub ratios: Ratios,
    pub minority_at: f64,
    pub balanced_at: f64,
}

impl Smallest {
    fn none() -> Self {
        Self { ratios: Ratios { minority: f64::INFINITY, balanced: f64::INFINITY }, minority_at: f64::NAN, balanced_at: f64::NAN }
    }

    /// A ratio that is not a number counts as −∞: it must fail a check, never pass unseen.
    fn take(&mut self, ratios: Ratios, at: f64) {
        let guard = |ratio: f64| {
            if ratio.is_nan() { f64::NEG_INFINITY } else { ratio }
        };
        if guard(ratios.minority) < self.ratios.minority {
            self.ratios.minority = guard(ratios.minority);
            self.minority_at = at;
        }
        if guard(ratios.balanced) < self.ratios.balanced {
            self.ratios.balanced = guard(ratios.balanced);
            self.balanced_at = at;
        }
    }
}

impl TheoremSet {
    /// Whether μ ≥ 1, k ≥ 3μ and p_m ≤ 1/(5·SNR + 6k), with the first prior the smallest.
    pub(crate) fn satisfies_conditions(&self) -> bool {
        let k = self.priors.len() as f64;
        let minority = self.priors[0];
        self.mean_norm >= 1.0
            && k >= 3.0 * self.mean_norm
            && minority <= self.largest_minority()
            && self.priors.iter().all(|p| *p >= minority)
            && (self.priors.iter().sum::<f64>() - 1.0).abs() < 1e-12
    }

    /// 1/(5·SNR + 6k).
    pub(crate) fn largest_minority(&self) -> f64 {
        1.0 / (5.0 * self.snr() + 6.0 * self.priors.len() as f64)
    }

    pub(crate) fn snr(&self) -> f64 {
        self.mean_norm * self.mean_norm / self.variance
    }

    /// t* = a_m*.
    pub(crate) fn horizon(&self) -> f64 {
        self.mean_norm * self.priors[0] / self.rate(self.priors[0])
    }

    fn rate(&self, prior: f64) -> f64 {
        self.mean_norm * self.mean_norm * prior + self.variance
    }

    /// Up to t* every component of `SpecGD` is t, so with x_c = α_c/t
    /// L_c − L_c^Spec = μ t (1 − x_c)(1 − μ t (1 + x_c)/2) + ½ σ² t² (Σ_j x_j² − k):
    /// no difference of nearly equal numbers is left, and t → 0 is an ordinary value.
    pub(crate) fn ratios(&self, t: f64, x: impl Iterator<Item = f64> + Clone) -> Ratios {
        let k = self.priors.len() as f64;
        let class = |x: f64| (1.0 - x) * (1.0 - part(Part::RatioSignal, 0.5 * self.mean_norm * t * (1.0 + x)));
        let noise =
            part(Part::RatioNoise, 0.5 * self.variance * t / self.mean_norm * (x.clone().map(|x| x * x).sum::<f64>() - k));
        let minority = class(x.clone().next().unwrap_or(0.0)) + noise;
        let balanced = x.map(class).sum::<f64>() / k + noise;
        Ratios { minority, balanced }
    }

    /// Theorem 1 at one time: x_c = s_yx,c (1 − e^{−s_xx,c t})/(s_xx,c t).
    pub(crate) fn gradient_flow(&self, t: f64) -> Ratios {
        let x: Vec<f64> =
            self.priors.iter().map(|&p| self.mean_norm * p * phi(part(Part::RatioRate, self.rate(p) * t))).collect();
        self.ratios(t, x.iter().copied())
    }

    /// The smallest ratios of Theorem 1 over the limit t → 0 and evenly spaced times up to t*.
    pub(crate) fn smallest_gradient_flow(&self) -> Smallest {
        let mut smallest = Smallest::none();
        let horizon = self.horizon();
        for index in 0..=PANELS {
            let at = index as f64 / PANELS as f64;
            smallest.take(self.gradient_flow(at * horizon), at);
        }
        smallest
    }

    /// The smallest ratios of Theorem 2 over the limit t → 0, at least 64 times between and t*.
    ///
    /// The path is walked once along τ: t(τ) = ∫₀^τ ‖∇‖ grows panel by panel, and the ratios are read at the panels' ends as
    /// functions of (τ, t(τ)). Only t* itself needs a root.
    pub(crate) fn smallest_normalized_flow(&self) -> Smallest {
        let horizon = self.horizon();
        let mut smallest = Smallest::none();
        let mut walk = Walk::new(self, horizon);
        smallest.take(walk.ratios(0.0), 0.0);
        for _ in 0..MOST_PANELS {
            let length = walk.panel();
            if walk.time + length >= horizon {
                walk.finish(horizon - walk.time);
                walk.time = horizon;
                smallest.take(walk.ratios(walk.tau), 1.0);
                return smallest;
            }
            walk.step(length);
            smallest.take(walk.ratios(walk.tau), walk.time / horizon);
        }
        smallest.take(Ratios { minority: f64::NAN, balanced: f64::NAN }, f64::NAN);
        smallest
    }
}

/// A walk along the gradient flow's path in steps of constant length in τ.
struct Walk<'a> {
    set: &'a TheoremSet,
    rates: Vec<f64>,
    /// r_c = s_yx,c e^{−s_xx,c τ}.
    residuals: Vec<f64>,
    /// e^{−s_xx,c h ξ} for each node ξ and, last, for ξ = 1: advancing needs products only.
    decays: Vec<Vec<f64>>,
    width: f64,
    tau: f64,
    time: f64,
    start_speed: f64,
}

impl<'a> Walk<'a> {
    fn new(set: &'a TheoremSet, horizon: f64) -> Self {
        let residuals: Vec<f64> = set.priors.iter().map(|p| set.mean_norm * p).collect();
        let rates: Vec<f64> = set.priors.iter().map(|&p| set.rate(p)).collect();
        let start_speed = residuals.iter().map(|r| r * r).sum::<f64>().sqrt();
        let fastest = rates.iter().copied().fold(0.0, f64::max);
        // ‖∇‖ only falls, so a panel covers at most 1/64 of the horizon.
        let width = (horizon / start_speed / PANELS as f64).min(DECAY_PER_PANEL / fastest);
        let decays = RULE
            .pairs()
            .map(|(node, _)| node)
            .chain([1.0])
            .map(|node| rates.iter().map(|rate| (-rate * width * node).exp()).collect())
            .collect();
        Self { set, rates, residuals, decays, width, tau: 0.0, time: 0.0, start_speed }
    }

    /// ∫ ‖∇‖ over the next panel.
    fn panel(&self) -> f64 {
        let speeds = RULE.pairs().zip(&self.decays).map(|((_, weight), decay)| {
            let squared: f64 = self.residuals.iter().zip(decay).map(|(r, d)| (r * d) * (r * d)).sum();
            weight * squared.sqrt()
        });
        self.width * speeds.sum::<f64>()
    }

    fn step(&mut self, length: f64) {
        for (r, d) in self.residuals.iter_mut().zip(&self.decays[NODES]) {
            *r *= d;
        }
        self.tau += self.width;
        self.time += length;
    }

    /// Moves τ by the x with ∫_τ^{τ+x} ‖∇‖ = `wanted`, within one panel.
    fn finish(&mut self, wanted: f64) {
        let speed = |x: f64| {
            let squared: f64 = self.residuals.iter().zip(&self.rates).map(|(r, s)| (r * (-s * x).exp()).powi(2)).sum();
            squared.sqrt()
        };
        let mut x = (wanted / speed(0.0)).min(self.width);
        // ‖∇‖ changes by less than a third in a panel: Newton's method gains more digits than doubles have in six rounds.
        for _ in 0..6 {
            x = (x - (RULE.integrate(0.0, x, speed) - wanted) / speed(x)).clamp(0.0, self.width);
        }
        self.tau += x;
    }

    /// x_c = α_c/t = s_yx,c φ(s_xx,c τ) τ/t, and s_yx,c/‖s_yx‖ in the limit t → 0.
    pub(crate) fn ratios(&self, tau: f64) -> Ratios {
        let scale = if tau == 0.0 { 1.0 / self.start_speed } else { tau / self.time };
        let x: Vec<f64> = self
            .set
            .priors
            .iter()
            .zip(&self.rates)
            .map(|(p, rate)| self.set.mean_norm * p * scale * phi(part(Part::RatioPathRate, rate * tau)))
            .collect();
        self.set.ratios(self.time, x.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::Components;
    use crate::network::Network;
    use crate::rules::Rule;

    fn sets() -> Vec<TheoremSet> {
        let mut sets = Vec::new();
        for (k, mean_norm, snr, share) in
            [(3, 1.0, 1.0, 1.0), (4, 1.2, 1e3, 1.0), (12, 4.0, 1e-3, 0.1), (60, 20.0, 1e5, 1.0), (5, 1.0, 10.0, 1e-9)]
        {
            let mut set = TheoremSet { mean_norm, variance: mean_norm * mean_norm / snr, priors: vec![0.0; k] };
            let minority = share * set.largest_minority();
            let rest = (1.0 - minority) / (k - 1) as f64;
            set.priors = std::iter::once(minority).chain((1..k).map(|_| rest)).collect();
            assert!(set.satisfies_conditions());
            sets.push(set);
        }
        sets
    }

    /// gap/(μ t) from the losses themselves, by the trajectory code.
    fn direct(set: &TheoremSet, rule: Rule, t: f64) -> Ratios {
        let s_yx: Vec<f64> = set.priors.iter().map(|p| set.mean_norm * p).collect();
        let s_xx: Vec<f64> = set.priors.iter().map(|&p| set.rate(p)).collect();
        let c = Components::new(s_yx, s_xx, set.priors.len()).expect("valid");
        let path = |rule: Rule| rule.closed_form(&c, &Network::LINEAR, &[t]).expect("closed form").remove(0);
        let loss = |alpha: &[f64], class: usize| {
            0.5 * ((1.0 - set.mean_norm * alpha[class]).powi(2) + set.variance * alpha.iter().map(|a| a * a).sum::<f64>())
        };
        let (slow, spec) = (path(rule), path(Rule::SpecGd));
        let gap = |class| (loss(&slow, class) - loss(&spec, class)) / (set.mean_norm * t);
        let k = set.priors.len();
        Ratios { minority: gap(0), balanced: (0..k).map(gap).sum::<f64>() / k as f64 }
    }

    #[test]
    fn ratios_are_those_of_the_losses() {
        for set in sets() {
            for fraction in [0.1, 0.5, 1.0] {
                let t = fraction * set.horizon();
                let (a, b) = (set.gradient_flow(t), direct(&set, Rule::Gd, t));
                // The direct form loses digits as ε/(μ t); the stable one does not.
                let tolerance = 1e-11 + 4.0 * f64::EPSILON / (set.mean_norm * t);
                assert!((a.minority - b.minority).abs() < tolerance, "{a:?} {b:?}");
                assert!((a.balanced - b.balanced).abs() < tolerance, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn the_walk_agrees_with_the_adaptive_inversion() {
        for set in sets() {
            let horizon = set.horizon();
            let mut walk = Walk::new(&set, horizon);
            let mut tested = 0;
            loop {
                let length = walk.panel();
                if walk.time + length >= horizon {
                    walk.finish(horizon - walk.time);
                    walk.time = horizon;
                } else {
                    walk.step(length);
                }
                let (a, b) = (walk.ratios(walk.tau), direct(&set, Rule::Ngd, walk.time));
                let tolerance = 1e-10 + 8.0 * f64::EPSILON / (set.mean_norm * walk.time);
                assert!((a.minority - b.minority).abs() < tolerance, "{a:?} {b:?}");
                assert!((a.balanced - b.balanced).abs() < tolerance, "{a:?} {b:?}");
                tested += 1;
                if walk.time >= horizon {
                    break;
                }
            }
            assert!(tested >= PANELS);
        }
    }

    #[test]
    fn the_limit_of_small_times_is_exact() {
        for set in sets() {
            let k = set.priors.len() as f64;
            let limit = set.gradient_flow(0.0);
            assert!((limit.minority - (1.0 - set.mean_norm * set.priors[0])).abs() < 1e-15);
            assert!((limit.balanced - (1.0 - set.mean_norm / k)).abs() < 1e-14);
            let near = set.gradient_flow(1e-9 * set.horizon());
            assert!((near.minority - limit.minority).abs() < 1e-7);
        }
    }

    #[test]
    fn a_ratio_that_is_no_number_counts_as_a_failure() {
        let mut smallest = Smallest::none();
        smallest.take(Ratios { minority: f64::NAN, balanced: 1.0 }, 0.5);
        assert!(smallest.ratios.minority.is_infinite() && smallest.ratios.minority < 0.0);
    }
}
