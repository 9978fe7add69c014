//! The diagnosis of a data set: its prediction on mixtures, and how the measures of trust bound its error.

use faer::Mat;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use super::{Check, Group, Job, VerifyConfig};
use crate::diagnose::population::Population;
use crate::diagnose::trust::{ANISOTROPY, COSINE, LENGTH_RATIO, RESIDUALS, VARIANCE_RATIO, anisotropy};
use crate::diagnose::{LabelledMoments, Prediction, follow, largest_error};
use crate::error::{Error, Result};
use crate::gaps::gap_curves;
use crate::random::{Purpose, orthonormal, stream};
use crate::rules::Rule;

use super::linear::mixtures;

pub(super) const GROUP: Group = Group {
    title: "Diagnosis of a data set",
    statements: &[
        ("diagnosis-mixture", "The losses predicted from the moments by class of a mixture are those of its closed form"),
        (
            "diagnosis-residual",
            "Where theory says that component j is done, the gradient's row u_j still has the length ε_j s_yx,j",
        ),
        (
            "diagnosis-whole",
            "With an eigenvector residual ε ≤ 0.1 the predicted minority gap is right to 10% of its peak at all times",
        ),
        ("diagnosis-early", "With ε ≤ 3 nine of ten predictions are right to 15% up to the first saturation"),
        ("diagnosis-late", "With ε > 0.3 most predictions are wrong by more than 20% after it: the limit is needed"),
        (
            "diagnosis-limits",
            "Cosine ≤ 0.3, lengths within 4, anisotropy ≤ 1.05 or variances within 10, broken alone, leave it right to 15%",
        ),
    ],
    jobs: &[
        Job { ids: &["diagnosis-mixture"], run: mixture },
        Job { ids: &["diagnosis-residual"], run: residual },
        Job { ids: &["diagnosis-whole", "diagnosis-early", "diagnosis-late", "diagnosis-limits"], run: calibrated },
    ],
};

/// [`Prediction`] from moments built class by class, whose bases come from a singular value decomposition, against `gap_curves`, which
/// knows priors, μ and σ only.
fn mixture(config: &VerifyConfig) -> Result<Vec<Check>> {
    let mut worst = 0.0_f64;
    let mixtures = mixtures(config.seed)?;
    for mixture in &mixtures {
        let population = Population::of_mixture(mixture)?;
        let data = population.moments()?;
        let prediction = Prediction::new(&data, population.projected(data.moments().right()))?;
        let last = prediction.last_saturation();
        let times: Vec<f64> = (0..=20).map(|i| 1.2 * last * f64::from(i) / 20.0).collect();
        for (row, exact) in prediction.at(&times)?.iter().zip(gap_curves(mixture, &times)?) {
            let ngf = exact.ngf.as_ref().map_or(&[][..], |losses| &losses.classes);
            let pairs = [(&row.gd[..], &exact.gf.classes[..]), (&row.ngd[..], ngf), (&row.specgd[..], &exact.spec.classes[..])];
            for (found, exact) in pairs {
                worst = found.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(worst, f64::max);
            }
        }
    }
    let quantity =
        format!("largest difference of the losses by class under three rules at 21 times, {} mixtures", mixtures.len());
    Ok(vec![Check::at_most("diagnosis-mixture", worst, 10.0 * config.tolerance, quantity)])
}

/// The gradient W Σ_xx − Σ_yx of the matrix W = U diag(a*) Vᵀ, multiplied out.
fn residual(config: &VerifyConfig) -> Result<Vec<Check>> {
    const POPULATIONS: usize = 60;
    let mut worst = 0.0_f64;
    for index in 0..POPULATIONS {
        let mut rng = stream(config.seed, Purpose::PerturbedMixtures, TRIALS + index);
        let data = perturbed(KINDS[index % KINDS.len()], 0.8, &mut rng).moments()?;
        let moments = data.moments();
        let limits = moments.components().limits();
        let scaled = Mat::from_fn(moments.left().nrows(), limits.len(), |i, j| moments.left()[(i, j)] * limits[j]);
        let gradient = scaled * moments.right().transpose() * moments.sigma_xx() - moments.sigma_yx();
        let rows = moments.left().transpose() * gradient;
        for (j, residual) in data.eigenvector_residuals().into_iter().enumerate() {
            let strength = moments.components().s_yx()[j];
            worst = worst.max((rows.row(j).norm_l2() / strength - residual).abs());
        }
    }
    let quantity = format!("largest |‖u_jᵀ ∇‖/s_yx,j − ε_j| over the components of {POPULATIONS} perturbed mixtures");
    Ok(vec![Check::at_most("diagnosis-residual", worst, 100.0 * config.tolerance, quantity)])
}

/// Perturbed mixtures of a calibration.
const TRIALS: usize = 180;
/// Steps of each, to 1.2 times the last saturation, and the part of them after which losses are compared.
const STEPS: usize = 250;
const EVERY: usize = 10;

/// The error of the predicted minority gap of GD over `SpecGD`, against matrices followed on the perturbed mixture's moments, and the measures
/// of trust that were to foresee it.
fn calibrated(config: &VerifyConfig) -> Result<Vec<Check>> {
    let trials = (0..TRIALS).into_par_iter().map(|index| trial(config.seed, index)).collect::<Result<Vec<_>>>()?;
    let of = |wanted: &dyn Fn(&Trial) -> bool, error: fn(&Trial) -> f64| -> Vec<f64> {
        let mut errors: Vec<f64> = trials.iter().filter(|trial| wanted(trial)).map(error).collect();
        errors.sort_by(f64::total_cmp);
        errors
    };
    let quantile = |errors: &[f64], part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the length")]
        let index = (part * (errors.len() as f64 - 1.0)).round() as usize;
        errors.get(index).copied().unwrap_or(f64::NAN)
    };
    let whole = of(&|trial| trial.residual <= RESIDUALS[0], |trial| trial.whole);
    let early = of(&|trial| trial.residual <= RESIDUALS[2], |trial| trial.early);
    let late = of(&|trial| trial.residual > RESIDUALS[1], |trial| trial.whole);
    let alone = of(&Trial::broken_alone_within_its_limit, |trial| trial.whole);
    let text = |what: &str, errors: &[f64]| {
        format!(
            "{what} relative error of the minority gap, {} of {TRIALS} perturbed mixtures, against simulated matrices",
            errors.len()
        )
    };
    Ok(vec![
        Check::at_most("diagnosis-whole", quantile(&whole, 1.0), 0.1, text("largest", &whole)),
        Check::at_most("diagnosis-early", quantile(&early, 0.9), 0.15, text("0.9 quantile up to t* of the", &early)),
        Check::at_least("diagnosis-late", quantile(&late, 0.5), 0.2, text("median", &late)),
        Check::at_most("diagnosis-limits", quantile(&alone, 1.0), 0.15, text("largest", &alone)),
    ])
}

/// In what respect a mixture is perturbed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Means lean towards a common direction.
    Cosine,
    /// Means of unequal lengths.
    Lengths,
    /// A common covariance with unequal eigenvalues in random directions.
    Anisotropy,
    /// Isotropic covariances of unequal size.
    Variances,
    /// Gaussian noise on Σ_xx and the means, as of a finite sample.
    Sample,
    /// All together.
    All,
}

const KINDS: [Kind; 6] = [Kind::Cosine, Kind::Lengths, Kind::Anisotropy, Kind::Variances, Kind::Sample, Kind::All];

/// A random mixture with one assumption broken by `strength` in \[0, 1\].
fn perturbed(kind: Kind, strength: f64, rng: &mut ChaCha8Rng) -> Population {
    let k = rng.random_range(3..=8);
    let d = k + rng.random_range(2..=20);
    let (mu, sigma) = (10_f64.powf(rng.random_range(-0.3..0.7)), 1.0);
    // From one to thirty times rarer, spread over the classes.
    let ratio = 30_f64.powf(rng.random_range(0.2..1.0));
    let counts: Vec<usize> = (0..k)
        .map(|class| {
            let weight = ratio.powf(-(class as f64) / (k - 1) as f64);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 3000")]
            let count = (3000.0 * weight).round() as usize;
            count
        })
        .collect();
    let is = |wanted: Kind| kind == wanted || kind == Kind::All;
    let v = orthonormal(d, k + 1, rng);
    let mut means = Mat::from_fn(k, d, |class, i| mu * v[(i, class)]);
    if is(Kind::Cosine) {
        // cos between two means is c² for m = μ (√(1 − c²) v + c u).
        let c = strength.sqrt() * 0.95;
        means = Mat::from_fn(k, d, |class, i| mu * ((1.0 - c * c).sqrt() * v[(i, class)] + c * v[(i, k)]));
    }
    if is(Kind::Lengths) {
        for class in 0..k {
            let factor = 4_f64.powf(strength * rng.random_range(-0.5..0.5));
            for i in 0..d {
                means[(class, i)] *= factor;
            }
        }
    }
    let basis = orthonormal(d, d, rng);
    let spread: Vec<f64> =
        (0..d).map(|_| if is(Kind::Anisotropy) { 1e4_f64.powf(strength * rng.random_range(-0.5..0.5)) } else { 1.0 }).collect();
    let scaled = Mat::from_fn(d, d, |i, j| basis[(i, j)] * spread[j] * sigma * sigma);
    let common = &scaled * basis.transpose();
    let mut covariances: Vec<Mat<f64>> = (0..k)
        .map(|_| {
            let factor = if is(Kind::Variances) { 10_f64.powf(strength * rng.random_range(-0.5..0.5)) } else { 1.0 };
            faer::Scale(factor) * &common
        })
        .collect();
    if kind == Kind::Sample {
        // Moments of Gaussian samples, from 100 d to 3 d of them for a class.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 3 to 100 times d")]
        let n = (d as f64 * 100.0 * 0.03_f64.powf(strength)) as usize;
        for class in 0..k {
            let noise: Mat<f64> = Mat::from_fn(n, d, |_, _| StandardNormal.sample(rng));
            covariances[class] = faer::Scale(sigma * sigma / n as f64) * (noise.transpose() * &noise);
            for i in 0..d {
                let drift: f64 = StandardNormal.sample(rng);
                means[(class, i)] += sigma * drift / (n as f64).sqrt();
            }
        }
    }
    Population { counts, means, covariances }
}

/// What the prediction missed on one population.
#[derive(Debug, Clone)]
struct Trial {
    kind: Kind,
    data: LabelledMoments,
    /// The largest eigenvector residual.
    residual: f64,
    /// Relative error up to the first saturation.
    early: f64,
    /// The same up to the end.
    whole: f64,
}

impl Trial {
    fn broken_alone_within_its_limit(&self) -> bool {
        let ratio =
            |values: &[f64]| values.iter().copied().fold(0.0, f64::max) / values.iter().copied().fold(f64::INFINITY, f64::min);
        match self.kind {
            Kind::Cosine => self.data.largest_cosine() <= COSINE,
            Kind::Lengths => ratio(&self.data.mean_norms()) <= LENGTH_RATIO,
            Kind::Anisotropy => anisotropy(&self.data) <= ANISOTROPY,
            Kind::Variances => ratio(self.data.variances()) <= VARIANCE_RATIO,
            Kind::Sample | Kind::All => false,
        }
    }
}

fn trial(seed: u64, index: usize) -> Result<Trial> {
    let mut rng = stream(seed, Purpose::PerturbedMixtures, index);
    let kind = KINDS[index % KINDS.len()];
    let strength = rng.random_range(0.0..1.0);
    let population = perturbed(kind, strength, &mut rng);
    let data = population.moments()?;
    let prediction = Prediction::new(&data, population.projected(data.moments().right()))?;
    let eta = (1.2 * prediction.last_saturation() / STEPS as f64).min(1.0 / data.largest_eigenvalue()?);
    // As many before the first saturation as there are after it, and the first saturation itself.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 250")]
    let first = ((prediction.first_saturation() / eta) as usize).min(STEPS);
    let mut steps: Vec<usize> = (1..=10).map(|part| first * part / 10).chain((0..=STEPS).step_by(EVERY)).collect();
    steps.sort_unstable();
    steps.dedup();
    let times: Vec<f64> = steps.iter().map(|&step| step as f64 * eta).collect();
    let measured = |rule: Rule| -> Result<Vec<f64>> {
        let mut losses = Vec::new();
        follow::<Error>(data.moments(), rule, eta, &steps, |_, weights| {
            losses.push(prediction.minority_of(&population.losses(weights)));
            Ok(())
        })?;
        Ok(losses)
    };
    let (gd, spec) = (measured(Rule::Gd)?, measured(Rule::SpecGd)?);
    let rows = prediction.at(&times)?;
    let gap = |row: &crate::diagnose::LossRow| prediction.minority_of(&row.gd) - prediction.minority_of(&row.specgd);
    let predicted: Vec<(f64, f64)> = rows.iter().map(|row| (row.t, gap(row))).collect();
    let found: Vec<(f64, f64)> = times.iter().zip(gd.iter().zip(&spec)).map(|(&t, (gd, spec))| (t, gd - spec)).collect();
    let early = largest_error(&predicted, &found, prediction.first_saturation()).unwrap_or(0.0);
    let whole = largest_error(&predicted, &found, f64::INFINITY).unwrap_or(0.0);
    let residual = data.eigenvector_residuals().into_iter().fold(0.0, f64::max);
    Ok(Trial { kind, data, residual, early, whole })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that the derivation quotes.
    #[test]
    #[ignore = "prints the calibration: cargo test --release -p isorate-theory calibration -- --ignored --nocapture"]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a length")]
    fn calibration() {
        let trials: Vec<Trial> = (0..2400).into_par_iter().map(|index| trial(0, index).expect("follows")).collect();
        let bounds = [0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 4.0, 1e9];
        for pair in bounds.windows(2) {
            let chosen = || trials.iter().filter(|trial| trial.residual > pair[0] && trial.residual <= pair[1]);
            let quantiles = |error: fn(&Trial) -> f64| {
                let mut errors: Vec<f64> = chosen().map(error).collect();
                errors.sort_by(f64::total_cmp);
                [0.5, 0.9, 1.0].map(|part| errors.get((part * (errors.len() as f64 - 1.0)) as usize).copied().unwrap_or(f64::NAN))
            };
            let (early, whole) = (quantiles(|trial| trial.early), quantiles(|trial| trial.whole));
            println!("{:?}: {} trials, early {early:.3?}, whole {whole:.3?}", pair, chosen().count());
        }
        for kind in KINDS {
            let mut errors: Vec<f64> = trials
                .iter()
                .filter(|trial| trial.kind == kind && trial.broken_alone_within_its_limit())
                .map(|trial| trial.whole)
                .collect();
            errors.sort_by(f64::total_cmp);
            println!("{kind:?} alone within its limit: {} trials, largest whole error {:?}", errors.len(), errors.last());
        }
    }
}
