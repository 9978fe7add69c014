//! The hub through hf-hub, with what it lacks: time-outs, the waits that the hub asks for, and messages without secrets.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::repository::{RepoTreeEntry, RepoType};
use hf_hub::{HFClientSync, HFError, HFRepositorySync};

use crate::failure::{Failure, failure};
use crate::listing::Listed;
use crate::settings::{Checked, Patience};
use crate::{Event, HubError, Progress, RepoKind, Source};

/// How often a caller sees how far a download is.
const TICK: Duration = Duration::from_millis(100);

/// A client of one hub.
pub(crate) struct Client {
    hub: HFClientSync,
    endpoint: String,
    token: Option<String>,
    patience: Patience,
}

impl Client {
    pub(crate) fn new(settings: &Checked) -> Result<Self, HubError> {
        let unusable = |reason: String| HubError::Setting {
            name: "HF_ENDPOINT",
            problem: format!("is {:?}, and no client can be made for it: {reason}", settings.endpoint),
        };
        let http = reqwest::Client::builder()
            .user_agent(concat!("isorate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(settings.patience.connect)
            .read_timeout(settings.patience.silence)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        // Its own repetitions know neither `Retry-After` nor a failure within the body: those here do.
        let mut builder = hf_hub::HFClient::builder()
            .endpoint(&settings.endpoint)
            .cache_dir(&settings.cache)
            .cache_enabled(false)
            .client(http)
            .retry_max_attempts(0);
        if let Some(token) = &settings.token {
            builder = builder.token(token);
        }
        let hub = builder.build_sync().map_err(|error| unusable(error.to_string()))?;
        Ok(Self { hub, endpoint: settings.endpoint.clone(), token: settings.token.clone(), patience: settings.patience })
    }

    /// The commit that a branch has now.
    pub(crate) fn commit_of(&self, source: &Source, progress: &dyn Progress) -> Result<String, HubError> {
        let (owner, name) = hf_hub::split_id(&source.id);
        let revision = source.revision.as_str();
        let kind = plural(source);
        let url = format!("{}/api/{kind}/{}/revision/{revision}", self.endpoint, source.id);
        let commit = self.persist(source, &url, progress, || match source.kind {
            RepoKind::Dataset => Ok(self.hub.dataset(owner, name).info().revision(revision).send()?.sha),
            RepoKind::Model => Ok(self.hub.model(owner, name).info().revision(revision).send()?.sha),
        })?;
        match commit {
            Some(commit) if crate::manifest::is_hex(&commit, 40) => Ok(commit),
            other => Err(HubError::Listing {
                name: source.name.clone(),
                id: source.id.clone(),
                revision: revision.to_owned(),
                reason: format!("the hub gives {other:?} as its commit"),
                how: "something answers in place of the hub; look at HF_ENDPOINT",
            }),
        }
    }

    /// Every file of a repository at a commit.
    pub(crate) fn list(&self, source: &Source, commit: &str, progress: &dyn Progress) -> Result<Vec<Listed>, HubError> {
        let (owner, name) = hf_hub::split_id(&source.id);
        let kind = plural(source);
        let url = format!("{}/api/{kind}/{}/tree/{commit}", self.endpoint, source.id);
        let entries = self.persist(source, &url, progress, || match source.kind {
            RepoKind::Dataset => tree(&self.hub.dataset(owner, name), commit),
            RepoKind::Model => tree(&self.hub.model(owner, name), commit),
        })?;
        let files = entries.into_iter().filter_map(|entry| match entry {
            RepoTreeEntry::File { oid, size, path, lfs, .. } => Some(Listed {
                path,
                // For a file in LFS some hubs list the size of the pointer, and that of the content within.
                bytes: lfs.as_ref().and_then(|lfs| lfs.size).unwrap_or(size),
                lfs: lfs.is_some(),
                oid,
                sha256: lfs.and_then(|lfs| lfs.sha256),
            }),
            RepoTreeEntry::Directory { .. } => None,
        });
        Ok(files.collect())
    }

    /// Downloads a file into a folder, unchecked, and says where it is. An attempt that fails leaves a part of it there.
    pub(crate) fn download(
        &self,
        source: &Source,
        commit: &str,
        file: (&str, u64),
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<PathBuf, HubError> {
        let (owner, name) = hf_hub::split_id(&source.id);
        let (path, bytes) = file;
        let prefix = if source.kind == RepoKind::Dataset { "datasets/" } else { "" };
        let url = format!("{}/{prefix}{}/resolve/{commit}/{path}", self.endpoint, source.id);
        self.persist(source, &url, progress, || {
            watched(path, bytes, progress, |watch| match source.kind {
                RepoKind::Dataset => file_into(&self.hub.dataset(owner, name), commit, path, folder, watch),
                RepoKind::Model => file_into(&self.hub.model(owner, name), commit, path, folder, watch),
            })
        })
    }

    /// Repeats what fails for a passing reason, with growing waits.
    fn persist<T>(
        &self,
        source: &Source,
        url: &str,
        progress: &dyn Progress,
        mut attempt: impl FnMut() -> Result<T, HFError>,
    ) -> Result<T, HubError> {
        let mut wait = self.patience.first_wait;
        for attempts in 1.. {
            let mut failure = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => failure(error),
            };
            failure.hide(self.token.as_deref());
            let pause = match &failure {
                Failure::Passing { wait: asked, .. } => Some(asked.unwrap_or(wait)),
                _ => None,
            };
            match pause {
                Some(pause) if attempts <= self.patience.retries && pause <= self.patience.longest_wait => {
                    let Failure::Passing { reason, .. } = &failure else { unreachable!("only a passing failure has a pause") };
                    progress.see(&Event::Waiting { url, reason, wait: pause });
                    std::thread::sleep(pause);
                    wait = (wait * 2).min(self.patience.longest_wait);
                }
                _ => return Err(failure.into_error(source, url, attempts, self.token.is_some())),
            }
        }
        unreachable!("the loop returns")
    }
}

/// The part of the address of the hub's interface that says what kind of repository it is.
fn plural(source: &Source) -> &'static str {
    match source.kind {
        RepoKind::Dataset => "datasets",
        RepoKind::Model => "models",
    }
}

fn tree<T: RepoType>(repository: &HFRepositorySync<T>, commit: &str) -> Result<Vec<RepoTreeEntry>, HFError> {
    repository.list_tree().revision(commit).recursive(true).send()
}

/// hf-hub looks at the status of the answer only where it downloads into a folder; into its cache it takes an error page for
/// the file.
fn file_into<T: RepoType>(
    repository: &HFRepositorySync<T>,
    commit: &str,
    path: &str,
    folder: &Path,
    watch: Arc<Arrived>,
) -> Result<PathBuf, HFError> {
    repository.download_file().filename(path).revision(commit).local_dir(folder).progress(watch).send()
}

/// Counts what arrives. It is called on the client's runtime and must not block.
#[derive(Default)]
struct Arrived(AtomicU64);

impl ProgressHandler for Arrived {
    fn on_progress(&self, event: &ProgressEvent) {
        let ProgressEvent::Download(event) = event else { return };
        match event {
            DownloadEvent::Progress { files } => {
                if let Some(file) = files.last() {
                    self.0.store(file.bytes_completed, Ordering::Relaxed);
                }
            }
            DownloadEvent::AggregateProgress { bytes_completed, .. } => self.0.store(*bytes_completed, Ordering::Relaxed),
            _ => {}
        }
    }
}

/// Downloads while another thread tells the caller how far it is.
fn watched<T>(path: &str, bytes: u64, progress: &dyn Progress, download: impl FnOnce(Arc<Arrived>) -> T) -> T {
    let arrived = Arc::new(Arrived::default());
    let (done, wait) = channel::<()>();
    std::thread::scope(|scope| {
        let seen = Arc::clone(&arrived);
        scope.spawn(move || {
            loop {
                progress.see(&Event::Downloading { file: path, done: seen.0.load(Ordering::Relaxed).min(bytes), bytes });
                if wait.recv_timeout(TICK) != Err(RecvTimeoutError::Timeout) {
                    break;
                }
            }
        });
        let result = download(arrived);
        drop(done);
        result
    })
}
