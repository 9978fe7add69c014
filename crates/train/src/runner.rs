//! Takes from the store what is finished and computes the rest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use isorate_optim::OpenDevice;
use isorate_results::{Error as StoreError, Outcome, Provenance, Record, Run, Store};

use crate::plan::Work;
use crate::saved::Saved;
use crate::sets::DataCache;
use crate::source;
use crate::training::Session;
use crate::{Error, Stop, Task, memory};

/// What happened, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stored file could not be used; it was moved aside and its run will be made again.
    Damaged {
        /// Where the file is now.
        aside: PathBuf,
        /// Why it could not be used.
        reason: String,
    },
    /// How much is found finished, before the rest begins.
    Planned {
        /// Runs asked for.
        total: usize,
        /// Runs found in the store.
        found: usize,
        /// What the others take, by the time that runs of the same case and optimizer took; none if there is no such run for one.
        left: Option<Duration>,
    },
    /// A run goes on: `done` of `total` steps.
    Step {
        /// The run.
        task: &'a Task,
        /// Steps made.
        done: u64,
        /// Steps asked for.
        total: u64,
    },
    /// A run ended and is in the store.
    Finished {
        /// The run.
        task: &'a Task,
        /// How it ended.
        outcome: &'a Outcome,
        /// Its wall time, seconds.
        seconds: f64,
    },
}

/// Makes sure that runs are in the store.
pub struct Runner<'a> {
    /// Where runs are kept.
    pub store: &'a Store,
    /// What every run's provenance begins with.
    pub provenance: Provenance,
    /// Asked between any two steps.
    pub stop: &'a Stop,
    /// Where networks are trained; everything else is computed on the CPU.
    pub device: OpenDevice,
    /// Runs made at the same time on the CPU, each on a thread of its own. Another device has one at a time: candle's CUDA
    /// devices do not order what several threads do with the same data.
    pub workers: usize,
    /// Where initial weights and unfinished runs are kept.
    pub work: &'a Path,
    /// How often an unfinished run is written there.
    pub save_every: Duration,
    /// Whether runs that failed are made again.
    pub again: bool,
    /// Hears of every event, from any thread.
    pub watch: &'a (dyn Fn(Event) + Sync),
}

/// What a task leaves behind.
pub(crate) struct Product {
    pub(crate) outcome: Outcome,
    pub(crate) records: Vec<Record>,
    pub(crate) notes: BTreeMap<String, String>,
    /// Updates made.
    pub(crate) steps: u64,
    /// Time inside them, seconds.
    pub(crate) train_seconds: f64,
}

impl Runner<'_> {
    /// The runs of `tasks`, in their order: from the store where they are finished, else computed and stored.
    ///
    /// After an error, and after a request to stop, what was finished before is in the store.
    ///
    /// # Panics
    /// Only if a worker panicked.
    pub fn ensure(&self, tasks: &[Task]) -> Result<Vec<Run>, Error> {
        let mut runs = self.find(tasks)?;
        let missing: Vec<usize> = (0..tasks.len()).filter(|&i| runs[i].is_none()).collect();
        let left = self.left(tasks, &runs);
        (self.watch)(Event::Planned { total: tasks.len(), found: tasks.len() - missing.len(), left });
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let cache = DataCache::default();
        let results: Mutex<Vec<(usize, Result<Run, Error>)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..self.workers().clamp(1, missing.len().max(1)) {
                scope.spawn(|| {
                    while !failed.load(Ordering::Relaxed) {
                        let Some(&i) = missing.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                        let result = self.make(&tasks[i], &cache);
                        failed.fetch_or(result.is_err(), Ordering::Relaxed);
                        results.lock().expect("no worker panics while it holds the lock").push((i, result));
                    }
                });
            }
        });
        let mut results = results.into_inner().expect("no worker panics while it holds the lock");
        results.sort_by_key(|(i, _)| *i);
        for (i, result) in results {
            runs[i] = Some(result?);
        }
        Ok(runs.into_iter().flatten().collect())
    }

    fn workers(&self) -> usize {
        if self.device.device.is_cpu() { self.workers } else { 1 }
    }

    fn find(&self, tasks: &[Task]) -> Result<Vec<Option<Run>>, Error> {
        tasks
            .iter()
            .map(|task| {
                let id = task.header(Provenance::default())?.run_id;
                if !self.store.contains(&task.experiment, &id) {
                    return Ok(None);
                }
                match self.store.read(&task.experiment, &id) {
                    Ok(run) if self.again && matches!(run.outcome, Outcome::Failed { .. }) => Ok(None),
                    Ok(run) => Ok(Some(run)),
                    Err(error @ StoreError::Unreadable { .. }) => {
                        let aside = self.store.set_aside(&task.experiment, &id)?;
                        (self.watch)(Event::Damaged { aside, reason: error.to_string() });
                        Ok(None)
                    }
                    Err(error) => Err(error.into()),
                }
            })
            .collect()
    }

    /// What is left of each task, in their order.
    ///
    /// # Errors
    /// What reading the store can raise.
    pub fn states(&self, tasks: &[Task]) -> Result<Vec<State>, Error> {
        let runs = self.find(tasks)?;
        let state = |(task, run): (&Task, Option<Run>)| -> Result<State, Error> {
            Ok(match run {
                Some(run) => State::There(run.outcome),
                None => State::Missing { step: Saved::new(self.work, &task.header(Provenance::default())?.run_id).step() },
            })
        };
        tasks.iter().zip(runs).map(state).collect()
    }

    /// What the missing runs take.
    fn left(&self, tasks: &[Task], runs: &[Option<Run>]) -> Option<Duration> {
        let mut known: BTreeMap<(&str, &str), (f64, u32)> = BTreeMap::new();
        for (task, run) in tasks.iter().zip(runs) {
            if let Some(run) = run.as_ref().filter(|run| run.outcome == Outcome::Finished) {
                let (seconds, count) = known.entry(task.kind()).or_default();
                *seconds += run.header.provenance.wall_seconds;
                *count += 1;
            }
        }
        let missing = tasks.iter().zip(runs).filter(|(_, run)| run.is_none());
        let seconds: f64 = missing
            .map(|(task, _)| known.get(&task.kind()).map(|(seconds, count)| seconds / f64::from(*count)))
            .sum::<Option<_>>()?;
        Duration::try_from_secs_f64(seconds / self.workers() as f64).ok()
    }

    fn make(&self, task: &Task, cache: &DataCache) -> Result<Run, Error> {
        self.stop.check()?;
        let start = Instant::now();
        memory::forget_peak();
        let header = task.header(Provenance::default())?;
        let step = |done, total| (self.watch)(Event::Step { task, done, total });
        let session = Session {
            cache,
            device: &self.device.device,
            stop: self.stop,
            progress: &step,
            work: self.work,
            save_every: self.save_every,
        };
        let product = match &task.work {
            // Several runs at a time use the cores better than one run with several threads: most operations of a small
            // network are too short to be split.
            Work::Training(run) if self.workers() > 1 => single_threaded(|| run.execute(&header.run_id, &session))?,
            Work::Training(run) => run.execute(&header.run_id, &session)?,
            // A sum that is split over threads depends, in its last bits, on their number.
            Work::Moments(run) => single_threaded(|| run.execute())?,
            Work::Theory(run) => run.execute()?,
        };
        let mut provenance = self.provenance.clone();
        provenance.wall_seconds = start.elapsed().as_secs_f64();
        provenance.steps = product.steps;
        provenance.train_seconds = product.train_seconds;
        provenance.peak_memory_bytes = memory::peak();
        provenance.threads = match &task.work {
            Work::Moments(_) => 1,
            Work::Training(_) if self.workers() > 1 => 1,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        };
        provenance.device = match &task.work {
            Work::Training(_) => self.device.name.to_string(),
            Work::Moments(_) | Work::Theory(_) => "cpu".into(),
        };
        provenance.data = match &task.work {
            Work::Training(run) => source::checksums(&run.data.sources),
            Work::Moments(run) => source::checksums(&run.data.sources),
            Work::Theory(run) => run.checksums(),
        };
        let mut run = Run::new(task.header(provenance)?, product.outcome, product.records);
        run.notes = product.notes;
        self.store.write(&run)?;
        let seconds = start.elapsed().as_secs_f64();
        (self.watch)(Event::Finished { task, outcome: &run.outcome, seconds });
        Ok(run)
    }
}

/// Whether a run is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is, and ended so.
    There(Outcome),
    /// It is not; an interrupted one goes on after a step.
    Missing {
        /// Steps that an interrupted run had made.
        step: Option<u64>,
    },
}

/// Runs `work` in a rayon pool of one thread, so that nothing inside it is split over threads.
pub(crate) fn single_threaded<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    match rayon::ThreadPoolBuilder::new().num_threads(1).build() {
        Ok(pool) => pool.install(work),
        // A machine that cannot give one more thread can still do the work here.
        Err(_) => work(),
    }
}
