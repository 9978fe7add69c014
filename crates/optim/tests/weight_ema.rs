//! The average of the weights.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::{DType, Device, Tensor, Var};
use common::{bits, max_difference, normal};
use isorate_optim::{Error, NamedParam, Role, WeightEma};

fn scalar(value: f64) -> NamedParam {
    NamedParam::new("w", Role::Vector, Var::new(&[value], &Device::Cpu).unwrap())
}

fn set(param: &NamedParam, value: f64) {
    param.var.set(&Tensor::new(&[value], &Device::Cpu).unwrap()).unwrap();
}

fn average(ema: &WeightEma) -> f64 {
    ema.averages().next().unwrap().1.to_vec1::<f64>().unwrap()[0]
}

#[test]
fn the_average_follows_its_equation() {
    // As `torch_conveniences.py` prints: torch takes the first weights as they are, here the average starts with them.
    let w = scalar(2.0);
    let mut ema = WeightEma::new(std::slice::from_ref(&w), 0.9).unwrap();
    for (weight, expected) in [(5.0, 2.3), (-1.0, 1.97)] {
        set(&w, weight);
        ema.update().unwrap();
        assert!((average(&ema) - expected).abs() < 1e-15, "{}", average(&ema));
    }
    assert_eq!(ema.updates(), 2);

    let w = scalar(1.0);
    let mut ema = WeightEma::new(std::slice::from_ref(&w), 0.2).unwrap().with_warmup();
    let (mut expected, mut decays) = (1.0, Vec::new());
    for t in 0..5 {
        let decay = ((1.0 + f64::from(t)) / (10.0 + f64::from(t))).min(0.2);
        assert_eq!(ema.decay(), decay);
        decays.push(decay);
        set(&w, f64::from(t * t));
        ema.update().unwrap();
        expected = decay * expected + (1.0 - decay) * f64::from(t * t);
        assert!((average(&ema) - expected).abs() < 1e-14);
    }
    assert_eq!((decays[0], decays[4]), (0.1, 0.2));
}

#[test]
fn constant_weights_are_their_own_average() {
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let var = Var::from_tensor(&normal(&[50, 40], 3).to_dtype(dtype).unwrap()).unwrap();
        let start = bits(&var);
        let params = [NamedParam::new("w", Role::Matrix, var.clone())];
        let mut ema = WeightEma::new(&params, 0.997).unwrap();
        for _ in 0..20 {
            ema.update().unwrap();
        }
        ema.apply().unwrap();
        assert_eq!(bits(&var), start, "{dtype:?}");
    }
}

#[test]
fn averages_of_half_precision_are_f32() {
    let var = Var::from_tensor(&Tensor::ones(1, DType::BF16, &Device::Cpu).unwrap()).unwrap();
    let params = [NamedParam::new("w", Role::Vector, var.clone())];
    let mut ema = WeightEma::new(&params, 0.999).unwrap();
    var.set(&(var.ones_like().unwrap() * 2.0).unwrap()).unwrap();
    for _ in 0..1000 {
        ema.update().unwrap();
    }
    // In bf16 the average would never leave 1.
    let average = ema.averages().next().unwrap().1.clone();
    assert_eq!(average.dtype(), DType::F32);
    let expected = 2.0 - 0.999_f64.powi(1000);
    assert!((f64::from(average.to_vec1::<f32>().unwrap()[0]) - expected).abs() < 1e-4);
    ema.apply().unwrap();
    assert!((bits_to_f64(&var) - expected).abs() < 0.01);
    ema.restore().unwrap();
    assert_eq!(bits_to_f64(&var), 2.0);
}

fn bits_to_f64(var: &Var) -> f64 {
    f64::from_bits(bits(var)[0])
}

#[test]
fn apply_and_restore_swap_without_loss() {
    let var = Var::from_tensor(&normal(&[5, 7], 3)).unwrap();
    let params = [NamedParam::new("w", Role::Matrix, var.clone())];
    let mut ema = WeightEma::new(&params, 0.9).unwrap();
    var.set(&normal(&[5, 7], 4)).unwrap();
    ema.update().unwrap();
    let (weights, averages) = (bits(&var), bits(ema.averages().next().unwrap().1));
    ema.restore().unwrap();
    assert_eq!(bits(&var), weights, "nothing to restore");
    ema.apply().unwrap();
    assert_eq!(bits(&var), averages);
    for error in [ema.apply().unwrap_err(), ema.update().unwrap_err()] {
        assert!(matches!(error, Error::AveragesInPlace));
        assert!(error.to_string().contains("\nhint: call WeightEma::restore first"));
    }
    assert_eq!((bits(&var), ema.updates()), (averages.clone(), 1));
    ema.restore().unwrap();
    assert_eq!(bits(&var), weights);

    // A closure that fails leaves the weights in place as well.
    let seen = ema.evaluate(|| Ok::<_, Error>(bits(&var))).unwrap();
    assert_eq!(seen, averages);
    assert!(ema.evaluate(|| Err::<(), _>(Error::NoParameters)).is_err());
    assert_eq!(bits(&var), weights);
    ema.update().unwrap();
    // What is averaged later does not change what `averages` gave: no, it is the same tensor, but the weights are not.
    assert_eq!(bits(&var), weights);
    assert!(max_difference(ema.averages().next().unwrap().1, &var) > 0.0);
}

#[test]
fn wrong_settings_are_named() {
    let w = scalar(1.0);
    for decay in [1.0, -0.1, f64::NAN] {
        let error = WeightEma::new(std::slice::from_ref(&w), decay).unwrap_err();
        assert_eq!(error.to_string(), format!("weight EMA: decay = {decay}, but it must lie in [0, 1)"));
    }
    assert!(matches!(WeightEma::new(&[], 0.9), Err(Error::NoParameters)));
    assert!(matches!(WeightEma::new(&[w.clone(), w], 0.9), Err(Error::DuplicateName(_))));
    let integers = Var::zeros(2, DType::U32, &Device::Cpu).unwrap();
    let params = [NamedParam::new("counts", Role::Vector, integers)];
    assert!(matches!(WeightEma::new(&params, 0.9), Err(Error::ParameterDtype { .. })));
}
