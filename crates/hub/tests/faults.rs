//! What a user sees when the hub, or what is between, goes wrong; and that the cache never holds a bad file after it.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

mod common;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use common::{Place, Seen, TEST, TRAIN, commit, repository};
use isorate_hub::{Hub, HubError};
use isorate_local_hub::{Fault, Stage};

/// Fetches under a fault and returns the message; then without it, which must repair everything.
fn under(fault: Fault) -> (Place, HubError) {
    let place = Place::new();
    place.hub.fault(fault);
    let hub = place.client();
    let error = hub.fetch(&place.digits, &()).unwrap_err();
    assert_eq!(place.leftovers(), [""; 0], "{error}");
    // Whatever has a name is right.
    for path in [TEST, TRAIN[0], TRAIN[1]] {
        if let Ok(bytes) = fs_err::read(place.file(path)) {
            assert_eq!(bytes, commit().bytes(path).unwrap(), "{path}");
        }
    }
    place.hub.release();
    place.hub.clear_faults();
    assert_eq!(hub.fetch(&place.digits, &()).unwrap().files.len(), 4);
    hub.cached(&place.digits, &()).unwrap();
    (place, error)
}

#[test]
fn every_fault_is_told_and_nothing_bad_is_kept() {
    let train = |fault: Fault| fault.path("train-00001");
    let cases = [
        ("500 to the listing", Fault::status(500).on(Stage::Listing)),
        ("500 to HEAD", train(Fault::status(500).on(Stage::Head))),
        ("500 to GET, after a good HEAD", train(Fault::status(500).on(Stage::Get))),
        ("500 to GET of the bytes", train(Fault::status(500).on(Stage::Bytes))),
        ("403 to GET, after a good HEAD", train(Fault::status(403).on(Stage::Get))),
        ("403 to GET of the bytes", train(Fault::status(403).on(Stage::Bytes))),
        ("401 to HEAD", train(Fault::status(401).on(Stage::Head))),
        ("404 to GET", train(Fault::status(404).on(Stage::Get))),
        ("429 for ever", train(Fault::too_many_requests(0).on(Stage::Get))),
        ("429 with a long wait", train(Fault::too_many_requests(3600).on(Stage::Get))),
        ("416 to GET", train(Fault::status(416).on(Stage::Get))),
        ("a body that is too short", train(Fault::short_body())),
        ("one bit of the body", train(Fault::altered_body())),
        ("a page in place of the bytes", train(Fault::page())),
        ("silence", train(Fault::stall().after(50_000))),
        ("silence from the beginning", train(Fault::stall())),
        ("silence of the listing", Fault::stall().on(Stage::Listing)),
        ("a connection that is reset", train(Fault::reset().after(50_000))),
        ("redirects in a circle", train(Fault::redirect_loop())),
        ("a page to sign in", train(Fault::portal())),
        ("a page to sign in for the listing", Fault::portal().on(Stage::Listing)),
    ];
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        for (index, (name, fault)) in cases.into_iter().enumerate() {
            let sender = sender.clone();
            scope.spawn(move || {
                let (place, error) = under(fault);
                let kept = if place.aside().is_empty() { "" } else { "(set aside)\n" };
                sender.send((index, format!("── {name} ──\n{}\n{kept}\n", place.plain_error(&error)))).unwrap();
            });
        }
    });
    drop(sender);
    let mut parts: Vec<(usize, String)> = receiver.into_iter().collect();
    parts.sort();
    let text: String = parts.into_iter().map(|(_, part)| part).collect();
    insta::assert_snapshot!(without_numbers(&text));
}

/// The numbers of the system's errors differ from system to system.
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}

#[test]
fn what_passes_is_repeated() {
    let place = Place::new();
    for (stage, fault) in [
        (Stage::Listing, Fault::status(503)),
        (Stage::Head, Fault::status(502)),
        (Stage::Get, Fault::too_many_requests(0)),
        (Stage::Bytes, Fault::reset().after(70_000).path(TEST)),
    ] {
        place.hub.fault(fault.on(stage).times(1));
    }
    place.hub.fault(Fault::short_body().path("train-00001").times(1));
    place.hub.fault(Fault::stall().after(10).path("train-00000").times(1));
    let seen = Seen::default();
    let fetched = place.client().fetch(&place.digits, &seen).unwrap();
    assert_eq!(fetched.files.len(), 4);
    assert_eq!(seen.lines().iter().filter(|line| line.starts_with("again: ")).count(), 6, "{:#?}", seen.lines());
    assert_eq!(place.aside(), [""; 0]);
}

#[test]
fn the_wait_that_the_hub_asks_for_is_obeyed() {
    let place = Place::new();
    place.hub.fault(Fault::too_many_requests(1).on(Stage::Get).times(1));
    let start = Instant::now();
    place.client().fetch(&place.digits, &()).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn a_lasting_refusal_is_not_repeated() {
    for status in [401, 403, 404] {
        let place = Place::new();
        place.hub.fault(Fault::status(status).on(Stage::Listing));
        place.client().fetch(&place.digits, &()).unwrap_err();
        assert_eq!(place.hub.requests().len(), 1, "{status}");
    }
}

#[test]
fn gated_and_missing_repositories_say_how_to_get_access() {
    let gated = || repository(commit()).gated(&["hf_reader"]);
    let mut text = String::new();
    let mut tell = |name: &str, place: &Place, hub: &Hub| {
        let error = hub.fetch(&place.digits, &()).unwrap_err();
        write!(text, "── {name} ──\n{}\n\n", place.plain_error(&error)).unwrap();
    };
    let place = Place::with(gated());
    // A token of the environment must not take part.
    tell("gated, no token", &place, &place.client());
    place.hub.accept_token("hf_stranger");
    tell("gated, token of a stranger", &place, &place.builder().token("hf_stranger").build().unwrap());
    tell("gated, token of nobody", &place, &place.builder().token("hf_nobody").build().unwrap());
    let mut elsewhere = Place::new();
    elsewhere.digits.id = "ylecun/gone".into();
    tell("no such repository", &elsewhere, &elsewhere.client());
    let mut later = Place::new();
    later.digits.revision = "0".repeat(40);
    tell("no such commit", &later, &later.client());
    let mut branch = Place::new();
    branch.digits.revision = "next".into();
    tell("no such branch", &branch, &branch.client());
    assert!(!text.contains("hf_stranger") && !text.contains("hf_nobody"), "{text}");
    insta::assert_snapshot!(text);

    let reader = place.builder().token("hf_reader").build().unwrap();
    assert_eq!(reader.fetch(&place.digits, &()).unwrap().files.len(), 4);
    // The token goes to the hub and nowhere else.
    assert!(place.hub.requests().iter().all(|request| !(request.storage && request.authorized)));
}

#[test]
fn without_the_network_the_cache_must_do() {
    let place = Place::new();
    let offline = place.builder().offline(true).build().unwrap();
    let mut text = String::new();
    let mut tell = |name: &str, error: HubError| write!(text, "── {name} ──\n{}\n\n", place.plain_error(&error)).unwrap();
    tell("fetch, nothing there", offline.fetch(&place.digits, &()).unwrap_err());
    tell("plan, nothing there", offline.plan(&place.digits, &()).unwrap_err());
    tell("use, nothing there", place.client().cached(&place.digits, &()).unwrap_err());
    assert_eq!(place.hub.requests(), []);
    place.client().fetch(&place.digits, &()).unwrap();
    fs_err::remove_file(place.file(TEST)).unwrap();
    place.hub.forget_requests();
    tell("fetch, a file is missing", offline.fetch(&place.digits, &()).unwrap_err());
    tell("use, a file is missing", place.client().cached(&place.digits, &()).unwrap_err());
    assert_eq!(place.hub.requests(), []);
    insta::assert_snapshot!(text);
}

#[test]
fn a_hub_that_is_not_there() {
    let place = Place::new();
    // Nothing listens on a port that was free a moment ago.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let hub = place.builder().endpoint(format!("http://127.0.0.1:{port}")).build().unwrap();
    let error = hub.fetch(&place.digits, &()).unwrap_err().to_string();
    assert!(error.contains("cannot be reached") && error.contains("after 3 attempts"), "{error}");
    assert!(error.contains("hint: try again later"), "{error}");
}

/// The content is what is checked: a commit's name in a header is not needed.
#[test]
fn an_answer_that_names_another_commit_is_judged_by_its_bytes() {
    let place = Place::new();
    place.hub.fault(Fault::other_commit());
    assert_eq!(place.client().fetch(&place.digits, &()).unwrap().files.len(), 4);
}
