//! The diagnosis of data that are not the project's, from any folder.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::fmt::Write as _;
use std::process::{Command, Output};

use isorate_tests::binary;
use serde_json::Value;

/// Runs the binary in a folder that holds nothing of the project.
fn run(folder: &std::path::Path, arguments: &[&str], threads: &str) -> Output {
    let output = Command::new(binary())
        .args(arguments)
        .current_dir(folder)
        .env("RUST_BACKTRACE", "0")
        .env("RAYON_NUM_THREADS", threads)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Three classes along their own axes with lengths 2, 40 : 20 : 4, and a cross of noise around each mean: exactly the data model.
fn model() -> String {
    let mut text = String::from("a,b,c,d,species\n");
    for (axis, (name, blocks)) in [("common", 10), ("middle", 5), ("rare", 1)].into_iter().enumerate() {
        for _ in 0..blocks {
            for noise in 0..8 {
                let mut row = [0.0; 4];
                row[axis] = 2.0;
                row[noise / 2] += if noise % 2 == 0 { 1.0 } else { -1.0 };
                writeln!(text, "{},{},{},{},{name}", row[0], row[1], row[2], row[3]).unwrap();
            }
        }
    }
    text
}

#[test]
fn the_data_model_is_recognized() {
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("model.csv"), model()).unwrap();
    let arguments = ["diagnose", "model.csv", "--label", "species", "--features", "raw", "--format", "json"];
    let report = json(&run(folder.path(), &arguments, "1"));
    assert_eq!(report["trust"], "whole", "{report}");
    assert!(
        report["measures"].as_array().unwrap().iter().all(|measure| measure["id"] == "sampling" || measure["within"] == true)
    );
    // σ² = 1/4, μ = 2: a* = μ p/(μ² p + σ²).
    for (class, prior) in [(0, 0.625), (1, 0.3125), (2, 0.0625)] {
        let found = &report["classes"][class];
        assert!((found["prior"].as_f64().unwrap() - prior).abs() < 1e-12);
        assert!((found["saturation_time"].as_f64().unwrap() - 2.0 * prior / (4.0 * prior + 0.25)).abs() < 1e-9, "{found}");
    }
    let gap = &report["gaps"][0];
    assert!(gap["window_error"].as_f64().unwrap() < 0.05, "{}", gap["window_error"]);
    assert!(gap["measured"]["peak"].as_f64().unwrap() > 0.05);
}

#[test]
fn the_wines_are_diagnosed_with_a_figure_and_the_same_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["diagnose", "wine-quality", "--format", "json", "--out", "drawn"];
    let one = run(folder.path(), &arguments, "1");
    let figure = |extension: &str| fs_err::read(folder.path().join(format!("drawn/diagnosis.{extension}"))).unwrap();
    let first: Vec<Vec<u8>> = ["svg", "png", "pdf"].map(figure).into();
    let three = run(folder.path(), &arguments, "3");
    assert_eq!(one.stdout, three.stdout);
    assert_eq!(first, ["svg", "png", "pdf"].map(figure));
    let report = json(&one);
    assert_eq!(
        (report["rows"].as_u64(), report["features"].as_u64(), report["held_out_rows"].as_u64()),
        (Some(1599), Some(11), Some(0))
    );
    assert_eq!(report["trust"], "early");
    // Six grades, and one component fewer for standardized columns.
    assert_eq!((report["classes"].as_array().unwrap().len(), report["components"].as_array().unwrap().len()), (6, 5));
    assert!(report["gaps"][0]["early_error"].as_f64().unwrap() < 0.15);
}

#[test]
fn rows_are_held_out_where_there_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = model();
    let rows: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
    let more: String = rows.iter().cycle().take(7 * rows.len()).fold(String::new(), |text, row| text + row + "\n");
    text.push_str(&more);
    fs_err::write(folder.path().join("model.csv"), text).unwrap();
    let report =
        json(&run(folder.path(), &["diagnose", "model.csv", "--label", "species", "--format", "json", "--step", "10"], "2"));
    assert_eq!(report["held_out_rows"], 256);
    assert_eq!(report["step_ratio"], 10.0);
    assert!(!report["gaps"][0]["held_out_curve"].as_array().unwrap().is_empty());
    assert_eq!(report["accuracies"].as_array().unwrap().len(), 2);
}
