//! The training that both networks share: mixed groups, a schedule, clipping, and a stop half-way.

use std::path::Path;
use std::time::Instant;

use candle_core::{D, DType, Tensor};
use candle_nn::loss::cross_entropy;
use isorate_optim::{AdamW, Checkpoint, Muon, NamedParam, Optimizer, Routing, RuleConfig, Schedule, clip_grad_norm};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

pub struct Batch {
    pub inputs: Tensor,
    /// Class of each example, u32.
    pub labels: Tensor,
}

type Forward = Box<dyn Fn(&Tensor) -> candle_core::Result<Tensor>>;

/// A network and what it should learn.
pub struct Task {
    pub name: &'static str,
    pub params: Vec<NamedParam>,
    pub muon_lr: f64,
    pub adamw_lr: f64,
    pub steps: u64,
    /// Inputs to logits, [batch, classes].
    pub forward: Forward,
    /// Examples from a seed.
    pub batch: fn(u64, usize) -> candle_core::Result<Batch>,
    /// The accuracy on new examples that counts as learned.
    pub least_accuracy: f64,
}

const BATCH: usize = 64;
/// Seeds of the training batches are the numbers of their steps.
const TEST_SEED: u64 = u64::MAX;
const TEST_SIZE: usize = 1000;

/// Trains, with a stop half-way, and returns the accuracy on new examples.
pub fn train(new_task: fn() -> candle_core::Result<Task>) -> Result<f64> {
    let start = Instant::now();
    let folder = tempfile::tempdir()?;
    let checkpoint = folder.path().join("half-way.safetensors");

    let mut training = Training::new(new_task()?)?;
    let steps = training.task.steps;
    print!("\n{}\n{}", training.task.name, training.optimizer.describe());
    training.run(steps / 2)?;
    training.save(&checkpoint)?;
    drop(training);

    // What follows could be another process. Networks begin with other weights here, to show that they come from the file.
    let mut training = Training::new(new_task()?)?;
    for param in &training.task.params {
        param.var.set(&param.var.zeros_like()?)?;
    }
    training.load(&checkpoint)?;
    println!("saved and resumed at step {}", training.optimizer.steps());
    training.run(steps)?;

    let accuracy = training.accuracy()?;
    println!("accuracy {accuracy:.3} on {TEST_SIZE} new examples, {:.1} s", start.elapsed().as_secs_f64());
    if accuracy < training.task.least_accuracy {
        return Err(format!("{}: accuracy {accuracy:.3} is below {}", training.task.name, training.task.least_accuracy).into());
    }
    Ok(accuracy)
}

struct Training {
    task: Task,
    optimizer: Optimizer,
    schedule: Schedule,
}

impl Training {
    fn new(task: Task) -> Result<Self> {
        let muon = RuleConfig::Muon(Muon::new(task.muon_lr));
        let others = RuleConfig::AdamW(AdamW { lr: task.adamw_lr, ..AdamW::beside_muon() });
        let optimizer = Optimizer::new(task.params.clone(), Routing::hidden(muon, others))?;
        let schedule = Schedule::trapezoid(task.steps, task.steps / 2).with_warmup(task.steps / 20);
        Ok(Self { task, optimizer, schedule })
    }

    fn run(&mut self, until: u64) -> Result<()> {
        while self.optimizer.steps() < until {
            let step = self.optimizer.steps();
            let Batch { inputs, labels } = (self.task.batch)(step, BATCH)?;
            let loss = cross_entropy(&(self.task.forward)(&inputs)?, &labels)?;
            let mut gradients = loss.backward()?;
            let norm = clip_grad_norm(&mut gradients, &self.task.params, 1.0)?;
            if step.is_multiple_of(self.task.steps / 10) {
                println!("step {step:3}  loss {:.4}  gradient {norm:.3}", loss.to_scalar::<f32>()?);
            }
            self.optimizer.set_lr_factor(self.schedule.factor(step))?;
            self.optimizer.step(&gradients)?;
        }
        Ok(())
    }

    fn save(&mut self, path: &Path) -> Result<()> {
        Ok(Checkpoint::new(&self.task.params, &mut self.optimizer).save(path)?)
    }

    fn load(&mut self, path: &Path) -> Result<()> {
        Ok(Checkpoint::new(&self.task.params, &mut self.optimizer).load(path)?)
    }

    /// The share of new examples whose largest logit is that of the label.
    fn accuracy(&self) -> Result<f64> {
        let Batch { inputs, labels } = (self.task.batch)(TEST_SEED, TEST_SIZE)?;
        let right = (self.task.forward)(&inputs)?.argmax(D::Minus1)?.eq(&labels)?;
        Ok(right.to_dtype(DType::F64)?.mean_all()?.to_scalar()?)
    }
}
