//! Puts into the binary what its provenance says: the code's revision, whether the tree was dirty, the compiler.

use std::process::Command;

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn main() {
    let revision = run("git", &["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let dirty = run("git", &["status", "--porcelain", "--untracked-files=no", "--", "../../crates", "../../Cargo.lock"])
        .is_none_or(|changes| !changes.is_empty());
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let compiler = run(&rustc, &["--version"]).unwrap_or_else(|| "unknown".into());
    println!("cargo::rustc-env=ISORATE_REVISION={revision}");
    println!("cargo::rustc-env=ISORATE_DIRTY={dirty}");
    println!("cargo::rustc-env=ISORATE_RUSTC={compiler}");
    // A commit moves the log of HEAD; edits of the code move the folders.
    if let Some(git) = run("git", &["rev-parse", "--absolute-git-dir"]) {
        println!("cargo::rerun-if-changed={git}/logs/HEAD");
    }
    println!("cargo::rerun-if-changed=../../crates");
    println!("cargo::rerun-if-changed=../../Cargo.lock");
}
