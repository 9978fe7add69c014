//! Draws every figure and table from made-up runs into a folder, good and awkward cases, to look at them.
//!
//! `cargo run --release --workspace --example gallery -- FOLDER`
#![expect(clippy::print_stdout, reason = "an example for a terminal")]
#![expect(clippy::unwrap_used, reason = "an example for developers: it may stop at the first problem")]

use std::path::PathBuf;
use std::time::Instant;

use isorate_results::Run;

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use synthetic::{a1, b3, diverge, f1, f4, frozen, moments_run, t1, ten, theorem, three, training, training_run};

fn main() {
    let out = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target/gallery"), PathBuf::from);
    let mut all = f1(&["muon", "nmd", "signum", "sgd", "adam"], 5);
    all.extend([three().f2(), theorem().f5(false), b3(), three().b4(), t1(), f4(), a1()]);
    all.extend(frozen());
    all.extend(training::everything(3));
    let start = Instant::now();
    for entry in isorate_figures::catalogue() {
        let begun = Instant::now();
        let files = isorate_figures::draw(entry.id, &all, &out.join("good")).unwrap();
        let bytes: Vec<u64> = files.iter().map(|file| file.metadata().unwrap().len()).collect();
        println!("{} {:?} bytes {bytes:?}", entry.id, begun.elapsed());
    }
    println!("all {:?}", start.elapsed());

    let cases: [(&str, &str, Vec<Run>); 7] = [
        ("one-seed", "f1", f1(&["muon", "nmd", "signum"], 1)),
        ("diverged", "f1", diverged()),
        ("same-lines", "f1", same_lines()),
        ("ten", "f2", vec![ten().f2()]),
        ("bilinear", "f5", vec![theorem().f5(true)]),
        ("ten", "f5", vec![ten().f5(false)]),
        ("diverged", "t2", diverged()),
    ];
    for (name, id, runs) in cases {
        isorate_figures::draw(id, &runs, &out.join(name)).unwrap();
    }
}

/// One NMD seed stops early, and all of Signum.
fn diverged() -> Vec<Run> {
    let mut runs = f1(&["muon", "nmd", "sgd"], 3);
    let stopped = runs.iter().position(|run| run.records[0].optimizer == "nmd").unwrap();
    runs[stopped] = diverge(runs[stopped].clone(), 5.0);
    runs.extend((0..3).map(|seed| diverge(training_run("signum", seed), 2.0 + seed as f64)));
    runs
}

/// Every rule has the accuracies of SGD.
fn same_lines() -> Vec<Run> {
    let mut runs = vec![moments_run()];
    for key in ["muon", "nmd", "signum", "sgd", "adam"] {
        let mut run = training_run(key, 0);
        for (record, same) in run.records.iter_mut().zip(training_run("sgd", 0).records) {
            record.value = same.value;
        }
        runs.push(run);
    }
    runs
}
