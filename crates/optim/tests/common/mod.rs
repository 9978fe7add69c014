//! What several tests need: seeded matrices and single steps.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]
#![allow(dead_code, reason = "each test uses a part")]

pub mod saved;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use isorate_optim::{GroupRules, NamedParam, Optimizer, Orthogonalizer, Result, Role, RuleConfig};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

mod rules;

pub use rules::RULES;

/// Standard normal entries from a seed, f64.
pub fn normal(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count = shape.iter().product();
    let values: Vec<f64> = (0..count).map(|_| StandardNormal.sample(&mut rng)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// A matrix [r, c] with the given singular values and random singular vectors, f64.
pub fn with_singular_values(rows: usize, columns: usize, sigma: &[f64], seed: u64) -> Tensor {
    let k = sigma.len();
    let u = Orthogonalizer::Exact.apply(&normal(&[rows, k], seed)).unwrap();
    let v = Orthogonalizer::Exact.apply(&normal(&[k, columns], seed + 1)).unwrap();
    let sigma = Tensor::new(sigma, &Device::Cpu).unwrap().reshape((1, k)).unwrap();
    u.broadcast_mul(&sigma).unwrap().matmul(&v).unwrap()
}

pub fn max_abs(t: &Tensor) -> f64 {
    let t = t.to_dtype(DType::F64).unwrap().abs().unwrap().flatten_all().unwrap();
    t.max(0).unwrap().to_scalar().unwrap()
}

pub fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    max_abs(&(a.to_dtype(DType::F64).unwrap() - b.to_dtype(DType::F64).unwrap()).unwrap())
}

pub fn frobenius(t: &Tensor) -> f64 {
    t.to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap().sqrt()
}

/// All values, bit for bit.
pub fn bits(t: &Tensor) -> Vec<u64> {
    let t = t.to_dtype(DType::F64).unwrap().flatten_all().unwrap();
    t.to_vec1::<f64>().unwrap().into_iter().map(f64::to_bits).collect()
}

pub fn rule(json: &str) -> RuleConfig {
    serde_json::from_str(json).unwrap()
}

/// The rules of [`RULES`].
pub fn all_rules() -> Vec<RuleConfig> {
    RULES.iter().map(|json| rule(json)).collect()
}

/// One parameter under one rule.
pub struct Single {
    pub var: Var,
    pub optimizer: Optimizer,
}

impl Single {
    pub fn new(start: &Tensor, rule: &RuleConfig) -> Self {
        Self::named("w", start, rule)
    }

    /// With another name, on which the random start of Dion depends.
    pub fn named(name: &str, start: &Tensor, rule: &RuleConfig) -> Self {
        let var = Var::from_tensor(&start.copy().unwrap()).unwrap();
        let params = vec![NamedParam::new(name, Role::Matrix, var.clone())];
        Self { var, optimizer: Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap() }
    }

    pub fn step(&mut self, gradient: &Tensor) -> Result<()> {
        let mut gradients = GradStore::default();
        gradients.insert(&self.var, gradient.clone());
        self.optimizer.step(&gradients)
    }
}

/// The weights after one step for each gradient.
pub fn run(start: &Tensor, rule: &RuleConfig, gradients: &[Tensor]) -> Tensor {
    let mut single = Single::new(start, rule);
    for gradient in gradients {
        single.step(gradient).unwrap();
    }
    single.var.as_detached_tensor()
}
