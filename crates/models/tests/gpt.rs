//! The GPT against `GPT2LMHeadModel` of transformers, on weights that a formula gives: `reference/gpt.py`.
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    clippy::unwrap_used,
    reason = "names end in .bias; a panic says enough"
)]

mod common;

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};
use common::scaled;
use isorate_kernels::cross_entropy;
use isorate_models::{Gpt, GptConfig, HeadWeights, Mode, Model as _, ParameterKind, load_weights, save_weights};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

/// Allowed difference, in units of the tensor's norm.
const TOLERANCE: f64 = 1e-5;

fn config(tied: bool) -> GptConfig {
    GptConfig { vocabulary: 61, context: 16, width: 32, layers: 2, heads: 4, mlp_ratio: 4, tied }
}

fn gpt(config: GptConfig) -> Gpt {
    Gpt::new(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu).unwrap()
}

/// From the form that transformers has for a parameter to that of the model, or back.
fn turned(gpt: &Gpt, name: &str, tensor: &Tensor) -> Tensor {
    if gpt.is_turned_in_files(name) { tensor.t().unwrap() } else { tensor.clone() }
}

fn set_to_formula(gpt: &Gpt) {
    for parameter in gpt.parameters() {
        let gain = parameter.name.ends_with("weight") && parameter.name.contains(".ln_");
        let (center, scale) = if gain { (1.0, 0.25) } else { (0.0, 0.5) };
        let shape = turned(gpt, &parameter.name, &parameter.var).dims().to_vec();
        let file = scaled(&parameter.name, &shape, center, scale);
        parameter.var.set(&turned(gpt, &parameter.name, &file)).unwrap();
    }
}

fn batch() -> (Tensor, Tensor) {
    let ids: Vec<u32> = (0..3).flat_map(|b| (0..13).map(move |t| (7 * b + 5 * t + t * t) % 61)).collect();
    let targets: Vec<u32> = ids.iter().map(|id| (3 * id + 1) % 61).collect();
    let tensor = |values: Vec<u32>| Tensor::from_vec(values, (3, 13), &Device::Cpu).unwrap();
    (tensor(ids), tensor(targets))
}

fn flat(tensor: &Tensor) -> Vec<f64> {
    tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

fn difference(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let (found, expected) = (flat(found), flat(expected));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut found.iter().zip(&expected).map(|(a, b)| a - b)) / norm(&mut expected.iter().copied())
}

#[test]
fn agrees_with_transformers() {
    let reference: HashMap<String, Tensor> =
        candle_core::safetensors::load_buffer(include_bytes!("reference/gpt.safetensors"), &Device::Cpu).unwrap();
    let mut compared = 0;
    for (case, tied) in [("tied", true), ("untied", false)] {
        let gpt = gpt(config(tied));
        set_to_formula(&gpt);
        let (ids, targets) = batch();
        let logits = gpt.logits(&ids, Mode::Train).unwrap();
        let separate = cross_entropy(&logits.flatten(0, 1).unwrap(), &targets.flatten_all().unwrap()).unwrap();
        let together = gpt.loss(&ids, &targets, Mode::Train).unwrap();
        let mut compare = |what: &str, name: &str, found: &Tensor| {
            let difference = difference(found, &reference[&format!("{case}/{name}")]);
            assert!(difference < TOLERANCE, "{case}, {what} {name}: {difference:e}");
            compared += 1;
        };
        compare("", "logits", &logits);
        compare("", "logits", &gpt.logits(&ids, Mode::Evaluate).unwrap());
        compare("evaluated", "loss", &gpt.loss(&ids, &targets, Mode::Evaluate).unwrap());
        for (way, loss) in [("separate", separate), ("together", together)] {
            compare(way, "loss", &loss);
            let gradients = loss.backward().unwrap();
            for parameter in gpt.parameters() {
                let gradient = gradients.get(&parameter.var).unwrap();
                compare(way, &parameter.name, &turned(&gpt, &parameter.name, gradient));
            }
        }
    }
    // Logits and loss in both modes, and all that the file holds in both ways but once more for the logits.
    assert_eq!(compared, 2 * reference.len() + 2);
}

#[test]
fn a_token_changes_nothing_before_it() {
    let gpt = gpt(config(false));
    set_to_formula(&gpt);
    let (ids, _) = batch();
    let mut changed = ids.to_vec2::<u32>().unwrap();
    changed[1][7] = 60;
    let logits = |ids: &Tensor| gpt.logits(ids, Mode::Evaluate).unwrap().to_vec3::<f32>().unwrap();
    let (before, after) = (logits(&ids), logits(&Tensor::new(changed, &Device::Cpu).unwrap()));
    for (b, (before, after)) in before.iter().zip(&after).enumerate() {
        for (t, (before, after)) in before.iter().zip(after).enumerate() {
            assert_eq!(before == after, b != 1 || t < 7, "sequence {b}, place {t}");
        }
    }
}

#[test]
fn initial_weights_are_those_of_gpt2() {
    let gpt = gpt(GptConfig { vocabulary: 300, context: 64, width: 64, ..config(false) });
    for parameter in gpt.parameters() {
        let values = flat(&parameter.var);
        let std = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
        let expected = match parameter.kind {
            ParameterKind::Vector if parameter.name.ends_with(".bias") => 0.0,
            ParameterKind::Vector => 1.0,
            _ if parameter.name.ends_with("c_proj.weight") => 0.01,
            _ => 0.02,
        };
        assert!((std - expected).abs() < 0.05 * expected + 1e-9, "{}: {std}, not {expected}", parameter.name);
    }
}

#[test]
fn names_kinds_and_their_order() {
    let kinds = |tied| -> Vec<(String, ParameterKind)> {
        gpt(config(tied)).parameters().into_iter().map(|parameter| (parameter.name, parameter.kind)).collect()
    };
    let untied = kinds(false);
    assert_eq!(
        untied[..3].iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["transformer.wte.weight", "transformer.wpe.weight", "transformer.h.0.ln_1.weight"]
    );
    assert_eq!(untied.iter().filter(|(_, kind)| *kind == ParameterKind::Matrix).count(), 8);
    assert_eq!(untied.last(), Some(&("lm_head.weight".to_owned(), ParameterKind::Head)));
    assert_eq!(kinds(true), untied[..untied.len() - 1]);
    let gpt = gpt(config(true));
    assert_eq!(gpt.names_in_files("transformer.wte.weight"), ["transformer.wte.weight", "wte.weight"]);
    assert!(gpt.does_without("lm_head.weight") && gpt.does_without("h.3.attn.bias") && !gpt.does_without("h.3.attn.c_attn.bias"));
}

/// A file has the names and shapes of transformers, and brings the weights back.
#[test]
fn files_are_those_of_transformers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gpt.safetensors");
    let (ids, _) = batch();
    let logits = |gpt: &Gpt| flat(&gpt.logits(&ids, Mode::Evaluate).unwrap());
    for tied in [false, true] {
        let saved = gpt(config(tied));
        set_to_formula(&saved);
        save_weights(&saved, &path).unwrap();
        let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        assert_eq!(tensors["transformer.h.1.mlp.c_fc.weight"].dims(), [32, 128]);
        let fresh = gpt(config(tied));
        assert_ne!(logits(&fresh), logits(&saved));
        load_weights(&fresh, &path, HeadWeights::Read).unwrap();
        assert_eq!(logits(&fresh), logits(&saved));

        // As the hub has GPT-2: without the prefix, and with masks.
        tensors = tensors.into_iter().map(|(name, t)| (name.replace("transformer.", ""), t)).collect();
        tensors.insert("h.0.attn.bias".to_owned(), Tensor::zeros((1, 1, 16, 16), DType::F32, &Device::Cpu).unwrap());
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let fresh = gpt(config(tied));
        load_weights(&fresh, &path, HeadWeights::Read).unwrap();
        assert_eq!(logits(&fresh), logits(&saved));

        // nanoGPT's matrices are [out, in].
        let turned = tensors["h.0.attn.c_attn.weight"].t().unwrap().contiguous().unwrap();
        tensors.insert("h.0.attn.c_attn.weight".to_owned(), turned);
        candle_core::safetensors::save(&tensors, &path).unwrap();
        let error = load_weights(&fresh, &path, HeadWeights::Read).unwrap_err().to_string();
        assert!(error.contains("[96, 32]") && error.contains("[32, 96]"), "{error}");
    }
}

#[test]
fn wrong_sizes_and_ids_are_errors() {
    let new = |config: GptConfig| Gpt::new(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu);
    for wrong in [GptConfig { layers: 0, ..config(true) }, GptConfig { heads: 5, ..config(true) }] {
        let error = new(wrong).unwrap_err().to_string();
        assert!(error.contains("multiple of its heads"), "{error}");
    }
    let gpt = gpt(config(true));
    let error = |ids: Vec<u32>, shape: (usize, usize)| {
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu).unwrap();
        gpt.logits(&ids, Mode::Evaluate).unwrap_err().to_string()
    };
    assert!(error(vec![0; 17], (1, 17)).contains("context of 16 tokens got ids of shape [1, 17]"));
    assert!(error(vec![3, 61], (1, 2)).contains("no row 61"));
}
