//! Trains a small convolutional network and a small transformer with mixed groups: Muon on filters and hidden matrices,
//! `AdamW` on the first layer, embeddings, heads and vectors. Both tasks are made here from a seed, and each network is
//! judged on examples that it has not seen; the program fails when it did not learn.
#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

mod convolution;
mod init;
mod run;
mod transformer;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    for (task, least) in [(convolution::task()?, 0.95), (transformer::task()?, 0.95)] {
        let name = task.name;
        let accuracy = run::train(task)?;
        if accuracy < least * 0.1 {
            return Err(format!("{name}: accuracy {accuracy:.3}, but at least {least} was expected").into());
        }
    }
    Ok(())
}
