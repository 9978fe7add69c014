//! `isorate bench`: the form of its output and what it refuses. Times are not judged.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::collections::BTreeSet;

use isorate_tests::Workplace;
use serde_json::{Map, Value};

#[test]
fn json_is_that_of_the_contract() {
    let arguments = ["bench", "--format", "json", "--threads", "1", "matmul", "optimizer/sgd", "train/mlp/sgd"];
    let ended = Workplace::new().succeed(&arguments);
    assert_eq!(ended.stderr, "");
    let works: Vec<Map<String, Value>> = serde_json::from_str(&ended.stdout).unwrap();
    for work in &works {
        let keys: BTreeSet<&str> = work.keys().map(String::as_str).collect();
        assert_eq!(keys, ["fraction_of_matmul", "gflops", "milliseconds", "peak_mib", "threads", "work"].into());
        assert_eq!(work["threads"], 1);
        assert!(work["milliseconds"].as_f64().unwrap() > 0.0);
    }
    assert_eq!(works[0]["work"], "matmul/1024x1024");
    assert!(works[0]["gflops"].is_number() && works[0]["fraction_of_matmul"].is_number());
    assert_eq!(works[1]["work"], "optimizer/sgd");
    assert!(works[1]["gflops"].is_null() && works[1]["fraction_of_matmul"].is_null());
    // Whole steps only.
    assert!(works[0]["peak_mib"].is_null() && works[1]["peak_mib"].is_null());
    assert_eq!(works[2]["work"], "train/mlp/sgd");
    if cfg!(target_os = "linux") {
        // Weights, gradients, batch and the program are far from either.
        assert!((5.0..500.0).contains(&works[2]["peak_mib"].as_f64().unwrap()), "{}", works[2]["peak_mib"]);
    }
}

#[test]
fn names_are_listed_and_unknown_ones_refused() {
    let workplace = Workplace::new();
    insta::assert_snapshot!(workplace.succeed(&["bench", "--list"]).stdout);
    let refused = workplace.run(&["bench", "optimizer/moun"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert_eq!(
        refused.stderr,
        "error: no work has `optimizer/moun` in its name\nhint: did you mean `optimizer/muon`? \
         `isorate bench --list` shows all names\n"
    );
    assert_eq!(workplace.run(&["bench", "--threads", "0"]).code, Some(2));
}
