//! What data sets there are, and what is in them.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use isorate_data::{Images, Split, mnist};
use isorate_tests::{Workplace, binary};
use serde_json::Value;

/// Runs the binary in a folder whose cache of the hub is empty.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env("RUST_BACKTRACE", "0")
        .env("HF_HOME", "hf")
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("HF_HUB_CACHE")
        .output()
        .unwrap()
}

fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn list(folder: &Path) -> Vec<Value> {
    let text = succeed(folder, &["data", "list", "--format", "json"]);
    serde_json::from_str::<Value>(&text).unwrap().as_array().unwrap().clone()
}

#[test]
fn the_list() {
    insta::assert_snapshot!(succeed(tempfile::tempdir().unwrap().path(), &["data", "list"]));
}

/// Every set that needs no hub, with its counts. The list must say the same rows.
#[test]
fn every_set_without_the_hub_shows_its_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for row in list(folder.path()).iter().filter(|row| row["embedded"] == true) {
        let name = row["name"].as_str().unwrap();
        write!(text, "──── {name} ────\n{}\n", succeed(folder.path(), &["data", "inspect", name])).unwrap();
        let facts: Value = serde_json::from_str(&succeed(folder.path(), &["data", "inspect", name, "--format", "json"])).unwrap();
        let found: Vec<Value> = facts["splits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|split| Value::from([split["name"].clone(), split["rows"].clone()].to_vec()))
            .collect();
        assert_eq!(row["embedded_rows"], Value::from(found), "{name}");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn training_images_are_made_imbalanced() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for law in ["step:20", "exponential:0.01", "heavy-tail"] {
        let facts = succeed(folder.path(), &["data", "inspect", "fashion-mnist", "--imbalance", law, "--format", "json"]);
        let facts: Value = serde_json::from_str(&facts).unwrap();
        let counts: Vec<String> =
            facts["splits"][0]["classes"].as_array().unwrap().iter().map(|class| class["rows"].to_string()).collect();
        writeln!(text, "{law}: {}; imbalance ratio {}", counts.join(" "), facts["splits"][0]["class_imbalance_ratio"]).unwrap();
        assert_eq!(facts["splits"][1]["rows"], 4_000, "the test images stay balanced");
    }
    insta::assert_snapshot!(text);
}

#[test]
fn contact_sheets_are_a_function_of_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = |seed: &str| {
        succeed(folder.path(), &["data", "inspect", "clothing", "--seed", seed, "--out", "out"]);
        fs_err::read(folder.path().join("out/clothing.png")).unwrap()
    };
    let first = sheet("1");
    assert!(first.starts_with(b"\x89PNG"));
    assert_eq!(first, sheet("1"));
    assert_ne!(first, sheet("2"));
}

#[test]
fn wrong_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for arguments in [
        &["data", "inspect", "fashion_mnist"][..],
        &["data", "inspect", "celeba"],
        &["data", "inspect", "dominoes-cifar"],
        &["data", "inspect", "mnist", "--data", "hub"],
        &["data", "inspect", "mnist", "--data", "idx:nowhere"],
        &["data", "inspect", "mnist", "--data", "disk"],
        &["data", "inspect", "wine-quality", "--imbalance", "step:20"],
        &["data", "inspect", "wine-quality", "--out", "out"],
        &["data", "inspect", "mnist", "--imbalance", "step"],
        &["data", "inspect", "mnist", "--imbalance", "step:0.5"],
        &["data", "inspect", "mnist", "--imbalance", "step:100000"],
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        write!(text, "──── {} ────\n{message}", arguments[2..].join(" ")).unwrap();
    }
    insta::assert_snapshot!(text);
}

/// A folder of IDX files with the embedded digits.
fn idx(folder: &Path) {
    let part = |prefix: &str, images: &Images| {
        let count = u32::try_from(images.len()).unwrap();
        let file = |name: &str, dims: &[u32], values: &[u8]| {
            let mut bytes = vec![0, 0, 8, u8::try_from(dims.len()).unwrap()];
            bytes.extend(dims.iter().flat_map(|side| side.to_be_bytes()));
            bytes.extend(values);
            fs_err::write(folder.join(format!("{prefix}-{name}-ubyte")), bytes).unwrap();
        };
        file("images-idx3", &[count, 28, 28], images.pixels());
        let labels: Vec<u8> = images.labels().iter().map(|&label| u8::try_from(label).unwrap()).collect();
        file("labels-idx1", &[count], &labels);
    };
    part("train", &mnist().load(Split::Train).unwrap());
    part("t10k", &mnist().load(Split::Test).unwrap());
}

/// The same images give the same numbers, whatever they are read from; the run says where they are from.
#[test]
fn experiments_run_on_images_from_idx_files() {
    let workplace = Workplace::new();
    fs_err::create_dir(workplace.path().join("idx")).unwrap();
    idx(&workplace.path().join("idx"));
    let runs = |origin: &str, store: &str| {
        let arguments = ["run", "paper/experiments/f1.toml", "--scale", "smoke", "--data", origin, "--store", store];
        workplace.succeed(&arguments).stdout
    };
    let ids = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split_whitespace().next().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    let (embedded, from_idx) = (runs("embedded", "a"), runs("idx:idx", "b"));
    assert_eq!(embedded.lines().count(), from_idx.lines().count());
    assert!(ids(&embedded).iter().zip(ids(&from_idx)).all(|(a, b)| *a != b), "{embedded}{from_idx}");
    let stores = ["a", "b"].map(|store| isorate_results::Store::open(&workplace.path().join(store)).unwrap());
    for (a, b) in ids(&embedded).iter().zip(ids(&from_idx)) {
        let [a, b] = [(&stores[0], a.as_str()), (&stores[1], b.as_str())].map(|(store, id)| {
            store.read("f1", &serde_json::from_value(Value::from(id.trim_end_matches(".parquet"))).unwrap()).unwrap()
        });
        assert_eq!(a.records, b.records);
        assert_eq!(b.header.spec["data"]["source"], "idx");
        assert_ne!(a.header.provenance.data, b.header.provenance.data);
    }
    let complete = workplace.run(&["run", "paper/experiments/f1.toml", "--scale", "paper"]);
    assert_eq!(complete.code, Some(2));
    insta::assert_snapshot!(complete.stderr);
}
