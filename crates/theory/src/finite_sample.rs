//! Descent on the moments of a finite sample, and how far it strays from the population's path.

use faer::Mat;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{Error, Result};
use crate::moments::MatrixMoments;
use crate::random::{Purpose, stream};
use crate::rules::Rule;
use crate::simulation::Simulation;

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

impl SampleStart {
    /// Descent on the moments of a sample: these have bases of their own, while the initialization and the components α_c are those of the
    /// `population`. With fewer examples than dimensions Σ̂_xx is singular, which is no error. Fails for moments of another shape, and as
    /// [`Simulation::new`] does.
    pub fn simulation<'a>(
        self,
        moments: &'a MatrixMoments,
        population: &MatrixMoments,
        rule: Rule,
        eta: f64,
    ) -> Result<Simulation<'a>> {
        let (shape, expected) = (moments.sigma_yx().shape(), population.sigma_yx().shape());
        if shape != expected {
            return Err(Error::setting(
                "moments",
                format_args!("{}×{}", shape.0, shape.1),
                format!("the sample's Σ_yx must be {}×{} like the population's", expected.0, expected.1),
                "draw the sample from the same mixture",
            ));
        }
        Simulation::from_layers(moments, self.layers(population)?, rule, eta)
    }

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
    pub fn follow(mut descent: Simulation<'_>, population: &MatrixMoments, steps: usize, every: usize) -> Result<Self> {
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
    use crate::linalg::frobenius;
    use crate::mixture::{Mixture, MixtureConfig};
    use crate::network::Network;

    fn mixture() -> Mixture {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.0, noise_std: 1.0, dim: Some(6), seed: 3 };
        Mixture::new(config).expect("valid")
    }

    #[test]
    fn on_the_population_it_is_the_simulation() {
        let population = mixture().matrix_moments().expect("small");
        let given = MatrixMoments::given(population.sigma_yx().to_owned(), population.sigma_xx().to_owned()).expect("valid");
        let bilinear = Network::new(2, Some(2.0)).expect("valid");
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::Muon { momentum: 0.9 }] {
            for (network, start) in [(Network::LINEAR, SampleStart::Zero), (bilinear, SampleStart::Aligned { delta: 2.0 })] {
                let mut simulation = Simulation::new(&population, &network, rule, 1e-2, 0).expect("valid");
                let mut descent = start.simulation(&given, &population, rule, 1e-2).expect("valid");
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
        let refuse = |start: SampleStart, rule, eta| {
            let error = start.simulation(&population, &population, rule, eta).expect_err("must be refused").to_string();
            assert!(error.contains("\nhint: "), "{error}");
        };
        refuse(SampleStart::Zero, Rule::Gd, 0.0);
        refuse(SampleStart::Zero, Rule::Muon { momentum: 1.0 }, 0.1);
        refuse(SampleStart::Aligned { delta: -1.0 }, Rule::Gd, 0.1);
        refuse(SampleStart::Gaussian { depth: 3, scale: 0.1, seed: 0 }, Rule::Gd, 0.1);
        refuse(SampleStart::Gaussian { depth: 1, scale: f64::NAN, seed: 0 }, Rule::Gd, 0.1);
        let mut descent = SampleStart::Zero.simulation(&population, &population, Rule::Gd, 1e200).expect("valid");
        assert!((0..10).any(|_| descent.advance().is_err()));
        let other = MixtureConfig { dim: Some(9), ..mixture().config() };
        let other = Mixture::new(other).expect("valid").matrix_moments().expect("small");
        assert!(SampleStart::Zero.simulation(&population, &other, Rule::Gd, 0.1).is_err());
    }
}
