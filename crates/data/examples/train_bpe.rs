//! Makes the tokenizer of the embedded text again, from the embedded text:
//!
//! ```text
//! cargo run --release -p isorate-data --example train_bpe -- OUT_FILE
//! ```
//!
//! The file is the same bit for bit every time (with the repository's lock file).

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::error::Error;
use std::path::PathBuf;

use isorate_data::{Bpe, Split, state_of_the_union};

/// Small enough for a small model, large enough that the rarest types are rare.
const VOCABULARY: usize = 4_096;

fn main() -> Result<(), Box<dyn Error>> {
    let [_, output] = <[PathBuf; 2]>::try_from(std::env::args_os().map(PathBuf::from).collect::<Vec<_>>())
        .map_err(|_| "usage: train_bpe OUT_FILE")?;
    // Only what is trained on: the held-out speeches stay unseen by the tokenizer too.
    let documents = state_of_the_union().load(Split::Train)?;
    let bpe = Bpe::train(documents.into_iter().map(Ok), VOCABULARY)?;
    fs_err::write(&output, bpe.to_json())?;
    println!("{}  {} bytes  blake3 {}", output.display(), bpe.to_json().len(), bpe.checksum());
    Ok(())
}
