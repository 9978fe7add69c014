//! Real data compiled into the program, in the hub's schema.

use crate::{DataError, Images, read_parquet};

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

static MNIST: EmbeddedDataset = EmbeddedDataset {
    name: "mnist",
    description: "MNIST handwritten digits, 28×28 grey, 12,000 + 4,000 images",
    origin: "seeded random subset of the complete MNIST (60,000 + 10,000), stratified by class, from the original IDX files",
    licence: "CC BY-SA 3.0, as usually cited for MNIST",
    citation: "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998",
    class_names: &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    files: [
        include_bytes!("../assets/mnist/train-00000-of-00001.parquet"),
        include_bytes!("../assets/mnist/test-00000-of-00001.parquet"),
    ],
};
