//! Parameters in bf16 and f16: f32 arithmetic and state, one rounding in each step.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{Single, all_rules, bits, normal, rule};
use isorate_optim::{Error, GroupRules, NamedParam, Optimizer, Role};

const HALVES: [DType; 2] = [DType::BF16, DType::F16];

/// Values of type `dtype`, in f32.
fn rounded(tensor: &Tensor, dtype: DType) -> Tensor {
    tensor.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap()
}

#[test]
fn each_step_is_the_f32_step_rounded() {
    for dtype in HALVES {
        for shape in [&[6, 9][..], &[4, 3, 2, 2]] {
            for rule in all_rules() {
                let start = rounded(&normal(shape, 1), dtype);
                let mut half = Single::new(&start.to_dtype(dtype).unwrap(), &rule);
                let mut wide_gradient = Single::new(&start.to_dtype(dtype).unwrap(), &rule);
                let mut single = Single::new(&start, &rule);
                for seed in 2..6 {
                    let gradient = rounded(&normal(shape, seed), dtype);
                    half.step(&gradient.to_dtype(dtype).unwrap()).unwrap();
                    wide_gradient.step(&gradient).unwrap();
                    single.step(&gradient).unwrap();
                    // The state goes on in f32; the weight is what the type can hold.
                    let weight = rounded(&single.var, dtype);
                    single.var.set(&weight).unwrap();
                    assert_eq!(half.var.dtype(), dtype);
                    assert_eq!(bits(&half.var), bits(&weight), "{dtype:?} {rule:?} step {}", seed - 1);
                    assert_eq!(bits(&wide_gradient.var), bits(&weight), "{dtype:?} {rule:?} step {}", seed - 1);
                }
                assert_ne!(bits(&half.var), bits(&start), "{rule:?}");
            }
        }
    }
}

#[test]
fn ties_go_to_even() {
    let sgd = rule(r#"{"rule":"sgd","lr":1}"#);
    for (dtype, spacing) in [(DType::BF16, 2.0_f32.powi(-7)), (DType::F16, 2.0_f32.powi(-10))] {
        // Above 1, neighbours are `spacing` apart: 1 is even, 1 + spacing odd.
        let half_steps = [1.0, 0.5, 1.001, 0.999, -0.001];
        let starts = [1.0, 1.0 + spacing, 1.0, 1.0, 1.0];
        let ends = [1.0, 1.0 + spacing, 1.0 + spacing, 1.0, 1.0];
        let mut single = Single::new(&Tensor::new(&starts, &Device::Cpu).unwrap().to_dtype(dtype).unwrap(), &sgd);
        let gradient = half_steps.map(|half| -half * spacing / 2.0);
        single.step(&Tensor::new(&gradient, &Device::Cpu).unwrap()).unwrap();
        assert_eq!(single.var.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap(), ends, "{dtype:?}");
        // 1 + spacing plus half a spacing is a tie as well, and its even neighbour is above.
        let mut single = Single::new(&Tensor::new(&[1.0 + spacing], &Device::Cpu).unwrap().to_dtype(dtype).unwrap(), &sgd);
        single.step(&Tensor::new(&[-spacing / 2.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(single.var.to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap(), [1.0 + 2.0 * spacing], "{dtype:?}");
    }
}

#[test]
fn small_updates_are_lost_as_documented() {
    for (dtype, lost, kept) in
        [(DType::BF16, 2.0_f64.powi(-9), 2.0_f64.powi(-8)), (DType::F16, 2.0_f64.powi(-12), 2.0_f64.powi(-11))]
    {
        let moved = |lr: f64, sign: f32| {
            let sgd = rule(&format!(r#"{{"rule":"sgd","lr":{lr}}}"#));
            let start = Tensor::new(&[1.0_f32], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let mut single = Single::new(&start, &sgd);
            single.step(&Tensor::new(&[sign], &Device::Cpu).unwrap()).unwrap();
            bits(&single.var) != bits(&start)
        };
        // Downwards from 1 the values are half as far apart as upwards.
        assert!(!moved(0.99 * lost, 1.0) && moved(1.01 * lost, 1.0), "{dtype:?}");
        assert!(!moved(0.99 * kept, -1.0) && moved(1.01 * kept, -1.0), "{dtype:?}");
    }
}

#[test]
fn a_bad_gradient_in_half_precision_changes_nothing() {
    for dtype in HALVES {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for rule in all_rules() {
                let start = normal(&[2, 3], 1).to_dtype(dtype).unwrap();
                let good = normal(&[2, 3], 2).to_dtype(dtype).unwrap();
                let poisoned = Tensor::new(&[[1.0, 2.0, 3.0], [4.0, 5.0, bad]], &Device::Cpu).unwrap();
                let mut single = Single::new(&start, &rule);
                for gradient in [poisoned.to_dtype(dtype).unwrap(), poisoned] {
                    let error = single.step(&gradient).unwrap_err();
                    assert!(matches!(&error, Error::NonFiniteGradient { name } if name == "w"), "{error}");
                    assert_eq!(bits(&single.var), bits(&start));
                }
                single.step(&good).unwrap();
                assert_eq!(bits(&single.var), bits(&common::run(&start, &rule, &[good])), "{rule:?}");
            }
        }
    }
}

#[test]
fn gradients_of_candle_are_taken_as_they_are() {
    for dtype in HALVES {
        let weight = Var::from_tensor(&normal(&[3, 4], 1).to_dtype(dtype).unwrap()).unwrap();
        let bias = Var::from_tensor(&normal(&[3], 2)).unwrap();
        let params =
            vec![NamedParam::new("weight", Role::Matrix, weight.clone()), NamedParam::new("bias", Role::Vector, bias.clone())];
        let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule(r#"{"rule":"muon","lr":0.1}"#))).unwrap();
        let before = (bits(&weight), bits(&bias));
        let product = weight.sqr().unwrap().sum(1).unwrap().to_dtype(DType::F64).unwrap();
        optimizer.backward_step(&(product * bias.as_tensor()).unwrap().sum_all().unwrap()).unwrap();
        assert_eq!((weight.dtype(), bias.dtype()), (dtype, DType::F64));
        assert_ne!(bits(&weight), before.0);
        assert_ne!(bits(&bias), before.1);
    }
}

#[test]
fn other_types_are_refused() {
    let refused = |var: Var| {
        let params = vec![NamedParam::new("codes", Role::Matrix, var)];
        Optimizer::new(params, &GroupRules::uniform(rule(r#"{"rule":"sgd","lr":0.1}"#))).unwrap_err().to_string()
    };
    for dtype in [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64, DType::F8E4M3] {
        let text = refused(Var::zeros((2, 3), dtype, &Device::Cpu).unwrap());
        assert_eq!(
            text,
            format!(
                "parameter `codes` is {dtype:?}, but it must be f32, f64, bf16 or f16\n\
                 hint: keep weights in f32 and convert them in the forward pass; put what is no weight into a frozen group"
            )
        );
    }
    // A gradient in the other half precision, or in f64, is a mistake.
    for (dtype, other) in [(DType::BF16, DType::F16), (DType::F16, DType::BF16), (DType::BF16, DType::F64)] {
        let mut single = Single::new(&normal(&[2, 3], 1).to_dtype(dtype).unwrap(), &rule(r#"{"rule":"sgd","lr":0.1}"#));
        let error = single.step(&normal(&[2, 3], 2).to_dtype(other).unwrap()).unwrap_err();
        assert!(matches!(error, Error::GradientMismatch { .. }), "{error}");
    }
}
