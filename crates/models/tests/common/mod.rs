//! Values that the tests and the scripts under `reference` compute alike, bit for bit.

#![allow(dead_code, clippy::unwrap_used, reason = "each test takes what it needs, and fails by a panic")]

use candle_core::{Device, Tensor, Var};
use isorate_models::{Model, ResNet, ResNetConfig, ResNetDepth, Stem};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// Multiples of 2⁻²³ in [−1, 1): splitmix64 over the place, from the FNV-1a hash of the name. As in `reference/formula.py`.
pub fn uniform(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    (1..=count as u64)
        .map(|i| {
            let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let bits = u32::try_from((z ^ (z >> 31)) >> 40).unwrap();
            bits as f32 * f32::powi(2.0, -23) - 1.0
        })
        .collect()
}

/// center + scale · uniform.
pub fn scaled(name: &str, shape: &[usize], center: f64, scale: f64) -> Tensor {
    #[allow(clippy::cast_possible_truncation, reason = "a formula whose constants are short")]
    let (center, scale) = (center as f32, scale as f32);
    let values = uniform(name, shape.iter().product()).into_iter().map(|u| center + scale * u);
    Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap()
}

/// The norm of a tensor and its inner product with the formula's values, in f64.
pub fn digest(name: &str, tensor: &Tensor) -> [f64; 2] {
    let values = tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    let product = values.iter().zip(uniform(name, values.len())).map(|(&v, u)| f64::from(v) * f64::from(u)).sum();
    [norm, product]
}

/// Parameters, then buffers.
pub fn tensors(model: &impl Model) -> Vec<(String, Var)> {
    model.parameters().into_iter().map(|parameter| (parameter.name, parameter.var)).chain(model.buffers()).collect()
}

pub fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

/// A ResNet-18 of width 2 for images of one channel.
pub fn small_resnet(classes: usize, seed: u64) -> ResNet {
    let config = ResNetConfig { depth: ResNetDepth::D18, stem: Stem::Cifar, width: 2, channels: 1, classes };
    ResNet::new(config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::Cpu).unwrap()
}
