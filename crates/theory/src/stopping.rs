//! Early stopping: accuracies by class along a path of descent, and the best point to stop at.

use faer::{Accum, Mat, MatRef};
use rand_distr::{Distribution, StandardNormal};

use crate::discrete::check_eta;
use crate::error::{Error, Result};
use crate::linalg::{SpectralMap, multiply};
use crate::random::{Purpose, stream};
use crate::rules::{Preconditioner, Rule};
use crate::sampling::{Sample, Sampler};
use crate::softmax::{Objective, PopulationLoss, SampleLoss, covariance_root};

/// Accuracies of a classifier, as fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// The mean of the class accuracies, each class with the same weight.
    pub balanced: f64,
    /// The smallest class accuracy.
    pub worst: f64,
    /// The mean over the more frequent half of the classes (the larger half, if their number is odd).
    pub majority: f64,
    /// The mean over the rarer half of the classes.
    pub minority: f64,
}

impl Scores {
    /// The scores of class accuracies under the priors that order the classes; equal priors in class order.
    ///
    /// # Panics
    /// If the lists are empty or differ in length.
    pub fn of(accuracies: &[f64], priors: &[f64]) -> Self {
        assert!(!accuracies.is_empty() && accuracies.len() == priors.len(), "one accuracy and one prior for each class");
        let mut order: Vec<usize> = (0..priors.len()).collect();
        order.sort_by(|&a, &b| priors[b].total_cmp(&priors[a]));
        let mean = |classes: &[usize]| classes.iter().map(|&c| accuracies[c]).sum::<f64>() / classes.len() as f64;
        let (majority, minority) = order.split_at(order.len().div_ceil(2));
        Self {
            balanced: mean(&order),
            worst: accuracies.iter().copied().fold(f64::INFINITY, f64::min),
            majority: mean(majority),
            minority: if minority.is_empty() { f64::NAN } else { mean(minority) },
        }
    }

    /// The score of this name.
    pub fn get(&self, score: Score) -> f64 {
        match score {
            Score::Balanced => self.balanced,
            Score::Worst => self.worst,
        }
    }
}

/// What a stopping point is chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// Class-balanced accuracy.
    Balanced,
    /// Accuracy of the worst class.
    Worst,
}

/// Class accuracies of x ↦ argmax_c (W x)_c on test data from the population, `per_class` fresh examples of each class.
///
/// Given y = c the logits W x have the law of W μ_c + σ (W Wᵀ)^{1/2} g with g ~ N(0, I_k), so k numbers are drawn for an example
/// instead of d. All points of a path are measured with the same g, and all classes too.
#[derive(Debug, Clone)]
pub struct TestSet {
    draws: Mat<f64>,
}

impl TestSet {
    /// A test set; `index` 0, 1, … are independent. Fails for no examples, or more than 2²⁰ of a class.
    pub fn new(classes: usize, per_class: usize, seed: u64, index: usize) -> Result<Self> {
        if !(1..=1 << 20).contains(&per_class) {
            return Err(Error::setting("test_per_class", per_class, "must be from 1 to 2^20", "a few thousand are enough"));
        }
        let mut rng = stream(seed, Purpose::TestDraws, index);
        Ok(Self { draws: Mat::from_fn(classes, per_class, |_, _| StandardNormal.sample(&mut rng)) })
    }

    /// The accuracy on each class. A tie for the largest logit counts as an error, so that W = 0 scores 0. Fails if W is not finite.
    pub fn accuracies(&self, weights: MatRef<'_, f64>, sampler: &Sampler) -> Result<Vec<f64>> {
        let k = weights.nrows();
        let root = covariance_root(weights)?;
        let mut spread = Mat::zeros(k, self.draws.ncols());
        multiply(spread.as_mut(), Accum::Replace, root.as_ref(), self.draws.as_ref(), sampler.mixture().noise_std());
        let mut centres = Mat::zeros(k, k);
        multiply(centres.as_mut(), Accum::Replace, weights, sampler.class_means().as_ref(), 1.0);
        let accuracy = |class: usize| {
            let centre = centres.col(class);
            let right = spread.col_iter().filter(|spread| {
                let own = centre[class] + spread[class];
                (0..k).all(|other| other == class || centre[other] + spread[other] < own)
            });
            right.count() as f64 / self.draws.ncols() as f64
        };
        Ok((0..k).map(accuracy).collect())
    }
}

/// What the gradient is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrainingData {
    /// The same sample of n examples at every step.
    Sample {
        /// n.
        samples: usize,
    },
    /// The population, with fresh draws at every step ([`PopulationLoss`]).
    Population {
        /// Antithetic pairs for each class and step.
        draws: usize,
    },
}

/// Full-batch descent on the cross-entropy from W(0) = 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DescentConfig {
    /// What the gradient is taken of.
    pub data: TrainingData,
    /// The rule.
    pub rule: Rule,
    /// Step size η.
    pub eta: f64,
    /// Number of steps.
    pub steps: usize,
    /// Examples of each class in the test set and in the validation set.
    pub test_per_class: usize,
    /// The seed of the training data, the test set and the validation set, which are independent.
    pub seed: u64,
}

/// A point of a path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathPoint {
    /// Steps taken.
    pub step: usize,
    /// η · step.
    pub time: f64,
    /// The training loss in nats, before the step that leads to the next point.
    pub loss: f64,
    /// Scores on the validation set.
    pub validation: Scores,
    /// Scores on the test set.
    pub test: Scores,
}

/// Follows a rule and measures the classifier after every step. Fails for bad settings, for a sample without some class, and if
/// the iterate overflows.
pub fn descend(sampler: &Sampler, config: &DescentConfig) -> Result<Vec<PathPoint>> {
    check_eta(config.eta)?;
    config.rule.check()?;
    if config.steps == 0 {
        return Err(Error::setting("steps", config.steps, "at least one step is needed", "a few hundred resolve a path"));
    }
    match config.data {
        TrainingData::Sample { samples } => {
            let sample: Sample = sampler.sample(samples, config.seed, 0)?;
            follow(sampler, config, &mut SampleLoss::new(&sample))
        }
        TrainingData::Population { draws } => follow(sampler, config, &mut PopulationLoss::new(sampler, draws, config.seed)?),
    }
}

fn follow(sampler: &Sampler, config: &DescentConfig, objective: &mut dyn Objective) -> Result<Vec<PathPoint>> {
    let (k, d) = (sampler.mixture().classes(), sampler.mixture().dim());
    let priors = sampler.mixture().priors();
    let test = TestSet::new(k, config.test_per_class, config.seed, 0)?;
    let validation = TestSet::new(k, config.test_per_class, config.seed, 1)?;
    // Entries of the gradient are means of products with x: their rounding errors are at most this, whatever the gradient's size. Its
    // rows sum to zero, so that its smallest singular value is only such an error.
    let floor = 4.0 * k.max(d) as f64 * f64::EPSILON * objective.input_scale();
    let zeros = || Mat::<f64>::zeros(k, d);
    let (mut weights, mut gradient, mut direction, mut momentum) = (zeros(), zeros(), zeros(), zeros());
    let (mut map, mut preconditioner) = (SpectralMap::new(k, d), Preconditioner::default());
    let mut points = Vec::with_capacity(config.steps);
    for step in 1..=config.steps {
        let loss = objective.gradient(weights.as_ref(), step, gradient.as_mut())?;
        if let (Some(last), true) = (points.last_mut(), step > 1) {
            let last: &mut PathPoint = last;
            last.loss = loss;
        }
        config.rule.matrix_direction(&gradient, floor, &mut momentum, &mut preconditioner, &mut map, direction.as_mut())?;
        for (column, direction) in weights.col_iter_mut().zip(direction.col_iter()) {
            for (weight, direction) in column.iter_mut().zip(direction.iter()) {
                *weight -= config.eta * direction;
            }
        }
        if !weights.is_all_finite() {
            return Err(Error::setting(
                "eta",
                config.eta,
                format!("{} diverges, the iterate is no longer finite at step {step}", config.rule.name()),
                "choose a smaller step size",
            ));
        }
        points.push(PathPoint {
            step,
            time: config.eta * step as f64,
            loss: f64::NAN,
            validation: Scores::of(&validation.accuracies(weights.as_ref(), sampler)?, priors),
            test: Scores::of(&test.accuracies(weights.as_ref(), sampler)?, priors),
        });
    }
    let last_loss = objective.gradient(weights.as_ref(), config.steps + 1, gradient.as_mut())?;
    if let Some(last) = points.last_mut() {
        last.loss = last_loss;
    }
    Ok(points)
}

/// Where to stop: the point with the best validation score, and what the test set says there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoppingPoint {
    /// Its index in the path.
    pub index: usize,
    /// The score on the validation set, which chose it and is therefore too high on average.
    pub validation: f64,
    /// The score on the test set at that point.
    pub test: f64,
    /// The best score on the test set along the whole path: what no stopping rule can exceed.
    pub oracle: f64,
}

/// The best stopping point of a path by one score; the first of equals. `None` for an empty path.
pub fn best_stopping_point(path: &[PathPoint], score: Score) -> Option<StoppingPoint> {
    let mut best: Option<StoppingPoint> = None;
    let mut oracle = f64::NEG_INFINITY;
    for (index, point) in path.iter().enumerate() {
        let (validation, test) = (point.validation.get(score), point.test.get(score));
        oracle = oracle.max(test);
        if best.is_none_or(|best| validation > best.validation) {
            best = Some(StoppingPoint { index, validation, test, oracle });
        }
    }
    best.map(|best| StoppingPoint { oracle, ..best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::{Mixture, MixtureConfig};

    fn sampler(noise_std: f64) -> Sampler {
        let config = MixtureConfig { priors: vec![0.6, 0.3, 0.1], mean_norm: 3.0, noise_std, dim: Some(5), seed: 3 };
        let mixture = Mixture::new(config).expect("valid");
        Sampler::new(&mixture, &mixture.matrix_moments().expect("small")).expect("fits")
    }

    #[test]
    fn scores_of_hand_made_accuracies() {
        let scores = Scores::of(&[0.2, 1.0, 0.6], &[0.1, 0.5, 0.4]);
        assert!((scores.balanced - 0.6).abs() < 1e-15);
        assert!((scores.worst - 0.2).abs() < 1e-15);
        // The two more frequent classes are 1 and 2.
        assert!((scores.majority - 0.8).abs() < 1e-15);
        assert!((scores.minority - 0.2).abs() < 1e-15);
        assert!((scores.get(Score::Worst) - 0.2).abs() < 1e-15);
    }

    fn point(step: usize, validation: f64, test: f64) -> PathPoint {
        let scores = |value| Scores { balanced: value, worst: value / 2.0, majority: value, minority: value };
        PathPoint { step, time: step as f64, loss: 0.0, validation: scores(validation), test: scores(test) }
    }

    #[test]
    fn the_stopping_point_is_chosen_on_validation_alone() {
        let path = [point(1, 0.3, 0.2), point(2, 0.7, 0.6), point(3, 0.7, 0.9), point(4, 0.5, 0.1)];
        let best = best_stopping_point(&path, Score::Balanced).expect("not empty");
        assert_eq!(best, StoppingPoint { index: 1, validation: 0.7, test: 0.6, oracle: 0.9 });
        assert!((best_stopping_point(&path, Score::Worst).expect("not empty").test - 0.3).abs() < 1e-15);
        assert_eq!(best_stopping_point(&[], Score::Worst), None);
    }

    #[test]
    fn without_noise_the_means_decide() {
        // Wrong on class 1 only: its logit is below that of class 0 at its own mean.
        let sampler = sampler(1e-6);
        let means = sampler.class_means();
        let mixing = [[1.0, 0.5, 0.0], [0.0, 0.2, 0.0], [0.0, 0.0, 1.0]];
        let weights = Mat::from_fn(3, 5, |i, j| (0..3).map(|c| mixing[i][c] * means[(j, c)]).sum::<f64>());
        let test = TestSet::new(3, 50, 1, 0).expect("valid");
        assert_eq!(test.accuracies(weights.as_ref(), &sampler).expect("finite"), [1.0, 0.0, 1.0]);
        // Ties are errors.
        assert_eq!(test.accuracies(Mat::zeros(3, 5).as_ref(), &sampler).expect("finite"), [0.0; 3]);
    }

    #[test]
    fn drawing_logits_is_drawing_examples() {
        let sampler = sampler(2.0);
        let weights = Mat::from_fn(3, 5, |i, j| ((7 * i + 3 * j) as f64).sin()) * 0.3
            + sampler.class_means().transpose() * faer::Scale(0.2);
        let per_class = 100_000;
        let logits = TestSet::new(3, per_class, 1, 0).expect("valid").accuracies(weights.as_ref(), &sampler).expect("finite");
        let sample = sampler.sample(300_000, 1, 0).expect("drawn");
        let outputs = &weights * sample.features();
        let (counts, mut right) = (sample.counts(), [0_usize; 3]);
        for (i, &label) in sample.labels().iter().enumerate() {
            let largest = (0..3).max_by(|&a, &b| outputs[(a, i)].total_cmp(&outputs[(b, i)])).expect("three");
            right[label] += usize::from(largest == label);
        }
        for class in 0..3 {
            let accuracy = right[class] as f64 / counts[class] as f64;
            let deviation = (0.25 / counts[class] as f64 + 0.25 / per_class as f64).sqrt();
            assert!((accuracy - logits[class]).abs() < 4.0 * deviation, "class {class}: {accuracy} against {}", logits[class]);
        }
    }

    #[test]
    fn descent_lowers_the_loss_and_bad_settings_are_errors() {
        let sampler = sampler(1.0);
        let config = DescentConfig {
            data: TrainingData::Sample { samples: 200 },
            rule: Rule::SpecGd,
            eta: 0.02,
            steps: 40,
            test_per_class: 200,
            seed: 1,
        };
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::SignGd] {
            for data in [config.data, TrainingData::Population { draws: 64 }] {
                let path = descend(&sampler, &DescentConfig { data, rule, ..config }).expect("valid");
                assert_eq!(path.len(), 40);
                assert!(path[39].loss < 0.9 * 3.0_f64.ln() && path[0].loss > path[39].loss, "{rule:?}: {}", path[39].loss);
                assert!(path[39].test.balanced > 0.8, "{rule:?}");
            }
        }
        for broken in [
            DescentConfig { eta: 0.0, ..config },
            DescentConfig { steps: 0, ..config },
            DescentConfig { test_per_class: 0, ..config },
            DescentConfig { data: TrainingData::Sample { samples: 0 }, ..config },
            DescentConfig { data: TrainingData::Sample { samples: 2 }, ..config },
            DescentConfig { data: TrainingData::Population { draws: 0 }, ..config },
            DescentConfig { eta: 1e200, rule: Rule::Gd, ..config },
        ] {
            assert!(descend(&sampler, &broken).expect_err("must be refused").to_string().contains("\nhint: "), "{broken:?}");
        }
    }
}
