//! The models: weights under the names of the real files, with sides that fit into a test.

use isorate_local_hub::Commit;
use serde_json::{Value, json};

use super::SmallSource;

/// A file of safetensors (a length, a header in JSON, the numbers) with these tensors of f32.
fn safetensors(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let mut header = serde_json::Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
    let mut numbers = Vec::new();
    for (seed, (name, shape)) in tensors.iter().enumerate() {
        let begin = numbers.len();
        for index in 0..shape.iter().product::<usize>() {
            let value = i16::try_from((index * 31 + seed * 17) % 201).expect("below 201") - 100;
            // A variance is positive.
            let value = if name.ends_with("running_var") { 200 + value } else { value };
            numbers.extend((f32::from(value) / 1000.0).to_le_bytes());
        }
        header.insert(name.clone(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, numbers.len()] }));
    }
    let mut header = Value::from(header).to_string();
    // Numbers begin at a multiple of eight.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &numbers].concat()
}

const WIDTH: usize = 16;
const FEED_FORWARD: usize = 32;
const POSITIONS: usize = 24;
const LAYERS: usize = 2;

/// Weights of BERT under the old names: prefix `bert.`, `LayerNorm` with gamma and beta, the heads of pre-training.
fn bert_weights(words: usize) -> Vec<(String, Vec<usize>)> {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| tensors.push((name, shape.to_vec()));
    for (name, rows) in [("word", words), ("position", POSITIONS), ("token_type", 2)] {
        add(format!("bert.embeddings.{name}_embeddings.weight"), &[rows, WIDTH]);
    }
    let norms = |add: &mut dyn FnMut(String, &[usize]), at: &str| {
        add(format!("{at}.LayerNorm.gamma"), &[WIDTH]);
        add(format!("{at}.LayerNorm.beta"), &[WIDTH]);
    };
    norms(&mut add, "bert.embeddings");
    for layer in 0..LAYERS {
        let at = format!("bert.encoder.layer.{layer}");
        for (name, shape) in [
            ("attention.self.query", [WIDTH, WIDTH]),
            ("attention.self.key", [WIDTH, WIDTH]),
            ("attention.self.value", [WIDTH, WIDTH]),
            ("attention.output.dense", [WIDTH, WIDTH]),
            ("intermediate.dense", [FEED_FORWARD, WIDTH]),
            ("output.dense", [WIDTH, FEED_FORWARD]),
        ] {
            add(format!("{at}.{name}.weight"), &shape);
            add(format!("{at}.{name}.bias"), &shape[..1]);
        }
        norms(&mut add, &format!("{at}.attention.output"));
        norms(&mut add, &format!("{at}.output"));
    }
    for name in ["bert.pooler.dense", "cls.predictions.transform.dense"] {
        add(format!("{name}.weight"), &[WIDTH, WIDTH]);
        add(format!("{name}.bias"), &[WIDTH]);
    }
    norms(&mut add, "cls.predictions.transform");
    add("cls.predictions.bias".into(), &[words]);
    add("cls.seq_relationship.weight".into(), &[2, WIDTH]);
    add("cls.seq_relationship.bias".into(), &[2]);
    tensors
}

pub(super) fn bert() -> SmallSource {
    let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let words = [".", ",", "?", "the", "no", "never", "nobody", "nothing", "pond", "ferry", "##ing", "##ed"];
    let vocabulary: Vec<String> = special.iter().chain(&words).map(|&word| word.to_owned()).chain(letters).collect();
    let ids: serde_json::Map<String, Value> = vocabulary.iter().enumerate().map(|(id, word)| (word.clone(), id.into())).collect();
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, word)| {
            json!({ "id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
                "special": true })
        })
        .collect();
    let part = |token: &str, id: usize| json!({ "SpecialToken": { "id": token, "type_id": id } });
    let sequence = |name: &str, id: usize| json!({ "Sequence": { "id": name, "type_id": id } });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "TemplateProcessing",
            "single": [part("[CLS]", 0), sequence("A", 0), part("[SEP]", 0)],
            "pair": [part("[CLS]", 0), sequence("A", 0), part("[SEP]", 0), sequence("B", 1), part("[SEP]", 1)],
            "special_tokens": { "[CLS]": { "id": "[CLS]", "ids": [2], "tokens": ["[CLS]"] },
                "[SEP]": { "id": "[SEP]", "ids": [3], "tokens": ["[SEP]"] } } },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": ids },
    });
    let config = json!({
        "architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": WIDTH, "initializer_range": 0.02,
        "intermediate_size": FEED_FORWARD, "layer_norm_eps": 1e-12, "max_position_embeddings": POSITIONS, "model_type": "bert",
        "num_attention_heads": 2, "num_hidden_layers": LAYERS, "pad_token_id": 0, "position_embedding_type": "absolute",
        "type_vocab_size": 2, "use_cache": true, "vocab_size": vocabulary.len(),
    });
    let commit = Commit::new()
        .file("model.safetensors", safetensors(&bert_weights(vocabulary.len())))
        .file("config.json", config.to_string())
        .file("tokenizer.json", tokenizer.to_string())
        .file("tokenizer_config.json", json!({ "do_lower_case": true, "model_max_length": POSITIONS }).to_string())
        .file("vocab.txt", vocabulary.join("\n") + "\n");
    SmallSource { name: "bert-base-uncased", commit, splits: Vec::new() }
}

pub(super) fn resnet() -> SmallSource {
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let convolution = |tensors: &mut Vec<(String, Vec<usize>)>, name: &str, norm: &str, shape: [usize; 4]| {
        tensors.push((format!("{name}.weight"), shape.to_vec()));
        for part in ["weight", "bias", "running_mean", "running_var"] {
            tensors.push((format!("{norm}.{part}"), vec![shape[0]]));
        }
    };
    convolution(&mut tensors, "conv1", "bn1", [4, 3, 7, 7]);
    let mut inner = 4;
    // The stages of a ResNet-50 have 3, 4, 6 and 3 blocks.
    for (stage, blocks) in [(1, 3), (2, 4), (3, 6), (4, 3)] {
        let width = 2 << stage;
        for block in 0..blocks {
            let at = |part: &str| format!("layer{stage}.{block}.{part}");
            convolution(&mut tensors, &at("conv1"), &at("bn1"), [width, inner, 1, 1]);
            convolution(&mut tensors, &at("conv2"), &at("bn2"), [width, width, 3, 3]);
            convolution(&mut tensors, &at("conv3"), &at("bn3"), [4 * width, width, 1, 1]);
            if block == 0 {
                convolution(&mut tensors, &at("downsample.0"), &at("downsample.1"), [4 * width, inner, 1, 1]);
            }
            inner = 4 * width;
        }
    }
    tensors.extend([("fc.weight".into(), vec![10, inner]), ("fc.bias".into(), vec![10])]);
    let config = json!({ "architecture": "resnet50", "num_classes": 10, "num_features": inner, "pretrained_cfg": {
        "tag": "a1_in1k", "input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "first_conv": "conv1", "classifier": "fc" } });
    let commit = Commit::new().file("model.safetensors", safetensors(&tensors)).file("config.json", config.to_string());
    SmallSource { name: "resnet-50", commit, splits: Vec::new() }
}
