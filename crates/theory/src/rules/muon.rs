//! Muon with the exact polar factor: spectral descent along a momentum average.

use faer::Mat;

use super::specgd;
use crate::components::Components;
use crate::error::{Error, Result};
use crate::network::Network;

/// `SpecGD`'s flow at β = 0. For β > 0 the iterate follows `SpecGD` exactly until the first component saturates, because every
/// mode of the momentum is positive until then, and overshoots afterwards, by what [`crate::muon_overshoot`] says; the path after that has no
/// closed form.
pub(crate) fn closed_form(beta: f64, c: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
    if beta > 0.0 {
        return Err(Error::NoClosedForm {
            rule: "muon",
            reason: "momentum equals specgd only until the first component saturates, then it overshoots",
        });
    }
    Ok(specgd::closed_form(c, network, times))
}

/// M ← β M + (1 − β) g.
pub(crate) fn average(beta: f64, gradient: &[f64], momentum: &mut [f64]) {
    for (m, g) in momentum.iter_mut().zip(gradient) {
        *m = beta * *m + (1.0 - beta) * g;
    }
}

/// M ← β M + (1 − β) ∇.
pub(crate) fn average_matrix(beta: f64, gradient: &Mat<f64>, momentum: &mut Mat<f64>) {
    for (column, source) in momentum.col_iter_mut().zip(gradient.col_iter()) {
        for (m, &g) in column.iter_mut().zip(source.iter()) {
            *m = beta * *m + (1.0 - beta) * g;
        }
    }
}
