//! Features and labels from a file of numbers.

use std::path::Path;

use crate::images::count_classes;
use crate::parquet_table::read_parquet_table;
use crate::{DataError, Images, read_csv};

/// Largest number of features: the diagnosis holds dense d×d moments.
const MOST_FEATURES: usize = 2048;
/// Largest number of classes.
const MOST_CLASSES: usize = 512;
/// Largest file that is read, bytes: all of it is held in memory.
const LARGEST_FILE: u64 = 2 << 30;
/// Squares and sums of squares of larger numbers could overflow.
pub(crate) const LARGEST_VALUE: f64 = 1e100;

/// Which columns of a table are what.
#[derive(Clone, Copy, Debug)]
pub struct TableOptions<'a> {
    /// The column that holds the class.
    pub label: &'a str,
    /// Columns that are left out.
    pub ignore: &'a [String],
}

/// `n` rows of `d` finite numbers with one class each.
///
/// Invariants: `n ≥ 1`, `1 ≤ d ≤ 2048`, from 2 to 512 classes, each with at least 2 rows; every value at most 1e100 in magnitude.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    name: String,
    feature_names: Vec<String>,
    class_names: Vec<String>,
    features: Vec<f64>,
    labels: Vec<u32>,
}

impl Table {
    /// Puts a table together from labels as text and checks the invariants. Classes are sorted: as numbers if all of them are whole
    /// numbers, as text if not all are numbers.
    pub(crate) fn new(
        name: &str,
        label: &str,
        feature_names: Vec<String>,
        features: Vec<f64>,
        labels: &[String],
    ) -> Result<Self, DataError> {
        let problem = Problem { name };
        if labels.is_empty() {
            return Err(DataError::Empty { name: name.to_owned() });
        }
        check_features(name, feature_names.len())?;
        let mut class_names: Vec<&str> = labels.iter().map(String::as_str).collect();
        class_names.sort_unstable();
        class_names.dedup();
        let numbers: Option<Vec<f64>> = class_names.iter().map(|class| class.parse().ok()).collect();
        if let Some(numbers) = numbers {
            if let Some((class, _)) = class_names.iter().zip(&numbers).find(|(_, number)| number.fract() != 0.0) {
                return Err(problem.at(
                    format!("column {label:?} = {class}"),
                    "labels that are numbers must be whole: a class is not a quantity",
                    "sort the quantity into a few classes first, or name the class column with --label",
                ));
            }
            // "1", "01" and "1.0" are one class.
            let mut order: Vec<usize> = (0..numbers.len()).collect();
            order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
            if let Some(pair) = order.windows(2).find(|pair| numbers[pair[0]] >= numbers[pair[1]]) {
                return Err(problem.at(
                    format!("column {label:?}"),
                    &format!("{:?} and {:?} are the same number written in two ways", class_names[pair[0]], class_names[pair[1]]),
                    "write each class in one way",
                ));
            }
            class_names = order.into_iter().map(|index| class_names[index]).collect();
        }
        let (n, k) = (labels.len(), class_names.len());
        if k > MOST_CLASSES {
            return Err(problem.at(
                format!("column {label:?}"),
                &format!("{k} different values in {n} rows; at most {MOST_CLASSES} classes are taken"),
                "name the class column with --label; a quantity must be sorted into a few classes first",
            ));
        }
        if k < 2 {
            return Err(problem.at(
                format!("column {label:?}"),
                &format!("all {n} rows have the class {:?}; at least two classes are needed", class_names[0]),
                "name the class column with --label",
            ));
        }
        let places: std::collections::HashMap<&str, u32> = class_names.iter().copied().zip(0..).collect();
        let indices: Vec<u32> = labels.iter().map(|class| places[class.as_str()]).collect();
        let class_names = class_names.into_iter().map(str::to_owned).collect();
        Self { name: name.to_owned(), feature_names, class_names, features, labels: indices }.checked(label)
    }

    /// Images as a table of pixels from 0 to 1; classes without an image are left out. `classes` names the labels.
    ///
    /// # Errors
    /// [`DataError::Table`] for images with more than 2048 values, fewer than two classes, or a class with one image.
    pub fn from_images(images: &Images, name: &str, classes: &[&str]) -> Result<Self, DataError> {
        check_features(name, images.dim())?;
        let counts = images.class_counts();
        let mut places = vec![0; counts.len()];
        let mut class_names = Vec::new();
        for (label, place) in places.iter_mut().enumerate().filter(|(label, _)| counts[*label] > 0) {
            *place = u32::try_from(class_names.len()).unwrap_or(u32::MAX);
            class_names.push(classes.get(label).map_or_else(|| label.to_string(), |class| (*class).to_owned()));
        }
        Self {
            name: name.to_owned(),
            feature_names: (0..images.dim()).map(|pixel| format!("pixel {pixel}")).collect(),
            class_names,
            features: images.pixels().iter().map(|&pixel| f64::from(pixel) / 255.0).collect(),
            labels: images.labels().iter().map(|&label| places[label as usize]).collect(),
        }
        .checked("label")
    }

    /// A table from rows that already have the indices of their classes, with the numbers of the classes as their names.
    pub(crate) fn from_rows(
        name: &str,
        classes: usize,
        dim: usize,
        features: Vec<f64>,
        labels: Vec<u32>,
    ) -> Result<Self, DataError> {
        check_features(name, dim)?;
        Self {
            name: name.to_owned(),
            feature_names: (0..dim).map(|feature| format!("x{feature}")).collect(),
            class_names: (0..classes).map(|class| class.to_string()).collect(),
            features,
            labels,
        }
        .checked("class")
    }

    fn checked(self, label: &str) -> Result<Self, DataError> {
        let problem = Problem { name: &self.name };
        if self.class_names.len() < 2 {
            return Err(problem.at(
                format!("column {label:?}"),
                &format!("all {} rows have one class; at least two classes are needed", self.labels.len()),
                "name the class column with --label",
            ));
        }
        if let Some((class, _)) = self.class_counts().into_iter().enumerate().find(|(_, count)| *count < 2) {
            return Err(problem.at(
                format!("column {label:?} = {:?}", self.class_names[class]),
                "a class with one sample has no spread; every class needs at least two",
                "leave the row out, merge the class with a similar one, or collect more of it",
            ));
        }
        Ok(self)
    }

    /// The file or data set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of rows.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one row")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The number of features.
    pub fn dim(&self) -> usize {
        self.feature_names.len()
    }

    /// The names of the features, in order.
    pub fn feature_names(&self) -> &[String] {
        &self.feature_names
    }

    /// The names of the classes, in order.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// All features, row after row.
    pub fn features(&self) -> &[f64] {
        &self.features
    }

    /// The class of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The number of rows of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        count_classes(&self.labels, self.class_names.len())
    }

    /// The rows at `indices`, in that order, with all classes of this table.
    ///
    /// # Errors
    /// [`DataError::Setting`] for an index past the end; [`DataError::Table`] when a class keeps fewer than two rows.
    pub fn select(&self, indices: &[usize]) -> Result<Self, DataError> {
        let d = self.dim();
        let mut features = Vec::with_capacity(indices.len() * d);
        let mut labels = Vec::with_capacity(indices.len());
        for &row in indices {
            let Some(&label) = self.labels.get(row) else {
                return Err(DataError::setting("row", row, format!("must be below {}", self.len())));
            };
            features.extend_from_slice(&self.features[row * d..(row + 1) * d]);
            labels.push(label);
        }
        Self { features, labels, ..self.clone_names() }.checked("label")
    }

    fn clone_names(&self) -> Self {
        Self {
            name: self.name.clone(),
            feature_names: self.feature_names.clone(),
            class_names: self.class_names.clone(),
            features: Vec::new(),
            labels: Vec::new(),
        }
    }
}

/// At least one and not too many features.
pub(crate) fn check_features(name: &str, count: usize) -> Result<(), DataError> {
    let problem = Problem { name };
    if count == 0 {
        return Err(problem.at("columns".to_owned(), "no column is left for the features", "leave fewer columns out"));
    }
    if count > MOST_FEATURES {
        return Err(problem.at(
            format!("{count} features"),
            &format!("at most {MOST_FEATURES} are taken: their second moments are a dense matrix"),
            "leave columns out with --ignore, make images smaller, or project the features first",
        ));
    }
    Ok(())
}

/// Reads a CSV file (`.csv`, `.tsv` or `.txt`) or a parquet file (`.parquet`): columns of numbers and a label column, or, in
/// parquet, the hub's image schema. Also returns whether the features are pixels.
///
/// # Errors
/// [`DataError::Io`] with the path, [`DataError::Table`] for another extension or a file above 2 GiB, and as [`read_csv`] and
/// [`read_parquet`](crate::read_parquet).
pub fn read_table_file(path: &Path, options: &TableOptions) -> Result<(Table, bool), DataError> {
    let name = path.display().to_string();
    let problem = Problem { name: &name };
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let metadata = match fs_err::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(problem.at(
                "the path".to_owned(),
                "there is no such file",
                "give a CSV or parquet file, or the name of a data set",
            ));
        }
        metadata => metadata?,
    };
    if !metadata.is_file() {
        return Err(problem.at("the path".to_owned(), "is not a file", "give a CSV or parquet file"));
    }
    if metadata.len() > LARGEST_FILE {
        return Err(problem.at(
            format!("{} bytes", metadata.len()),
            "a file is held in memory and must be at most 2 GiB",
            "take a random part of its rows: the moments need no more than some ten thousand",
        ));
    }
    match extension.as_str() {
        "csv" | "tsv" | "txt" => Ok((read_csv(&fs_err::read(path)?, &name, options)?, false)),
        "parquet" => read_parquet_table(&fs_err::read(path)?, &name, options),
        _ => Err(problem.at(
            format!("extension {extension:?}"),
            "a table is read from .csv, .tsv, .txt or .parquet",
            "convert the file to CSV with a header line",
        )),
    }
}

/// Makes errors about one file.
#[derive(Clone, Copy)]
pub(crate) struct Problem<'a> {
    pub(crate) name: &'a str,
}

impl Problem<'_> {
    pub(crate) fn at(self, place: String, rule: &str, hint: &str) -> DataError {
        DataError::Table { name: self.name.to_owned(), place, rule: rule.to_owned(), hint: hint.to_owned() }
    }

    /// There is no column of this name.
    pub(crate) fn no_column(self, option: &str, column: &str, columns: &[String]) -> DataError {
        let nearest = columns
            .iter()
            .map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &column.to_lowercase()), known))
            .filter(|(distance, known)| *distance <= 2.max(known.len() / 3))
            .min();
        let listed: Vec<String> = columns.iter().take(12).map(|column| format!("{column:?}")).collect();
        let more =
            if columns.len() > listed.len() { format!(" and {} more", columns.len() - listed.len()) } else { String::new() };
        let hint = match nearest {
            Some((_, nearest)) => format!("did you mean {option} {nearest:?}? The columns are {}{more}", listed.join(", ")),
            None => format!("the columns are {}{more}; name one with {option}", listed.join(", ")),
        };
        self.at(format!("column {column:?}"), "there is no such column", &hint)
    }
}
