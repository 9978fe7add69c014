//! The training loop that both networks share.

use std::time::Instant;

use candle_core::{Result, Tensor};
use candle_nn::loss::cross_entropy;
use isorate_optim::{AdamW, GroupRules, Muon, NamedParam, Optimizer, RuleConfig};

use crate::convolution::accuracy;

pub struct Batch {
    pub inputs: Tensor,
    /// Class of each example, u32.
    pub labels: Tensor,
}

/// A network and what it should learn.
pub struct Task {
    pub name: &'static str,
    pub params: Vec<NamedParam>,
    pub muon_lr: f64,
    pub adamw_lr: f64,
    pub steps: u64,
    /// Inputs to logits, [batch, classes].
    pub forward: Box<dyn Fn(&Tensor) -> Result<Tensor>>,
    /// Examples from a seed.
    pub batch: Box<dyn Fn(u64, usize) -> Result<Batch>>,
}

const BATCH: usize = 64;
/// Seeds of the training batches are the numbers of their steps.
const TEST_SEED: u64 = u64::MAX;
const TEST_SIZE: usize = 1000;

/// Trains and returns the accuracy on new examples.
pub fn train(task: Task) -> std::result::Result<f64, Box<dyn std::error::Error>> {
    let start = Instant::now();
    println!("\n{}", task.name);
    let others = RuleConfig::AdamW(AdamW { lr: task.adamw_lr, ..AdamW::beside_muon() });
    let groups = GroupRules::hidden(RuleConfig::Muon(Muon::new(task.muon_lr)), others);
    let mut optimizer = Optimizer::new(task.params, &groups)?;
    print!("{}", optimizer.describe());
    for step in 0..task.steps {
        let Batch { inputs, labels } = (task.batch)(step, BATCH)?;
        let loss = cross_entropy(&(task.forward)(&inputs)?, &labels)?;
        if step % (task.steps / 5) == 0 {
            println!("step {step:3}  loss {:.4}", loss.to_scalar::<f32>()?);
        }
        optimizer.set_lr_factor(1.0 - step as f64 / task.steps as f64)?;
        optimizer.backward_step(&loss)?;
    }
    let Batch { inputs, labels } = (task.batch)(TEST_SEED, TEST_SIZE)?;
    let accuracy = accuracy(&(task.forward)(&inputs)?, &labels)?;
    println!("accuracy {accuracy:.3} on {TEST_SIZE} new examples, {:.1} s", start.elapsed().as_secs_f64());
    Ok(accuracy)
}
