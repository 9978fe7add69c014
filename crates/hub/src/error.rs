//! The one error of this crate.

use std::path::{Path, PathBuf};

/// What can be wrong with a name, a setting, the hub's answer or a file of the cache. Each message names what it is about, the
/// value found and the rule it breaks; what to do stands on a line of its own. No message holds a token.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No source of that name.
    #[error("no source is called {name:?}; there are {known}{hint}")]
    UnknownSource {
        /// The name asked for.
        name: String,
        /// The names that there are.
        known: String,
        /// The nearest name as a hint, or nothing.
        hint: String,
    },
    /// A manifest that breaks a rule.
    #[error("{name}: {reason}")]
    Manifest {
        /// The file.
        name: String,
        /// The rule broken, with the value.
        reason: String,
    },
    /// An environment variable or an option that cannot be used.
    #[error("{name} {problem}")]
    Setting {
        /// The variable or option.
        name: &'static str,
        /// What it is and what it must be.
        problem: String,
    },
    /// A file or folder of the cache cannot be read or written; the message holds the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// There is no room for a download; the cache is as it was.
    #[error("{}: no room: {reason}\nhint: free some space, or set HF_HOME to a folder on a larger disk; what is there stays", folder.display())]
    NoRoom {
        /// The folder of the cache.
        folder: PathBuf,
        /// How much is needed and free, or what the system says.
        reason: String,
    },
    /// The network is needed and switched off.
    #[error("{name}: {what}, and HF_HUB_OFFLINE is set\nhint: unset it for this fetch: HF_HUB_OFFLINE=0 isorate fetch {name}")]
    Offline {
        /// The source.
        name: String,
        /// What the network is needed for.
        what: String,
    },
    /// Files of a source are not in the cache.
    #[error("{name}: not in {}: {files}\nhint: fetch it with `isorate fetch {name}`", folder.display())]
    Missing {
        /// The source.
        name: String,
        /// The cache.
        folder: PathBuf,
        /// The files, or what is known of them.
        files: String,
    },
    /// The hub refuses access: the set is gated, private, or the token is wrong.
    #[error("{name}: the hub refuses access to {url} ({status}){said}\nhint: {how}")]
    Access {
        /// The source.
        name: String,
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// What the hub says about it, or nothing.
        said: String,
        /// How to get access.
        how: String,
    },
    /// The hub has no such repository, revision or file.
    #[error("{name}: the hub does not have {url} (404){said}\nhint: {how}")]
    NotFound {
        /// The source.
        name: String,
        /// What was asked for.
        url: String,
        /// What the hub says about it, or nothing.
        said: String,
        /// What may be the matter.
        how: String,
    },
    /// The hub cannot be reached, breaks off or fails, after all attempts.
    #[error("{name}: {url}: {reason}, {attempts}\nhint: {how}")]
    Network {
        /// The source.
        name: String,
        /// What was asked for.
        url: String,
        /// What went wrong at last.
        reason: String,
        /// How often it was tried.
        attempts: String,
        /// What to do.
        how: &'static str,
    },
    /// The repository's listing is not what the manifest needs.
    #[error("{name}: {id} at {revision}: {reason}\nhint: {how}")]
    Listing {
        /// The source.
        name: String,
        /// The repository.
        id: String,
        /// The revision that was listed.
        revision: String,
        /// What is missing or contradicts.
        reason: String,
        /// What to do.
        how: &'static str,
    },
    /// A file is not what it must be; it has been set aside.
    #[error(
        "{name}: {file}: expected {expected}, found {found}\nhint: the file was set aside as {}; `isorate fetch {name}` takes it again",
        aside.display()
    )]
    BadFile {
        /// The source.
        name: String,
        /// Its path in the repository.
        file: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
        /// Where it is now.
        aside: PathBuf,
    },
    /// A file is not what it must be, and could not be moved out of the way.
    #[error(
        "{name}: {file}: {difference}\nhint: remove {} and fetch {name} again; it could not be set aside: {reason}",
        path.display()
    )]
    BadFileInTheWay {
        /// The source.
        name: String,
        /// Its path in the repository.
        file: String,
        /// What it must be, and what it is.
        difference: String,
        /// Where it is.
        path: PathBuf,
        /// Why it is still there.
        reason: Box<HubError>,
    },
    /// The lock file cannot be used.
    #[error("{}: {reason}\nhint: {how}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        how: &'static str,
    },
}

impl HubError {
    /// No source of that name; the nearest one is proposed if it is near.
    pub(crate) fn unknown_source(name: &str) -> Self {
        let names = || crate::sources().iter().map(|source| source.name.as_str());
        let nearest = names().map(|known| (strsim::damerau_levenshtein(&name.to_lowercase(), known), known)).min();
        let hint = match nearest {
            Some((distance, known)) if distance <= 3.min(known.len() / 2) => format!("\nhint: did you mean {known:?}?"),
            _ => String::new(),
        };
        Self::UnknownSource { name: name.to_owned(), known: names().collect::<Vec<_>>().join(", "), hint }
    }

    /// A failed write: no room is told from other failures, since there the user can do something.
    pub(crate) fn writing(folder: &Path, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::NoRoom { folder: folder.to_owned(), reason: error.to_string() },
            _ => Self::Io(error),
        }
    }
}
