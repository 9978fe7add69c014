//! Compares a published BERT's last hidden states with those of transformers: see `tests/reference/minilm.py`.
//!
//! `cargo run --release -p isorate-models --example minilm -- FOLDER tests/reference/minilm.safetensors`, where FOLDER has
//! `config.json` and `model.safetensors` of `MiniLM`. Exit code 1 where they differ.
#![allow(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use candle_core::{DType, Device, Tensor};
use isorate_models::{Bert, BertConfig, HeadWeights, Mode, load_weights};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// States have a size of about .5; transformers in f32 is off by 2e-6.
const TOLERANCE: f32 = 2e-5;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, reference] = &arguments[..] else {
        return Err("usage: minilm FOLDER REFERENCE".into());
    };
    let config = BertConfig::open(&folder.join("config.json"))?;
    let bert = Bert::new(config, 2, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
    load_weights(&bert, &folder.join("model.safetensors"), HeadWeights::Keep)?;

    let reference = candle_core::safetensors::load(reference, &Device::Cpu)?;
    let get = |name: &str| reference.get(name).ok_or_else(|| format!("the reference has no `{name}`"));
    let inputs = |name: &str| -> Result<Tensor, Box<dyn Error>> { Ok(get(name)?.to_dtype(DType::U32)?) };
    let (ids, types, mask) = (inputs("ids")?, inputs("types")?, inputs("mask")?);
    let hidden = bert.hidden_states(&ids, &types, &mask, Mode::Evaluate)?;
    // States of padding do not count.
    let hidden = hidden.broadcast_mul(&mask.to_dtype(DType::F32)?.unsqueeze(2)?)?;
    let largest = |tensor: &Tensor| tensor.abs()?.max_all()?.to_scalar::<f32>();
    let (difference, size) = (largest(&(&hidden - get("hidden")?)?)?, largest(get("hidden")?)?);
    println!("hidden states {:?}: largest {size:.3}, largest difference {difference:.1e}", hidden.dims());
    Ok(if difference <= TOLERANCE { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
