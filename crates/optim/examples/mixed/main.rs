//! Trains a small convolutional network and a small transformer block with mixed groups: Muon on filters and hidden
//! matrices, `AdamW` on the first layer, embeddings, heads and vectors. Both tasks are made here from a seed, and each
//! network is judged on examples that it has not seen; the program fails when it did not learn.
#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

mod convolution;
mod init;
mod run;
mod transformer;

fn main() -> run::Result<()> {
    run::train(convolution::task)?;
    run::train(transformer::task)?;
    Ok(())
}
