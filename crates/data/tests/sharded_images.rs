//! Image sets of the hub in their real schemas: what is read, that neither layout, memory nor threads change it, and what is said of wrong files.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use isorate_data::{DataError, Examples, ImageSet, Memory, Published, ShardedImages};
use polars::prelude::*;
use tempfile::TempDir;

fn set(name: &str) -> &'static ImageSet {
    ImageSet::named(name).unwrap()
}

/// A PNG of one colour (or grey value) but for its first pixel, which is black.
fn png(height: u32, width: u32, color: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(if color.len() == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale });
    let mut pixels = color.repeat((height * width) as usize);
    pixels[..color.len()].fill(0);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

fn jpeg(height: u32, width: u32, color: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels = color.repeat((height * width) as usize);
    let kind = if color.len() == 3 { image::ExtendedColorType::Rgb8 } else { image::ExtendedColorType::L8 };
    JpegEncoder::new_with_quality(&mut bytes, 100).encode(&pixels, width, height, kind).unwrap();
    bytes
}

fn images(column: &str, files: &[Option<Vec<u8>>]) -> Column {
    let bytes = Series::new("bytes".into(), files.iter().map(Option::as_deref).collect::<Vec<_>>());
    let path = Series::new("path".into(), (0..files.len()).map(|i| format!("{i}.png")).collect::<Vec<_>>());
    StructChunked::from_series(column.into(), files.len(), [bytes, path].iter()).unwrap().into_column()
}

fn integers(column: &str, values: &[i64]) -> Column {
    Series::new(column.into(), values).into_column()
}

fn flags(column: &str, values: &[bool]) -> Column {
    Series::new(column.into(), values).into_column()
}

/// Writes a file, in row groups of `rows`, with pages of one value where they can be that small.
fn write(folder: &Path, name: &str, columns: Vec<Column>, rows: usize) -> PathBuf {
    let path = folder.join(name);
    let mut table = DataFrame::new(columns[0].len(), columns).unwrap();
    ParquetWriter::new(std::fs::File::create(&path).unwrap())
        .with_compression(ParquetCompression::Snappy)
        .with_row_group_size(Some(rows))
        .with_data_page_size(Some(1))
        .finish(&mut table)
        .unwrap();
    path
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn read(images: &ShardedImages, rows: &[usize]) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * images.dim()];
    images.read(rows, &mut out).unwrap();
    out
}

#[test]
fn mnist_and_fashion_mnist() {
    let folder = folder();
    for name in ["mnist", "fashion-mnist"] {
        let files = [png(28, 28, &[51]), png(28, 28, &[255])].map(Some);
        let path = write(folder.path(), "train.parquet", vec![images("image", &files), integers("label", &[7, 0])], 1);
        let mnist = ShardedImages::open(set(name), &[path], Memory::default()).unwrap();
        assert_eq!((mnist.shape(), mnist.classes(), mnist.labels()), ([1, 28, 28], 10, &[7, 0][..]));
        assert_eq!(mnist.published("train"), Published::OtherSize { rows: 2, published: 60_000 });
        assert_eq!(mnist.published("other"), Published::Unknown);
        assert!(mnist.groups().is_none());
        let all = mnist.to_images().unwrap();
        assert_eq!(all.to_f32(), read(&mnist, &[0, 1]));
        assert_eq!((all.image(0).unwrap()[..2].to_vec(), all.labels()), (vec![0, 51], &[7, 0][..]));
    }
}

#[test]
fn cifar_is_planar_and_not_transposed() {
    let folder = folder();
    let files: Vec<_> = (0..3u8).map(|i| Some(png(32, 32, &[i, 100 + i, 200 + i]))).collect();
    let ten = write(folder.path(), "10.parquet", vec![images("img", &files), integers("label", &[9, 1, 0])], 2);
    let ten = ShardedImages::open(set("cifar-10"), &[ten], Memory::default()).unwrap();
    let image = &read(&ten, &[2])[..];
    assert_eq!(ten.shape(), [3, 32, 32]);
    assert_eq!([image[1], image[1025], image[2049]][..], [2.0, 102.0, 202.0].map(|v: f32| v / 255.0));

    let columns = vec![images("img", &files), integers("fine_label", &[99, 0, 5]), integers("coarse_label", &[19, 3, 0])];
    let hundred = write(folder.path(), "100.parquet", columns, 2);
    let hundred = ShardedImages::open(set("cifar-100"), &[hundred], Memory::default()).unwrap();
    assert_eq!((hundred.labels(), hundred.column("coarse_label")), (&[99, 0, 5][..], Some(&[19, 3, 0][..])));
    assert_eq!(hundred.column("fine_label"), None);
}

/// Files as PyArrow writes them: dictionaries, the second version of pages, several codecs, pages of one value.
#[test]
fn files_of_other_writers() {
    for name in ["snappy", "v2-zstd", "plain", "gzip-page-of-one"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/pillow/cifar-{name}.parquet"));
        let cifar = ShardedImages::open(set("cifar-10"), &[path], Memory::default()).unwrap();
        assert_eq!(cifar.labels(), [3, 8, 8, 0, 6], "{name}");
        let all = cifar.to_images().unwrap();
        for (i, value) in [0, 40, 80, 120, 160].into_iter().enumerate() {
            let image = all.image(i).unwrap();
            for (channel, plane) in (0..).zip(image.chunks_exact(1024)) {
                let row: Vec<u8> = (0..32).map(|column| if column == i { 255 } else { value + channel }).collect();
                assert!(plane.chunks_exact(32).all(|found| found == row), "{name}: picture {i}, channel {channel}");
            }
        }
    }
}

/// CelebA in two files with all of its columns: y is `Blond_Hair`, a is `Male`.
fn celeba(folder: &Path) -> Vec<PathBuf> {
    let blond = [false, true, true, false, true];
    let male = [false, false, true, true, true];
    let files: Vec<Option<Vec<u8>>> =
        (0..5u8).map(|i| Some(if i == 3 { jpeg(218, 178, &[50; 3]) } else { png(218, 178, &[40 * i, 9, 200]) })).collect();
    let part = |name: &str, range: std::ops::Range<usize>| {
        let mut columns = vec![images("image", &files[range.clone()])];
        columns.push(integers("celeb_id", &[1, 10_177, 2880, 7, 7][range.clone()]));
        for other in set("celeba").others.iter().filter(|other| other.is_flag) {
            columns.push(flags(other.column, &[other.column == "Smiling"; 5][range.clone()]));
        }
        columns.push(flags("Blond_Hair", &blond[range.clone()]));
        columns.push(flags("Male", &male[range]));
        write(folder, name, columns, 2)
    };
    vec![part("train-00000-of-00002.parquet", 0..3), part("train-00001-of-00002.parquet", 3..5)]
}

#[test]
fn celeba_has_groups_of_hair_and_gender() {
    let folder = folder();
    let images = ShardedImages::open(set("celeba"), &celeba(folder.path()), Memory::default()).unwrap();
    assert_eq!((images.len(), images.shape(), images.classes()), (5, [3, 224, 224], 2));
    let groups = images.groups().unwrap();
    assert_eq!(
        (images.counts(), groups.name(1).as_str(), groups.name(2).as_str()),
        (vec![1, 1, 1, 2], "dark, male", "blond, female")
    );
    assert_eq!(images.column("Smiling"), Some(&[1; 5][..]));
    assert_eq!(images.column("celeb_id"), Some(&[1, 10_177, 2880, 7, 7][..]));
    assert_eq!(images.published("train"), Published::OtherSize { rows: 5, published: 162_770 });
    // The black pixel in the corner is cut away.
    let pixels = read(&images, &[4, 3]);
    assert!(pixels[..224 * 224].iter().all(|&v| v.to_bits() == (160.0f32 / 255.0).to_bits()));
    assert!(pixels[3 * 224 * 224..].iter().all(|&v| (v * 255.0 - 50.0).abs() < 2.0));
}

#[test]
fn waterbirds_of_any_size_become_one_size_in_colour() {
    let folder = folder();
    let files = [png(300, 500, &[10, 20, 30]), jpeg(120, 80, &[90, 90, 90]), png(90, 90, &[77]), jpeg(40, 50, &[33])].map(Some);
    let columns = vec![
        images("image", &files),
        integers("label", &[0, 1, 1, 0]),
        integers("place", &[0, 0, 1, 1]),
        integers("bird", &[3, 199, 0, 17]),
    ];
    let path = write(folder.path(), "train.parquet", columns, 3);
    let birds = ShardedImages::open(set("waterbirds"), &[path], Memory::default()).unwrap();
    assert_eq!((birds.shape(), birds.counts()), ([3, 224, 224], vec![1, 1, 1, 1]));
    let grey = read(&birds, &[2]);
    assert!(grey.iter().all(|&v| v.to_bits() == (77.0f32 / 255.0).to_bits()));
    assert_eq!(birds.groups().unwrap().name(2), "waterbird, land");
}

/// The same values whatever is in memory, in a temporary file or kept decoded, with one thread and with four.
#[test]
fn memory_and_threads_change_nothing() {
    let folder = folder();
    let paths = celeba(folder.path());
    let rows = [4, 0, 0, 2, 1, 3, 4];
    let expected = read(&ShardedImages::open(set("celeba"), &paths, Memory::default()).unwrap(), &rows);
    for memory in
        [(0, 0), (0, usize::MAX), (1000, 400_000), (usize::MAX, 0)].map(|(encoded, decoded)| Memory { encoded, decoded })
    {
        for threads in [1, 4] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let images = ShardedImages::open(set("celeba"), &paths, memory).unwrap();
                for _ in 0..3 {
                    assert!(read(&images, &rows) == expected, "{memory:?}, {threads} threads");
                }
            });
        }
    }
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 2, "no temporary file is left beside the two");
}

/// Each error with what `mismatch` makes of it.
#[test]
fn wrong_files_are_named_with_row_and_column() {
    let folder = folder();
    let mut report = String::new();
    let mut note = |what: &str, error: DataError| {
        let text = |text: &str| text.replace(&folder.path().display().to_string(), "FOLDER");
        let mismatch = error.mismatch().unwrap();
        writeln!(report, "# {what}\n{}\n", text(&error.to_string())).unwrap();
        writeln!(report, "file {}\nexpected {}\nfound {}\n", text(mismatch.file), mismatch.expected, mismatch.found).unwrap();
    };
    let grey = |value: u8| Some(png(28, 28, &[value]));
    let good = || images("image", &[grey(1), grey(2), grey(3)]);
    let labels = || integers("label", &[3, 1, 2]);
    let first = write(folder.path(), "first.parquet", vec![good(), labels()], 2);
    let open = |columns: Vec<Column>| {
        let second = write(folder.path(), "second.parquet", columns, 2);
        ShardedImages::open(set("mnist"), &[first.clone(), second], Memory::default())
    };
    let read = |files: &[Option<Vec<u8>>]| {
        let images = open(vec![images("image", files), labels()]).unwrap();
        images.read(&[0, 4, 5, 3], &mut vec![0.0; 4 * images.dim()]).unwrap_err()
    };
    note("another column", open(vec![good().with_name("img".into()), labels()]).err().unwrap());
    note("another type", open(vec![good(), flags("label", &[true, false, true])]).err().unwrap());
    note("a label out of range", open(vec![good(), integers("label", &[0, 9, 10])]).err().unwrap());
    note("no label", open(vec![good(), Series::new("label".into(), [Some(1i64), None, Some(3)]).into_column()]).err().unwrap());
    note("no bytes", open(vec![images("image", &[grey(1), grey(2), None]), labels()]).err().unwrap());
    note("an undecodable image", read(&[grey(1), Some(b"<html>".to_vec()), grey(2)]));
    note("a cut JPEG", read(&[grey(1), grey(2), Some(jpeg(28, 28, &[3])[..300].to_vec())]));
    note("another size", read(&[grey(1), Some(png(28, 27, &[4])), grey(2)]));
    note("in colour", read(&[Some(png(28, 28, &[4, 5, 6])), grey(1), grey(2)]));
    let empty = write(folder.path(), "empty.parquet", vec![images("image", &[]), integers("label", &[])], 2);
    note("no rows", ShardedImages::open(set("mnist"), &[empty], Memory::default()).err().unwrap());
    let page = folder.path().join("page.parquet");
    std::fs::write(&page, "<!DOCTYPE html>").unwrap();
    note("a web page", ShardedImages::open(set("mnist"), &[page], Memory::default()).err().unwrap());
    let cut = folder.path().join("cut.parquet");
    std::fs::write(&cut, &std::fs::read(&first).unwrap()[..100]).unwrap();
    note("a cut file", ShardedImages::open(set("mnist"), &[cut], Memory::default()).err().unwrap());
    insta::assert_snapshot!(report);
}

#[test]
fn no_file_is_no_set() {
    let error = ShardedImages::open(set("mnist"), &[], Memory::default()).err().unwrap();
    assert_eq!(error.to_string(), "mnist: no rows; a data set needs at least one");
    let error = ShardedImages::open(set("mnist"), &[PathBuf::from("absent.parquet")], Memory::default()).err().unwrap();
    assert!(error.to_string().contains("absent.parquet") && error.mismatch().is_none());
}
