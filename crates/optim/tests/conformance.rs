//! What every rule does with gradients that are not as one wishes: zero, of low rank, rows, columns, NaN, infinite. The
//! tests run over `common::all_rules`, which must know every rule there is.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use std::collections::BTreeSet;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, Var};
use common::{Single, all_rules, bits, frobenius, max_abs, normal, rule, run, with_singular_values};
use isorate_optim::{Error, GroupRules, NamedParam, Optimizer, Orthogonalizer, Role, RuleConfig};

/// The names that settings accept: serde lists them when one is unknown.
fn accepted_names() -> Vec<String> {
    let message = serde_json::from_str::<RuleConfig>(r#"{"rule":"?"}"#).unwrap_err().to_string();
    let names: Vec<String> = message.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(names.iter().any(|name| name == "sgd") && names.len() >= 14, "{message}");
    names
}

#[test]
fn the_list_of_rules_is_complete() {
    let listed: BTreeSet<&str> = all_rules().iter().map(RuleConfig::name).collect();
    for name in accepted_names() {
        let canonical = rule(&format!(r#"{{"rule":"{name}","lr":0.1}}"#)).name();
        assert!(listed.contains(canonical), "`{name}` is not in common::all_rules");
    }
}

/// Four parameters of different kinds under one rule.
struct Model {
    vars: Vec<Var>,
    optimizer: Optimizer,
}

const PARAMS: [(&str, Role, &[usize]); 4] = [
    ("conv.weight", Role::Matrix, &[4, 3, 2, 2]),
    ("fc.bias", Role::Vector, &[5]),
    ("fc.weight", Role::Matrix, &[6, 5]),
    ("wte.weight", Role::Embedding, &[7, 4]),
];

impl Model {
    fn new(rule: &RuleConfig, dtype: DType) -> Self {
        let var = |shape: &[usize]| Var::from_tensor(&normal(shape, 1).to_dtype(dtype).unwrap()).unwrap();
        let params: Vec<NamedParam> =
            PARAMS.iter().map(|(name, role, shape)| NamedParam::new(*name, *role, var(shape))).collect();
        let vars = params.iter().map(|param| param.var.clone()).collect();
        Self { vars, optimizer: Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap() }
    }

    /// A step along random gradients, of which the one of parameter `bad` has `value` in its last place.
    fn step(&mut self, seed: u64, bad: Option<(usize, f64)>) -> isorate_optim::Result<()> {
        let mut gradients = GradStore::default();
        for (i, var) in self.vars.iter().enumerate() {
            let mut values: Vec<f64> = normal(var.dims(), seed + i as u64).flatten_all().unwrap().to_vec1().unwrap();
            if let Some((_, value)) = bad.filter(|(index, _)| *index == i) {
                *values.last_mut().unwrap() = value;
            }
            let gradient = Tensor::from_vec(values, var.shape(), var.device()).unwrap();
            gradients.insert(var, gradient.to_dtype(var.dtype()).unwrap());
        }
        self.optimizer.step(&gradients)
    }

    fn bits(&self) -> Vec<Vec<u64>> {
        self.vars.iter().map(|var| bits(var)).collect()
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_named_and_changes_nothing() {
    for rule in all_rules() {
        for dtype in [DType::F32, DType::F64] {
            let mut disturbed = Model::new(&rule, dtype);
            let mut undisturbed = Model::new(&rule, dtype);
            for round in 0..3 {
                for (index, (name, ..)) in PARAMS.iter().enumerate() {
                    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                        let before = disturbed.bits();
                        let error = disturbed.step(900 + round, Some((index, value))).unwrap_err();
                        assert!(matches!(&error, Error::NonFiniteGradient { name: n } if n == name), "{rule:?}: {error}");
                        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
                        assert_eq!(disturbed.bits(), before, "{rule:?}");
                    }
                }
                // A state that had taken anything in would show in the steps that follow.
                for seed in [10 + 20 * round, 15 + 20 * round] {
                    disturbed.step(seed, None).unwrap();
                    undisturbed.step(seed, None).unwrap();
                }
                assert_eq!(disturbed.bits(), undisturbed.bits(), "{rule:?}, {dtype:?}");
            }
        }
    }
}

/// Gradients without full rank, and the rank they have.
fn degenerate(dtype: DType) -> Vec<(&'static str, usize, Tensor)> {
    let zero = normal(&[5, 7], 1).zeros_like().unwrap();
    let repeated = Tensor::ones((4, 4), DType::F64, zero.device()).unwrap();
    [
        ("zero", 0, zero),
        ("rank 1", 1, with_singular_values(5, 7, &[2.0], 1)),
        ("rank 1, tall", 1, with_singular_values(7, 5, &[2.0], 1)),
        ("rank 2", 2, with_singular_values(6, 6, &[2.0, 0.5], 1)),
        ("all entries equal", 1, repeated),
        ("one row", 1, normal(&[1, 6], 1)),
        ("one column", 1, normal(&[6, 1], 1)),
        ("one number", 1, normal(&[1, 1], 1)),
        ("one row of zeros", 0, normal(&[1, 6], 1).zeros_like().unwrap()),
        ("one column of zeros", 0, normal(&[6, 1], 1).zeros_like().unwrap()),
    ]
    .map(|(name, rank, g)| (name, rank, g.to_dtype(dtype).unwrap()))
    .to_vec()
}

#[test]
fn degenerate_gradients_give_finite_steps_and_no_lasting_harm() {
    for rule in all_rules() {
        for dtype in [DType::F32, DType::F64] {
            for (name, rank, gradient) in degenerate(dtype) {
                let start = normal(gradient.dims(), 2).to_dtype(dtype).unwrap();
                let mut single = Single::new(&start, &rule);
                // One of them three times, good ones, and the degenerate one again.
                let good = |seed: u64| normal(gradient.dims(), seed).to_dtype(dtype).unwrap();
                let sequence =
                    [gradient.clone(), gradient.clone(), gradient.clone(), good(3), good(4), gradient.clone(), good(5)];
                for (step, g) in sequence.iter().enumerate() {
                    let before = single.var.as_detached_tensor().copy().unwrap();
                    single.step(g).unwrap();
                    let moved = max_abs(&(single.var.as_tensor() - &before).unwrap());
                    assert!(moved.is_finite() && moved < 10.0, "{rule:?}, {dtype:?}, {name}, step {step}: {moved}");
                    // A first step may only initialise, as SOAP's does.
                    if (rank > 0 && step > 0) || [3, 4, 6].contains(&step) {
                        assert!(moved > 0.0, "{rule:?}, {dtype:?}, {name}: no movement in step {step}");
                    }
                }
            }
        }
    }
}

/// The number of singular values above rounding: the squared norm of the polar factor.
fn rank_of(x: &Tensor) -> f64 {
    if max_abs(x) < 1e-5 { 0.0 } else { frobenius(&Orthogonalizer::Exact.apply(x).unwrap()).powi(2) }
}

#[test]
fn exact_spectral_steps_have_the_rank_of_the_gradient() {
    for json in [
        r#"{"rule":"specgd","lr":1}"#,
        r#"{"rule":"muon","lr":1,"orthogonalizer":"exact"}"#,
        r#"{"rule":"scion","lr":1,"norm":"spectral","orthogonalizer":"exact"}"#,
        r#"{"rule":"dion","lr":1}"#,
        r#"{"rule":"power","lr":1,"exponent":0.25}"#,
    ] {
        for (name, rank, gradient) in degenerate(DType::F64) {
            let step = run(&gradient.zeros_like().unwrap(), &rule(json), std::slice::from_ref(&gradient));
            assert!((rank_of(&step) - rank as f64).abs() < 1e-9, "{json}, {name}: rank {}", rank_of(&step));
        }
    }
}
