//! Descent on the moments of finite samples, against the population.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{
    ComponentPath, MatrixMoments, Mixture, MixtureConfig, Network, NewtonSchulz, PowerLaw, Rule, SampleStart, Sampler, Source,
    TrajectoryConfig, trajectory,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::early_stopping::mean_and_deviation;
use super::{Findings, TheoryRun, check_mixture};
use crate::Error;
use crate::spec::Context;

/// β of Muon.
const MOMENTUM: f64 = 0.9;
/// Times at which a path is compared with its reference.
const TIMES: usize = 150;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FiniteSamples {
    /// Priors, length of the means, noise and the seed of their directions; `dim` is that of most panels.
    mixture: MixtureConfig,
    /// A dimension beyond the smallest samples.
    high_dim: usize,
    /// Typical length of a row of each layer at the start.
    initial_scale: f64,
    /// Numbers n of examples, for `dim`.
    samples: Vec<usize>,
    /// Numbers n of examples, for `high_dim`.
    high_dim_samples: Vec<usize>,
    /// Independent samples of each size.
    trials: usize,
    /// Examples of the sample whose trajectories are stored.
    shown_samples: usize,
    /// Steps to the horizon.
    steps: usize,
}

/// A model with its dimension.
struct Case<'a> {
    /// `linear.d-10`, ….
    name: String,
    depth: usize,
    samples: &'a [usize],
    population: MatrixMoments,
    sampler: Sampler,
}

/// A rule with the last time of its path in the linear and the bilinear model.
#[derive(Clone, Copy)]
struct Entry {
    key: &'static str,
    rule: Rule,
    /// The rule whose closed form is the reference in the linear model.
    reference: Rule,
    horizons: [f64; 2],
}

impl FiniteSamples {
    fn mixture(&self, dim: Option<usize>) -> MixtureConfig {
        MixtureConfig { dim, ..self.mixture.clone() }
    }

    /// The horizons go through all saturations, and to within some percent of the limits for GD.
    fn entries(mixture: &Mixture, initial_scale: f64) -> Result<[Entry; 5], Error> {
        let response = NewtonSchulz::new(5)?;
        let components = mixture.components();
        let limits = components.limits();
        let largest = limits.iter().copied().fold(0.0, f64::max);
        let slowest = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let spectral = [1.3 * largest, 1.5 * largest.sqrt()];
        let norm = limits.iter().map(|limit| limit * limit).sum::<f64>().sqrt();
        let gd = [4.0 / slowest(components.s_xx()), (2.0 * (1.0 / initial_scale).ln() + 6.0) / slowest(components.s_yx())];
        let ngd = [1.2 * norm, 2.0 * limits.iter().sum::<f64>().sqrt()];
        let exact = |key, rule, horizons| Entry { key, rule, reference: rule, horizons };
        let muon = Rule::Muon { momentum: MOMENTUM };
        Ok([
            exact("gd", Rule::Gd, gd),
            exact("ngd", Rule::Ngd, ngd),
            exact("specgd", Rule::SpecGd, spectral),
            Entry { reference: Rule::SpecGd, ..exact("muon", muon, spectral) },
            Entry {
                key: "muon-ns",
                rule: Rule::NewtonSchulz { response, momentum: MOMENTUM },
                reference: Rule::SpecGd,
                horizons: spectral,
            },
        ])
    }

    fn path(&self, case: &Case<'_>, entry: &Entry, moments: &MatrixMoments, trial: u64) -> Result<ComponentPath, Error> {
        let eta = entry.horizons[case.depth - 1] / self.steps as f64;
        let start = SampleStart::Gaussian { depth: case.depth, scale: self.initial_scale, seed: trial };
        let descent = start.simulation(moments, &case.population, entry.rule, eta)?;
        Ok(ComponentPath::follow(descent, &case.population, self.steps, self.steps / TIMES)?)
    }

    /// The population's path: the closed form from zero for the linear model; for the bilinear one, which has none from a random
    /// start, the same descent from the same start on the population's moments.
    fn reference(&self, case: &Case<'_>, entry: &Entry, trial: u64) -> Result<Vec<Vec<f64>>, Error> {
        if case.depth == 2 {
            return Ok(self.path(case, entry, &case.population, trial)?.alpha);
        }
        let eta = entry.horizons[0] / self.steps as f64;
        let times = (0..=self.steps / (self.steps / TIMES)).map(|i| (i * (self.steps / TIMES)) as f64 * eta).collect();
        let config = TrajectoryConfig { rule: entry.reference, times, network: Network::LINEAR, source: Source::ClosedForm };
        Ok(trajectory(case.sampler.mixture(), &config)?.into_iter().map(|row| row.alpha).collect())
    }

    fn case(&self, model: &str, depth: usize, dim: usize, samples: &'static str) -> Result<Case<'_>, Error> {
        let mixture = Mixture::new(self.mixture(Some(dim)))?;
        let population = mixture.matrix_moments()?;
        let sampler = Sampler::new(&mixture, &population)?;
        let samples = if samples == "high" { &self.high_dim_samples } else { &self.samples };
        Ok(Case { name: format!("{model}.d-{dim}"), depth, samples, population, sampler })
    }
}

impl TheoryRun for FiniteSamples {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let setting = |name: &str| format!("{scale}.{name}");
        let mixture = check_mixture(&self.mixture, context)?;
        check_mixture(&self.mixture(Some(self.high_dim)), context)?;
        context.positive("initial_scale", self.initial_scale)?;
        if self.initial_scale >= 1.0 {
            return Err(context.error("initial_scale", format!("{} must be less than 1", self.initial_scale)));
        }
        for (name, sizes) in [("samples", &self.samples), ("high_dim_samples", &self.high_dim_samples)] {
            if sizes.len() < 3 || sizes.windows(2).any(|pair| pair[0] >= pair[1]) {
                let message = format!("{sizes:?} must be at least three increasing sizes, as a slope is fitted");
                return Err(context.error(&setting(name), message));
            }
        }
        let sizes = self.samples.iter().chain(&self.high_dim_samples).chain([&self.shown_samples]);
        if let Some(size) = sizes.into_iter().find(|&&size| size < mixture.classes()) {
            let message = format!("{size} examples cannot hold one of each of the {} classes", mixture.classes());
            return Err(context.error(&setting("samples"), message));
        }
        context.at_least_one(&setting("trials"), self.trials)?;
        if self.steps < TIMES {
            return Err(context.error(&setting("steps"), format!("{} must be at least {TIMES}", self.steps)));
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.mixture.seed
    }

    /// Keys `gd`, `ngd`, `specgd`, `muon` (β = 0.9, exact polar factor) and `muon-ns` (Newton–Schulz).
    ///
    /// - `alpha` over time by component for one sample, split `simulation`, with its reference on the split `closed-form`.
    /// - Split `simulation`, group `MODEL.d-DIM.n-SIZE`: `error`, the mean over samples of sup_t max_c |α̂_c − α_c|, `off_diagonal`, that of the
    ///   largest entry off the diagonal, and both with `_deviation`.
    /// - Group `MODEL.d-DIM`: `slope`, `slope_error` and `intercept` of the power law through `error` over the sizes above `dim`, and the same
    ///   for `off_diagonal` with that name before it.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let dim = self.mixture.dim.unwrap_or(self.mixture.priors.len());
        let cases = [
            self.case("linear", 1, dim, "low")?,
            self.case("bilinear", 2, dim, "low")?,
            self.case("linear", 1, self.high_dim, "high")?,
        ];
        let mut records = self.shown(&cases[0])?;
        for case in &cases {
            let entries = Self::entries(case.sampler.mixture(), self.initial_scale)?;
            let trials: Vec<(usize, u64)> =
                (0..case.samples.len()).flat_map(|size| (0..self.trials as u64).map(move |trial| (size, trial))).collect();
            let references = (0..self.trials as u64)
                .map(|trial| entries.iter().map(|entry| self.reference(case, entry, trial)).collect::<Result<Vec<_>, Error>>())
                .collect::<Result<Vec<_>, Error>>()?;
            let errors: Vec<Vec<[f64; 2]>> = trials
                .par_iter()
                .enumerate()
                .map(|(index, &(size, trial))| {
                    let moments = case.sampler.moments(case.samples[size], self.mixture.seed, index)?.matrices()?;
                    entries
                        .iter()
                        .zip(&references[super::whole(trial as f64)])
                        .map(|(entry, reference)| {
                            let path = self.path(case, entry, &moments, trial)?;
                            Ok([path.largest_deviation(reference), path.largest_off_diagonal()])
                        })
                        .collect()
                })
                .collect::<Result<_, Error>>()?;
            for (place, entry) in entries.iter().enumerate() {
                for (part, name) in ["error", "off_diagonal"].into_iter().enumerate() {
                    let mut means = Vec::new();
                    for (size, &samples) in case.samples.iter().enumerate() {
                        let values: Vec<f64> = trials
                            .iter()
                            .zip(&errors)
                            .filter(|(job, _)| job.0 == size)
                            .map(|(_, errors)| errors[place][part])
                            .collect();
                        let (mean, deviation) = mean_and_deviation(&values);
                        let base = Record::at_step(self.steps as u64).of(entry.key).split("simulation");
                        let base = base.group(&format!("{}.n-{samples}", case.name));
                        records.push(base.clone().metric(name).value(mean));
                        records.push(base.metric(&format!("{name}_deviation")).value(deviation));
                        if samples > case.sampler.mixture().dim() {
                            means.push((samples as f64, mean));
                        }
                    }
                    if let Some(law) = PowerLaw::fit(&means) {
                        let prefix = if part == 0 { "" } else { "off_diagonal_" };
                        let base = Record::at_step(self.steps as u64).of(entry.key).split("simulation").group(&case.name);
                        let parts = [("slope", law.slope), ("slope_error", law.slope_error), ("intercept", law.intercept)];
                        records.extend(parts.map(|(name, value)| base.clone().metric(&format!("{prefix}{name}")).value(value)));
                    }
                }
            }
        }
        Ok(records.into())
    }
}

impl FiniteSamples {
    /// Trajectories on one sample.
    fn shown(&self, case: &Case<'_>) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mixture = case.sampler.mixture();
        let moments = case.sampler.moments(self.shown_samples, self.mixture.seed, usize::from(u16::MAX))?.matrices()?;
        for (c, (prior, limit)) in mixture.priors().iter().zip(mixture.components().limits()).enumerate() {
            let base = Record::at_step(0).of("mixture").split("closed-form").group(&c.to_string());
            records.push(base.clone().metric("prior").value(*prior));
            records.push(base.metric("limit").value(limit));
        }
        for entry in Self::entries(mixture, self.initial_scale)? {
            let each = (self.steps / TIMES) as f64 * entry.horizons[0] / self.steps as f64;
            let path = self.path(case, &entry, &moments, 0)?;
            for (split, rows) in [("closed-form", self.reference(case, &entry, 0)?), ("simulation", path.alpha)] {
                for (mark, row) in rows.into_iter().enumerate() {
                    let base = Record::at_step((mark * (self.steps / TIMES)) as u64)
                        .time(mark as f64 * each)
                        .of(entry.key)
                        .split(split)
                        .metric("alpha");
                    records.extend(row.into_iter().enumerate().map(|(c, alpha)| base.clone().group(&c.to_string()).value(alpha)));
                }
            }
        }
        Ok(records)
    }
}

#[cfg(test)]
mod tests {
    use crate::Experiment;

    #[test]
    fn bad_settings_name_themselves() {
        let text = include_str!("../../../../paper/experiments/a1.toml");
        assert!(Experiment::parse(text, "a1", "a1.toml").is_ok());
        for (from, to, said) in [
            ("priors = [0.5, 0.3, 0.2]", "priors = [0.5, 0.3]", "mixture: priors"),
            ("high_dim = 200", "high_dim = 2", "more classes than dimensions"),
            ("initial_scale = 1e-4", "initial_scale = 0.0", "initial_scale"),
            ("initial_scale = 1e-4", "initial_scale = 1.0", "must be less than 1"),
            ("samples = [100, 300, 1000]", "samples = [100, 300]", "at least three increasing sizes"),
            ("samples = [100, 300, 1000]", "samples = [100, 300, 300]", "at least three increasing sizes"),
            ("samples = [100, 300, 1000]", "samples = [2, 300, 1000]", "2 examples cannot hold one of each of the 3 classes"),
            ("shown_samples = 300", "shown_samples = 0", "0 examples cannot hold"),
            ("trials = 2", "trials = 0", "scale.smoke.trials"),
            ("steps = 150", "steps = 10", "scale.smoke.steps"),
        ] {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text, "{from}");
            let error = Experiment::parse(&broken, "a1", "a1.toml").expect_err("must be refused").to_string();
            assert!(error.contains(said), "{to}: {error}");
        }
    }
}
