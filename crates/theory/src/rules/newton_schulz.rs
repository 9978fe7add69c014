//! Muon with Newton–Schulz steps in place of the exact polar factor.

use faer::{Accum, Mat, MatMut};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::{frobenius, multiply};
use crate::network::Network;
use crate::newton_schulz::{NewtonSchulz, QUINTIC};
use crate::ode_system::integrate_system;

/// Of ‖r(0)‖: where the flow counts as arrived. It arrives in finite time, with ever faster changes of the shares r_c/‖r‖.
const ARRIVED: f64 = 1e-9;
const TOLERANCE: f64 = 1e-12;

/// The flow of the linear model at β = 0, α̇_c = φ(r_c/‖r‖₂) with r_c = s_yx,c − s_xx,c α_c, integrated to a local error of 1e-12 of the
/// largest limit. With momentum or several layers there is none here.
pub(crate) fn closed_form(
    response: NewtonSchulz,
    beta: f64,
    c: &Components,
    network: &Network,
    times: &[f64],
) -> Result<Vec<Vec<f64>>> {
    if beta > 0.0 || *network != Network::LINEAR {
        return Err(Error::NoClosedForm {
            rule: "newton-schulz",
            reason: "the flow α̇_c = φ(r_c/‖r‖) is that of the linear model without momentum",
        });
    }
    let largest = c.limits().into_iter().fold(0.0, f64::max);
    let residual_norm = |alpha: &[f64]| c.pairs().zip(alpha).map(|((yx, xx), a)| (yx - xx * a).powi(2)).sum::<f64>().sqrt();
    let mut alpha = vec![0.0; c.len()];
    let arrived = ARRIVED * residual_norm(&alpha);
    let (mut now, mut step) = (0.0, 1e-4 * c.limits().into_iter().fold(largest, f64::min));
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|&i, &j| times[i].total_cmp(&times[j]));
    let mut rows = vec![Vec::new(); times.len()];
    for index in order {
        integrate_system(
            &mut alpha,
            (now, times[index] - now),
            &mut step,
            TOLERANCE * largest,
            |_, alpha, out| {
                let norm = residual_norm(alpha);
                for ((rate, (yx, xx)), a) in out.iter_mut().zip(c.pairs()).zip(alpha) {
                    *rate = if norm > 0.0 { response.response((yx - xx * a) / norm) } else { 0.0 };
                }
            },
            |alpha| residual_norm(alpha) <= arrived,
        );
        now = times[index];
        rows[index].clone_from(&alpha);
    }
    Ok(rows)
}

/// φ(g_c/‖g‖₂) where ‖g‖₂ is more than rounding noise, else 0.
pub(crate) fn scalar_direction(response: NewtonSchulz, gradient: &[f64], floor: f64, out: &mut [f64]) {
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for (value, g) in out.iter_mut().zip(gradient) {
        *value = if norm > floor { response.response(g / norm) } else { 0.0 };
    }
}

/// X ← a X + (b A + c A²) X with A = X Xᵀ, `steps` times from X = G/‖G‖_F; for a tall G with A = Xᵀ X on the other side, which is
/// the same in exact arithmetic and smaller. Zero where ‖G‖_F is not more than rounding noise.
pub(crate) fn matrix_direction(steps: usize, gradient: &Mat<f64>, floor: f64, mut out: MatMut<'_, f64>) {
    let [a, b, c] = QUINTIC;
    let (rows, cols) = gradient.shape();
    let norm = frobenius(gradient.as_ref());
    if norm <= floor || norm == 0.0 {
        out.fill(0.0);
        return;
    }
    let size = rows.min(cols);
    let (mut x, mut next) = (Mat::from_fn(rows, cols, |i, j| gradient[(i, j)] / norm), Mat::zeros(rows, cols));
    let (mut gram, mut polynomial) = (Mat::zeros(size, size), Mat::zeros(size, size));
    for _ in 0..steps {
        if rows <= cols {
            multiply(gram.as_mut(), Accum::Replace, x.as_ref(), x.transpose(), 1.0);
        } else {
            multiply(gram.as_mut(), Accum::Replace, x.transpose(), x.as_ref(), 1.0);
        }
        for j in 0..size {
            for i in 0..size {
                polynomial[(i, j)] = b * gram[(i, j)] + if i == j { a } else { 0.0 };
            }
        }
        multiply(polynomial.as_mut(), Accum::Add, gram.as_ref(), gram.as_ref(), c);
        if rows <= cols {
            multiply(next.as_mut(), Accum::Replace, polynomial.as_ref(), x.as_ref(), 1.0);
        } else {
            multiply(next.as_mut(), Accum::Replace, x.as_ref(), polynomial.as_ref(), 1.0);
        }
        std::mem::swap(&mut x, &mut next);
    }
    out.copy_from(&x);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn five() -> NewtonSchulz {
        NewtonSchulz::new(5).expect("valid")
    }

    #[test]
    fn the_flow_ends_at_the_limits_and_has_no_momentum() {
        let c = Components::new(vec![0.5, 0.3, 0.002], vec![1.5, 1.3, 1.002], 3).expect("valid");
        let rows = closed_form(five(), 0.0, &c, &Network::LINEAR, &[9.0, 0.0, 1e-4]).expect("linear");
        assert_eq!(rows[1], [0.0; 3]);
        for (end, limit) in rows[0].iter().zip(c.limits()) {
            assert!((end - limit).abs() < 1e-8, "{end} against {limit}");
        }
        let response = five();
        let norm = (0.25_f64 + 0.09 + 4e-6).sqrt();
        for (a, yx) in rows[2].iter().zip(c.s_yx()) {
            assert!((a / 1e-4 / response.response(yx / norm) - 1.0).abs() < 0.05);
        }
        for (beta, depth) in [(0.9, 1), (0.0, 2)] {
            let network = Network::new(depth, Some(3.0)).expect("valid");
            let network = if depth == 1 { Network::LINEAR } else { network };
            assert!(closed_form(five(), beta, &c, &network, &[1.0]).is_err());
        }
    }

    #[test]
    fn noise_gets_no_step() {
        let mut out = Mat::from_fn(2, 3, |_, _| 1.0);
        matrix_direction(5, &Mat::zeros(2, 3), 0.0, out.as_mut());
        assert_eq!(out, Mat::<f64>::zeros(2, 3));
        matrix_direction(5, &Mat::from_fn(2, 3, |_, _| 1e-20), 1e-15, out.as_mut());
        assert_eq!(out, Mat::<f64>::zeros(2, 3));
    }
}
