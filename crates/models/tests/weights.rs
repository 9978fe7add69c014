//! Reading and writing weights: what fits, in every spelling, and what does not.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use common::{bits, small_resnet, tensors};
use isorate_models::{Activation, Error, FileProblem, HeadWeights, Mlp, Model, load_weights, save_weights};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, TensorView, serialize};

/// A tensor of a file: type, shape, bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

fn stored(model: &impl Model) -> BTreeMap<String, Stored> {
    let of_var = |var: &Var| {
        let values = var.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (Dtype::F32, var.dims().to_vec(), values.into_iter().flat_map(f32::to_le_bytes).collect())
    };
    tensors(model).into_iter().map(|(name, var)| (name, of_var(&var))).collect()
}

fn write(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views =
        tensors.iter().map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    fs_err::write(path, serialize(views, None).unwrap()).unwrap();
}

fn all_bits(model: &impl Model) -> Vec<Vec<u32>> {
    tensors(model).iter().map(|(_, var)| bits(var)).collect()
}

#[test]
fn what_is_saved_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (one, two) = (small_resnet(3, 1), small_resnet(3, 2));
    // So that running averages are not what they are in a fresh network.
    for (i, (_, var)) in one.buffers().into_iter().enumerate() {
        var.set(&(var.as_detached_tensor() + i as f64).unwrap()).unwrap();
    }
    assert_ne!(all_bits(&one), all_bits(&two));
    fs_err::write(&path, "something else").unwrap();
    save_weights(&one, &path).unwrap();
    load_weights(&two, &path, HeadWeights::Read).unwrap();
    assert_eq!(all_bits(&one), all_bits(&two));
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);

    let bytes = fs_err::read(&path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");
    assert_eq!(metadata.tensors().len(), tensors(&one).len());
}

#[test]
fn names_of_transformers_and_tensors_that_are_not_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let (one, two) = (small_resnet(3, 1), small_resnet(3, 2));
    let mut file: BTreeMap<_, _> =
        stored(&one).into_iter().map(|(name, stored)| (one.names_in_files(&name).remove(1), stored)).collect();
    assert!(file.contains_key("resnet.encoder.stages.1.layers.0.shortcut.normalization.running_var"));
    let batches = "resnet.embedder.embedder.normalization.num_batches_tracked";
    file.insert(batches.into(), (Dtype::I64, vec![], vec![0; 8]));
    write(&path, &file);
    load_weights(&two, &path, HeadWeights::Read).unwrap();
    assert_eq!(all_bits(&one), all_bits(&two));
}

#[test]
fn half_precision_is_converted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    for dtype in [DType::F16, DType::BF16] {
        let (one, two) = (small_resnet(3, 1), small_resnet(3, 2));
        let halves: Vec<(String, Tensor)> =
            tensors(&one).into_iter().map(|(name, var)| (name, var.as_detached_tensor().to_dtype(dtype).unwrap())).collect();
        candle_core::safetensors::save(&halves.iter().cloned().collect(), &path).unwrap();
        load_weights(&two, &path, HeadWeights::Read).unwrap();
        for ((name, half), (_, two)) in halves.iter().zip(tensors(&two)) {
            assert_eq!(bits(&half.to_dtype(DType::F32).unwrap()), bits(&two), "{name}");
        }
    }
}

#[test]
fn the_head_can_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let one = small_resnet(3, 1);
    let mut file = stored(&one);
    for _ in 0..2 {
        write(&path, &file);
        let two = small_resnet(5, 2);
        let before = tensors(&two);
        let head = |tensors: &[(String, Var)]| -> Vec<_> {
            tensors.iter().filter(|(name, _)| name.starts_with("fc")).map(|(_, var)| bits(var)).collect()
        };
        let fresh = head(&before);
        load_weights(&two, &path, HeadWeights::Keep).unwrap();
        assert_eq!(head(&tensors(&two)), fresh);
        for ((name, one), (_, two)) in tensors(&one).iter().zip(tensors(&two)).filter(|((name, _), _)| !name.starts_with("fc")) {
            assert_eq!(bits(one), bits(&two), "{name}");
        }
        // A file without any head serves as well.
        file.retain(|name, _| !name.starts_with("fc"));
    }
}

#[test]
fn a_model_in_several_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (one, two) = (small_resnet(3, 1), small_resnet(3, 2));
    let (mut first, mut second) = (stored(&one), stored(&one));
    first.retain(|name, _| name.starts_with("layer"));
    second.retain(|name, _| !name.starts_with("layer"));
    write(&at("model-1.safetensors"), &first);
    write(&at("model-2.safetensors"), &second);
    let of = |tensors: &BTreeMap<String, Stored>, file: &str| -> Vec<_> {
        tensors.keys().map(|name| (name.clone(), file.to_owned())).collect()
    };
    let weight_map: BTreeMap<_, _> =
        [of(&first, "model-1.safetensors"), of(&second, "model-2.safetensors")].concat().into_iter().collect();
    let index = serde_json::json!({ "metadata": { "total_size": 1 }, "weight_map": weight_map });
    fs_err::write(at("model.safetensors.index.json"), index.to_string()).unwrap();
    load_weights(&two, &at("model.safetensors.index.json"), HeadWeights::Read).unwrap();
    assert_eq!(all_bits(&one), all_bits(&two));
}

/// Every kind of file that does not fit: the message, and that nothing was loaded.
#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = small_resnet(3, 1);
    let before = all_bits(&model);
    let mut messages = Vec::new();
    let mut refused = |path: &Path, head| {
        let error = load_weights(&model, path, head).unwrap_err();
        assert!(matches!(error, Error::File { .. }));
        assert_eq!(all_bits(&model), before);
        let message = error.to_string();
        assert!(message.starts_with(&folder.path().display().to_string()), "{message}");
        messages.push(message.replace(&folder.path().display().to_string(), "…").replace('\\', "/"));
    };
    let other = stored(&small_resnet(3, 2));
    let mut with = |change: &dyn Fn(&mut BTreeMap<String, Stored>)| {
        let mut file = other.clone();
        change(&mut file);
        write(&at("model.safetensors"), &file);
        refused(&at("model.safetensors"), HeadWeights::Read);
    };
    with(&|file| {
        file.remove("layer2.0.bn1.running_mean");
    });
    with(&|file| {
        file.remove("fc.bias");
    });
    with(&|file| {
        file.insert("layer5.0.conv1.weight".into(), (Dtype::F16, vec![2, 1], vec![0; 4]));
    });
    with(&|file| {
        file.insert("layer1.0.conv1.weight".into(), (Dtype::F32, vec![2, 2, 1, 1], vec![0; 16]));
    });
    with(&|file| {
        file.insert("fc.weight".into(), (Dtype::F32, vec![1, 16], vec![0; 64]));
    });
    with(&|file| {
        file.insert("bn1.weight".into(), (Dtype::F64, vec![2], vec![0; 16]));
    });
    with(&|file| {
        file.insert("classifier.1.bias".into(), (Dtype::F32, vec![3], vec![0; 12]));
    });

    write(&at("whole.safetensors"), &other);
    let whole = fs_err::read(at("whole.safetensors")).unwrap();
    fs_err::write(at("cut.safetensors"), &whole[..whole.len() - 1]).unwrap();
    refused(&at("cut.safetensors"), HeadWeights::Keep);
    refused(&at("nothing.safetensors"), HeadWeights::Read);
    refused(folder.path(), HeadWeights::Read);
    for index in [
        "{}".to_owned(),
        serde_json::json!({ "weight_map": { "fc.bias": "../whole.safetensors" } }).to_string(),
        serde_json::json!({ "weight_map": { "fc.bias": "whole.safetensors", "fc.weight": "again.safetensors" } }).to_string(),
        serde_json::json!({ "weight_map": { "fc.bias": "nothing.safetensors" } }).to_string(),
    ] {
        fs_err::copy(at("whole.safetensors"), at("again.safetensors")).unwrap();
        fs_err::write(at("index.json"), index).unwrap();
        refused(&at("index.json"), HeadWeights::Read);
    }
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let mlp = Mlp::new(&[2, 3], Activation::Relu, true, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu).unwrap();
    let inner = folder.path().join("inner");
    fs_err::create_dir(&inner).unwrap();
    for path in [inner.clone(), folder.path().join("no/such/folder")] {
        let error = save_weights(&mlp, &path).unwrap_err();
        let Error::File { file, problem } = &error else { panic!("{error}") };
        assert!(*file == path && matches!(**problem, FileProblem::Write(_)), "{error}");
    }
    assert!(inner.is_dir());
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1);
}

/// The forward pass uses what was read.
#[test]
fn an_mlp_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mlp.safetensors");
    let mlp = |seed| Mlp::new(&[4, 5, 3], Activation::Relu, true, &mut ChaCha8Rng::seed_from_u64(seed), &Device::Cpu).unwrap();
    let (one, two) = (mlp(1), mlp(2));
    save_weights(&one, &path).unwrap();
    load_weights(&two, &path, HeadWeights::Read).unwrap();
    let x = Tensor::new(&[[1.0_f32, -2.0, 0.5, 3.0]], &Device::Cpu).unwrap();
    assert_eq!(bits(&one.forward(&x).unwrap()), bits(&two.forward(&x).unwrap()));
}
