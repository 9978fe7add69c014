//! Labelled images in the parquet schema of the Hugging Face hub.

use std::io::{Cursor, Read, Seek};
use std::path::Path;

use polars::polars_utils::compression::ZstdLevel;
use polars::prelude::{
    DataFrame, IntoColumn, NamedFrom, ParquetCompression, ParquetWriter, PolarsError, Series, StatisticsOptions, StructChunked,
};
use rayon::prelude::*;

use crate::decode::{Decoded, ROWS_AT_ONCE};
use crate::shards::{Kind, Shard, Wanted};
use crate::{DataError, Images, png};

const IMAGE: &str = "image";
const LABEL: &str = "label";

/// Reads labelled images from the bytes of a parquet file in the hub's schema: column `image`, a struct with the binary field
/// `bytes` (PNG or JPEG, grey or RGB, 8 bits) and the field `path` (not read), and column `label`, i64 in `0..classes`. Other
/// columns are ignored. Rows keep their order. Images are decoded in parallel.
///
/// `name` stands for the file in error messages.
///
/// # Errors
/// Every way in which the file can differ from that has its own variant of [`DataError`]. Damaged files are errors, never
/// panics: a panic inside the parquet reader is caught and returned as [`DataError::DamagedParquet`].
pub fn read_parquet(bytes: &[u8], name: &str, classes: usize) -> Result<Images, DataError> {
    read(Shard::new(Cursor::new(bytes), name, &WANTED)?, name, classes)
}

/// [`read_parquet`] on a file.
///
/// # Errors
/// As [`read_parquet`], and [`DataError::Io`] when the file cannot be read.
pub fn read_parquet_file(path: &Path, classes: usize) -> Result<Images, DataError> {
    read(Shard::open(path, &WANTED)?, &path.display().to_string(), classes)
}

const WANTED: [Wanted; 2] = [Wanted { name: IMAGE, kind: Kind::Image }, Wanted { name: LABEL, kind: Kind::Integer }];

fn read<R: Read + Seek>(mut shard: Shard<R>, name: &str, classes: usize) -> Result<Images, DataError> {
    let mut images = Decoded::new(IMAGE, None, shard.rows());
    let mut labels = Vec::new();
    while let Some(block) = shard.next_block(ROWS_AT_ONCE)? {
        labels.extend(block.labels(1, classes)?);
        images.decode(&block, 0)?;
    }
    let Some((shape, pixels)) = images.finish() else { return Err(DataError::Empty { name: name.to_owned() }) };
    Images::new(shape, classes, pixels, labels)
}

/// The bytes of a parquet file in the hub's schema, with `paths[i]` as the `path` of image `i`.
///
/// The PNG inside are stored without deflate and the column is compressed with zstd instead, which sees many images at once: on
/// MNIST that is smaller than the best deflated PNG in the same column, and any reader of the schema takes both.
/// The same input and the same lock file give the same bytes.
///
/// # Errors
/// [`DataError::Setting`] when there is not one path for each image, or the images have sides or channels that PNG writing does
/// not support; [`DataError::WriteParquet`] should the parquet writer fail.
pub fn write_parquet(images: &Images, paths: &[String]) -> Result<Vec<u8>, DataError> {
    if paths.len() != images.len() {
        return Err(DataError::setting("number of paths", paths.len(), format!("must be {}", images.len())));
    }
    let encoded: Vec<Vec<u8>> = images
        .pixels()
        .par_chunks_exact(images.dim())
        .map(|image| png::encode(images.shape(), image))
        .collect::<Result<_, _>>()
        .map_err(|rule| DataError::setting("shape", images.shape(), rule))?;
    let encoded: Vec<&[u8]> = encoded.iter().map(Vec::as_slice).collect();
    let labels: Vec<i64> = images.labels().iter().map(|&l| i64::from(l)).collect();

    let write = || -> Result<Vec<u8>, PolarsError> {
        let fields = [Series::new("bytes".into(), encoded), Series::new("path".into(), paths)];
        let image = StructChunked::from_series(IMAGE.into(), images.len(), fields.iter())?;
        let mut table = DataFrame::new(images.len(), vec![image.into_column(), Series::new(LABEL.into(), labels).into_column()])?;
        to_bytes(&mut table)
    };
    write().map_err(|e| DataError::WriteParquet { reason: e.to_string() })
}

/// A parquet file of one row group and one page a column, made as small as zstd can.
pub(crate) fn to_bytes(table: &mut DataFrame) -> Result<Vec<u8>, PolarsError> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(Some(ZstdLevel::try_new(ZSTD_LEVEL)?)))
        .with_statistics(StatisticsOptions::empty())
        .with_row_group_size(Some(table.height()))
        .with_data_page_size(Some(PAGE_BYTES))
        .set_parallel(false)
        .finish(table)?;
    Ok(bytes)
}

/// The highest level: files are written once.
const ZSTD_LEVEL: i32 = 22;
/// Pages are compressed one by one, so one page should hold all of a small set; 64 MiB is the window of level 22 and more.
const PAGE_BYTES: usize = 64 << 20;
