//! Clipping and accumulation of gradients.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{bits, frobenius, max_difference, normal, rule};
use isorate_optim::{
    Accumulator, Error, GroupRules, NamedParam, Optimizer, Role, RuleConfig, Sgd, clip_grad_norm, clip_grad_value,
};
use proptest::prelude::*;

fn param(name: &str, shape: &[usize], dtype: DType) -> NamedParam {
    let var = Var::from_tensor(&normal(shape, 1).to_dtype(dtype).unwrap()).unwrap();
    NamedParam::new(name, Role::Matrix, var)
}

fn store(gradients: &[(&NamedParam, &Tensor)]) -> GradStore {
    let mut store = GradStore::default();
    for (param, gradient) in gradients {
        store.insert(&param.var, (*gradient).clone());
    }
    store
}

fn values(gradients: &GradStore, param: &NamedParam) -> Vec<f64> {
    let gradient = gradients.get(&param.var).unwrap();
    assert_eq!(gradient.dtype(), param.var.dtype());
    gradient.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The numbers that `torch_conveniences.py` prints.
#[test]
fn clipping_by_norm_is_that_of_torch() {
    let expected = [
        0.350_486_302_050_324_1,
        -0.700_972_604_100_648_2,
        1.051_458_906_150_972_3,
        0.175_243_151_025_162_05,
        0.087_621_575_512_581_03,
        -1.401_945_208_201_296_4,
        0.525_729_453_075_486_1,
    ];
    for (dtype, tolerance) in [(DType::F64, 1e-15), (DType::F32, 1e-7)] {
        let (a, b) = (param("a", &[2, 2], dtype), param("b", &[3], dtype));
        let ga = Tensor::new(&[[1.0, -2.0], [3.0, 0.5]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let gb = Tensor::new(&[0.25, -4.0, 1.5], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let mut gradients = store(&[(&a, &ga), (&b, &gb)]);
        let params = [a, b];
        let norm = clip_grad_norm(&mut gradients, &params, 2.0).unwrap();
        assert!((norm - 5.706_356_105_256_663).abs() < 1e-14, "{norm}");
        let clipped = [values(&gradients, &params[0]), values(&gradients, &params[1])].concat();
        for (ours, torch) in clipped.iter().zip(expected) {
            assert!((ours - torch).abs() <= tolerance, "{dtype:?}: {ours}, torch {torch}");
        }
        // Below the limit, and with an infinite one, not a bit changes.
        let mut gradients = store(&[(&params[0], &ga), (&params[1], &gb)]);
        for limit in [6.0, f64::INFINITY] {
            assert_eq!(clip_grad_norm(&mut gradients, &params, limit).unwrap(), norm);
            assert_eq!(bits(gradients.get(&params[0].var).unwrap()), bits(&ga));
        }
    }
}

proptest! {
    #[test]
    fn clipping_by_norm_keeps_the_direction(scale in -30.0_f64..30.0, limit in 1e-3_f64..1e3, seed in 0_u64..1000) {
        let (a, b) = (param("a", &[3, 4], DType::F64), param("b", &[5], DType::F64));
        let scale = 10.0_f64.powf(scale);
        let (ga, gb) = ((normal(&[3, 4], seed) * scale).unwrap(), (normal(&[5], seed + 1) * scale).unwrap());
        let mut gradients = store(&[(&a, &ga), (&b, &gb)]);
        let before = frobenius(&ga).hypot(frobenius(&gb));
        let params = [a, b];
        let norm = clip_grad_norm(&mut gradients, &params, limit).unwrap();
        prop_assert!((norm / before - 1.0).abs() < 1e-13);
        let (ca, cb) = (gradients.get(&params[0].var).unwrap(), gradients.get(&params[1].var).unwrap());
        let after = frobenius(ca).hypot(frobenius(cb));
        prop_assert!(after <= limit.min(before) * (1.0 + 1e-13));
        prop_assert!(before <= limit || after > limit * 0.998, "{after}");
        prop_assert!(max_difference(&(ca * (before / after)).unwrap(), &ga) <= 1e-12 * before);
        prop_assert!(max_difference(&(cb * (before / after)).unwrap(), &gb) <= 1e-12 * before);
    }
}

#[test]
fn norms_of_extreme_gradients_are_finite() {
    for size in [1e-300, 1e300] {
        let a = param("a", &[2], DType::F64);
        let gradient = Tensor::new(&[3.0 * size, 4.0 * size], &Device::Cpu).unwrap();
        let mut gradients = store(&[(&a, &gradient)]);
        let norm = clip_grad_norm(&mut gradients, std::slice::from_ref(&a), 1.0).unwrap();
        assert!((norm / size - 5.0).abs() < 1e-12);
        let clipped = values(&gradients, &a);
        let expected = if size < 1.0 { 3.0 * size } else { 0.6 };
        assert!((clipped[0] / expected - 1.0).abs() < 1e-12, "{clipped:?}");
    }
}

#[test]
fn half_precision_is_clipped_in_f32() {
    let a = param("a", &[2, 200], DType::F16);
    // The squares, 1e6, overflow in f16.
    let gradient = Tensor::full(1000.0_f32, (2, 200), &Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
    let mut gradients = store(&[(&a, &gradient)]);
    assert_eq!(clip_grad_norm(&mut gradients, std::slice::from_ref(&a), 20.0).unwrap(), 20_000.0);
    assert!(values(&gradients, &a).iter().all(|g| (g - 1.0).abs() < 1e-3));
}

#[test]
fn bad_gradients_and_limits_are_named_and_change_nothing() {
    type Clip = fn(&mut GradStore, &[NamedParam], f64) -> isorate_optim::Result<f64>;
    for clip in [clip_grad_norm as Clip, clip_grad_value as Clip] {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (a, b) = (param("first", &[2, 2], DType::F64), param("second", &[3], DType::F64));
            let good = normal(&[2, 2], 3);
            let poisoned = Tensor::new(&[0.0, bad, 1.0], &Device::Cpu).unwrap();
            let mut gradients = store(&[(&a, &good), (&b, &poisoned)]);
            let error = clip(&mut gradients, &[a.clone(), b], 0.1).unwrap_err();
            assert!(matches!(&error, Error::NonFiniteGradient { name } if name == "second"), "{error}");
            assert_eq!(bits(gradients.get(&a.var).unwrap()), bits(&good));
        }
        let a = param("a", &[2, 2], DType::F64);
        let mut gradients = store(&[(&a, &normal(&[4], 3))]);
        let error = clip(&mut gradients, std::slice::from_ref(&a), 1.0).unwrap_err();
        assert!(matches!(&error, Error::GradientMismatch { name, .. } if name == "a"), "{error}");
        for limit in [0.0, -1.0, f64::NAN] {
            assert!(matches!(clip(&mut gradients, &[], limit), Err(Error::Setting { .. })));
        }
        assert_eq!(clip(&mut GradStore::default(), &[a], 1.0).unwrap(), 0.0);
    }
}

#[test]
fn clipping_by_value_limits_every_element() {
    let (a, b) = (param("a", &[2, 2], DType::F32), param("b", &[2], DType::F32));
    let ga = Tensor::new(&[[1.0_f32, -2.0], [3.0, -0.5]], &Device::Cpu).unwrap();
    let gb = Tensor::new(&[0.5_f32, -1.0], &Device::Cpu).unwrap();
    let mut gradients = store(&[(&a, &ga), (&b, &gb)]);
    let params = [a, b];
    assert_eq!(clip_grad_value(&mut gradients, &params, 1.5).unwrap(), 3.0);
    assert_eq!(values(&gradients, &params[0]), [1.0, -1.5, 1.5, -0.5]);
    assert_eq!(values(&gradients, &params[1]), [0.5, -1.0]);
    // A broadcast gradient, as that of a plain sum, is clipped too.
    let loss = (params[1].var.sum_all().unwrap() * 2.0).unwrap();
    let mut gradients = loss.backward().unwrap();
    assert_eq!(clip_grad_value(&mut gradients, &params, 1.5).unwrap(), 2.0);
    assert_eq!(values(&gradients, &params[1]), [1.5, 1.5]);
}

#[test]
fn rules_without_a_scale_do_not_feel_clipping_but_their_momentum_does() {
    let after = |rule: &RuleConfig, clip: bool| {
        let w = param("w", &[3, 4], DType::F64);
        let mut optimizer = Optimizer::new(vec![w.clone()], &GroupRules::uniform(rule.clone())).unwrap();
        for (step, size) in [1.0, 100.0, 1.0].into_iter().enumerate() {
            let mut gradients = store(&[(&w, &(normal(&[3, 4], 5 + step as u64) * size).unwrap())]);
            if clip {
                clip_grad_norm(&mut gradients, std::slice::from_ref(&w), 1.0).unwrap();
            }
            optimizer.step(&gradients).unwrap();
        }
        w.var.as_detached_tensor()
    };
    let difference = |text: &str| max_difference(&after(&rule(text), true), &after(&rule(text), false));
    for text in [r#"{"rule":"ngd","lr":0.1}"#, r#"{"rule":"signgd","lr":0.1}"#, r#"{"rule":"specgd","lr":0.1}"#] {
        assert!(difference(text) < 1e-12, "{text}: {}", difference(text));
    }
    let muon = r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact"}"#;
    for text in [r#"{"rule":"nmd","lr":0.1}"#, r#"{"rule":"signum","lr":0.1}"#, muon, r#"{"rule":"sgd","lr":0.1}"#] {
        assert!(difference(text) > 1e-2, "{text}: {}", difference(text));
    }
}

/// ½ mean over examples of ‖Wx‖², whose gradient is a mean.
fn mean_loss(w: &NamedParam, examples: &Tensor) -> Tensor {
    let y = examples.matmul(&w.var.t().unwrap()).unwrap();
    (y.sqr().unwrap().sum(1).unwrap().mean_all().unwrap() * 0.5).unwrap()
}

#[test]
fn micro_batches_are_one_large_batch() {
    for (dtype, tolerance) in [(DType::F64, 1e-14), (DType::F32, 1e-6)] {
        let w = param("w", &[3, 4], dtype);
        let params = std::slice::from_ref(&w);
        let examples = normal(&[12, 4], 9).to_dtype(dtype).unwrap();
        let whole = mean_loss(&w, &examples).backward().unwrap();
        let whole = whole.get(&w.var).unwrap();

        let mut equal = Accumulator::mean(params, 3).unwrap();
        let mut sum = Accumulator::sum(params, 3).unwrap();
        for round in 0..2 {
            for part in 0..3 {
                let loss = mean_loss(&w, &examples.narrow(0, 4 * part, 4).unwrap());
                assert_eq!(equal.pending(), part);
                let mean = equal.add(&loss.backward().unwrap()).unwrap();
                let total = sum.add(&(loss / 3.0).unwrap().backward().unwrap()).unwrap();
                assert_eq!((mean.is_some(), total.is_some()), (part == 2, part == 2));
                for gradients in mean.iter().chain(&total) {
                    let difference = max_difference(gradients.get(&w.var).unwrap(), whole);
                    assert!(difference < tolerance, "{dtype:?}, round {round}: {difference}");
                }
            }
        }

        // Micro-batches of 1, 4 and 7 examples, with and without their sizes as weights.
        let mut weighted = Accumulator::mean(params, 3).unwrap();
        let mut unweighted = Accumulator::mean(params, 3).unwrap();
        let (mut with, mut without) = (None, None);
        for (start, size) in [(0, 1), (1, 4), (5, 7)] {
            let gradients = mean_loss(&w, &examples.narrow(0, start, size).unwrap()).backward().unwrap();
            with = weighted.add_weighted(&gradients, size as f64).unwrap();
            without = unweighted.add(&gradients).unwrap();
        }
        assert!(max_difference(with.unwrap().get(&w.var).unwrap(), whole) < tolerance);
        assert!(max_difference(without.unwrap().get(&w.var).unwrap(), whole) > 0.1);
    }
}

#[test]
fn missing_gradients_count_as_zero() {
    let (a, b, c) = (param("a", &[2], DType::F64), param("b", &[2], DType::F64), param("c", &[2], DType::F64));
    let params = [a.clone(), b.clone(), c.clone()];
    let mut accumulator = Accumulator::mean(&params, 2).unwrap();
    let (x, y) = (Tensor::new(&[2.0, 4.0], &Device::Cpu).unwrap(), Tensor::new(&[6.0, 8.0], &Device::Cpu).unwrap());
    assert!(accumulator.add(&store(&[(&a, &x)])).unwrap().is_none());
    let gradients = accumulator.add(&store(&[(&a, &y), (&b, &y)])).unwrap().unwrap();
    assert_eq!(values(&gradients, &a), [4.0, 6.0]);
    assert_eq!(values(&gradients, &b), [3.0, 4.0]);
    assert!(gradients.get(&c.var).is_none());
    // The next round knows nothing of this one, also where it has a buffer already.
    accumulator.add(&store(&[(&c, &x)])).unwrap();
    let gradients = accumulator.add(&store(&[(&a, &x)])).unwrap().unwrap();
    assert_eq!((values(&gradients, &a), values(&gradients, &c)), (vec![1.0, 2.0], vec![1.0, 2.0]));
    assert!(gradients.get(&b.var).is_none());
    // A round that ends early divides by what it has had.
    accumulator.add(&store(&[(&a, &x)])).unwrap();
    assert_eq!(values(&accumulator.finish().unwrap().unwrap(), &a), [2.0, 4.0]);
    assert!(accumulator.finish().unwrap().is_none());
    accumulator.add(&store(&[(&a, &y)])).unwrap();
    accumulator.clear();
    assert_eq!(accumulator.pending(), 0);
    accumulator.add(&store(&[(&a, &x)])).unwrap();
    assert_eq!(values(&accumulator.add(&store(&[(&a, &x)])).unwrap().unwrap(), &a), [2.0, 4.0]);
}

#[test]
fn accumulated_gradients_share_no_memory() {
    let a = param("a", &[2], DType::F64);
    let mut accumulator = Accumulator::mean(std::slice::from_ref(&a), 1).unwrap();
    // The gradient is the weight itself, and a variable, so that writing to it would be seen.
    let source = Var::new(&[1.0, 2.0], &Device::Cpu).unwrap();
    let first = accumulator.add(&store(&[(&a, source.as_tensor())])).unwrap().unwrap();
    source.set(&Tensor::new(&[7.0, 7.0], &Device::Cpu).unwrap()).unwrap();
    assert_eq!(values(&first, &a), [1.0, 2.0]);
    let second = accumulator.add(&store(&[(&a, source.as_tensor())])).unwrap().unwrap();
    assert_eq!(values(&first, &a), [1.0, 2.0]);
    assert_eq!(values(&second, &a), [7.0, 7.0]);
    assert_eq!(source.to_vec1::<f64>().unwrap(), [7.0, 7.0]);
    // Nothing of the graph of `source` hangs on the result: a second backward pass finds no way to it.
    let through = first.get(&a.var).unwrap().sum_all().unwrap().backward().unwrap();
    assert!(through.get(&source).is_none());
}

#[test]
fn a_bad_micro_batch_is_named_and_not_taken_in() {
    let (a, b) = (param("first", &[2], DType::F64), param("second", &[2], DType::F64));
    let good = Tensor::new(&[2.0, 4.0], &Device::Cpu).unwrap();
    let nan = Tensor::new(&[0.0, f64::NAN], &Device::Cpu).unwrap();
    let mut accumulator = Accumulator::mean(&[a.clone(), b.clone()], 2).unwrap();
    accumulator.add(&store(&[(&a, &good), (&b, &good)])).unwrap();
    let error = accumulator.add(&store(&[(&a, &good), (&b, &nan)])).unwrap_err();
    assert!(matches!(&error, Error::NonFiniteGradient { name } if name == "second"), "{error}");
    assert_eq!(accumulator.pending(), 1);
    let gradients = accumulator.add(&store(&[(&a, &good)])).unwrap().unwrap();
    assert_eq!((values(&gradients, &a), values(&gradients, &b)), (vec![2.0, 4.0], vec![1.0, 2.0]));
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(accumulator.add_weighted(&GradStore::default(), weight), Err(Error::Setting { .. })));
    }
    assert!(matches!(Accumulator::mean(&[a], 0), Err(Error::Setting { .. })));
}

#[test]
fn half_precision_is_summed_in_f32() {
    let a = param("a", &[1], DType::BF16);
    let one = Tensor::ones(1, DType::BF16, &Device::Cpu).unwrap();
    let mut accumulator = Accumulator::sum(std::slice::from_ref(&a), 512).unwrap();
    let mut last = None;
    for _ in 0..512 {
        last = accumulator.add(&store(&[(&a, &one)])).unwrap();
    }
    // In bf16 the sum would stay at 256.
    assert_eq!(values(&last.unwrap(), &a), [512.0]);
}

#[test]
fn a_step_with_accumulated_gradients_is_a_step() {
    let w = param("w", &[3, 4], DType::F64);
    let start = bits(&w.var);
    let mut optimizer = Optimizer::new(vec![w.clone()], &GroupRules::uniform(RuleConfig::Sgd(Sgd::new(1.0)))).unwrap();
    let mut accumulator = Accumulator::mean(std::slice::from_ref(&w), 2).unwrap();
    let gradient = normal(&[3, 4], 3);
    accumulator.add(&store(&[(&w, &gradient)])).unwrap();
    assert_eq!(bits(&w.var), start);
    let gradients = accumulator.add(&store(&[(&w, &gradient)])).unwrap().unwrap();
    optimizer.step(&gradients).unwrap();
    assert!(max_difference(&w.var, &(normal(&[3, 4], 1) - gradient).unwrap()) < 1e-15);
    assert_eq!(optimizer.steps(), 1);
}
