//! What a fetch would do, and what it gives.

use std::path::PathBuf;

/// What a fetch of a source takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Name of the source.
    pub name: String,
    /// The commit whose files these are.
    pub commit: String,
    /// The files, in the order of their paths.
    pub files: Vec<PlannedFile>,
}

/// One file of a [`Plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    /// Path in the repository.
    pub path: String,
    /// Split it belongs to.
    pub split: String,
    /// Size in bytes that it must have.
    pub bytes: u64,
    /// SHA-256 that it must have; unknown before the first fetch of a file that no manifest knows.
    pub sha256: Option<String>,
    /// What the cache holds of it.
    pub state: FileState,
}

/// What the cache holds of a file, as far as can be told without reading it: a fetch reads and checks every byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Nothing.
    Missing,
    /// A file of the right size.
    Present,
    /// A file of another size, which a fetch sets aside.
    WrongSize(u64),
}

impl Plan {
    /// Bytes that have to be downloaded.
    pub fn to_download(&self) -> u64 {
        self.files.iter().filter(|file| file.state != FileState::Present).map(|file| file.bytes).sum()
    }

    /// Bytes that are there.
    pub fn present(&self) -> u64 {
        self.files.iter().filter(|file| file.state == FileState::Present).map(|file| file.bytes).sum()
    }
}

/// The files of a source, each read and found to be what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Name of the source.
    pub name: String,
    /// The commit whose files these are.
    pub commit: String,
    /// The files, in the order of their paths.
    pub files: Vec<VerifiedFile>,
}

/// A file whose size and SHA-256 were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Name of the source it belongs to.
    pub source: String,
    /// Split it belongs to.
    pub split: String,
    /// Path in the repository.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}

impl Fetched {
    /// The files of a split, in the order of their paths: shards in the order of their numbers.
    pub fn of(&self, split: &str) -> impl Iterator<Item = &VerifiedFile> {
        self.files.iter().filter(move |file| file.split == split)
    }
}
