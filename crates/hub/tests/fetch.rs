//! What a fetch takes, keeps and repairs, on a local hub.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

mod common;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{CARD, Place, Seen, TEST, TRAIN, commit, noise, repository};
use isorate_hub::{Event, FileState, Hub, HubError, KnownFile, Progress, VerifiedFile};
use isorate_local_hub::{Commit, Fault, Stage};

#[test]
fn a_fetch_takes_what_the_manifest_names_and_a_second_one_asks_for_nothing() {
    let place = Place::new();
    let hub = place.client();
    let fetched = hub.fetch(&place.digits, &()).unwrap();
    let names: Vec<&str> = fetched.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [CARD, TEST, TRAIN[0], TRAIN[1]]);
    let train: Vec<&str> = fetched.of("train").map(|file| file.name.as_str()).collect();
    assert_eq!(train, TRAIN);
    let commit = commit();
    for file in &fetched.files {
        assert_eq!(fs_err::read(&file.path).unwrap(), commit.bytes(&file.name).unwrap());
        assert_eq!(Some(file.sha256.as_str()), commit.sha256(&file.name));
        assert_eq!(file.path, place.file(&file.name));
    }
    assert_eq!(place.leftovers(), [""; 0]);

    place.hub.forget_requests();
    assert_eq!(hub.fetch(&place.digits, &()).unwrap(), fetched);
    assert_eq!(hub.cached(&place.digits, &()).unwrap(), fetched);
    let offline = place.builder().offline(true).build().unwrap();
    assert_eq!(offline.fetch(&place.digits, &()).unwrap(), fetched);
    assert!(offline.plan(&place.digits, &()).unwrap().files.iter().all(|file| file.state == FileState::Present));
    assert_eq!(place.hub.requests(), []);
}

/// The names are those of the Python client: `blobs/` by SHA-256 or git's id, links from `snapshots/`.
#[test]
fn the_cache_has_the_layout_of_huggingface_hub() {
    let place = Place::new();
    place.client().fetch(&place.digits, &()).unwrap();
    insta::assert_snapshot!(place.plain(&place.shared_files().join("\n")));
    let lock = fs_err::read_to_string(place.client().lock_file()).unwrap();
    insta::assert_snapshot!(place.plain(&lock));
}

#[test]
fn a_plan_says_what_is_there_and_changes_nothing() {
    let place = Place::new();
    let hub = place.client();
    let plan = hub.plan(&place.digits, &()).unwrap();
    assert_eq!((plan.files.len(), plan.to_download(), plan.present()), (4, 600_015, 0));
    assert!(!place.cache().exists());
    assert_eq!(hub.held(&place.digits).unwrap(), None);
    hub.fetch(&place.digits, &()).unwrap();
    fs_err::remove_file(place.file(TRAIN[0])).unwrap();
    fs_err::write(place.file(TEST), "short").unwrap();
    let plan = hub.plan(&place.digits, &()).unwrap();
    let state = |path| plan.files.iter().find(|file| file.path == path).unwrap().state;
    assert_eq!(state(TRAIN[0]), FileState::Missing);
    assert_eq!(state(TRAIN[1]), FileState::Present);
    assert_eq!(state(TEST), FileState::WrongSize(5));
    assert_eq!((plan.to_download(), plan.present()), (400_000, 200_015));
    assert_eq!(hub.held(&place.digits).unwrap(), Some(plan));
}

/// A truncated file, an altered one, an error page in the place of data: none is ever handed out.
#[test]
fn a_bad_file_is_set_aside_and_the_next_fetch_repairs_it() {
    let place = Place::new();
    let hub = place.client();
    let fetched = hub.fetch(&place.digits, &()).unwrap();
    let mut altered = noise(1, 300_000);
    altered[150_000] ^= 1;
    let mut page = b"<html><body>503 Service Unavailable</body></html>".to_vec();
    page.resize(200_000, b' ');
    let cases = [(TRAIN[0], altered), (TRAIN[1], page), (TEST, noise(3, 60_000)), (CARD, b"{\"digits\": 11}\n".to_vec())];
    let mut text = String::new();
    for (path, bytes) in cases {
        // Through the link, as another program would.
        fs_err::write(place.file(path), &bytes).unwrap();
        let error = hub.cached(&place.digits, &()).unwrap_err();
        write!(text, "{}\n\n", place.plain_error(&error)).unwrap();
        let HubError::BadFile { file, aside, .. } = error else { panic!("{error}") };
        assert_eq!((file.as_str(), fs_err::read(aside).unwrap()), (path, bytes));
        // It is gone, not only hidden.
        assert!(matches!(hub.cached(&place.digits, &()), Err(HubError::Missing { files, .. }) if files == path));
        place.hub.forget_requests();
        assert_eq!(hub.fetch(&place.digits, &()).unwrap(), fetched);
        assert_eq!(place.hub.downloads(), [path]);
    }
    assert_eq!(place.aside().len(), 4);
    insta::assert_snapshot!(text);
}

#[test]
fn a_fetch_repairs_in_one_go_and_says_so() {
    let place = Place::new();
    let hub = place.client();
    let fetched = hub.fetch(&place.digits, &()).unwrap();
    fs_err::write(place.file(TEST), noise(9, 100_000)).unwrap();
    let seen = Seen::default();
    assert_eq!(hub.fetch(&place.digits, &seen).unwrap(), fetched);
    insta::assert_snapshot!(seen.lines().join("\n"));
}

/// What only a reader can see: another schema, an image that cannot be decoded, a label out of range.
#[test]
fn a_reader_sets_a_file_aside() {
    let place = Place::new();
    let hub = place.client();
    let fetched = hub.fetch(&place.digits, &()).unwrap();
    let file: &VerifiedFile = fetched.of("test").next().unwrap();
    let aside = hub.set_aside(file, "labels from 0 to 9", "label 12 in row 3").unwrap();
    assert_eq!(fs_err::read(&aside).unwrap(), noise(3, 100_000));
    let note = fs_err::read_to_string(format!("{}.txt", aside.display())).unwrap();
    insta::assert_snapshot!(note);
    assert!(matches!(hub.cached(&place.digits, &()), Err(HubError::Missing { .. })));
    assert_eq!(hub.fetch(&place.digits, &()).unwrap(), fetched);
    // A second one has another name.
    assert_ne!(hub.set_aside(file, "a", "b").unwrap(), aside);
}

#[test]
fn files_of_other_programs_are_used_after_a_check() {
    let place = Place::new();
    let (right, wrong) = (place.file(TRAIN[0]), place.file(TRAIN[1]));
    fs_err::create_dir_all(right.parent().unwrap()).unwrap();
    fs_err::write(&right, noise(1, 300_000)).unwrap();
    fs_err::write(&wrong, noise(1, 200_000)).unwrap();
    let seen = Seen::default();
    place.client().fetch(&place.digits, &seen).unwrap();
    assert_eq!(place.hub.downloads(), [CARD, TEST, TRAIN[1]]);
    assert_eq!(place.aside().len(), 1);
    assert!(seen.lines().contains(&format!("{}: verified", TRAIN[0])));
}

#[test]
fn the_first_fetch_is_enforced() {
    let place = Place::new();
    let hub = place.client();
    hub.fetch(&place.digits, &()).unwrap();
    let sha256 = commit().sha256(TEST).unwrap().to_owned();
    // A manifest that says something else about a file that was fetched.
    let mut other = place.digits.clone();
    other.known = vec![KnownFile { path: TEST.into(), size: None, sha256: Some("0".repeat(64)) }];
    let error = hub.fetch(&other, &()).unwrap_err();
    insta::assert_snapshot!(place.plain_error(&error));
    // A lock file that was edited: size and checksum must agree with git's id.
    let lock = fs_err::read_to_string(hub.lock_file()).unwrap();
    fs_err::write(hub.lock_file(), lock.replace(&sha256, &"0".repeat(64))).unwrap();
    assert!(matches!(hub.cached(&place.digits, &()), Err(HubError::Lock { .. })));
    fs_err::write(hub.lock_file(), lock).unwrap();
    hub.cached(&place.digits, &()).unwrap();
}

#[test]
fn the_listing_is_checked_before_anything_is_downloaded() {
    let place = Place::new();
    let mut wrong = place.digits.clone();
    wrong.known = vec![KnownFile { path: TEST.into(), size: None, sha256: Some("0".repeat(64)) }];
    let disagrees = place.client().fetch(&wrong, &()).unwrap_err();
    let gap = Place::with(repository(commit().without(TRAIN[0])));
    let incomplete = gap.client().fetch(&gap.digits, &()).unwrap_err();
    let none = Place::with(repository(Commit::new().file("README.md", "empty")));
    let nothing = none.client().fetch(&none.digits, &()).unwrap_err();
    insta::assert_snapshot!(format!(
        "{}\n\n{}\n\n{}",
        place.plain_error(&disagrees),
        gap.plain_error(&incomplete),
        none.plain_error(&nothing)
    ));
    assert!(place.hub.downloads().is_empty() && gap.hub.downloads().is_empty());
}

#[test]
fn long_listings_come_in_pages() {
    let many = (0..25).fold(commit(), |commit, index| commit.file(&format!("extra/{index}.txt"), "x"));
    let place = Place::with(repository(many));
    place.hub.page_size(5);
    assert_eq!(place.client().fetch(&place.digits, &()).unwrap().files.len(), 4);
}

/// A branch is locked to the commit of the first fetch.
#[test]
fn a_branch_that_moves_is_told_and_not_followed() {
    let place = Place::new();
    let mut main = place.digits.clone();
    main.revision = "main".into();
    let hub = place.client();
    let first = hub.fetch(&main, &()).unwrap();
    assert_eq!(first.commit, place.digits.revision);
    place.hub.push("ylecun/mnist", commit().file(TEST, noise(4, 90_000)));
    let seen = Seen::default();
    assert_eq!(hub.fetch(&main, &seen).unwrap(), first);
    assert!(seen.lines().contains(&"main has moved".to_owned()), "{:?}", seen.lines());
    assert_eq!(hub.cached(&main, &()).unwrap(), first);
}

/// A new version of the program may take more files: at the same commit, without forgetting what was found.
#[test]
fn a_manifest_that_takes_more_files_keeps_the_commit() {
    let place = Place::new();
    let mut main = place.digits.clone();
    main.revision = "main".into();
    let all = main.files.clone();
    main.files.retain(|rule| rule.split == "test");
    let hub = place.client();
    let first = hub.fetch(&main, &()).unwrap();
    place.hub.push("ylecun/mnist", commit().file(TEST, noise(4, 90_000)));
    main.files = all;
    let second = hub.fetch(&main, &()).unwrap();
    assert_eq!((second.commit, second.files.len()), (first.commit, 4));
    assert_eq!(second.files[1], first.files[0]);
    assert_eq!(place.hub.downloads(), [TEST, CARD, TRAIN[0], TRAIN[1]]);
}

#[test]
fn a_further_manifest_replaces_sources_of_the_same_name() {
    let place = Place::new();
    let file = place.folder.path().join("manifest.toml");
    let text = format!(
        "[[source]]\nname = \"mnist\"\nkind = \"dataset\"\nid = \"ylecun/mnist\"\nrevision = \"{}\"\ndescription = \"d\"\n\
         licence = \"l\"\ncitation = \"c\"\nfiles = [{{ pattern = \"mnist/test-*.parquet\", split = \"test\" }}]\n",
        place.digits.revision
    );
    fs_err::write(&file, text).unwrap();
    let hub = place.builder().manifest(&file).build().unwrap();
    let fetched = hub.fetch(isorate_hub::source("mnist").unwrap(), &()).unwrap();
    assert_eq!((fetched.files.len(), fetched.files[0].name.as_str()), (1, TEST));
    fs_err::write(&file, "[[source]]\nname = 3\n").unwrap();
    assert!(matches!(place.builder().manifest(&file).build(), Err(HubError::Manifest { .. })));
}

#[test]
fn progress_counts_every_byte_without_a_deadlock() {
    /// The largest count of each file, through a call that uses the hub again.
    struct Counting(AtomicU64, Hub);
    impl Progress for Counting {
        fn see(&self, event: &Event<'_>) {
            if let Event::Downloading { file, done, bytes } = event {
                assert!(done <= bytes);
                if *file == TRAIN[0] {
                    self.0.fetch_max(*done, Ordering::Relaxed);
                }
            }
            // A call that blocks on the hub's own client is allowed.
            let _ = self.1.cached(&common::digits("main"), &());
        }
    }
    let place = Place::new();
    // It comes in two parts with a silence between, so that a count in between is seen.
    place.hub.fault(Fault::stall().after(120_000).path("train-00000").on(Stage::Bytes).times(1));
    let counting = Counting(AtomicU64::new(0), place.client());
    place.client().fetch(&place.digits, &counting).unwrap();
    assert!(counting.0.load(Ordering::Relaxed) >= 100_000, "{:?}", counting.0);
}

#[test]
fn models_are_fetched_like_data_sets() {
    let weights = noise(7, 50_000);
    let commit = Commit::new().file("model.safetensors", weights.clone()).file("config.json", "{}");
    let mut source = isorate_hub::source("resnet-50").unwrap().clone();
    source.revision = commit.id();
    source.known.clear();
    let repository = isorate_local_hub::Repository::model("timm/resnet50.a1_in1k").commit(commit);
    let place = Place::with(repository);
    let fetched = place.client().fetch(&source, &()).unwrap();
    assert_eq!(fs_err::read(&fetched.of("weights").next().unwrap().path).unwrap(), weights);
    assert_eq!(fetched.of("config").count(), 1);
}

/// Nearly every repository of the hub announces chunked storage now; the plain way must go on working.
#[test]
fn an_announced_chunked_storage_changes_nothing() {
    let place = Place::with(repository(commit()).chunked());
    assert_eq!(place.client().fetch(&place.digits, &()).unwrap().files.len(), 4);
}
