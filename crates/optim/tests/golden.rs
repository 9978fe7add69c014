//! Every rule against trajectories made by other implementations (golden/README.md).
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

use std::path::{Path, PathBuf};

use isorate_optim::replay;
use safetensors::SafeTensors;

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    files
}

/// What agreement to expect, stated here apart from the library: from the rule and from how the reference computed.
fn expected_tolerance(name: &str) -> f64 {
    let rule = name.split('-').next().unwrap();
    if name.starts_with("muon-torch") {
        5e-3
    } else if ["sgd", "ngd", "nmd", "signgd", "signum"].contains(&rule) {
        1e-12
    } else if rule == "shampoo" {
        1e-5
    } else if rule == "soap" {
        1e-4
    } else {
        1e-9
    }
}

/// PyTorch's trajectories with the iteration in bfloat16, as PyTorch computed them: the differences left are those of the
/// start, where PyTorch rounds more often.
#[test]
fn bfloat16_references_are_reproduced_in_bfloat16() {
    let folder = tempfile::tempdir().unwrap();
    let names = |file: &PathBuf| file.file_stem().unwrap().to_str().unwrap().starts_with("muon-torch");
    let files: Vec<PathBuf> = golden_files().into_iter().filter(names).collect();
    assert_eq!(files.len(), 12);
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let mut metadata = metadata.metadata().clone().unwrap();
        let mut case: serde_json::Value = serde_json::from_str(&metadata["case"]).unwrap();
        case["hyper"]["ns_dtype"] = "bf16".into();
        metadata.insert("case".into(), case.to_string());
        let changed = folder.path().join(file.file_name().unwrap());
        safetensors::serialize_to_file(SafeTensors::deserialize(&bytes).unwrap().tensors(), Some(metadata), &changed).unwrap();
        let [single, half] = [&file, &changed].map(|file| replay(file).unwrap().max_abs_diff);
        println!("| {} | {single:.2e} | {half:.2e} |", file.file_stem().unwrap().display());
        assert!(half < 5e-3, "{}: {half:e}", file.display());
    }
}

#[test]
fn all_reference_trajectories_are_reproduced() {
    let files = golden_files();
    assert_eq!(files.len(), 88);
    for file in files {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let replay = replay(&file).unwrap();
        println!(
            "| {name} | {} | {:.2e} | {:.0e} | {}",
            replay.worst_step, replay.max_abs_diff, replay.tolerance, replay.case.source
        );
        assert!(replay.agrees(), "{name}: {:e} at step {}", replay.max_abs_diff, replay.worst_step);
        assert_eq!(replay.tolerance, expected_tolerance(&name), "{name}");
        assert_eq!(replay.case.steps, 12);
        // Only these depend on a choice that the definition leaves open.
        assert_eq!(replay.basis_from_reference, ["soap-4x6", "soap-6x4"].contains(&name.as_str()), "{name}");
    }
}
