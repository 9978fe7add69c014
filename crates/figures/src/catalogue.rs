use std::path::{Path, PathBuf};

use isorate_results::{Run, write_atomic};

use crate::export::{Images, images};
use crate::{Error, Table, f1, f2, f5, t1, t2};

/// A figure or table that can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name: `f1`, `t1`, ….
    pub id: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The experiment whose runs it shows.
    pub experiment: &'static str,
}

const CATALOGUE: [Entry; 5] = [
    Entry { id: "f1", title: "Accuracy by group over training, and the moments of the data", experiment: "f1" },
    Entry { id: "f2", title: "Growth of the components under GD, NGD and SpecGD", experiment: "f2" },
    Entry { id: "f5", title: "Loss gaps to SpecGD and the bounds of the theorems", experiment: "f5" },
    Entry { id: "t1", title: "Checks of the theory", experiment: "t1" },
    Entry { id: "t2", title: "Accuracy by group early, halfway and at the end of training", experiment: "f1" },
];

/// All figures and tables, in the order of the paper.
pub fn catalogue() -> &'static [Entry] {
    &CATALOGUE
}

/// The entry with this name, in small or capital letters.
pub fn find(id: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.id.eq_ignore_ascii_case(id))
}

/// What a name stands for, drawn but not written.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// A figure.
    Figure(Images),
    /// A table.
    Table(Table),
}

/// Draws one figure or table from the runs of its experiment; runs of other experiments are passed over.
///
/// # Errors
/// [`Error::Unknown`] for a name that is not in the [`catalogue`]; [`Error::NoRuns`], [`Error::Missing`] and [`Error::Mixed`] where the
/// runs do not hold what is to be shown, or hold it twice.
pub fn render(id: &str, runs: &[Run]) -> Result<Drawing, Error> {
    let unknown = || Error::Unknown { id: id.to_owned(), known: CATALOGUE.map(|entry| entry.id).join(", ") };
    let figure = match find(id).ok_or_else(unknown)?.id {
        "f1" => f1::figure(runs)?,
        "f2" => f2::figure(runs)?,
        "f5" => f5::figure(runs)?,
        "t1" => return t1::table(runs).map(Drawing::Table),
        "t2" => return t2::table(runs).map(Drawing::Table),
        _ => return Err(unknown()),
    };
    images(&figure).map(Drawing::Figure)
}

/// Draws one figure or table into a folder, and returns the files: `f1.svg`, `f1.png` and `f1.pdf`, or `t1.md`, `t1.tex` and `t1.csv`.
///
/// Each file appears whole or not at all, and only after all three could be made.
pub fn draw(id: &str, runs: &[Run], out: &Path) -> Result<Vec<PathBuf>, Error> {
    let name = id.to_ascii_lowercase();
    let files: Vec<(&str, Vec<u8>)> = match render(id, runs)? {
        Drawing::Figure(images) => vec![("svg", images.svg.into_bytes()), ("png", images.png), ("pdf", images.pdf)],
        Drawing::Table(table) => [("md", table.markdown_page()), ("tex", table.latex()), ("csv", table.csv())]
            .map(|(end, text)| (end, text.into_bytes()))
            .into(),
    };
    let mut paths = Vec::new();
    for (extension, bytes) in files {
        let path = out.join(format!("{name}.{extension}"));
        write_atomic(&path, &bytes).map_err(|source| Error::Write { path: path.clone(), source })?;
        paths.push(path);
    }
    Ok(paths)
}
