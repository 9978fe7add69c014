use std::path::{Path, PathBuf};

use isorate_results::{Run, write_atomic};

use crate::export::{Images, images};
use crate::figure::Figure;
use crate::{
    Error, Table, a1, a2, b1, b2, b3, b4, b5, b6, b7, b8, d1, f1, f2, f3, f4, f5, f6, f6_networks, f7, f8, f9, spectrum, t1, t2,
    t3, t4, t5, t6, t7, t8, t9, t10,
};

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

impl Entry {
    /// All experiments whose runs it needs: most entries need one.
    pub fn experiments(&self) -> impl Iterator<Item = &'static str> + use<> {
        let others: &[&str] = if self.id == "t10" { &t10::EXPERIMENTS } else { &[] };
        let first = self.experiment;
        std::iter::once(first).chain(others.iter().copied().filter(move |&other| other != first))
    }
}

/// How an entry is made from the runs of its experiment.
#[derive(Clone, Copy)]
enum Make {
    Figure(fn(&[Run]) -> Result<Figure, Error>),
    Table(fn(&[Run]) -> Result<Table, Error>),
}

const CATALOGUE: &[(Entry, Make)] = &[
    (
        Entry { id: "f1", title: "Accuracy by group over training, and the moments of the data", experiment: "f1" },
        Make::Figure(f1::figure),
    ),
    (
        Entry {
            id: "f1-spectrum",
            title: "Learned share of the components on Colored-MNIST, and stable ranks",
            experiment: "f1",
        },
        Make::Figure(|runs| spectrum::figure("f1-spectrum", "f1", runs)),
    ),
    (Entry { id: "f2", title: "Growth of the components under GD, NGD and SpecGD", experiment: "f2" }, Make::Figure(f2::figure)),
    (
        Entry { id: "f3", title: "Accuracy on rare and frequent classes over epochs and time", experiment: "f3" },
        Make::Figure(f3::figure),
    ),
    (
        Entry {
            id: "f3-spectrum",
            title: "Learned share of the components under class imbalance, and stable ranks",
            experiment: "f3",
        },
        Make::Figure(|runs| spectrum::figure("f3-spectrum", "f3", runs)),
    ),
    (
        Entry { id: "f4", title: "Accuracy under cross-entropy, and the best stopping points", experiment: "f4" },
        Make::Figure(f4::figure),
    ),
    (Entry { id: "f5", title: "Loss gaps to SpecGD and the bounds of the theorems", experiment: "f5" }, Make::Figure(f5::figure)),
    (
        Entry { id: "f6", title: "Depth: growth, saturation times and the error of the idealization", experiment: "f6" },
        Make::Figure(f6::figure),
    ),
    (
        Entry { id: "f6-networks", title: "Depth: accuracy of networks by group", experiment: "f6-networks" },
        Make::Figure(f6_networks::figure),
    ),
    (
        Entry { id: "f7", title: "A spurious feature: worst-group accuracy, on the core feature, and decoded", experiment: "f7" },
        Make::Figure(f7::figure),
    ),
    (
        Entry {
            id: "f7-spectrum",
            title: "Learned share of the components with a spurious feature, and stable ranks",
            experiment: "f7",
        },
        Make::Figure(|runs| spectrum::figure("f7-spectrum", "f7", runs)),
    ),
    (
        Entry { id: "f8", title: "Worst-group and average accuracy of fine-tuned networks", experiment: "f8" },
        Make::Figure(f8::figure),
    ),
    (
        Entry { id: "f9", title: "Language: loss and accuracy by the frequency of the token", experiment: "f9" },
        Make::Figure(f9::figure),
    ),
    (
        Entry { id: "a1", title: "Finite samples against the population's trajectories", experiment: "a1" },
        Make::Figure(a1::figure),
    ),
    (
        Entry { id: "a2", title: "Movement of the trajectories against the residual of Condition 1", experiment: "a2" },
        Make::Figure(a2::figure),
    ),
    (
        Entry { id: "b1", title: "Spectral power between GD and SpecGD: order of the classes", experiment: "b1" },
        Make::Figure(b1::figure),
    ),
    (
        Entry { id: "b2", title: "Muon's overshoot beyond the limits over its momentum", experiment: "b2" },
        Make::Figure(b2::figure),
    ),
    (
        Entry { id: "b3", title: "The response of Newton–Schulz steps, and a rare component under them", experiment: "b3" },
        Make::Figure(b3::figure),
    ),
    (
        Entry { id: "b4", title: "Growth of the components under Shampoo with accumulated statistics", experiment: "b4" },
        Make::Figure(b4::figure),
    ),
    (
        Entry { id: "b5", title: "Sharp constants of the theorems, by number of classes", experiment: "b5" },
        Make::Figure(b5::figure),
    ),
    (
        Entry { id: "b6", title: "Where the theorems' bounds hold without their condition on the priors", experiment: "b6" },
        Make::Figure(b6::figure),
    ),
    (Entry { id: "b7", title: "Ablation: which parameters Muon gets", experiment: "b7" }, Make::Figure(b7::figure)),
    (Entry { id: "b8", title: "Ablation: how exact Muon's polar factor is", experiment: "b8" }, Make::Figure(b8::figure)),
    (
        Entry { id: "d1", title: "Data sets diagnosed: predicted and measured leads of SpecGD", experiment: "d1" },
        Make::Figure(d1::figure),
    ),
    (Entry { id: "t1", title: "Checks of the theory", experiment: "t1" }, Make::Table(t1::table)),
    (
        Entry { id: "t2", title: "Accuracy by group early, halfway and at the end of training", experiment: "f1" },
        Make::Table(t2::table),
    ),
    (Entry { id: "t3", title: "Class imbalance in numbers", experiment: "f3" }, Make::Table(t3::table)),
    (Entry { id: "t4", title: "Best stopping points under cross-entropy", experiment: "f4" }, Make::Table(t4::table)),
    (Entry { id: "t5", title: "The sharp constants of the theorems", experiment: "b5" }, Make::Table(t5::table)),
    (Entry { id: "t6", title: "Data sets diagnosed: prediction against measurement", experiment: "d1" }, Make::Table(t6::table)),
    (Entry { id: "t7", title: "A spurious feature in numbers", experiment: "f7" }, Make::Table(t7::table)),
    (Entry { id: "t8", title: "Fine-tuned networks in numbers", experiment: "f8" }, Make::Table(t8::table)),
    (Entry { id: "t9", title: "Language in numbers", experiment: "f9" }, Make::Table(t9::table)),
    (Entry { id: "t10", title: "Chosen step sizes and their grids", experiment: "f1" }, Make::Table(t10::table)),
];

/// All figures and tables, in the order of the paper.
pub fn catalogue() -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().map(|(entry, _)| entry)
}

/// The entry with this name, in small or capital letters.
pub fn find(id: &str) -> Option<&'static Entry> {
    catalogue().find(|entry| entry.id.eq_ignore_ascii_case(id))
}

/// What a name stands for, drawn but not written.
#[derive(Clone, Debug, PartialEq)]
pub enum Drawing {
    /// A figure.
    Figure(Images),
    /// A table.
    Table(Table),
}

/// Draws one figure or table from the runs of its [experiments](Entry::experiments); others are passed over.
///
/// # Errors
/// [`Error::Unknown`] for a name that is not in the [`catalogue`]; [`Error::NoRuns`], [`Error::Missing`] and [`Error::Mixed`] where the
/// runs do not hold what is to be shown, or hold it twice.
pub fn render(id: &str, runs: &[Run]) -> Result<Drawing, Error> {
    let Some((_, make)) = CATALOGUE.iter().find(|(entry, _)| entry.id.eq_ignore_ascii_case(id)) else {
        let known: Vec<&str> = catalogue().map(|entry| entry.id).collect();
        return Err(Error::Unknown { id: id.to_owned(), known: known.join(", ") });
    };
    match make {
        Make::Figure(figure) => images(&figure(runs)?).map(Drawing::Figure),
        Make::Table(table) => table(runs).map(Drawing::Table),
    }
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
