//! A small repository on a local hub, and a cache in a temporary folder.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use isorate_hub::{Event, Hub, HubBuilder, HubError, Patience, Progress, Source, source};
use isorate_local_hub::{Commit, LocalHub, Repository};

pub const TRAIN: [&str; 2] = ["mnist/train-00000-of-00002.parquet", "mnist/train-00001-of-00002.parquet"];
pub const TEST: &str = "mnist/test-00000-of-00001.parquet";
/// A file that is not in large file storage.
pub const CARD: &str = "card.json";

/// Bytes that look like no text, different for each seed.
pub fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    [0].into_iter().chain(std::iter::repeat_with(next)).take(length).collect()
}

/// A repository in the schema of MNIST's file names, with shards and a small file.
pub fn commit() -> Commit {
    Commit::new()
        .file("README.md", "# Digits\n")
        .file(CARD, "{\"digits\": 10}\n")
        .file(TRAIN[0], noise(1, 300_000))
        .file(TRAIN[1], noise(2, 200_000))
        .file(TEST, noise(3, 100_000))
}

pub fn repository(commit: Commit) -> Repository {
    Repository::dataset("ylecun/mnist").commit(commit)
}

/// MNIST as the manifest has it, at another revision and with one more file; nothing is known beforehand.
pub fn digits(revision: &str) -> Source {
    let mut digits = source("mnist").expect("MNIST is in the manifest").clone();
    revision.clone_into(&mut digits.revision);
    digits.known.clear();
    digits.files.push(isorate_hub::FileRule { pattern: CARD.into(), split: "card".into() });
    digits
}

/// A local hub, a cache, and what is fetched.
pub struct Place {
    pub hub: LocalHub,
    pub folder: tempfile::TempDir,
    pub digits: Source,
}

impl Place {
    pub fn new() -> Self {
        Self::with(repository(commit()))
    }

    /// With a repository whose last commit is fetched.
    pub fn with(repository: Repository) -> Self {
        let revision = repository.head().expect("there is a commit").id();
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { hub: LocalHub::start(vec![repository]), folder, digits: digits(&revision) }
    }

    pub fn builder(&self) -> HubBuilder {
        Hub::builder().endpoint(self.hub.url()).cache_dir(self.cache()).offline(false).patience(hasty())
    }

    pub fn client(&self) -> Hub {
        self.builder().build().expect("the settings are good")
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    /// Where a file has its name.
    pub fn file(&self, path: &str) -> PathBuf {
        self.cache().join("datasets--ylecun--mnist/snapshots").join(&self.digits.revision).join(path)
    }

    /// A message without what differs from run to run.
    pub fn plain(&self, message: &str) -> String {
        let message = message.replace(&self.hub.url(), "HUB").replace(&self.folder.path().display().to_string(), "FOLDER");
        message.replace(&self.digits.revision, "COMMIT")
    }

    pub fn plain_error(&self, error: &HubError) -> String {
        self.plain(&error.to_string())
    }

    /// Every file of the cache but those of our own folder, links as `name -> target`, in order.
    pub fn shared_files(&self) -> Vec<String> {
        files(&self.cache()).into_iter().filter(|file| !file.starts_with(".isorate")).collect()
    }

    /// What was set aside.
    pub fn aside(&self) -> Vec<String> {
        files(&self.cache().join(".isorate/set-aside"))
    }

    /// What downloads have left.
    pub fn leftovers(&self) -> Vec<String> {
        files(&self.cache().join(".isorate/downloads"))
    }
}

/// Files below a folder, in order.
pub fn files(folder: &Path) -> Vec<String> {
    let (mut files, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        let Ok(entries) = fs_err::read_dir(&next) else { continue };
        for entry in entries {
            let entry = entry.expect("an entry can be read");
            let kind = entry.file_type().expect("an entry has a type");
            if kind.is_dir() {
                open.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(folder).expect("the walk starts there").display().to_string();
                match fs_err::read_link(entry.path()) {
                    Ok(target) => files.push(format!("{name} -> {}", target.display())),
                    Err(_) => files.push(name),
                }
            }
        }
    }
    files.sort();
    files
}

/// Waits that a test can bear.
pub fn hasty() -> Patience {
    Patience {
        retries: 2,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(5),
        connect: Duration::from_secs(5),
        silence: Duration::from_secs(2),
    }
}

/// Writes down what a fetch shows.
#[derive(Default)]
pub struct Seen(pub Mutex<Vec<String>>);

impl Seen {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no thread has failed").clone()
    }
}

impl Progress for Seen {
    fn see(&self, event: &Event<'_>) {
        let line = match event {
            // How often these come depends on the clock.
            Event::Checking { .. } | Event::Downloading { .. } => return,
            Event::Queued { source } => format!("{source}: another process"),
            Event::Begun { source, present, missing } => format!("{source}: {present} there, {missing} missing"),
            Event::Verified { file, downloaded: true, .. } => format!("{file}: downloaded"),
            Event::Verified { file, .. } => format!("{file}: verified"),
            Event::SetAside { file, expected, found, .. } => format!("{file}: expected {expected}, found {found}"),
            Event::Waiting { reason, .. } => format!("again: {reason}"),
            Event::Moved { branch, .. } => format!("{branch} has moved"),
        };
        self.0.lock().expect("no thread has failed").push(line);
    }
}
