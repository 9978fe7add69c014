//! Whether a file is what it must be.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::digest::measure;
use crate::files::VerifiedFile;
use crate::lock_file::LockedFile;
use crate::{Event, HubError, Progress, Source};

/// What became of a comparison.
pub(crate) enum Check {
    Good(VerifiedFile),
    Missing,
    Bad { expected: String, found: String },
}

/// Reads a file and compares it with what it must be.
pub(crate) fn check(source: &Source, file: &LockedFile, path: &Path, progress: &dyn Progress) -> Result<Check, HubError> {
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
    Ok(Check::Good(VerifiedFile {
        source: source.name.clone(),
        split: file.split.clone(),
        name: file.path.clone(),
        path: path.to_owned(),
        bytes: file.bytes,
        sha256: found.sha256,
    }))
}

/// The error for a file that was set aside.
pub(crate) fn bad(source: &Source, file: &str, expected: String, found: String, aside: PathBuf) -> HubError {
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
