//! Replay of files that are not in order: each is an error that says what is wrong, and none a panic.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use common::normal;
use isorate_optim::{Error, replay};
use proptest::prelude::*;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// A trajectory to be written, possibly after it was spoilt.
#[derive(Clone)]
struct File {
    tensors: Vec<(String, Tensor)>,
    case: Value,
}

impl File {
    /// NGD by its definition.
    fn ngd(shape: &[usize], steps: usize, dtype: DType) -> Self {
        let mut w = normal(shape, 1);
        let mut tensors = vec![("w.0".to_owned(), w.clone())];
        for k in 1..=steps {
            let g = normal(shape, 1 + k as u64);
            w = (w - ((&g / common::frobenius(&g)).unwrap() * 0.1).unwrap()).unwrap();
            tensors.push((format!("grad.{k}"), g));
            tensors.push((format!("w.{k}"), w.clone()));
        }
        for (_, t) in &mut tensors {
            *t = t.to_dtype(dtype).unwrap();
        }
        let case = json!({"optimizer": "ngd", "hyper": {"lr": 0.1}, "shape": shape, "steps": steps, "source": "definition"});
        Self { tensors, case }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.case[key] = value;
        self
    }

    fn replace(mut self, name: &str, tensor: Option<Tensor>) -> Self {
        self.tensors.retain(|(n, _)| n != name);
        self.tensors.extend(tensor.map(|t| (name.to_owned(), t)));
        self
    }

    fn bytes(&self, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
        // By way of bytes: candle implements the trait of another version of safetensors.
        let raw = |t: &Tensor| -> (Dtype, Vec<u8>) {
            let flat = t.flatten_all().unwrap();
            match t.dtype() {
                DType::F64 => (Dtype::F64, flat.to_vec1::<f64>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect()),
                DType::F32 => (Dtype::F32, flat.to_vec1::<f32>().unwrap().iter().flat_map(|x| x.to_le_bytes()).collect()),
                // The values do not matter where the type is wrong.
                _ => (Dtype::F16, vec![0; 2 * t.elem_count()]),
            }
        };
        let data: Vec<_> = self.tensors.iter().map(|(n, t)| (n.clone(), t.dims().to_vec(), raw(t))).collect();
        let views = data.iter().map(|(n, s, (d, bytes))| (n.clone(), TensorView::new(*d, s.clone(), bytes).unwrap()));
        safetensors::serialize(views, metadata).unwrap()
    }

    fn message(&self) -> String {
        message(&self.bytes(Some(HashMap::from([("case".to_owned(), self.case.to_string())]))))
    }
}

fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("case.safetensors");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// The error for such a file, without the path that it starts with.
fn message(bytes: &[u8]) -> String {
    let (_folder, path) = written(bytes);
    match replay(&path) {
        Err(error @ Error::Replay { .. }) => {
            let text = error.to_string();
            text.strip_prefix(&format!("{}: ", path.display())).expect("the error names the file").to_owned()
        }
        other => panic!("expected an error about the file, not {other:?}"),
    }
}

fn replay_file(file: &File) -> isorate_optim::Replay {
    let (_folder, path) = written(&file.bytes(Some(HashMap::from([("case".to_owned(), file.case.to_string())]))));
    replay(path).unwrap()
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)).unwrap()
}

#[test]
fn other_shapes_and_lengths_work() {
    for (shape, steps) in [(&[2, 9][..], 1), (&[7, 1], 3), (&[1, 1], 40), (&[4, 3, 2, 2], 2)] {
        let double = replay_file(&File::ngd(shape, steps, DType::F64));
        assert!(double.agrees() && double.tolerance == 1e-12, "{double:?}");
        assert_eq!((double.case.steps, &double.case.shape[..]), (steps, shape));
        let single = replay_file(&File::ngd(shape, steps, DType::F32));
        assert!(single.agrees() && single.tolerance == 1e-5, "{single:?}");
    }
}

#[test]
fn golden_trajectories_hold_in_float32() {
    // The float64 references rounded to float32, run in float32.
    for name in [
        "sgd",
        "adam",
        "adamw",
        "nmd",
        "signum",
        "specgd",
        "muon-exact",
        "muon-f64-original",
        "shampoo-b2_1.0",
        "shampoo-adamgraft",
    ] {
        let bytes = golden(&format!("{name}-5x5.safetensors"));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = serde_json::from_str(&metadata.metadata().as_ref().unwrap()["case"]).unwrap();
        let tensors = tensors
            .tensors()
            .into_iter()
            .map(|(n, v)| {
                let t = Tensor::from_raw_buffer(v.data(), DType::F64, v.shape(), &Device::Cpu).unwrap();
                (n, t.to_dtype(DType::F32).unwrap())
            })
            .collect();
        let result = replay_file(&File { tensors, case });
        assert!(result.agrees() && result.tolerance == 1e-5, "{name}: {:e}", result.max_abs_diff);
    }
}

#[test]
fn our_own_soap_is_replayed_without_help() {
    for shape in [[3, 6], [6, 3], [3, 4], [5, 5], [2, 9]] {
        let rule = common::rule(r#"{"rule":"soap","lr":0.1,"precondition_every":2}"#);
        let start = normal(&shape, 1);
        let mut single = common::Single::new(&start, &rule);
        let mut tensors = vec![("w.0".to_owned(), start)];
        for k in 1..=6 {
            let gradient = normal(&shape, 1 + k);
            single.step(&gradient).unwrap();
            tensors.push((format!("grad.{k}"), gradient));
            tensors.push((format!("w.{k}"), single.var.as_tensor().copy().unwrap()));
        }
        let hyper = json!({"lr": 0.1, "precondition_every": 2});
        let case = json!({"optimizer": "soap", "hyper": hyper, "shape": shape, "steps": 6, "source": "this crate"});
        let result = replay_file(&File { tensors, case });
        assert!(result.max_abs_diff == 0.0 && !result.basis_from_reference, "{shape:?}: {result:?}");
        assert_eq!(result.tolerance, 1e-9);
    }
}

#[test]
fn a_wrong_reference_is_a_difference_and_not_an_error() {
    let file = File::ngd(&[2, 3], 3, DType::F64);
    let other = normal(&[2, 3], 99);
    let result = replay_file(&file.replace("w.2", Some(other)));
    assert!(!result.agrees());
    assert_eq!(result.worst_step, 2);
    // A learning rate that overflows the weights is a difference too, of infinite size.
    let huge = File::ngd(&[2, 3], 3, DType::F32).with("optimizer", json!("signgd")).with("hyper", json!({"lr": 1e300}));
    assert!(replay_file(&huge).max_abs_diff.is_infinite());
}

#[test]
fn every_defect_has_its_message() {
    let file = || File::ngd(&[2, 3], 3, DType::F64);
    let cases = [
        (
            file().with("optimizer", json!("lion")),
            "unknown optimizer `lion` (supported: sgd, adam, adamw, ngd, nmd, signgd, signum, specgd, muon, shampoo, soap, dion, \
             scion, power)",
        ),
        (file().with("optimizer", json!(3)), "the metadata entry `case`: invalid type: integer"),
        (file().with("hyper", json!({"lr": 0.1, "rho": 1})), "hyperparameters of ngd: unknown field `rho`"),
        (file().with("hyper", json!({"lr": 0.1, "rule": "adam"})), "hyperparameters of ngd: unknown field `rule`"),
        (file().with("hyper", json!({"lr": -0.1})), "hyperparameters of ngd: nmd: lr = -0.1, but a learning rate"),
        (file().with("hyper", json!({"momentum": 0})), "hyperparameters of ngd: missing field `lr`"),
        (file().with("hyper", json!({"lr": "x"})), "hyperparameters of ngd: invalid type: string"),
        (file().with("hyper", json!({"lr": 0.1, "bf16_reference": 1})), "hyperparameters of ngd: `bf16_reference` must"),
        (
            file().with("optimizer", json!("specgd")).with("hyper", json!({"lr": 0.1, "momentum": 0.9})),
            "hyperparameters of specgd: `momentum` must be 0",
        ),
        (
            file().with("optimizer", json!("specgd")).with("hyper", json!({"lr": 1, "orthogonalizer": "newton-schulz"})),
            "hyperparameters of specgd: `orthogonalizer` must be \"exact\"",
        ),
        (file().with("steps", json!(0)), "`steps` = 0, but"),
        (file().with("steps", json!(-1)), "the metadata entry `case`: invalid value"),
        (file().with("steps", json!(4)), "tensor `grad.4` is missing; 4 steps need"),
        (file().with("steps", json!(u64::MAX)), "tensor `grad.4` is missing"),
        (file().with("steps", json!(2)), "tensor `grad.3` does not belong to a trajectory of 2 steps"),
        (file().replace("w.0", None), "tensor `w.0` is missing"),
        (file().replace("grad.2", None), "tensor `grad.2` is missing"),
        (file().replace("extra", Some(normal(&[1], 1))), "tensor `extra` does not belong"),
        (file().with("shape", json!([3, 2])), "tensor `w.0` has shape [2, 3], but the case says [3, 2]"),
        (file().replace("w.3", Some(normal(&[3, 2], 1))), "tensor `w.3` has shape [3, 2], but the case says [2, 3]"),
        (
            file().replace("grad.1", Some(normal(&[2, 3], 1).to_dtype(DType::F32).unwrap())),
            "tensor `grad.1` is F32, but it must be F64, as w.0",
        ),
        (
            file().replace("w.0", Some(normal(&[2, 3], 1).to_dtype(DType::F16).unwrap())),
            "tensor `w.0` is F16, but it must be F32 or F64",
        ),
        (file().replace("w.1", Some((normal(&[2, 3], 1) / 0.0).unwrap())), "tensor `w.1` holds a NaN or an infinity"),
        (File::ngd(&[3], 2, DType::F64).with("optimizer", json!("specgd")), "step 0: parameter `w` of shape [3] is in"),
        (File::ngd(&[0, 3], 2, DType::F64), "step 0: parameter `w` of shape [0, 3] has no elements"),
    ];
    for (file, expected) in cases {
        let text = file.message();
        assert!(text.starts_with(expected), "{text}\nexpected: {expected}");
    }
}

#[test]
fn files_of_another_kind_are_named() {
    let file = File::ngd(&[2, 3], 3, DType::F64);
    assert!(message(&file.bytes(None)).starts_with("the metadata has no entry `case`"));
    let foreign = Some(HashMap::from([("case".to_owned(), "not JSON".to_owned())]));
    assert!(message(&file.bytes(foreign)).starts_with("the metadata entry `case`: expected"));
    assert!(message(b"").starts_with("not a complete safetensors file: "));
    assert!(message(b"PAR1 and more than eight bytes").starts_with("not a complete safetensors file: "));
    let missing = replay("no/such/file.safetensors").unwrap_err().to_string();
    assert!(missing.starts_with("no/such/file.safetensors: "), "{missing}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn truncated_files_are_errors(keep in 0_usize..6800) {
        let bytes = golden("muon-exact-5x5.safetensors");
        prop_assert!(keep < bytes.len());
        let text = message(&bytes[..keep]);
        prop_assert!(text.starts_with("not a complete safetensors file: "), "{}", text);
    }

    #[test]
    fn damaged_files_never_panic(position in 0_usize..6800, byte: u8) {
        let mut bytes = golden("muon-exact-5x5.safetensors");
        bytes[position] = byte;
        let (_folder, path) = written(&bytes);
        // Damage in the numbers cannot be noticed; it shows as a difference.
        if let Err(error) = replay(&path) {
            prop_assert!(error.to_string().starts_with(&path.display().to_string()));
        }
    }
}
