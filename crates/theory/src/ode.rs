/// Local error of one step of [`integrate`], absolute (its unknowns are logarithms, so this is a relative error of the
/// quantity itself).
pub(crate) const LOCAL_TOLERANCE: f64 = 1e-13;

/// Advances the autonomous scalar equation u' = f(u) by `duration` with the adaptive Dormand–Prince 5(4) pair. `step` holds the
/// step size between calls (0 to let the first call choose it). Ends early, at the fixed point, when `settled(u)`.
pub(crate) fn integrate(mut u: f64, duration: f64, step: &mut f64, f: impl Fn(f64) -> f64, settled: impl Fn(f64) -> bool) -> f64 {
    let mut left = duration;
    if *step <= 0.0 {
        // A first step that changes u by about 1e-3; the error control corrects it.
        *step = 1e-3 / f(u).abs().max(f64::MIN_POSITIVE);
    }
    while left > 0.0 && !settled(u) {
        let h = step.min(left);
        let k1 = f(u);
        let k2 = f(u + h * (k1 / 5.0));
        let k3 = f(u + h * (3.0 / 40.0 * k1 + 9.0 / 40.0 * k2));
        let k4 = f(u + h * (44.0 / 45.0 * k1 - 56.0 / 15.0 * k2 + 32.0 / 9.0 * k3));
        let k5 = f(u + h * (19372.0 / 6561.0 * k1 - 25360.0 / 2187.0 * k2 + 64448.0 / 6561.0 * k3 - 212.0 / 729.0 * k4));
        let k6 = f(u + h
            * (9017.0 / 3168.0 * k1 - 355.0 / 33.0 * k2 + 46732.0 / 5247.0 * k3 + 49.0 / 176.0 * k4 - 5103.0 / 18656.0 * k5));
        let next =
            u + h * (35.0 / 384.0 * k1 + 500.0 / 1113.0 * k3 + 125.0 / 192.0 * k4 - 2187.0 / 6784.0 * k5 + 11.0 / 84.0 * k6);
        let k7 = f(next);
        let error = h
            * (71.0 / 57600.0 * k1 - 71.0 / 16695.0 * k3 + 71.0 / 1920.0 * k4 - 17253.0 / 339_200.0 * k5 + 22.0 / 525.0 * k6
                - k7 / 40.0);
        let ratio = error.abs() / LOCAL_TOLERANCE;
        let accepted = ratio <= 1.0;
        // 0.9 is the usual safety factor; growth and shrinkage are limited as usual.
        let factor = if ratio > 0.0 { (0.9 * ratio.powf(-0.2)).clamp(0.2, 5.0) } else { 5.0 };
        if accepted {
            u = next;
            left -= h;
            // A step cut short by the end of the interval says nothing about a larger one.
            if h >= *step || factor < 1.0 {
                *step = h * factor;
            }
        } else if ratio.is_finite() {
            *step = h * factor;
        } else {
            *step = h * 0.2;
        }
    }
    u
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logistic_growth() {
        // u' = 1 − e^u from u = ln 1e-3: e^u is the logistic curve.
        let start = 1e-3_f64;
        for t in [0.0, 1e-6, 1.0, 5.0, 20.0] {
            let mut step = 0.0;
            let u = integrate(start.ln(), t, &mut step, |u| 1.0 - u.exp(), |_| false);
            let exact = 1.0 / (1.0 + (1.0 / start - 1.0) * (-t).exp());
            assert!((u.exp() - exact).abs() < 1e-11, "t = {t}: {} against {exact}", u.exp());
        }
    }
}
