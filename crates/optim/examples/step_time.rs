//! Milliseconds of one optimizer step on a single matrix in float32, for every rule and several shapes.
//!
//! `step_time [--device cuda] [--dtype f64] [--rules adamw,muon] [ROWSxCOLUMNS…]`. Shampoo and SOAP decompose in a part of
//! their steps alone, which the median leaves out; the second number of a pair is the largest.
#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use isorate_optim::{DeviceChoice, GroupRules, Muon, NamedParam, Optimizer, Orthogonalizer, Role, RuleConfig};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const SHAPES: [(usize, usize); 6] = [(128, 784), (200, 2352), (512, 512), (1024, 1024), (1024, 4096), (4096, 1024)];

const RULES: [&str; 14] =
    ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "scion", "muon", "dion", "specgd", "power", "shampoo", "soap"];

fn main() -> Result<()> {
    let (mut choice, mut dtype, mut rules, mut shapes) = (DeviceChoice::Cpu, DType::F32, String::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--device" => choice = arguments.next().ok_or("--device needs a name")?.parse()?,
            "--dtype" => dtype = arguments.next().ok_or("--dtype needs a name")?.parse()?,
            "--rules" => rules = arguments.next().ok_or("--rules needs names")?,
            shape => {
                let (rows, columns) = shape.split_once('x').ok_or("a shape is ROWSxCOLUMNS, such as 1024x1024")?;
                shapes.push((rows.parse()?, columns.parse()?));
            }
        }
    }
    if shapes.is_empty() {
        shapes.extend(SHAPES);
    }
    let open = choice.open();
    if let Some(note) = &open.note {
        println!("{note}");
    }
    println!("{}, {dtype:?}, {} threads; ms per step, median/largest of 30", open.name, candle_core::utils::get_num_threads());
    print!("{:<20}", "");
    for (rows, columns) in &shapes {
        print!("{:>18}", format!("{rows}x{columns}"));
    }
    println!();
    let asked = |name: &str| rules.is_empty() || rules.split(',').any(|rule| rule == name);
    for (name, rule) in cases().into_iter().filter(|(name, _)| asked(name)) {
        print!("{name:<20}");
        for &(rows, columns) in &shapes {
            let (median, largest) = milliseconds(&rule, (rows, columns), dtype, &open.device)?;
            print!("{:>18}", format!("{median:.3}/{largest:.3}"));
        }
        println!();
    }
    Ok(())
}

fn cases() -> Vec<(String, RuleConfig)> {
    let mut cases: Vec<(String, RuleConfig)> = RULES
        .iter()
        .map(|name| {
            let json = serde_json::json!({ "rule": name, "lr": 1e-3 });
            ((*name).to_owned(), serde_json::from_value(json).expect("a rule with its defaults"))
        })
        .collect();
    let exact = Muon { orthogonalizer: Orthogonalizer::Exact, ..Muon::new(1e-3) };
    cases.push(("muon, exact".to_owned(), RuleConfig::Muon(exact)));
    cases
}

/// The median and the largest of 30 steps, after 3 that do not count. A device has finished all its work at both ends of a step.
fn milliseconds(rule: &RuleConfig, shape: (usize, usize), dtype: DType, device: &Device) -> Result<(f64, f64)> {
    let var = Var::from_tensor(&Tensor::randn(0.0_f32, 0.02, shape, device)?.to_dtype(dtype)?)?;
    let mut gradients = GradStore::default();
    gradients.insert(&var, Tensor::randn(0.0_f32, 1.0, shape, device)?.to_dtype(dtype)?);
    let params = vec![NamedParam::new("w", Role::Matrix, var)];
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule.clone()))?;
    let mut times = Vec::new();
    for step in 0..33 {
        device.synchronize()?;
        let start = Instant::now();
        optimizer.step(&gradients)?;
        device.synchronize()?;
        if step >= 3 {
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[times.len() - 1]))
}
