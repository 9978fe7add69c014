//! Associative recall: a sequence of pairs (key, value) and then one of the keys; a transformer block answers with the
//! value that belonged to it. The pairs are drawn anew for each sequence, so there is nothing to learn by heart.

use candle_core::{D, Device, Result, Tensor};
use candle_nn::ops::softmax;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::init::Init;
use crate::run::{Batch, Task};

const KEYS: u32 = 16;
const VALUES: u32 = 8;
const PAIRS: usize = 8;
/// Positions of a sequence: the pairs and the question.
const LENGTH: usize = PAIRS + 1;
const WIDTH: usize = 32;
const HEADS: usize = 4;

/// One block, without positions, since the order of the pairs does not matter: attention and an MLP, each after a
/// normalization and around a residual connection.
struct Network {
    keys: Tensor,
    values: Tensor,
    norms: [Tensor; 3],
    qkv: Tensor,
    proj: Tensor,
    up: Tensor,
    down: Tensor,
    head: Tensor,
}

pub fn task() -> Result<Task> {
    let mut init = Init::new(2);
    let network = Network {
        // Standard deviation 1: the gain is the number of columns.
        keys: init.weight("keys.embed.weight", &[KEYS as usize, WIDTH], WIDTH as f32)?,
        // The last row stands for the value that is asked for.
        values: init.weight("values.embed.weight", &[VALUES as usize + 1, WIDTH], WIDTH as f32)?,
        norms: [
            init.constant("block.norm1.weight", WIDTH, 1.0)?,
            init.constant("block.norm2.weight", WIDTH, 1.0)?,
            init.constant("norm.weight", WIDTH, 1.0)?,
        ],
        qkv: init.weight("block.attention.qkv.weight", &[3 * WIDTH, WIDTH], 1.0)?,
        proj: init.weight("block.attention.proj.weight", &[WIDTH, WIDTH], 0.5)?,
        up: init.weight("block.mlp.up.weight", &[4 * WIDTH, WIDTH], 2.0)?,
        down: init.weight("block.mlp.down.weight", &[WIDTH, 4 * WIDTH], 0.5)?,
        head: init.weight("head.weight", &[VALUES as usize, WIDTH], 1.0)?,
    };
    Ok(Task {
        name: "associative recall, transformer block",
        params: init.params,
        muon_lr: 0.02,
        adamw_lr: 5e-3,
        steps: 200,
        forward: Box::new(move |tokens| network.forward(tokens)),
        batch,
        least_accuracy: 0.95,
    })
}

impl Network {
    /// Tokens [batch, 2, length], keys and values, to logits [batch, values] at the last position.
    fn forward(&self, tokens: &Tensor) -> Result<Tensor> {
        let batch = tokens.dim(0)?;
        let embed = |table: &Tensor, row: usize| {
            let ids = tokens.narrow(1, row, 1)?.flatten_all()?;
            table.index_select(&ids, 0)?.reshape((batch, LENGTH, WIDTH))
        };
        let x = (embed(&self.keys, 0)? + embed(&self.values, 1)?)?;
        let x = (&x + self.attention(&norm(&x, &self.norms[0])?)?)?;
        let hidden = linear(&norm(&x, &self.norms[1])?, &self.up)?.relu()?;
        let x = (&x + linear(&hidden, &self.down)?)?;
        let last = x.narrow(1, LENGTH - 1, 1)?.squeeze(1)?;
        norm(&last, &self.norms[2])?.matmul(&self.head.t()?)
    }

    fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let batch = x.dim(0)?;
        let qkv = linear(x, &self.qkv)?.reshape((batch, LENGTH, 3, HEADS, WIDTH / HEADS))?;
        // [batch, heads, length, width/heads]
        let part = |i: usize| qkv.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let scores = (part(0)?.matmul(&part(1)?.t()?)? * (HEADS as f64 / WIDTH as f64).sqrt())?;
        // `softmax_last_dim`, like candle's fused normalizations, has no gradient.
        let mixed = softmax(&scores, D::Minus1)?.matmul(&part(2)?)?;
        linear(&mixed.transpose(1, 2)?.reshape((batch, LENGTH, WIDTH))?, &self.proj)
    }
}

fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (batch, length, width) = x.dims3()?;
    x.reshape((batch * length, width))?.matmul(&weight.t()?)?.reshape((batch, length, weight.dim(0)?))
}

/// x/rms(x), times the gains.
fn norm(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    let mean_square = x.sqr()?.mean_keepdim(D::Minus1)?;
    x.broadcast_div(&(mean_square + 1e-6)?.sqrt()?)?.broadcast_mul(gain)
}

/// `count` sequences, [count, 2, length], and their answers, [count].
fn batch(seed: u64, count: usize) -> Result<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tokens = Vec::with_capacity(count * 2 * LENGTH);
    let mut answers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut keys: Vec<u32> = (0..KEYS).collect();
        keys.shuffle(&mut rng);
        let mut values: Vec<u32> = (0..PAIRS).map(|_| rng.random_range(0..VALUES)).collect();
        let asked = rng.random_range(0..PAIRS);
        answers.push(values[asked]);
        keys[PAIRS] = keys[asked];
        values.push(VALUES);
        tokens.extend(&keys[..LENGTH]);
        tokens.extend(values);
    }
    let inputs = Tensor::from_vec(tokens, (count, 2, LENGTH), &Device::Cpu)?;
    Ok(Batch { inputs, labels: Tensor::new(answers, &Device::Cpu)? })
}
