//! What the works are done on: seeded, so that every run does the same.

use candle_core::{Device, Shape, Tensor};
use rand::distr::Distribution as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::Result;

/// Standard normal entries, f32.
pub(crate) fn normal(shape: impl Into<Shape>, seed: u64) -> Result<Tensor> {
    let (shape, mut rng) = (shape.into(), ChaCha8Rng::seed_from_u64(seed));
    let values: Vec<f32> = (0..shape.elem_count()).map(|_| StandardNormal.sample(&mut rng)).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Whole numbers below `limit`, u32.
pub(crate) fn whole(shape: impl Into<Shape>, limit: u32, seed: u64) -> Result<Tensor> {
    let (shape, mut rng) = (shape.into(), ChaCha8Rng::seed_from_u64(seed));
    let values: Vec<u32> = (0..shape.elem_count()).map(|_| rng.random_range(0..limit)).collect();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}
