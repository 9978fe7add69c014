//! Initial values.

use candle_core::{Device, Result, Shape, Var};
use rand::Rng;
use rand_distr::StandardNormal;

/// Independent draws from N(0, `std`²).
#[allow(clippy::cast_possible_truncation, reason = "f32 has room for every standard deviation")]
pub(crate) fn normal(shape: impl Into<Shape>, std: f64, rng: &mut impl Rng, device: &Device) -> Result<Var> {
    let shape = shape.into();
    let draws = (0..shape.elem_count()).map(|_| std as f32 * rng.sample::<f32, _>(StandardNormal));
    Var::from_vec(draws.collect::<Vec<f32>>(), shape, device)
}

/// One value everywhere.
pub(crate) fn constant(value: f32, length: usize, device: &Device) -> Result<Var> {
    Var::from_vec(vec![value; length], length, device)
}
