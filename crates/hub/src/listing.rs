//! Which files of a repository's listing are taken, and whether they are what the manifest says.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::pointer_oid;
use crate::lock_file::LockedFile;
use crate::manifest::{check_path, is_hex, matcher};
use crate::{HubError, Source};

/// A file as the hub lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) lfs: bool,
    /// Git's object id.
    pub(crate) oid: String,
    /// SHA-256 of a file in LFS, where the listing gives it.
    pub(crate) sha256: Option<String>,
}

/// How many names a message lists.
const SHOWN: usize = 12;

/// The files of a listing that the source takes, in the order of their paths, with what the manifest knows of them.
pub(crate) fn select(source: &Source, commit: &str, listing: &[Listed]) -> Result<Vec<LockedFile>, HubError> {
    let wrong = |reason: String, how| HubError::Listing {
        name: source.name.clone(),
        id: source.id.clone(),
        revision: commit.to_owned(),
        reason,
        how,
    };
    let moved = "the repository may have been rearranged; name a revision that has these files in the manifest";
    let mut chosen: BTreeMap<&str, LockedFile> = BTreeMap::new();
    for rule in &source.files {
        let pattern = matcher(&rule.pattern).map_err(|reason| HubError::Manifest { name: source.name.clone(), reason })?;
        let found: Vec<&Listed> = listing.iter().filter(|file| pattern.is_match(&file.path)).collect();
        if found.is_empty() {
            let there = names(listing.iter().map(|file| file.path.as_str()));
            return Err(wrong(format!("no file is like {:?} ({}); there are {there}", rule.pattern, rule.split), moved));
        }
        if let Some(reason) = incomplete(found.iter().map(|file| file.path.as_str())) {
            return Err(wrong(format!("{:?} ({}): {reason}", rule.pattern, rule.split), moved));
        }
        for file in found {
            check_path(&file.path).map_err(|reason| wrong(reason, moved))?;
            let locked = expected(source, file).map_err(|reason| {
                wrong(
                    format!("{}: {reason}", file.path),
                    "the hub or the manifest is wrong about this file; nothing was downloaded",
                )
            })?;
            if chosen.insert(&file.path, LockedFile { split: rule.split.clone(), ..locked }).is_some() {
                return Err(wrong(format!("{}: two patterns take this file", file.path), moved));
            }
        }
    }
    Ok(chosen.into_values().collect())
}

/// What a file must be, from the listing and the manifest, which must agree.
fn expected(source: &Source, file: &Listed) -> Result<LockedFile, String> {
    if !is_hex(&file.oid, 40) {
        return Err(format!("its object id is {:?} in the listing, but must be 40 hexadecimal digits", file.oid));
    }
    let known = source.known(&file.path);
    if let Some(size) = known.and_then(|known| known.size)
        && size != file.bytes
    {
        return Err(format!("the listing says {} bytes, the manifest {size}", file.bytes));
    }
    let sha256 = known.and_then(|known| known.sha256.clone()).or_else(|| file.sha256.clone());
    if let (true, Some(sha256)) = (file.lfs, &sha256) {
        if let Some(listed) = &file.sha256
            && listed != sha256
        {
            return Err(format!("the listing says sha256 {listed}, the manifest {sha256}"));
        }
        let oid = pointer_oid(sha256, file.bytes);
        if oid != file.oid {
            return Err(format!("the listing's object id {} is not that of {} bytes with sha256 {sha256}", file.oid, file.bytes));
        }
    }
    Ok(LockedFile {
        path: file.path.clone(),
        split: String::new(),
        bytes: file.bytes,
        lfs: file.lfs,
        oid: file.oid.clone(),
        sha256,
    })
}

/// Shards are numbered `…-00003-of-00019…`: says which of a set are missing, or that there are two sets.
fn incomplete<'a>(paths: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut sets: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    let mut found = Vec::new();
    for path in paths {
        found.push(path);
        if let Some((number, total)) = shard(path)
            && !sets.entry(total).or_default().insert(number)
        {
            return Some(format!("shard {number} of {total} is there twice; there are {}", names(found.into_iter())));
        }
    }
    if sets.len() > 1 {
        return Some(format!("shards of different sets; there are {}", names(found.into_iter())));
    }
    let (total, numbers) = sets.into_iter().next()?;
    if numbers.len() < found.len() {
        return Some(format!("shards beside other files; there are {}", names(found.into_iter())));
    }
    let missing: Vec<String> = (0..total).filter(|number| !numbers.contains(number)).map(|number| number.to_string()).collect();
    if missing.is_empty() && numbers.last().is_some_and(|last| *last < total) {
        return None;
    }
    let missing = if missing.is_empty() { "a number is too large".into() } else { format!("missing {}", missing.join(", ")) };
    Some(format!("the shards are incomplete: {missing} of {total}; there are {}", names(found.into_iter())))
}

/// Number and total of a shard, if the name has them.
fn shard(path: &str) -> Option<(u32, u32)> {
    let name = path.rsplit('/').next()?;
    let (before, after) = name.split_once("-of-")?;
    let number = before.rsplit('-').next()?;
    let total: String = after.chars().take_while(char::is_ascii_digit).collect();
    let digits = |text: &str| (5..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits(number) && digits(&total) { Some((number.parse().ok()?, total.parse().ok()?)) } else { None }
}

/// The first of some names, and how many more there are.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "no files".into(),
        count if count <= SHOWN => names.join(", "),
        count => format!("{} and {} more", names[..SHOWN].join(", "), count - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

    use super::*;
    use crate::{FileRule, KnownFile, source};

    const SHA256: &str = "af4e812d13b4eae6da91024f15f7679dae49d40aee3fb4c7216b56d04193f46c";

    fn listed(path: &str, bytes: u64) -> Listed {
        Listed { path: path.into(), bytes, lfs: true, oid: pointer_oid(SHA256, bytes), sha256: None }
    }

    /// A source with one pattern and nothing known.
    fn plain(pattern: &str) -> Source {
        let files = vec![FileRule { pattern: pattern.into(), split: "train".into() }];
        Source { files, known: Vec::new(), ..source("mnist").unwrap().clone() }
    }

    #[test]
    fn files_are_taken_in_the_order_of_their_paths() {
        let listing = [
            listed("data/train-00001-of-00002.parquet", 2),
            listed("README.md", 7),
            listed("data/train-00000-of-00002.parquet", 1),
            listed("data/test-00000-of-00001.parquet", 3),
        ];
        let taken = select(&plain("data/train-*.parquet"), "c", &listing).unwrap();
        let taken: Vec<(&str, &str, u64)> = taken.iter().map(|f| (f.path.as_str(), f.split.as_str(), f.bytes)).collect();
        assert_eq!(taken, [("data/train-00000-of-00002.parquet", "train", 1), ("data/train-00001-of-00002.parquet", "train", 2)]);
    }

    #[test]
    fn shards_with_a_hash_in_their_name_are_counted_as_well() {
        assert_eq!(shard("data/train-00003-of-00004-d243063613e5a057.parquet"), Some((3, 4)));
        assert_eq!(shard("model-00001-of-00002.safetensors"), Some((1, 2)));
        assert_eq!(shard("one-of-many.txt"), None);
        assert_eq!(shard("train.parquet"), None);
    }

    #[test]
    fn what_is_missing_is_named_with_what_was_found() {
        let train = plain("data/train-*.parquet");
        let shards = |names: &[&str]| -> Vec<Listed> { names.iter().map(|name| listed(name, 1)).collect() };
        let cases = [
            shards(&[]),
            shards(&["README.md", "data/test-00000-of-00001.parquet"]),
            shards(&["data/train-00000-of-00003.parquet", "data/train-00002-of-00003.parquet"]),
            shards(&["data/train-00000-of-00001.parquet", "data/train-00000-of-00002.parquet"]),
            shards(&["data/train-00000-of-00001-ab.parquet", "data/train-00000-of-00001-cd.parquet"]),
            shards(&["data/train-00001-of-00001.parquet"]),
            shards(&["data/train-00000-of-00001.parquet", "data/train-more.parquet"]),
            (0..20).map(|index| listed(&format!("file{index:02}"), 1)).collect(),
        ];
        let messages: Vec<String> =
            cases.iter().map(|listing| select(&train, "0123", listing).unwrap_err().to_string()).collect();
        insta::assert_snapshot!(messages.join("\n\n"));
    }

    #[test]
    fn a_listing_must_agree_with_the_manifest() {
        let path = "data/train-0.parquet";
        let known = |size: Option<u64>, sha256: Option<&str>| {
            let mut source = plain("data/train-*.parquet");
            source.known = vec![KnownFile { path: path.into(), size, sha256: sha256.map(Into::into) }];
            source
        };
        let good = select(&known(Some(16), Some(SHA256)), "c", &[listed(path, 16)]).unwrap();
        assert_eq!(good[0].sha256.as_deref(), Some(SHA256));

        let other = "0".repeat(64);
        let says = |sha256: &str| Listed { sha256: Some(sha256.into()), ..listed(path, 16) };
        let cases = [
            (known(Some(15), None), listed(path, 16)),
            (known(None, Some(&other)), listed(path, 16)),
            (known(None, Some(SHA256)), says(&other)),
            (known(None, None), says(&other)),
            (known(None, None), Listed { oid: "nothing".into(), ..listed(path, 16) }),
            (plain("data/*"), Listed { path: "data/..".into(), ..listed(path, 16) }),
        ];
        let messages: Vec<String> = cases
            .iter()
            .map(|(source, file)| select(source, "0123", std::slice::from_ref(file)).unwrap_err().to_string())
            .collect();
        insta::assert_snapshot!(messages.join("\n\n"));

        let mut twice = plain("data/train-*.parquet");
        twice.files.push(FileRule { pattern: "data/*".into(), split: "all".into() });
        assert!(select(&twice, "c", &[listed(path, 16)]).unwrap_err().to_string().contains("two patterns take this file"));
    }
}
