//! One file per command, and what several of them share.

pub mod bench;
pub mod claims;
pub mod costs;
pub mod data;
pub mod diagnose;
pub mod fetch;
pub mod figures;
pub mod replay;
pub mod run;
pub mod trajectory;
pub mod tune;
pub mod verify_theory;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use isorate_data::Origin;
use isorate_optim::{DeviceChoice, OpenDevice};
use isorate_results::Store;
use isorate_train::{Error, Experiment, Runner, Stop, Task};

use crate::args;
use crate::progress::Progress;
use crate::provenance::provenance;

/// The frozen results of the repository.
const FROZEN: &str = "figures/results";
/// The claims of the repository.
const CLAIMS: &str = "paper/claims.toml";
/// The specifications of the repository.
const EXPERIMENTS: &str = "paper/experiments";

static STOP: Stop = Stop::new();

impl From<args::Scale> for isorate_train::Scale {
    fn from(scale: args::Scale) -> Self {
        match scale {
            args::Scale::Smoke => Self::Smoke,
            args::Scale::Default => Self::Default,
            args::Scale::Paper => Self::Paper,
        }
    }
}

/// The specification of an experiment that a figure needs.
fn specification(experiments: &Path, id: &str) -> anyhow::Result<PathBuf> {
    let path = experiments.join(format!("{id}.toml"));
    if !path.is_file() {
        anyhow::bail!(
            "{}: no such specification\nhint: run isorate in the project's folder, or say where they are with --experiments",
            path.display()
        );
    }
    Ok(path)
}

/// The device that was asked for; where it cannot be had, a line says so and it is the CPU.
fn open(choice: DeviceChoice) -> OpenDevice {
    let open = choice.open();
    if let Some(note) = &open.note {
        crate::output::message(&format!("warning: {note}"));
    }
    open
}

/// Where runs are made and kept.
struct Workshop<'a> {
    store: &'a Store,
    device: &'a OpenDevice,
    unfinished: &'a args::Unfinished,
    /// Whether runs that failed are made again.
    again: bool,
}

impl Workshop<'_> {
    /// Makes what is missing of the tasks. Ctrl-C stops between two steps; a second one at once.
    fn ensure(&self, experiment: &Experiment, tasks: &[Task]) -> anyhow::Result<Vec<isorate_results::Run>> {
        // A second handler in the same process is refused; the first one serves.
        let _ = ctrlc::set_handler(|| {
            if STOP.check().is_err() {
                std::process::exit(i32::from(crate::EXIT_INTERRUPTED));
            }
            STOP.request();
        });
        let progress = Progress::new(&experiment.id);
        Ok(self.runner(&|event| progress.see(&event)).ensure(tasks)?)
    }

    fn runner<'a>(&'a self, watch: &'a (dyn Fn(isorate_train::Event) + Sync)) -> Runner<'a> {
        Runner {
            store: self.store,
            provenance: provenance(),
            stop: &STOP,
            device: self.device.clone(),
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            work: &self.unfinished.work,
            save_every: std::time::Duration::from_secs(self.unfinished.save_every),
            again: self.again,
            watch,
        }
    }
}

/// The runs of the tasks that are in the store; one that cannot be read counts as missing, and is named.
fn stored(tasks: &[Task], store: &Store) -> anyhow::Result<Vec<isorate_results::Run>> {
    let mut runs = Vec::new();
    for task in tasks {
        let id = task.header(provenance())?.run_id;
        if store.contains(&task.experiment, &id) {
            match store.read(&task.experiment, &id) {
                Ok(run) => runs.push(run),
                Err(error) => crate::output::message(&format!("warning: {error}")),
            }
        }
    }
    Ok(runs)
}

/// Fails before any work is done if nothing can be written to a folder.
fn check_writable(folder: &Path) -> anyhow::Result<()> {
    fs_err::create_dir_all(folder)?;
    tempfile::Builder::new()
        .prefix(".isorate-")
        .tempfile_in(folder)
        .with_context(|| format!("{}: cannot write into this folder\nhint: choose another one with --out", folder.display()))?;
    Ok(())
}

/// The runs of an experiment at the step sizes that were chosen beside its specification.
fn plan(file: &Path, experiment: &Experiment, scale: args::Scale, origin: &Origin) -> Result<Vec<Task>, Error> {
    isorate_train::plan(experiment, scale.into(), &isorate_train::Tuned::read(file)?, origin)
}

/// [`plan`], or nothing for an experiment whose step sizes have not been chosen yet.
fn plan_if_tuned(file: &Path, experiment: &Experiment, scale: args::Scale, origin: &Origin) -> Result<Option<Vec<Task>>, Error> {
    if isorate_train::Tuned::read(file)?.covers(experiment, scale.into()) {
        plan(file, experiment, scale, origin).map(Some)
    } else {
        Ok(None)
    }
}
