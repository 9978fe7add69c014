//! Every rule against trajectories made by other implementations (golden/README.md).
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

use std::path::{Path, PathBuf};

use isorate_optim::replay;

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
