//! Every source of the hub's manifest as a small repository in its real schema: the file names, the columns with their types, the
//! splits and the number of shards are those of the hub, the content is made of what the program has in it.

mod images;
mod models;
mod text;

use std::path::{Path, PathBuf};

use isorate_hub::{RepoKind, source};
use isorate_local_hub::{Commit, LocalHub, Repository};
use polars::prelude::{Column, DataFrame, ParquetCompression, ParquetWriter};

pub use self::images::{digits, digits_file};

/// A small stand-in for a source of the manifest.
#[derive(Clone, Debug)]
pub struct SmallSource {
    /// The name in the manifest.
    pub name: &'static str,
    /// Its files.
    pub commit: Commit,
    /// What was put in; empty for weights.
    pub splits: Vec<SmallSplit>,
}

/// What was put into a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallSplit {
    /// The name in the manifest.
    pub name: &'static str,
    /// Rows of each class, or, in a set with an attribute, of each group `y · n_attributes + a`; for text, the number of rows alone.
    pub rows: Vec<usize>,
}

/// All ten sources.
///
/// # Panics
/// Never, unless an encoder of images or parquet is broken.
pub fn small_sources() -> Vec<SmallSource> {
    let images = [images::mnist(), images::fashion_mnist(), images::cifar_10(), images::cifar_100(), images::celeba()];
    let rest = [images::waterbirds(), text::multi_nli(), text::tiny_stories(), models::bert(), models::resnet()];
    images.into_iter().chain(rest).collect()
}

/// A source of the manifest with this state of its files.
///
/// # Panics
/// The manifest has no such source.
pub fn repository(name: &str, commit: Commit) -> Repository {
    let source = source(name).expect("a source of the manifest");
    match source.kind {
        RepoKind::Dataset => Repository::dataset(&source.id),
        RepoKind::Model => Repository::model(&source.id),
    }
    .commit(commit)
}

/// The entries of the manifest with these names, at other revisions; what the manifest knows of the real files is left out.
///
/// # Panics
/// The manifest has no such source.
pub fn manifest(revisions: &[(&str, &str)]) -> String {
    let text = include_str!("../../../crates/hub/manifest.toml");
    let mut manifest: toml::Table = toml::from_str(text).expect("the manifest is TOML");
    let entries = manifest.get_mut("source").and_then(toml::Value::as_array_mut).expect("the manifest has sources");
    entries.retain_mut(|entry| {
        let entry = entry.as_table_mut().expect("a source is a table");
        let name = entry.get("name").and_then(toml::Value::as_str).expect("a source has a name").to_owned();
        let Some((_, revision)) = revisions.iter().find(|(other, _)| *other == name) else { return false };
        entry.remove("known");
        entry.insert("revision".into(), (*revision).into());
        true
    });
    assert_eq!(entries.len(), revisions.len(), "the manifest has these sources: {revisions:?}");
    toml::to_string(&manifest).expect("what was TOML is TOML")
}

/// A hub on this machine, and a folder in which the binary finds it and keeps its cache.
pub struct SmallHub {
    /// The hub.
    pub hub: LocalHub,
    folder: tempfile::TempDir,
}

impl SmallHub {
    /// A hub with one repository, whose manifest pins `revision` (a commit or a branch).
    ///
    /// # Panics
    /// The system gives no port or no folder.
    pub fn new(name: &str, repository: Repository, revision: &str) -> Self {
        Self::start(vec![repository], &[(name, revision)])
    }

    /// A hub with those of the small sources that have these names.
    ///
    /// # Panics
    /// The system gives no port or no folder, or there is no such source.
    pub fn with(names: &[&str]) -> Self {
        let small: Vec<SmallSource> = small_sources().into_iter().filter(|small| names.contains(&small.name)).collect();
        let revisions: Vec<(&str, String)> = small.iter().map(|small| (small.name, small.commit.id())).collect();
        let revisions: Vec<(&str, &str)> = revisions.iter().map(|(name, revision)| (*name, revision.as_str())).collect();
        Self::start(small.iter().map(|small| repository(small.name, small.commit.clone())).collect(), &revisions)
    }

    fn start(repositories: Vec<Repository>, revisions: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let this = Self { hub: LocalHub::start(repositories), folder };
        this.write_manifest(revisions);
        this
    }

    /// Writes the manifest anew.
    ///
    /// # Panics
    /// The file system refuses.
    pub fn pin(&self, name: &str, revision: &str) {
        self.write_manifest(&[(name, revision)]);
    }

    fn write_manifest(&self, revisions: &[(&str, &str)]) {
        std::fs::write(self.path().join("manifest.toml"), manifest(revisions)).expect("a writable folder");
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The cache of the hub's files.
    pub fn cache(&self) -> PathBuf {
        self.path().join("hf/hub")
    }

    /// What the binary finds in its environment.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("HF_ENDPOINT", self.hub.url()),
            ("HF_HOME", self.path().join("hf").display().to_string()),
            ("ISORATE_HUB_MANIFEST", self.path().join("manifest.toml").display().to_string()),
            ("ISORATE_HUB_RETRIES", "0".into()),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "3".into()),
            ("NO_PROXY", "127.0.0.1".into()),
            ("RUST_BACKTRACE", "0".into()),
            ("COLUMNS", "140".into()),
        ]
    }

    /// The binary with these arguments, in the folder, with the local hub in its environment and nothing else of a hub.
    pub fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(crate::binary());
        for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.path()).envs(self.environment());
        command
    }
}

/// A parquet file of these columns, one row group for every `rows` rows.
fn parquet(columns: Vec<Column>, rows: usize) -> Vec<u8> {
    let mut table = DataFrame::new(columns[0].len(), columns).expect("columns of one length");
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Snappy)
        .with_row_group_size(Some(rows))
        .finish(&mut table)
        .expect("a table that parquet can hold");
    bytes
}
