//! gap/(μ t) of Theorems 1 and 2 in few dimensionless numbers, for priors with few distinct values.

use std::sync::LazyLock;

use super::Gap;
use crate::quadrature::GaussLegendre;
use crate::rules::gd::phi;

/// Under the conditions no component has covered more than a sixth of its way at t*, so that s_xx,c τ < 0.19 for all: then eight
/// nodes integrate ‖∇‖ to rounding.
static RULE: LazyLock<GaussLegendre> = LazyLock::new(|| GaussLegendre::new(8));
const NEWTON_ROUNDS: usize = 8;

/// Classes with the same prior.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Level {
    /// How many; a real number, so that limits of many classes can be approached.
    pub count: f64,
    pub prior: f64,
}

/// A parameter set and a time: everything that gap/(μ t) depends on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub mean_norm: f64,
    pub snr: f64,
    /// Distinct priors; the first is p_m, with the minority class counted.
    pub levels: Vec<Level>,
    /// t/t*.
    pub time: f64,
}

impl Point {
    pub(crate) fn classes(&self) -> f64 {
        self.levels.iter().map(|level| level.count).sum()
    }

    pub(crate) fn minority(&self) -> f64 {
        self.levels[0].prior
    }

    /// SNR p_m.
    fn strength(&self) -> f64 {
        self.snr * self.minority()
    }

    /// gap/(μ t). With x_c = α_c/t, S = SNR p_m and u = t/t*, μ t = u S/(1 + S) and σ² t/μ = u p_m/(1 + S).
    pub(crate) fn ratio(&self, gap: Gap) -> f64 {
        let (x_minority, sum, squares) = if gap.is_normalized() { self.normalized() } else { self.gradient() };
        let k = self.classes();
        let scale = self.time / (1.0 + self.strength());
        let noise = 0.5 * scale * self.minority() * (squares - k);
        let signal = scale * self.strength();
        let (linear, square) = if gap.is_minority() { (x_minority, x_minority * x_minority) } else { (sum / k, squares / k) };
        1.0 - linear - 0.5 * signal * (1.0 - square) + noise
    }

    /// x_m, Σ x_c and Σ x_c² from x by prior.
    fn moments(&self, x: impl Fn(f64) -> f64) -> (f64, f64, f64) {
        let (mut sum, mut squares) = (0.0, 0.0);
        for level in &self.levels {
            let value = x(level.prior);
            sum += level.count * value;
            squares += level.count * value * value;
        }
        (x(self.minority()), sum, squares)
    }

    /// x_c = μ p_c φ(s_xx,c t), s_xx,c t = u μ (p_m + S p_c)/(1 + S).
    fn gradient(&self) -> (f64, f64, f64) {
        let (s, mu) = (self.strength(), self.mean_norm);
        let scale = self.time * mu / (1.0 + s);
        self.moments(|p| mu * p * phi(scale * (self.minority() + s * p)))
    }

    /// x_c = p_c ζ φ(ζ (1 + SNR p_c))/J(ζ) with ζ = σ² τ and J(ζ) = ∫₀^ζ √(Σ p_c² e^{−2 v (1 + SNR p_c)}) dv = u p_m/(1 + S).
    fn normalized(&self) -> (f64, f64, f64) {
        let speed = |v: f64| {
            let squared: f64 = self
                .levels
                .iter()
                .map(|level| level.count * (level.prior * (-v * (1.0 + self.snr * level.prior)).exp()).powi(2))
                .sum();
            squared.sqrt()
        };
        let wanted = self.time * self.minority() / (1.0 + self.strength());
        let mut zeta = wanted / speed(0.0);
        // J is concave and starts at 0: Newton's method from the left rises to the root.
        for _ in 0..NEWTON_ROUNDS {
            let next = zeta - (RULE.integrate(0.0, zeta, speed) - wanted) / speed(zeta);
            let done = (next - zeta).abs() <= 2.0 * f64::EPSILON * zeta;
            zeta = next;
            if done {
                break;
            }
        }
        self.moments(|p| p * zeta * phi(zeta * (1.0 + self.snr * p)) / wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratios::TheoremSet;

    #[test]
    fn ratios_are_those_of_the_whole_set() {
        for (k, mean_norm, snr) in [(3, 1.0, 1e-6), (3, 1.0, 4.0), (7, 2.0, 1e4), (40, 13.0, 30.0)] {
            let minority = 1.0 / (5.0 * snr + 6.0 * f64::from(k));
            let dominant = 0.4;
            let rest = (1.0 - minority - dominant) / f64::from(k - 2);
            let level = |count: i32, prior| Level { count: f64::from(count), prior };
            let point =
                |time| Point { mean_norm, snr, levels: vec![level(1, minority), level(1, dominant), level(k - 2, rest)], time };
            let mut priors = vec![minority, dominant];
            priors.extend((0..k - 2).map(|_| rest));
            let set = TheoremSet { mean_norm, variance: mean_norm * mean_norm / snr, priors };
            assert!(set.satisfies_conditions());
            for u in [0.3, 1.0] {
                let ratios = set.gradient_flow(u * set.horizon());
                assert!((ratios.minority - point(u).ratio(Gap::GfMinority)).abs() < 1e-13);
                assert!((ratios.balanced - point(u).ratio(Gap::GfBalanced)).abs() < 1e-13);
            }
            // The walk over the whole set ends at t*, where both ratios are smallest here.
            let smallest = set.smallest_normalized_flow();
            assert!((smallest.minority_at - 1.0).abs() < 1e-15 && (smallest.balanced_at - 1.0).abs() < 1e-15);
            assert!((smallest.ratios.minority - point(1.0).ratio(Gap::NgfMinority)).abs() < 1e-12);
            assert!((smallest.ratios.balanced - point(1.0).ratio(Gap::NgfBalanced)).abs() < 1e-12);
        }
    }
}
