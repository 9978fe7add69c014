//! Files of the hub that this crate reads.

use isorate_hub::{Fetched, Hub, VerifiedFile, source};

use crate::{DataError, FileFacts, Images, open_images};

/// The verified files of a source that was fetched before; the cache is where the environment says.
pub(crate) fn cached(name: &str) -> Result<Fetched, DataError> {
    Ok(Hub::from_env()?.cached(source(name)?)?)
}

/// Repository and commit.
pub(crate) fn label(fetched: &Fetched) -> Result<String, DataError> {
    Ok(format!("hub {}@{}", source(&fetched.name)?.id, fetched.commit))
}

impl FileFacts {
    pub(crate) fn of(file: &VerifiedFile) -> Self {
        Self {
            name: file.name.clone(),
            path: Some(file.path.clone()),
            bytes: file.bytes,
            checksum: format!("sha256:{}", file.sha256),
        }
    }
}

/// All images of a split, in memory.
pub(crate) fn images(name: &str, split: &str) -> Result<Images, DataError> {
    open_images(&Hub::from_env()?, name, split)?.to_images()
}
