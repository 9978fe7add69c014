//! BERT against transformers' on the same weights, in every spelling of their names: `reference/bert.py`.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use common::{bits, digest, tensors};
use isorate_kernels::cross_entropy;
use isorate_models::{Bert, BertConfig, HeadWeights, Mode, Model as _, ParameterKind, load_weights};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    loss: f64,
    inputs: Inputs,
    tensors: BTreeMap<String, [f64; 2]>,
}

#[derive(Deserialize)]
struct Inputs {
    input_ids: Vec<Vec<u32>>,
    token_type_ids: Vec<Vec<u32>>,
    attention_mask: Vec<Vec<u32>>,
}

impl Inputs {
    /// Ids, types and mask.
    fn tensors(&self) -> [Tensor; 3] {
        [&self.input_ids, &self.token_type_ids, &self.attention_mask].map(|rows| Tensor::new(rows.clone(), &Device::Cpu).unwrap())
    }
}

fn expected() -> Expected {
    serde_json::from_str(include_str!("reference/bert/expected.json")).unwrap()
}

fn reference(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/bert").join(file)
}

fn bert(classes: usize, seed: u64) -> Bert {
    let config = BertConfig::open(&reference("config.json")).unwrap();
    Bert::new(config, classes, &mut ChaCha8Rng::seed_from_u64(seed), &Device::Cpu).unwrap()
}

fn loaded() -> Bert {
    let bert = bert(3, 0);
    load_weights(&bert, &reference("model.safetensors"), HeadWeights::Read).unwrap();
    bert
}

#[test]
fn agrees_with_transformers() {
    let (bert, expected) = (loaded(), expected());
    let [ids, types, mask] = expected.inputs.tensors();
    let hidden = bert.hidden_states(&ids, &types, &mask, Mode::Evaluate).unwrap();
    // As in the script, states of padding do not count.
    let tokens = mask.to_dtype(candle_core::DType::F32).unwrap().unsqueeze(2).unwrap();
    let hidden = hidden.broadcast_mul(&tokens).unwrap();
    let logits = bert.logits(&Tensor::stack(&[&ids, &types, &mask], 1).unwrap(), Mode::Train).unwrap();
    let loss = cross_entropy(&logits, &Tensor::new(&[0u32, 1, 2, 0], &Device::Cpu).unwrap()).unwrap();
    let gradients = loss.backward().unwrap();

    let loss = f64::from(loss.to_scalar::<f32>().unwrap());
    assert!((loss - expected.loss).abs() < 1e-6 * expected.loss, "loss {loss}, not {}", expected.loss);
    let mut found = BTreeMap::from([("hidden states".to_owned(), hidden), ("logits".to_owned(), logits)]);
    for parameter in bert.parameters() {
        found.insert(format!("gradient of {}", parameter.name), gradients.get(&parameter.var).unwrap().clone());
    }
    assert!(found.keys().eq(expected.tensors.keys()));
    let mut worst = 0.0_f64;
    for (name, tensor) in found {
        let (found, expected) = (digest(&name, &tensor), expected.tensors[&name]);
        let difference = (found[0] - expected[0]).abs().max((found[1] - expected[1]).abs());
        // A bias of the keys moves all scores of a query alike: its gradient is 0 but for rounding.
        let unit = if name.ends_with("key.bias") { 1.0 } else { expected[0] };
        assert!(difference <= 1e-5 * unit, "{name}: {found:?}, not {expected:?}");
        worst = worst.max(difference / unit);
    }
    println!("largest difference {worst:.1e}");
}

/// Padding changes no logit but by the order of sums.
#[test]
fn padding_does_not_matter() {
    let bert = loaded();
    let classify = |length: usize| {
        let inputs = |values: [u32; 4]| {
            let padded: Vec<u32> = values.into_iter().chain(std::iter::repeat(0)).take(length).collect();
            Tensor::from_vec(padded, (1, length), &Device::Cpu).unwrap()
        };
        bert.classify(&inputs([2, 17, 3, 9]), &inputs([0, 0, 1, 1]), &inputs([1, 1, 1, 1]), Mode::Evaluate).unwrap()
    };
    let (short, long) = (classify(4), classify(7));
    let difference = (short - long).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
    assert!(difference < 1e-6, "{difference}");
}

fn rename(rename: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tensors = candle_core::safetensors::load(reference("model.safetensors"), &Device::Cpu).unwrap();
    let renamed: HashMap<_, _> = tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor)).collect();
    candle_core::safetensors::save(&renamed, folder.path().join("model.safetensors")).unwrap();
    folder
}

#[test]
fn every_spelling_of_the_names() {
    let old = |name: &str| name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
    let bare = |name: &str| name.strip_prefix("bert.").unwrap_or(name).to_owned();
    let loaded = loaded();
    for folder in [rename(old), rename(bare), rename(|name| old(&bare(name)))] {
        let other = bert(3, 1);
        load_weights(&other, &folder.path().join("model.safetensors"), HeadWeights::Read).unwrap();
        for ((name, one), (_, two)) in tensors(&loaded).iter().zip(tensors(&other)) {
            assert_eq!(bits(one), bits(&two), "{name}");
        }
    }
}

/// As in bert-base-uncased: heads of pre-training, and none for classification.
#[test]
fn a_pretrained_model_gets_a_fresh_head() {
    let pretraining = |name: &str| match name {
        "classifier.weight" => "cls.seq_relationship.weight".to_owned(),
        "classifier.bias" => "cls.predictions.bias".to_owned(),
        other => other.to_owned(),
    };
    let folder = rename(pretraining);
    let path = folder.path().join("model.safetensors");
    let mut bert = bert(3, 1);
    let error = load_weights(&bert, &path, HeadWeights::Read).unwrap_err().to_string();
    assert!(error.contains("lacks tensor `classifier.weight`") && error.contains("HeadWeights::Keep"), "{error}");
    load_weights(&bert, &path, HeadWeights::Keep).unwrap();
    assert_eq!(bits(&bert.parameters()[0].var), bits(&loaded().parameters()[0].var));

    bert.replace_head(2, &mut ChaCha8Rng::seed_from_u64(5)).unwrap();
    let [ids, types, mask] = expected().inputs.tensors();
    assert_eq!(bert.classify(&ids, &types, &mask, Mode::Train).unwrap().dims(), [4, 2]);
    assert!(bert.replace_head(0, &mut ChaCha8Rng::seed_from_u64(5)).is_err());
}

#[test]
fn kinds_of_parameters() {
    let of = |kind| {
        let named = bert(3, 0).parameters().into_iter().filter(move |parameter| parameter.kind == kind);
        named.map(|parameter| parameter.name).collect::<Vec<_>>()
    };
    assert_eq!(of(ParameterKind::Head), ["classifier.weight"]);
    let tables = ["word", "position", "token_type"].map(|name| format!("bert.embeddings.{name}_embeddings.weight"));
    assert_eq!(of(ParameterKind::Embedding), tables);
    // Six in each layer and the pooler's.
    assert_eq!(of(ParameterKind::Matrix).len(), 2 * 6 + 1);
    assert!(of(ParameterKind::Vector).iter().all(|name| name.ends_with("bias") || name.ends_with("LayerNorm.weight")));
    assert_eq!(of(ParameterKind::Filter), [""; 0]);
}

#[test]
fn inputs_that_cannot_be_are_errors() {
    let bert = loaded();
    let zeros = |shape: (usize, usize)| Tensor::zeros(shape, candle_core::DType::U32, &Device::Cpu).unwrap();
    let classify =
        |ids: &Tensor, types: &Tensor, mask: &Tensor| bert.classify(ids, types, mask, Mode::Train).unwrap_err().to_string();
    let x = zeros((2, 3));
    assert!(classify(&x, &zeros((2, 4)), &x).contains("must have one shape"));
    assert!(classify(&x, &x, &zeros((1, 3))).contains("must have one shape"));
    let long = zeros((1, 17));
    assert!(classify(&long, &long, &long).contains("17 tokens are longer than the 16 positions"));
    let unknown = Tensor::new(&[[50u32]], &Device::Cpu).unwrap();
    let x = zeros((1, 1));
    assert!(classify(&unknown, &x, &x).contains("50"));
    assert!(classify(&x, &unknown, &x).contains("50"));
    let pairs = Tensor::zeros((2, 2, 3), candle_core::DType::U32, &Device::Cpu).unwrap();
    assert!(bert.logits(&pairs, Mode::Train).unwrap_err().to_string().contains("[n, 3, t]"));
}

#[test]
fn configurations_that_cannot_be_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let good: serde_json::Value = serde_json::from_str(&fs_err::read_to_string(reference("config.json")).unwrap()).unwrap();
    let mut messages = Vec::new();
    for (setting, value) in [
        ("model_type", serde_json::json!("roberta")),
        ("hidden_act", serde_json::json!("gelu_new")),
        ("position_embedding_type", serde_json::json!("relative_key")),
        ("hidden_size", serde_json::json!(0)),
        ("num_hidden_layers", serde_json::json!(-1)),
        ("num_attention_heads", serde_json::json!(5)),
        ("layer_norm_eps", serde_json::json!(-1e-12)),
        ("vocab_size", serde_json::Value::Null),
    ] {
        let mut config = good.clone();
        config[setting] = value;
        fs_err::write(&path, config.to_string()).unwrap();
        let message = BertConfig::open(&path).unwrap_err().to_string();
        let rest = message.strip_prefix(&format!("{}: ", path.display())).unwrap_or_else(|| panic!("{message}"));
        messages.push(rest.split(" at line").next().unwrap().to_owned());
    }
    insta::assert_snapshot!(messages.join("\n"));
    let impossible = BertConfig { num_attention_heads: 7, ..BertConfig::base() };
    let error = Bert::new(impossible, 2, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu).unwrap_err().to_string();
    assert!(error.contains("num_attention_heads = 7, but it must be a divisor of hidden_size"), "{error}");
}
