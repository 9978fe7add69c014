//! Diagnosis of a labelled data set: would a spectral optimizer help on it, and until when?

mod curves;
mod records;
mod report;
mod source;

use isorate_data::{ClassLoss, ClassMoments, LabelledFeatures, Table, Treatment, step_imbalance};
use isorate_theory::{LabelledMoments, Plan, Prediction, Rule, trust};

use self::curves::{Curves, equal_loss, gaps, minority};
use self::report::{Accuracies, ClassReport, ComponentReport, IdealReport};
pub use self::report::{DiagnosisReport, EqualLoss, GapReport};
pub use self::source::Source;
pub(crate) use self::source::{IMAGE_SETS, NAMES, checksum, named};
use crate::Error;
use crate::runner::single_threaded;

/// Numbers of steps at which losses are measured, about.
const MARKS: usize = 48;

/// How a data set is diagnosed.
#[derive(Clone, Debug, Default)]
pub struct DiagnosisConfig {
    /// STEP imbalance: the last half of the classes keep this many times fewer rows than the largest class.
    pub step: Option<f64>,
    /// Seed of the random subsets.
    pub seed: u64,
    /// What is done to the features; by default raw for images and standardized for tables.
    pub treatment: Option<Treatment>,
    /// Step size η of the rules; chosen from the data if absent.
    pub eta: Option<f64>,
}

/// Diagnoses a data set.
///
/// The training rows, made imbalanced if that is asked for, and treated, give the moments; these give the predicted losses of a
/// linear model under gradient descent (GD), normalized gradient descent (NGD) and spectral gradient descent (`SpecGD`). Then the three
/// rules are followed with real matrices on the moments as they are, and the losses of each class are measured on the training rows, and on
/// held-out rows where the source has some.
pub fn diagnose(source: &Source, config: &DiagnosisConfig) -> Result<DiagnosisReport, Error> {
    // A sum that is split over threads depends, in its last bits, on their number.
    single_threaded(|| report(source, config))
}

fn report(source: &Source, config: &DiagnosisConfig) -> Result<DiagnosisReport, Error> {
    let treatment = config.treatment.unwrap_or(source.default_treatment());
    let (mut train, mut held_out) = (source.train.clone(), source.held_out.clone());
    if held_out.is_none() {
        (train, held_out) = source::split(train, config.seed)?;
    }
    if let Some(ratio) = config.step {
        train = train.select(&step_imbalance(train.labels(), train.class_names().len(), ratio, config.seed)?)?;
    }
    let treated = treatment.fit(&train)?;
    let features = treated.apply(&train);
    let rows = LabelledFeatures::new(&features, treated.dim(), train.labels(), train.class_names().len())?;
    let moments = ClassMoments::new(&rows)?;
    let data = LabelledMoments::new(moments.counts, moments.means, moments.second, moments.variances)?;
    let prediction = Prediction::new(&data, ClassMoments::projected(&rows, data.moments().right())?)?;
    let plan = Plan::new(&data, config.eta, MARKS)?;
    let held = held_out.as_ref().map(|table| (treated.apply(table), table));
    let held = match &held {
        Some((features, table)) => {
            Some(LabelledFeatures::new(features, treated.dim(), table.labels(), table.class_names().len())?)
        }
        None => None,
    };
    let curves = Curves::measure(&data, &prediction, &plan, &rows, held.as_ref())?;
    let (measures, trust) = trust(&data);
    Ok(DiagnosisReport {
        data: source.name.clone(),
        rows: train.len(),
        features: treated.dim(),
        constant_columns: treated.constant().to_vec(),
        treatment: report::treatment_name(treatment).to_owned(),
        held_out_rows: held_out.as_ref().map_or(0, Table::len),
        held_out_from: if source.held_out.is_some() { "its own test part" } else { "a random quarter of each class" }.to_owned(),
        step_ratio: config.step,
        seed: config.seed,
        imbalance: data.imbalance(),
        mean_length: data.mean_norm_squared().sqrt(),
        noise_std: data.noise_variance().sqrt(),
        snr: data.mean_norm_squared() / data.noise_variance(),
        largest_cosine: data.largest_cosine(),
        classes: classes(&data, &prediction, &train)?,
        components: components(&data),
        measures,
        trust,
        ideal: ideal(&data),
        step_size: plan.eta,
        stability_limit: 2.0 / plan.largest_eigenvalue,
        steps: plan.steps.last().copied().unwrap_or(0),
        first_saturation: prediction.first_saturation(),
        last_saturation: prediction.last_saturation(),
        gaps: gaps(&curves, &prediction, &plan)?,
        equal_loss: equal_loss(&curves, &data, &plan),
        accuracies: accuracies(&curves),
    })
}

fn classes(data: &LabelledMoments, prediction: &Prediction, table: &Table) -> Result<Vec<ClassReport>, Error> {
    let (gd, spec) = (prediction.half_times(Rule::Gd)?, prediction.half_times(Rule::SpecGd)?);
    let limits = data.components().limits();
    let (norms, minority) = (data.mean_norms(), data.minority());
    let matches = data.matches();
    Ok((0..norms.len())
        .map(|class| ClassReport {
            name: table.class_names()[class].clone(),
            count: data.counts()[class],
            prior: data.priors()[class],
            minority: minority.contains(&class),
            mean_length: norms[class],
            variance: data.variances()[class] / data.means().ncols() as f64,
            component: matches[class].component,
            overlap: matches[class].overlap,
            saturation_time: limits[matches[class].component],
            half_time_gd: gd[class],
            half_time_specgd: spec[class],
        })
        .collect())
}

fn components(data: &LabelledMoments) -> Vec<ComponentReport> {
    let components = data.components();
    let residuals = data.eigenvector_residuals();
    (0..components.len())
        .map(|index| ComponentReport {
            s_yx: components.s_yx()[index],
            s_xx: components.s_xx()[index],
            saturation_time: components.s_yx()[index] / components.s_xx()[index],
            eigenvector_residual: residuals[index],
        })
        .collect()
}

fn ideal(data: &LabelledMoments) -> Option<IdealReport> {
    let mixture = data.idealized()?;
    Some(IdealReport { horizon: mixture.horizon(), violated_conditions: mixture.violated_conditions() })
}

/// Accuracies when `SpecGD` has its largest measured lead over NGD in the minority loss.
fn accuracies(curves: &Curves) -> Vec<Accuracies> {
    let measured = [("training", Some(&curves.train)), ("held-out", curves.held_out.as_ref())];
    let parts = measured.into_iter().filter_map(|(rows, part)| Some((rows, part?)));
    parts
        .map(|(rows, part)| {
            let of = |path: &[Vec<ClassLoss>], index: usize| minority(&path[index], &curves.minority);
            let lead = |index: usize| of(&part.ngd, index) - of(&part.specgd, index);
            let mut best = 0;
            for index in 0..part.ngd.len() {
                if lead(index) > lead(best) {
                    best = index;
                }
            }
            let of = |losses: &[ClassLoss]| {
                let mean = |classes: &[usize]| classes.iter().map(|&c| losses[c].accuracy).sum::<f64>() / classes.len() as f64;
                (mean(&curves.minority), mean(&(0..losses.len()).collect::<Vec<_>>()))
            };
            Accuracies {
                rows: rows.to_owned(),
                step: curves.steps[best],
                minority: [of(&part.gd[best]).0, of(&part.ngd[best]).0, of(&part.specgd[best]).0],
                balanced: [of(&part.gd[best]).1, of(&part.ngd[best]).1, of(&part.specgd[best]).1],
            }
        })
        .collect()
}
