//! Sign descent: steepest descent under the max norm, which is not rotation invariant.

use faer::{Mat, MatMut};

use crate::error::{Error, Result};

/// There is none: entries of ∇ mix the components as soon as U or V is not a permutation. When both are permutations, as in
/// [`crate::MatrixMoments::canonical`], sign ∇ is the polar factor of ∇ and the path is that of `SpecGD`.
pub(crate) fn closed_form() -> Result<Vec<Vec<f64>>> {
    Err(Error::NoClosedForm {
        rule: "signgd",
        reason: "it depends on the directions of the class means (in a canonical basis it equals specgd)",
    })
}

/// sign of each entry; entries of the size of rounding noise get no update, so that exact zeros of the gradient stay zeros.
pub(crate) fn matrix_direction(gradient: &Mat<f64>, floor: f64, out: MatMut<'_, f64>) {
    for (column, source) in out.col_iter_mut().zip(gradient.col_iter()) {
        for (value, &g) in column.iter_mut().zip(source.iter()) {
            *value = if g.abs() > floor { g.signum() } else { 0.0 };
        }
    }
}
