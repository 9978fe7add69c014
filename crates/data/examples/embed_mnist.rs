//! Makes the embedded MNIST or Fashion-MNIST files again from the complete data set:
//!
//! ```text
//! cargo run --release -p isorate-data --example embed_mnist -- mnist|fashion-mnist DIR_WITH_IDX OUT_DIR
//! ```
//!
//! `DIR_WITH_IDX` holds the four original files, uncompressed. The output is the same bit for bit every time (with the
//! repository's lock file); the README of each data set in `assets` has the hashes of both ends, and this program checks the input's.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use isorate_data::{Images, Sampling, draw, parse_idx_images, parse_idx_labels, stream, write_parquet};

/// The subsets are part of the data sets, so their seed never changes.
const SEED: u64 = 20_251_212;

/// A data set of four IDX files.
struct Dataset {
    name: &'static str,
    /// The stream that its subset is drawn from.
    purpose: &'static str,
    parts: [Part; 2],
}

struct Part {
    name: &'static str,
    idx: &'static str,
    index: u64,
    count: usize,
    hashes: [&'static str; 2],
}

const DATASETS: [Dataset; 2] = [
    Dataset {
        name: "mnist",
        purpose: "embed mnist",
        parts: parts([
            [
                "c6e6fd8c67d07c8a9b7bffa7dd0413ff4b8af241607b049b7721107f379df9fd",
                "8ebcfdf2fe191516f9cb37fceb75d2d19289d91ee92026534ed45e44144b5642",
            ],
            [
                "f8d502322cd9f186e155a74a3dff598ed56c1a7b5a5c8d312749ac47c4a2bec7",
                "6d43ea317fa8f5851bb85404bb7358defd48b0294cf31f60cdcde8106fe2c3ad",
            ],
        ]),
    },
    Dataset {
        name: "fashion-mnist",
        purpose: "embed fashion-mnist",
        parts: parts([
            [
                "feaca08b36e07f8d504641a929bff1554884ef73964323e44e59e39a986b4c9e",
                "b4d9ea8013b029ef778c95ea7de31195ef443589877589523ad330db2829ebd6",
            ],
            [
                "a19b8c1e5f798e5a6fa7229093b630c04a620179497a1fa3a71e7334fb59a30b",
                "0a067399ed18bcc9d7dc26832b3b8e4481abf2d33fee04c611e90b9061296b90",
            ],
        ]),
    },
];

const fn parts([train, test]: [[&'static str; 2]; 2]) -> [Part; 2] {
    [
        Part { name: "train", idx: "train", index: 0, count: 12_000, hashes: train },
        Part { name: "test", idx: "t10k", index: 1, count: 4_000, hashes: test },
    ]
}

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
    let [_, name, input, output] = <[PathBuf; 4]>::try_from(std::env::args_os().map(PathBuf::from).collect::<Vec<_>>())
        .map_err(|_| "usage: embed_mnist mnist|fashion-mnist DIR_WITH_IDX OUT_DIR")?;
    let dataset = DATASETS
        .iter()
        .find(|dataset| name.as_os_str() == dataset.name)
        .ok_or_else(|| format!("{}: unknown data set\nhint: there are mnist and fashion-mnist", name.display()))?;
    fs_err::create_dir_all(&output)?;
    for part in &dataset.parts {
        let bytes = embed(part, dataset.purpose, &input)?;
        let path = output.join(format!("{}-00000-of-00001.parquet", part.name));
        fs_err::write(&path, &bytes)?;
        println!("{}  {} bytes  blake3 {}", path.display(), bytes.len(), blake3::hash(&bytes));
    }
    Ok(())
}

/// A stratified random subset of one part, in the original order, each image named after its place there.
fn embed(part: &Part, purpose: &str, input: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
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
    let mut rng = stream(SEED, purpose, part.index);
    let chosen = draw(all.labels(), all.classes(), part.count, Sampling::Stratified, &mut rng)?;
    let names: Vec<String> = chosen.iter().map(|i| format!("{}-{i:05}.png", part.name)).collect();
    Ok(write_parquet(&all.select(&chosen)?, &names)?)
}
