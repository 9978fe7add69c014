//! The tree of a repository as the hub lists it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::repository::{Commit, File, Repository};
use crate::sha1;

/// When every commit was made: answers do not depend on the clock.
pub(crate) const DATE: &str = "2024-01-01T00:00:00.000Z";

/// Entries of a folder (`""`: the root), folders before files as the hub has them, then by path; `recursive` also those
/// of the folders in it.
pub(crate) fn tree(repository: &Repository, commit: &Commit, folder: &str, recursive: bool, expand: bool) -> Vec<Value> {
    let inside = |path: &str| {
        let rest = if folder.is_empty() { Some(path) } else { path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) };
        rest.is_some_and(|rest| recursive || !rest.contains('/'))
    };
    let folders: BTreeSet<&str> = commit
        .paths()
        .flat_map(|path| path.match_indices('/').map(move |(end, _)| &path[..end]))
        .filter(|path| inside(path))
        .collect();
    let folders = folders.into_iter().map(|path| {
        decorate(
            json!({ "type": "directory", "oid": sha1::hex(format!("tree {path}").as_bytes()), "size": 0, "path": path }),
            commit,
            expand,
        )
    });
    let files = commit.files.iter().filter(|(path, _)| inside(path));
    folders.chain(files.map(|(path, file)| decorate(entry(repository, path, file), commit, expand))).collect()
}

/// Entries of the files and folders that exist among `paths`.
pub(crate) fn paths_info(repository: &Repository, commit: &Commit, paths: &[&str]) -> Value {
    tree(repository, commit, "", true, false)
        .into_iter()
        .filter(|entry| entry["path"].as_str().is_some_and(|path| paths.contains(&path)))
        .collect()
}

/// The hub's own keys: the SHA-256 of a large file is its `lfs.oid`.
fn entry(repository: &Repository, path: &str, file: &File) -> Value {
    let mut entry = json!({ "type": "file", "oid": file.git_oid(), "size": file.bytes.len(), "path": path });
    if file.lfs {
        entry["lfs"] = json!({ "oid": file.sha256, "size": file.bytes.len(), "pointerSize": file.pointer_size() });
        if repository.chunked {
            entry["xetHash"] = json!(file.storage_hash());
        }
    }
    entry
}

fn decorate(mut entry: Value, commit: &Commit, expand: bool) -> Value {
    if expand {
        entry["lastCommit"] = json!({ "id": commit.id(), "title": "Upload", "date": DATE });
        if entry["type"] == "file" {
            entry["securityFileStatus"] = json!({ "status": "safe" });
        }
    }
    entry
}
