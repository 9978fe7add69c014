//! `ResNet`s against torchvision's, on weights and images that a formula gives: `reference/resnet.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by a panic, and says how near it was")]

mod common;

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use common::{bits, digest, scaled, small_resnet, tensors};
use isorate_kernels::cross_entropy;
use isorate_models::{Mode, Model as _, ResNet, ResNetConfig, ResNetDepth, Stem};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

/// Allowed difference of logits, loss, gradients and running averages, in units of their norm.
const TOLERANCE: f64 = 1e-4;
/// The width at which the script keeps activations away from 0.
const WIDE: usize = 64;

#[derive(Deserialize)]
struct Case {
    depth: String,
    stem: String,
    width: usize,
    channels: usize,
    classes: usize,
    batch: usize,
    size: usize,
    /// The name of the images in the formula.
    images: String,
    loss: f64,
    /// The difference that PyTorch's own gradients in f32 have.
    single: f64,
    tensors: BTreeMap<String, [f64; 2]>,
    shapes: BTreeMap<String, Vec<usize>>,
}

fn case(name: &str) -> Case {
    let mut all: BTreeMap<String, serde_json::Value> = serde_json::from_str(include_str!("reference/resnet.json")).unwrap();
    serde_json::from_value(all.remove(name).unwrap()).unwrap()
}

fn resnet(case: &Case) -> ResNet {
    let depth = match case.depth.as_str() {
        "18" => ResNetDepth::D18,
        "34" => ResNetDepth::D34,
        _ => ResNetDepth::D50,
    };
    let stem = if case.stem == "cifar" { Stem::Cifar } else { Stem::ImageNet };
    let config = ResNetConfig { depth, stem, width: case.width, channels: case.channels, classes: case.classes };
    ResNet::new(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu).unwrap()
}

fn set_to_formula(resnet: &ResNet) {
    for (name, var) in tensors(resnet) {
        let shape = var.dims();
        let wide = resnet.config().width == WIDE;
        let (center, scale) = match *shape {
            [out, _, height, width] => (0.0, (6.0 / (out * height * width) as f64).sqrt()),
            [_, inputs] => (0.0, (1.0 / inputs as f64).sqrt()),
            _ if wide && name.ends_with("weight") => (0.15, 0.031_25),
            _ if wide && name.ends_with("bias") && !name.starts_with("fc") => (1.0, 0.25),
            _ if name.ends_with("running_var") || name.ends_with("weight") => (1.0, 0.25),
            _ => (0.0, 0.25),
        };
        var.set(&scaled(&name, shape, center, scale)).unwrap();
    }
}

/// Logits in both modes, the loss, every gradient and every running average.
fn agrees_with_torchvision(name: &str) {
    let case = case(name);
    let resnet = resnet(&case);
    let named = tensors(&resnet);
    let shapes = named.iter().map(|(name, var)| (name.clone(), var.dims().to_vec())).collect::<BTreeMap<_, _>>();
    assert_eq!(shapes, case.shapes);
    set_to_formula(&resnet);

    let images = scaled(&case.images, &[case.batch, case.channels, case.size, case.size], 0.0, 1.0);
    let labels: Vec<u32> = (0..case.batch).map(|i| u32::try_from(i * 3 % case.classes).unwrap()).collect();
    let evaluated = resnet.logits(&images, Mode::Evaluate).unwrap();
    let logits = resnet.logits(&images, Mode::Train).unwrap();
    let loss = cross_entropy(&logits, &Tensor::new(labels, &Device::Cpu).unwrap()).unwrap();
    let gradients = loss.backward().unwrap();

    let loss = f64::from(loss.to_scalar::<f32>().unwrap());
    assert!((loss - case.loss).abs() < TOLERANCE * case.loss, "loss {loss}, not {}", case.loss);
    let mut found = vec![("logits, evaluated".to_owned(), evaluated), ("logits, training".to_owned(), logits)];
    for parameter in resnet.parameters() {
        found.push((format!("gradient of {}", parameter.name), gradients.get(&parameter.var).unwrap().clone()));
    }
    found.extend(resnet.buffers().into_iter().map(|(name, var)| (format!("updated {name}"), var.as_detached_tensor())));
    assert!(found.iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>().into_iter().eq(case.tensors.keys()));

    let gradient = |name: &str| name.starts_with("gradient");
    let largest = case.tensors.iter().filter(|(name, _)| gradient(name)).map(|(_, [norm, _])| *norm).fold(0.0, f64::max);
    let (mut worst, mut worst_other) = (0.0_f64, 0.0_f64);
    for (name, tensor) in found {
        let (found, expected) = (digest(&name, &tensor), case.tensors[&name]);
        // Gradients that vanish have no relative difference.
        let unit = if gradient(&name) { expected[0].max(1e-3 * largest) } else { expected[0] };
        let difference = (found[0] - expected[0]).abs().max((found[1] - expected[1]).abs()) / unit;
        assert!(difference <= TOLERANCE, "{name}: {found:?}, not {expected:?}: {difference:e}");
        let worst = if gradient(&name) { &mut worst } else { &mut worst_other };
        *worst = worst.max(difference);
    }
    println!("{name}: gradients {worst:.1e} (PyTorch's f32: {:.1e}), others {worst_other:.1e}", case.single);
}

#[test]
fn resnet18_cifar_narrow() {
    agrees_with_torchvision("resnet18-cifar-narrow");
}

#[test]
fn resnet18_cifar() {
    agrees_with_torchvision("resnet18-cifar");
}

#[test]
fn resnet34_imagenet_narrow() {
    agrees_with_torchvision("resnet34-imagenet-narrow");
}

#[test]
fn resnet50_cifar_narrow() {
    agrees_with_torchvision("resnet50-cifar-narrow");
}

#[test]
fn resnet50_imagenet() {
    agrees_with_torchvision("resnet50-imagenet");
}

/// Every tensor has its place in a file of transformers, and no other.
#[test]
fn names_of_transformers() {
    let all: BTreeMap<String, serde_json::Value> = serde_json::from_str(include_str!("reference/resnet.json")).unwrap();
    let mut hub: BTreeMap<String, Vec<usize>> = serde_json::from_value(all["names of transformers, resnet50"].clone()).unwrap();
    let resnet = resnet(&case("resnet50-imagenet"));
    for (name, var) in tensors(&resnet) {
        let names = resnet.names_in_files(&name);
        assert_eq!(names[0], name);
        let shape = hub.remove(&names[1]).unwrap_or_else(|| panic!("{names:?}"));
        // The script's has two classes.
        assert_eq!(shape[usize::from(name.starts_with("fc"))..], var.dims()[usize::from(name.starts_with("fc"))..], "{name}");
    }
    assert_eq!(hub, BTreeMap::new());
}

#[test]
fn evaluation_changes_nothing_and_keeps_no_graph() {
    let resnet = small_resnet(3, 1);
    let images = scaled("x", &[2, 1, 8, 8], 0.0, 1.0);
    let before: Vec<_> = tensors(&resnet).iter().map(|(_, var)| bits(var)).collect();
    let logits = resnet.logits(&images, Mode::Evaluate).unwrap();
    assert!(!logits.track_op());
    assert_eq!(before, tensors(&resnet).iter().map(|(_, var)| bits(var)).collect::<Vec<_>>());
    resnet.logits(&images, Mode::Train).unwrap();
    assert_ne!(bits(&logits), bits(&resnet.logits(&images, Mode::Evaluate).unwrap()));
}

#[test]
fn the_seed_decides_every_weight_and_its_spread() {
    let same = |a: &ResNet, b: &ResNet| tensors(a).iter().zip(tensors(b)).all(|((_, a), (_, b))| bits(a) == bits(&b));
    assert!(same(&small_resnet(3, 1), &small_resnet(3, 1)));
    let other = ResNet::new(*small_resnet(3, 1).config(), &mut ChaCha8Rng::seed_from_u64(2), &Device::Cpu).unwrap();
    assert!(!same(&small_resnet(3, 1), &other));

    let wide = ResNetConfig { width: 32, ..*small_resnet(3, 1).config() };
    let wide = ResNet::new(wide, &mut ChaCha8Rng::seed_from_u64(3), &Device::Cpu).unwrap();
    let filters = wide.parameters().into_iter().find(|parameter| parameter.name == "layer2.0.conv1.weight").unwrap();
    let mean_square = filters.var.sqr().unwrap().mean_all().unwrap().to_scalar::<f32>().unwrap();
    // 18,432 draws: the estimate of a variance is off by 1% (one σ).
    assert!((mean_square / (2.0 / (64.0 * 9.0)) - 1.0).abs() < 0.04, "{mean_square}");
}

#[test]
fn a_fresh_head_for_other_classes() {
    let mut resnet = small_resnet(3, 1);
    let filters = bits(&resnet.parameters()[0].var);
    resnet.replace_head(5, &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
    let images = scaled("x", &[2, 1, 8, 8], 0.0, 1.0);
    assert_eq!(resnet.logits(&images, Mode::Train).unwrap().dims(), [2, 5]);
    assert_eq!(resnet.config().classes, 5);
    assert_eq!(filters, bits(&resnet.parameters()[0].var));
    assert!(resnet.replace_head(0, &mut ChaCha8Rng::seed_from_u64(4)).unwrap_err().to_string().contains("at least one class"));
}

#[test]
fn what_cannot_be_is_refused() {
    for (width, channels, classes) in [(0, 1, 1), (1, 0, 1), (1, 1, 0)] {
        let config = ResNetConfig { width, channels, classes, ..*small_resnet(3, 1).config() };
        let error = ResNet::new(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("positive"), "{error}");
    }
    let resnet = small_resnet(3, 1);
    let error = resnet.logits(&scaled("x", &[2, 3, 8, 8], 0.0, 1.0), Mode::Train).unwrap_err().to_string();
    assert!(error.contains("1 channels, not [2, 3, 8, 8]"), "{error}");
    let error = resnet.logits(&scaled("x", &[1, 1, 8, 8], 0.0, 1.0), Mode::Train).unwrap_err().to_string();
    assert!(error.contains("more than one value for each channel"), "{error}");
    assert!(resnet.logits(&scaled("x", &[1, 1, 8, 8], 0.0, 1.0), Mode::Evaluate).is_ok());
}
