//! Image sets from the cache of the hub.

use std::path::PathBuf;

use isorate_hub::{Fetched, Hub, Progress, VerifiedFile};

use crate::image_set::{IMAGE_SETS, ImageSet};
use crate::{DataError, Examples, Groups, Memory, ShardedImages};

/// One split of an image set of the hub, read from verified files of the cache.
///
/// Size and checksum of a file say that it is the file that was published, not that it can be read. What only its reader can notice, a wrong
/// schema, an undecodable image, a label out of range, sets the file aside in the cache, so that the next fetch takes it again;
/// the error ([`DataError::SetAside`]) says so.
pub struct HubImages<'h> {
    hub: &'h Hub,
    fetched: Fetched,
    images: ShardedImages,
}

impl<'h> HubImages<'h> {
    /// Opens a split of the image set called `name` in the hub's manifest ([`IMAGE_SETS`] lists them). The network is not used.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a name or split that is not there, [`DataError::Hub`] when the set was not fetched or its files are not
    /// what they must be, [`DataError::SetAside`] for what [`ShardedImages::open`] finds wrong in them.
    pub fn open(hub: &'h Hub, name: &str, split: &str, memory: Memory, progress: &dyn Progress) -> Result<Self, DataError> {
        image_set(name)?;
        Self::of(hub, hub.cached(isorate_hub::source(name)?, progress)?, split, memory)
    }

    /// [`Self::open`] of a set whose files were just verified: for several splits each file is read once.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of(hub: &'h Hub, fetched: Fetched, split: &str, memory: Memory) -> Result<Self, DataError> {
        let (name, set) = (&fetched.name, image_set(&fetched.name)?);
        let paths: Vec<PathBuf> = fetched.of(split).map(|file| file.path.clone()).collect();
        if paths.is_empty() {
            let mut splits: Vec<&str> = fetched.files.iter().map(|file| file.split.as_str()).collect();
            splits.dedup();
            return Err(DataError::setting("split", split, format!("{name} has {}", splits.join(", "))));
        }
        match ShardedImages::open(set, &paths, memory) {
            Ok(images) => Ok(Self { hub, fetched, images }),
            Err(error) => Err(set_aside(hub, &fetched, error)),
        }
    }

    /// The commit that the files are of.
    pub fn commit(&self) -> &str {
        &self.fetched.commit
    }

    /// The images, whose errors leave the files where they are.
    pub fn images(&self) -> &ShardedImages {
        &self.images
    }

    /// [`ShardedImages::to_images`], where an error sets its file aside.
    ///
    /// # Errors
    /// As [`Examples::read`].
    pub fn to_images(&self) -> Result<crate::Images, DataError> {
        self.images.to_images().map_err(|error| set_aside(self.hub, &self.fetched, error))
    }
}

impl Examples for HubImages<'_> {
    fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn classes(&self) -> usize {
        self.images.classes()
    }

    fn labels(&self) -> &[u32] {
        self.images.labels()
    }

    fn groups(&self) -> Option<&Groups> {
        self.images.groups()
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        self.images.read(rows, out).map_err(|error| set_aside(self.hub, &self.fetched, error))
    }
}

fn image_set(name: &str) -> Result<&'static ImageSet, DataError> {
    ImageSet::named(name).ok_or_else(|| {
        let names: Vec<&str> = IMAGE_SETS.iter().map(|set| set.name).collect();
        DataError::setting("image set", name, format!("there are {}", names.join(", ")))
    })
}

/// Sets the file aside that an error blames, and says so. An error that blames none of the files comes back as it is.
pub fn set_aside(hub: &Hub, fetched: &Fetched, error: DataError) -> DataError {
    let Some(mismatch) = error.mismatch() else { return error };
    let blamed = |file: &&VerifiedFile| file.path.display().to_string() == mismatch.file;
    let Some(file) = fetched.files.iter().find(blamed) else { return error };
    match hub.set_aside(file, &mismatch.expected, &mismatch.found) {
        Ok(aside) => DataError::SetAside { set: file.source.clone(), error: Box::new(error), aside },
        Err(hub_error) => DataError::NotSetAside { error: Box::new(error), hub_error: Box::new(hub_error) },
    }
}
