//! Descent on the moments of a finite sample, and how far it strays from the population's path.

use faer::{Accum, Mat, MatMut, MatRef};
use rand_distr::{Distribution, StandardNormal};

use crate::discrete::check_eta;
use crate::error::{Error, Result};
use crate::linalg::{SpectralMap, frobenius, multiply};
use crate::moments::MatrixMoments;
use crate::random::{Purpose, stream};
use crate::rules::{Preconditioner, Rule, muon};
use crate::sampling::SampleMoments;

/// The coefficients of the quintic of K. Jordan's Muon (2024), X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X.
const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];
const QUINTIC_STEPS: usize = 5;

/// How a step is made from a gradient.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleRule {
    /// A rule with exact directions.
    Exact(Rule),
    /// Muon's momentum M ← β M + (1 − β) ∇ with five Newton–Schulz steps in f64 in place of the polar factor. The singular values of
    /// its update are about [0.68, 1.13] instead of 1, so its time η·step is of another scale.
    MuonNewtonSchulz {
        /// β, from 0 up to but not including 1.
        momentum: f64,
    },
}

/// The initial weights of a linear (one layer) or bilinear (two layers) model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SampleStart {
    /// One layer from W(0) = 0.
    Zero,
    /// Independent Gaussian entries with standard deviation `scale`/√columns, in each of `depth` (1 or 2) layers; the inner width is k.
    Gaussian {
        /// Number of layers.
        depth: usize,
        /// The typical length of a row.
        scale: f64,
        /// Which draw.
        seed: u64,
    },
    /// Two layers in the population's bases, W_2 W_1 = U (w₀ I)(w₀ I) Vᵀ with w₀ = e^{−δ}.
    Aligned {
        /// δ.
        delta: f64,
    },
}

/// Descent of a linear or bilinear model on given moments, whatever their singular bases: ∇_W = W Σ̂_xx − Σ̂_yx.
///
/// Unlike [`crate::Simulation`] it starts from bases that are not those of the moments: a sample's moments have bases of their own,
/// while the initialization and the components α_c are those of the population. Directions whose singular value is only rounding
/// noise get no step, with the bound of [`crate::Simulation`]; with fewer examples than dimensions Σ̂_xx is singular, which is no error.
pub struct SampleDescent<'a> {
    moments: &'a SampleMoments,
    rule: SampleRule,
    eta: f64,
    step: usize,
    layers: Vec<Layer>,
    weights: Mat<f64>,
    residual: Mat<f64>,
    scale: [f64; 2],
}

struct Layer {
    weights: Mat<f64>,
    momentum: Mat<f64>,
    gradient: Mat<f64>,
    direction: Mat<f64>,
    preconditioner: Preconditioner,
    map: SpectralMap,
}

impl std::fmt::Debug for SampleDescent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SampleDescent")
            .field("rule", &self.rule)
            .field("eta", &self.eta)
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

impl<'a> SampleDescent<'a> {
    /// Descent at step 0. `population` has the bases of [`SampleStart::Aligned`] and is otherwise only asked for the shape.
    pub fn new(
        moments: &'a SampleMoments,
        population: &MatrixMoments,
        start: SampleStart,
        rule: SampleRule,
        eta: f64,
    ) -> Result<Self> {
        check_eta(eta)?;
        match rule {
            SampleRule::Exact(rule) => rule.check()?,
            SampleRule::MuonNewtonSchulz { momentum } => Rule::Muon { momentum }.check()?,
        }
        let (k, d) = population.sigma_yx().shape();
        if moments.sigma_yx().shape() != (k, d) {
            return Err(Error::setting(
                "moments",
                format_args!("{}×{}", moments.sigma_yx().nrows(), moments.sigma_yx().ncols()),
                format!("the sample's Σ_yx must be {k}×{d} like the population's"),
                "draw the sample from the same mixture",
            ));
        }
        let layers = start.layers(population)?.into_iter().map(Layer::new).collect();
        let scale = [frobenius(moments.sigma_yx()), frobenius(moments.sigma_xx())];
        let (weights, residual) = (Mat::zeros(k, d), Mat::zeros(k, d));
        let mut descent = Self { moments, rule, eta, step: 0, layers, weights, residual, scale };
        descent.multiply_layers();
        Ok(descent)
    }

    /// The end-to-end matrix.
    pub fn weights(&self) -> MatRef<'_, f64> {
        self.weights.as_ref()
    }

    /// The number of steps taken.
    pub fn step(&self) -> usize {
        self.step
    }

    /// Takes one step. Fails if the iterate overflows or a decomposition does not converge.
    pub fn advance(&mut self) -> Result<()> {
        let (cross, second) = (self.moments.sigma_yx(), self.moments.sigma_xx());
        multiply(self.residual.as_mut(), Accum::Replace, self.weights.as_ref(), second, 1.0);
        for (column, cross) in self.residual.col_iter_mut().zip(cross.col_iter()) {
            column.iter_mut().zip(cross.iter()).for_each(|(value, cross)| *value -= cross);
        }
        let size = cross.nrows().max(cross.ncols()) as f64;
        let floor = 4.0 * size * f64::EPSILON * (self.scale[0] + frobenius(self.weights.as_ref()) * self.scale[1]);
        if !floor.is_finite() {
            return Err(self.diverged());
        }
        let residual = self.residual.as_ref();
        match &mut self.layers[..] {
            [layer] => {
                layer.gradient.copy_from(residual);
                layer.choose(self.rule, floor)?;
            }
            [first, second] => {
                multiply(first.gradient.as_mut(), Accum::Replace, second.weights.transpose(), residual, 1.0);
                multiply(second.gradient.as_mut(), Accum::Replace, residual, first.weights.transpose(), 1.0);
                let norms = [frobenius(second.weights.as_ref()), frobenius(first.weights.as_ref())];
                first.choose(self.rule, floor * norms[0])?;
                second.choose(self.rule, floor * norms[1])?;
            }
            _ => unreachable!("a start has one or two layers"),
        }
        for layer in &mut self.layers {
            for (column, direction) in layer.weights.col_iter_mut().zip(layer.direction.col_iter()) {
                column.iter_mut().zip(direction.iter()).for_each(|(weight, direction)| *weight -= self.eta * direction);
            }
        }
        self.step += 1;
        self.multiply_layers();
        if self.weights.is_all_finite() { Ok(()) } else { Err(self.diverged()) }
    }

    fn diverged(&self) -> Error {
        Error::setting(
            "eta",
            self.eta,
            format!("the iterate is no longer finite at step {}", self.step),
            "plain gradient descent is stable for eta below 2 over the largest eigenvalue of the sample's Σ_xx",
        )
    }

    fn multiply_layers(&mut self) {
        match &self.layers[..] {
            [layer] => self.weights.copy_from(&layer.weights),
            [first, second] => {
                multiply(self.weights.as_mut(), Accum::Replace, second.weights.as_ref(), first.weights.as_ref(), 1.0);
            }
            _ => unreachable!("a start has one or two layers"),
        }
    }
}

impl SampleStart {
    fn layers(self, population: &MatrixMoments) -> Result<Vec<Mat<f64>>> {
        let (k, d) = population.sigma_yx().shape();
        match self {
            Self::Zero => Ok(vec![Mat::zeros(k, d)]),
            Self::Gaussian { depth, scale, seed } => {
                if !(1..=2).contains(&depth) {
                    return Err(Error::setting("depth", depth, "must be 1 or 2", "1 is the linear model, 2 the bilinear one"));
                }
                if !(scale.is_finite() && scale > 0.0) {
                    return Err(Error::setting("scale", scale, "must be positive and finite", "a small value such as 1e-3"));
                }
                let gaussian = |rows: usize, cols: usize, index: usize| {
                    let mut rng = stream(seed, Purpose::InitialWeights, index);
                    let deviation = scale / (cols as f64).sqrt();
                    Mat::from_fn(rows, cols, |_, _| {
                        let draw: f64 = StandardNormal.sample(&mut rng);
                        deviation * draw
                    })
                };
                Ok(if depth == 1 { vec![gaussian(k, d, 1)] } else { vec![gaussian(k, d, 1), gaussian(k, k, 2)] })
            }
            Self::Aligned { delta } => {
                crate::Network::new(2, Some(delta))?;
                let (left, right) = (population.left(), population.right());
                let start = (-delta).exp();
                let scaled = |rows: usize, cols: usize, entry: &dyn Fn(usize, usize) -> f64| {
                    Mat::from_fn(rows, cols, |i, j| start * entry(i, j))
                };
                let rank = right.ncols();
                Ok(vec![scaled(rank, d, &|i, j| right[(j, i)]), scaled(k, rank, &|i, j| left[(i, j)])])
            }
        }
    }
}

impl Layer {
    fn new(weights: Mat<f64>) -> Self {
        let (rows, cols) = weights.shape();
        let zeros = || Mat::zeros(rows, cols);
        Self {
            weights,
            momentum: zeros(),
            gradient: zeros(),
            direction: zeros(),
            preconditioner: Preconditioner::default(),
            map: SpectralMap::new(rows, cols),
        }
    }

    fn choose(&mut self, rule: SampleRule, floor: f64) -> Result<()> {
        match rule {
            SampleRule::Exact(rule) => rule.matrix_direction(
                &self.gradient,
                floor,
                &mut self.momentum,
                &mut self.preconditioner,
                &mut self.map,
                self.direction.as_mut(),
            ),
            SampleRule::MuonNewtonSchulz { momentum } => {
                muon::average_matrix(momentum, &self.gradient, &mut self.momentum);
                newton_schulz(self.momentum.as_ref(), self.direction.as_mut());
                Ok(())
            }
        }
    }
}

/// Five steps of the quintic on A/‖A‖_F; 0 for A = 0.
fn newton_schulz(matrix: MatRef<'_, f64>, mut out: MatMut<'_, f64>) {
    let (rows, cols) = matrix.shape();
    let norm = frobenius(matrix);
    if norm == 0.0 {
        out.fill(0.0);
        return;
    }
    let [a, b, c] = QUINTIC;
    // X Xᵀ is the smaller of the two Gram matrices if X is wide.
    let wide = rows <= cols;
    let mut x = if wide { matrix.to_owned() } else { matrix.transpose().to_owned() };
    for column in x.col_iter_mut() {
        column.iter_mut().for_each(|value| *value /= norm);
    }
    let size = x.nrows();
    let (mut gram, mut series, mut next) = (Mat::zeros(size, size), Mat::zeros(size, size), Mat::zeros(size, x.ncols()));
    for _ in 0..QUINTIC_STEPS {
        multiply(gram.as_mut(), Accum::Replace, x.as_ref(), x.transpose(), 1.0);
        multiply(series.as_mut(), Accum::Replace, gram.as_ref(), gram.as_ref(), c);
        for j in 0..size {
            for i in 0..size {
                series[(i, j)] += b * gram[(i, j)] + if i == j { a } else { 0.0 };
            }
        }
        multiply(next.as_mut(), Accum::Replace, series.as_ref(), x.as_ref(), 1.0);
        std::mem::swap(&mut x, &mut next);
    }
    if wide { out.copy_from(&x) } else { out.copy_from(x.transpose()) }
}

/// A path in the population's components: α_c = \[Uᵀ W V\]_cc and the largest entry of W outside that diagonal.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComponentPath {
    /// α by number of steps, from 0.
    pub alpha: Vec<Vec<f64>>,
    /// The largest magnitude off the diagonal, by number of steps.
    pub off_diagonal: Vec<f64>,
}

impl ComponentPath {
    /// Takes `steps` steps, and looks at the components of `population` after every `every` ≥ 1 of them, and at the start.
    pub fn follow(mut descent: SampleDescent<'_>, population: &MatrixMoments, steps: usize, every: usize) -> Result<Self> {
        let every = every.max(1);
        let mut path = Self::default();
        loop {
            if descent.step().is_multiple_of(every) {
                let aligned = population.to_components(descent.weights());
                path.alpha.push((0..aligned.nrows()).map(|c| aligned[(c, c)]).collect());
                path.off_diagonal.push(population.off_diagonal(descent.weights()));
            }
            if descent.step() == steps {
                return Ok(path);
            }
            descent.advance()?;
        }
    }

    /// sup over the path of max_c |α̂_c − α_c| against reference rows at the same numbers of steps.
    pub fn largest_deviation(&self, reference: &[Vec<f64>]) -> f64 {
        let pairs = self.alpha.iter().zip(reference).flat_map(|(a, b)| a.iter().zip(b));
        pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    /// The largest entry off the diagonal along the path.
    pub fn largest_off_diagonal(&self) -> f64 {
        self.off_diagonal.iter().copied().fold(0.0, f64::max)
    }
}

/// A least-squares line log y = intercept + slope · log x.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// The exponent of x.
    pub slope: f64,
    /// The standard error of the slope, from the residuals.
    pub slope_error: f64,
    /// log y at x = 1.
    pub intercept: f64,
}

impl PowerLaw {
    /// Fits positive points with at least three different x; `None` otherwise.
    pub fn fit(points: &[(f64, f64)]) -> Option<Self> {
        let logs: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
        if logs.iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
            return None;
        }
        let mut places: Vec<f64> = logs.iter().map(|p| p.0).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        if places.len() < 3 {
            return None;
        }
        let n = logs.len() as f64;
        let (mx, my) = (logs.iter().map(|p| p.0).sum::<f64>() / n, logs.iter().map(|p| p.1).sum::<f64>() / n);
        let sxx: f64 = logs.iter().map(|p| (p.0 - mx).powi(2)).sum();
        let slope = logs.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / sxx;
        let intercept = my - slope * mx;
        let squares: f64 = logs.iter().map(|p| (p.1 - intercept - slope * p.0).powi(2)).sum();
        Some(Self { slope, slope_error: (squares / (n - 2.0) / sxx).sqrt(), intercept })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::polar_factor;
    use crate::mixture::{Mixture, MixtureConfig};
    use crate::network::Network;
    use crate::simulation::Simulation;

    fn mixture() -> Mixture {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.0, noise_std: 1.0, dim: Some(6), seed: 3 };
        Mixture::new(config).expect("valid")
    }

    #[test]
    fn on_the_population_it_is_the_simulation() {
        let population = mixture().matrix_moments().expect("small");
        let moments = SampleMoments::of_population(&population);
        let bilinear = Network::new(2, Some(2.0)).expect("valid");
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::Muon { momentum: 0.9 }] {
            for (network, start) in [(Network::LINEAR, SampleStart::Zero), (bilinear, SampleStart::Aligned { delta: 2.0 })] {
                let mut simulation = Simulation::new(&population, &network, rule, 1e-2, 0).expect("valid");
                let mut descent = SampleDescent::new(&moments, &population, start, SampleRule::Exact(rule), 1e-2).expect("valid");
                // Before the first saturation, after which rounding errors may grow.
                for _ in 0..15 {
                    simulation.advance().expect("finite");
                    descent.advance().expect("finite");
                }
                let difference = simulation.weights() - descent.weights();
                assert!(frobenius(difference.as_ref()) < 1e-13, "{rule:?}, {start:?}");
            }
        }
    }

    #[test]
    fn newton_schulz_keeps_the_bases_and_brings_singular_values_near_one() {
        for (rows, cols) in [(3, 7), (7, 3), (4, 4)] {
            let matrix = Mat::from_fn(rows, cols, |i, j| ((5 * i + 3 * j * j + i * j + 1) as f64).sin());
            let mut out = Mat::zeros(rows, cols);
            newton_schulz(matrix.as_ref(), out.as_mut());
            let values = out.singular_values().expect("converges");
            assert!(values.iter().all(|value| (0.67..1.14).contains(value)), "{values:?}");
            // The same polar factor.
            let difference = polar_factor(out.as_ref()).expect("converges") - polar_factor(matrix.as_ref()).expect("converges");
            assert!(frobenius(difference.as_ref()) < 1e-10);
        }
        let mut out = Mat::from_fn(2, 3, |_, _| 1.0);
        newton_schulz(Mat::zeros(2, 3).as_ref(), out.as_mut());
        assert_eq!(out, Mat::<f64>::zeros(2, 3));
    }

    #[test]
    fn power_laws() {
        let points: Vec<(f64, f64)> = [1.0, 10.0, 100.0, 1000.0].iter().map(|x: &f64| (*x, 3.0 * x.powf(-0.5))).collect();
        let law = PowerLaw::fit(&points).expect("four points");
        assert!((law.slope + 0.5).abs() < 1e-14 && law.slope_error < 1e-14 && (law.intercept - 3.0_f64.ln()).abs() < 1e-13);
        // log y = (0, 1, 0.5) over x = e^0, e^1, e^2: slope 1/4, residuals (−1/4, 1/2, −1/4), error √((3/8)/1/2).
        let points = [(1.0, 1.0), (1.0_f64.exp(), 1.0_f64.exp()), (2.0_f64.exp(), 0.5_f64.exp())];
        let law = PowerLaw::fit(&points).expect("three points");
        assert!((law.slope - 0.25).abs() < 1e-14 && (law.slope_error - (0.375_f64 / 2.0).sqrt()).abs() < 1e-14);
        assert_eq!(PowerLaw::fit(&points[..2]), None);
        assert_eq!(PowerLaw::fit(&[(1.0, 0.0), (2.0, 1.0), (3.0, 1.0)]), None);
    }

    #[test]
    fn bad_settings_are_errors() {
        let population = mixture().matrix_moments().expect("small");
        let moments = SampleMoments::of_population(&population);
        let refuse = |start, rule, eta| {
            let error = SampleDescent::new(&moments, &population, start, rule, eta).expect_err("must be refused").to_string();
            assert!(error.contains("\nhint: "), "{error}");
        };
        let gd = SampleRule::Exact(Rule::Gd);
        refuse(SampleStart::Zero, gd, 0.0);
        refuse(SampleStart::Zero, SampleRule::MuonNewtonSchulz { momentum: 1.0 }, 0.1);
        refuse(SampleStart::Aligned { delta: -1.0 }, gd, 0.1);
        refuse(SampleStart::Gaussian { depth: 3, scale: 0.1, seed: 0 }, gd, 0.1);
        refuse(SampleStart::Gaussian { depth: 1, scale: f64::NAN, seed: 0 }, gd, 0.1);
        let mut descent = SampleDescent::new(&moments, &population, SampleStart::Zero, gd, 1e200).expect("valid");
        assert!((0..10).any(|_| descent.advance().is_err()));
        let other = MixtureConfig { dim: Some(9), ..mixture().config() };
        let other = Mixture::new(other).expect("valid").matrix_moments().expect("small");
        assert!(SampleDescent::new(&moments, &other, SampleStart::Zero, gd, 0.1).is_err());
    }
}
