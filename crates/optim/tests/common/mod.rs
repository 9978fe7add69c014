//! What several tests need: seeded matrices and single steps.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]
#![allow(dead_code, reason = "each test uses a part")]

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use isorate_optim::{GroupRules, NamedParam, Optimizer, Orthogonalizer, Result, Role, RuleConfig};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

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

/// One rule of each kind, with every part of its update switched on.
pub fn all_rules() -> Vec<RuleConfig> {
    [
        r#"{"rule":"sgd","lr":0.1}"#,
        r#"{"rule":"sgd","lr":0.1,"momentum":0.9,"nesterov":true,"weight_decay":0.01}"#,
        r#"{"rule":"adam","lr":0.1,"weight_decay":0.01}"#,
        r#"{"rule":"adamw","lr":0.1}"#,
        r#"{"rule":"ngd","lr":0.1}"#,
        r#"{"rule":"nmd","lr":0.1,"weight_decay":0.01}"#,
        r#"{"rule":"signgd","lr":0.1}"#,
        r#"{"rule":"signum","lr":0.1,"weight_decay":0.01}"#,
        r#"{"rule":"specgd","lr":0.1,"weight_decay":0.01}"#,
        r#"{"rule":"muon","lr":0.1,"weight_decay":0.01}"#,
        r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact","nesterov":false,"scale":"spectral"}"#,
        r#"{"rule":"shampoo","lr":0.1,"eps":1e-4,"weight_decay":0.01}"#,
        r#"{"rule":"shampoo","lr":0.1,"beta2":0.9,"precondition_every":2,"max_dim":64,"graft":"adam"}"#,
        r#"{"rule":"soap","lr":0.1,"precondition_every":2}"#,
        r#"{"rule":"dion","lr":0.1}"#,
        r#"{"rule":"dion","lr":0.1,"rank_fraction":0.4,"momentum":0.8}"#,
        r#"{"rule":"scion","lr":0.1}"#,
        r#"{"rule":"scion","lr":0.1,"norm":"spectral","orthogonalizer":"exact","radius":3.0,"constrained":false}"#,
        r#"{"rule":"scion","lr":0.1,"norm":"sign"}"#,
        r#"{"rule":"scion","lr":0.1,"norm":"col-norm","radius":3.0}"#,
        r#"{"rule":"scion","lr":0.1,"norm":"row-norm","momentum":0.0}"#,
        r#"{"rule":"scion","lr":0.1,"norm":"bias-rms","constrained":false}"#,
        r#"{"rule":"power","lr":0.1,"momentum":0.9,"weight_decay":0.01}"#,
        r#"{"rule":"power","lr":0.1,"exponent":0.0}"#,
        r#"{"rule":"power","lr":0.1,"exponent":1.0}"#,
    ]
    .map(rule)
    .to_vec()
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
