use crate::error::{Error, Result};
use crate::mixture::Mixture;
use crate::part::{Part, part};
use crate::quadrature::GaussLegendre;

/// Coefficients (a, b, c) of Keller Jordan's quintic q(x) = a x + b x³ + c x⁵, as in Muon.
pub(crate) const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
const MOST_STEPS: usize = 30;
/// Halvings that take any bracket in \[0, 1\] to neighbouring doubles.
const HALVINGS: usize = 1100;

/// The response φ = q ∘ ⋯ ∘ q of `steps` Newton–Schulz steps with Muon's quintic q(x) = 3.4445 x − 4.7750 x³ + 2.0315 x⁵.
///
/// The iteration X ← a X + (b A + c A²) X, A = X Xᵀ, from X = G/‖G‖_F keeps the singular vectors of G and maps each singular value
/// x = σ/‖G‖_F, which is in \[0, 1\], to φ(x); the exact polar factor would map it to 1. Jordan's further factor
/// max(1, rows/cols)^{1/2} rescales the step size of a whole matrix and is no part of φ. Theory of this project; the derivation is
/// [`crate::derivations::newton_schulz`].
///
/// ```
/// use isorate_theory::NewtonSchulz;
///
/// let five = NewtonSchulz::new(5)?;
/// let (low, high) = five.image(0.01, 1.0)?;
/// assert!((low - 0.6818).abs() < 1e-4 && (high - 1.1344).abs() < 1e-4);
/// assert!(five.response(0.001) < 0.5);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewtonSchulz {
    steps: usize,
}

impl NewtonSchulz {
    /// A response of 1 to 30 steps; Muon takes 5.
    pub fn new(steps: usize) -> Result<Self> {
        if !(1..=MOST_STEPS).contains(&steps) {
            return Err(Error::setting(
                "newton_schulz_steps",
                steps,
                format!("must be from 1 to {MOST_STEPS}"),
                "Muon takes 5; the exact polar factor is the rule muon",
            ));
        }
        Ok(Self { steps })
    }

    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// φ(x).
    pub fn response(&self, x: f64) -> f64 {
        (0..self.steps).fold(x, |x, _| quintic(x))
    }

    /// φ'(0) = 3.4445^steps: how much a very small singular value is amplified.
    pub fn slope(&self) -> f64 {
        part(Part::NewtonSchulzSlope, (0..self.steps).fold(1.0, |slope, _| slope * QUINTIC[0]))
    }

    /// The image φ(\[low, high\]), exact up to rounding: q maps an interval onto the interval between the least and the greatest of its
    /// values at the ends and at the critical points within, and an image of an image is one of φ.
    ///
    /// Fails unless 0 ≤ low ≤ high ≤ 1.
    pub fn image(&self, low: f64, high: f64) -> Result<(f64, f64)> {
        if !(0.0 <= low && low <= high && high <= 1.0) {
            return Err(Error::setting(
                "singular_values",
                [low, high],
                "an interval of singular values divided by the Frobenius norm lies in [0, 1], its lower end first",
                "such as 0.01 and 1",
            ));
        }
        let critical = critical_points();
        Ok((0..self.steps).fold((low, high), |(low, high), _| {
            let ends = [quintic(low), quintic(high)];
            let inner = critical.iter().filter(|x| low < **x && **x < high).map(|x| quintic(*x));
            ends.into_iter().chain(inner).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), y| (a.min(y), b.max(y)))
        }))
    }

    /// The smallest x with φ(x) = `rate`; `None` if φ does not reach it before its first maximum, q(x₁) ≈ 1.2024.
    ///
    /// φ increases from 0 up to the x at which steps − 1 of the steps have come to q's first critical point x₁, so that the answer
    /// is `rate` pulled back step by step through the increasing branch of q on \[0, x₁\].
    pub fn smallest_reaching(&self, rate: f64) -> Option<f64> {
        let first = critical_points()[0];
        if !(0.0..=quintic(first)).contains(&rate) {
            return None;
        }
        Some((0..self.steps).fold(rate, |rate, _| {
            let (mut low, mut high) = (0.0, first);
            for _ in 0..HALVINGS {
                let middle = 0.5 * (low + high);
                if middle <= low || middle >= high {
                    break;
                }
                if quintic(middle) < rate { low = middle } else { high = middle }
            }
            high
        }))
    }

    /// The time in which a rare component learns `fraction` of its limit, divided by the time that `SpecGD` takes for it:
    ///
    /// D(x, f) = (1/(f x)) ∫_{x(1−f)}^{x} dy/φ(y),
    ///
    /// x being its share r_m/‖r‖ at the start and ‖r‖ constant meanwhile, as it is to the order p_m/p_M. For κ x ≪ 1, κ = φ'(0), it is
    /// −ln(1 − f)/(f κ x). Fails unless 0 < x ≤ 1 and 0 < f < 1: the last part takes for ever, as φ(0) = 0.
    pub fn delay(&self, x: f64, fraction: f64) -> Result<f64> {
        const PANELS: usize = 64;
        if !(x > 0.0 && x <= 1.0) {
            return Err(Error::setting(
                "singular_value",
                x,
                "a share of the Frobenius norm is above 0 and at most 1",
                "p_m/‖p‖₂ at the start",
            ));
        }
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(Error::setting("fraction", fraction, "must be above 0 and below 1", "such as 0.5"));
        }
        // In ln y the integrand y/φ(y) is smooth down to 0, where it is 1/κ.
        let start = (x * (1.0 - fraction)).ln();
        let width = -(-fraction).ln_1p() / PANELS as f64;
        let rule = GaussLegendre::new(16);
        let integral: f64 = (0..PANELS)
            .map(|panel| rule.integrate(start + panel as f64 * width, width, |s| s.exp() / self.response(s.exp())))
            .sum();
        Ok(part(Part::NewtonSchulzDelay, integral / (fraction * x)))
    }

    /// lim (L_m^GF − L_m)/(μ t) for t → 0: φ(p_m/‖p‖₂) − μ p_m, where `SpecGD` has 1 − μ p_m. As φ(x) ≤ κ x it goes to 0 with p_m, so
    /// that no constant of Theorem 1 holds for every p_m under its conditions.
    pub fn early_gap(&self, mixture: &Mixture) -> f64 {
        let norm = mixture.priors().iter().map(|p| p * p).sum::<f64>().sqrt();
        let minority = mixture.priors()[mixture.minority()];
        part(Part::NewtonSchulzGap, self.response(minority / norm))
            - part(Part::NewtonSchulzGapOfGd, mixture.mean_norm() * minority)
    }

    /// The factor by which the residual of a saturated component changes a step while ‖r‖ is much larger:
    /// 1 − η s_xx κ/‖r‖. It dies out while that is above −1, that is for η < 2 ‖r‖/(κ s_xx), the dead zone of the iteration; beyond it the
    /// component alternates (see [`Self::hover`]).
    pub fn damping(&self, eta: f64, s_xx: f64, norm: f64) -> f64 {
        1.0 - part(Part::NewtonSchulzDamping, eta * s_xx * self.slope() / norm)
    }

    /// The share x = |r_c|/‖r‖ at which a saturated component alternates between r and −r: the smallest solution of
    /// φ(x)/x = 2 ‖r‖/(η s_xx). `None` where the component comes to rest instead, or where the solution lies beyond φ's first maximum: the
    /// alternation is then unstable and |r_c| moves irregularly below 1.2024 η s_xx.
    pub fn hover(&self, eta: f64, s_xx: f64, norm: f64) -> Option<f64> {
        let wanted = part(Part::NewtonSchulzHover, 2.0 * norm / (eta * s_xx));
        let peak = self.smallest_reaching(quintic(critical_points()[0]))?;
        // φ(x)/x falls from κ to φ(peak)/peak.
        if wanted >= self.slope() || wanted < self.response(peak) / peak {
            return None;
        }
        let (mut low, mut high) = (0.0, peak);
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.response(middle) > wanted * middle { low = middle } else { high = middle }
        }
        Some(high)
    }
}

/// q(x) = a x + b x³ + c x⁵.
fn quintic(x: f64) -> f64 {
    let [a, b, c] = QUINTIC;
    let square = x * x;
    part(Part::NewtonSchulzLinear, a * x)
        + part(Part::NewtonSchulzCubic, b * x * square)
        + part(Part::NewtonSchulzQuintic, c * x * square * square)
}

/// The positive zeros of q'(x) = a + 3 b x² + 5 c x⁴, ascending: a maximum and a minimum of q.
fn critical_points() -> [f64; 2] {
    let [a, b, c] = QUINTIC;
    let root = (9.0 * b * b - 20.0 * a * c).sqrt();
    [-1.0, 1.0].map(|sign| part(Part::NewtonSchulzCritical, (-3.0 * b + sign * root) / (10.0 * c)).max(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> NewtonSchulz {
        NewtonSchulz::new(5).expect("valid")
    }

    #[test]
    fn the_numbers_of_the_derivation() {
        let [first, second] = critical_points();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-4, "{a} against {b}");
        close(first, 0.5545);
        close(second, 1.0501);
        close(quintic(first), 1.2024);
        close(quintic(second), 0.6818);
        close(quintic(quintic(second)), 1.1344);
        assert!((five().slope() - 484.88).abs() < 0.01, "{}", five().slope());
        // The attracting interval maps onto itself.
        let (low, high) = five().image(0.0052, 1.0).expect("an interval");
        assert_eq!((low, high), (quintic(second), quintic(quintic(second))));
    }

    #[test]
    fn the_smallest_share_of_a_rate() {
        for steps in 1..=10 {
            let response = NewtonSchulz::new(steps).expect("valid");
            for rate in [0.0, 0.1, 0.5, 1.0, 1.2] {
                let x = response.smallest_reaching(rate).expect("below the first maximum");
                assert!((response.response(x) - rate).abs() < 1e-12, "{steps} steps, rate {rate}");
            }
            assert_eq!(response.smallest_reaching(1.21), None);
            assert_eq!(response.smallest_reaching(f64::NAN), None);
        }
    }

    #[test]
    fn delays() {
        // In the linear range −ln(1 − f)/(f κ x); nearly 1 where φ is.
        let x = 1e-6;
        let expected = -(0.5_f64).ln() / (0.5 * five().slope() * x);
        assert!((five().delay(x, 0.5).expect("valid") / expected - 1.0).abs() < 1e-5);
        let common = five().delay(0.5, 0.5).expect("valid");
        assert!((0.8..1.5).contains(&common), "{common}");
    }

    #[test]
    fn bad_input_is_an_error() {
        let text = |error: Error| error.to_string();
        for error in [
            text(NewtonSchulz::new(0).expect_err("no step")),
            text(NewtonSchulz::new(31).expect_err("too many")),
            text(five().image(0.5, 0.1).expect_err("not an interval")),
            text(five().image(0.1, f64::NAN).expect_err("not a number")),
            text(five().image(-0.1, 1.5).expect_err("outside")),
            text(five().delay(0.0, 0.5).expect_err("no share")),
            text(five().delay(0.1, 1.0).expect_err("for ever")),
            text(five().delay(f64::NAN, 0.5).expect_err("not a number")),
        ] {
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
