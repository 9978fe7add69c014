//! Comma-separated values.

use csv::{ByteRecord, ReaderBuilder};

use crate::table::{LARGEST_VALUE, Problem, check_features};
use crate::{DataError, Table, TableOptions};

/// What people write where a value is missing.
const MISSING: [&str; 8] = ["", "na", "n/a", "nan", "null", "none", "?", "-"];
/// Longest part of a value that is shown.
const SHOWN: usize = 40;

/// Reads a table from the bytes of a CSV file: a header line, then one line a row; columns of numbers and the label column. The
/// separator is the comma, semicolon or tab that the header has most of; fields may be quoted, and a byte order mark is skipped.
///
/// `name` stands for the file in errors, which count lines from 1 (the header).
///
/// # Errors
/// [`DataError::Table`] for everything that is not such a table, with line, column and value; [`DataError::Empty`] without rows.
/// Any bytes are read without a panic.
///
/// ```
/// use isorate_data::{TableOptions, read_csv};
/// let text = b"size,weight,kind\n1,2.5,a\n2,2.0,b\n3,1.5,a\n4,1.0,b\n";
/// let table = read_csv(text, "example.csv", &TableOptions { label: "kind", ignore: &[] })?;
/// assert_eq!((table.len(), table.dim(), table.class_names().len()), (4, 2, 2));
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn read_csv(bytes: &[u8], name: &str, options: &TableOptions) -> Result<Table, DataError> {
    let problem = Problem { name };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"PAR1") {
        return Err(problem.at("its first bytes".to_owned(), "it is a parquet file", "give it the extension .parquet"));
    }
    if bytes.starts_with(b"\x1f\x8b") || bytes.starts_with(b"PK") {
        return Err(problem.at("its first bytes".to_owned(), "it is compressed", "unpack it first"));
    }
    let mut reader = ReaderBuilder::new().delimiter(delimiter(bytes)).from_reader(bytes);
    let broken = |error: &csv::Error| {
        let (place, rule) = match error.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => (
                pos.as_ref().map_or_else(|| "a line".to_owned(), |pos| format!("line {}", pos.line())),
                format!("has {len} fields, but the header has {expected_len}"),
            ),
            _ => ("the file".to_owned(), error.to_string()),
        };
        problem.at(place, &rule, "every line needs one field for each column; quote fields that contain the separator")
    };
    let headers = reader.byte_headers().map_err(|error| broken(&error))?.clone();
    let columns = Columns::new(&headers, problem, options)?;
    let (mut features, mut labels) = (Vec::new(), Vec::new());
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).map_err(|error| broken(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |index: usize| record.get(index).unwrap_or_default();
        labels.push(columns.label_of(cell(columns.label), line, problem)?);
        for &index in &columns.features {
            match number(cell(index)) {
                Ok(value) => features.push(value),
                Err(trouble) => {
                    let empty = trouble == Trouble::Missing && labels.len() == 1 && rest_is_missing(&mut reader, index);
                    return Err(columns.trouble(index, record.get(index).unwrap_or_default(), line, trouble, empty, problem));
                }
            }
        }
    }
    let names = columns.features.iter().map(|&index| columns.names[index].clone()).collect();
    Table::new(name, options.label, names, features, &labels)
}

/// Whether a column has no value in any of the lines that are left.
fn rest_is_missing(reader: &mut csv::Reader<&[u8]>, index: usize) -> bool {
    let mut record = ByteRecord::new();
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) if number(record.get(index).unwrap_or_default()) == Err(Trouble::Missing) => {}
            Ok(true) | Err(_) => return false,
            Ok(false) => return true,
        }
    }
}

/// The separator that the first line has most of.
fn delimiter(bytes: &[u8]) -> u8 {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    // The number of parts is one more than that of separators; of equals the last one counts.
    let parts = |separator: u8| line.split(|&byte| byte == separator).count();
    [b'\t', b';', b','].into_iter().max_by_key(|&separator| parts(separator)).unwrap_or(b',')
}

struct Columns {
    names: Vec<String>,
    label: usize,
    features: Vec<usize>,
}

impl Columns {
    fn new(headers: &ByteRecord, problem: Problem, options: &TableOptions) -> Result<Self, DataError> {
        let mut names: Vec<String> = Vec::new();
        for (index, header) in headers.iter().enumerate() {
            let place = || format!("line 1, column {}", index + 1);
            let Ok(text) = std::str::from_utf8(header) else {
                return Err(problem.at(place(), "its name is not UTF-8 text", "save the file as UTF-8"));
            };
            let text = text.trim().to_owned();
            if names.contains(&text) {
                return Err(problem.at(
                    place(),
                    &format!("two columns are named {}", shown(header)),
                    "give each column its own name",
                ));
            }
            names.push(text);
        }
        if names.is_empty() {
            return Err(DataError::Empty { name: problem.name.to_owned() });
        }
        let find = |option: &str, column: &str| {
            names.iter().position(|name| name == column).ok_or_else(|| problem.no_column(option, column, &names))
        };
        let numbers = names.iter().filter(|name| name.parse::<f64>().is_ok()).count();
        if numbers == names.len() && !names.iter().any(|name| name == options.label) {
            return Err(problem.at(
                "line 1".to_owned(),
                "holds numbers only, where the names of the columns should stand",
                "add a header line with a name for each column",
            ));
        }
        let label = find("--label", options.label)?;
        let mut left_out = vec![label];
        for column in options.ignore {
            left_out.push(find("--ignore", column)?);
        }
        let features: Vec<usize> = (0..names.len()).filter(|index| !left_out.contains(index)).collect();
        check_features(problem.name, features.len())?;
        Ok(Self { names, label, features })
    }

    fn label_of(&self, cell: &[u8], line: u64, problem: Problem) -> Result<String, DataError> {
        let place = || format!("line {line}, column {:?} = {}", self.names[self.label], shown(cell));
        let Ok(text) = std::str::from_utf8(cell) else {
            return Err(problem.at(place(), "a label must be UTF-8 text", "save the file as UTF-8"));
        };
        let text = text.trim();
        if MISSING.contains(&text.to_lowercase().as_str()) {
            return Err(problem.at(place(), "the label is missing", "leave the row out, or give it a class"));
        }
        Ok(text.to_owned())
    }

    fn trouble(&self, index: usize, cell: &[u8], line: u64, trouble: Trouble, empty: bool, problem: Problem) -> DataError {
        let column = &self.names[index];
        if empty {
            return problem.at(
                format!("column {column:?}"),
                "is empty: it has no value in any row",
                &format!("leave it out with --ignore {column:?}"),
            );
        }
        let place = format!("line {line}, column {column:?} = {}", shown(cell));
        match trouble {
            Trouble::Missing => problem.at(
                place,
                "a value is missing",
                &format!("fill it in, leave the row out, or leave the column out with --ignore {column:?}"),
            ),
            Trouble::Infinite => problem.at(
                place,
                "every value must be finite, and at most 1e100 in magnitude",
                &format!("mend the value, or leave the column out with --ignore {column:?}"),
            ),
            Trouble::Text => problem.at(
                place,
                "a feature must be a number",
                &format!("encode the column as numbers, or leave it out with --ignore {column:?}"),
            ),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Missing,
    Infinite,
    Text,
}

fn number(cell: &[u8]) -> Result<f64, Trouble> {
    let text = std::str::from_utf8(cell).map_err(|_| Trouble::Text)?.trim();
    match text.parse::<f64>() {
        Ok(value) if value.is_nan() => Err(Trouble::Missing),
        Ok(value) if value.abs() <= LARGEST_VALUE => Ok(value),
        Ok(_) => Err(Trouble::Infinite),
        Err(_) if MISSING.contains(&text.to_lowercase().as_str()) => Err(Trouble::Missing),
        Err(_) => Err(Trouble::Text),
    }
}

/// A value in quotes, shortened.
fn shown(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell);
    let short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() { format!("{short:?}…") } else { format!("{short:?}") }
}
