//! The training loop.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use isorate_data::stream;
use isorate_optim::{NamedParam, Optimizer, Routing, Schedule};
use isorate_results::{Outcome, Record, RunId};
use rand::seq::SliceRandom as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::decode::decoded;
use crate::inputs::Inputs;
use crate::mechanism::{Mechanism, stable_ranks};
use crate::network::{ModelRun, Network, Shape};
use crate::runner::Product;
use crate::saved::{Saved, SavedRun};
use crate::sets::{DataCache, DataRun, Sets};
use crate::spec::ScheduleName;
use crate::{Error, Stop};

/// One network, one optimizer, one step size, one seed.
#[derive(Clone, Debug)]
pub(crate) struct TrainingRun {
    /// The case that it belongs to.
    pub(crate) case: String,
    pub(crate) data: DataRun,
    pub(crate) model: ModelRun,
    pub(crate) key: String,
    pub(crate) step_size: f64,
    /// The step sizes that were tried to choose this one.
    pub(crate) grid: Vec<f64>,
    pub(crate) selection: Selection,
    pub(crate) routing: Routing,
    pub(crate) schedule: ScheduleName,
    pub(crate) batch_size: usize,
    pub(crate) evaluations_per_epoch: usize,
    pub(crate) epochs: usize,
}

/// Why a run has its step size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Selection {
    /// It is best on validation by the average.
    Average,
    /// It is best on validation by the worst part.
    Worst,
    /// It is best by both.
    Both,
    /// It is one of those that are tried.
    Tuning,
}

/// What a run is made with.
pub(crate) struct Session<'a> {
    pub(crate) cache: &'a DataCache,
    pub(crate) device: &'a Device,
    pub(crate) stop: &'a Stop,
    /// Hears of steps made and to be made.
    pub(crate) progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Where initial weights and unfinished runs are kept.
    pub(crate) work: &'a Path,
    /// How often an unfinished run is written there.
    pub(crate) save_every: Duration,
}

impl TrainingRun {
    /// Everything that the numbers depend on but the seed, and what says how they were chosen.
    pub(crate) fn spec(&self) -> Value {
        json!({
            "kind": "training",
            "case": self.case,
            "data": self.data.spec(),
            "model": self.model.spec(),
            "optimizer": {
                "key": self.key,
                "step_size": self.step_size,
                "groups": self.routing,
                "grid": self.grid,
                "selection": self.selection,
            },
            "schedule": self.schedule,
            "batch_size": self.batch_size,
            "evaluations_per_epoch": self.evaluations_per_epoch,
            "epochs": self.epochs,
        })
    }

    fn seed(&self) -> u64 {
        self.data.seed
    }

    /// Trains and measures, going on from where an interrupted run was written. A loss or gradient that is not finite ends the run as
    /// [`Outcome::Diverged`]; an optimizer or a tensor operation that fails, in a step or while measuring, as [`Outcome::Failed`].
    pub(crate) fn execute(&self, id: &RunId, session: &Session) -> Result<Product, Error> {
        let sets = session.cache.get(&self.data)?;
        let network = self.network(&sets, session)?;
        let mut optimizer = Optimizer::new(network.parameters(), self.routing.clone())?;
        let state = network.state();
        let saved = Saved::new(session.work, id);
        let run = saved.load(&state, &mut optimizer)?.unwrap_or_default();
        let mut loop_ = Loop { settings: self, session, sets: &sets, network, optimizer, state, saved, run, mechanism: None };
        let outcome = match loop_.run_to_end() {
            Err(error) if error.is_of_this_run() => Outcome::Failed { step: loop_.run.step, reason: error.to_string() },
            ended => ended?,
        };
        loop_.saved.remove()?;
        let SavedRun { records, seconds, step, .. } = loop_.run;
        Ok(Product { outcome, records, notes: BTreeMap::new(), steps: step, train_seconds: seconds })
    }

    fn network(&self, sets: &Sets, session: &Session) -> Result<Network, Error> {
        let image = match &sets.train {
            Inputs::Images { examples, .. } => examples.shape(),
            _ => [0; 3],
        };
        let shape = Shape { image, outputs: sets.outputs };
        self.model.build(shape, self.seed(), session.device, (session.work, session.stop))
    }

    fn is_tuning(&self) -> bool {
        self.selection == Selection::Tuning
    }
}

/// A run that goes on.
struct Loop<'a> {
    settings: &'a TrainingRun,
    session: &'a Session<'a>,
    sets: &'a Arc<Sets>,
    network: Network,
    optimizer: Optimizer,
    /// Parameters and buffers.
    state: Vec<NamedParam>,
    saved: Saved,
    run: SavedRun,
    /// None in tuning runs, and for inputs that are not images.
    mechanism: Option<Mechanism>,
}

impl Loop<'_> {
    fn run_to_end(&mut self) -> Result<Outcome, Error> {
        let settings = self.settings;
        let rows = self.sets.train.len();
        let per_epoch = rows.div_ceil(settings.batch_size);
        let total = (per_epoch * settings.epochs) as u64;
        let schedule = settings.schedule.over(total);
        if !settings.is_tuning() {
            self.mechanism = Mechanism::new(self.sets)?;
            if self.run.step == 0 && self.run.records.is_empty() {
                self.measure(per_epoch, total)?;
            }
        }
        let (mut order, mut order_of) = (Vec::new(), None);
        let mut written = Instant::now();
        while self.run.step < total {
            if let Err(interrupted) = self.session.stop.check() {
                self.write()?;
                return Err(interrupted);
            }
            #[allow(clippy::cast_possible_truncation, reason = "below the number of steps of an epoch")]
            let (epoch, i) = (self.run.step / per_epoch as u64, (self.run.step % per_epoch as u64) as usize);
            if order_of != Some(epoch) {
                order = (0..rows).collect();
                order.shuffle(&mut stream(settings.seed(), "shuffle", epoch));
                order_of = Some(epoch);
            }
            let batch = &order[i * settings.batch_size..rows.min((i + 1) * settings.batch_size)];
            let start = Instant::now();
            let made = self.step(batch, &schedule);
            self.run.seconds += start.elapsed().as_secs_f64();
            if let Some(end) = made? {
                return Ok(end);
            }
            // `evaluations_per_epoch` times an epoch, as evenly as whole steps allow, the last at its end.
            let often = settings.evaluations_per_epoch;
            let due = (i + 1) * often / per_epoch > i * often / per_epoch;
            if (due && !settings.is_tuning()) || self.run.step == total {
                self.measure(per_epoch, total)?;
            }
            if due {
                (self.session.progress)(self.run.step, total);
            }
            if self.run.step < total && written.elapsed() >= self.session.save_every {
                self.write()?;
                written = Instant::now();
            }
        }
        Ok(Outcome::Finished)
    }

    /// One step; an outcome if the run ends with it.
    fn step(&mut self, rows: &[usize], schedule: &Schedule) -> Result<Option<Outcome>, Error> {
        let step = self.run.step;
        let (inputs, targets) = self.sets.train.batch(rows, self.session.device)?;
        let loss = self.network.loss(&inputs, &targets)?;
        let value = f64::from(loss.to_scalar::<f32>()?);
        if !value.is_finite() {
            return Ok(Some(Outcome::Diverged { step, reason: format!("the training loss is {value}") }));
        }
        let made = self.optimizer.set_lr_factor(schedule.factor(step)).and_then(|()| self.optimizer.backward_step(&loss));
        match made {
            Ok(()) => {}
            Err(error @ isorate_optim::Error::NonFiniteGradient { .. }) => {
                return Ok(Some(Outcome::Diverged { step, reason: error.to_string() }));
            }
            Err(error) => return Err(error.into()),
        }
        self.run.step += 1;
        self.run.losses.push(value);
        Ok(None)
    }

    /// Measures on the held-out sets and inside the network, and the mean training loss since the last time. Tuning runs measure at the
    /// end, on validation; other runs on validation at the end only, where nothing can be chosen by it any more.
    fn measure(&mut self, per_epoch: usize, total: u64) -> Result<(), Error> {
        let (settings, device) = (self.settings, self.session.device);
        let step = self.run.step;
        let base = Record::at_step(step).epoch(step as f64 / per_epoch as f64).of(&settings.key);
        let mut records = Vec::new();
        if !self.run.losses.is_empty() {
            let mean = self.run.losses.iter().sum::<f64>() / self.run.losses.len() as f64;
            records.push(base.clone().split("train").metric("loss").value(mean));
            self.run.losses.clear();
        }
        for set in &self.sets.held_out {
            let is_validation = set.split == "validation";
            if if is_validation { step == total } else { !settings.is_tuning() } {
                records.extend(set.measure(&self.network, device, &base)?);
            }
        }
        if !settings.is_tuning() {
            let test = self.sets.held_out.iter().find(|set| set.split == "test");
            if let (Some(balanced), Some(test)) = (&self.sets.decode, test) {
                records.extend(decoded(&self.network, balanced, test, device, &base)?);
            }
            if let Some(mechanism) = &self.mechanism {
                if step == 0 {
                    records.extend(mechanism.components(&base));
                }
                records.extend(mechanism.measure(&self.network, device, &base)?);
            }
            records.extend(stable_ranks(&self.network, &base)?);
        }
        self.run.records.extend(records);
        Ok(())
    }

    fn write(&mut self) -> Result<(), Error> {
        self.saved.write(&self.state, &mut self.optimizer, &self.run)
    }
}
