//! Shampoo: preconditioners accumulated from the gradients.

use faer::{Accum, Mat, MatMut, MatRef};

use crate::error::{Error, Result};
use crate::linalg::{SpectralMap, multiply};
use crate::shampoo::{Accumulation, Shampoo, Sides};

pub(crate) fn closed_form() -> Result<Vec<Vec<f64>>> {
    Err(Error::NoClosedForm {
        rule: "shampoo",
        reason: "its flow depends on the step size: a sum of n steps has the time eta² n, an average needs (1 − decay)/eta",
    })
}

/// g_c/√(v_c + ε), v_c being the sum or the average of the g_c² so far; 0 for a component without any gradient.
pub(crate) fn scalar_direction(rule: Shampoo, gradient: &[f64], step: usize, squares: &mut [f64], out: &mut [f64]) {
    let (keep, add) = rule.weights();
    let scale = rule.scale(step + 1);
    for ((value, square), g) in out.iter_mut().zip(squares).zip(gradient) {
        *square = keep * *square + add * g * g;
        let root = (scale * *square + rule.epsilon).sqrt();
        *value = if root > 0.0 { g / root } else { 0.0 };
    }
}

/// L and R of one layer, and how many gradients are in them.
#[derive(Default)]
pub(crate) struct Preconditioner {
    steps: usize,
    left: Option<Side>,
    right: Option<Side>,
}

/// A statistic and its inverse root.
struct Side {
    statistic: Mat<f64>,
    root: Mat<f64>,
    map: SpectralMap,
}

impl Side {
    fn new(size: usize) -> Self {
        Self { statistic: Mat::zeros(size, size), root: Mat::zeros(size, size), map: SpectralMap::new(size, size) }
    }

    /// Adds A Aᵀ, and takes the root (scale · statistic + ε I)^`exponent`. The statistic is positive semidefinite, so that its singular
    /// value decomposition is its eigendecomposition; eigenvalues that are rounding noise count as zero and get no step.
    fn update(&mut self, a: MatRef<'_, f64>, rule: Shampoo, scale: f64, exponent: f64) -> Result<()> {
        let (keep, add) = rule.weights();
        for column in self.statistic.col_iter_mut() {
            for value in column.iter_mut() {
                *value *= keep;
            }
        }
        multiply(self.statistic.as_mut(), Accum::Add, a, a.transpose(), add);
        let size = self.statistic.nrows();
        let damped = Mat::from_fn(size, size, |i, j| scale * self.statistic[(i, j)] + if i == j { rule.epsilon } else { 0.0 });
        self.map.apply(damped.as_ref(), 0.0, |value| value.powf(exponent), self.root.as_mut())
    }
}

impl Preconditioner {
    /// L^{−1/4} G R^{−1/4}, or L^{−1/2} G on one side, after G is added to the statistics.
    pub(crate) fn direction(&mut self, rule: Shampoo, gradient: &Mat<f64>, mut out: MatMut<'_, f64>) -> Result<()> {
        self.steps += 1;
        let scale = rule.scale(self.steps);
        let (rows, cols) = gradient.shape();
        let left = self.left.get_or_insert_with(|| Side::new(rows));
        match rule.sides {
            Sides::Left => {
                left.update(gradient.as_ref(), rule, scale, -0.5)?;
                multiply(out, Accum::Replace, left.root.as_ref(), gradient.as_ref(), 1.0);
            }
            Sides::Both => {
                left.update(gradient.as_ref(), rule, scale, -0.25)?;
                let right = self.right.get_or_insert_with(|| Side::new(cols));
                right.update(gradient.transpose(), rule, scale, -0.25)?;
                let mut half = Mat::zeros(rows, cols);
                multiply(half.as_mut(), Accum::Replace, left.root.as_ref(), gradient.as_ref(), 1.0);
                multiply(out.as_mut(), Accum::Replace, half.as_ref(), right.root.as_ref(), 1.0);
            }
        }
        Ok(())
    }
}

impl Shampoo {
    /// What remains of the statistics, and what a new square counts.
    fn weights(self) -> (f64, f64) {
        match self.accumulation {
            Accumulation::Sum => (1.0, 1.0),
            Accumulation::Average { decay, .. } => (decay, 1.0 - decay),
        }
    }

    /// What the statistics of `steps` gradients are multiplied with: 1/(1 − β₂^steps) with bias correction.
    fn scale(self, steps: usize) -> f64 {
        match self.accumulation {
            // 1 − e^{n ln β₂}, without cancellation for β₂ near 1.
            Accumulation::Average { decay, bias_correction: true } if decay > 0.0 => -1.0 / (steps as f64 * decay.ln()).exp_m1(),
            _ => 1.0,
        }
    }
}
