//! The integral of x^{a−1} (1 − x)^{b−1} and its inverse, from either end of \[0, 1\].

/// Terms of the series: the last is below 2^{-90} of the first.
const TERMS: u32 = 90;
const ROUNDS: usize = 100;

/// x^{a−1} (1 − x)^{b−1} over 0 ≤ x < 1 with b > 0. The exponent a may be zero or negative, when the integral does not start at 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BetaIntegral {
    /// a.
    pub(crate) a: f64,
    /// b > 0.
    pub(crate) b: f64,
}

/// A point x of \[0, 1\], given by ln x and by 1 − x, each without cancellation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// ln x; −∞ at 0.
    pub(crate) ln: f64,
    /// 1 − x.
    pub(crate) gap: f64,
}

impl Place {
    const HALF: f64 = 0.5;

    fn from_ln(ln: f64) -> Self {
        Self { ln, gap: -ln.exp_m1() }
    }

    fn from_gap(gap: f64) -> Self {
        Self { ln: (-gap).ln_1p(), gap }
    }
}

impl BetaIntegral {
    /// The integral from `from` to 1; infinite from 0 if a ≤ 0.
    pub(crate) fn to_one(self, from: Place) -> f64 {
        if from.gap <= Place::HALF {
            return self.upper(from.gap);
        }
        self.lower(from.ln, -std::f64::consts::LN_2) + self.upper(Place::HALF)
    }

    /// The x up to which the integral from `from` is `amount`, which must not be negative; 1 if it is more than the whole.
    pub(crate) fn invert(self, from: Place, amount: f64) -> Place {
        let one = Place { ln: 0.0, gap: 0.0 };
        if amount == 0.0 {
            return from;
        }
        let upper = self.upper(Place::HALF);
        let whole = self.to_one(from);
        if amount >= whole {
            return one;
        }
        if whole.is_infinite() {
            // The power of a tiny start overflows for a < 0: no amount that a double can hold leads away from it.
            return from;
        }
        let left = whole - amount;
        if left <= upper {
            // Over ln(1 − x), between x^{a−1} = 1 and its value at 1/2.
            let power = Place::HALF.powf(self.a - 1.0);
            let bound = |factor: f64| ((self.b * left / factor).ln() / self.b).min(-std::f64::consts::LN_2);
            let (low, high) = (bound(power.max(1.0)), bound(power.min(1.0)));
            let slope = |ln_gap: f64| (self.b * ln_gap).exp() * (1.0 - ln_gap.exp()).powf(self.a - 1.0);
            let ln_gap = solve(low, high, |ln_gap| self.upper(ln_gap.exp()) - left, slope);
            return Place::from_gap(ln_gap.exp());
        }
        let top = -std::f64::consts::LN_2;
        let factor = Place::HALF.powf(self.b - 1.0);
        // (1 − x)^{b−1} is between 1 and `factor`: the integral of x^{a−1} alone bounds the place.
        let bound = |factor: f64| leading(self.a, from.ln, amount / factor).clamp(from.ln, top);
        let (low, high) = (bound(factor.max(1.0)), bound(factor.min(1.0)));
        let slope = |ln: f64| (self.a * ln).exp() * (1.0 - ln.exp()).powf(self.b - 1.0);
        Place::from_ln(solve(low, high, |ln| self.lower(from.ln, ln) - amount, slope))
    }

    /// ∫ from e^`from` to e^`to` ≤ 1/2, term by term: Σ_n (1−b)_n/n! (z^{a+n} − z₀^{a+n})/(a+n).
    fn lower(self, from: f64, to: f64) -> f64 {
        let (mut sum, mut coefficient) = (0.0, 1.0);
        for n in 0..TERMS {
            let n = f64::from(n);
            sum += coefficient * power_integral(self.a + n, from, to);
            coefficient *= (n + 1.0 - self.b) / (n + 1.0);
        }
        sum
    }

    /// ∫ from 1 − `gap` ≥ 1/2 to 1: Σ_n (1−a)_n/n! gap^{b+n}/(b+n).
    fn upper(self, gap: f64) -> f64 {
        let (mut sum, mut coefficient) = (0.0, gap.powf(self.b));
        for n in 0..TERMS {
            let n = f64::from(n);
            sum += coefficient / (self.b + n);
            coefficient *= gap * (n + 1.0 - self.a) / (n + 1.0);
        }
        sum
    }
}

/// ∫ x^{power−1} dx from e^`from` to e^`to`, without cancellation.
fn power_integral(power: f64, from: f64, to: f64) -> f64 {
    if power == 0.0 {
        return to - from;
    }
    let exponent = power * (to - from);
    if exponent.abs() < 1.0 {
        (power * from).exp() * exponent.exp_m1() / power
    } else {
        ((power * to).exp() - (power * from).exp()) / power
    }
}

/// The logarithm of the z with ∫ x^{a−1} dx from e^`from` to z equal to `amount`; ∞ if there is none.
fn leading(a: f64, from: f64, amount: f64) -> f64 {
    if a == 0.0 {
        return from + amount;
    }
    if from == f64::NEG_INFINITY {
        return (a * amount).ln() / a;
    }
    let grown = a * amount / (a * from).exp();
    if grown <= -1.0 { f64::INFINITY } else { from + grown.ln_1p() / a }
}

/// The zero of an increasing function between `low` and `high`: Newton's method, with a bisection wherever it leaves the bracket.
fn solve(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> f64 {
    let mut x = high;
    for _ in 0..ROUNDS {
        let value = f(x);
        if value > 0.0 {
            high = high.min(x);
        } else {
            low = low.max(x);
        }
        let newton = x - value / slope(x);
        let next = if newton >= low && newton <= high { newton } else { 0.5 * (low + high) };
        if (next - x).abs() <= 1e-16 * x.abs() || !next.is_finite() {
            break;
        }
        x = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Place = Place { ln: f64::NEG_INFINITY, gap: 1.0 };

    #[test]
    fn known_integrals() {
        // B(a, b) = Γ(a) Γ(b)/Γ(a + b): B(1/2, 1/2) = π, B(1, b) = 1/b, B(2, 3) = 1/12.
        for (a, b, exact) in [(0.5, 0.5, std::f64::consts::PI), (1.0, 0.3, 1.0 / 0.3), (2.0, 3.0, 1.0 / 12.0)] {
            let value = BetaIntegral { a, b }.to_one(START);
            assert!((value / exact - 1.0).abs() < 1e-14, "B({a}, {b}) = {value} against {exact}");
        }
        // ∫ (1 − x)^{b−1}/x² dx for b = 2 is [−1/x − ln x].
        let from = Place::from_ln(0.01_f64.ln());
        let value = BetaIntegral { a: -1.0, b: 2.0 }.to_one(from);
        assert!((value / (99.0 + 0.01_f64.ln()) - 1.0).abs() < 1e-13, "{value}");
    }

    #[test]
    fn inverts_itself() {
        for (a, b) in [(0.5, 0.5), (0.01, 0.6), (-0.4, 0.2), (0.0, 0.5), (1.0, 0.9), (-0.9, 0.01), (1.6, 0.1)] {
            let beta = BetaIntegral { a, b };
            for from in [START, Place::from_ln(-8.0), Place::from_ln(-0.9), Place::from_gap(0.3), Place::from_gap(1e-9)] {
                let whole = beta.to_one(from);
                if whole.is_infinite() || (a <= 0.0 && from.ln == f64::NEG_INFINITY) {
                    continue;
                }
                for share in [0.0, 1e-9, 0.01, 0.3, 0.5, 0.9, 1.0 - 1e-9] {
                    let place = beta.invert(from, share * whole);
                    if place.gap == 0.0 {
                        // For a small b the last part of the integral is nearer to 1 than the smallest double to 0.
                        assert!((1.0 - share) * whole * b < 1e-300_f64.powf(b));
                        continue;
                    }
                    let again = whole - beta.to_one(place);
                    let error = (again / whole - share).abs();
                    assert!(error < 2e-14, "a = {a}, b = {b}, from {from:?}, share {share}: {error:e}");
                }
                let end = beta.invert(from, 1.1 * whole);
                assert!(end.gap == 0.0 && end.ln == 0.0);
            }
        }
    }
}
