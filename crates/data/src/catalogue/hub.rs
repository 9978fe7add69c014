//! Sets that only the hub has.

use super::open::{domino_parts, examples};
use super::{Entry, FileFacts, OpenOptions, Opened, OpenedSplit};
use crate::{DataError, DominoClasses, Examples, ImageSet, ImageSource, Images, Split};

pub(super) fn open(entry: &Entry, options: &OpenOptions) -> Result<Opened, DataError> {
    todo!("{} {:?}", entry.name, options)
}
