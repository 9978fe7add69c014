//! Texts from the cache of the hub, streamed.

use isorate_hub::{Fetched, Hub, Progress};

use crate::shards::Shard;
use crate::text::WANTED;
use crate::{DataError, Documents, set_aside};

/// One split of a text set of the hub (column `text`, as in TinyStories), read from verified files of the cache a page at a time: no more than one page
/// of texts is in memory.
///
/// A file that cannot be read is set aside, as in [`HubImages`](crate::HubImages).
pub struct HubTexts<'h> {
    hub: &'h Hub,
    fetched: Fetched,
    split: String,
    rows: usize,
}

impl<'h> HubTexts<'h> {
    /// Opens a split of the text set called `name`; counts its rows from the footers. The network is not used.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a split that is not there, [`DataError::Hub`] when the set was not fetched or its files are not what they
    /// must be, [`DataError::SetAside`] for a file in another schema.
    pub fn open(hub: &'h Hub, name: &str, split: &str, progress: &dyn Progress) -> Result<Self, DataError> {
        Self::of(hub, hub.cached(isorate_hub::source(name)?, progress)?, split)
    }

    /// [`Self::open`] of a set whose files were just verified: for several splits each file is read once.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(hub: &'h Hub, fetched: Fetched, split: &str) -> Result<Self, DataError> {
        if fetched.of(split).next().is_none() {
            let mut splits: Vec<&str> = fetched.files.iter().map(|file| file.split.as_str()).collect();
            splits.dedup();
            return Err(DataError::setting("split", split, format!("{} has {}", fetched.name, splits.join(", "))));
        }
        let mut rows = 0;
        for file in fetched.of(split) {
            let shard = Shard::open(&file.path, &WANTED).map_err(|error| set_aside(hub, &fetched, error))?;
            rows += shard.rows();
        }
        Ok(Self { hub, fetched, split: split.to_owned(), rows })
    }

    /// The number of texts.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Every text, in order. After an error it ends.
    ///
    /// # Errors
    /// [`DataError::SetAside`] for a file that is damaged or has a row without a text.
    pub fn iter(&self) -> impl Iterator<Item = Result<String, DataError>> + Send + '_ {
        let paths = self.fetched.of(&self.split).map(|file| file.path.clone());
        Documents::of(paths.collect(), self.rows).map(|text| text.map_err(|error| set_aside(self.hub, &self.fetched, error)))
    }

    /// The first texts.
    ///
    /// # Errors
    /// As [`Self::iter`].
    pub fn first(&self, count: usize) -> Result<Vec<String>, DataError> {
        self.iter().take(count).collect()
    }
}
