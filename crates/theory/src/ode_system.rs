/// Advances u' = f(t, u) from `t` by `duration` with the adaptive Dormand–Prince 5(4) pair. `step` holds the step size between calls (positive).
/// `tolerance` bounds the largest local error over the unknowns, absolutely. Ends early when `settled(u)`; returns the time reached.
pub(crate) fn integrate_system(
    u: &mut [f64],
    (mut t, duration): (f64, f64),
    step: &mut f64,
    tolerance: f64,
    f: impl Fn(f64, &[f64], &mut [f64]),
    settled: impl Fn(&[f64]) -> bool,
) -> f64 {
    /// Nodes, and the rows of the tableau; the last row is the solution of order 5.
    const NODES: [f64; 7] = [0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0];
    const TABLEAU: [&[f64]; 7] = [
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ];
    /// The difference between the solutions of orders 5 and 4.
    const ERROR: [f64; 7] =
        [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339_200.0, 22.0 / 525.0, -1.0 / 40.0];
    let end = t + duration;
    let mut slopes = vec![vec![0.0; u.len()]; 7];
    let mut point = u.to_vec();
    while t < end && !settled(u) {
        let last = *step >= end - t;
        let h = step.min(end - t);
        for stage in 0..7 {
            for (i, value) in point.iter_mut().enumerate() {
                *value = u[i] + h * TABLEAU[stage].iter().zip(&slopes).map(|(weight, slope)| weight * slope[i]).sum::<f64>();
            }
            f(t + NODES[stage] * h, &point, &mut slopes[stage]);
        }
        let error = (0..u.len())
            .map(|i| (h * ERROR.iter().zip(&slopes).map(|(weight, slope)| weight * slope[i]).sum::<f64>()).abs())
            .fold(0.0, |largest: f64, error| if error.is_nan() || error > largest { error } else { largest });
        let ratio = error / tolerance;
        // 0.9 is the usual safety factor; growth and shrinkage are limited as usual.
        let factor = if ratio > 0.0 { (0.9 * ratio.powf(-0.2)).clamp(0.2, 5.0) } else { 5.0 };
        if ratio <= 1.0 {
            u.copy_from_slice(&point);
            t = if last { end } else { t + h };
            // A step cut short by the end of the interval says nothing about a larger one.
            if !last || factor < 1.0 {
                *step = h * factor;
            }
        } else {
            *step = h * if ratio.is_finite() { factor } else { 0.2 };
            if t + *step <= t {
                break;
            }
        }
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation() {
        let mut u = [1.0, 0.0];
        let mut step = 1e-3;
        let reached = integrate_system(
            &mut u,
            (0.0, 5.0),
            &mut step,
            1e-13,
            |_, u, out| {
                out[0] = -u[1];
                out[1] = u[0];
            },
            |_| false,
        );
        assert!((reached - 5.0).abs() < 1e-15);
        assert!((u[0] - 5.0_f64.cos()).abs() < 1e-10 && (u[1] - 5.0_f64.sin()).abs() < 1e-10, "{u:?}");
    }

    #[test]
    fn time_enters_and_a_singularity_ends_it() {
        let mut u = [0.0];
        let mut step = 1e-3;
        integrate_system(&mut u, (0.0, 2.0), &mut step, 1e-13, |t, _, out| out[0] = t * t, |_| false);
        assert!((u[0] - 8.0 / 3.0).abs() < 1e-12);
        let mut u = [1.0];
        let reached =
            integrate_system(&mut u, (0.0, 2.0), &mut step, 1e-12, |_, u, out| out[0] = -u[0].sqrt().recip(), |_| false);
        assert!(reached < 0.7, "u = (1 − 3t/2)^(2/3) ends at 2/3: {reached}");
    }
}
