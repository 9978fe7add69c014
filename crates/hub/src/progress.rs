//! What a caller can see of a fetch while it goes on.

use std::path::Path;
use std::time::Duration;

/// Something that happened in a fetch.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Another process fetches the same repository; this one waits for it.
    Queued {
        /// Name of the source.
        source: &'a str,
    },
    /// The files are known, and what has to be done: bytes to read and check, bytes to download (and check).
    Begun {
        /// Name of the source.
        source: &'a str,
        /// Bytes that are in the cache and are checked.
        present: u64,
        /// Bytes that are downloaded.
        missing: u64,
    },
    /// A file of the cache is being read and checked.
    Checking {
        /// Path in the repository.
        file: &'a str,
        /// Bytes read so far.
        done: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// A file is being downloaded; comes at least ten times a second.
    Downloading {
        /// Path in the repository.
        file: &'a str,
        /// Bytes that have arrived.
        done: u64,
        /// Bytes of the file.
        bytes: u64,
    },
    /// A file is in the cache, and is what it must be.
    Verified {
        /// Path in the repository.
        file: &'a str,
        /// Bytes of the file.
        bytes: u64,
        /// Whether it was downloaded just now.
        downloaded: bool,
    },
    /// A file of the cache is not what it must be; it is set aside and downloaded again.
    SetAside {
        /// Path in the repository.
        file: &'a str,
        /// What it must be.
        expected: &'a str,
        /// What it was.
        found: &'a str,
        /// Where it is now.
        aside: &'a Path,
    },
    /// An attempt failed; the next one comes after a wait.
    Waiting {
        /// What was asked for.
        url: &'a str,
        /// What went wrong.
        reason: &'a str,
        /// How long it waits.
        wait: Duration,
    },
    /// The branch has moved since the first fetch; the commit of the first fetch is taken.
    Moved {
        /// Name of the source.
        source: &'a str,
        /// The branch.
        branch: &'a str,
        /// The commit that is taken.
        locked: &'a str,
        /// The commit that the branch has now.
        now: &'a str,
    },
}

/// Sees a fetch go on. It is called from several threads, never from within the client's own runtime, where a call that
/// blocks would be a deadlock.
pub trait Progress: Sync {
    /// Something happened.
    fn see(&self, event: &Event<'_>);
}

/// Sees nothing.
impl Progress for () {
    fn see(&self, _: &Event<'_>) {}
}
