//! What data sets there are, and a look into each of them.

mod hub;
mod open;

use std::path::PathBuf;

use crate::{DataError, Examples, Groups};

pub(crate) use self::hub::label;
pub use self::open::OpenOptions;

/// What the rows of a data set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Images with a class each.
    Images,
    /// Texts, or pairs of texts with a class each.
    Text,
    /// Vectors with a class each.
    Numbers,
    /// No rows: the weights of a trained model and what reads its input.
    Weights,
}

impl Form {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "images",
            Self::Text => "text",
            Self::Numbers => "numbers",
            Self::Weights => "weights",
        }
    }
}

/// A data set that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// What its rows are.
    pub form: Form,
    /// Rows of the complete set by split, for a set of the hub.
    pub hub_rows: &'static [(&'static str, usize)],
    /// Rows by split as the set comes with the program, or is made of sets that do.
    pub embedded_rows: &'static [(&'static str, usize)],
    /// The sets that it is made of; empty for one that is its own source.
    pub made_of: &'static [&'static str],
}

/// All of them: first what is its own source, then what is made of it.
pub fn catalogue() -> &'static [Entry] {
    &ENTRIES
}

type Rows = &'static [(&'static str, usize)];

const fn entry(name: &'static str, form: Form, description: &'static str, hub_rows: Rows) -> Entry {
    Entry { name, description, form, hub_rows, embedded_rows: &[], made_of: &[] }
}

impl Entry {
    const fn embedded(self, embedded_rows: Rows) -> Self {
        Self { embedded_rows, ..self }
    }

    /// Whether it can be had without the hub.
    pub fn is_embedded(&self) -> bool {
        !self.embedded_rows.is_empty()
    }

    const fn of(self, made_of: &'static [&'static str]) -> Self {
        Self { made_of, ..self }
    }

    /// Whether the hub has it, under the same name in the manifest.
    pub fn on_hub(&self) -> bool {
        isorate_hub::sources().iter().any(|source| source.name == self.name)
    }
}

/// MNIST and Fashion-MNIST in the program.
const SUBSETS: Rows = &[("train", 12_000), ("test", 4_000)];

static ENTRIES: [Entry; 19] = [
    entry("mnist", Form::Images, "handwritten digits, 28×28 grey", &[("train", 60_000), ("test", 10_000)]).embedded(SUBSETS),
    entry("fashion-mnist", Form::Images, "articles of clothing, 28×28 grey", &[("train", 60_000), ("test", 10_000)]).embedded(SUBSETS),
    entry("cifar-10", Form::Images, "photographs of ten kinds of things, 32×32 colour", &[("train", 50_000), ("test", 10_000)]),
    entry("cifar-100", Form::Images, "photographs of a hundred kinds of things, 32×32 colour", &[("train", 50_000), ("test", 10_000)]),
    entry(
        "celeba",
        Form::Images,
        "faces of celebrities, 178×218 colour; class: blond hair, attribute: gender",
        &[("train", 162_770), ("valid", 19_867), ("test", 19_962)],
    ),
    entry(
        "waterbirds",
        Form::Images,
        "birds pasted on photographs of land and water; class: kind of bird, attribute: place",
        &[("train", 4_795), ("validation", 1_199), ("test", 5_794)],
    ),
    entry(
        "multi-nli",
        Form::Text,
        "pairs of sentences; class: entailment, neutral or contradiction, attribute: negation words",
        &[("train", 392_702), ("validation_matched", 9_815), ("validation_mismatched", 9_832)],
    ),
    entry("tiny-stories", Form::Text, "short stories in simple English", &[("train", 2_119_719), ("validation", 21_990)]),
    entry("wine-quality", Form::Numbers, "red wines: 11 measurements; class: grade", &[]).embedded(&[("all", 1_599)]),
    entry("sotu", Form::Text, "State of the Union addresses, 1790 to 2021, one speech a row", &[])
        .embedded(&[("train", 210), ("validation", 23)]),
    entry("bert-base-uncased", Form::Weights, "BERT, 12 layers, 768 wide, with its tokenizer", &[]),
    entry("resnet-50", Form::Weights, "ResNet-50 trained on ImageNet", &[]),
    entry("colored-mnist", Form::Images, "digits in ten colours that agree with the digit for 99% in training", &[])
        .of(&["mnist"])
        .embedded(SUBSETS),
    entry("biased-mnist", Form::Images, "white digits on ten colours that agree with the digit for 99% in training", &[])
        .of(&["mnist"])
        .embedded(SUBSETS),
    entry(
        "two-colored-mnist",
        Form::Images,
        "digits below 5 or not, labels 25% wrong, in two colours that agree with the label for 80% and 90% in training, for 10% in test",
        &[],
    )
    .of(&["mnist"])
    .embedded(&[("train-80%", 6_000), ("train-90%", 6_000), ("test", 4_000)]),
    entry(
        "dominoes-fashion",
        Form::Images,
        "a digit above an article of clothing; class: the article, attribute: the digit, which agrees for 95% in training",
        &[],
    )
    .of(&["mnist", "fashion-mnist"])
    .embedded(&[("train", 2_000), ("balanced", 400), ("test", 800), ("core-only", 800)]),
    entry(
        "dominoes-cifar",
        Form::Images,
        "a digit above a photograph; class: the photograph, attribute: the digit, which agrees for 95% in training",
        &[],
    )
    .of(&["mnist", "cifar-10"]),
    entry(
        "clothing",
        Form::Images,
        "articles of clothing in the proportions of CelebA's groups; class: light or warm, attribute: for the body or the feet",
        &[],
    )
    .of(&["fashion-mnist"])
    .embedded(&[("train", 5_000), ("validation", 800), ("test", 1_600)]),
    entry("mixture", Form::Numbers, "the Gaussian mixture of the theory: priors 0.6, 0.3, 0.1, mean norm 1, noise 1", &[]).of(&["seed"]).embedded(&[("train", 10_000)]),
];

/// The data set of this name.
///
/// # Errors
/// [`DataError::Setting`] for an unknown name, with the nearest one there is.
pub fn entry_named(name: &str) -> Result<&'static Entry, DataError> {
    ENTRIES.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let names: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        let nearest = names.iter().min_by_key(|known| strsim::damerau_levenshtein(&name.to_lowercase(), known));
        let nearest = nearest.filter(|known| strsim::damerau_levenshtein(&name.to_lowercase(), known) <= 2.max(known.len() / 3));
        let guess = nearest.map(|nearest| format!("did you mean `{nearest}`? ")).unwrap_or_default();
        DataError::setting("data set", name, format!("there is none of this name\nhint: {guess}There are {}", names.join(", ")))
    })
}

/// A data set that was found and read, for whoever looks at it.
pub struct Opened<'h> {
    /// Where it comes from, as text: `embedded`, or `hub` with repository and commit.
    pub origin: String,
    /// The terms of the data.
    pub licence: String,
    /// What to cite.
    pub citation: String,
    /// Its files.
    pub files: Vec<FileFacts>,
    /// Its parts.
    pub splits: Vec<OpenedSplit<'h>>,
}

/// A file that a data set was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its name within the set.
    pub name: String,
    /// Where it is; none for a part of the program.
    pub path: Option<PathBuf>,
    /// Its size.
    pub bytes: u64,
    /// The name of a hash function, a colon, and the hash in hexadecimal.
    pub checksum: String,
}

/// One part of a data set.
#[derive(Default)]
pub struct OpenedSplit<'h> {
    /// Its name.
    pub name: String,
    /// The number of its rows.
    pub rows: usize,
    /// Names of the classes, in order; none for text without classes.
    pub class_names: Vec<String>,
    /// The class of each row; none for text without classes.
    pub labels: Vec<u32>,
    /// Class and attribute of each row.
    pub groups: Option<Groups>,
    /// The images, if it has images.
    pub images: Option<Box<dyn Examples + 'h>>,
    /// The first texts, if it has texts.
    pub texts: Vec<String>,
    /// The tokens of each tenth by frequency ([`TokenBins`](crate::TokenBins) of the training part), with the name of the bin; none where
    /// no tokenizer belongs to the set.
    pub token_bins: Vec<(String, u64)>,
    /// The published numbers of rows of the groups, for a complete set whose groups were counted by others.
    pub published_groups: Option<Vec<usize>>,
}

impl FileFacts {
    pub(crate) fn of(file: &isorate_hub::VerifiedFile) -> Self {
        let checksum = format!("sha256:{}", file.sha256);
        Self { name: file.name.clone(), path: Some(file.path.clone()), bytes: file.bytes, checksum }
    }
}

impl OpenedSplit<'_> {
    /// The number of rows of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        crate::images::count_classes(&self.labels, self.class_names.len())
    }
}
