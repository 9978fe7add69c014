//! Gradient descent with three and more layers: the time as an elementary function of the layers' value, and its inverse.

use std::f64::consts::TAU;

use crate::part::{Part, part};

/// Above this share of its limit a layer's value is known by its distance to the limit, below it by itself.
const NEAR: f64 = 0.7;

/// One component of the gradient flow with L ≥ 3 layers from w₀: ẇ = w^{L−1} (s_yx − s_xx w^L), a = w^L, whose limit is w* = (a*)^{1/L}.
///
/// Since 1/(w^{L−1}(s_yx − s_xx w^L)) = 1/(s_yx w^{L−1}) + (s_xx/s_yx) w/(s_yx − s_xx w^L), the flow reaches w at the time
///
/// t(w) = (w₀^{2−L} − w^{2−L})/((L − 2) s_yx) + w*²/(s_yx a*) · \[F_L(w/w*) − F_L(w₀/w*)\], F_L(u) = ∫₀^u y/(1 − y^L) dy,
///
/// and F_L is elementary (partial fractions over the L-th roots of unity; derivation in [`crate::derivations::depth`]).
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeepComponent {
    yx: f64,
    depth: i32,
    start: f64,
    /// w*.
    limit: f64,
    /// w*²/(s_yx a*).
    scale: f64,
    /// F_L(w₀/w*).
    offset: f64,
}

/// A layer's value: `gap` = 1 − w/w* is exact where it is small, `share` = w/w* where that is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Value {
    share: f64,
    gap: f64,
}

impl Value {
    fn of_share(share: f64) -> Self {
        Self { share, gap: 1.0 - share }
    }

    fn of_gap(gap: f64) -> Self {
        Self { share: 1.0 - gap, gap }
    }
}

impl DeepComponent {
    pub(crate) fn new(yx: f64, xx: f64, depth: i32, start: f64) -> Self {
        let limit = (yx / xx).powf(1.0 / f64::from(depth));
        let offset = primitive(depth, Value::of_share(start / limit));
        Self { yx, depth, start, limit, scale: limit * limit * xx / (yx * yx), offset }
    }

    /// w*.
    pub(crate) fn limit(&self) -> f64 {
        self.limit
    }

    /// w.
    pub(crate) fn layer(&self, value: Value) -> f64 {
        value.share * self.limit
    }

    /// w* − w.
    pub(crate) fn distance(&self, value: Value) -> f64 {
        value.gap * self.limit
    }

    /// s_yx − s_xx w^L = s_yx (1 − (w/w*)^L), without cancellation near the limit.
    pub(crate) fn residual(&self, value: Value) -> f64 {
        let depth = f64::from(self.depth);
        if value.share < NEAR {
            self.yx * (1.0 - value.share.powi(self.depth))
        } else {
            -self.yx * (depth * (-value.gap).ln_1p()).exp_m1()
        }
    }

    /// t(w) for w = `share` · w* between w₀ and w*.
    pub(crate) fn time_to(&self, share: f64) -> f64 {
        self.time(Value::of_share(share))
    }

    fn time(&self, value: Value) -> f64 {
        let order = 2 - self.depth;
        let waiting = (self.start.powi(order) - self.layer(value).powi(order)) / (f64::from(-order) * self.yx);
        part(Part::GdImplicitWaiting, waiting)
            + part(Part::GdImplicitTail, self.scale * (primitive(self.depth, value) - self.offset))
    }

    /// The value at time `t` ≥ 0, by a safeguarded Newton iteration in a variable in which t is nearly linear: w^{2−L} near the saddle, the
    /// logarithm of the distance near the limit.
    pub(crate) fn at(&self, t: f64) -> Value {
        let first = Value::of_share(self.start / self.limit);
        if t <= 0.0 || first.gap == 0.0 {
            return first;
        }
        // What t(w) is a difference of: its own rounding error.
        let noise =
            4.0 * f64::EPSILON * (t + self.scale + self.start.powi(2 - self.depth) / (f64::from(self.depth - 2) * self.yx));
        // |gap| from `far`, at the start, to `near`, behind the wanted time.
        let (mut far, mut near) = (first.gap, 0.0);
        let mut value = first;
        for _ in 0..200 {
            let error = self.time(value) - t;
            if error.abs() <= noise {
                break;
            }
            if error < 0.0 {
                far = value.gap;
            } else {
                near = value.gap;
            }
            let next = self.newton(value, error);
            if next.gap == 0.0 && error < 0.0 {
                return next;
            }
            let inside = next.gap.is_finite() && (next.gap - near) * (next.gap - far) <= 0.0;
            let next = if inside {
                next
            } else if near == 0.0 {
                Value::of_gap(0.1 * far)
            } else {
                Value::of_gap(near.signum() * (near.abs() * far.abs()).sqrt())
            };
            let same = |a: f64, b: f64| (a - b).abs() <= f64::EPSILON * b.abs();
            let settled = same(value.share, next.share) && same(value.gap, next.gap);
            value = next;
            // Behind this distance the flow has arrived to the last digit of α.
            if settled || value.gap.abs() < f64::MIN_POSITIVE {
                break;
            }
        }
        value
    }

    fn newton(&self, value: Value, error: f64) -> Value {
        let w = self.layer(value);
        if value.share < NEAR {
            let order = 2 - self.depth;
            let moved = w.powi(order) + error * f64::from(-order) * self.residual(value);
            Value::of_share(moved.powf(1.0 / f64::from(order)) / self.limit)
        } else {
            let speed = w.powi(self.depth - 1) * self.residual(value);
            Value::of_gap(value.gap * (error * speed / self.distance(value)).exp())
        }
    }
}

/// F_L(u) = ∫₀^u y/(1 − y^L) dy = −(1/L) Σ_j Re\[ω^{−2j} ln(1 − ω^j u)\] with ω = e^{2πi/L}, for L ≥ 3. For u > 1 it is the branch on the other
/// side of the pole, of which only differences mean something.
fn primitive(depth: i32, value: Value) -> f64 {
    let u = value.share;
    let count = f64::from(depth);
    // Σ_m u^{mL+2}/(mL+2): where its first terms are enough, the sum of logarithms would lose digits.
    if u.abs() < 0.05 {
        return (0..8).map(|m| u.powi(m * depth + 2) / f64::from(m * depth + 2)).sum();
    }
    let mut sum = value.gap.abs().ln();
    for j in 1..depth {
        let angle = TAU * f64::from(j) / count;
        let (sin, cos) = angle.sin_cos();
        let log = 0.5 * (1.0 - 2.0 * u * cos + u * u).ln();
        let argument = (-u * sin).atan2(1.0 - u * cos);
        sum += (2.0 * angle).cos() * log + (2.0 * angle).sin() * argument;
    }
    -sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primitive_is_the_integral() {
        let rule = crate::quadrature::GaussLegendre::new(16);
        for depth in 3..=9 {
            for u in [0.01, 0.049, 0.051, 0.3, 0.69, 0.9, 0.99] {
                let panels = 200;
                let exact: f64 = (0..panels)
                    .map(|i| rule.integrate(u * f64::from(i) / 200.0, u / 200.0, |y: f64| y / (1.0 - y.powi(depth))))
                    .sum();
                let value = primitive(depth, Value::of_share(u));
                assert!((value - exact).abs() < 1e-14, "L = {depth}, u = {u}: {value} against {exact}");
            }
        }
    }

    #[test]
    fn three_and_four_layers_have_the_textbook_forms() {
        for u in [0.2_f64, 0.6, 0.95] {
            let root = 3.0_f64.sqrt();
            let three = -(1.0 - u).ln() / 3.0 + (1.0 + u + u * u).ln() / 6.0
                - (((2.0 * u + 1.0) / root).atan() - std::f64::consts::FRAC_PI_6) / root;
            assert!((primitive(3, Value::of_share(u)) - three).abs() < 1e-15);
            assert!((primitive(4, Value::of_share(u)) - 0.5 * (u * u).atanh()).abs() < 1e-15);
        }
    }

    #[test]
    fn the_inverse_is_an_inverse_from_both_sides() {
        for depth in [3, 4, 7, 32] {
            for start in [1e-3, 0.05, 0.5, 1.3, 2.0] {
                let component = DeepComponent::new(0.3, 1.3, depth, start);
                for fraction in [1e-6, 0.1, 0.5, 0.9, 0.999, 1.0, 1.001, 1.1, 3.0] {
                    let wait = component.time_to(1.0 - 1e-3 * (1.0 - start / component.limit()).signum());
                    let t = fraction * wait;
                    let value = component.at(t);
                    assert!(component.layer(value).is_finite() && component.residual(value).is_finite());
                    if value.gap.abs() < f64::MIN_POSITIVE {
                        // Arrived.
                        continue;
                    }
                    let again = component.time(value);
                    let size = t + component.scale + start.powi(2 - depth);
                    assert!((again - t).abs() <= 1e-13 * size, "L = {depth}, w₀ = {start}, t = {t}: {again}");
                }
            }
        }
    }
}
