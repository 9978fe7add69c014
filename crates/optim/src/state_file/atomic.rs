//! Files that appear whole or not at all.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::StateFileProblem;

/// Writes a file by `write`: into a new file in the same folder, which is flushed to the disk and then renamed over
/// `path`. After an error the file that was at `path` is still there and nothing new is; a process that is killed may
/// leave a file `.partial-…` behind.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), StateFileProblem>,
) -> Result<(), StateFileProblem> {
    match std::fs::symlink_metadata(path) {
        Ok(kind) if !(kind.is_file() || kind.is_symlink()) => return Err(StateFileProblem::NotAFile),
        _ => {}
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    #[cfg(unix)]
    {
        // Temporary files are private by default; this one gets what the user's umask gives to new files.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(StateFileProblem::Write)?;
    let mut out = BufWriter::with_capacity(1 << 16, file.as_file_mut());
    write(&mut out)?;
    out.flush().map_err(StateFileProblem::Write)?;
    drop(out);
    file.as_file().sync_all().map_err(StateFileProblem::Write)?;
    file.persist(path).map_err(|error| StateFileProblem::Write(error.error))?;
    // The new name, too, should survive a power failure. The file is complete either way, and some systems cannot do it.
    #[cfg(unix)]
    let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full after some bytes.
    struct Full<'a> {
        out: &'a mut dyn Write,
        left: usize,
    }

    impl Write for Full<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let count = bytes.len().min(self.left);
            if count == 0 && !bytes.is_empty() {
                return Err(std::io::Error::from(std::io::ErrorKind::StorageFull));
            }
            self.left -= count;
            self.out.write(&bytes[..count])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.out.flush()
        }
    }

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_disk_that_fills_up_at_any_byte_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        replace(&path, |out| out.write_all(b"old").map_err(StateFileProblem::Write)).unwrap();
        for left in 0..10 {
            let problem = replace(&path, |out| Full { out, left }.write_all(b"0123456789").map_err(StateFileProblem::Write));
            assert!(matches!(problem, Err(StateFileProblem::Write(_))), "{left}");
            assert_eq!(std::fs::read(&path).unwrap(), b"old");
            assert_eq!(entries(folder.path()), 1);
        }
        replace(&path, |out| Full { out, left: 10 }.write_all(b"0123456789").map_err(StateFileProblem::Write)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"0123456789");
        assert_eq!(entries(folder.path()), 1);
    }

    #[test]
    fn only_files_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        assert!(matches!(replace(&inner, |_| Ok(())), Err(StateFileProblem::NotAFile)));
        assert!(inner.is_dir());
        #[cfg(unix)]
        assert!(matches!(replace(Path::new("/dev/null"), |_| Ok(())), Err(StateFileProblem::NotAFile)));
        assert!(matches!(replace(&folder.path().join("no/such/folder"), |_| Ok(())), Err(StateFileProblem::Write(_))));
        assert_eq!(entries(folder.path()), 1);
    }
}
