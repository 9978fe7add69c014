//! Milliseconds of an optimizer step on a [200, 2352] matrix in float32, for every rule.
#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use isorate_optim::{GroupRules, Muon, NamedParam, Optimizer, Orthogonalizer, Result, Role, RuleConfig};

fn main() -> Result<()> {
    let (rows, columns) = (200, 2352);
    let mut cases: Vec<(String, RuleConfig)> = ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "specgd", "muon"]
        .iter()
        .map(|name| {
            let json = serde_json::json!({ "rule": name, "lr": 1e-3 });
            ((*name).to_owned(), serde_json::from_value(json).expect("a rule with its defaults"))
        })
        .collect();
    let exact = Muon { orthogonalizer: Orthogonalizer::Exact, ..Muon::new(1e-3) };
    cases.push(("muon, exact".to_owned(), RuleConfig::Muon(exact)));
    for dtype in [DType::F32, DType::F64] {
        println!("{dtype:?}, [{rows}, {columns}], {} threads", candle_core::utils::get_num_threads());
        for (name, rule) in &cases {
            println!("{name:<12} {:8.3} ms", milliseconds(*rule, rows, columns, dtype)?);
        }
    }
    Ok(())
}

/// The median of 30 steps, after 3 that do not count.
fn milliseconds(rule: RuleConfig, rows: usize, columns: usize, dtype: DType) -> Result<f64> {
    let var = Var::from_tensor(&Tensor::randn(0.0_f32, 0.02, (rows, columns), &Device::Cpu)?.to_dtype(dtype)?)?;
    let mut gradients = GradStore::default();
    gradients.insert(&var, Tensor::randn(0.0_f32, 1.0, (rows, columns), &Device::Cpu)?.to_dtype(dtype)?);
    let params = vec![NamedParam::new("w", Role::Matrix, var)];
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule))?;
    let mut times = Vec::new();
    for step in 0..33 {
        let start = Instant::now();
        optimizer.step(&gradients)?;
        if step >= 3 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
