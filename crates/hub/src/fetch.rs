//! A fetch: check what is there, download what is missing, check that, and only then give it its name.

use crate::cache::Claim;
use crate::check::{Check, bad, check};
use crate::files::{Fetched, FileState, VerifiedFile};
use crate::lock_file::{Entry, LockedFile};
use crate::{Event, Hub, HubError, Progress, Source};

impl Hub {
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
            found.push(match check(source, file, &path, progress)? {
                Check::Good(good) => {
                    progress.see(&Event::Verified { file: &file.path, bytes: file.bytes, downloaded: false });
                    Some(good)
                }
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

        let mut files = Vec::new();
        for (index, found) in found.into_iter().enumerate() {
            let file = match found {
                Some(file) => file,
                None => self.take(source, &entry.commit, &entry.files[index], &claim, progress)?,
            };
            self.remember(&mut entry, index, &file)?;
            files.push(file);
        }
        self.cache.clean(source, &claim)?;
        Ok(Fetched { name: source.name.clone(), commit: entry.commit, files })
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

    fn check_room(&self, needed: u64) -> Result<(), HubError> {
        match self.cache.room() {
            Some(free) if free < needed => Err(HubError::NoRoom {
                folder: self.cache.folder().to_owned(),
                reason: format!("{needed} bytes are needed, {free} are free"),
            }),
            _ => Ok(()),
        }
    }

    /// Downloads a file, checks it, and gives it its name. After a failure nothing of it is left that fills the disk.
    fn take(
        &self,
        source: &Source,
        commit: &str,
        file: &LockedFile,
        claim: &Claim,
        progress: &dyn Progress,
    ) -> Result<VerifiedFile, HubError> {
        let taken = self.try_take(source, commit, file, claim, progress);
        if taken.is_err() {
            let _ = self.cache.clean(source, claim);
        }
        taken
    }

    fn try_take(
        &self,
        source: &Source,
        commit: &str,
        file: &LockedFile,
        claim: &Claim,
        progress: &dyn Progress,
    ) -> Result<VerifiedFile, HubError> {
        let downloads = self.cache.downloads(source);
        let writing = |error| HubError::writing(self.cache.folder(), error);
        fs_err::create_dir_all(&downloads).map_err(writing)?;
        let arrived = self.client()?.download(source, commit, (&file.path, file.bytes), &downloads, progress);
        let arrived = arrived.map_err(|error| match error {
            // The client does not say where it could not write.
            HubError::Io(error) => {
                let at = std::io::Error::new(error.kind(), format!("{}: {error}", downloads.display()));
                writing(at)
            }
            other => other,
        })?;
        match check(source, file, &arrived, progress)? {
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
