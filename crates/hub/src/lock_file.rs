//! The lock file: what was found at the first fetch, and is enforced from then on.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Storage, pointer_oid};
use crate::manifest::{check_path, is_hex};
use crate::{HubError, Source};

/// The form of the file that this version reads and writes.
const VERSION: u32 = 1;
const RESTORE: &str = "move this file away and fetch again: what is in the cache stays, and is checked against the hub's listing";

/// What is known of one repository at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) id: String,
    /// As the manifest has it: a commit or a branch.
    pub(crate) revision: String,
    /// The commit that the revision was at the first fetch.
    pub(crate) commit: String,
    /// The patterns that chose the files.
    pub(crate) patterns: Vec<String>,
    #[serde(rename = "file")]
    pub(crate) files: Vec<LockedFile>,
}

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedFile {
    pub(crate) path: String,
    pub(crate) split: String,
    pub(crate) bytes: u64,
    /// Whether git holds a pointer to the file instead of the file.
    pub(crate) lfs: bool,
    /// Git's object id, as the listing gave it.
    pub(crate) oid: String,
    /// Known from the manifest, or from the first fetch, whose bytes agreed with the object id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

impl LockedFile {
    pub(crate) fn storage(&self) -> Storage {
        if self.lfs { Storage::Lfs } else { Storage::Git }
    }

    /// The name of the file's content in the cache, which is what the hub sends as its ETag.
    pub(crate) fn blob(&self, sha256: &str) -> String {
        if self.lfs { sha256.to_owned() } else { self.oid.clone() }
    }
}

impl Entry {
    fn is_of(&self, source: &Source) -> bool {
        self.id == source.id && self.name == source.name && self.revision == source.revision
    }

    /// The rule that an entry breaks, if any: a lock file can be edited.
    fn check(&self) -> Result<(), String> {
        if !is_hex(&self.commit, 40) {
            return Err(format!("commit is {:?}, but must be 40 hexadecimal digits", self.commit));
        }
        for file in &self.files {
            check_path(&file.path)?;
            if !is_hex(&file.oid, 40) || file.sha256.as_ref().is_some_and(|sha256| !is_hex(sha256, 64)) {
                return Err(format!("{}: oid must be 40 and sha256 64 hexadecimal digits", file.path));
            }
            if let (true, Some(sha256)) = (file.lfs, &file.sha256)
                && pointer_oid(sha256, file.bytes) != file.oid
            {
                return Err(format!("{}: bytes and sha256 do not agree with oid", file.path));
            }
        }
        Ok(())
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    #[serde(default, rename = "source")]
    entries: Vec<Entry>,
}

/// The lock file of a cache.
#[derive(Debug)]
pub(crate) struct LockFile {
    path: PathBuf,
}

impl LockFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of a source at its revision.
    pub(crate) fn entry(&self, source: &Source) -> Result<Option<Entry>, HubError> {
        Ok(self.read()?.entries.into_iter().find(|entry| entry.is_of(source)))
    }

    /// Replaces what is known of a source. Two processes that do so at once come one after the other.
    pub(crate) fn put(&self, entry: Entry) -> Result<(), HubError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(folder).map_err(|error| HubError::writing(folder, error))?;
        let guard = fs_err::File::create(self.path.with_extension("guard")).map_err(|error| HubError::writing(folder, error))?;
        guard.file().lock()?;
        let mut document = self.read()?;
        document.entries.retain(|other| !(other.id == entry.id && other.name == entry.name && other.revision == entry.revision));
        document.entries.push(entry);
        document.entries.sort_by(|a, b| (&a.name, &a.id, &a.revision).cmp(&(&b.name, &b.id, &b.revision)));
        document.version = VERSION;
        let text = toml::to_string(&document).map_err(|error| self.broken(error.to_string()))?;
        self.write(folder, &text).map_err(|error| HubError::writing(folder, error))
    }

    /// Writes the file whole or not at all.
    fn write(&self, folder: &Path, text: &str) -> std::io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(".lock-").tempfile_in(folder)?;
        file.write_all(b"# What the files of the hub must be; written by isorate.\n")?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn read(&self) -> Result<Document, HubError> {
        let text = match fs_err::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Document::default()),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(self.broken("not UTF-8".into())),
            Err(error) => return Err(error.into()),
        };
        let document: Document = toml::from_str(&text).map_err(|error| self.broken(error.to_string().trim_end().to_owned()))?;
        if document.version != VERSION {
            return Err(self.broken(format!("its version is {}, and this program knows {VERSION}", document.version)));
        }
        for entry in &document.entries {
            entry.check().map_err(|reason| self.broken(format!("source {:?}: {reason}", entry.name)))?;
        }
        Ok(document)
    }

    fn broken(&self, reason: String) -> HubError {
        HubError::Lock { path: self.path.clone(), reason, how: RESTORE }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

    use std::fmt::Write as _;

    use super::*;

    fn entry(name: &str) -> Entry {
        let sha256 = "ab".repeat(32);
        Entry {
            name: name.into(),
            id: format!("someone/{name}"),
            revision: "main".into(),
            commit: "0123456789".repeat(4),
            patterns: vec!["data/*.parquet".into()],
            files: vec![LockedFile {
                path: "data/a.parquet".into(),
                split: "train".into(),
                bytes: 12,
                lfs: true,
                oid: pointer_oid(&sha256, 12),
                sha256: Some(sha256),
            }],
        }
    }

    fn source(name: &str) -> Source {
        let mut source = crate::sources()[0].clone();
        source.name = name.into();
        source.id = format!("someone/{name}");
        source.revision = "main".into();
        source
    }

    #[test]
    fn entries_are_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path().join("state/lock.toml"));
        assert_eq!(lock.entry(&source("b")).unwrap(), None);
        lock.put(entry("b")).unwrap();
        lock.put(entry("a")).unwrap();
        let mut changed = entry("b");
        changed.commit = "f".repeat(40);
        lock.put(changed.clone()).unwrap();
        assert_eq!(lock.entry(&source("b")).unwrap(), Some(changed));
        assert_eq!(lock.entry(&source("a")).unwrap(), Some(entry("a")));
        insta::assert_snapshot!(fs_err::read_to_string(lock.path()).unwrap());
    }

    #[test]
    fn many_writers_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path().join("lock.toml"));
        std::thread::scope(|scope| {
            for index in 0..8 {
                let lock = LockFile::new(lock.path().to_owned());
                scope.spawn(move || lock.put(entry(&format!("s{index}"))).unwrap());
            }
        });
        for index in 0..8 {
            assert!(lock.entry(&source(&format!("s{index}"))).unwrap().is_some(), "s{index}");
        }
    }

    #[test]
    fn a_lock_file_that_was_edited_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let lock = LockFile::new(folder.path().join("lock.toml"));
        lock.put(entry("a")).unwrap();
        let good = fs_err::read_to_string(lock.path()).unwrap();
        let mut text = String::new();
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("bytes = 12", "bytes = 13"),
            ("data/a.parquet", "../a.parquet"),
            ("commit = \"01", "commit = \"x"),
            ("lfs = true", "lfs = maybe"),
        ] {
            fs_err::write(lock.path(), good.replace(from, to)).unwrap();
            let error = lock.entry(&source("a")).unwrap_err().to_string();
            write!(text, "{to}\n{}\n\n", error.replace(&folder.path().display().to_string(), "FOLDER")).unwrap();
        }
        insta::assert_snapshot!(text);
    }
}
