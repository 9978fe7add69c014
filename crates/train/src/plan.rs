//! From a specification and a scale to tasks with an identity.

use isorate_data::Origin;
use isorate_results::{Header, Provenance};
use serde_json::{Value, json};

use crate::moments::MomentsRun;
use crate::network::ModelRun;
use crate::sets::DataRun;
use crate::source::Source;
use crate::spec::data::DataSpec;
use crate::spec::model::ModelSpec;
use crate::spec::{Case, Experiment, Kind, OptimizerSpec, Scale, Training, TrainingScale};
use crate::theory::{ScaledTheory, Theory};
use crate::training::{Selection, TrainingRun};
use crate::{Error, Grids, Tuned};

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
    Moments(Box<MomentsRun>),
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

    /// What runs of about the same length have in common: case and optimizer.
    pub(crate) fn kind(&self) -> (&str, &str) {
        match &self.work {
            Work::Training(run) => (&run.case, &run.key),
            Work::Moments(run) => (&run.case, "data"),
            Work::Theory(_) => ("", "theory"),
        }
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
    let settings = training.at(scale).ok_or_else(|| experiment.no_scale(scale))?;
    let mut tasks = Vec::new();
    for case in &settings.cases {
        check_embedded(experiment, scale, case, origin)?;
        let chosen: Vec<Chosen> = training
            .optimizers
            .iter()
            .map(|optimizer| match (tuned.get(&case.key, &optimizer.key), &optimizer.step_sizes[..]) {
                // Where there is nothing to choose from, nothing need be chosen.
                (_, &[step_size]) => {
                    Ok(vec![Chosen { optimizer, step_size, grid: vec![step_size], selection: Selection::Both }])
                }
                (Some(choice), _) => Ok(Chosen::of(optimizer, choice)),
                (None, _) => Err(experiment.context().error(
                    &format!("optimizers.{}", optimizer.key),
                    format!(
                        "no step size has been chosen for `{}` in the case `{}`\nhint: `isorate tune {}` chooses one on validation data",
                        optimizer.key, case.key, experiment.file
                    ),
                )),
            })
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .flatten()
            .collect();
        let planner = Planner::new(experiment, training, scale, settings, case, origin)?;
        let first = settings.seeds[0];
        // The spectrum of these is shown beside their networks. It takes memory for d² numbers, which larger images do not allow.
        if matches!(case.data, DataSpec::Colored(_)) {
            let run = MomentsRun { case: case.key.clone(), data: planner.data(first) };
            let label = planner.label(format!("data moments, seed {first}"));
            tasks.push(Task::new(experiment, scale, first, label, Work::Moments(Box::new(run))));
        }
        // Seeds outside, so that runs on the same data follow each other.
        for &seed in &settings.seeds {
            for chosen in &chosen {
                tasks.push(planner.task(chosen, seed)?);
            }
        }
    }
    Ok(tasks)
}

/// The runs that choosing step sizes needs: every optimizer at every step size of its grid, for every case and tuning seed, on images
/// from `origin`.
pub fn plan_tuning(experiment: &Experiment, scale: Scale, grids: &Grids, origin: &Origin) -> Result<Vec<Task>, Error> {
    let Kind::Training(training) = &experiment.kind else {
        return Err(experiment.context().error("kind", "only training experiments have step sizes to choose"));
    };
    let settings = training.at(scale).ok_or_else(|| experiment.no_scale(scale))?;
    let mut tasks = Vec::new();
    for case in &settings.cases {
        let planner = Planner::new(experiment, training, scale, settings, case, origin)?;
        for &seed in &settings.tuning_seeds {
            for optimizer in &training.optimizers {
                for &step_size in grids.get(&case.key, &optimizer.key) {
                    let chosen = Chosen { optimizer, step_size, grid: Vec::new(), selection: Selection::Tuning };
                    tasks.push(planner.task(&chosen, seed)?);
                }
            }
        }
    }
    Ok(tasks)
}

/// Whether the program has the data of a case, where nothing else may be taken.
fn check_embedded(experiment: &Experiment, scale: Scale, case: &Case, origin: &Origin) -> Result<(), Error> {
    if origin != &Origin::Embedded {
        return Ok(());
    }
    case.data.check_embedded(&experiment.context(), &format!("scale.{}.cases.{}.data", scale.name(), case.key))
}

/// An optimizer at a step size.
struct Chosen<'a> {
    optimizer: &'a OptimizerSpec,
    step_size: f64,
    grid: Vec<f64>,
    selection: Selection,
}

impl<'a> Chosen<'a> {
    /// Two where the two criteria chose differently.
    fn of(optimizer: &'a OptimizerSpec, choice: &crate::Choice) -> Vec<Self> {
        let chosen = |step_size, selection| Self { optimizer, step_size, grid: choice.step_sizes.clone(), selection };
        if choice.step_size.total_cmp(&choice.worst_step_size).is_eq() {
            vec![chosen(choice.step_size, Selection::Both)]
        } else {
            vec![chosen(choice.step_size, Selection::Average), chosen(choice.worst_step_size, Selection::Worst)]
        }
    }
}

/// What the runs of a case have in common.
struct Planner<'a> {
    experiment: &'a Experiment,
    training: &'a Training,
    scale: Scale,
    settings: &'a TrainingScale,
    case: &'a Case,
    data: DataRun,
    model: ModelRun,
}

impl<'a> Planner<'a> {
    /// Finds the files, or says what is missing.
    fn new(
        experiment: &'a Experiment,
        training: &'a Training,
        scale: Scale,
        settings: &'a TrainingScale,
        case: &'a Case,
        origin: &Origin,
    ) -> Result<Self, Error> {
        check_embedded(experiment, scale, case, origin)?;
        let model = &case.model;
        let sources = match model {
            ModelSpec::ResNet(resnet) => match (&resnet.pretrain, &resnet.weights) {
                (Some(pretrain), _) => vec![Source::images(&pretrain.images, origin)?],
                (None, Some(weights)) => vec![Source::hub(weights)?],
                (None, None) => Vec::new(),
            },
            ModelSpec::Bert(bert) => vec![Source::hub(&bert.weights)?],
            ModelSpec::Mlp(_) | ModelSpec::Gpt(_) => Vec::new(),
        };
        Ok(Self {
            data: DataRun::new(&case.data, origin, 0)?,
            model: ModelRun { spec: model.clone(), sources },
            experiment,
            training,
            scale,
            settings,
            case,
        })
    }

    fn data(&self, seed: u64) -> DataRun {
        DataRun { seed, ..self.data.clone() }
    }

    /// With the case, where there are several.
    fn label(&self, label: String) -> String {
        if self.settings.cases.len() > 1 { format!("{}: {label}", self.case.key) } else { label }
    }

    fn task(&self, chosen: &Chosen<'_>, seed: u64) -> Result<Task, Error> {
        let Chosen { optimizer, step_size, grid, selection } = chosen;
        let run = TrainingRun {
            case: self.case.key.clone(),
            data: self.data(seed),
            model: self.model.clone(),
            key: optimizer.key.clone(),
            step_size: *step_size,
            grid: grid.clone(),
            selection: *selection,
            routing: optimizer.routing(*step_size, &self.experiment.context())?,
            schedule: self.training.schedule,
            batch_size: self.case.batch_size(self.training),
            evaluations_per_epoch: self.training.evaluations_per_epoch,
            epochs: self.case.epochs(self.settings),
        };
        let label = self.label(format!("{} at {step_size}, seed {seed}", optimizer.key));
        Ok(Task::new(self.experiment, self.scale, seed, label, Work::Training(Box::new(run))))
    }
}
