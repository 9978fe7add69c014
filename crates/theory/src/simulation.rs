use faer::{Accum, Mat, MatRef};

use crate::discrete::check_eta;
use crate::error::{Error, Result};
use crate::initialization;
use crate::linalg::{SpectralMap, frobenius, multiply};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::rules::{Preconditioner, Rule};
use crate::summation::add_compensated;

/// A matrix-level simulation of a rule on the population square loss ½ E‖y − W x‖².
///
/// The iterate is a real matrix W ∈ R^{k×d} in the bases of the moments, its gradient W Σ_xx − Σ_yx, and the spectral rules
/// take a real singular value decomposition of it. With L layers W = W_L ⋯ W_1, W_1 ∈ R^{r×d}, W_L ∈ R^{k×r} and the others r×r for r components,
/// initialized balanced and aligned ([`Simulation::new`]: W_i = w₀ O_i O_{i−1}ᵀ with O_0 = V, O_L = U and random orthogonal matrices
/// between) or at random ([`Simulation::from_random`]); the gradient
/// of W_i is (W_L ⋯ W_{i+1})ᵀ (W Σ_xx − Σ_yx) (W_{i−1} ⋯ W_1)ᵀ, and the rule acts on each layer by itself.
///
/// Singular values that are only rounding noise get no step: those up to max(k, d) ε σ_max, and those up to the rounding
/// error of the gradient's own subtraction, 4 max(k, d) ε (‖Σ_yx‖₂ + ‖W‖_F ‖Σ_xx‖₂) times the norms of the other layers. The second
/// bound is the one that counts near the optimum, where the whole gradient is noise.
///
/// After saturation `SpecGD` may amplify rounding errors off the diagonal. While component c alternates around its limit with
/// residuals f η s_c and (1 − f) η s_c, an error towards a direction without gradient of its own (the complement of the means, with
/// s = σ², or a component at rest on its limit) is multiplied by 1 − ρ(1 − ρ)/(f(1 − f)) every two steps, ρ = s/s_c; that is more
/// than 1 in magnitude when ρ > 1 or 2 f(1 − f) < ρ(1 − ρ). The error ends at the order of η: every iterate is then within
/// that of its exact discrete form, and [`Simulation::off_diagonal`] shows it. Between two alternating components errors stay.
pub struct Simulation<'a> {
    moments: &'a MatrixMoments,
    rule: Rule,
    eta: f64,
    step: usize,
    layers: Vec<Layer>,
    /// W, the product of the layers.
    weights: Mat<f64>,
    /// ‖W‖_F.
    norm: f64,
    residual: Mat<f64>,
}

struct Layer {
    weights: Mat<f64>,
    carry: Mat<f64>,
    momentum: Mat<f64>,
    preconditioner: Preconditioner,
    gradient: Mat<f64>,
    direction: Mat<f64>,
    map: SpectralMap,
}

impl Layer {
    fn new(weights: Mat<f64>) -> Self {
        let (rows, cols) = weights.shape();
        let zeros = || Mat::zeros(rows, cols);
        Self {
            weights,
            carry: zeros(),
            momentum: zeros(),
            preconditioner: Preconditioner::default(),
            gradient: zeros(),
            direction: zeros(),
            map: SpectralMap::new(rows, cols),
        }
    }
}

impl std::fmt::Debug for Simulation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation")
            .field("rule", &self.rule)
            .field("eta", &self.eta)
            .field("step", &self.step)
            .field("depth", &self.layers.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Simulation<'a> {
    /// A simulation at step 0 from the balanced, aligned initialization; `seed` draws the bases between the layers (unused for L = 1).
    /// Fails for a bad step size, a bad parameter of the rule, or L ≥ 2 in the limit δ → ∞: the gradient at exactly zero is zero, so
    /// there is nothing to decompose.
    pub fn new(moments: &'a MatrixMoments, network: &Network, rule: Rule, eta: f64, seed: u64) -> Result<Self> {
        network.require_delta(rule.name(), "cannot be simulated with matrices from exactly zero")?;
        Self::from_layers(moments, initialization::aligned(moments, network, seed), rule, eta)
    }

    /// A simulation at step 0 from small random layers: independent entries N(0, r e^{−2δ}/(rows · columns)) drawn from `seed`, so that
    /// E‖W_i‖_F² = r e^{−2δ} is that of the aligned initialization, of which the layers know nothing. Fails as [`Simulation::new`] does.
    pub fn from_random(moments: &'a MatrixMoments, network: &Network, rule: Rule, eta: f64, seed: u64) -> Result<Self> {
        network.require_delta(rule.name(), "cannot be simulated with matrices from exactly zero")?;
        Self::from_layers(moments, initialization::gaussian(moments, network, seed), rule, eta)
    }

    /// A simulation at step 0 from the given W_1, …, W_L, whose shapes fit.
    pub(crate) fn from_layers(moments: &'a MatrixMoments, layers: Vec<Mat<f64>>, rule: Rule, eta: f64) -> Result<Self> {
        check_eta(eta)?;
        rule.check()?;
        let (k, d) = moments.sigma_yx().shape();
        let layers = layers.into_iter().map(Layer::new).collect();
        let mut simulation =
            Self { moments, rule, eta, step: 0, layers, weights: Mat::zeros(k, d), norm: 0.0, residual: Mat::zeros(k, d) };
        simulation.multiply_layers();
        Ok(simulation)
    }

    /// The number of steps taken.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The end-to-end matrix W = W_L ⋯ W_1.
    pub fn weights(&self) -> MatRef<'_, f64> {
        self.weights.as_ref()
    }

    /// α_c = \[Uᵀ W V\]_cc.
    pub fn alpha(&self) -> Vec<f64> {
        let aligned = self.moments.to_components(self.weights.as_ref());
        (0..aligned.nrows()).map(|c| aligned[(c, c)]).collect()
    }

    /// α after each number of steps, in ascending order.
    pub(crate) fn alphas_at(&mut self, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
        steps
            .iter()
            .map(|&step| {
                while self.step < step {
                    self.advance()?;
                }
                Ok(self.alpha())
            })
            .collect()
    }

    /// The largest magnitude in W outside that diagonal.
    pub fn off_diagonal(&self) -> f64 {
        self.moments.off_diagonal(self.weights.as_ref())
    }

    /// Takes one step. Fails if the iterate overflows or the decomposition does not converge.
    pub fn advance(&mut self) -> Result<()> {
        self.moments.gradient(&self.weights, &mut self.residual);
        let floor = self.moments.residual_floor(self.norm);
        // The residual is at most about floor/ε in magnitude: if that is finite, so is every entry.
        if !(floor / f64::EPSILON).is_finite() {
            return Err(self.diverged(self.step));
        }
        self.layer_gradients();
        let depth = self.layers.len();
        // The norms of the other layers; a single layer has none.
        let norms: Vec<f64> = match depth {
            1 => vec![1.0],
            _ => self.layers.iter().map(|layer| frobenius(layer.weights.as_ref())).collect(),
        };
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let others: f64 = (0..depth).filter(|&other| other != index).map(|other| norms[other]).product();
            self.rule.matrix_direction(
                &layer.gradient,
                floor * others,
                &mut layer.momentum,
                &mut layer.preconditioner,
                &mut layer.map,
                layer.direction.as_mut(),
            )?;
        }
        for layer in &mut self.layers {
            for j in 0..layer.weights.ncols() {
                let (weights, carry) = (layer.weights.col_as_slice_mut(j), layer.carry.col_as_slice_mut(j));
                for ((weight, carry), direction) in weights.iter_mut().zip(carry).zip(layer.direction.col_as_slice(j)) {
                    add_compensated(weight, carry, -self.eta * direction);
                }
            }
        }
        self.step += 1;
        self.multiply_layers();
        if self.norm.is_finite() { Ok(()) } else { Err(self.diverged(self.step)) }
    }

    fn diverged(&self, step: usize) -> Error {
        let stable = 2.0 / self.moments.largest_eigenvalue();
        Error::Diverged { rule: self.rule.name(), eta: self.eta, step, stable }
    }

    fn multiply_layers(&mut self) {
        if let [layer] = &self.layers[..] {
            self.weights.copy_from(&layer.weights);
            self.norm = frobenius(self.weights.as_ref());
            return;
        }
        let mut product = self.layers[0].weights.clone();
        for layer in &self.layers[1..] {
            let mut next = Mat::zeros(layer.weights.nrows(), product.ncols());
            multiply(next.as_mut(), Accum::Replace, layer.weights.as_ref(), product.as_ref(), 1.0);
            product = next;
        }
        self.norm = frobenius(product.as_ref());
        self.weights = product;
    }

    /// The gradient of every layer: Aᵀ R Bᵀ with the product A of the layers after it and B of those before it.
    fn layer_gradients(&mut self) {
        let depth = self.layers.len();
        if depth == 1 {
            std::mem::swap(&mut self.layers[0].gradient, &mut self.residual);
            return;
        }
        // after ← (W_L ⋯ W_{i+1})ᵀ R for i = L, L−1, …, 1.
        let mut pulled = self.residual.clone();
        let mut after = Vec::with_capacity(depth);
        for index in (0..depth).rev() {
            after.push(pulled.clone());
            if index > 0 {
                let weights = &self.layers[index].weights;
                let mut next = Mat::zeros(weights.ncols(), pulled.ncols());
                multiply(next.as_mut(), Accum::Replace, weights.transpose(), pulled.as_ref(), 1.0);
                pulled = next;
            }
        }
        let mut before: Option<Mat<f64>> = None;
        for (index, pulled) in after.into_iter().rev().enumerate() {
            match &before {
                None => self.layers[index].gradient.copy_from(&pulled),
                Some(before) => {
                    multiply(self.layers[index].gradient.as_mut(), Accum::Replace, pulled.as_ref(), before.transpose(), 1.0);
                }
            }
            let weights = &self.layers[index].weights;
            before = Some(match before {
                None => weights.clone(),
                Some(before) => {
                    let mut next = Mat::zeros(weights.nrows(), before.ncols());
                    multiply(next.as_mut(), Accum::Replace, weights.as_ref(), before.as_ref(), 1.0);
                    next
                }
            });
        }
    }
}
