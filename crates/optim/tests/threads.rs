//! Results must not depend on the number of threads. That number is fixed when a process starts, so the test starts
//! itself again with other numbers and compares what the processes print.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use std::fmt::Write as _;
use std::process::Command;

use candle_core::{DType, Tensor};
use common::{all_rules, bits, normal, run};

/// Large enough that all products and updates are split among threads, and in both forms of the iterations.
const SHAPES: [[usize; 2]; 2] = [[150, 700], [270, 270]];

fn fingerprint() -> String {
    let mut text = String::new();
    for (shape, dtype) in SHAPES.iter().flat_map(|shape| [(shape, DType::F32), (shape, DType::F64)]) {
        let w = normal(shape, 1).to_dtype(dtype).unwrap();
        let gradients: Vec<Tensor> = (2..4).map(|s| normal(shape, s).to_dtype(dtype).unwrap()).collect();
        for rule in all_rules() {
            let hash = bits(&run(&w, &rule, &gradients))
                .into_iter()
                .fold(0_u64, |h, x| (h.rotate_left(5) ^ x).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            writeln!(text, "fingerprint {dtype:?} {} {hash:016x}", rule.name()).unwrap();
        }
    }
    text
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    const CHILD: &str = "ISORATE_OPTIM_FINGERPRINT";
    if std::env::var_os(CHILD).is_some() {
        println!("\n{}", fingerprint());
        return;
    }
    let with_threads = |threads: &str| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "results_do_not_depend_on_the_number_of_threads", "--nocapture"])
            .env(CHILD, "1")
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter(|l| l.starts_with("fingerprint")).map(str::to_owned).collect::<Vec<_>>()
    };
    let one = with_threads("1");
    assert_eq!(one.len(), 2 * SHAPES.len() * all_rules().len());
    for threads in ["2", "3", "7"] {
        assert_eq!(with_threads(threads), one, "{threads} threads");
    }
}
