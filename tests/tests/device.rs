//! `--device`: what cannot be had is one line on standard error and the CPU, with or without backtraces.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use isorate_results::Store;
use isorate_tests::{Ended, Workplace, root};

const GOLDEN: &str = "crates/optim/tests/golden/muon-f64-original-4x6.safetensors";

fn run(workplace: &Workplace, arguments: &[&str], backtrace: &str) -> Ended {
    let output = workplace.command(arguments).env("RUST_BACKTRACE", backtrace).output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Numbers of devices that no machine has, so that the test holds in a program built for such devices as well.
const ABSENT: [&str; 2] = ["cuda:250", "metal:250"];

#[test]
fn a_replay_falls_back_with_one_line() {
    let workplace = Workplace::new();
    let file = root().join(GOLDEN).display().to_string();
    let expected = workplace.succeed(&["replay", &file]);
    assert_eq!(expected.stderr, "");
    for device in ABSENT {
        for backtrace in ["0", "1", "full"] {
            let ended = run(&workplace, &["replay", "--device", device, &file], backtrace);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert_eq!(ended.stdout, expected.stdout);
            assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
            assert!(ended.stderr.starts_with(&format!("warning: {device} cannot be used: ")), "{}", ended.stderr);
            assert!(ended.stderr.ends_with("; the CPU is used instead\n"), "{}", ended.stderr);
        }
    }
    assert_eq!(run(&workplace, &["replay", "--device", "cpu", &file], "1").stderr, "");
}

#[test]
fn a_run_is_the_same_wherever_it_was_asked_for() {
    let (here, there) = (Workplace::new(), Workplace::new());
    let arguments = ["run", "paper/experiments/f1.toml", "--scale", "smoke", "--shard", "2/8"];
    let ended = run(&there, &[&arguments[..], &["--device", ABSENT[0]]].concat(), "1");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let warnings = ended.stderr.lines().filter(|line| line.starts_with("warning: ")).count();
    assert_eq!(warnings, 1, "{}", ended.stderr);
    // The same file name is the same identity.
    assert_eq!(here.succeed(&arguments).stdout, ended.stdout);
    let files = there.files(".isorate/results");
    assert!(!files.is_empty());
    let store = Store::open(&there.path().join(".isorate/results")).unwrap();
    for (path, _) in files {
        let id = serde_json::from_value(path.file_stem().unwrap().to_string_lossy().into()).unwrap();
        assert_eq!(store.read("f1", &id).unwrap().header.provenance.device, "cpu");
    }
}

#[test]
fn unknown_devices_are_named() {
    let workplace = Workplace::new();
    for command in ["run", "tune", "figures", "replay"] {
        let ended = workplace.run(&[command, "f1", "--device", "gpu"]);
        assert_eq!(ended.code, Some(2));
        assert!(ended.stderr.contains("device `gpu` is not one of auto, cpu, cuda"), "{}", ended.stderr);
    }
}
