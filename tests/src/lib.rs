//! What end-to-end tests share: the binary as users run it, in a folder of its own.

pub mod small_hub;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace.
///
/// # Panics
/// Never: a workspace member has a parent folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests folder has a parent")
}

/// The binary that was built with these tests.
///
/// # Panics
/// It is not there: cargo builds it for the integration test of the `cli` crate, so the whole workspace must be tested.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let folder = test.parent().and_then(Path::parent).expect("tests lie in <profile>/deps");
    let binary = folder.join(format!("isorate{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is not built: test with --workspace", binary.display());
    binary
}

/// How a call of the binary ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

/// A folder in which the binary finds the project's `paper` and `figures/results`, and writes without touching the project.
#[derive(Debug)]
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Default for Workplace {
    fn default() -> Self {
        Self::new()
    }
}

impl Workplace {
    /// An empty workplace with copies of the specifications, the claims and the frozen results.
    ///
    /// # Panics
    /// The file system refuses.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        copy(&root().join("paper"), &folder.path().join("paper"));
        copy(&root().join("figures/results"), &folder.path().join("figures/results"));
        Self { folder }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The command, ready for more settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.path()).env("RUST_BACKTRACE", "0");
        command
    }

    /// Runs the binary to its end.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).output().expect("the binary starts");
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs the binary and expects success.
    ///
    /// # Panics
    /// It ended otherwise; the message holds what it said.
    pub fn succeed(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "isorate {}: {}", arguments.join(" "), ended.stderr);
        ended
    }

    /// Every file below a folder of the workplace, sorted, with its bytes.
    ///
    /// # Panics
    /// The file system refuses.
    pub fn files(&self, folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut folders = vec![self.path().join(folder)];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a readable folder") {
                let path = entry.expect("a readable entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let bytes = std::fs::read(&path).expect("a readable file");
                    files.push((path.strip_prefix(self.path()).expect("below the workplace").to_owned(), bytes));
                }
            }
        }
        files.sort();
        files
    }
}

/// Copies a folder with all below it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a writable folder");
    for entry in std::fs::read_dir(from).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let target = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a writable file");
        }
    }
}
