//! Matrices for the tests of this module.

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::{ExactPolar, Orthogonalize};

/// Standard normal entries from a seed, f64.
pub(super) fn normal(shape: (usize, usize), seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f64> = (0..shape.0 * shape.1).map(|_| StandardNormal.sample(&mut rng)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Random singular vectors, and singular values from 1 down to 1/condition, evenly spaced in the logarithm. For an
/// infinite condition number, half of them are 1 and half are 0.
pub(super) fn with_condition((rows, columns): (usize, usize), condition: f64, seed: u64) -> Tensor {
    let k = rows.min(columns);
    let value = |i: usize| {
        if condition.is_finite() { condition.powf(-(i as f64) / (k.max(2) - 1) as f64) } else { f64::from(u8::from(2 * i < k)) }
    };
    let sigma: Vec<f64> = (0..k).map(value).collect();
    let sigma = Tensor::from_vec(sigma, (1, k), &Device::Cpu).unwrap();
    let u = ExactPolar.orthogonalize(&normal((rows, k), seed)).unwrap();
    let v = ExactPolar.orthogonalize(&normal((k, columns), seed + 1)).unwrap();
    u.broadcast_mul(&sigma).unwrap().matmul(&v).unwrap()
}

/// √Σx²
pub(super) fn norm(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum::<f64>().sqrt()
}
