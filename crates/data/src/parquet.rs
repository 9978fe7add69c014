//! Labelled images in the parquet schema of the Hugging Face hub.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::polars_utils::compression::ZstdLevel;
use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, NamedFrom, ParquetCompression, ParquetReader, ParquetWriter, PolarsError, SerReader,
    Series, StatisticsOptions, StructChunked,
};
use rayon::prelude::*;

use crate::{DataError, Images, footer, pages, png};

const IMAGE: &str = "image";
const BYTES: &str = "image.bytes";
const LABEL: &str = "label";
const IMAGE_TYPE: &str = "struct{bytes: binary, path: string}";
const LABEL_TYPE: &str = "i64";

/// Reads labelled images from the bytes of a parquet file in the hub's schema: column `image`, a struct with the binary field
/// `bytes` (PNG, grey or RGB, 8 bits) and the field `path` (not read), and column `label`, i64 in `0..classes`. Other columns are ignored. Rows keep
/// their order. Images are decoded in parallel.
///
/// `name` stands for the file in error messages.
///
/// # Errors
/// Every way in which the file can differ from that has its own variant of [`DataError`]. Damaged files are errors, never
/// panics: a panic inside the parquet reader is caught and returned as [`DataError::DamagedParquet`].
pub fn read_parquet(bytes: &[u8], name: &str, classes: usize) -> Result<Images, DataError> {
    check_frame(bytes, name)?;
    let damaged = |reason: String| DataError::DamagedParquet { name: name.to_owned(), reason };
    footer::check(bytes).map_err(damaged)?;
    // The reader trusts some sizes in the file and panics when they are wrong. It holds no state that outlives the call.
    let table = catch_unwind(AssertUnwindSafe(|| read_table(bytes, name)))
        .unwrap_or_else(|_| Err(damaged("its sizes or offsets contradict each other".to_owned())))?;
    let reason = |e: PolarsError| damaged(e.to_string());

    let labels = table.column(LABEL).map_err(reason)?;
    let labels = read_labels(labels, name, classes)?;
    let images = table.column(IMAGE).map_err(reason)?;
    if let Some(row) = first_null(images) {
        return Err(DataError::Null { name: name.to_owned(), column: IMAGE, row });
    }
    let encoded = images.struct_().and_then(|s| s.field_by_name("bytes")).map_err(reason)?;
    let encoded = encoded.binary().map_err(reason)?;
    let encoded: Vec<Option<&[u8]>> = encoded.iter().collect();
    let (shape, pixels) = decode_all(&encoded, name)?;
    Images::new(shape, classes, pixels, labels)
}

/// [`read_parquet`] on a file.
///
/// # Errors
/// As [`read_parquet`], and [`DataError::Io`] when the file cannot be read.
pub fn read_parquet_file(path: &Path, classes: usize) -> Result<Images, DataError> {
    read_parquet(&fs_err::read(path)?, &path.display().to_string(), classes)
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
        let mut bytes = Vec::new();
        ParquetWriter::new(&mut bytes)
            .with_compression(ParquetCompression::Zstd(Some(ZstdLevel::try_new(ZSTD_LEVEL)?)))
            .with_statistics(StatisticsOptions::empty())
            .with_row_group_size(Some(images.len()))
            .with_data_page_size(Some(PAGE_BYTES))
            .set_parallel(false)
            .finish(&mut table)?;
        Ok(bytes)
    };
    write().map_err(|e| DataError::WriteParquet { reason: e.to_string() })
}

/// The highest level: files are written once.
const ZSTD_LEVEL: i32 = 22;
/// Pages are compressed one by one, so one page should hold all of a small set; 64 MiB is the window of level 22 and more.
const PAGE_BYTES: usize = 64 << 20;

/// A parquet file begins and ends with its four magic bytes.
pub(crate) fn check_frame(bytes: &[u8], name: &str) -> Result<(), DataError> {
    const MAGIC: &[u8] = b"PAR1";
    if !bytes.starts_with(MAGIC) {
        let hint = match bytes {
            [] => "\nhint: the file is empty",
            [b'<', ..] => "\nhint: this looks like a web page; the download may have been an error page",
            [b'v', b'e', b'r', b's', b'i', b'o', b'n', ..] => "\nhint: this looks like a Git LFS pointer; fetch the real file",
            _ => "",
        };
        return Err(DataError::NotParquet {
            name: name.to_owned(),
            start: bytes[..bytes.len().min(8)].escape_ascii().to_string(),
            hint,
        });
    }
    if bytes.len() < 12 || !bytes.ends_with(MAGIC) {
        return Err(DataError::TruncatedParquet { name: name.to_owned(), length: bytes.len() });
    }
    Ok(())
}

/// The two columns, once the schema is known to be right.
fn read_table(bytes: &[u8], name: &str) -> Result<DataFrame, DataError> {
    let reason = |e: PolarsError| DataError::DamagedParquet { name: name.to_owned(), reason: e.to_string() };
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let schema = reader.schema().map_err(reason)?;
    let found: Vec<(String, DataType)> =
        schema.iter().map(|(column, field)| (column.to_string(), DataType::from_arrow_field(field))).collect();
    let dtype = |column: &'static str| {
        found.iter().find(|(c, _)| c == column).map(|(_, dtype)| dtype).ok_or_else(|| DataError::MissingColumn {
            name: name.to_owned(),
            column,
            found: found.iter().map(|(c, dtype)| format!("{c}: {}", type_text(dtype))).collect::<Vec<_>>().join(", "),
        })
    };
    let wrong = |column, expected, found: &DataType| {
        Err(DataError::ColumnType { name: name.to_owned(), column, expected, found: type_text(found) })
    };
    let image = dtype(IMAGE)?;
    let label = dtype(LABEL)?;
    let has_bytes = match image {
        DataType::Struct(fields) => fields.iter().any(|f| f.name == "bytes" && f.dtype == DataType::Binary),
        _ => false,
    };
    if !has_bytes {
        return wrong(IMAGE, IMAGE_TYPE, image);
    }
    if *label != DataType::Int64 {
        return wrong(LABEL, LABEL_TYPE, label);
    }
    let metadata = reader.get_metadata().map_err(reason)?;
    pages::check(bytes, metadata, &[IMAGE, LABEL])
        .map_err(|reason| DataError::DamagedParquet { name: name.to_owned(), reason })?;
    reader.with_columns(Some(vec![IMAGE.to_owned(), LABEL.to_owned()])).finish().map_err(reason)
}

fn read_labels(labels: &Column, name: &str, classes: usize) -> Result<Vec<u32>, DataError> {
    let damaged = |e: PolarsError| DataError::DamagedParquet { name: name.to_owned(), reason: e.to_string() };
    let labels = labels.i64().map_err(damaged)?;
    if labels.is_empty() {
        return Err(DataError::Empty { name: name.to_owned() });
    }
    labels
        .iter()
        .enumerate()
        .map(|(row, label)| {
            let label = label.ok_or_else(|| DataError::Null { name: name.to_owned(), column: LABEL, row })?;
            u32::try_from(label).ok().filter(|&l| (l as usize) < classes).ok_or_else(|| DataError::Label {
                name: name.to_owned(),
                row,
                label,
                classes,
            })
        })
        .collect()
}

/// One shape and the pixels of all images, image after image.
fn decode_all(encoded: &[Option<&[u8]>], name: &str) -> Result<([usize; 3], Vec<u8>), DataError> {
    let decode = |row: usize| {
        let bytes = encoded[row].ok_or_else(|| DataError::Null { name: name.to_owned(), column: BYTES, row })?;
        png::decode(bytes).map_err(|reason| DataError::Image { name: name.to_owned(), row, reason })
    };
    if encoded.is_empty() {
        return Err(DataError::Empty { name: name.to_owned() });
    }
    let (expected, first) = decode(0)?;
    let dim = first.len();
    let mut pixels = vec![0; dim * encoded.len()];
    pixels
        .par_chunks_exact_mut(dim)
        .enumerate()
        .map(|(row, target)| {
            let (found, image) = decode(row)?;
            if found != expected {
                return Err(DataError::ImageShape { name: name.to_owned(), row, expected, found });
            }
            target.copy_from_slice(&image);
            Ok(())
        })
        // Not the first error to happen but the first row that has one, so that the message is the same every time.
        .filter_map(Result::err)
        .collect::<Vec<_>>()
        .into_iter()
        .next()
        .map_or(Ok((expected, pixels)), Err)
}

fn first_null(column: &Column) -> Option<usize> {
    if column.null_count() == 0 {
        return None;
    }
    column.is_null().iter().position(|null| null == Some(true))
}

pub(crate) fn type_text(dtype: &DataType) -> String {
    match dtype {
        DataType::Binary => "binary".to_owned(),
        DataType::String => "string".to_owned(),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields.iter().map(|f| format!("{}: {}", f.name, type_text(&f.dtype))).collect();
            format!("struct{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
