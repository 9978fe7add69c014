//! Finite samples, and the cross-entropy of a population.

use super::{Check, Group, Job, VerifyConfig};
use crate::discrete::discrete;
use crate::error::Result;
use crate::finite_sample::{ComponentPath, PowerLaw, SampleStart};
use crate::mixture::{Mixture, MixtureConfig};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::newton_schulz::NewtonSchulz;
use crate::rules::Rule;
use crate::sample_error::{gd_sampling_deviation, specgd_rate_loss, specgd_rate_share};
use crate::sampling::Sampler;
use crate::softmax::{PopulationLoss, SampleLoss};

pub(super) const GROUP: Group = Group {
    title: "Finite samples and cross-entropy",
    statements: &[
        (
            "softmax-population",
            "The population gradient of the cross-entropy is Σ_c p_c (E_c[s] − e_c) ⊗ μ_c + σ² E[diag(s) − s sᵀ] W",
        ),
        (
            "sample-gd-constant",
            "√n times the error of α_c under GD on n examples has the standard deviation that the delta method gives from the moments' errors",
        ),
        ("sample-gd-slope", "The largest error of GD's components on n examples decays as n^(−1/2)"),
        ("sample-specgd-slope", "So does the largest error of SpecGD's components over the whole path"),
        (
            "sample-specgd-ramp",
            "Before half of the first saturation it decays as n^(−1): equal rates are insensitive to sampling",
        ),
        (
            "sample-specgd-rate",
            "SpecGD's first step loses [Σ_j≠c 1/(p_c + p_j) + (d − k)/p_c]/(2 SNR n) of component c on average",
        ),
        ("sample-few", "With fewer examples than dimensions SpecGD's rates are (1 + (d − k)/(SNR p_c n))^(−1/2)"),
        ("sample-muon", "On one sample Muon with β = 0.9 differs from SpecGD by at most 1.5 η β/(1 − β), uniformly in η"),
        ("sample-newton-schulz", "With Newton–Schulz Muon's components grow at rates in [0.67, 1.14] until the first saturation"),
    ],
    jobs: &[
        Job { ids: &["softmax-population"], run: softmax_population },
        Job { ids: &["sample-gd-constant"], run: gd_constant },
        Job { ids: &["sample-gd-slope", "sample-specgd-slope", "sample-specgd-ramp"], run: slopes },
        Job { ids: &["sample-specgd-rate"], run: specgd_rate },
        Job { ids: &["sample-few"], run: few },
        Job { ids: &["sample-muon", "sample-newton-schulz"], run: muon },
    ],
};

/// A mixture with the priors of F2, its population moments and a sampler.
struct Problem {
    mixture: Mixture,
    population: MatrixMoments,
    sampler: Sampler,
}

impl Problem {
    fn new(mean_norm: f64, dim: usize, seed: u64) -> Result<Self> {
        let mixture =
            Mixture::new(MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm, noise_std: 1.0, dim: Some(dim), seed })?;
        let population = mixture.matrix_moments()?;
        let sampler = Sampler::new(&mixture, &population)?;
        Ok(Self { mixture, population, sampler })
    }

    /// The path from W(0) = 0 on the moments of a sample.
    fn path(
        &self,
        samples: usize,
        draw: (u64, usize),
        rule: Rule,
        eta: f64,
        steps: usize,
        every: usize,
    ) -> Result<ComponentPath> {
        let moments = self.sampler.moments(samples, draw.0, draw.1)?.matrices()?;
        let descent = SampleStart::Zero.simulation(&moments, &self.population, rule, eta)?;
        ComponentPath::follow(descent, &self.population, steps, every)
    }
}

fn softmax_population(config: &VerifyConfig) -> Result<Vec<Check>> {
    const SAMPLES: usize = 40_000;
    const BATCHES: usize = 40;
    let Problem { sampler, .. } = Problem::new(2.0, 6, config.seed)?;
    // A classifier half trained, with noise in all directions.
    let means = sampler.class_means();
    let weights = faer::Mat::from_fn(3, 6, |i, j| 0.3 * means[(j, i)] + 0.2 * ((7 * i + 3 * j) as f64).sin());
    let (_, exact) = PopulationLoss::new(&sampler, 30_000, config.seed)?.evaluate(weights.as_ref(), 0)?;
    // The spread of the entries of the estimate, from batches.
    let batches = (0..BATCHES)
        .map(|index| Ok(SampleLoss::new(&sampler.sample(SAMPLES / BATCHES, config.seed, index)?).evaluate(weights.as_ref()).1))
        .collect::<Result<Vec<_>>>()?;
    let (mut worst, mut place) = (0.0_f64, (0, 0));
    for i in 0..3 {
        for j in 0..6 {
            let values: Vec<f64> = batches.iter().map(|batch| batch[(i, j)]).collect();
            let (mean, deviation) = mean_and_deviation(&values);
            let errors = (mean - exact[(i, j)]).abs() / (deviation / (BATCHES as f64).sqrt());
            if errors.is_nan() || errors > worst {
                (worst, place) = (errors, (i, j));
            }
        }
    }
    let quantity = format!(
        "largest difference of an entry from the mean over {SAMPLES} inputs in R^6, in standard errors of that mean, at {place:?}"
    );
    Ok(vec![Check::at_most("softmax-population", worst, 5.0, quantity)])
}

fn gd_constant(config: &VerifyConfig) -> Result<Vec<Check>> {
    const SAMPLES: usize = 1000;
    const TRIALS: usize = 500;
    let (eta, times) = (0.02, [0.2, 1.0, 3.0]);
    let problem = Problem::new(2.0, 4, config.seed)?;
    // Every 10 steps: 0.2.
    let paths = (0..TRIALS)
        .map(|trial| problem.path(SAMPLES, (config.seed, trial), Rule::Gd, eta, 150, 10))
        .collect::<Result<Vec<_>>>()?;
    let (mut worst, mut place) = (0.0_f64, (0.0, 0));
    for (time, mark) in times.into_iter().zip([1, 5, 15]) {
        for (class, expected) in gd_sampling_deviation(&problem.mixture, time).into_iter().enumerate() {
            let values: Vec<f64> = paths.iter().map(|path| path.alpha[mark][class]).collect();
            let measured = mean_and_deviation(&values).1 * (SAMPLES as f64).sqrt();
            let error = (measured / expected - 1.0).abs();
            if error.is_nan() || error > worst {
                (worst, place) = (error, (time, class));
            }
        }
    }
    let quantity = format!(
        "largest relative difference of the deviations over {TRIALS} samples of {SAMPLES} (each known to 3%), t = 0.2, 1, 3, at t = {}, class {}",
        place.0, place.1
    );
    Ok(vec![Check::at_most("sample-gd-constant", worst, 0.15, quantity)])
}

fn slopes(config: &VerifyConfig) -> Result<Vec<Check>> {
    // After saturation a path alternates by η: errors must stay well above that, which ends SpecGD's sizes at 4,000.
    const GD: Sizes = Sizes { rule: Rule::Gd, horizon: 3.0, steps: 120, doublings: 6 };
    const SPEC: Sizes = Sizes { rule: Rule::SpecGd, horizon: 0.45, steps: 240, doublings: 4 };
    let problem = Problem::new(2.0, 5, config.seed)?;
    let half = 0.5 * problem.mixture.horizon() / SPEC.horizon;
    let (gd, _) = GD.errors(&problem, config.seed, 1.0)?;
    let (specgd, ramp) = SPEC.errors(&problem, config.seed, half)?;
    let check = |id, points: &[(f64, f64)], expected: f64, bound| {
        let law = PowerLaw::fit(points);
        let slope = law.map_or(f64::NAN, |law| law.slope);
        let quantity = format!(
            "distance from {expected} of the slope, {slope:.3} ± {:.3}, of the mean over {} samples, n from 250 to {}, d = 5",
            law.map_or(f64::NAN, |law| law.slope_error),
            Sizes::TRIALS,
            points.last().map_or(0.0, |point| point.0),
        );
        Check::at_most(id, (slope - expected).abs(), bound, quantity)
    };
    Ok(vec![
        check("sample-gd-slope", &gd, -0.5, 0.12),
        check("sample-specgd-slope", &specgd, -0.5, 0.12),
        check("sample-specgd-ramp", &ramp, -1.0, 0.15),
    ])
}

/// (n, error).
type Points = Vec<(f64, f64)>;

/// Paths on samples of 250, 500, … examples.
struct Sizes {
    rule: Rule,
    horizon: f64,
    steps: usize,
    doublings: u32,
}

impl Sizes {
    const TRIALS: usize = 32;

    /// Mean over samples of the largest error on the whole path and up to the fraction `until` of it, by number of examples.
    fn errors(&self, problem: &Problem, seed: u64, until: f64) -> Result<(Points, Points)> {
        let eta = self.horizon / self.steps as f64;
        let steps: Vec<usize> = (0..=self.steps).collect();
        let reference = discrete(&problem.mixture.components(), &Network::LINEAR, self.rule, eta, &steps)?;
        let early = reference.iter().zip(&steps).take_while(|(_, step)| **step as f64 <= until * self.steps as f64).count();
        let (mut whole, mut beginning) = (Vec::new(), Vec::new());
        for power in 0..=self.doublings {
            let size = 250 << power;
            let (mut all, mut first) = (0.0, 0.0);
            for trial in 0..Self::TRIALS {
                // Samples of different sizes are independent too.
                let draw = (seed, Self::TRIALS * power as usize + trial);
                let path = problem.path(size, draw, self.rule, eta, self.steps, 1)?;
                all += path.largest_deviation(&reference) / Self::TRIALS as f64;
                first += path.largest_deviation(&reference[..early]) / Self::TRIALS as f64;
            }
            whole.push((size as f64, all));
            beginning.push((size as f64, first));
        }
        Ok((whole, beginning))
    }
}

/// The first step of `SpecGD`, with η = 1: the diagonal of polar(Σ̂_yx), over samples.
fn first_steps(problem: &Problem, samples: usize, trials: usize, seed: u64) -> Result<Vec<Vec<f64>>> {
    (0..trials).map(|trial| Ok(problem.path(samples, (seed, trial), Rule::SpecGd, 1.0, 1, 1)?.alpha.swap_remove(1))).collect()
}

fn column(rows: &[Vec<f64>], class: usize) -> Vec<f64> {
    rows.iter().map(|row| row[class]).collect()
}

fn specgd_rate(config: &VerifyConfig) -> Result<Vec<Check>> {
    const SAMPLES: usize = 500;
    const TRIALS: usize = 1000;
    let problem = Problem::new(3.0, 4, config.seed)?;
    let steps = first_steps(&problem, SAMPLES, TRIALS, config.seed)?;
    let (mut worst, mut place) = (0.0_f64, 0);
    for (class, expected) in specgd_rate_loss(&problem.mixture).into_iter().enumerate() {
        let mean = mean_and_deviation(&column(&steps, class)).0;
        let error = (SAMPLES as f64 * (1.0 - mean) / expected - 1.0).abs();
        if error.is_nan() || error > worst {
            (worst, place) = (error, class);
        }
    }
    let quantity =
        format!("largest relative error of the constant over {TRIALS} samples of {SAMPLES}, SNR 9, d = 4, at class {place}");
    Ok(vec![Check::at_most("sample-specgd-rate", worst, 0.12, quantity)])
}

fn few(config: &VerifyConfig) -> Result<Vec<Check>> {
    const DIM: usize = 120;
    let problem = Problem::new(2.0, DIM, config.seed)?;
    let (mut worst, mut place) = (0.0_f64, (0, 0));
    for samples in [40, 80, 120] {
        let steps = first_steps(&problem, samples, 200, config.seed)?;
        for (class, expected) in specgd_rate_share(&problem.mixture, samples).into_iter().enumerate() {
            let error = (mean_and_deviation(&column(&steps, class)).0 / expected - 1.0).abs();
            if error.is_nan() || error > worst {
                (worst, place) = (error, (samples, class));
            }
        }
    }
    let quantity = format!(
        "largest relative difference of the mean rate over 200 samples, n = 40, 80, 120, d = {DIM}, at n = {}, class {}",
        place.0, place.1
    );
    Ok(vec![Check::at_most("sample-few", worst, 0.06, quantity)])
}

fn muon(config: &VerifyConfig) -> Result<Vec<Check>> {
    const BETA: f64 = 0.9;
    let problem = Problem::new(2.0, 5, config.seed)?;
    let first = problem.mixture.horizon();
    let (mut distance, mut place) = (0.0_f64, (0, 0.0));
    let (mut rate, mut at) = (0.0_f64, 0);
    for samples in [200, 2000] {
        for trial in 0..3 {
            for steps in [100_usize, 200, 400] {
                let eta = 0.9 / steps as f64;
                let path = |rule| problem.path(samples, (config.seed, trial), rule, eta, steps, 1);
                let specgd = path(Rule::SpecGd)?;
                let muon = path(Rule::Muon { momentum: BETA })?;
                let difference = muon.largest_deviation(&specgd.alpha) / (eta * BETA / (1.0 - BETA));
                if difference.is_nan() || difference > distance {
                    (distance, place) = (difference, (samples, eta));
                }
                if steps < 400 {
                    continue;
                }
                let newton_schulz = path(Rule::NewtonSchulz { response: NewtonSchulz::new(5)?, momentum: BETA })?;
                // The update may be 1.13 times as large, so that saturation comes as much earlier.
                let ramp =
                    newton_schulz.alpha.iter().enumerate().skip(1).take_while(|(step, _)| eta * *step as f64 <= 0.8 * first);
                for (step, alphas) in ramp {
                    for alpha in alphas {
                        // 0 in the middle of [0.67, 1.14], 1 at its ends.
                        let off = ((alpha / (eta * step as f64) - 0.905) / 0.235).abs();
                        if off.is_nan() || off > rate {
                            (rate, at) = (off, samples);
                        }
                    }
                }
            }
        }
    }
    let distances = format!(
        "largest distance divided by η β/(1 − β), η = 0.009 to 0.00225, n = 200 and 2,000, three samples each, at n = {}, η = {:.5}",
        place.0, place.1
    );
    let rates = format!(
        "largest distance of the sample's α_c/t from the middle of [0.67, 1.14] in half widths, t ≤ 0.8 t*, same samples, at n = {at}"
    );
    Ok(vec![Check::at_most("sample-muon", distance, 1.5, distances), Check::at_most("sample-newton-schulz", rate, 1.0, rates)])
}

/// Mean and sample standard deviation.
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}
