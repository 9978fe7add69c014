//! How a hub is made.

use std::path::PathBuf;
use std::sync::OnceLock;

use crate::cache::Cache;
use crate::lock_file::LockFile;
use crate::settings::{Patience, Settings, VARIABLES};
use crate::{Hub, HubError, manifest};

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
        for name in VARIABLES {
            if let Err(std::env::VarError::NotUnicode(_)) = std::env::var(name) {
                return Err(HubError::Setting { name, problem: "is not UTF-8".into() });
            }
        }
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
