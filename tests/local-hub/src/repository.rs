//! What a repository holds: commits, their files, names that point at commits, and who may read it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::sha1;

/// Models and data sets live under different addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `/api/models/…` and `/<id>/resolve/…`.
    Model,
    /// `/api/datasets/…` and `/datasets/<id>/resolve/…`.
    Dataset,
}

impl Kind {
    /// The segment of the interface's addresses: `models` or `datasets`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }

    /// What stands before the id in the address of a file or page: nothing or `datasets/`.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Model => "",
            Self::Dataset => "datasets/",
        }
    }
}

/// One file of a commit.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub bytes: Vec<u8>,
    /// Kept in git's large file storage: listed by its SHA-256 and served from another address.
    pub lfs: bool,
    pub sha256: String,
}

impl File {
    /// The text that git itself stores for a large file.
    fn pointer(&self) -> String {
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n", self.sha256, self.bytes.len())
    }

    pub fn pointer_size(&self) -> usize {
        self.pointer().len()
    }

    /// Name of the object in git: of the pointer for a large file, of the content otherwise.
    pub fn git_oid(&self) -> String {
        let pointer = self.pointer();
        let content = if self.lfs { pointer.as_bytes() } else { &self.bytes };
        sha1::hex(&[format!("blob {}\0", content.len()).as_bytes(), content].concat())
    }

    /// Stands for the content hash of the hub's chunked storage: 64 digits that are *not* the SHA-256, as there.
    pub fn storage_hash(&self) -> String {
        sha256(&[b"chunks of ", &self.bytes[..]].concat())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
}

/// A state of a repository: the complete set of its files.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    id: Option<String>,
    pub(crate) files: BTreeMap<String, File>,
}

impl Commit {
    /// A commit without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same commit with this name instead of one derived from its files; pinned revisions need it.
    ///
    /// # Panics
    /// Unless the name is 40 lower-case hexadecimal digits.
    #[must_use]
    pub fn named(mut self, id: &str) -> Self {
        assert!(is_commit_id(id), "a commit is named by 40 hexadecimal digits, not {id:?}");
        self.id = Some(id.to_owned());
        self
    }

    /// With a file at `path`, in large file storage if its extension says so (parquet, safetensors, bin, images, archives).
    #[must_use]
    pub fn file(self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let extension = path.rsplit('.').next().unwrap_or_default();
        let lfs = ["parquet", "safetensors", "bin", "png", "jpg", "gz", "zip", "h5", "msgpack", "ot"].contains(&extension);
        self.stored(path, bytes.into(), lfs)
    }

    /// With a file at `path` in large file storage, whatever its extension.
    #[must_use]
    pub fn large_file(self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.stored(path, bytes.into(), true)
    }

    fn stored(mut self, path: &str, bytes: Vec<u8>, lfs: bool) -> Self {
        let sha256 = sha256(&bytes);
        self.files.insert(path.to_owned(), File { bytes, lfs, sha256 });
        self
    }

    /// Without the file at `path`.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        self.files.remove(path);
        self
    }

    /// Name of the commit: the one given, or one that its paths and contents decide.
    pub fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| {
            let tree: Vec<String> = self.files.iter().map(|(path, file)| format!("{} {path}\n", file.sha256)).collect();
            sha1::hex(format!("commit\n{}", tree.concat()).as_bytes())
        })
    }

    /// The bytes of the file at `path`.
    pub fn bytes(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|file| &file.bytes[..])
    }

    /// Paths of all files, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// SHA-256 of the file at `path`, in hexadecimal digits.
    pub fn sha256(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|file| &file.sha256[..])
    }
}

pub(crate) fn is_commit_id(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A repository with its history. `main` is the last commit; other names are given by [`tag`](Self::tag).
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) commits: Vec<Commit>,
    pub(crate) tags: BTreeMap<String, String>,
    /// `Some`: only these tokens may read the files.
    pub(crate) readers: Option<Vec<String>>,
    pub(crate) chunked: bool,
}

impl Repository {
    /// An empty repository of a data set, such as `ylecun/mnist`.
    pub fn dataset(id: &str) -> Self {
        Self::new(Kind::Dataset, id)
    }

    /// An empty repository of a model, such as `google-bert/bert-base-uncased`.
    pub fn model(id: &str) -> Self {
        Self::new(Kind::Model, id)
    }

    /// An empty repository.
    pub fn new(kind: Kind, id: &str) -> Self {
        Self { kind, id: id.to_owned(), commits: Vec::new(), tags: BTreeMap::new(), readers: None, chunked: false }
    }

    /// With one more commit, to which `main` moves.
    #[must_use]
    pub fn commit(mut self, commit: Commit) -> Self {
        self.commits.push(commit);
        self
    }

    /// With a name for the last commit so far.
    ///
    /// # Panics
    /// If there is no commit yet.
    #[must_use]
    pub fn tag(mut self, name: &str) -> Self {
        let commit = self.head().expect("a tag names a commit, so the commit comes first").id();
        self.tags.insert(name.to_owned(), commit);
        self
    }

    /// Readable only with one of these tokens; its listing stays public, as on the hub.
    #[must_use]
    pub fn gated(mut self, tokens: &[&str]) -> Self {
        self.readers = Some(tokens.iter().map(|&token| token.to_owned()).collect());
        self
    }

    /// Announces the hub's chunked storage (`X-Xet-Hash`, `xetHash`) for its large files, as almost every repository of
    /// the hub does now. The storage itself is not served: the files come by plain HTTP, which the hub offers beside it.
    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The commit that `main` names.
    pub fn head(&self) -> Option<&Commit> {
        self.commits.last()
    }

    /// The repository's id: `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The commit that a revision (a commit's name, `main` or a tag) names.
    pub(crate) fn revision(&self, revision: &str) -> Option<&Commit> {
        if revision == "main" {
            return self.head();
        }
        let id = self.tags.get(revision).map_or(revision, String::as_str);
        self.commits.iter().rev().find(|commit| commit.id() == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_and_large_file_storage_name_a_file_as_the_real_ones_do() {
        let commit = Commit::new().file("a.txt", "hello\n").file("a.parquet", "hello\n");
        // printf 'hello\n' | git hash-object --stdin, and | sha256sum
        assert_eq!(commit.files["a.txt"].git_oid(), "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(commit.sha256("a.parquet"), Some("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"));
        let large = &commit.files["a.parquet"];
        assert!(large.lfs && !commit.files["a.txt"].lfs);
        assert_eq!(large.pointer_size(), 126);
        // The pointer's text through git hash-object --stdin.
        assert_eq!(large.git_oid(), "fa61e1ef71c9908c0926776a4aa3504b3a27f159");
        assert_ne!(large.storage_hash(), large.sha256);
    }

    #[test]
    fn main_moves_and_names_stay() {
        let first = Commit::new().file("a.txt", "1");
        let second = first.clone().file("a.txt", "2");
        let repository = Repository::dataset("o/n").commit(first.clone()).tag("v1").commit(second.clone());
        assert_eq!(repository.revision("main").unwrap().id(), second.id());
        assert_eq!(repository.revision("v1").unwrap().id(), first.id());
        assert_eq!(repository.revision(&first.id()).unwrap().bytes("a.txt"), Some(&b"1"[..]));
        assert!(repository.revision("v2").is_none());
        assert!(is_commit_id(&first.id()) && first.id() != second.id());
        let pinned = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(first.named(pinned).id(), pinned);
    }
}
