//! Makes the embedded MNIST files again from the complete data set:
//!
//! ```text
//! cargo run --release -p isorate-data --example embed_mnist -- DIR_WITH_IDX OUT_DIR
//! ```
//!
//! `DIR_WITH_IDX` holds the four original files, uncompressed. The output is the same bit for bit every time (with the
//! repository's lock file); `assets/mnist/README.md` has the hashes of both ends, and this program checks the input's.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use isorate_data::{Images, Sampling, draw, parse_idx_images, parse_idx_labels, stream, write_parquet};

/// The subset is part of the data set, so its seed never changes.
const SEED: u64 = 20_251_212;

struct Part {
    name: &'static str,
    idx: &'static str,
    index: u64,
    count: usize,
    hashes: [&'static str; 2],
}

const PARTS: [Part; 2] = [
    Part {
        name: "train",
        idx: "train",
        index: 0,
        count: 12_000,
        hashes: [
            "c6e6fd8c67d07c8a9b7bffa7dd0413ff4b8af241607b049b7721107f379df9fd",
            "8ebcfdf2fe191516f9cb37fceb75d2d19289d91ee92026534ed45e44144b5642",
        ],
    },
    Part {
        name: "test",
        idx: "t10k",
        index: 1,
        count: 4_000,
        hashes: [
            "f8d502322cd9f186e155a74a3dff598ed56c1a7b5a5c8d312749ac47c4a2bec7",
            "6d43ea317fa8f5851bb85404bb7358defd48b0294cf31f60cdcde8106fe2c3ad",
        ],
    },
];

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
        .map_err(|_| "usage: embed_mnist DIR_WITH_IDX OUT_DIR")?;
    fs_err::create_dir_all(&output)?;
    for part in &PARTS {
        let bytes = embed(part, &input)?;
        let path = output.join(format!("{}-00000-of-00001.parquet", part.name));
        fs_err::write(&path, &bytes)?;
        println!("{}  {} bytes  blake3 {}", path.display(), bytes.len(), blake3::hash(&bytes));
    }
    Ok(())
}

/// A stratified random subset of one part, in the original order, each image named after its place there.
fn embed(part: &Part, input: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let read = |kind: &str, hash: &str| -> Result<(String, Vec<u8>), Box<dyn Error>> {
        let path = input.join(format!("{}-{kind}-ubyte", part.idx));
        let bytes = fs_err::read(&path)?;
        let found = blake3::hash(&bytes).to_hex();
        if found.as_str() != hash {
            return Err(format!("{}: blake3 is {found}, but the original has {hash}", path.display()).into());
        }
        Ok((path.display().to_string(), bytes))
    };
    let (images_name, images) = read("images-idx3", part.hashes[0])?;
    let (labels_name, labels) = read("labels-idx1", part.hashes[1])?;
    let ([count, height, width], pixels) = parse_idx_images(&images, &images_name)?;
    let labels: Vec<u32> = parse_idx_labels(&labels, &labels_name)?.iter().copied().map(u32::from).collect();
    if count != labels.len() {
        return Err(format!("{images_name} has {count} images, but {labels_name} has {} labels", labels.len()).into());
    }
    let all = Images::new([1, height, width], 10, pixels.to_vec(), labels)?;
    let mut rng = stream(SEED, "embed mnist", part.index);
    let chosen = draw(all.labels(), all.classes(), part.count, Sampling::Stratified, &mut rng)?;
    let names: Vec<String> = chosen.iter().map(|i| format!("{}-{i:05}.png", part.name)).collect();
    Ok(write_parquet(&all.select(&chosen)?, &names)?)
}
