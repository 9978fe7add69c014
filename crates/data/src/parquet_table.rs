//! Tables in parquet files.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use polars::prelude::{Column, DataFrame, DataType, ParquetReader, PolarsError, SerReader};
use polars_parquet::parquet::metadata::FileMetadata;

use crate::shards::type_text;
use crate::table::{LARGEST_VALUE, Problem, check_features};
use crate::{DataError, Table, TableOptions, footer, pages, read_parquet};

/// Labels of an image file are below this.
const MOST_LABELS: usize = 512;

/// Reads columns of numbers and a label column (whole numbers or text), or images in the hub's schema; true for images.
pub(crate) fn read_parquet_table(bytes: &[u8], name: &str, options: &TableOptions) -> Result<(Table, bool), DataError> {
    let damaged = |reason: String| DataError::DamagedParquet { name: name.to_owned(), reason };
    let metadata = footer::read(&mut Cursor::new(bytes), name)?;
    // The reader trusts some sizes in the file and panics when they are wrong. It holds no state that outlives the call.
    let table = catch_unwind(AssertUnwindSafe(|| read_columns(bytes, &metadata, name, options)))
        .unwrap_or_else(|_| Err(damaged("its sizes or offsets contradict each other".to_owned())))?;
    match table {
        Some(table) => Ok((table, false)),
        None => Ok((Table::from_images(&read_parquet(bytes, name, MOST_LABELS)?, name, &[])?, true)),
    }
}

/// `None` for an image file.
fn read_columns(bytes: &[u8], metadata: &FileMetadata, name: &str, options: &TableOptions) -> Result<Option<Table>, DataError> {
    let problem = Problem { name };
    let reason = |e: PolarsError| DataError::DamagedParquet { name: name.to_owned(), reason: e.to_string() };
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let schema = reader.schema().map_err(reason)?;
    let columns: Vec<(String, DataType)> =
        schema.iter().map(|(column, field)| (column.to_string(), DataType::from_arrow_field(field))).collect();
    if columns.iter().any(|(column, dtype)| column == "image" && matches!(dtype, DataType::Struct(_))) {
        return Ok(None);
    }
    let names: Vec<String> = columns.iter().map(|(column, _)| column.clone()).collect();
    for (option, column) in
        [("--label", options.label)].into_iter().chain(options.ignore.iter().map(|c| ("--ignore", c.as_str())))
    {
        if !names.iter().any(|name| name == column) {
            return Err(problem.no_column(option, column, &names));
        }
    }
    let mut wanted = Vec::new();
    for (column, dtype) in &columns {
        if options.ignore.contains(column) {
            continue;
        }
        let is_label = column == options.label;
        if !(is_number(dtype) || is_label && *dtype == DataType::String) {
            let (rule, hint) = if is_label {
                ("a label must be a whole number or text", "store the label as integers or strings".to_owned())
            } else {
                ("a feature must be a number", format!("encode the column as numbers, or leave it out with --ignore {column:?}"))
            };
            return Err(problem.at(format!("column {column:?} of type {}", type_text(dtype)), rule, &hint));
        }
        wanted.push(column.clone());
    }
    check_features(name, wanted.len() - 1)?;
    let checked: Vec<&str> = wanted.iter().map(String::as_str).collect();
    pages::check(&mut Cursor::new(bytes), metadata, &checked)
        .map_err(|e| DataError::DamagedParquet { name: name.to_owned(), reason: e.to_string() })?;
    let frame = reader.with_columns(Some(wanted.clone())).finish().map_err(reason)?;
    let labels = labels(frame.column(options.label).map_err(reason)?, problem, options.label)?;
    let names: Vec<String> = wanted.into_iter().filter(|column| column != options.label).collect();
    let features = features(&frame, &names, labels.len(), problem)?;
    Table::new(name, options.label, names, features, &labels).map(Some)
}

/// The types that this build of the reader has.
fn is_number(dtype: &DataType) -> bool {
    use DataType::{Boolean, Float32, Float64, Int32, Int64, UInt32, UInt64};
    matches!(dtype, Boolean | Float32 | Float64 | Int32 | Int64 | UInt32 | UInt64)
}

fn numbers(column: &Column, problem: Problem) -> Result<Vec<Option<f64>>, DataError> {
    let reason = |e: PolarsError| DataError::DamagedParquet { name: problem.name.to_owned(), reason: e.to_string() };
    let cast = column.cast(&DataType::Float64).map_err(reason)?;
    Ok(cast.f64().map_err(reason)?.iter().collect())
}

fn labels(column: &Column, problem: Problem, label: &str) -> Result<Vec<String>, DataError> {
    let missing = |row: usize| {
        problem.at(format!("row {row}, column {label:?}"), "the label is missing", "leave the row out, or give it a class")
    };
    if *column.dtype() == DataType::String {
        let reason = |e: PolarsError| DataError::DamagedParquet { name: problem.name.to_owned(), reason: e.to_string() };
        let texts = column.str().map_err(reason)?;
        return texts.iter().enumerate().map(|(row, text)| Ok(text.ok_or_else(|| missing(row))?.to_owned())).collect();
    }
    let values = numbers(column, problem)?;
    let finite = values.into_iter().enumerate();
    finite.map(|(row, value)| Ok(value.filter(|value| value.is_finite()).ok_or_else(|| missing(row))?.to_string())).collect()
}

fn features(frame: &DataFrame, names: &[String], rows: usize, problem: Problem) -> Result<Vec<f64>, DataError> {
    let d = names.len();
    let mut features = vec![0.0; rows * d];
    for (index, name) in names.iter().enumerate() {
        let column =
            frame.column(name).map_err(|e| DataError::DamagedParquet { name: problem.name.to_owned(), reason: e.to_string() })?;
        let values = numbers(column, problem)?;
        let missing = |value: &Option<f64>| value.is_none_or(f64::is_nan);
        if rows > 0 && values.iter().all(missing) {
            return Err(problem.at(
                format!("column {name:?}"),
                "is empty: it has no value in any row",
                &format!("leave it out with --ignore {name:?}"),
            ));
        }
        for (row, value) in values.into_iter().enumerate() {
            let leave_out = format!("leave the row out, or the column with --ignore {name:?}");
            let place = || format!("row {row}, column {name:?}");
            match value {
                Some(value) if value.abs() <= LARGEST_VALUE => features[row * d + index] = value,
                Some(value) if !value.is_nan() => {
                    let rule = "every value must be finite, and at most 1e100 in magnitude";
                    return Err(problem.at(format!("{} = {value}", place()), rule, &leave_out));
                }
                _ => return Err(problem.at(place(), "a value is missing", &leave_out)),
            }
        }
    }
    Ok(features)
}
