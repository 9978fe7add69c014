//! What the bytes of a file are: SHA-256, and the object id that git gives them.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Bytes read at a time.
const BUFFER: usize = 1 << 20;

/// How git holds a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// As a blob: the object id is that of the content.
    Git,
    /// In LFS: the object id is that of a pointer, which consists of the content's size and SHA-256.
    Lfs,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
    /// Git's object id.
    pub(crate) oid: String,
}

/// Reads a file to its end; `watch` sees the number of bytes read so far.
pub(crate) fn measure(path: &Path, storage: Storage, watch: &dyn Fn(u64)) -> io::Result<Measured> {
    let mut file = fs_err::File::open(path)?;
    // Git hashes the length before the content; a file that changes while it is read has another id then, as it should.
    let length = file.metadata()?.len();
    let mut sha256 = Sha256::new();
    let mut blob = (storage == Storage::Git).then(|| Sha1::new().chain_update(format!("blob {length}\0")));
    let mut buffer = vec![0; BUFFER];
    let mut bytes = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        sha256.update(&buffer[..read]);
        if let Some(blob) = &mut blob {
            blob.update(&buffer[..read]);
        }
        bytes += read as u64;
        watch(bytes);
    }
    let sha256 = hex(&sha256.finalize());
    let oid = blob.map_or_else(|| pointer_oid(&sha256, bytes), |blob| hex(&blob.finalize()));
    Ok(Measured { bytes, sha256, oid })
}

/// The object id of the LFS pointer to a content.
///
/// The hub's listing gives this id (`oid`), and so commits to SHA-256 and size of the content; hf-hub 1.0 drops the field in
/// which the listing gives the SHA-256 itself (`lfs.oid`; it looks for `lfs.sha256`).
pub(crate) fn pointer_oid(sha256: &str, bytes: u64) -> String {
    let pointer = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n");
    hex(&Sha1::new().chain_update(format!("blob {}\0", pointer.len())).chain_update(&pointer).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

    use super::*;

    /// Size, SHA-256 and object id as the hub gives them for real files: BERT's weights, a shard of TinyStories, the weights
    /// of Qwen2.5-0.5B and a shard of another data set.
    const REAL: [(u64, &str, &str); 4] = [
        (
            440_449_768,
            "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
            "a090ee7d80c0e00eca57c5aaaa54d136d58c5218",
        ),
        (
            248_731_111,
            "77cf780cebe52b6e83e3a2ac84bc56d8059363113e41d17a023f1d8b2ed0fc0b",
            "f457b8ee94363800f857dc473192b278c8450030",
        ),
        (
            988_097_824,
            "fdf756fa7fcbe7404d5c60e26bff1a0c8b8aa1f72ced49e7dd0210fe288fb7fe",
            "d7db405a3f0d9bf1ba5bdd4e4211db8022ebe4eb",
        ),
        (
            165_360_489,
            "fe49479f7960ad2bb3ff7cc679c346c4265f72977514842495f718b7f7280968",
            "85e574f09fea1687ec673bd57a2364bcd59a87ee",
        ),
    ];

    #[test]
    fn object_ids_of_pointers_are_those_of_the_hub() {
        for (bytes, sha256, oid) in REAL {
            assert_eq!(pointer_oid(sha256, bytes), oid);
        }
    }

    /// The ids of `git hash-object` and `sha256sum`.
    #[test]
    fn files_are_measured_as_git_and_sha256sum_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs_err::write(&path, "what is up, doc?").unwrap();
        let git = measure(&path, Storage::Git, &|_| ()).unwrap();
        assert_eq!((git.bytes, git.oid.as_str()), (16, "bd9dbf5aae1a3862dd1526723246b20206e5fc37"));
        assert_eq!(git.sha256, "af4e812d13b4eae6da91024f15f7679dae49d40aee3fb4c7216b56d04193f46c");
        let lfs = measure(&path, Storage::Lfs, &|_| ()).unwrap();
        assert_eq!((&lfs.sha256, lfs.oid), (&git.sha256, pointer_oid(&git.sha256, 16)));
    }
}
