//! Files of the hub that this crate reads, and what becomes of one that cannot be read.

use std::path::PathBuf;

use isorate_hub::{Fetched, Hub, VerifiedFile, source};

use crate::{DataError, Examples, Groups, ImageSet, Images, Memory, ShardedImages};

/// The verified files of a source that was fetched before, in the cache that the environment names.
///
/// # Errors
/// [`DataError::Hub`] when it was not fetched, or a file is not what was recorded.
pub(crate) fn cached(name: &str) -> Result<(Hub, Fetched), DataError> {
    let hub = Hub::from_env()?;
    let fetched = hub.cached(source(name)?, &())?;
    Ok((hub, fetched))
}

/// Repository and commit.
pub(crate) fn label(hub: &Hub, fetched: &Fetched) -> Result<String, DataError> {
    Ok(format!("hub {}@{}", hub.source(source(&fetched.name)?).id, fetched.commit))
}

/// Reads files of the hub. Of a file whose content cannot be used, although it has the recorded checksum, the error says so, and
/// it is set aside.
pub(crate) fn reading<T>(
    hub: &Hub,
    files: &[VerifiedFile],
    read: impl FnOnce(&[PathBuf]) -> Result<T, DataError>,
) -> Result<T, DataError> {
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    read(&paths).map_err(|error| set_aside(hub, files, error))
}

fn set_aside(hub: &Hub, files: &[VerifiedFile], error: DataError) -> DataError {
    let Some(mismatch) = error.mismatch() else { return error };
    let Some(file) = files.iter().find(|file| file.path.display().to_string() == mismatch.file) else { return error };
    match hub.set_aside(file, &mismatch.expected, &mismatch.found) {
        Ok(aside) => DataError::SetAside { name: file.source.clone(), aside, reason: Box::new(error) },
        Err(refused) => refused.into(),
    }
}

/// An image set from the cache of the hub: [`ShardedImages`] whose files are verified before they are opened. A file in which a row turns
/// out to be unusable later, when its image is decoded, is set aside all the same.
pub struct HubImages {
    images: ShardedImages,
    hub: Hub,
    files: Vec<VerifiedFile>,
}

/// Opens one split of an image set that was fetched, in the cache of `hub`. Nothing is downloaded.
///
/// # Errors
/// [`DataError::Setting`] for a name that is no image set, or a split that it does not have; [`DataError::Hub`] when it was not fetched or
/// a file is not what was recorded; [`DataError::SetAside`] when the content of a file cannot be used.
pub fn open_images(hub: Hub, name: &str, split: &str, memory: Memory) -> Result<HubImages, DataError> {
    let set =
        ImageSet::named(name).ok_or_else(|| DataError::setting("image set", name, "the hub has no image set of this name"))?;
    let fetched = hub.cached(source(name)?, &())?;
    let files: Vec<VerifiedFile> = fetched.of(split).cloned().collect();
    if files.is_empty() {
        return Err(DataError::setting("split", split, format!("{name} has {}", splits(&fetched).join(", "))));
    }
    let images = reading(&hub, &files, |paths| ShardedImages::open(set, paths, memory))?;
    Ok(HubImages { images, hub, files })
}

/// The splits of a source, in the order of its files' paths.
pub(crate) fn splits(fetched: &Fetched) -> Vec<&str> {
    let mut splits: Vec<&str> = Vec::new();
    for file in &fetched.files {
        if !splits.contains(&file.split.as_str()) {
            splits.push(&file.split);
        }
    }
    splits
}

impl HubImages {
    /// The images as they are read from the files.
    pub fn images(&self) -> &ShardedImages {
        &self.images
    }

    /// All images decoded: for a set that fits into memory.
    ///
    /// # Errors
    /// As [`Examples::read`].
    pub fn to_images(&self) -> Result<Images, DataError> {
        self.images.to_images().map_err(|error| set_aside(&self.hub, &self.files, error))
    }
}

impl Examples for HubImages {
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
        self.images.read(rows, out).map_err(|error| set_aside(&self.hub, &self.files, error))
    }
}
