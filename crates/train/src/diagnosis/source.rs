//! Where the rows of a diagnosis come from.

use isorate_data::{
    DataError, EmbeddedDataset, ImageSources, Origin, Sampling, Split, Table, Treatment, draw, fashion_mnist, mnist, stream,
    wine_quality, wine_quality_checksum,
};

use crate::{Error, unknown};

/// Rows of the smallest class from which on a quarter of each class is held out.
const ENOUGH: usize = 40;

/// A data set to diagnose.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name, or the file.
    pub name: String,
    /// The rows whose moments are taken.
    pub train: Table,
    /// Rows to measure on only, if it comes with some.
    pub held_out: Option<Table>,
    /// Whether the features are pixels, which have one scale.
    pub images: bool,
}

impl Source {
    /// A table from a file; `images` says whether its features are pixels.
    pub fn of_table(table: Table, images: bool) -> Self {
        Self { name: table.name().to_owned(), train: table, held_out: None, images }
    }

    /// Raw for pixels, which have one scale, and standardized for the columns of a table, which have not.
    pub fn default_treatment(&self) -> Treatment {
        if self.images { Treatment::Raw } else { Treatment::Standardized }
    }
}

/// The data sets that come with the program.
pub(crate) const NAMES: [&str; 3] = ["mnist", "fashion-mnist", "wine-quality"];

/// Those of them that are images, of which there are other origins.
pub(crate) const IMAGE_SETS: [&str; 2] = ["mnist", "fashion-mnist"];

impl Source {
    /// The data set of this name, in small letters, whose images come from `origin`.
    pub fn named(name: &str, origin: &Origin) -> Result<Self, Error> {
        let wanted: Vec<&str> = IMAGE_SETS.into_iter().filter(|known| *known == name).collect();
        named(name, &ImageSources::find(&wanted, origin)?)
    }
}

/// The data set of this name; `images` has it if it is an image set.
pub(crate) fn named(name: &str, images: &ImageSources) -> Result<Source, Error> {
    if let Some(source) = images.get(name) {
        let table = |split| -> Result<Table, Error> {
            Ok(Table::from_images(&source.load(split)?, source.name(), source.class_names())?)
        };
        let (train, held_out) = (table(Split::Train)?, Some(table(Split::Test)?));
        return Ok(Source { name: name.to_owned(), train, held_out, images: true });
    }
    if name == "wine-quality" {
        return Ok(Source { name: name.to_owned(), ..Source::of_table(wine_quality()?, false) });
    }
    Err(DataError::Table {
        name: name.to_owned(),
        place: "data".to_owned(),
        rule: "is neither a file with the extension .csv, .tsv, .txt or .parquet nor a data set that comes with the program"
            .to_owned(),
        hint: unknown("data set", name, &NAMES).replace("\nhint: ", "; "),
    }
    .into())
}

/// BLAKE3 of the files of a data set that comes with the program.
pub(crate) fn checksum(name: &str) -> String {
    let both = |dataset: &EmbeddedDataset| Split::ALL.map(|split| dataset.checksum(split)).join(" ");
    match name {
        "mnist" => both(mnist()),
        "fashion-mnist" => both(fashion_mnist()),
        _ => wine_quality_checksum(),
    }
}

/// A stratified random quarter held out, if the smallest class has at least 40 rows; all rows to train on otherwise.
pub(crate) fn split(table: Table, seed: u64) -> Result<(Table, Option<Table>), Error> {
    if table.class_counts().into_iter().min().is_none_or(|smallest| smallest < ENOUGH) {
        return Ok((table, None));
    }
    let classes = table.class_names().len();
    let held = draw(table.labels(), classes, table.len() / 4, Sampling::Stratified, &mut stream(seed, "diagnosis held out", 0))?;
    let mut is_held = vec![false; table.len()];
    for &row in &held {
        is_held[row] = true;
    }
    let train: Vec<usize> = (0..table.len()).filter(|&row| !is_held[row]).collect();
    Ok((table.select(&train)?, Some(table.select(&held)?)))
}
