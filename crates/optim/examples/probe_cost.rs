//! What a record of a spectral probe costs, next to the training step around it: an MLP 784-512-512-10 with batch 128
//! under Muon, in float32.
#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

use std::time::Instant;

use candle_core::{Device, Tensor, Var};
use isorate_optim::{
    Bases, GroupRules, Muon, NamedParam, Optimizer, ProbeConfig, Result, Role, RuleConfig, SpectralProbe, Spectrum,
};

const SIZES: [usize; 4] = [784, 512, 512, 10];
const RUNS: usize = 15;

fn main() -> Result<()> {
    println!("{} threads, float32, smallest of {RUNS} times\n", candle_core::utils::get_num_threads());
    println!("one spectrum (weight, gradient or update)");
    for (rows, columns) in [(128, 784), (512, 512), (512, 784), (200, 2352), (1024, 1024), (2048, 512)] {
        let a = Tensor::randn(0.0_f32, 1.0, (rows, columns), &Device::Cpu)?;
        println!("  {:<14} {:8.2} ms", format!("{rows}×{columns}"), smallest(|| Spectrum::of(&a, None).map(drop))?);
    }
    let mut vars = Vec::new();
    for sizes in SIZES.windows(2) {
        let scale = (2.0 / sizes[0] as f64).sqrt();
        vars.push(Var::from_tensor(&(Tensor::randn(0.0_f32, 1.0, (sizes[1], sizes[0]), &Device::Cpu)? * scale)?)?);
    }
    let params: Vec<NamedParam> =
        vars.iter().enumerate().map(|(i, v)| NamedParam::new(format!("fc{i}"), Role::Matrix, v.clone())).collect();
    let mut optimizer = Optimizer::new(params.clone(), &GroupRules::uniform(RuleConfig::Muon(Muon::new(1e-3))))?;
    let x = Tensor::randn(0.0_f32, 1.0, (128, SIZES[0]), &Device::Cpu)?;
    let loss = || -> Result<Tensor> {
        let mut hidden = x.matmul(&vars[0].t()?)?;
        for var in &vars[1..] {
            hidden = hidden.relu()?.matmul(&var.t()?)?;
        }
        Ok(hidden.sqr()?.mean_all()?)
    };
    let backward = smallest(|| loss()?.backward().map(drop).map_err(Into::into))?;
    let gradients = loss()?.backward()?;
    let step = smallest(|| optimizer.step(&gradients))?;
    println!("\nMLP {SIZES:?}, batch 128\n  {:<32} {backward:8.2} ms", "forward and backward");
    println!("  {:<32} {step:8.2} ms", "Muon step");
    let norms = ProbeConfig { gradients: false, ..ProbeConfig::every(1) };
    let first_layer = Tensor::eye(512, candle_core::DType::F32, &Device::Cpu)?.narrow(1, 0, 10)?;
    let with_bases = SpectralProbe::new(ProbeConfig::every(1), &params)?.with_bases("fc0", Bases::left(&first_layer)?)?;
    for (name, mut probe) in [
        ("record of everything", SpectralProbe::new(ProbeConfig::every(1), &params)?),
        ("record of weights and updates", SpectralProbe::new(norms, &params)?),
        ("everything, bases for 512×784", with_bases),
    ] {
        let mut least = f64::INFINITY;
        for run in 0..RUNS {
            probe.before(run as u64, &gradients)?;
            optimizer.step(&gradients)?;
            least = least.min(probe.after()?.map_or(f64::INFINITY, |record| record.seconds * 1e3));
        }
        let share = |every: f64| 100.0 * least / (every * (backward + step));
        println!(
            "  {name:<32} {least:8.2} ms = {:.1} training steps; every 100 steps {:.1}% of the time, every 1000 {:.2}%",
            least / (backward + step),
            share(100.0),
            share(1000.0)
        );
    }
    Ok(())
}

/// Milliseconds.
fn smallest(mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    work()?;
    let mut least = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        work()?;
        least = least.min(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(least)
}
