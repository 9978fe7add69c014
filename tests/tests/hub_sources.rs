//! Each source of the manifest, fetched from a hub on this machine by the binary and read in its schema.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::process::Output;

use isorate_tests::small_hub::{SmallHub, SmallSource, repository, small_sources};
use serde_json::Value;

fn succeed(place: &SmallHub, arguments: &[&str]) -> String {
    let output: Output = place.command(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn place(small: &SmallSource) -> SmallHub {
    SmallHub::new(small.name, repository(small.name, small.commit.clone()), &small.commit.id())
}

/// Rows of each group, or of each class where there are no groups.
fn rows(split: &Value) -> Vec<usize> {
    let groups = split["groups"].as_array().unwrap();
    let shares = if groups.is_empty() { split["classes"].as_array().unwrap() } else { groups };
    shares.iter().map(|share| usize::try_from(share["rows"].as_u64().unwrap()).unwrap()).collect()
}

/// Fetches, compares the files of the cache with those of the repository, and what `isorate data inspect` counts with what was
/// put in; then without the network.
fn check(small: &SmallSource) {
    let place = place(small);
    succeed(&place, &["fetch", small.name]);
    let source = isorate_hub::source(small.name).unwrap();
    let kind = if source.kind == isorate_hub::RepoKind::Model { "models" } else { "datasets" };
    let folder =
        place.cache().join(format!("{kind}--{}", source.id.replace('/', "--"))).join("snapshots").join(small.commit.id());
    let wanted: Vec<&str> = small.commit.paths().filter(|path| *path != "README.md").collect();
    for path in &wanted {
        assert_eq!(fs_err::read(folder.join(path)).unwrap(), small.commit.bytes(path).unwrap(), "{path}");
    }
    let mut downloads = place.hub.downloads();
    downloads.sort();
    assert_eq!(downloads, wanted, "each file is downloaded once, and no other");

    // Nothing more is asked of the hub, by a second fetch or by what reads the files.
    place.hub.forget_requests();
    let mut offline = place.command(&["fetch", small.name]);
    assert!(offline.env("HF_HUB_OFFLINE", "1").output().unwrap().status.success());
    let mut inspect = vec!["data", "inspect", small.name, "--format", "json"];
    if ["mnist", "fashion-mnist"].contains(&small.name) {
        // A part of these is in the program.
        inspect.extend(["--data", "hub"]);
    }
    let facts: Value = serde_json::from_str(&succeed(&place, &inspect)).unwrap();
    assert!(place.hub.downloads().is_empty());
    assert_eq!(facts["files"].as_array().unwrap().len(), wanted.len());
    for file in facts["files"].as_array().unwrap() {
        let name = file["name"].as_str().unwrap();
        assert_eq!(
            file["checksum"].as_str().unwrap().trim_start_matches("sha256:"),
            small.commit.sha256(name).unwrap(),
            "{name}"
        );
    }
    assert!(facts["origin"].as_str().unwrap().contains(&small.commit.id()), "{}", facts["origin"]);

    let splits = facts["splits"].as_array().unwrap();
    if small.name == "multi-nli" {
        return check_pooled(splits);
    }
    for split in &small.splits {
        let found = splits.iter().find(|found| found["name"] == split.name).unwrap_or_else(|| panic!("{}: {facts}", split.name));
        assert_eq!(found["rows"], split.rows.iter().sum::<usize>(), "{} {}", small.name, split.name);
        // Text has rows and no classes.
        if split.rows.len() > 1 {
            assert_eq!(rows(found), split.rows, "{} {}", small.name, split.name);
        } else {
            assert!(found["examples"][0].as_str().unwrap().starts_with("One day, "), "{found}");
        }
    }
}

/// The three files of `MultiNLI` are pooled and shared out anew, so the groups are compared in sum: seven copies of nine pairs. Of the pairs
/// that follow from each other none has a negation word, of the neutral ones one in three, and every contradiction.
fn check_pooled(splits: &[Value]) {
    let named: Vec<_> = splits.iter().map(|split| (split["name"].as_str().unwrap(), split["rows"].as_u64().unwrap())).collect();
    assert_eq!(named, [("train", 31), ("validation", 13), ("test", 19)]);
    let groups: Vec<Vec<usize>> = splits.iter().map(rows).collect();
    let sums: Vec<usize> = (0..6).map(|group| groups.iter().map(|rows| rows[group]).sum()).collect();
    assert_eq!(sums, [21, 0, 14, 7, 0, 21]);
}

#[test]
fn every_source_is_fetched_and_read_in_its_schema() {
    let small = small_sources();
    let names: Vec<&str> = small.iter().map(|small| small.name).collect();
    assert_eq!(names, isorate_hub::sources().iter().map(|source| source.name.as_str()).collect::<Vec<_>>());
    std::thread::scope(|scope| {
        for small in &small {
            scope.spawn(move || check(small));
        }
    });
}

/// The numbers of files and shards are those of the real sets.
#[test]
fn shards_are_as_many_as_on_the_hub() {
    let sources = small_sources();
    let count = |name: &str, part: &str| {
        let small = sources.iter().find(|small| small.name == name).unwrap();
        small.commit.paths().filter(|path| path.contains(part)).count()
    };
    assert_eq!(["train", "valid", "test"].map(|part| count("celeba", part)), [19, 3, 3]);
    assert_eq!(["train", "validation"].map(|part| count("tiny-stories", part)), [4, 1]);
    // What the manifest knows of the real repositories has the same paths.
    for small in &sources {
        for known in &isorate_hub::source(small.name).unwrap().known {
            assert!(small.commit.bytes(&known.path).is_some(), "{}: {}", small.name, known.path);
        }
    }
}
