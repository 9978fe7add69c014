//! The one error of this crate.

use std::fmt::Debug;

/// What can be wrong with a data file, a setting or a data set handed in. Each message names the file or the setting, the value
/// found and the rule it breaks; rows count from 0.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be opened or read; the message holds the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file does not start with the parquet magic bytes.
    #[error("{name}: not a parquet file: it starts with {start:?} instead of \"PAR1\"{hint}")]
    NotParquet {
        /// The file.
        name: String,
        /// Its first bytes, escaped.
        start: String,
        /// What such a start usually means, or nothing.
        hint: &'static str,
    },
    /// The file starts as parquet but its end is missing.
    #[error(
        "{name}: truncated parquet file: {length} bytes, and the last four are not \"PAR1\"\n\
         hint: an interrupted download or copy looks like this; fetch the file again"
    )]
    TruncatedParquet {
        /// The file.
        name: String,
        /// Its length in bytes.
        length: u64,
    },
    /// The parquet structure contradicts itself.
    #[error("{name}: damaged parquet file: {reason}")]
    DamagedParquet {
        /// The file.
        name: String,
        /// What the parquet reader says.
        reason: String,
    },
    /// The parquet writer failed.
    #[error("cannot write parquet: {reason}")]
    WriteParquet {
        /// What the parquet writer says.
        reason: String,
    },
    /// A column of the schema is absent.
    #[error("{name}: column {column:?} is missing; the file has {found}")]
    MissingColumn {
        /// The file.
        name: String,
        /// The column looked for.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A column has another type than the schema says.
    #[error("{name}: column {column:?} must be {expected}, but is {found}")]
    ColumnType {
        /// The file.
        name: String,
        /// The column.
        column: String,
        /// The type of the schema.
        expected: &'static str,
        /// The type found.
        found: String,
    },
    /// A value is null where the schema needs one.
    #[error("{name}: row {row}: {column} is null")]
    Null {
        /// The file.
        name: String,
        /// The column or field.
        column: String,
        /// The row.
        row: usize,
    },
    /// The bytes of an image are not a PNG or JPEG that can be used.
    #[error("{name}: row {row}, column {column:?}: undecodable image: {reason}")]
    Image {
        /// The file.
        name: String,
        /// The row.
        row: usize,
        /// The column.
        column: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image has another size than the others.
    #[error(
        "{name}: row {row}, column {column:?}: the image is {} (channels × height × width), but must be {} as in {like}",
        shape_text(*found),
        shape_text(*expected)
    )]
    ImageShape {
        /// The file.
        name: String,
        /// The row.
        row: usize,
        /// The column.
        column: Box<str>,
        /// Channels, height and width it must have.
        expected: [usize; 3],
        /// Channels, height and width of this row.
        found: [usize; 3],
        /// Which images have the expected size.
        like: Box<str>,
    },
    /// A label is not the index of a class.
    #[error("{name}: row {row}: {column} {label} is outside 0..{classes}")]
    Label {
        /// The file or data set.
        name: String,
        /// The row.
        row: usize,
        /// The column, or what the numbers are.
        column: String,
        /// The label found.
        label: i64,
        /// The number of classes.
        classes: usize,
    },
    /// There is no row at all.
    #[error("{name}: no rows; a data set needs at least one")]
    Empty {
        /// The file or data set.
        name: String,
    },
    /// Not an IDX file of the kind expected.
    #[error("{name}: not an IDX file of {expected}: {reason}")]
    Idx {
        /// The file.
        name: String,
        /// What was expected.
        expected: &'static str,
        /// The rule it breaks.
        reason: String,
    },
    /// A tokenizer cannot be read, trained or used.
    #[error("{name}: {reason}")]
    Tokenizer {
        /// The file of the tokenizer, or which one it is.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A feature is NaN or infinite.
    #[error("features: row {row}, column {column} is {value}; every feature must be finite")]
    NotFinite {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
        /// The value.
        value: f64,
    },
    /// A table cannot be used as features and labels.
    #[error("{name}: {place}: {rule}\nhint: {hint}")]
    Table {
        /// The file.
        name: String,
        /// The line or row, the column and the value there.
        place: String,
        /// The rule it breaks.
        rule: String,
        /// What to do about it.
        hint: String,
    },
    /// A setting or argument breaks its rule.
    #[error("{setting} = {value}: {rule}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The rule it breaks.
        rule: String,
    },
    /// A set is not in the hub's cache, or its files there are not what they must be.
    #[error(transparent)]
    Hub(Box<isorate_hub::HubError>),
    /// A file of the hub is not what its reader expected; it was set aside in the cache.
    #[error("{error}\nhint: the file was set aside as {}; `isorate fetch {set}` takes it again", aside.display())]
    SetAside {
        /// The set.
        set: String,
        /// What is wrong with the file.
        error: Box<DataError>,
        /// Where it is now.
        aside: std::path::PathBuf,
    },
    /// A file of the hub is not what its reader expected, and could not be set aside.
    #[error("{error}\nhint: remove the file and fetch the set again; it could not be set aside: {hub_error}")]
    NotSetAside {
        /// What is wrong with the file.
        error: Box<DataError>,
        /// Why it is still there.
        hub_error: Box<isorate_hub::HubError>,
    },
    /// A matrix factorization did not converge.
    #[error("{what} did not converge on a {rows} × {columns} matrix")]
    NoConvergence {
        /// The factorization.
        what: &'static str,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
}

/// What the reader of a file expected and what it found, for [`isorate_hub`]'s `set_aside`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch<'a> {
    /// The file, as it was named to the reader.
    pub file: &'a str,
    /// What should be there, with row and column.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl From<isorate_hub::HubError> for DataError {
    fn from(error: isorate_hub::HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl DataError {
    /// For an error that the content of a data file causes: the file, what was expected and what was found. `None` for the others.
    pub fn mismatch(&self) -> Option<Mismatch<'_>> {
        let parquet = || "a parquet file".to_owned();
        let (file, expected, found) = match self {
            Self::NotParquet { name, start, .. } => (name, parquet(), format!("a file that starts with {start:?}")),
            Self::TruncatedParquet { name, length } => {
                (name, "a parquet file, which ends with \"PAR1\"".to_owned(), format!("{length} bytes without it"))
            }
            Self::DamagedParquet { name, reason } => (name, parquet(), reason.clone()),
            Self::MissingColumn { name, column, found } => (name, format!("column {column:?}"), format!("only {found}")),
            Self::ColumnType { name, column, expected, found } => {
                (name, format!("column {column:?} of type {expected}"), format!("type {found}"))
            }
            Self::Null { name, column, row } => (name, format!("a value in row {row}, column {column:?}"), "null".to_owned()),
            Self::Image { name, row, column, reason } => {
                (name, format!("an image in row {row}, column {column:?}"), format!("bytes that cannot be decoded: {reason}"))
            }
            Self::ImageShape { name, row, column, expected, found, like } => (
                name,
                format!("an image of {} in row {row}, column {column:?}, as in {like}", shape_text(*expected)),
                format!("one of {}", shape_text(*found)),
            ),
            Self::Label { name, row, column, label, classes } => {
                (name, format!("row {row}, column {column:?} in 0..{classes}"), label.to_string())
            }
            Self::Empty { name } => (name, "at least one row".to_owned(), "none".to_owned()),
            _ => return None,
        };
        Some(Mismatch { file, expected, found })
    }

    pub(crate) fn setting(setting: &'static str, value: impl Debug, rule: impl Into<String>) -> Self {
        Self::Setting { setting, value: format!("{value:?}"), rule: rule.into() }
    }
}

fn shape_text([channels, height, width]: [usize; 3]) -> String {
    format!("{channels} × {height} × {width}")
}
