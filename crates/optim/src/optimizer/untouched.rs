//! A step that is refused leaves every number of every state as it was. The tests from outside see the weights alone.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};

use super::Optimizer;
use crate::reduce::f64_values;
use crate::state::Value;
use crate::{NamedParam, Role, Routing, RuleConfig};

include!("../../tests/common/rules.rs");

const SHAPES: [(&str, Role, &[usize]); 4] = [
    ("conv.weight", Role::Matrix, &[4, 3, 2, 2]),
    ("fc.bias", Role::Vector, &[5]),
    ("fc.weight", Role::Matrix, &[6, 5]),
    ("wte.weight", Role::Embedding, &[7, 4]),
];

fn tensor(shape: &[usize], seed: usize) -> Tensor {
    let count = shape.iter().product::<usize>();
    let values: Vec<f64> = (0..count).map(|i| ((i * i + 3 * i + 17 * seed) as f64 * 0.7).sin()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Everything that a step may change, bit for bit, with its name.
fn numbers(optimizer: &Optimizer) -> Vec<(String, Vec<u64>)> {
    let bits = |x: &Tensor| f64_values(&x.contiguous().unwrap()).unwrap().into_iter().map(f64::to_bits).collect();
    let mut numbers = Vec::new();
    for slot in &optimizer.slots {
        numbers.push((slot.assignment.name.clone(), bits(&slot.var)));
        for (part, value) in slot.rule.state().iter() {
            let value = match value {
                Value::Tensor(x) => bits(x),
                Value::Number(x) => vec![x.to_bits()],
            };
            numbers.push((format!("{}: {part}", slot.assignment.name), value));
        }
    }
    numbers
}

#[test]
fn refused_gradients_change_no_state() {
    for json in RULES {
        let rule: RuleConfig = serde_json::from_str(json).unwrap();
        for dtype in [DType::F32, DType::F64] {
            let params: Vec<NamedParam> = SHAPES
                .iter()
                .map(|(name, role, shape)| {
                    NamedParam::new(*name, *role, Var::from_tensor(&tensor(shape, 1).to_dtype(dtype).unwrap()).unwrap())
                })
                .collect();
            let mut optimizer = Optimizer::new(params.clone(), Routing::uniform(rule.clone())).unwrap();
            let mut step = |seed: usize, bad: Option<(usize, f64)>| {
                let mut gradients = GradStore::default();
                for (i, param) in params.iter().enumerate() {
                    let mut gradient = tensor(param.var.dims(), seed + i);
                    if let Some((_, value)) = bad.filter(|(index, _)| *index == i) {
                        gradient = (gradient * value).unwrap();
                    }
                    gradients.insert(&param.var, gradient.to_dtype(dtype).unwrap());
                }
                let result = optimizer.step(&gradients);
                (result, numbers(&optimizer))
            };
            for round in 0..3 {
                let (done, before) = step(10 + 10 * round, None);
                done.unwrap();
                for (index, (name, ..)) in SHAPES.iter().enumerate() {
                    for value in [f64::NAN, f64::INFINITY] {
                        let (refused, after) = step(90, Some((index, value)));
                        assert!(refused.unwrap_err().to_string().contains(&format!("`{name}`")), "{json}");
                        assert_eq!(after, before, "{json}, {dtype:?}");
                    }
                }
            }
        }
    }
}
