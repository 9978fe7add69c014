//! Writes a parquet shard of about 1 GB (or as many GB as the first argument says) in CelebA's schema, then reads it in batches in a
//! process of its own and prints the peak of that process's memory (Linux only):
//!
//! ```text
//! cargo run --release -p isorate-data --example shard_memory
//! ```
//!
//! The second argument is the number of rows in a row group: 100, as in the hub's files of images (the default), or more than there are for
//! a single one. `shard_memory read FILE` reads a file that another program wrote.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use isorate_data::{BatchOptions, Batches, Examples, ImageSet, Memory, ShardedImages, stream};
use polars::prelude::*;
use rand::RngCore;

/// About what a picture of CelebA takes as PNG.
const IMAGE_BYTES: usize = 58_000;

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, path] = arguments.as_slice()
        && command == "read"
    {
        return read(PathBuf::from(path));
    }
    let gigabytes: f64 = arguments.first().map_or(Ok(1.0), |argument| argument.parse())?;
    let group: usize = arguments.get(1).map_or(Ok(100), |argument| argument.parse())?;
    let folder = tempfile::tempdir_in(".")?;
    let path = folder.path().join("train-00000-of-00001.parquet");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few thousand")]
    write(&path, (gigabytes * 1e9 / IMAGE_BYTES as f64) as usize, group)?;
    println!("{:.2} GB in row groups of {group}", std::fs::metadata(&path)?.len() as f64 / 1e9);
    let status = Command::new(std::env::current_exe()?).arg("read").arg(&path).status()?;
    if status.success() { Ok(()) } else { Err("the reading process failed".into()) }
}

/// Writes pictures with columns of attributes, in row groups of `group` rows.
fn write(path: &Path, rows: usize, group: usize) -> Result<(), Box<dyn Error>> {
    let set = ImageSet::named("celeba").ok_or("a known set")?;
    let schema = frame(set, 0, 1)?;
    let mut writer = ParquetWriter::new(std::fs::File::create(path)?)
        .with_compression(ParquetCompression::Snappy)
        .with_row_group_size(Some(group))
        .batched(schema.schema())?;
    // Each call writes row groups of its own.
    for start in (0..rows).step_by(group) {
        writer.write_batch(&frame(set, start, group.min(rows - start))?)?;
    }
    writer.finish()?;
    Ok(())
}

fn frame(set: &ImageSet, start: usize, rows: usize) -> Result<DataFrame, Box<dyn Error>> {
    let files: Vec<Vec<u8>> = (start..start + rows).map(picture).collect::<Result<_, _>>()?;
    let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let image = StructChunked::from_series("image".into(), rows, [Series::new("bytes".into(), files)].iter())?;
    let mut columns = vec![image.into_column()];
    for variable in std::iter::once(&set.class).chain(&set.attribute).chain(set.others) {
        let name = variable.column.into();
        let column = if variable.is_flag {
            Series::new(name, (0..rows).map(|row| row % 3 == 0).collect::<Vec<_>>())
        } else {
            Series::new(name, vec![1_i64; rows])
        };
        columns.push(column.into_column());
    }
    Ok(DataFrame::new(rows, columns)?)
}

/// A PNG of 178 × 218 with enough noise to take [`IMAGE_BYTES`].
fn picture(row: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut pixels = vec![127; 178 * 218 * 3];
    stream(1, "shard memory", row as u64).fill_bytes(&mut pixels[..IMAGE_BYTES]);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 178, 218);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_filter(png::Filter::NoFilter);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}

fn read(path: PathBuf) -> Result<(), Box<dyn Error>> {
    let set = ImageSet::named("celeba").ok_or("a known set")?;
    let before = peak()?;
    let start = Instant::now();
    let images = ShardedImages::open(set, &[path], Memory::default())?;
    println!(
        "opened in {:.1} s, {} images; peak {} MB (before {before} MB)",
        start.elapsed().as_secs_f64(),
        images.len(),
        peak()?
    );
    let start = Instant::now();
    let batches = Batches::new(&images, BatchOptions::shuffled(128, 1))?;
    let mut rows = 0;
    std::thread::scope(|scope| {
        for batch in batches.prefetch(scope, 0, 2)? {
            rows += batch?.len();
        }
        Ok::<_, isorate_data::DataError>(())
    })?;
    println!("{rows} images in shuffled batches of 128 in {:.1} s; peak {} MB", start.elapsed().as_secs_f64(), peak()?);
    Ok(())
}

/// The largest resident memory so far, in MB (10⁶ bytes).
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024 / 1_000_000)
}
