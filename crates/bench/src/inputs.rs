//! What the works are done on: seeded, so that every run does the same.

use candle_core::{Device, Tensor, Var};
use isorate_kernels::cross_entropy;
use isorate_models::{Activation, Mlp};
use isorate_optim::{NamedParam, Role};
use rand::distr::Distribution as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::Result;

/// The widths of the network whose training step is measured.
pub(crate) const WIDTHS: [usize; 4] = [784, 512, 512, 10];
/// Examples in a batch.
pub(crate) const BATCH: usize = 128;

/// Standard normal entries, f32.
pub(crate) fn normal(rows: usize, columns: usize, seed: u64) -> Result<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..rows * columns).map(|_| StandardNormal.sample(&mut rng)).collect();
    Ok(Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
}

/// The network 784-512-512-10 with ReLU, and one batch.
pub(crate) struct Training {
    mlp: Mlp,
    images: Tensor,
    labels: Tensor,
}

impl Training {
    pub fn new() -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mlp = Mlp::new(&WIDTHS, Activation::Relu, true, &mut rng, &Device::Cpu)?;
        let labels: Vec<u32> = (0..BATCH).map(|_| rng.random_range(0..10)).collect();
        Ok(Self { mlp, images: normal(BATCH, WIDTHS[0], 1)?, labels: Tensor::from_vec(labels, BATCH, &Device::Cpu)? })
    }

    pub fn loss(&self) -> Result<Tensor> {
        Ok(cross_entropy(&self.mlp.forward(&self.images)?, &self.labels)?)
    }

    /// Every weight matrix, the head among them, counts as a matrix, as in the experiments that study a rule.
    pub fn params(&self) -> Vec<NamedParam> {
        let role = |var: &Var| if var.dims().len() == 1 { Role::Vector } else { Role::Matrix };
        self.mlp.named_parameters().into_iter().map(|(name, var)| NamedParam::new(name, role(&var), var)).collect()
    }

    /// Multiplications and additions of the forward pass; the backward pass has as many for the weights, and again as many
    /// for the inputs of every layer but the first.
    pub fn flops(with_backward: bool) -> f64 {
        let layer = |pair: &[usize]| 2.0 * (BATCH * pair[0] * pair[1]) as f64;
        let forward: f64 = WIDTHS.windows(2).map(layer).sum();
        if with_backward { 3.0 * forward - layer(&WIDTHS[..2]) } else { forward }
    }
}
