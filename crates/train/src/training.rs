//! The training loop.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use isorate_data::stream;
use isorate_kernels::cross_entropy;
use isorate_models::Mlp;
use isorate_optim::{GroupRules, NamedParam, Optimizer, Role};
use isorate_results::{Outcome, Record};
use rand::seq::SliceRandom as _;
use serde_json::{Value, json};

use crate::colored::{ColoredMnistRun, DataCache, Prepared};
use crate::runner::Product;
use crate::spec::{Activation, MlpSpec};
use crate::{Error, Stop};

/// One network, one optimizer, one step size, one seed.
#[derive(Clone, Debug)]
pub(crate) struct TrainingRun {
    pub(crate) data: ColoredMnistRun,
    pub(crate) model: MlpSpec,
    pub(crate) key: String,
    pub(crate) step_size: f64,
    pub(crate) groups: GroupRules,
    pub(crate) batch_size: usize,
    pub(crate) evaluations_per_epoch: usize,
    pub(crate) epochs: usize,
    pub(crate) seed: u64,
}

impl TrainingRun {
    /// Everything that the numbers depend on.
    pub(crate) fn spec(&self) -> Value {
        json!({
            "kind": "training",
            "data": self.data.spec(),
            "model": self.model,
            "optimizer": { "key": self.key, "step_size": self.step_size, "groups": self.groups },
            "batch_size": self.batch_size,
            "evaluations_per_epoch": self.evaluations_per_epoch,
            "epochs": self.epochs,
        })
    }

    /// Trains and measures. A loss or gradient that is not finite ends the run as [`Outcome::Diverged`].
    pub(crate) fn execute(
        &self,
        cache: &DataCache,
        device: &Device,
        stop: &Stop,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Product, Error> {
        let data = cache.get(&self.data, device)?;
        let model = self.model(&data, device)?;
        let mut optimizer = Optimizer::new(parameters(&model), &self.groups)?;
        let samples = data.train_labels.dims1()?;
        let steps_per_epoch = samples.div_ceil(self.batch_size);
        let total = (steps_per_epoch * self.epochs) as u64;
        let mut log = Log { run: self, data: &data, model: &model, steps_per_epoch, records: Vec::new() };
        let (mut step, mut losses) = (0u64, Vec::new());
        log.measure(step, &mut losses)?;
        let finished = |records, outcome| Ok(Product { outcome, records, notes: BTreeMap::new() });
        for epoch in 0..self.epochs {
            let mut order: Vec<u32> = (0..u32::try_from(samples).unwrap_or(u32::MAX)).collect();
            order.shuffle(&mut stream(self.seed, "shuffle", epoch as u64));
            for (i, batch) in order.chunks(self.batch_size).enumerate() {
                stop.check()?;
                let batch = Tensor::from_slice(batch, batch.len(), device)?;
                let loss = cross_entropy(
                    &model.forward(&data.train.index_select(&batch, 0)?)?,
                    &data.train_labels.index_select(&batch, 0)?,
                )?;
                let value = f64::from(loss.to_scalar::<f32>()?);
                if !value.is_finite() {
                    return finished(log.records, Outcome::Diverged { step, reason: format!("the training loss is {value}") });
                }
                match optimizer.backward_step(&loss) {
                    Ok(()) => {}
                    Err(error @ isorate_optim::Error::NonFiniteGradient { .. }) => {
                        return finished(log.records, Outcome::Diverged { step, reason: error.to_string() });
                    }
                    Err(error) => return Err(error.into()),
                }
                step += 1;
                losses.push(value);
                // `evaluations_per_epoch` times an epoch, as evenly as whole steps allow, the last at its end.
                if (i + 1) * self.evaluations_per_epoch / steps_per_epoch > i * self.evaluations_per_epoch / steps_per_epoch {
                    log.measure(step, &mut losses)?;
                    progress(step, total);
                }
            }
        }
        finished(log.records, Outcome::Finished)
    }

    fn model(&self, data: &Prepared, device: &Device) -> Result<Mlp, Error> {
        let mut widths = vec![data.train.dim(1)?];
        widths.extend(&self.model.hidden);
        widths.push(data.classes);
        let activation = match self.model.activation {
            Activation::Relu => isorate_models::Activation::Relu,
            Activation::Identity => isorate_models::Activation::Identity,
        };
        Ok(Mlp::new(&widths, activation, true, &mut stream(self.seed, "initialization", 0), device)?)
    }
}

/// The network's parameters with their roles: its last weight matrix is the head, the others are matrices.
fn parameters(model: &Mlp) -> Vec<NamedParam> {
    let head = format!("layers.{}.weight", model.layers().len() - 1);
    model
        .named_parameters()
        .into_iter()
        .map(|(name, var)| {
            let role = match var.dims().len() {
                1 => Role::Vector,
                _ if name == head => Role::Head,
                _ => Role::Matrix,
            };
            NamedParam { name, role, var }
        })
        .collect()
}

struct Log<'a> {
    run: &'a TrainingRun,
    data: &'a Prepared,
    model: &'a Mlp,
    steps_per_epoch: usize,
    records: Vec<Record>,
}

impl Log<'_> {
    /// Measures on every held-out set, and the mean training loss since the last time.
    fn measure(&mut self, step: u64, losses: &mut Vec<f64>) -> Result<(), Error> {
        let base = Record::at_step(step).epoch(step as f64 / self.steps_per_epoch as f64).of(&self.run.key);
        if !losses.is_empty() {
            let mean = losses.iter().sum::<f64>() / losses.len() as f64;
            self.records.push(base.clone().split("train").metric("loss").value(mean));
            losses.clear();
        }
        for set in &self.data.held_out {
            self.records.extend(set.measure(self.model, &base)?);
        }
        Ok(())
    }
}
