//! From a specification and a scale to tasks with an identity.

use isorate_data::{ImageSource, Origin};
use isorate_results::{Header, Provenance};
use serde_json::{Value, json};

use crate::colored::ColoredMnistRun;
use crate::moments::MomentsRun;
use crate::spec::{Experiment, Kind, OptimizerSpec, Scale, Training, TrainingScale};
use crate::theory::{ScaledTheory, Theory};
use crate::training::TrainingRun;
use crate::{Error, Tuned};

/// Part of every identity: raise it when the same specification would give other numbers, so that stored ones are not
/// taken for them.
const REVISION: u32 = 1;

/// One run that a specification asks for.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name of the experiment in the store.
    pub experiment: String,
    /// How much is computed.
    pub scale: Scale,
    /// The seed of every random stream of the run.
    pub seed: u64,
    /// What distinguishes the run within its experiment, for people.
    pub label: String,
    pub(crate) work: Work,
    spec: Value,
}

/// What a task does.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Training(Box<TrainingRun>),
    Moments(MomentsRun),
    Theory(ScaledTheory),
}

impl Task {
    fn new(experiment: &Experiment, scale: Scale, seed: u64, label: String, work: Work) -> Self {
        let mut spec = match &work {
            Work::Training(run) => run.spec(),
            Work::Moments(run) => run.spec(),
            Work::Theory(run) => run.spec(),
        };
        spec["experiment"] = json!(experiment.id);
        spec["scale"] = json!(scale.name());
        spec["seed"] = json!(seed);
        spec["revision"] = json!(REVISION);
        Self { experiment: experiment.id.clone(), scale, seed, label, work, spec }
    }

    /// The header that the task's run will have, with the identifier that it is stored under.
    pub fn header(&self, provenance: Provenance) -> Result<Header, Error> {
        Ok(Header::new(&self.experiment, self.scale.name(), self.seed, self.spec.clone(), provenance)?)
    }
}

/// The runs that the figures of an experiment need, at the step sizes that were chosen, on images from `origin`.
pub fn plan(experiment: &Experiment, scale: Scale, tuned: &Tuned, origin: &Origin) -> Result<Vec<Task>, Error> {
    let training = match &experiment.kind {
        Kind::Training(training) => training,
        Kind::Theory(theory) => {
            let run = Theory::at(theory, scale, origin)?.ok_or_else(|| experiment.no_scale(scale))?;
            return Ok(vec![Task::new(experiment, scale, run.seed(), run.label(), Work::Theory(run))]);
        }
    };
    let sizes = training.at(scale).ok_or_else(|| experiment.no_scale(scale))?;
    let chosen: Vec<(&OptimizerSpec, f64)> = training
        .optimizers
        .iter()
        .map(|optimizer| match tuned.step_size(&optimizer.key) {
            Some(step_size) => Ok((optimizer, step_size)),
            None => Err(experiment.context().error(
                &format!("optimizers.{}", optimizer.key),
                format!(
                    "no step size has been chosen for `{}`\nhint: `isorate tune {}` chooses one on validation data",
                    optimizer.key, experiment.file
                ),
            )),
        })
        .collect::<Result<_, _>>()?;
    let digits = digits(experiment, scale, sizes, origin)?;
    let first = sizes.seeds[0];
    let moments = Work::Moments(MomentsRun { data: data(training, &digits, sizes, first) });
    let mut tasks = vec![Task::new(experiment, scale, first, format!("data moments, seed {first}"), moments)];
    // Seeds outside, so that runs on the same data follow each other.
    for &seed in &sizes.seeds {
        for &(optimizer, step_size) in &chosen {
            tasks.push(training_task(
                experiment,
                training,
                scale,
                sizes,
                optimizer,
                step_size,
                data(training, &digits, sizes, seed),
            )?);
        }
    }
    Ok(tasks)
}

/// The runs that choosing step sizes needs: every optimizer at every step size of its grid, for every tuning seed, on images from
/// `origin`.
pub fn plan_tuning(experiment: &Experiment, scale: Scale, origin: &Origin) -> Result<Vec<Task>, Error> {
    let Kind::Training(training) = &experiment.kind else {
        return Err(experiment.context().error("kind", "only training experiments have step sizes to choose"));
    };
    let sizes = training.at(scale).ok_or_else(|| experiment.no_scale(scale))?;
    let digits = digits(experiment, scale, sizes, origin)?;
    let mut tasks = Vec::new();
    for &seed in &sizes.tuning_seeds {
        for optimizer in &training.optimizers {
            for &step_size in &optimizer.step_sizes {
                tasks.push(training_task(
                    experiment,
                    training,
                    scale,
                    sizes,
                    optimizer,
                    step_size,
                    data(training, &digits, sizes, seed),
                )?);
            }
        }
    }
    Ok(tasks)
}

/// The digits, if the origin has as many as the scale asks for.
fn digits(experiment: &Experiment, scale: Scale, sizes: &TrainingScale, origin: &Origin) -> Result<ImageSource, Error> {
    if origin == &Origin::Embedded {
        sizes.check_embedded(&experiment.context(), scale)?;
    }
    Ok(ImageSource::find("mnist", origin)?)
}

fn data(training: &Training, digits: &ImageSource, sizes: &TrainingScale, seed: u64) -> ColoredMnistRun {
    ColoredMnistRun {
        digits: digits.clone(),
        correlation: training.data.correlation,
        train: sizes.train,
        validation: sizes.validation,
        test: sizes.test,
        seed,
    }
}

fn training_task(
    experiment: &Experiment,
    training: &Training,
    scale: Scale,
    sizes: &TrainingScale,
    optimizer: &OptimizerSpec,
    step_size: f64,
    data: ColoredMnistRun,
) -> Result<Task, Error> {
    let seed = data.seed;
    let run = TrainingRun {
        data,
        model: training.model.clone(),
        key: optimizer.key.clone(),
        step_size,
        groups: optimizer.groups(step_size, &experiment.context())?,
        batch_size: training.batch_size,
        evaluations_per_epoch: training.evaluations_per_epoch,
        epochs: sizes.epochs,
        seed,
    };
    let label = format!("{} at {step_size}, seed {seed}", optimizer.key);
    Ok(Task::new(experiment, scale, seed, label, Work::Training(Box::new(run))))
}
