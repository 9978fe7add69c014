//! What it costs to decode images and to iterate batches.
//!
//! `cargo bench -p isorate-data --bench batches`, here 2 threads: `RAYON_NUM_THREADS=2`.

use std::io::Cursor;
use std::path::PathBuf;
use std::thread;

use divan::Bencher;
use divan::counter::ItemsCount;
use isorate_data::{
    BatchOptions, Batches, ColorLaw, EmbeddedDataset, Examples, ImageSet, Images, Memory, Normalization, ShardedImages, Split,
    colorize, fashion_mnist, mnist,
};
use polars::prelude::*;

fn main() {
    divan::main();
}

/// As many images as CIFAR's training set has, of its size.
fn cifar_sized() -> Images {
    const N: usize = 50_000;
    let pixels = (0..N * 3072).map(|i| u8::try_from(i * i % 251).expect("below 251")).collect();
    Images::new([3, 32, 32], 10, pixels, (0..10).cycle().take(N).collect()).expect("a valid set")
}

fn options(normalization: Option<Normalization>) -> BatchOptions {
    BatchOptions { normalization, ..BatchOptions::shuffled(128, 1) }
}

/// An epoch of CIFAR-sized images in batches of 128, from memory.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn epoch_from_memory(bencher: Bencher<'_, '_>) {
    epoch(bencher, None);
}

/// The same, each channel normalized.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn epoch_from_memory_normalized(bencher: Bencher<'_, '_>) {
    epoch(bencher, Some(Normalization::imagenet()));
}

fn epoch(bencher: Bencher<'_, '_>, normalization: Option<Normalization>) {
    let images = cifar_sized();
    let batches = Batches::new(&images, options(normalization)).expect("valid options");
    bencher.counter(ItemsCount::new(images.len())).bench_local(|| {
        for batch in batches.epoch(0).expect("valid options") {
            divan::black_box(batch.expect("in memory"));
        }
    });
}

/// The same as `epoch_from_memory`, made by a thread two batches ahead.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn epoch_from_memory_prefetched(bencher: Bencher<'_, '_>) {
    let images = cifar_sized();
    let batches = Batches::new(&images, options(None)).expect("valid options");
    bencher.counter(ItemsCount::new(images.len())).bench_local(|| {
        thread::scope(|scope| {
            for batch in batches.prefetch(scope, 0, 2).expect("valid options") {
                divan::black_box(batch.expect("in memory"));
            }
        });
    });
}

/// Decoding the 12,000 + 4,000 embedded images of MNIST or Fashion-MNIST.
#[divan::bench(args = ["mnist", "fashion-mnist"], sample_count = 5, sample_size = 1)]
fn decode_embedded(bencher: Bencher<'_, '_>, name: &str) {
    let set = embedded(name);
    bencher.counter(ItemsCount::new(16_000_usize)).bench_local(|| Split::ALL.map(|split| set.load(split).expect("embedded")));
}

/// The same, and colouring them.
#[divan::bench(args = ["mnist", "fashion-mnist"], sample_count = 5, sample_size = 1)]
fn decode_and_colour_embedded(bencher: Bencher<'_, '_>, name: &str) {
    let set = embedded(name);
    bencher.counter(ItemsCount::new(16_000_usize)).bench_local(|| {
        Split::ALL.map(|split| {
            let images = set.load(split).expect("embedded");
            colorize(&images, &ColorLaw::correlated(0.99), 1, split.name()).expect("ten classes")
        })
    });
}

fn embedded(name: &str) -> &'static EmbeddedDataset {
    if name == "mnist" { mnist() } else { fashion_mnist() }
}

/// Decoding, cropping and resizing photographs as CelebA's are: PNG of 178 × 218 on the hub; JPEG for comparison.
#[divan::bench(args = ["png", "jpeg"], sample_count = 5, sample_size = 1)]
fn celeba_128(bencher: Bencher<'_, '_>, kind: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = celeba(folder.path(), kind);
    let set = ImageSet::named("celeba").expect("a known set");
    let images = ShardedImages::open(set, &[path], Memory { encoded: 0, decoded: 0 }).expect("a valid file");
    let rows: Vec<usize> = (0..128).collect();
    let mut out = vec![0.0; 128 * images.dim()];
    bencher.counter(ItemsCount::new(rows.len())).bench_local(|| images.read(&rows, &mut out).expect("decodable"));
}

/// 128 pictures with smooth parts and noise.
fn celeba(folder: &std::path::Path, kind: &str) -> PathBuf {
    let (width, height) = (178, 218);
    let picture = |i: u32| {
        image::RgbImage::from_fn(width, height, |x, y| {
            let noise = (x * 7919 + y * 104_729 + i * 31) % 11;
            image::Rgb([x + noise, y / 2 + noise, (x + y + i) / 3].map(|v| u8::try_from(v).unwrap_or(u8::MAX)))
        })
    };
    let encode = |i: u32| {
        let mut bytes = Cursor::new(Vec::new());
        let pixels = picture(i);
        if kind == "png" {
            let mut encoder = png::Encoder::new(&mut bytes, width, height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.write_header().expect("in memory").write_image_data(&pixels).expect("in memory");
        } else {
            let rgb = image::ExtendedColorType::Rgb8;
            let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
            encoder.encode(&pixels, width, height, rgb).expect("in memory");
        }
        bytes.into_inner()
    };
    let files: Vec<Vec<u8>> = (0..128).map(encode).collect();
    let bytes = Series::new("bytes".into(), files.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let image = StructChunked::from_series("image".into(), files.len(), [bytes].iter()).expect("one length").into_column();
    let set = ImageSet::named("celeba").expect("a known set");
    let mut columns = vec![image];
    for variable in std::iter::once(&set.class).chain(&set.attribute).chain(set.others) {
        let name = variable.column.into();
        let column = if variable.is_flag { Series::new(name, [false; 128]) } else { Series::new(name, [1_i64; 128]) };
        columns.push(column.into_column());
    }
    let path = folder.join("train.parquet");
    let file = std::fs::File::create(&path).expect("a temporary file");
    ParquetWriter::new(file).finish(&mut DataFrame::new(files.len(), columns).expect("one length")).expect("a temporary file");
    path
}
