//! Several processes, a process that is killed, a disk that is full: this program is started again as the other process.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]
#![cfg(unix)]

mod common;

use std::process::{Child, Command, Stdio};

use common::{Place, Seen, TEST, TRAIN, digits};
use isorate_hub::{Hub, HubError};
use isorate_local_hub::{Fault, Request, Stage};

/// Settings of the other process: endpoint, cache, revision.
const OTHER: &str = "HUB_TEST_OTHER_PROCESS";

/// The other process; by itself it does nothing.
#[test]
fn other_process() {
    let Ok(settings) = std::env::var(OTHER) else { return };
    let [endpoint, cache, revision] = settings.split('\n').collect::<Vec<_>>().try_into().unwrap();
    // A silence is here the other test's business.
    let patience = isorate_hub::Patience { silence: std::time::Duration::from_secs(30), ..common::hasty() };
    let hub = Hub::builder().endpoint(endpoint).cache_dir(cache).offline(false).patience(patience).build().unwrap();
    match hub.fetch(&digits(revision), &()) {
        Ok(fetched) => println!("fetched {} files", fetched.files.len()),
        Err(error) => println!("failed: {error}"),
    }
}

/// Starts this program again, through a shell line in which `"$@"` is the program with its arguments.
fn start(place: &Place, line: &str) -> Child {
    let settings = format!("{}\n{}\n{}", place.hub.url(), place.cache().display(), place.digits.revision);
    Command::new("sh")
        .args(["-c", line, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "other_process", "--nocapture", "--test-threads=1"])
        .env(OTHER, settings)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn two_processes_that_fetch_at_once_do_not_harm_each_other() {
    let place = Place::new();
    // The first stands still in the middle of a file.
    place.hub.fault(Fault::stall().after(50_000).on(Stage::Bytes).path("train-00000").times(1));
    let first = start(&place, "exec \"$@\"");
    let halfway = |request: &Request| request.file.as_deref() == Some(TRAIN[0]) && request.sent >= 50_000;
    place.hub.wait_for(|requests| requests.iter().any(halfway));
    let second = start(&place, "exec \"$@\"");
    let seen = Seen::default();
    let fetched = std::thread::scope(|scope| {
        let third = scope.spawn(|| place.client().fetch(&place.digits, &seen).unwrap());
        while !seen.lines().contains(&"mnist: another process".to_owned()) {
            std::thread::yield_now();
        }
        place.hub.release();
        third.join().unwrap()
    });
    assert_eq!(fetched.files.len(), 4);
    for child in [first, second] {
        let said = said(child);
        assert!(said.contains("fetched 4 files"), "{said}");
    }
    // Whoever came first has downloaded; the others have found every file.
    let mut downloads = place.hub.downloads();
    downloads.dedup();
    assert_eq!(downloads.len(), 4, "{downloads:?}");
    assert_eq!((place.leftovers(), place.aside()), (Vec::new(), Vec::new()));
}

#[test]
fn after_a_process_was_killed_a_fetch_goes_on() {
    let place = Place::new();
    place.hub.fault(Fault::stall().after(150_000).on(Stage::Bytes).path("train-00000").times(1));
    let mut child = start(&place, "exec \"$@\"");
    place
        .hub
        .wait_for(|requests| requests.iter().any(|request| request.file.as_deref() == Some(TRAIN[0]) && request.sent >= 150_000));
    // What was sent has not arrived yet.
    while place.leftovers().is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.leftovers().len(), 1, "a part of the file is left");
    assert!(!place.file(TRAIN[0]).exists() && place.file(TEST).exists());
    place.hub.release();
    place.hub.forget_requests();
    assert_eq!(place.client().fetch(&place.digits, &()).unwrap().files.len(), 4);
    // What was there is not taken again.
    assert_eq!(place.hub.downloads(), TRAIN);
    assert_eq!(place.leftovers(), [""; 0]);
}

/// The system refuses to write past a size, as a full disk does.
#[test]
fn a_full_disk_leaves_the_cache_as_it_was() {
    let place = Place::new();
    let only_test = {
        let mut source = place.digits.clone();
        source.files.retain(|rule| rule.split == "test");
        source
    };
    place.client().fetch(&only_test, &()).unwrap();
    let before = place.shared_files();
    // The small card fits, the shards do not: at most 128 blocks of 512 or 1,024 bytes.
    let said = said(start(&place, "trap '' XFSZ; ulimit -f 128; exec \"$@\""));
    assert!(said.contains("no room: "), "{said}");
    assert!(said.contains("hint: free some space"), "{said}");
    let after = place.shared_files();
    assert!(before.iter().all(|file| after.contains(file)), "{after:?}");
    assert!(!place.file(TRAIN[0]).exists() && !place.file(TRAIN[1]).exists());
    assert_eq!((place.leftovers(), place.aside()), (Vec::new(), Vec::new()));
    assert!(matches!(place.client().cached(&place.digits, &()), Err(HubError::Missing { .. })));
    assert_eq!(place.client().fetch(&place.digits, &()).unwrap().files.len(), 4);
}

/// Room is asked for before anything is downloaded: a listing of a file larger than any disk.
#[test]
fn a_download_without_room_does_not_begin() {
    let place = Place::new();
    let hub = place.client();
    hub.fetch(&place.digits, &()).unwrap();
    // A larger file in the lock file stands for a larger file in the listing.
    let lock = fs_err::read_to_string(hub.lock_file()).unwrap();
    let start = lock.find(&format!("path = \"{TEST}\"")).unwrap();
    let (head, tail) = lock.split_at(start);
    let tail = tail.replacen("bytes = 100000", "bytes = 9000000000000000000", 1).replacen("lfs = true", "lfs = false", 1);
    fs_err::write(hub.lock_file(), format!("{head}{tail}")).unwrap();
    place.hub.forget_requests();
    let error = hub.fetch(&place.digits, &()).unwrap_err();
    assert!(
        matches!(&error, HubError::NoRoom { reason, .. } if reason.starts_with("9000000000000000000 bytes are needed")),
        "{error}"
    );
    assert_eq!(place.hub.requests(), []);
}
