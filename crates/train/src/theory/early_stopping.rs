//! Cross-entropy on a heavy-tailed mixture: how well each rule classifies when it is stopped at its best.

use std::collections::BTreeMap;

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    DescentConfig, MatrixMoments, Mixture, MixtureConfig, PathPoint, Rule, Sampler, Score, Scores, StoppingPoint, TrainingData,
    best_stopping_point, descend,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun, check_mixture};
use crate::Error;
use crate::spec::{Context, unknown};

const RULES: [&str; 4] = ["gd", "ngd", "signgd", "specgd"];
/// Points of a stored curve.
const CURVE_POINTS: usize = 48;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EarlyStopping {
    /// Number k of classes; class c = 1, 2, … has the prior proportional to 1/c.
    classes: usize,
    /// Dimension d of the inputs.
    dim: usize,
    /// Length μ of the class means.
    mean_norm: f64,
    /// σ.
    noise_std: f64,
    /// The seed of the directions of the means.
    seed: u64,
    /// For each rule the last time η·step, in the units of its norm.
    horizons: BTreeMap<String, f64>,
    /// The grid of step sizes: the horizon divided by each of these numbers of steps.
    step_counts: Vec<usize>,
    /// Sizes n of the training samples; the population comes after them.
    samples: Vec<usize>,
    /// Antithetic pairs for each class and step, for the population.
    population_draws: usize,
    /// Examples of each class in the test set, and in the validation set.
    test_per_class: usize,
    /// The seeds of the samples that choose the step sizes.
    tuning_seeds: Vec<u64>,
    /// The seeds of the samples that are shown.
    seeds: Vec<u64>,
}

/// A training set and the directions of the means.
#[derive(Clone, Debug)]
struct Setting<'a> {
    /// `n-2000` or `population`, and `rotated` or `canonical`.
    name: String,
    data: TrainingData,
    sampler: &'a Sampler,
    rule: &'a str,
    horizon: f64,
}

impl EarlyStopping {
    fn mixture(&self) -> MixtureConfig {
        let weights: Vec<f64> = (1..=self.classes).map(|class| 1.0 / class as f64).collect();
        let sum: f64 = weights.iter().sum();
        MixtureConfig {
            priors: weights.iter().map(|weight| weight / sum).collect(),
            mean_norm: self.mean_norm,
            noise_std: self.noise_std,
            dim: Some(self.dim),
            seed: self.seed,
        }
    }

    fn settings<'a>(&'a self, rotated: &'a Sampler, canonical: &'a Sampler) -> Vec<Setting<'a>> {
        let samples = self.samples.iter().map(|&samples| (format!("n-{samples}"), TrainingData::Sample { samples }));
        let population = ("population".to_owned(), TrainingData::Population { draws: self.population_draws });
        let mut settings = Vec::new();
        for (data_name, data) in samples.chain([population]) {
            for (rule, &horizon) in &self.horizons {
                let mut push = |basis: &str, sampler, horizon| {
                    settings.push(Setting { name: format!("{data_name}.{basis}"), data, sampler, rule, horizon });
                };
                push("rotated", rotated, horizon);
                // The other rules commute with rotations. The entries of a rotated mean are about μ/√d, of a canonical one μ.
                if rule == "signgd" {
                    push("canonical", canonical, horizon * (self.dim as f64).sqrt() / 2.0);
                }
            }
        }
        settings
    }

    fn path(&self, setting: &Setting<'_>, steps: usize, seed: u64) -> Result<Vec<PathPoint>, Error> {
        let config = DescentConfig {
            data: setting.data,
            rule: Rule::from_options(setting.rule, None, None)?,
            eta: setting.horizon / steps as f64,
            steps,
            test_per_class: self.test_per_class,
            seed,
        };
        Ok(descend(setting.sampler, &config)?)
    }
}

fn best(path: &[PathPoint], score: Score) -> StoppingPoint {
    best_stopping_point(path, score).expect("a path has at least one point, as specifications ask for steps")
}

impl TheoryRun for EarlyStopping {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let setting = |name: &str| format!("{scale}.{name}");
        if self.classes < 2 {
            return Err(context.error("classes", format!("{} must be at least 2", self.classes)));
        }
        check_mixture(&self.mixture(), context)?;
        if self.horizons.is_empty() {
            return Err(context.error("horizons", "is empty and must give the last time of at least one rule"));
        }
        for (rule, &horizon) in &self.horizons {
            if !RULES.contains(&rule.as_str()) {
                return Err(context.error("horizons", unknown("rule", rule, &RULES)));
            }
            context.positive(&format!("horizons.{rule}"), horizon)?;
        }
        if self.step_counts.is_empty() || self.step_counts.contains(&0) {
            let message = format!("{:?} must name at least one number of steps, none of them 0", self.step_counts);
            return Err(context.error(&setting("step_counts"), message));
        }
        if let Some(samples) = self.samples.iter().find(|&&samples| samples < self.classes) {
            let message = format!("{samples} examples cannot hold one of each of the {} classes", self.classes);
            return Err(context.error(&setting("samples"), message));
        }
        context.at_least_one(&setting("population_draws"), self.population_draws)?;
        context.at_least_one(&setting("test_per_class"), self.test_per_class)?;
        context.seeds(&setting("tuning_seeds"), &self.tuning_seeds)?;
        context.seeds(&setting("seeds"), &self.seeds)?;
        match self.seeds.iter().find(|seed| self.tuning_seeds.contains(seed)) {
            Some(seed) => {
                let message = format!("{seed} is a tuning seed too; what chose the step sizes must not be shown");
                Err(context.error(&setting("seeds"), message))
            }
            None => Ok(()),
        }
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    /// Groups begin with `n-SIZE.` or `population.` and go on with `rotated` (random directions of the means) or `canonical` (coordinate
    /// axes; SignGD alone).
    ///
    /// - Split `validation`, metrics `tuning_balanced` and `tuning_worst`: mean over the tuning seeds of the best validation score with
    ///   `step` steps to the horizon, at the time of one step. The number of steps with the best balanced score is taken.
    /// - Split `test`, metrics `balanced`, `worst`, `majority`, `minority` over time, and the same with `_deviation`: mean and standard
    ///   deviation over seeds at that step size.
    /// - Split `test`, group with `.seed-N`, at the stopping point that the validation set chooses: `best_balanced` and `best_worst`, with
    ///   `best_balanced_oracle` and `best_worst_oracle`, the best of the whole path on the test set.
    /// - Split `test`, metric `step_size`, at the number of steps: the η that was taken.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mixture = Mixture::new(self.mixture())?;
        let rotated = Sampler::new(&mixture, &mixture.matrix_moments()?)?;
        let canonical = Sampler::new(&mixture, &MatrixMoments::canonical(&mixture)?)?;
        let settings = self.settings(&rotated, &canonical);

        let tuning: Vec<(usize, usize, u64)> = (0..settings.len())
            .flat_map(|index| self.step_counts.iter().map(move |&steps| (index, steps)))
            .flat_map(|(index, steps)| self.tuning_seeds.iter().map(move |&seed| (index, steps, seed)))
            .collect();
        let scores: Vec<[f64; 2]> = tuning
            .par_iter()
            .map(|&(index, steps, seed)| {
                let path = self.path(&settings[index], steps, seed)?;
                Ok([Score::Balanced, Score::Worst].map(|score| best(&path, score).validation))
            })
            .collect::<Result<_, Error>>()?;

        let mut records = Vec::new();
        let mut chosen = Vec::new();
        for (index, setting) in settings.iter().enumerate() {
            let mut top = (f64::NEG_INFINITY, 0);
            for &steps in &self.step_counts {
                let found: Vec<[f64; 2]> = tuning
                    .iter()
                    .zip(&scores)
                    .filter(|(job, _)| (job.0, job.1) == (index, steps))
                    .map(|(_, score)| *score)
                    .collect();
                let eta = setting.horizon / steps as f64;
                let base = Record::at_step(steps as u64).time(eta).of(setting.rule).split("validation").group(&setting.name);
                let means = [0, 1].map(|score| found.iter().map(|scores| scores[score]).sum::<f64>() / found.len() as f64);
                records.push(base.clone().metric("tuning_balanced").value(means[0]));
                records.push(base.metric("tuning_worst").value(means[1]));
                if means[0] > top.0 {
                    top = (means[0], steps);
                }
            }
            chosen.push(top.1);
        }

        let shown: Vec<(usize, u64)> =
            (0..settings.len()).flat_map(|index| self.seeds.iter().map(move |&seed| (index, seed))).collect();
        let paths: Vec<Vec<PathPoint>> = shown
            .par_iter()
            .map(|&(index, seed)| self.path(&settings[index], chosen[index], seed))
            .collect::<Result<_, Error>>()?;
        for (index, (setting, &steps)) in settings.iter().zip(&chosen).enumerate() {
            let mine: Vec<(u64, &[PathPoint])> =
                shown.iter().zip(&paths).filter(|(job, _)| job.0 == index).map(|(job, path)| (job.1, &path[..])).collect();
            records.extend(setting.records(steps, &mine));
        }
        Ok(records.into())
    }
}

impl Setting<'_> {
    /// The curves and the stopping points of the seeds' paths.
    fn records(&self, steps: usize, paths: &[(u64, &[PathPoint])]) -> Vec<Record> {
        let base =
            |point: &PathPoint| Record::at_step(point.step as u64).time(point.time).of(self.rule).split("test").group(&self.name);
        let mut records = Vec::new();
        let Some(&(_, first)) = paths.first() else { return records };
        let eta = self.horizon / steps as f64;
        records.push(Record::at_step(steps as u64).of(self.rule).split("test").metric("step_size").group(&self.name).value(eta));
        for index in spread(first.len()) {
            for (name, of) in SCORES {
                let values: Vec<f64> = paths.iter().map(|(_, path)| of(&path[index].test)).collect();
                let (mean, deviation) = mean_and_deviation(&values);
                records.push(base(&first[index]).metric(name).value(mean));
                records.push(base(&first[index]).metric(&format!("{name}_deviation")).value(deviation));
            }
        }
        for (seed, path) in paths {
            for (score, name) in [(Score::Balanced, "best_balanced"), (Score::Worst, "best_worst")] {
                let stop = best(path, score);
                let base = base(&path[stop.index]).group(&format!("{}.seed-{seed}", self.name));
                records.push(base.clone().metric(name).value(stop.test));
                records.push(base.metric(&format!("{name}_oracle")).value(stop.oracle));
            }
        }
        records
    }
}

/// The scores that are stored as curves.
type Part = (&'static str, fn(&Scores) -> f64);
const SCORES: [Part; 4] = [
    ("balanced", |scores| scores.balanced),
    ("worst", |scores| scores.worst),
    ("majority", |scores| scores.majority),
    ("minority", |scores| scores.minority),
];

/// Indices below `count`, all of them or about [`CURVE_POINTS`] evenly spread in the logarithm of index + 1.
fn spread(count: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..CURVE_POINTS)
        .map(|i| super::whole((count as f64).powf(i as f64 / (CURVE_POINTS - 1) as f64)).clamp(1, count.max(1)) - 1)
        .collect();
    indices.dedup();
    indices
}

/// Mean and sample standard deviation; the latter is 0 for one value.
pub(super) fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, if values.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Experiment;

    #[test]
    fn bad_settings_name_themselves() {
        let text = include_str!("../../../../paper/experiments/f4.toml");
        assert!(Experiment::parse(text, "f4", "f4.toml").is_ok());
        for (from, to, said) in [
            ("classes = 20", "classes = 1", "classes: 1"),
            ("dim = 200", "dim = 10", "more classes than dimensions"),
            ("noise_std = 1.0", "noise_std = 0.0", "noise_std = 0.0"),
            ("specgd = 6.0", "specgd = -6.0", "horizons.specgd"),
            ("specgd = 6.0", "spechd = 6.0", "did you mean `specgd`"),
            ("step_counts = [10]", "step_counts = [0]", "scale.smoke.step_counts"),
            ("step_counts = [10]", "step_counts = []", "scale.smoke.step_counts"),
            ("samples = [400]", "samples = [0]", "0 examples cannot hold one of each of the 20 classes"),
            ("samples = [400]", "samples = [19]", "scale.smoke.samples"),
            ("population_draws = 16", "population_draws = 0", "population_draws"),
            ("test_per_class = 100", "test_per_class = 0", "test_per_class"),
            ("seeds = [0, 1]", "seeds = []", "scale.smoke.seeds"),
            ("seeds = [0, 1]", "seeds = [0, 100]", "100 is a tuning seed too"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            let error = Experiment::parse(&broken, "f4", "f4.toml").expect_err("must be refused").to_string();
            assert!(error.contains(said), "{to}: {error}");
        }
    }

    #[test]
    fn a_sample_without_some_class_is_an_error_of_the_run() {
        let text = include_str!("../../../../paper/experiments/f4.toml").replacen("samples = [400]", "samples = [20]", 1);
        let experiment = Experiment::parse(&text, "f4", "f4.toml").expect("valid");
        let crate::Kind::Theory(theory) = &experiment.kind else { panic!("a theory experiment") };
        let run =
            crate::Theory::at(theory, crate::Scale::Smoke, &isorate_data::Origin::Embedded).expect("no data").expect("there");
        let Err(error) = run.execute() else { panic!("must be refused") };
        assert!(error.to_string().contains("has no example of class"), "{error}");
    }

    #[test]
    fn curves_keep_their_first_and_last_points() {
        assert_eq!(spread(1), [0]);
        assert_eq!(spread(4), [0, 1, 2, 3]);
        let indices = spread(1000);
        assert_eq!((indices.first(), indices.last()), (Some(&0), Some(&999)));
        assert!(indices.len() <= CURVE_POINTS && indices.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
