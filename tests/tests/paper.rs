//! `just paper` where there is no typst. (Setting the paper itself needs one.)

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]
#![cfg(unix)]

use std::process::Command;

use isorate_tests::root;

#[test]
fn without_typst_it_says_how_to_get_it() {
    let path = std::env::var_os("PATH").unwrap();
    let bash = std::env::split_paths(&path).map(|folder| folder.join("bash")).find(|bash| bash.is_file()).unwrap();
    let empty = tempfile::tempdir().unwrap();
    let ended =
        Command::new(bash).args(["paper/build", "isorate"]).current_dir(root()).env("PATH", empty.path()).output().unwrap();
    let message = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(2), "{message}");
    assert!(message.starts_with("error: there is no typst"), "{message}");
    for way in ["cargo install typst-cli --locked", "pip install typst"] {
        assert!(message.contains(way), "{message}");
    }
}
