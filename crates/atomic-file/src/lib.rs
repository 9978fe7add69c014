//! Files that appear whole or not at all.
//!
//! ```
//! use std::io::Write as _;
//!
//! use isorate_atomic_file::AtomicFile;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("numbers.txt");
//! let mut file = AtomicFile::create(&path)?;
//! file.write_all(b"1 2 3")?;
//! assert!(!path.exists());
//! file.commit()?;
//! assert_eq!(std::fs::read(&path)?, b"1 2 3");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{Result, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Names of files that are still being written begin so. A process that is killed may leave one behind.
pub const PARTIAL_PREFIX: &str = ".partial-";

/// A new file in the folder of its path, which [`commit`](Self::commit) puts there. Dropped before, it is removed, and what
/// was at the path is unchanged.
///
/// Nothing is buffered.
#[derive(Debug)]
pub struct AtomicFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl AtomicFile {
    /// A file that will stand at `path`, in a folder that exists.
    ///
    /// # Errors
    /// When no file can be made in the folder.
    pub fn create(path: &Path) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PARTIAL_PREFIX);
        #[cfg(unix)]
        {
            // Temporary files are private by default; this one gets what the user's umask gives to new files.
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        Ok(Self { file: builder.tempfile_in(folder_of(path))?, path: path.to_owned() })
    }

    /// Where the file is until it is committed, for what writes to a path.
    pub fn partial_path(&self) -> &Path {
        self.file.path()
    }

    /// Flushes the file to the disk and renames it over its path.
    ///
    /// # Errors
    /// When the disk is full, say, or a folder is at the path.
    pub fn commit(self) -> Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path)?;
        // The new name, too, should survive a power failure. The file is complete either way, and some systems cannot do it.
        #[cfg(unix)]
        let _ = std::fs::File::open(folder_of(&self.path)).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

    use super::*;

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn the_old_file_is_there_until_the_new_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for (content, commit) in [("old", true), ("lost", false), ("new", true)] {
            let before = std::fs::read(&path).ok();
            let mut file = AtomicFile::create(&path).unwrap();
            assert!(file.partial_path().file_name().unwrap().to_str().unwrap().starts_with(PARTIAL_PREFIX));
            file.write_all(content.as_bytes()).unwrap();
            assert_eq!(std::fs::read(&path).ok(), before);
            if commit {
                file.commit().unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), content.as_bytes());
            } else {
                drop(file);
                assert_eq!(std::fs::read(&path).ok(), before);
            }
            assert_eq!(entries(folder.path()), 1);
        }
    }

    #[test]
    fn where_no_file_can_be_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(AtomicFile::create(&inner).unwrap().commit().is_err());
        assert!(inner.is_dir());
        assert!(AtomicFile::create(&folder.path().join("no/such/folder")).is_err());
        assert_eq!(entries(folder.path()), 1);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it_as_far_as_the_umask_says() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        AtomicFile::create(&one).unwrap().commit().unwrap();
        std::fs::write(&two, "").unwrap();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(one), mode(two));
    }
}
