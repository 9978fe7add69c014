//! Samples of a Gaussian mixture, and their moments.

use faer::{Accum, Mat, MatMut, MatRef};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::error::{Error, Result};
use crate::linalg::multiply;
use crate::mixture::Mixture;
use crate::moments::MatrixMoments;
use crate::random::{Purpose, stream};

/// Examples that are drawn before their products enter the moments: as much as the cache holds.
const BLOCK: usize = 512;
/// A sample's examples fit into 1 GiB at d = 200 and the moments of more are closer to the population's than rounding errors are small.
const LARGEST_SAMPLE: usize = 1 << 26;

/// Draws labelled examples (x, y) of a mixture: y = c with probability p_c, x = μ_c + σ z with z ~ N(0, I_d).
///
/// Each draw belongs to (seed, index): the same pair gives the same examples, and other pairs give independent ones.
#[derive(Debug, Clone)]
pub struct Sampler {
    mixture: Mixture,
    /// V, d×k.
    directions: Mat<f64>,
    /// p_1 + … + p_c, by class.
    cumulative: Vec<f64>,
}

/// A labelled sample of n examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    features: Mat<f64>,
    labels: Vec<usize>,
    classes: usize,
}

/// The moments of a sample: Σ̂_yx = (1/n) Σ_i e_{y_i} x_iᵀ (k×d) and Σ̂_xx = (1/n) Σ_i x_i x_iᵀ (d×d).
#[derive(Debug, Clone, PartialEq)]
pub struct SampleMoments {
    cross: Mat<f64>,
    second: Mat<f64>,
    counts: Vec<usize>,
}

impl Sampler {
    /// A sampler with the directions of the means that `moments` has, which are those of the same mixture
    /// ([`Mixture::matrix_moments`], [`MatrixMoments::canonical`] or [`MatrixMoments::rotated`]). Fails if the shapes differ.
    pub fn new(mixture: &Mixture, moments: &MatrixMoments) -> Result<Self> {
        let directions = moments.right().to_owned();
        let expected = (mixture.dim(), mixture.classes());
        if directions.shape() != expected {
            return Err(Error::setting(
                "moments",
                format_args!("{}×{}", directions.nrows(), directions.ncols()),
                format!("the directions of the class means must be {}×{} (dim×classes)", expected.0, expected.1),
                "take the moments of the same mixture",
            ));
        }
        let mut sum = 0.0;
        let cumulative = mixture
            .priors()
            .iter()
            .map(|prior| {
                sum += prior;
                sum
            })
            .collect();
        Ok(Self { mixture: mixture.clone(), directions, cumulative })
    }

    /// The class means μ_c as columns, d×k.
    pub fn class_means(&self) -> Mat<f64> {
        Mat::from_fn(self.directions.nrows(), self.directions.ncols(), |i, c| self.mixture.mean_norm() * self.directions[(i, c)])
    }

    /// The mixture that the examples come from.
    pub fn mixture(&self) -> &Mixture {
        &self.mixture
    }

    /// A sample of `n` examples with labels drawn from the priors.
    ///
    /// Fails for fewer examples than classes, and if the draw has no example of some class: its accuracy and its row of Σ̂_yx would
    /// say nothing, so the sample is refused and the class named. A refused draw is never replaced by another one, which would
    /// change the distribution.
    pub fn sample(&self, n: usize, seed: u64, index: usize) -> Result<Sample> {
        self.check_size(n)?;
        let mut rng = stream(seed, Purpose::Samples, index);
        let mut features = Mat::zeros(self.mixture.dim(), n);
        let mut labels = vec![0; n];
        self.fill(&mut rng, features.as_mut(), &mut labels);
        let sample = Sample { features, labels, classes: self.mixture.classes() };
        self.check_classes(&sample.counts(), n, seed, index)?;
        Ok(sample)
    }

    /// The moments of [`Self::sample`] with the same arguments, without holding the examples: memory does not grow with `n`.
    /// Fails as that does.
    pub fn moments(&self, n: usize, seed: u64, index: usize) -> Result<SampleMoments> {
        self.check_size(n)?;
        let (k, d) = (self.mixture.classes(), self.mixture.dim());
        let mut rng = stream(seed, Purpose::Samples, index);
        let (mut cross, mut second) = (Mat::zeros(k, d), Mat::zeros(d, d));
        let mut counts = vec![0; k];
        let (mut block, mut labels) = (Mat::zeros(d, BLOCK), vec![0; BLOCK]);
        let mut left = n;
        while left > 0 {
            let size = left.min(BLOCK);
            let (mut examples, labels) = (block.as_mut().subcols_mut(0, size), &mut labels[..size]);
            self.fill(&mut rng, examples.as_mut(), labels);
            multiply(second.as_mut(), Accum::Add, examples.as_ref(), examples.as_ref().transpose(), 1.0);
            for (example, &label) in examples.as_ref().col_iter().zip(&*labels) {
                counts[label] += 1;
                for (j, &value) in example.iter().enumerate() {
                    cross[(label, j)] += value;
                }
            }
            left -= size;
        }
        self.check_classes(&counts, n, seed, index)?;
        let scale = 1.0 / n as f64;
        for matrix in [&mut cross, &mut second] {
            for column in matrix.col_iter_mut() {
                column.iter_mut().for_each(|value| *value *= scale);
            }
        }
        Ok(SampleMoments { cross, second, counts })
    }

    /// One example a column.
    fn fill(&self, rng: &mut ChaCha8Rng, features: MatMut<'_, f64>, labels: &mut [usize]) {
        let (mu, sigma) = (self.mixture.mean_norm(), self.mixture.noise_std());
        for (example, label) in features.col_iter_mut().zip(labels) {
            let draw: f64 = rng.random();
            // The sum of the priors may be a rounding error below 1.
            *label = self.cumulative.partition_point(|&sum| sum <= draw).min(self.cumulative.len() - 1);
            for (value, direction) in example.iter_mut().zip(self.directions.col(*label).iter()) {
                let noise: f64 = StandardNormal.sample(rng);
                *value = mu * direction + sigma * noise;
            }
        }
    }

    fn check_size(&self, n: usize) -> Result<()> {
        let k = self.mixture.classes();
        if n < k {
            return Err(Error::setting(
                "samples",
                n,
                format!("{n} examples cannot hold one of each of the {k} classes"),
                "give more examples; a rare class c needs several times 1/p_c of them",
            ));
        }
        if n > LARGEST_SAMPLE {
            return Err(Error::setting("samples", n, format!("must be at most {LARGEST_SAMPLE}"), "take the population instead"));
        }
        Ok(())
    }

    fn check_classes(&self, counts: &[usize], n: usize, seed: u64, index: usize) -> Result<()> {
        let Some(class) = counts.iter().position(|&count| count == 0) else { return Ok(()) };
        let prior = self.mixture.priors()[class];
        Err(Error::setting(
            "samples",
            n,
            format!("the sample drawn with seed {seed} (draw {index}) has no example of class {class}, whose prior is {prior}"),
            format!("an absent class is likely below {:.0} examples; give more, or another seed", 5.0 / prior),
        ))
    }
}

impl Sample {
    /// The examples as columns, d×n.
    pub fn features(&self) -> MatRef<'_, f64> {
        self.features.as_ref()
    }

    /// The class of each example.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// The number k of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of examples of each class, all positive.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        self.labels.iter().for_each(|&label| counts[label] += 1);
        counts
    }
}

impl SampleMoments {
    /// The same moments with singular bases of their own. Fails as [`MatrixMoments::given`] does.
    pub fn matrices(&self) -> Result<MatrixMoments> {
        MatrixMoments::given(self.cross.clone(), self.second.clone())
    }

    /// Σ̂_yx, k×d.
    pub fn sigma_yx(&self) -> MatRef<'_, f64> {
        self.cross.as_ref()
    }

    /// Σ̂_xx, d×d.
    pub fn sigma_xx(&self) -> MatRef<'_, f64> {
        self.second.as_ref()
    }

    /// The number of examples of each class.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linalg::frobenius;
    use crate::mixture::MixtureConfig;

    fn sampler(priors: &[f64], dim: usize) -> Sampler {
        let config = MixtureConfig { priors: priors.to_vec(), mean_norm: 2.0, noise_std: 0.5, dim: Some(dim), seed: 3 };
        let mixture = Mixture::new(config).expect("valid");
        Sampler::new(&mixture, &mixture.matrix_moments().expect("small")).expect("fits")
    }

    #[test]
    fn moments_are_those_of_the_sample() {
        let sampler = sampler(&[0.6, 0.3, 0.1], 5);
        for n in [3 * BLOCK, BLOCK + 17, 40] {
            let (sample, moments) = (sampler.sample(n, 1, 2).expect("drawn"), sampler.moments(n, 1, 2).expect("drawn"));
            assert_eq!(sample.counts(), moments.counts());
            let mut cross = Mat::<f64>::zeros(3, 5);
            for (example, &label) in sample.features().col_iter().zip(sample.labels()) {
                for j in 0..5 {
                    cross[(label, j)] += example[j] / n as f64;
                }
            }
            let second = sample.features() * sample.features().transpose() * faer::Scale(1.0 / n as f64);
            assert!(frobenius((cross - moments.sigma_yx()).as_ref()) < 1e-13);
            assert!(frobenius((second - moments.sigma_xx()).as_ref()) < 1e-13);
        }
    }

    #[test]
    fn moments_tend_to_those_of_the_mixture() {
        let sampler = sampler(&[0.6, 0.3, 0.1], 5);
        let exact = sampler.mixture().matrix_moments().expect("small");
        let n = 200_000;
        let moments = sampler.moments(n, 7, 0).expect("drawn");
        // No entry has a standard deviation above 2.6/√n: x² has at most that of μ² + σ² mixed over classes.
        let bound = 5.0 * 2.6 / (n as f64).sqrt();
        for (sampled, exact) in [(moments.sigma_yx(), exact.sigma_yx()), (moments.sigma_xx(), exact.sigma_xx())] {
            for j in 0..sampled.ncols() {
                for i in 0..sampled.nrows() {
                    assert!((sampled[(i, j)] - exact[(i, j)]).abs() < bound, "({i}, {j})");
                }
            }
        }
    }

    #[test]
    fn draws_are_independent_and_repeatable() {
        let sampler = sampler(&[0.6, 0.4], 4);
        let draw = |seed, index| sampler.sample(30, seed, index).expect("drawn");
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn samples_that_say_nothing_of_a_class_are_refused() {
        let sampler = sampler(&[0.995, 0.005], 4);
        let message = |n| sampler.sample(n, 1, 0).expect_err("too few").to_string();
        assert!(message(0).contains("samples = 0: 0 examples cannot hold"));
        assert!(message(1).contains("samples = 1"));
        assert!(message(5).contains("no example of class 1, whose prior is 0.005") && message(5).contains("\nhint: "));
        assert_eq!(sampler.moments(5, 1, 0).expect_err("too few").to_string(), message(5));
        assert!(sampler.moments(usize::MAX, 1, 0).is_err());
        let other = MixtureConfig { priors: vec![0.5, 0.5], mean_norm: 1.0, noise_std: 1.0, dim: Some(9), seed: 0 };
        let other = Mixture::new(other).expect("valid");
        assert!(Sampler::new(&other, &sampler.mixture().matrix_moments().expect("small")).is_err());
    }
}
