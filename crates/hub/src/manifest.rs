//! What is fetched from the hub: the manifest that is compiled in, and its form.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::OnceLock;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

use crate::HubError;

/// The manifest of this version of the program.
const MANIFEST: &str = include_str!("../manifest.toml");

/// Kind of a repository of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepoKind {
    /// A data set.
    Dataset,
    /// Weights with their configuration and tokenizer.
    Model,
}

/// One repository of the hub, at one revision, with the files that are taken from it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name here, such as `cifar-10`.
    pub name: String,
    /// Data set or model.
    pub kind: RepoKind,
    /// The repository: `owner/name`.
    pub id: String,
    /// A commit (40 hexadecimal digits), or a branch whose commit is written down at the first fetch.
    pub revision: String,
    /// What it is, in one line.
    pub description: String,
    /// Which files belong to which split.
    pub files: Vec<FileRule>,
    /// Sizes and checksums that are known beforehand.
    #[serde(default)]
    pub known: Vec<KnownFile>,
    /// The terms it may be used under.
    pub licence: String,
    /// What to cite.
    pub citation: String,
    /// How to get access, where the hub gates it.
    #[serde(default)]
    pub access: Option<String>,
}

/// The files of a repository that belong to a split.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRule {
    /// A path in the repository in which `*` stands for any characters but `/`.
    pub pattern: String,
    /// `train`, `test`, …; `weights`, `config`, `tokenizer`, `vocabulary` for models.
    pub split: String,
}

/// What a file must be, from a source of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownFile {
    /// Path in the repository.
    pub path: String,
    /// Size in bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// SHA-256 of the content, in hexadecimal digits.
    #[serde(default)]
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    source: Vec<Source>,
}

impl Source {
    /// The repository's page on the hub.
    pub fn page(&self) -> String {
        match self.kind {
            RepoKind::Dataset => format!("https://huggingface.co/datasets/{}", self.id),
            RepoKind::Model => format!("https://huggingface.co/{}", self.id),
        }
    }

    /// Whether the revision is a commit, which never moves.
    pub fn is_pinned(&self) -> bool {
        is_hex(&self.revision, 40)
    }

    /// What is known of a file beforehand.
    pub fn known(&self, path: &str) -> Option<&KnownFile> {
        self.known.iter().find(|file| file.path == path)
    }

    /// The rule of the manifest that is broken, if any.
    fn check(&self) -> Result<(), String> {
        let blank =
            [("name", &self.name), ("description", &self.description), ("licence", &self.licence), ("citation", &self.citation)];
        for (key, value) in blank {
            if value.trim().is_empty() {
                return Err(format!("{key} is empty"));
            }
        }
        let part = |part: &str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                && !part.chars().all(|c| c == '.')
        };
        if self.id.split('/').count() != 2 || !self.id.split('/').all(part) {
            return Err(format!("id is {:?}, but must be \"owner/name\"", self.id));
        }
        if self.revision.is_empty() || self.revision.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("revision is {:?}, but must be a commit or a branch", self.revision));
        }
        if self.files.is_empty() {
            return Err("files is empty".into());
        }
        for rule in &self.files {
            matcher(&rule.pattern)?;
        }
        for file in &self.known {
            check_path(&file.path)?;
            let rules = self.files.iter().filter(|rule| matcher(&rule.pattern).is_ok_and(|m| m.is_match(&file.path))).count();
            if rules != 1 {
                return Err(format!("known file {:?} is matched by {rules} patterns instead of one", file.path));
            }
            if let Some(sha256) = &file.sha256
                && !is_hex(sha256, 64)
            {
                return Err(format!("sha256 of {:?} is {sha256:?}, but must be 64 lower-case hexadecimal digits", file.path));
            }
        }
        Ok(())
    }
}

/// The data sets and models that can be fetched, in the order of the manifest.
///
/// ```
/// let mnist = &isorate_hub::sources()[0];
/// assert_eq!((mnist.name.as_str(), mnist.id.as_str()), ("mnist", "ylecun/mnist"));
/// assert!(mnist.is_pinned());
/// ```
///
/// # Panics
/// Never: a test reads the manifest.
pub fn sources() -> &'static [Source] {
    static SOURCES: OnceLock<Vec<Source>> = OnceLock::new();
    SOURCES.get_or_init(|| parse("manifest.toml", MANIFEST).expect("the manifest is tested"))
}

/// The source of that name.
///
/// ```
/// let source = isorate_hub::source("cifar-10")?;
/// assert_eq!(source.files[0].split, "train");
///
/// let error = isorate_hub::source("cifar10").unwrap_err().to_string();
/// assert!(error.contains("hint: did you mean \"cifar-10\"?"), "{error}");
/// # Ok::<(), isorate_hub::HubError>(())
/// ```
///
/// # Errors
/// [`HubError::UnknownSource`] names those that there are, and the nearest.
pub fn source(name: &str) -> Result<&'static Source, HubError> {
    sources().iter().find(|source| source.name == name).ok_or_else(|| HubError::unknown_source(name))
}

/// Reads a manifest from a file of the same form as the one that is compiled in.
pub(crate) fn read(path: &Path) -> Result<Vec<Source>, HubError> {
    let name = path.display().to_string();
    let text = fs_err::read_to_string(path)?;
    parse(&name, &text)
}

fn parse(name: &str, text: &str) -> Result<Vec<Source>, HubError> {
    let broken = |reason: String| HubError::Manifest { name: name.to_owned(), reason };
    let document: Document = toml::from_str(text).map_err(|error| broken(error.to_string().trim_end().to_owned()))?;
    let mut names = BTreeSet::new();
    for source in &document.source {
        source.check().map_err(|reason| broken(format!("source {:?}: {reason}", source.name)))?;
        if !names.insert(&source.name) {
            return Err(broken(format!("source {:?} stands there twice", source.name)));
        }
    }
    Ok(document.source)
}

/// Compiles a pattern of a rule.
pub(crate) fn matcher(pattern: &str) -> Result<GlobMatcher, String> {
    check_path(pattern)?;
    if pattern.chars().any(|c| "?[]{}!".contains(c)) {
        return Err(format!("pattern {pattern:?}: only * is special in a pattern"));
    }
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    Ok(glob.map_err(|error| format!("pattern {pattern:?}: {error}"))?.compile_matcher())
}

/// A path of a repository becomes a path below a folder of the cache: it must not leave it.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let odd = |c: char| c.is_control() || c == '\\' || c == ':';
    if path.split('/').all(plain) && !path.chars().any(odd) {
        Ok(())
    } else {
        Err(format!("{path:?} is no plain path in a repository"))
    }
}

/// Whether a text is that many lower-case hexadecimal digits.
pub(crate) fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_manifest_that_is_compiled_in() {
        let mut table = String::new();
        for source in sources() {
            assert!(source.is_pinned(), "{} is not at a commit", source.name);
            let splits: Vec<&str> = source.files.iter().map(|rule| rule.split.as_str()).collect();
            let bytes: u64 = source.known.iter().filter_map(|file| file.size).sum();
            let sized = source.known.iter().filter(|file| file.size.is_some()).count();
            let hashed = source.known.iter().filter(|file| file.sha256.is_some()).count();
            writeln!(
                table,
                "{:<18} {:<31} {}  {}; {sized} sizes ({bytes} bytes), {hashed} checksums",
                source.name,
                source.id,
                &source.revision[..12],
                splits.join(" ")
            )
            .unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn broken_manifests_say_what_is_wrong() {
        let good = r#"
[[source]]
name = "digits"
kind = "dataset"
id = "someone/digits"
revision = "main"
description = "d"
licence = "MIT"
citation = "c"
files = [{ pattern = "data/train-*.parquet", split = "train" }]
known = [{ path = "data/train-0.parquet", size = 5 }]
"#;
        assert_eq!(parse("m.toml", good).unwrap()[0].known[0].size, Some(5));
        let cases = [
            ("kind = \"dataset\"", "kind = \"space\""),
            ("someone/digits", "digits"),
            ("someone/digits", "../digits"),
            ("\"main\"", "\"\""),
            ("licence = \"MIT\"", "licence = \" \""),
            ("data/train-*", "../train-*"),
            ("data/train-*", "data/train-[0-9]"),
            ("data/train-0.parquet", "data/test-0.parquet"),
            ("size = 5", "sha256 = \"AB\""),
            ("size = 5", "sise = 5"),
        ];
        let mut text = String::new();
        for (from, to) in cases {
            let error = parse("m.toml", &good.replace(from, to)).unwrap_err();
            write!(text, "{to}\n{error}\n\n").unwrap();
        }
        let error = parse("m.toml", &good.repeat(2)).unwrap_err();
        writeln!(text, "twice\n{error}").unwrap();
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_star_stays_within_a_folder() {
        let data = matcher("img_align+identity+attr/train-*.parquet").unwrap();
        assert!(data.is_match("img_align+identity+attr/train-00000-of-00019.parquet"));
        assert!(!data.is_match("img_align+identity+attr/train-a/b.parquet"));
        assert!(!data.is_match("img_align+identity+attr/test-00000-of-00003.parquet"));
    }
}
