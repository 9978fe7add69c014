//! The hub-schema reader: what it accepts, what it says, and that no damage makes it panic.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;

use isorate_data::{DataError, Images, read_parquet, read_parquet_file, write_parquet};
use polars::prelude::*;

fn small() -> Images {
    let pixels = (0..5u8 * 4).map(|i| i.wrapping_mul(13)).collect();
    Images::new([1, 2, 2], 10, pixels, vec![7, 0, 3, 9, 3]).unwrap()
}

fn paths(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("train-{i:05}.png")).collect()
}

fn write(columns: Vec<Column>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let height = columns[0].len();
    ParquetWriter::new(&mut bytes).finish(&mut DataFrame::new(height, columns).unwrap()).unwrap();
    bytes
}

/// The PNG of `small()` as a struct column made from the given fields.
fn image_column(bytes: Series) -> Column {
    let path = Series::new_null("path".into(), bytes.len()).cast(&DataType::String).unwrap();
    StructChunked::from_series("image".into(), bytes.len(), [bytes, path].iter()).unwrap().into_column()
}

fn pngs(images: &Images) -> Vec<Option<Vec<u8>>> {
    let bytes = write_parquet(images, &paths(images.len())).unwrap();
    let table = ParquetReader::new(std::io::Cursor::new(bytes)).finish().unwrap();
    let field = table.column("image").unwrap().struct_().unwrap().field_by_name("bytes").unwrap();
    field.binary().unwrap().iter().map(|b| b.map(<[u8]>::to_vec)).collect()
}

fn bytes_series(values: &[Option<Vec<u8>>]) -> Series {
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    Series::new("bytes".into(), values)
}

fn labels(values: &[i64]) -> Column {
    Series::new("label".into(), values).into_column()
}

fn error(columns: Vec<Column>) -> String {
    read_parquet(&write(columns), "cut.parquet", 10).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_again() {
    let images = small();
    let bytes = write_parquet(&images, &paths(5)).unwrap();
    assert_eq!(read_parquet(&bytes, "small", 10).unwrap(), images);
    assert_eq!(bytes, write_parquet(&images, &paths(5)).unwrap(), "writing is not deterministic");

    let rgb = Images::new([3, 1, 2], 2, (0..12).collect(), vec![1, 0]).unwrap();
    assert_eq!(read_parquet(&write_parquet(&rgb, &paths(2)).unwrap(), "rgb", 2).unwrap(), rgb);
}

#[test]
fn files_on_disk_take_the_same_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    fs_err::write(&path, write_parquet(&small(), &paths(5)).unwrap()).unwrap();
    assert_eq!(read_parquet_file(&path, 10).unwrap(), small());
    let missing = read_parquet_file(&folder.path().join("b.parquet"), 10).unwrap_err();
    assert!(matches!(missing, DataError::Io(_)) && missing.to_string().contains("b.parquet"), "{missing}");
}

#[test]
fn other_columns_null_paths_and_many_row_groups_are_fine() {
    let images = small();
    let mut table = DataFrame::new(
        5,
        vec![
            Series::new("id".into(), [5i32, 4, 3, 2, 1]).into_column(),
            labels(&[7, 0, 3, 9, 3]),
            image_column(bytes_series(&pngs(&images))),
        ],
    )
    .unwrap();
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Snappy)
        .with_row_group_size(Some(2))
        .finish(&mut table)
        .unwrap();
    assert_eq!(read_parquet(&bytes, "groups", 10).unwrap(), images);
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let images = small();
    let good = pngs(&images);
    let image = || image_column(bytes_series(&good));
    let label = || labels(&[7, 0, 3, 9, 3]);
    let with = |row: usize, value: Option<Vec<u8>>| {
        let mut values = good.clone();
        values[row] = value;
        error(vec![image_column(bytes_series(&values)), label()])
    };
    let mut flipped = good[3].clone().unwrap();
    flipped[50] ^= 1;
    let wide = pngs(&Images::new([1, 1, 4], 10, vec![0; 4], vec![0]).unwrap()).remove(0);

    let mut report = String::new();
    let mut note = |what: &str, message: String| writeln!(report, "# {what}\n{message}\n").unwrap();
    note("empty", read_parquet(b"", "cut.parquet", 10).unwrap_err().to_string());
    note("web page", read_parquet(b"<!DOCTYPE html>", "cut.parquet", 10).unwrap_err().to_string());
    note("lfs", read_parquet(b"version https://git-lfs", "cut.parquet", 10).unwrap_err().to_string());
    note("text", read_parquet(b"image,label", "cut.parquet", 10).unwrap_err().to_string());
    let whole = write(vec![image(), label()]);
    note("truncated", read_parquet(&whole[..whole.len() - 5], "cut.parquet", 10).unwrap_err().to_string());
    note("no label", error(vec![image()]));
    note("no image", error(vec![label()]));
    note("image is binary", error(vec![Series::new("image".into(), [&b"x"[..]]).into_column(), labels(&[0])]));
    note("bytes are text", error(vec![image_column(Series::new("bytes".into(), ["x"])), labels(&[0])]));
    note("label is i32", error(vec![image(), Series::new("label".into(), [7i32, 0, 3, 9, 3]).into_column()]));
    note(
        "label is null",
        error(vec![image(), Series::new("label".into(), [Some(7i64), None, Some(3), None, Some(1)]).into_column()]),
    );
    note("label too large", error(vec![image(), labels(&[7, 0, 10, 9, 3])]));
    note("label negative", error(vec![image(), labels(&[7, 0, 3, -1, 3])]));
    note("bytes are null", with(2, None));
    note("not a PNG", with(1, Some(b"\xff\xd8\xff\xe0 a JPEG".to_vec())));
    note("cut PNG", with(4, Some(good[4].clone().unwrap()[..60].to_vec())));
    note("a flipped bit", with(3, Some(flipped)));
    note("another size", with(2, wide));
    note("no rows", error(vec![image_column(bytes_series(&[])), labels(&[])]));
    insta::assert_snapshot!(report);
}

#[test]
fn a_null_image_is_named() {
    let image = image_column(bytes_series(&pngs(&small())));
    let masked = image.as_materialized_series().zip_with(
        &BooleanChunked::new("mask".into(), [true, true, true, false, true]),
        &Series::full_null("image".into(), 5, image.dtype()),
    );
    insta::assert_snapshot!(error(vec![masked.unwrap().into_column(), labels(&[7, 0, 3, 9, 3])]), @"cut.parquet: row 3: image is null");
}

#[test]
fn the_writer_checks_its_input() {
    insta::assert_snapshot!(write_parquet(&small(), &paths(4)).unwrap_err(), @"number of paths = 4: must be 5");
    let two = Images::new([2, 1, 1], 1, vec![0, 0], vec![0]).unwrap();
    insta::assert_snapshot!(write_parquet(&two, &paths(1)).unwrap_err(), @"shape = [2, 1, 1]: 2 channels; 1 or 3 can be written");
}

/// Every truncation and, at every byte, eight single-bit flips and two constants. The result may be an error or, where the damage is in
/// something that is not read (the paths, for example), the right number of images.
#[test]
fn no_damage_panics() {
    let bytes = write_parquet(&small(), &paths(5)).unwrap();
    for cut in 0..bytes.len() {
        assert!(read_parquet(&bytes[..cut], "cut", 10).is_err(), "a file cut at {cut} was accepted");
    }
    let mut accepted = 0;
    for at in 0..bytes.len() {
        for change in (0..8).map(|bit| bytes[at] ^ (1 << bit)).chain([0, 255]) {
            let mut damaged = bytes.clone();
            damaged[at] = change;
            if let Ok(images) = read_parquet(&damaged, "damaged", 10) {
                accepted += 1;
                assert_eq!((images.len(), images.shape()), (5, [1, 2, 2]), "byte {at} set to {change}");
            }
        }
    }
    // The checksums of PNG and zstd frames leave few places where a change goes unnoticed.
    assert!(accepted < bytes.len() * 10 / 2, "{accepted} damaged files of {} were accepted", bytes.len() * 10);
}
