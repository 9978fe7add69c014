//! The protocol and every fault, seen by a client that knows nothing but sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::io::{Read, Write};
use std::net::TcpStream;

use isorate_local_hub::{Commit, Fault, LocalHub, Repository, Stage};
use serde_json::Value;

/// An answer as it came over the wire.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Asks once on a connection of its own; `Err` if it breaks before the end.
fn ask(url: &str, method: &str, headers: &str) -> std::io::Result<Answer> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host)?;
    write!(stream, "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let end = text.windows(4).position(|window| window == b"\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let head = String::from_utf8(text[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head, body: text.split_off(end + 4) })
}

fn get(url: &str) -> Answer {
    ask(url, "GET", "").unwrap()
}

const SHARD: &str = "data/train-00000-of-00001.parquet";

fn commit() -> Commit {
    let shard: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    Commit::new().file("README.md", "# Digits\n").file(SHARD, shard).file("data/names.txt", "zero\none\n")
}

fn digits() -> Repository {
    Repository::dataset("someone/digits").commit(commit()).tag("v1")
}

/// Address of the bytes of the shard, as the hub gives it.
fn storage(hub: &LocalHub) -> String {
    let answer = get(&format!("{}/datasets/someone/digits/resolve/main/{SHARD}", hub.url()));
    answer.header("Location").unwrap().to_owned()
}

#[test]
fn what_a_repository_is() {
    let hub = LocalHub::start(vec![digits(), Repository::model("someone/net").commit(Commit::new().file("config.json", "{}"))]);
    let url = hub.url();
    let id = commit().id();
    for revision in ["", "/revision/main", "/revision/v1", &format!("/revision/{id}")] {
        let info = get(&format!("{url}/api/datasets/someone/digits{revision}")).json();
        assert_eq!((info["sha"].as_str(), info["id"].as_str()), (Some(&id[..]), Some("someone/digits")), "{revision}");
        assert_eq!(info["siblings"].as_array().unwrap().len(), 3);
    }
    assert_eq!(get(&format!("{url}/api/models/someone/net")).json()["siblings"][0]["rfilename"], "config.json");
    let refs = get(&format!("{url}/api/datasets/someone/digits/refs")).json();
    assert_eq!((&refs["branches"][0]["targetCommit"], &refs["tags"][0]["name"]), (&id.into(), &"v1".into()));

    let missing = get(&format!("{url}/api/datasets/someone/letters"));
    assert_eq!((missing.status, missing.header("X-Error-Code")), (401, Some("RepoNotFound")));
    let missing = get(&format!("{url}/api/datasets/someone/digits/revision/v2"));
    assert_eq!((missing.status, missing.header("X-Error-Code")), (404, Some("RevisionNotFound")));
    let missing = get(&format!("{url}/datasets/someone/digits/resolve/main/data/test.parquet"));
    assert_eq!((missing.status, missing.header("X-Error-Code")), (404, Some("EntryNotFound")));
}

#[test]
fn the_tree_comes_in_pages_with_the_hubs_keys() {
    let hub = LocalHub::start(vec![digits()]);
    hub.page_size(2);
    let mut next = Some(format!("{}/api/datasets/someone/digits/tree/main?recursive=true", hub.url()));
    let (mut entries, mut pages) = (Vec::new(), 0);
    while let Some(url) = next {
        let answer = get(&url);
        entries.extend(answer.json().as_array().unwrap().clone());
        next = answer.header("Link").map(|link| link.trim_start_matches('<').split('>').next().unwrap().to_owned());
        pages += 1;
    }
    assert_eq!(pages, 2);
    let paths: Vec<&str> = entries.iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["data", "README.md", "data/names.txt", SHARD]);
    assert_eq!(entries[0]["type"], "directory");
    // `printf '# Digits\n' | git hash-object --stdin`
    assert_eq!(entries[1]["oid"], "6835ede4d5d17e8188ebcf7ed13220f52a971b68");
    assert!(entries[1].get("lfs").is_none());
    assert_eq!(entries[3]["lfs"]["oid"].as_str(), commit().sha256(SHARD));
    assert_eq!((&entries[3]["size"], &entries[3]["lfs"]["pointerSize"]), (&400_000.into(), &131.into()));

    let root = get(&format!("{}/api/datasets/someone/digits/tree/main?expand=true", hub.url())).json();
    assert_eq!(root.as_array().unwrap().len(), 2);
    assert_eq!(root[1]["lastCommit"]["id"].as_str(), Some(&commit().id()[..]));
    let folder = get(&format!("{}/api/datasets/someone/digits/tree/main/data", hub.url())).json();
    assert_eq!(folder[1]["path"], SHARD);

    let asked = "{\"paths\":[\"README.md\",\"nothing\"]}";
    // The line end that follows is a part of the body.
    let headers = format!("Content-Length: {}\r\n\r\n{asked}", asked.len() + 2);
    let found = ask(&format!("{}/api/datasets/someone/digits/paths-info/main", hub.url()), "POST", &headers).unwrap().json();
    assert_eq!((found.as_array().unwrap().len(), &found[0]["size"]), (1, &9.into()));
}

#[test]
fn a_large_file_comes_from_the_storage_and_a_small_one_from_the_hub() {
    let hub = LocalHub::start(vec![digits().chunked()]);
    let large = format!("{}/datasets/someone/digits/resolve/v1/{SHARD}", hub.url());
    let head = ask(&large, "HEAD", "").unwrap();
    assert_eq!((head.status, head.body.len()), (302, 0));
    assert_eq!(head.header("X-Linked-Size"), Some("400000"));
    assert_eq!(head.header("X-Linked-Etag"), Some(&format!("\"{}\"", commit().sha256(SHARD).unwrap())[..]));
    assert_eq!(head.header("X-Repo-Commit"), Some(&commit().id()[..]));
    assert_eq!(head.header("X-Xet-Hash").unwrap().len(), 64);
    let location = head.header("Location").unwrap();
    assert!(!location.starts_with(&hub.url()), "another address");
    let whole = get(location);
    assert_eq!(whole.body, commit().bytes(SHARD).unwrap());
    assert_ne!(whole.header("ETag"), head.header("X-Linked-Etag"), "the storage's tag is not the SHA-256");
    let part = ask(location, "GET", "Range: bytes=4-7\r\n").unwrap();
    assert_eq!((part.status, part.header("Content-Range")), (206, Some("bytes 4-7/400000")));
    assert_eq!(part.body, [1, 0, 0, 0]);
    let stale = ask(location, "GET", "Range: bytes=4-7\r\nIf-Range: \"other\"\r\n").unwrap();
    assert_eq!((stale.status, stale.body.len()), (200, 400_000));
    assert_eq!(ask(location, "GET", "Authorization: Bearer t\r\n").unwrap().status, 400);
    assert_eq!(get(location.split('?').next().unwrap()).status, 403, "without signature");

    let small = ask(&format!("{}/datasets/someone/digits/resolve/main/README.md", hub.url()), "HEAD", "").unwrap();
    assert_eq!((small.status, small.header("X-Linked-Etag")), (307, None));
    let cached = format!("{}{}", hub.url(), small.header("Location").unwrap());
    let answer = get(&cached);
    assert_eq!((&answer.body[..], answer.header("X-Repo-Commit")), (&b"# Digits\n"[..], Some(&commit().id()[..])));
    let tag = answer.header("ETag").unwrap();
    assert_eq!(tag.len(), 42);
    assert_eq!(ask(&cached, "GET", &format!("If-None-Match: {tag}\r\n")).unwrap().status, 304);
    assert_eq!(hub.downloads(), [SHARD, SHARD, SHARD, SHARD, SHARD, "README.md", "README.md"]);
}

#[test]
fn main_moves_and_pinned_commits_stay() {
    let hub = LocalHub::start(vec![digits()]);
    let moved = commit().file("README.md", "# Numbers\n");
    hub.push("someone/digits", moved.clone());
    let head = |revision: &str| {
        let url = format!("{}/datasets/someone/digits/resolve/{revision}/README.md", hub.url());
        ask(&url, "HEAD", "").unwrap().header("X-Repo-Commit").unwrap().to_owned()
    };
    assert_eq!(head("main"), moved.id());
    assert_eq!(head("v1"), commit().id());
    assert_eq!(head(&commit().id()), commit().id());
}

#[test]
fn a_gated_repository_is_listed_to_all_and_read_by_some() {
    let hub = LocalHub::start(vec![digits().gated(&["hf_reader"])]);
    hub.accept_token("hf_stranger");
    let url = format!("{}/datasets/someone/digits/resolve/main/README.md", hub.url());
    let with = |token: &str| ask(&url, "HEAD", &format!("Authorization: Bearer {token}\r\n")).unwrap();
    let refused = get(&url);
    assert_eq!((refused.status, refused.header("X-Error-Code")), (401, Some("GatedRepo")));
    assert_eq!((with("hf_stranger").status, with("hf_stranger").header("X-Error-Code")), (403, Some("GatedRepo")));
    assert_eq!((with("hf_nobody").status, with("hf_nobody").header("X-Error-Code")), (401, None));
    assert_eq!(with("hf_reader").status, 307);
    assert_eq!(get(&format!("{}/api/datasets/someone/digits/tree/main", hub.url())).status, 200);
    assert!(hub.requests()[1].authorized && !hub.requests()[0].authorized);
}

#[test]
fn a_connection_serves_more_than_one_request() {
    let hub = LocalHub::start(vec![digits()]);
    let mut stream = TcpStream::connect(hub.url().strip_prefix("http://").unwrap()).unwrap();
    for _ in 0..3 {
        write!(stream, "HEAD /datasets/someone/digits/resolve/main/README.md HTTP/1.1\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 307");
        let mut rest = Vec::new();
        while !rest.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
    }
    assert_eq!(hub.requests().len(), 3);
}

#[test]
fn status_faults_strike_where_they_are_switched_on() {
    let hub = LocalHub::start(vec![digits()]);
    let url = format!("{}/datasets/someone/digits/resolve/main/{SHARD}", hub.url());
    hub.fault(Fault::status(500).on(Stage::Head).times(1));
    assert_eq!(ask(&url, "HEAD", "").unwrap().status, 500);
    assert_eq!(ask(&url, "HEAD", "").unwrap().status, 302);
    hub.fault(Fault::too_many_requests(7).on(Stage::Get));
    let limited = get(&url);
    assert_eq!((limited.status, limited.header("Retry-After")), (429, Some("7")));
    assert!(limited.body.starts_with(b"<!DOCTYPE html>"));
    hub.clear_faults();
    hub.fault(Fault::status(403).path("names"));
    assert_eq!(get(&storage(&hub)).status, 200);
    hub.fault(Fault::status(403).on(Stage::Bytes));
    assert_eq!(get(&storage(&hub)).status, 403);
    hub.fault(Fault::status(503).on(Stage::Listing));
    assert_eq!(get(&format!("{}/api/datasets/someone/digits", hub.url())).status, 503);
    assert_eq!(hub.requests()[0].status, Some(500));
}

#[test]
fn bodies_are_cut_altered_replaced_and_reset() {
    let hub = LocalHub::start(vec![digits()]);
    let location = storage(&hub);
    let right = commit().bytes(SHARD).unwrap().to_vec();
    let struck = |fault: Fault| {
        hub.clear_faults();
        hub.fault(fault);
        ask(&location, "GET", "")
    };
    let short = struck(Fault::short_body()).unwrap();
    assert_eq!((short.header("Content-Length"), short.body.len()), (Some("400000"), 200_000));
    assert_eq!(struck(Fault::short_body().after(10)).unwrap().body.len(), 10);
    let altered = struck(Fault::altered_body()).unwrap();
    let differing = right.iter().zip(&altered.body).filter(|(right, altered)| right != altered).count();
    assert_eq!((altered.status, altered.body.len(), differing), (200, right.len(), 1));
    let page = struck(Fault::page()).unwrap();
    assert!(page.status == 200 && page.body.starts_with(b"<!DOCTYPE html>"));
    let reset = struck(Fault::reset()).unwrap_err().kind();
    assert!(matches!(reset, std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof), "{reset:?}");
    match struck(Fault::reset().after(1000)) {
        Ok(answer) => assert!(answer.body.len() <= 1000),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    hub.clear_faults();
    assert_eq!(get(&location).body, right);
}

#[test]
fn redirects_go_round_or_to_a_page() {
    let hub = LocalHub::start(vec![digits()]);
    let target = format!("/datasets/someone/digits/resolve/main/{SHARD}");
    let url = format!("{}{target}", hub.url());
    hub.fault(Fault::redirect_loop());
    assert_eq!(get(&url).header("Location"), Some(&target[..]));
    hub.clear_faults();
    hub.fault(Fault::portal());
    let page = get(get(&url).header("Location").unwrap());
    assert!(page.status == 200 && page.body.starts_with(b"<!DOCTYPE html>"));
    hub.clear_faults();
    hub.fault(Fault::other_commit().on(Stage::Head));
    assert_ne!(ask(&url, "HEAD", "").unwrap().header("X-Repo-Commit"), Some(&commit().id()[..]));
}

#[test]
fn a_stall_lasts_until_it_is_released_or_the_hub_ends() {
    let hub = LocalHub::start(vec![digits()]);
    let location = storage(&hub);
    hub.fault(Fault::stall().after(1000).times(1));
    let client = std::thread::spawn({
        let location = location.clone();
        move || get(&location)
    });
    hub.wait_for(|requests| requests.last().is_some_and(|request| request.sent == 1000));
    assert_eq!(hub.requests().last().unwrap().status, Some(200));
    hub.release();
    assert_eq!(client.join().unwrap().body, commit().bytes(SHARD).unwrap());

    hub.fault(Fault::stall());
    let client = std::thread::spawn(move || ask(&location, "GET", ""));
    hub.wait_for(|requests| requests.len() == 3);
    drop(hub);
    assert!(client.join().unwrap().is_err(), "the hub said nothing and then went away");
}
