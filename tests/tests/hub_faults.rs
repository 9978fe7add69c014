//! What a user of the binary sees when the hub, or what lies between, goes wrong; what is in the cache then; and what the next fetch
//! does.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use isorate_local_hub::{Commit, Fault, Request, Stage};
use isorate_tests::small_hub::{SmallHub, digits, digits_file, repository};

const TRAIN: &str = "mnist/train-00000-of-00001.parquet";
const TEST: &str = "mnist/test-00000-of-00001.parquet";

/// A hub with MNIST in small, and the record of what happens with it.
struct Case {
    place: SmallHub,
    /// The commit that is fetched.
    commit: Commit,
    record: String,
}

impl Case {
    fn new(name: &str) -> Self {
        Self::of(name, digits())
    }

    fn of(name: &str, commit: Commit) -> Self {
        let place = SmallHub::new("mnist", repository("mnist", commit.clone()), &commit.id());
        Self { place, commit, record: format!("──── {name} ────\n") }
    }

    fn fault(name: &str, fault: Fault) -> Self {
        let case = Self::new(name);
        case.place.hub.fault(fault);
        case
    }

    /// A message without what differs from run to run.
    fn plain(&self, text: &str) -> String {
        let text = text.replace(&self.place.path().display().to_string(), "FOLDER").replace(&self.commit.id(), "COMMIT");
        let text = text.replace(&self.commit.id()[..12], "COMMIT").replace(&self.place.hub.url(), "HUB");
        without_number(&text, " (os error ")
    }

    /// Where a file has its name in the cache.
    fn file(&self, path: &str) -> std::path::PathBuf {
        self.place.cache().join("datasets--ylecun--mnist/snapshots").join(self.commit.id()).join(path)
    }

    /// Runs a command and writes down how it ended and what it said.
    fn run(&mut self, title: &str, command: &mut Command) -> Output {
        let output = command.output().unwrap();
        self.note(title, &output);
        output
    }

    fn note(&mut self, title: &str, output: &Output) {
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        let said = self.plain(&said);
        let code = output.status.code().map_or("a signal".to_owned(), |code| code.to_string());
        writeln!(self.record, "{title}: exit {code}").unwrap();
        let shown = said.lines().filter(|line| !line.contains(" to download") && !line.is_empty());
        for line in shown {
            writeln!(self.record, "    {line}").unwrap();
        }
    }

    fn fetch(&mut self) -> Output {
        let mut command = self.place.command(&["fetch", "mnist"]);
        self.run("fetch", &mut command)
    }

    /// Waits until the first bytes of the training file are on their way.
    fn wait_for_train(&self) {
        let begun = |requests: &[Request]| {
            requests.iter().any(|it| it.stage == Stage::Bytes && it.file.as_deref() == Some(TRAIN) && it.sent > 0)
        };
        self.place.hub.wait_for(begun);
    }

    fn inspect(&mut self) -> Output {
        let mut command = self.place.command(&["data", "inspect", "mnist", "--data", "hub", "--out", "sheets"]);
        self.run("inspect", &mut command)
    }

    /// Writes down what the cache holds. What has its name there must be right, but for damage that the test itself did.
    fn cache(&mut self) {
        let mut there = Vec::new();
        for (path, name) in [(TRAIN, "train"), (TEST, "test")] {
            if let Ok(bytes) = fs_err::read(self.file(path)) {
                assert_eq!(bytes, self.commit.bytes(path).unwrap(), "{}", self.record);
                there.push(name);
            }
        }
        let there = if there.is_empty() { "nothing".to_owned() } else { there.join(" and ") };
        let count = |folder: &str| files(&self.place.cache().join(".isorate").join(folder));
        let (aside, left) = (count("set-aside"), count("downloads"));
        write!(self.record, "cache: {there}").unwrap();
        if aside > 0 {
            write!(self.record, "; set aside: {aside}").unwrap();
        }
        if left > 0 {
            write!(self.record, "; unfinished: {left}").unwrap();
        }
        self.record.push('\n');
    }

    /// The next fetch, without the fault: it must end well, with both files right.
    fn repair(&mut self) {
        self.place.hub.clear_faults();
        self.place.hub.release();
        self.place.hub.forget_requests();
        let output = self.place.command(&["fetch", "mnist"]).output().unwrap();
        assert!(output.status.success(), "{}{}", self.record, String::from_utf8_lossy(&output.stderr));
        for path in [TRAIN, TEST] {
            assert_eq!(fs_err::read(self.file(path)).unwrap(), self.commit.bytes(path).unwrap(), "{}", self.record);
        }
        let mut downloads = self.place.hub.downloads();
        downloads.sort();
        let names: Vec<&str> = downloads.iter().map(|path| if path == TRAIN { "train" } else { "test" }).collect();
        let names = if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") };
        writeln!(self.record, "next fetch: exit 0, downloads {names}").unwrap();
    }
}

/// The numbers of the system's errors differ from system to system: `text` without what begins with `before` and ends with `)`.
fn without_number(text: &str, before: &str) -> String {
    let mut parts = text.split(before);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(')').map_or(part, |(_, rest)| rest))
}

/// How many files are below a folder.
fn files(folder: &Path) -> usize {
    let Ok(entries) = fs_err::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// Runs the cases side by side and joins their records in order.
fn table(cases: Vec<Box<dyn FnOnce() -> Case + Send>>) -> String {
    let records: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = cases.into_iter().map(|case| scope.spawn(move || case().record)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    records.join("\n")
}

/// A fault strikes the training file, or everything, during the first fetch.
fn struck(name: &'static str, fault: Fault) -> Box<dyn FnOnce() -> Case + Send> {
    Box::new(move || {
        let mut case = Case::fault(name, fault);
        assert!(!case.fetch().status.success(), "{}", case.record);
        case.cache();
        case.repair();
        case
    })
}

#[test]
fn faults_of_the_hub() {
    let train = |fault: Fault| fault.path("train");
    let cases = vec![
        struck("401 to the listing", Fault::status(401).on(Stage::Listing)),
        struck("403 to the listing", Fault::status(403).on(Stage::Listing)),
        struck("404 to the listing", Fault::status(404).on(Stage::Listing)),
        struck("500 to the listing", Fault::status(500).on(Stage::Listing)),
        struck("401 to HEAD", train(Fault::status(401).on(Stage::Head))),
        struck("403 to HEAD", train(Fault::status(403).on(Stage::Head))),
        struck("404 to HEAD", train(Fault::status(404).on(Stage::Head))),
        struck("500 to HEAD", train(Fault::status(500).on(Stage::Head))),
        struck("403 to GET, after a good HEAD", train(Fault::status(403).on(Stage::Get))),
        struck("500 to GET, after a good HEAD", train(Fault::status(500).on(Stage::Get))),
        struck("403 to GET of the bytes", train(Fault::status(403).on(Stage::Bytes))),
        struck("500 to GET of the bytes", train(Fault::status(500).on(Stage::Bytes))),
        struck("429", train(Fault::too_many_requests(0).on(Stage::Get))),
        struck("429 with a wait of an hour", train(Fault::too_many_requests(3600).on(Stage::Get))),
        struck("short body", train(Fault::short_body())),
        struck("wrong bytes of the right length", train(Fault::altered_body())),
        struck("an HTML page with status 200", train(Fault::page())),
        struck("a page to sign in", train(Fault::portal())),
        struck("stall", train(Fault::stall().after(1000))),
        struck("reset", train(Fault::reset().after(1000))),
        struck("redirect loop", train(Fault::redirect_loop())),
    ];
    insta::assert_snapshot!(table(cases));
}

/// Damages a file of the cache, and looks at what reads it and at the next fetch.
fn damaged(name: &'static str, damage: fn(Vec<u8>) -> Vec<u8>) -> Box<dyn FnOnce() -> Case + Send> {
    Box::new(move || {
        let mut case = Case::new(name);
        case.fetch();
        let file = fs_err::canonicalize(case.file(TRAIN)).unwrap();
        let bytes = damage(fs_err::read(&file).unwrap());
        fs_err::remove_file(&file).unwrap();
        fs_err::write(&file, bytes).unwrap();
        assert!(!case.inspect().status.success(), "{}", case.record);
        case.cache();
        case.repair();
        assert!(case.inspect().status.success(), "{}", case.record);
        case
    })
}

/// A file that is as the hub says, and yet not what the set must be. It comes again until the manifest pins a commit that has it right.
fn unreadable(name: &'static str, train: fn() -> Vec<u8>) -> Box<dyn FnOnce() -> Case + Send> {
    Box::new(move || {
        let mut case = Case::of(name, digits().file(TRAIN, train()));
        assert!(case.fetch().status.success(), "{}", case.record);
        assert!(!case.inspect().status.success(), "{}", case.record);
        case.cache();
        case.repair();
        case.place.hub.push("ylecun/mnist", digits());
        case.place.pin("mnist", &digits().id());
        case.commit = digits();
        case.record.push_str("with the commit that repairs it:\n");
        case.repair();
        assert!(case.inspect().status.success(), "{}", case.record);
        case
    })
}

#[test]
fn files_that_are_not_what_they_must_be() {
    let cases = vec![
        damaged("one byte altered on disk", |mut bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        }),
        damaged("truncated on disk", |bytes| bytes[..bytes.len() / 2].to_vec()),
        damaged("replaced by a page on disk", |_| b"<!DOCTYPE html><html></html>".to_vec()),
        unreadable("right checksum, wrong schema", || digits_file("digit", None, 3)),
        unreadable("right checksum, an image that cannot be decoded", || digits_file("label", Some(b"<html>"), 3)),
        unreadable("right checksum, a label out of range", || digits_file("label", None, 10)),
        unreadable("right checksum, not parquet", || b"<!DOCTYPE html><html></html>".to_vec()),
    ];
    insta::assert_snapshot!(table(cases));
}

#[test]
fn revisions_that_move() {
    let cases: Vec<Box<dyn FnOnce() -> Case + Send>> = vec![
        Box::new(|| {
            let mut case = Case::new("a branch that moves after the first fetch");
            case.place.pin("mnist", "main");
            assert!(case.fetch().status.success());
            case.place.hub.push("ylecun/mnist", digits().file(TRAIN, digits_file("label", None, 3)));
            assert!(case.fetch().status.success(), "{}", case.record);
            case.cache();
            case.repair();
            case
        }),
        Box::new(|| {
            let mut case = Case::new("a commit that is gone");
            case.place.pin("mnist", &"0".repeat(40));
            assert!(!case.fetch().status.success());
            case.cache();
            case.place.pin("mnist", &case.commit.id());
            case.repair();
            case
        }),
        Box::new(|| {
            let mut case = Case::fault("answers that name another commit", Fault::other_commit());
            assert!(case.fetch().status.success(), "{}", case.record);
            case.cache();
            case.repair();
            case
        }),
    ];
    insta::assert_snapshot!(table(cases));
}

#[test]
fn without_the_network() {
    let cases: Vec<Box<dyn FnOnce() -> Case + Send>> = vec![
        Box::new(|| {
            let mut case = Case::new("offline, nothing there");
            let mut fetch = case.place.command(&["fetch", "mnist"]);
            assert!(!case.run("fetch", fetch.env("HF_HUB_OFFLINE", "1")).status.success());
            assert!(!case.inspect().status.success());
            assert_eq!(case.place.hub.requests(), []);
            case.cache();
            case.repair();
            case
        }),
        Box::new(|| {
            let mut case = Case::new("offline, all there");
            case.fetch();
            case.place.hub.forget_requests();
            let mut fetch = case.place.command(&["fetch", "mnist"]);
            assert!(case.run("fetch", fetch.env("HF_HUB_OFFLINE", "1")).status.success());
            assert!(case.inspect().status.success());
            assert_eq!(case.place.hub.requests(), []);
            case.cache();
            case.repair();
            case
        }),
    ];
    insta::assert_snapshot!(table(cases));
}

const TOKENS: [&str; 2] = ["hf_readerreaderreader", "hf_strangerstranger"];

#[test]
fn gated_sets_and_tokens() {
    let commit = digits();
    let gated = repository("mnist", commit.clone()).gated(&[TOKENS[0]]);
    let place = SmallHub::new("mnist", gated, &commit.id());
    place.hub.accept_token(TOKENS[1]);
    let mut case = Case { place, commit, record: "──── a gated set ────\n".into() };
    case.fetch();
    case.cache();
    for (title, token) in [("token of a stranger", TOKENS[1]), ("token of nobody", "hf_nobody"), ("token of a reader", TOKENS[0])]
    {
        let mut fetch = case.place.command(&["fetch", "mnist"]);
        let output = case.run(title, fetch.env("HF_TOKEN", token));
        assert_eq!(output.status.success(), token == TOKENS[0]);
        for said in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(said).contains(token), "{title}: the token is shown");
        }
        case.cache();
    }
    assert!(case.place.hub.requests().iter().all(|request| !(request.storage && request.authorized)));
    insta::assert_snapshot!(case.record);
}

#[test]
fn killed_in_the_middle_of_a_download() {
    let mut case = Case::fault("kill -9 in the middle of a download", Fault::stall().after(1000).path("train"));
    let mut child = case.place.command(&["fetch", "mnist"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    case.wait_for_train();
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    // Whether the other file was complete by then, chance decides; whatever has a name is right.
    for path in [TRAIN, TEST] {
        if let Ok(bytes) = fs_err::read(case.file(path)) {
            assert_eq!(bytes, case.commit.bytes(path).unwrap());
        }
    }
    assert!(!case.file(TRAIN).exists());
    case.repair();
    assert_eq!(files(&case.place.cache().join(".isorate/downloads")), 0, "the next fetch clears what the killed one left");
    let mut inspect = case.place.command(&["data", "inspect", "mnist", "--data", "hub"]);
    assert!(inspect.output().unwrap().status.success());
}

#[test]
fn two_processes_at_once() {
    let case = Case::fault("two at once", Fault::stall().after(1000).path("train").times(1));
    let spawn = || {
        case.place
            .command(&["fetch", "mnist"])
            .env("HF_HUB_DOWNLOAD_TIMEOUT", "30")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let first = spawn();
    case.wait_for_train();
    let second = spawn();
    case.place.hub.release();
    for child in [first, second] {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut downloads = case.place.hub.downloads();
    downloads.sort();
    assert_eq!(downloads, [TEST, TRAIN], "each file is downloaded once");
}

#[test]
fn a_cache_that_cannot_be_written() {
    // A file where the folder should be: holds for every user, root too.
    let mut case = Case::new("a file in the place of HF_HOME");
    fs_err::write(case.place.path().join("hf"), "in the way").unwrap();
    assert!(!case.fetch().status.success());
    fs_err::remove_file(case.place.path().join("hf")).unwrap();
    case.repair();
    insta::assert_snapshot!(case.record);
}

/// As in a cache that may only be read, which binds everybody but root.
#[test]
fn a_bad_file_that_cannot_be_moved_is_named() {
    let mut case = Case::new("a bad file, and a file in the place of the folder for such files");
    assert!(case.fetch().status.success());
    let file = case.file(TRAIN);
    let good = fs_err::read(&file).unwrap();
    fs_err::write(&file, &good[..100]).unwrap();
    let in_the_way = case.place.cache().join(".isorate/set-aside");
    fs_err::write(&in_the_way, "in the way").unwrap();
    assert_eq!(case.inspect().status.code(), Some(2));
    assert_eq!(fs_err::read(&file).unwrap(), good[..100]);
    fs_err::remove_file(&in_the_way).unwrap();
    assert_eq!(case.inspect().status.code(), Some(2));
    case.repair();
    assert_eq!(fs_err::read(&file).unwrap(), good);
    insta::assert_snapshot!(case.record);
}

#[cfg(unix)]
#[test]
fn a_cache_that_may_only_be_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut case = Case::new("a cache that may only be read");
    assert!(case.fetch().status.success());
    let mut folders = vec![case.place.cache()];
    let mut all = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
        all.push(folder);
    }
    let mode = |mode: u32| {
        for folder in &all {
            fs_err::set_permissions(folder, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    mode(0o555);
    let read = case.inspect();
    mode(0o755);
    assert!(read.status.success(), "what is there can be used: {}", case.record);
}

#[cfg(unix)]
#[test]
fn a_disk_that_is_full() {
    // The shell's limit on the size of a file stands for a full disk; in blocks of 512 or 1,024 bytes, by shell.
    let mut case = Case::new("no more room after some blocks");
    assert!(case.commit.bytes(TRAIN).unwrap().len() > 16 * 1024, "{}", case.commit.bytes(TRAIN).unwrap().len());
    let mut limited = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 12; exec \"$0\" \"$@\"";
    limited.args(["-c", script]).arg(isorate_tests::binary()).args(["fetch", "mnist"]).envs(case.place.environment());
    for name in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"] {
        limited.env_remove(name);
    }
    assert!(!case.run("fetch", &mut limited).status.success(), "{}", case.record);
    case.cache();
    case.repair();
    insta::assert_snapshot!(case.record);
}
