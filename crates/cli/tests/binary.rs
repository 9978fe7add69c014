//! The binary by itself: its name, its version, and the exit codes of wrong use. (That this test exists makes cargo build the
//! binary for the end-to-end tests of the `tests` member too.)

use std::process::Command;

fn isorate(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_isorate")).args(arguments).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn says_its_version() {
    let (code, stdout, stderr) = isorate(&["--version"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout.trim(), concat!("isorate ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_use_is_exit_code_2_and_says_what_is_near() {
    let (code, stdout, stderr) = isorate(&["verify-teory"]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("verify-theory"), "{stderr}");
    let (code, _, stderr) = isorate(&["trajectory", "--model", "m.toml", "--rule", "specg", "--times", "0"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("specgd"), "{stderr}");
}
