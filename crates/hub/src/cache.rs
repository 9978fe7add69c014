//! Where files are kept: the layout that huggingface_hub has, so that its caches are shared, and a folder of our own in it.
//!
//! ```text
//! datasets--ylecun--mnist/blobs/<sha256, or git's id>           content
//! datasets--ylecun--mnist/snapshots/<commit>/<path> -> blobs    name
//! .isorate/lock.toml                                            what the files must be
//! .isorate/downloads/datasets--ylecun--mnist/                   what is not checked yet
//! .isorate/set-aside/                                           what was found to be wrong
//! .isorate/claims/datasets--ylecun--mnist                       locked by the process that fetches
//! ```
//!
//! A file gets its name in `snapshots` after it was checked, and is checked again before each use: other programs write there
//! as well, and disks fail.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::{HubError, RepoKind, Source};

/// A cache folder.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
}

/// The right to change what is kept of a repository. The system ends it with the process, however that ends.
pub(crate) struct Claim {
    _file: fs_err::File,
}

impl Cache {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    fn own(&self) -> PathBuf {
        self.folder.join(".isorate")
    }

    pub(crate) fn lock_file(&self) -> PathBuf {
        self.own().join("lock.toml")
    }

    /// The folder in which the repository's downloads arrive.
    pub(crate) fn downloads(&self, source: &Source) -> PathBuf {
        self.own().join("downloads").join(repository(source))
    }

    fn repository(&self, source: &Source) -> PathBuf {
        self.folder.join(repository(source))
    }

    /// Where a file of a commit has its name.
    pub(crate) fn snapshot(&self, source: &Source, commit: &str, path: &str) -> PathBuf {
        self.repository(source).join("snapshots").join(commit).join(path)
    }

    /// Waits for the right to change what is kept of a repository; `queued` is called when it has to wait.
    pub(crate) fn claim(&self, source: &Source, queued: &dyn Fn()) -> Result<Claim, HubError> {
        let folder = self.own().join("claims");
        fs_err::create_dir_all(&folder).map_err(|error| HubError::writing(&self.folder, error))?;
        let file =
            fs_err::File::create(folder.join(repository(source))).map_err(|error| HubError::writing(&self.folder, error))?;
        match file.file().try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                queued();
                file.file().lock()?;
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
        }
        Ok(Claim { _file: file })
    }

    /// Removes what an interrupted download has left. Only with the claim: another process's download looks the same.
    pub(crate) fn clean(&self, source: &Source, _: &Claim) -> Result<(), HubError> {
        match fs_err::remove_dir_all(self.downloads(source)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Bytes that can still be written, if the system says so.
    pub(crate) fn room(&self) -> Option<u64> {
        let there = self.folder.ancestors().find(|folder| folder.is_dir())?;
        let disk = rustix::fs::statvfs(there).ok()?;
        disk.f_bavail.checked_mul(disk.f_frsize)
    }

    /// Gives a checked download its name. The content comes first: the name never leads to nothing.
    pub(crate) fn install(
        &self,
        source: &Source,
        commit: &str,
        path: &str,
        download: &Path,
        blob: &str,
        _: &Claim,
    ) -> Result<PathBuf, HubError> {
        let name = self.snapshot(source, commit, path);
        self.place(source, download, blob, path, &name).map_err(|error| HubError::writing(&self.folder, error))?;
        Ok(name)
    }

    fn place(&self, source: &Source, download: &Path, blob: &str, path: &str, name: &Path) -> io::Result<()> {
        // A full disk may show only now; without this, a loss of power may leave the name with half of the content.
        fs_err::File::open(download)?.sync_all()?;
        let blobs = self.repository(source).join("blobs");
        fs_err::create_dir_all(&blobs)?;
        let folder = name.parent().unwrap_or(&self.folder);
        fs_err::create_dir_all(folder)?;
        fs_err::rename(download, blobs.join(blob))?;
        // From snapshots/<commit>/<folders of the path>.
        let up = "../".repeat(2 + path.matches('/').count());
        let link = tempfile::Builder::new()
            .prefix(".link-")
            .make_in(folder, |link| fs_err::os::unix::fs::symlink(format!("{up}blobs/{blob}"), link))?;
        // Replaces what had the name before, in one step.
        link.persist(name)?;
        Ok(())
    }

    /// Moves a file out of the way, so that nothing finds it, and says where it is now.
    pub(crate) fn set_aside(&self, source: &Source, path: &str, file: &Path, _: &Claim) -> Result<PathBuf, HubError> {
        let content = fs_err::canonicalize(file)?;
        let folder = self.own().join("set-aside");
        fs_err::create_dir_all(&folder).map_err(|error| HubError::writing(&self.folder, error))?;
        let label = format!("{}--{}", source.name, path.replace('/', "--"));
        let aside = match move_to(&content, &folder, &label) {
            // The repository's folder may be a link to another disk.
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                move_to(&content, content.parent().unwrap_or(&folder), &format!("set-aside--{label}"))?
            }
            aside => aside?,
        };
        if content != file {
            match fs_err::remove_file(file) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(aside)
    }
}

/// Moves a file to the first free name `label.N`.
fn move_to(file: &Path, folder: &Path, label: &str) -> io::Result<PathBuf> {
    for number in 1_u32.. {
        let aside = folder.join(format!("{label}.{number}"));
        // Takes the name, so that no other process does.
        match fs_err::File::create_new(&aside) {
            Ok(_) => {
                if let Err(error) = fs_err::rename(file, &aside) {
                    let _ = fs_err::remove_file(&aside);
                    return Err(error);
                }
                return Ok(aside);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no name is free"))
}

/// The name of a repository's folder.
fn repository(source: &Source) -> String {
    let kind = match source.kind {
        RepoKind::Dataset => "datasets",
        RepoKind::Model => "models",
    };
    format!("{kind}--{}", source.id.replace('/', "--"))
}
