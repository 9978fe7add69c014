//! Real data compiled into the program, in the hub's schema.

use crate::image_set::{CLOTHES, DIGITS};
use crate::{DataError, Images, Table, TableOptions, read_csv, read_parquet};

/// Which of the two parts a data set comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The part to train and tune on.
    Train,
    /// The part to evaluate on, never to choose anything on.
    Test,
}

impl Split {
    /// Both, in order.
    pub const ALL: [Self; 2] = [Self::Train, Self::Test];

    /// The name as in the hub's file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// A data set whose parquet files are part of the program. It needs no network and no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedDataset {
    /// Short name, as on the command line.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// Where the data come from and how the embedded part was chosen.
    pub origin: &'static str,
    /// The terms of the data (not of this program).
    pub licence: &'static str,
    /// What to cite.
    pub citation: &'static str,
    /// What each label stands for; its length is the number of classes.
    pub class_names: &'static [&'static str],
    files: [&'static [u8]; 2],
}

impl EmbeddedDataset {
    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.class_names.len()
    }

    /// The images of one part, by the same reader as files on disk.
    ///
    /// # Errors
    /// As [`read_parquet`]; the tests of this crate load every embedded file.
    pub fn load(&self, split: Split) -> Result<Images, DataError> {
        let name = format!("embedded {} ({})", self.name, split.name());
        read_parquet(self.bytes(split), &name, self.classes())
    }

    /// The parquet file of one part.
    pub fn bytes(&self, split: Split) -> &'static [u8] {
        self.files[split as usize]
    }

    /// BLAKE3 of [`Self::bytes`] in hexadecimal: what a run records as the revision of its data.
    pub fn checksum(&self, split: Split) -> String {
        blake3::hash(self.bytes(split)).to_hex().to_string()
    }
}

/// MNIST handwritten digits, 28×28 grey: 12,000 training and 4,000 test images, a seeded random subset stratified by class, drawn
/// from all 60,000 + 10,000.
///
/// Not the first ones: the first half of the MNIST test set (digits written by employees of the Census Bureau) is cleaner and easier than
/// the second half (by students), so the first 4,000 would flatter every method.
/// `assets/mnist/README.md` has the terms, the hashes and the command that makes the files again.
///
/// ```
/// use isorate_data::{Split, mnist};
/// let test = mnist().load(Split::Test)?;
/// assert_eq!(test.class_counts().iter().sum::<usize>(), 4_000);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn mnist() -> &'static EmbeddedDataset {
    &MNIST
}

/// Fashion-MNIST articles of clothing, 28×28 grey: 12,000 training and 4,000 test images, a seeded random subset stratified by class,
/// drawn from all 60,000 + 10,000 as [`mnist`]'s is. `assets/fashion-mnist/README.md` has the terms and the command that makes the
/// files again.
///
/// ```
/// use isorate_data::{Split, fashion_mnist};
/// assert_eq!(fashion_mnist().load(Split::Test)?.class_counts(), [400; 10]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn fashion_mnist() -> &'static EmbeddedDataset {
    &FASHION_MNIST
}

static FASHION_MNIST: EmbeddedDataset = EmbeddedDataset {
    name: "fashion-mnist",
    description: "Fashion-MNIST articles of clothing, 28×28 grey, 12,000 + 4,000 images",
    origin: "seeded random subset of the complete Fashion-MNIST (60,000 + 10,000), stratified by class, from the original IDX files",
    licence: "MIT, © 2017 Zalando SE",
    citation: "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, \
               arXiv 1708.07747, 2017",
    class_names: &CLOTHES,
    files: [
        include_bytes!("../assets/fashion-mnist/train-00000-of-00001.parquet"),
        include_bytes!("../assets/fashion-mnist/test-00000-of-00001.parquet"),
    ],
};

/// The table of the red wines: see [`wine_quality`].
static WINE_QUALITY: &[u8] = include_bytes!("../assets/wine-quality/winequality-red.csv");

/// Red wine quality (P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis, 2009): 1,599 red *vinho verde* wines, 11 physicochemical
/// measurements, and the grade 3 to 8 that experts gave, as the class. 10, 53, 681, 638, 199 and 18 wines: the rarest grade is 68 times
/// rarer than the most frequent one. `assets/wine-quality/README.md` has source and terms.
///
/// # Errors
/// As [`read_csv`](crate::read_csv); the tests of this crate read it.
///
/// ```
/// let wines = isorate_data::wine_quality()?;
/// assert_eq!((wines.len(), wines.dim()), (1_599, 11));
/// assert_eq!(wines.class_counts(), [10, 53, 681, 638, 199, 18]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn wine_quality() -> Result<Table, DataError> {
    read_csv(WINE_QUALITY, "embedded wine-quality", &TableOptions { label: "quality", ignore: &[] })
}

/// The size of the file of [`wine_quality`].
pub(crate) fn wine_quality_bytes() -> u64 {
    WINE_QUALITY.len() as u64
}

/// BLAKE3 of the file of [`wine_quality`], in hexadecimal.
pub fn wine_quality_checksum() -> String {
    blake3::hash(WINE_QUALITY).to_hex().to_string()
}

static MNIST: EmbeddedDataset = EmbeddedDataset {
    name: "mnist",
    description: "MNIST handwritten digits, 28×28 grey, 12,000 + 4,000 images",
    origin: "seeded random subset of the complete MNIST (60,000 + 10,000), stratified by class, from the original IDX files",
    licence: "CC BY-SA 3.0, as usually cited for MNIST",
    citation: "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998",
    class_names: &DIGITS,
    files: [
        include_bytes!("../assets/mnist/train-00000-of-00001.parquet"),
        include_bytes!("../assets/mnist/test-00000-of-00001.parquet"),
    ],
};
