//! A hub with its cache: plan, fetch, use, set aside.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::cache::{Cache, Claim};
use crate::client::Client;
use crate::digest::measure;
use crate::files::{Fetched, FileState, Plan, PlannedFile, VerifiedFile};
use crate::listing::select;
use crate::lock_file::{Entry, LockFile, LockedFile};
use crate::settings::{Checked, Patience, Settings};
use crate::{Event, HubError, Progress, Source, manifest};

/// The Hugging Face hub, or another one that speaks its protocol, with a cache of verified files.
///
/// What is not said in code comes from the environment: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`,
/// `HF_HUB_OFFLINE`, `HF_HUB_DOWNLOAD_TIMEOUT` as in huggingface_hub; `ISORATE_HUB_RETRIES` says how often a failed request is
/// repeated, `ISORATE_HUB_MANIFEST` names a file of the form of `manifest.toml` whose entries replace those of the same name.
pub struct Hub {
    settings: Checked,
    cache: Cache,
    lock: LockFile,
    /// Sources that replace those of the same name.
    replaced: Vec<Source>,
    client: OnceLock<Client>,
}

/// Makes a [`Hub`].
#[derive(Clone, Default)]
pub struct HubBuilder(Settings);

impl HubBuilder {
    /// The hub's address, instead of `HF_ENDPOINT`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.0.endpoint = Some(endpoint.into());
        self
    }

    /// The folder of the cache, instead of `HF_HUB_CACHE` or `hub` in `HF_HOME`.
    #[must_use]
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.0.cache = Some(folder.into());
        self
    }

    /// The token, instead of `HF_TOKEN`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.0.token = Some(token.into());
        self
    }

    /// Whether the network must not be used, instead of `HF_HUB_OFFLINE`.
    #[must_use]
    pub fn offline(mut self, offline: bool) -> Self {
        self.0.offline = Some(offline);
        self
    }

    /// A further manifest, instead of `ISORATE_HUB_MANIFEST`.
    #[must_use]
    pub fn manifest(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.manifest = Some(file.into());
        self
    }

    /// How long to wait and how often to try.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.0.patience = Some(patience);
        self
    }

    /// Checks the settings and makes the hub; nothing is asked of it yet.
    ///
    /// # Errors
    /// [`HubError::Setting`], [`HubError::Manifest`].
    pub fn build(self) -> Result<Hub, HubError> {
        let settings = self.0.check(&|name| std::env::var(name).ok())?;
        let replaced = match &settings.manifest {
            Some(file) => manifest::read(file)?,
            None => Vec::new(),
        };
        let cache = Cache::new(settings.cache.clone());
        let lock = LockFile::new(cache.lock_file());
        Ok(Hub { settings, cache, lock, replaced, client: OnceLock::new() })
    }
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
        let files = entry.files.iter().map(|file| PlannedFile {
            path: file.path.clone(),
            split: file.split.clone(),
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            state: self.state(source, &entry.commit, file),
        });
        Ok(Plan { name: source.name.clone(), commit: entry.commit.clone(), files: files.collect() })
    }

    /// Whether every file of a source is in the cache with the size it must have, as far as can be told without reading them and
    /// without the network.
    ///
    /// # Errors
    /// [`HubError::Lock`], [`HubError::Io`].
    pub fn is_fetched(&self, source: &Source) -> Result<bool, HubError> {
        let source = self.source(source);
        let Some(entry) = self.known(source)? else { return Ok(false) };
        Ok(entry.files.iter().all(|file| self.state(source, &entry.commit, file) == FileState::Present))
    }

    /// Takes a source: what the cache has is read and checked, a file that is wrong is set aside, what is missing is
    /// downloaded, checked, and only then given its name. Two fetches at once come one after the other.
    ///
    /// # Errors
    /// [`HubError::Offline`], [`HubError::Access`], [`HubError::NotFound`], [`HubError::Network`], [`HubError::Listing`],
    /// [`HubError::NoRoom`], [`HubError::BadFile`], [`HubError::Lock`], [`HubError::Io`]. What was checked before stays.
    pub fn fetch(&self, source: &Source, progress: &dyn Progress) -> Result<Fetched, HubError> {
        let source = self.source(source);
        if self.settings.offline {
            return self.offline(source, progress);
        }
        let claim = self.cache.claim(source, &|| progress.see(&Event::Queued { source: &source.name }))?;
        self.cache.clean(source, &claim)?;
        let (mut entry, is_new) = self.wanted(source, progress)?;
        if is_new {
            self.lock.put(entry.clone())?;
        }
        let present = |file: &&LockedFile| self.state(source, &entry.commit, file) == FileState::Present;
        let there: u64 = entry.files.iter().filter(present).map(|file| file.bytes).sum();
        let all: u64 = entry.files.iter().map(|file| file.bytes).sum();
        progress.see(&Event::Begun { source: &source.name, present: there, missing: all - there });

        // What is there is checked first, so that the room that is needed is known before a download begins.
        let mut found: Vec<Option<VerifiedFile>> = Vec::new();
        for file in &entry.files {
            let path = self.cache.snapshot(source, &entry.commit, &file.path);
            found.push(match self.check(source, file, &path, progress)? {
                Check::Good(file) => Some(file),
                Check::Missing => None,
                Check::Bad { expected, found } => {
                    let aside = self.cache.set_aside(source, &file.path, &path, &claim)?;
                    progress.see(&Event::SetAside { file: &file.path, expected: &expected, found: &found, aside: &aside });
                    None
                }
            });
        }
        let missing = entry.files.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(file, _)| file.bytes).sum();
        self.check_room(missing)?;

        for index in 0..entry.files.len() {
            if found[index].is_none() {
                let file = self.take(source, &entry.commit, &entry.files[index], &claim, progress)?;
                self.remember(&mut entry, index, &file)?;
                found[index] = Some(file);
            } else if let Some(file) = &found[index] {
                self.remember(&mut entry, index, file)?;
            }
        }
        self.cache.clean(source, &claim)?;
        Ok(Fetched { name: source.name.clone(), commit: entry.commit, files: found.into_iter().flatten().collect() })
    }

    /// The files of a source from the cache, each read and checked; the network is not used.
    ///
    /// # Errors
    /// [`HubError::Missing`] if the source was not fetched; [`HubError::BadFile`] for a file that is not what it must be, which
    /// is set aside; [`HubError::Lock`], [`HubError::Io`].
    pub fn cached(&self, source: &Source, progress: &dyn Progress) -> Result<Fetched, HubError> {
        let source = self.source(source);
        let folder = || self.cache.folder().to_owned();
        let Some(entry) = self.known(source)? else {
            let files = format!("never fetched at revision {}", source.revision);
            return Err(HubError::Missing { name: source.name.clone(), folder: folder(), files });
        };
        let (mut files, mut missing) = (Vec::new(), Vec::new());
        for file in &entry.files {
            let path = self.cache.snapshot(source, &entry.commit, &file.path);
            match self.check(source, file, &path, progress)? {
                Check::Good(file) => files.push(file),
                Check::Missing => missing.push(file.path.as_str()),
                Check::Bad { .. } => {
                    let claim = self.cache.claim(source, &|| progress.see(&Event::Queued { source: &source.name }))?;
                    // A fetch may have repaired it while this waited.
                    match self.check(source, file, &path, progress)? {
                        Check::Good(file) => files.push(file),
                        Check::Missing => missing.push(file.path.as_str()),
                        Check::Bad { expected, found } => {
                            let aside = self.cache.set_aside(source, &file.path, &path, &claim)?;
                            return Err(bad(source, &file.path, expected, found, aside));
                        }
                    }
                }
            }
        }
        if missing.is_empty() {
            Ok(Fetched { name: source.name.clone(), commit: entry.commit, files })
        } else {
            Err(HubError::Missing { name: source.name.clone(), folder: folder(), files: missing.join(", ") })
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
        let source = self.source(crate::source(&file.source)?);
        let claim = self.cache.claim(source, &|| {})?;
        let aside = self.cache.set_aside(source, &file.name, &file.path, &claim)?;
        let mut note = aside.clone().into_os_string();
        note.push(".txt");
        let text = format!("{}: {}\nsha256 {}\nexpected {expected}\nfound {found}\n", file.source, file.name, file.sha256);
        fs_err::write(note, text)?;
        Ok(aside)
    }

    fn client(&self) -> Result<&Client, HubError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::new(&self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// What the lock file knows of a source, if that is what the manifest asks for.
    fn known(&self, source: &Source) -> Result<Option<Entry>, HubError> {
        let patterns = || source.files.iter().map(|rule| format!("{} {}", rule.split, rule.pattern));
        let entry = self.lock.entry(source)?.filter(|entry| entry.patterns.iter().cloned().eq(patterns()));
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
    fn wanted(&self, source: &Source, progress: &dyn Progress) -> Result<(Entry, bool), HubError> {
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
        let commit = if source.is_pinned() { source.revision.clone() } else { client.commit_of(source, progress)? };
        let files = select(source, &commit, &client.list(source, &commit, progress)?)?;
        let patterns = source.files.iter().map(|rule| format!("{} {}", rule.split, rule.pattern)).collect();
        let (name, id, revision) = (source.name.clone(), source.id.clone(), source.revision.clone());
        Ok((Entry { name, id, revision, commit, patterns, files }, true))
    }

    /// A fetch without the network: what is in the cache must do.
    fn offline(&self, source: &Source, progress: &dyn Progress) -> Result<Fetched, HubError> {
        self.cached(source, progress).map_err(|error| match error {
            HubError::Missing { name, files, folder } => {
                HubError::Offline { name, what: format!("not in {}: {files}", folder.display()) }
            }
            other => other,
        })
    }

    fn state(&self, source: &Source, commit: &str, file: &LockedFile) -> FileState {
        match self.cache.snapshot(source, commit, &file.path).metadata() {
            Ok(found) if found.is_file() && found.len() == file.bytes => FileState::Present,
            Ok(found) if found.is_file() => FileState::WrongSize(found.len()),
            _ => FileState::Missing,
        }
    }

    /// Reads a file and compares it with what it must be.
    fn check(&self, source: &Source, file: &LockedFile, path: &Path, progress: &dyn Progress) -> Result<Check, HubError> {
        let length = match fs_err::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Check::Missing),
            Err(error) => return Err(error.into()),
        };
        if length != file.bytes {
            let expected = format!("{} bytes", file.bytes);
            return Ok(Check::Bad { expected, found: format!("{length} bytes{}", beginning(path)) });
        }
        let last = Cell::new(Instant::now());
        let watch = |done| {
            if done == file.bytes || last.get().elapsed() >= Duration::from_millis(100) {
                last.set(Instant::now());
                progress.see(&Event::Checking { file: &file.path, done, bytes: file.bytes });
            }
        };
        let found = measure(path, file.storage(), &watch)?;
        if let Some(sha256) = &file.sha256
            && *sha256 != found.sha256
        {
            let found = format!("sha256 {}{}", found.sha256, beginning(path));
            return Ok(Check::Bad { expected: format!("sha256 {sha256}"), found });
        }
        if file.oid != found.oid {
            let found = format!("object id {}, sha256 {}{}", found.oid, found.sha256, beginning(path));
            return Ok(Check::Bad { expected: format!("object id {}", file.oid), found });
        }
        progress.see(&Event::Verified { file: &file.path, bytes: file.bytes, downloaded: false });
        Ok(Check::Good(VerifiedFile {
            source: source.name.clone(),
            split: file.split.clone(),
            name: file.path.clone(),
            path: path.to_owned(),
            bytes: file.bytes,
            sha256: found.sha256,
        }))
    }

    fn check_room(&self, needed: u64) -> Result<(), HubError> {
        match self.cache.room() {
            Some(free) if free < needed => Err(HubError::NoRoom {
                folder: self.cache.folder().to_owned(),
                reason: format!("{needed} bytes are needed, {free} are free"),
            }),
            _ => Ok(()),
        }
    }

    /// Downloads a file, checks it, and gives it its name.
    fn take(
        &self,
        source: &Source,
        commit: &str,
        file: &LockedFile,
        claim: &Claim,
        progress: &dyn Progress,
    ) -> Result<VerifiedFile, HubError> {
        let downloads = self.cache.downloads(source);
        let folder = self.cache.folder();
        fs_err::create_dir_all(&downloads).map_err(|error| HubError::writing(folder, error))?;
        let arrived = self.client()?.download(source, commit, (&file.path, file.bytes), &downloads, progress);
        let arrived = arrived.map_err(|error| match error {
            HubError::Io(error) => HubError::writing(folder, error),
            other => other,
        });
        let arrived = match arrived {
            Ok(arrived) => arrived,
            Err(error) => {
                // What is left of it must not fill the disk.
                let _ = self.cache.clean(source, claim);
                return Err(error);
            }
        };
        match self.check(source, file, &arrived, progress)? {
            Check::Good(good) => {
                let blob = file.blob(&good.sha256);
                let path = self.cache.install(source, commit, &file.path, &arrived, &blob, claim)?;
                progress.see(&Event::Verified { file: &file.path, bytes: file.bytes, downloaded: true });
                Ok(VerifiedFile { path, ..good })
            }
            Check::Missing => Err(std::io::Error::other(format!("{}: the download is gone", arrived.display())).into()),
            Check::Bad { expected, found } => {
                let aside = self.cache.set_aside(source, &file.path, &arrived, claim)?;
                Err(bad(source, &file.path, expected, found, aside))
            }
        }
    }

    /// Writes the checksum of a file down that no manifest knows.
    fn remember(&self, entry: &mut Entry, index: usize, file: &VerifiedFile) -> Result<(), HubError> {
        if entry.files[index].sha256.is_none() {
            entry.files[index].sha256 = Some(file.sha256.clone());
            self.lock.put(entry.clone())?;
        }
        Ok(())
    }
}

/// What became of a comparison.
enum Check {
    Good(VerifiedFile),
    Missing,
    Bad { expected: String, found: String },
}

fn bad(source: &Source, file: &str, expected: String, found: String, aside: PathBuf) -> HubError {
    HubError::BadFile { name: source.name.clone(), file: file.to_owned(), expected, found, aside }
}

/// How a file begins, where that tells what it is: an error page, or a pointer of LFS.
fn beginning(path: &Path) -> String {
    use std::io::Read as _;
    let mut start = Vec::new();
    let read = fs_err::File::open(path).and_then(|file| file.take(48).read_to_end(&mut start));
    let text = std::str::from_utf8(&start).unwrap_or_default();
    if read.is_err() || text.is_empty() || text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
        return String::new();
    }
    format!(", beginning with {text:?}")
}
