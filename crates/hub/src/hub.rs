//! A hub with its cache: plan, fetch, use, set aside.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::cache::Cache;
use crate::check::{Check, bad, check};
use crate::client::Client;
use crate::files::{Fetched, FileState, Plan, PlannedFile, VerifiedFile};
use crate::listing::select;
use crate::lock_file::{Entry, LockFile, LockedFile};
use crate::settings::Checked;
use crate::{Event, HubBuilder, HubError, Progress, Source};

/// The Hugging Face hub, or another one that speaks its protocol, with a cache of verified files.
///
/// What is not said in code comes from the environment: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
/// `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` as in huggingface_hub; `ISORATE_HUB_RETRIES` says how often a failed request is
/// repeated, `ISORATE_HUB_MANIFEST` names a file of the form of `manifest.toml` whose entries replace those of the same name.
pub struct Hub {
    pub(crate) settings: Checked,
    pub(crate) cache: Cache,
    pub(crate) lock: LockFile,
    /// Sources that replace those of the same name.
    pub(crate) replaced: Vec<Source>,
    pub(crate) client: OnceLock<Client>,
}

impl Hub {
    /// The hub and the cache that the environment names.
    ///
    /// # Errors
    /// As [`HubBuilder::build`].
    pub fn from_env() -> Result<Self, HubError> {
        Self::builder().build()
    }

    /// A hub of which some things are said in code.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// The folder of the cache.
    pub fn cache_dir(&self) -> &Path {
        self.cache.folder()
    }

    /// The address of the hub.
    pub fn endpoint(&self) -> &str {
        &self.settings.endpoint
    }

    /// The lock file, in which is written what was found at the first fetch.
    pub fn lock_file(&self) -> &Path {
        self.lock.path()
    }

    /// The source as this hub takes it: replaced if a further manifest has one of that name.
    pub fn source<'a>(&'a self, source: &'a Source) -> &'a Source {
        self.replaced.iter().find(|other| other.name == source.name).unwrap_or(source)
    }

    /// What a fetch would take. It looks at names and sizes in the cache and asks the hub for its listing where the lock file
    /// does not have it; it changes nothing.
    ///
    /// # Errors
    /// Those of a fetch up to the first download.
    pub fn plan(&self, source: &Source, progress: &dyn Progress) -> Result<Plan, HubError> {
        let source = self.source(source);
        let (entry, _) = self.wanted(source, progress)?;
        Ok(self.as_plan(source, &entry))
    }

    /// What the cache holds of a source that was fetched at its revision, by the lock file, names and sizes; nothing if it never
    /// was. The network is not used.
    ///
    /// # Errors
    /// [`HubError::Lock`], [`HubError::Io`].
    pub fn held(&self, source: &Source) -> Result<Option<Plan>, HubError> {
        let source = self.source(source);
        Ok(self.known(source)?.map(|entry| self.as_plan(source, &entry)))
    }

    /// The files of a source from the cache, each read and checked; the network is not used.
    ///
    /// # Errors
    /// [`HubError::Missing`] if the source was not fetched; [`HubError::BadFile`] for a file that is not what it must be, which
    /// is set aside, or [`HubError::BadFileInTheWay`] where it cannot be; [`HubError::Lock`], [`HubError::Io`].
    pub fn cached(&self, source: &Source, progress: &dyn Progress) -> Result<Fetched, HubError> {
        let source = self.source(source);
        let folder = || self.cache.folder().to_owned();
        let Some(entry) = self.known(source)? else {
            let files = format!("never fetched at revision {}", source.revision);
            return Err(HubError::Missing { name: source.name.clone(), folder: folder(), files });
        };
        let present = entry.files.iter().map(|file| file.bytes).sum();
        progress.see(&Event::Begun { source: &source.name, present, missing: 0 });
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for file in &entry.files {
            let path = self.cache.snapshot(source, &entry.commit, &file.path);
            match check(source, file, &path, progress)? {
                Check::Good(good) => {
                    progress.see(&Event::Verified { file: &file.path, bytes: file.bytes, downloaded: false });
                    files.push(good);
                }
                Check::Missing => missing.push(file.path.as_str()),
                Check::Bad { expected, found } => match self.repaired_or_set_aside(source, file, &path, progress) {
                    Ok(Some(file)) => files.push(file),
                    Ok(None) => missing.push(file.path.as_str()),
                    Err(error @ HubError::BadFile { .. }) => return Err(error),
                    // A cache that may only be read: the file is not used, and what is wrong with it is said all the same.
                    Err(reason) => {
                        let difference = format!("expected {expected}, found {found}");
                        let (name, file, reason) = (source.name.clone(), file.path.clone(), Box::new(reason));
                        return Err(HubError::BadFileInTheWay { name, file, difference, path, reason });
                    }
                },
            }
        }
        if missing.is_empty() {
            Ok(Fetched { name: source.name.clone(), commit: entry.commit, files })
        } else {
            Err(HubError::Missing { name: source.name.clone(), folder: folder(), files: missing.join(", ") })
        }
    }

    /// A file that was found to be bad, looked at again when nobody else changes the cache: repaired by now, gone, or moved
    /// aside with [`HubError::BadFile`].
    fn repaired_or_set_aside(
        &self,
        source: &Source,
        file: &LockedFile,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<Option<VerifiedFile>, HubError> {
        let claim = self.cache.claim(source, &|| progress.see(&Event::Queued { source: &source.name }))?;
        match check(source, file, path, progress)? {
            Check::Good(file) => Ok(Some(file)),
            Check::Missing => Ok(None),
            Check::Bad { expected, found } => {
                let aside = self.cache.set_aside(source, &file.path, path, &claim)?;
                Err(bad(source, &file.path, expected, found, aside))
            }
        }
    }

    /// Sets a file aside that only its reader can see to be wrong: another schema, an image that cannot be decoded, a label
    /// out of range. Says where it is now; the next fetch takes the file again.
    ///
    /// The reader's own error stays the one to show; `expected` and `found` go into a note beside the file.
    ///
    /// # Errors
    /// [`HubError::Io`] if the file cannot be moved.
    pub fn set_aside(&self, file: &VerifiedFile, expected: &str, found: &str) -> Result<PathBuf, HubError> {
        let replaced = self.replaced.iter().find(|source| source.name == file.source);
        let source = replaced.map_or_else(|| crate::source(&file.source), Ok)?;
        let claim = self.cache.claim(source, &|| {})?;
        let aside = self.cache.set_aside(source, &file.name, &file.path, &claim)?;
        let mut note = aside.clone().into_os_string();
        note.push(".txt");
        let text = format!("{}: {}\nsha256 {}\nexpected {expected}\nfound {found}\n", file.source, file.name, file.sha256);
        fs_err::write(note, text)?;
        Ok(aside)
    }

    fn as_plan(&self, source: &Source, entry: &Entry) -> Plan {
        let files = entry.files.iter().map(|file| PlannedFile {
            path: file.path.clone(),
            split: file.split.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            state: self.state(source, &entry.commit, file),
        });
        Plan { name: source.name.clone(), commit: entry.commit.clone(), files: files.collect() }
    }

    pub(crate) fn client(&self) -> Result<&Client, HubError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(&self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// What the lock file knows of a source, if that is what the manifest asks for.
    fn known(&self, source: &Source) -> Result<Option<Entry>, HubError> {
        let entry = self.lock.entry(source)?.filter(|entry| patterns(source).eq(entry.patterns.iter().cloned()));
        let Some(mut entry) = entry else { return Ok(None) };
        for file in &mut entry.files {
            let wrong = |what: &str| HubError::Lock {
                path: self.lock.path().to_owned(),
                reason: format!("{}: {}: its {what} is not that of the manifest", source.name, file.path),
                how: "remove the source's entry from this file and fetch it again",
            };
            let known = source.known(&file.path);
            if known.and_then(|known| known.size).is_some_and(|size| size != file.bytes) {
                return Err(wrong("size"));
            }
            match (known.and_then(|known| known.sha256.as_ref()), &file.sha256) {
                (Some(manifest), Some(locked)) if manifest != locked => return Err(wrong("sha256")),
                (Some(manifest), None) => file.sha256 = Some(manifest.clone()),
                _ => {}
            }
        }
        Ok(Some(entry))
    }

    /// The files to take and whether the lock file does not have them yet: from the lock file, else from the hub's listing.
    pub(crate) fn wanted(&self, source: &Source, progress: &dyn Progress) -> Result<(Entry, bool), HubError> {
        if let Some(entry) = self.known(source)? {
            if !source.is_pinned() && !self.settings.offline {
                let now = self.client()?.commit_of(source, progress)?;
                if now != entry.commit {
                    let (branch, locked) = (source.revision.as_str(), entry.commit.as_str());
                    progress.see(&Event::Moved { source: &source.name, branch, locked, now: &now });
                }
            }
            return Ok((entry, false));
        }
        if self.settings.offline {
            return Err(HubError::Offline { name: source.name.clone(), what: "its listing is not in the lock file".into() });
        }
        let client = self.client()?;
        // A manifest that takes other files than before keeps the commit, and what was found of the files.
        let before = self.lock.entry(source)?;
        let commit = match &before {
            _ if source.is_pinned() => source.revision.clone(),
            Some(before) => before.commit.clone(),
            None => client.commit_of(source, progress)?,
        };
        let mut files = select(source, &commit, &client.list(source, &commit, progress)?)?;
        for file in &mut files {
            let known = before.as_ref().and_then(|before| before.files.iter().find(|other| other.path == file.path));
            let Some(known) = known else { continue };
            if known.oid != file.oid {
                return Err(HubError::Lock {
                    path: self.lock.path().to_owned(),
                    reason: format!("{}: {}: the hub lists another content at the same commit", source.name, file.path),
                    how: "a commit cannot change: look at HF_ENDPOINT",
                });
            }
            file.sha256 = file.sha256.take().or_else(|| known.sha256.clone());
        }
        let patterns = patterns(source).collect();
        let (name, id, revision) = (source.name.clone(), source.id.clone(), source.revision.clone());
        Ok((Entry { name, id, revision, commit, patterns, files }, true))
    }

    pub(crate) fn state(&self, source: &Source, commit: &str, file: &LockedFile) -> FileState {
        match self.cache.snapshot(source, commit, &file.path).metadata() {
            Ok(found) if found.is_file() && found.len() == file.bytes => FileState::Present,
            Ok(found) if found.is_file() => FileState::WrongSize(found.len()),
            _ => FileState::Missing,
        }
    }
}

/// What chooses the files of a source, as the lock file has it.
fn patterns(source: &Source) -> impl Iterator<Item = String> {
    source.files.iter().map(|rule| format!("{} {}", rule.split, rule.pattern))
}
