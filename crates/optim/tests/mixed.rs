//! The networks of `examples/mixed` learn what they should. The example itself fails when they do not.
#![allow(clippy::print_stdout, reason = "the example prints")]
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

#[path = "../examples/mixed/convolution.rs"]
mod convolution;
#[path = "../examples/mixed/init.rs"]
mod init;
#[path = "../examples/mixed/run.rs"]
mod run;
#[path = "../examples/mixed/transformer.rs"]
mod transformer;

#[test]
fn a_convolutional_network_learns_shapes() {
    assert!(run::train(convolution::task).unwrap() >= 0.95);
}

#[test]
fn a_transformer_block_learns_to_recall() {
    assert!(run::train(transformer::task).unwrap() >= 0.95);
}
