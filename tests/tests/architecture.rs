//! Rules that the compiler does not hold: the direction of the dependencies, one set of features for every build, what a
//! manifest inherits, and what a file in the repository may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Each crate with the crates of the workspace that it may depend on, in any way, tests included.
const LAYERS: &[(&str, &[&str])] = &[
    ("isorate-theory", &[]),
    ("isorate-atomic-file", &[]),
    ("isorate-optim", &["isorate-atomic-file", "isorate-kernels"]),
    ("isorate-local-hub", &[]),
    ("isorate-hub", &["isorate-local-hub"]),
    ("isorate-kernels", &[]),
    ("isorate-data", &["isorate-hub", "isorate-local-hub"]),
    ("isorate-results", &["isorate-atomic-file"]),
    ("isorate-models", &["isorate-atomic-file", "isorate-kernels"]),
    ("isorate-bench", &["isorate-kernels", "isorate-models", "isorate-optim"]),
    (
        "isorate-train",
        &[
            "isorate-data",
            "isorate-hub",
            "isorate-kernels",
            "isorate-models",
            "isorate-optim",
            "isorate-results",
            "isorate-theory",
        ],
    ),
    ("isorate-figures", &["isorate-results", "isorate-theory"]),
    ("isorate-cli", LIBRARIES),
    ("isorate-tests", LIBRARIES),
];

/// Every crate but the binary: nothing depends on `isorate-cli`.
const LIBRARIES: &[&str] = &[
    "isorate-atomic-file",
    "isorate-bench",
    "isorate-data",
    "isorate-figures",
    "isorate-hub",
    "isorate-kernels",
    "isorate-local-hub",
    "isorate-models",
    "isorate-optim",
    "isorate-results",
    "isorate-theory",
    "isorate-train",
];

/// Crates that must work, and build fast, without the deep learning framework.
const WITHOUT_CANDLE: &[&str] = &["isorate-theory", "isorate-figures"];

/// A file of Rust past some 400 lines holds more than one concept; this leaves room for the last test.
const LONGEST_SOURCE: usize = 500;
/// A `lib.rs` holds the crate's documentation, its modules and its re-exports.
const LONGEST_LIB: usize = 150;
/// The embedded data sets are the largest files.
const LARGEST_FILE: u64 = 6 << 20;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace")
}

/// Runs a program in the root of the workspace and returns its standard output.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output().expect("the program starts");
    assert!(output.status.success(), "{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

/// Runs cargo on the committed lock file, without the internet.
fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    output(&cargo, &[arguments, &["--locked", "--offline"]].concat())
}

/// `cargo metadata` for this platform: packages of others need not have been downloaded.
fn metadata() -> Value {
    let version = output("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    serde_json::from_str(&cargo(&["metadata", "--format-version", "1", "--filter-platform", host])).expect("cargo writes JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text at `{key}` in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list at `{key}` in {value}"))
}

/// The packages of the workspace.
fn members(metadata: &Value) -> Vec<&Value> {
    let ids: BTreeSet<&str> = list(metadata, "workspace_members").iter().filter_map(Value::as_str).collect();
    list(metadata, "packages").iter().filter(|package| ids.contains(text(package, "id"))).collect()
}

/// What each package is built with, by package id; for members, what their tests are built with as well.
fn built_with(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let members: BTreeSet<&str> = members(metadata).into_iter().map(|package| text(package, "id")).collect();
    let nodes = list(&metadata["resolve"], "nodes").iter();
    nodes
        .map(|node| {
            let id = text(node, "id");
            let dependencies = list(node, "deps").iter().filter(|dependency| {
                members.contains(id) || list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].as_str() != Some("dev"))
            });
            (id, dependencies.map(|dependency| text(dependency, "pkg")).collect())
        })
        .collect()
}

#[test]
fn dependencies_go_downward() {
    let metadata = metadata();
    let layers: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    let members = members(&metadata);
    let names: BTreeSet<&str> = members.iter().map(|package| text(package, "name")).collect();
    assert_eq!(names, layers.keys().copied().collect(), "LAYERS must say what each crate may depend on");
    for package in members {
        let name = text(package, "name");
        for dependency in list(package, "dependencies") {
            let dependency = text(dependency, "name");
            let allowed = !names.contains(dependency) || layers[name].contains(&dependency);
            assert!(allowed, "{name} depends on {dependency}, which is not below it");
        }
    }
}

#[test]
fn theory_and_figures_build_without_candle() {
    let metadata = metadata();
    let built_with = built_with(&metadata);
    let names: BTreeMap<&str, &str> =
        list(&metadata, "packages").iter().map(|package| (text(package, "id"), text(package, "name"))).collect();
    for package in members(&metadata) {
        let name = text(package, "name");
        let mut reached = BTreeSet::new();
        let mut open = vec![text(package, "id")];
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(&built_with[id]);
            }
        }
        let candle: Vec<&str> = reached.iter().map(|id| names[id]).filter(|name| name.starts_with("candle")).collect();
        if WITHOUT_CANDLE.contains(&name) {
            assert!(candle.is_empty(), "{name} is built with {}", candle.join(", "));
        } else if name == "isorate-train" {
            // Otherwise the search above finds nothing anywhere.
            assert!(candle.contains(&"candle-core"), "{name} is built without candle");
        }
    }
}

/// A dependency with other features under test than in the binary is compiled twice, with all that depends on it: for
/// `serde_core` that includes polars, which takes half of the build.
#[test]
fn binary_and_tests_share_the_features_of_dependencies() {
    let features = |edges: &str| -> BTreeMap<String, BTreeSet<String>> {
        let tree = cargo(&["tree", "--workspace", "--edges", edges, "--prefix", "none", "--format", "{p}|{f}"]);
        let mut features: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let (package, enabled) = line.trim_end_matches(" (*)").split_once('|').expect("the format has a bar");
            features.entry(package.into()).or_default().insert(enabled.into());
        }
        features
    };
    let (binary, tests) = (features("no-dev"), features("normal,build,dev"));
    assert!(binary.len() > LAYERS.len(), "cargo tree lists dependencies");
    for (package, features) in &binary {
        let with_tests = tests.get(package).unwrap_or_else(|| panic!("{package} is in the tree of the tests"));
        assert!(
            features.is_subset(with_tests),
            "{package} has features {features:?} in the binary and {with_tests:?} with the tests: a dev-dependency adds some. \
             Give the dependency the same features in [workspace.dependencies]"
        );
    }
}

#[test]
fn manifests_inherit_from_the_workspace() {
    let workspace = manifest(&root().join("Cargo.toml"));
    assert_eq!(workspace["workspace"]["lints"]["rust"]["missing_docs"].as_str(), Some("deny"));
    for package in members(&metadata()) {
        let name = text(package, "name");
        assert!(package["description"].as_str().is_some_and(|text| !text.is_empty()), "{name} has no description");
        assert_eq!(package["license"].as_str(), Some("MIT OR Apache-2.0"), "{name}");

        let path = PathBuf::from(text(package, "manifest_path"));
        let folder = path.parent().and_then(Path::file_name).expect("a crate has a folder").to_string_lossy();
        assert_eq!(name, format!("isorate-{folder}"));
        let manifest = manifest(&path);
        let inherits = |value: Option<&toml::Value>| value.and_then(|value| value.get("workspace")?.as_bool()) == Some(true);
        assert!(inherits(manifest.get("lints")), "{name} does not inherit the lints");
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            assert!(inherits(manifest["package"].get(key)), "{name} does not inherit `{key}`");
        }
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (dependency, value) in manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
                assert!(inherits(Some(value)), "{name} gives {dependency} a version of its own");
            }
        }
    }
}

fn manifest(path: &Path) -> toml::Table {
    fs_err::read_to_string(path).expect("a manifest can be read").parse().expect("a manifest is TOML")
}

/// Files that belong to the repository, relative to its root.
fn repository_files() -> Vec<PathBuf> {
    if root().join(".git").exists() {
        // A checkout that another user owns is read all the same.
        let files = output("git", &["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let files = files.split_terminator('\0').map(PathBuf::from);
        // A deleted file stays in the index until the next commit.
        files.filter(|file| root().join(file).is_file()).collect()
    } else {
        // An archive of the sources holds no other files, except what was built or run in it.
        let mut files = Vec::new();
        let mut open = vec![root().to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in fs_err::read_dir(&folder).expect("a folder can be read") {
                let path = entry.expect("an entry can be read").path();
                let relative = path.strip_prefix(root()).expect("the walk starts at the root").to_path_buf();
                if path.is_file() {
                    files.push(relative);
                } else if relative != Path::new("target") && relative != Path::new(".isorate") {
                    open.push(path);
                }
            }
        }
        files
    }
}

/// The modules that may hold `unsafe` code. The compiler denies it everywhere, which an attribute could lift.
const UNSAFE: &[&str] = &[
    "crates/kernels/src/bf16/avx2.rs",
    "crates/kernels/src/bf16/avx512.rs",
    "crates/kernels/src/fresh.rs",
    "crates/kernels/src/matmul.rs",
    "crates/kernels/src/product/transpose.rs",
    "crates/kernels/src/simd/mod.rs",
];

#[test]
fn unsafe_code_stays_in_its_modules() {
    let workspace = manifest(&root().join("Cargo.toml"));
    assert_eq!(workspace["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("deny"));
    let allows = ["allow", "expect", "warn"].map(|level| format!("{level}({}_code", "unsafe"));
    let mut allowed = BTreeSet::new();
    for file in repository_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs_err::read_to_string(root().join(&file)).expect("sources are UTF-8");
        // Whatever else an attribute lists, the name of the lint or the word itself is in the file.
        let dense: String = text.split_whitespace().collect();
        let lint = concat!("unsafe", "_code");
        if allows.iter().any(|attribute| dense.contains(attribute)) || (text.contains(lint) && file != this_file()) {
            allowed.insert(file.to_string_lossy().replace('\\', "/"));
        }
    }
    assert_eq!(allowed, UNSAFE.iter().map(|&file| file.to_owned()).collect());
    for file in UNSAFE {
        let text = fs_err::read_to_string(root().join(file)).expect("sources are UTF-8");
        let blocks = text.lines().filter(|line| ["unsafe {", "unsafe impl"].iter().any(|word| line.contains(word))).count();
        assert!(blocks > 0 && text.matches("// SAFETY: ").count() == blocks, "{file}: every block says why it is sound");
    }
}

fn this_file() -> PathBuf {
    PathBuf::from("tests/tests/architecture.rs")
}

#[test]
fn files_have_a_reasonable_size() {
    let files = repository_files();
    assert!(files.contains(&this_file()), "this file is in the repository");
    for file in files {
        let path = root().join(&file);
        let size = fs_err::metadata(&path).expect("a file has a size").len();
        assert!(size <= LARGEST_FILE, "{} has {size} bytes, more than {LARGEST_FILE}", file.display());
        if file.extension().is_some_and(|extension| extension == "rs") {
            let lines = fs_err::read_to_string(&path).expect("sources are UTF-8").lines().count();
            let longest = if file.ends_with("src/lib.rs") { LONGEST_LIB } else { LONGEST_SOURCE };
            assert!(lines <= longest, "{} has {lines} lines, more than {longest}: look for the seam", file.display());
        }
    }
}

/// The folders at the top of somebody's machine, put together so that this file does not hold them.
fn machine_paths() -> Vec<String> {
    let unix = ["home", "root", "work", "Users"].map(|folder| format!("/{folder}/"));
    unix.into_iter().chain([format!("C:{}Users", '\\'), root().display().to_string()]).collect()
}

/// Where an absolute path of a machine begins in `bytes`. The path must stand by itself: as a part of a longer path or
/// address it is something else.
fn machine_path(bytes: &[u8], paths: &[String]) -> Option<usize> {
    let part_of_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/~}".contains(&byte);
    (0..bytes.len()).find(|&start| {
        let alone = start == 0 || !part_of_path(bytes[start - 1]);
        alone && paths.iter().any(|path| bytes[start..].starts_with(path.as_bytes()))
    })
}

#[test]
fn files_hold_no_paths_of_a_machine() {
    let paths = machine_paths();
    for file in repository_files() {
        let bytes = fs_err::read(root().join(&file)).expect("a file can be read");
        if let Some(start) = machine_path(&bytes, &paths) {
            let line = bytes[..start].split(|&byte| byte == b'\n').count();
            let end = bytes.len().min(start + 60);
            panic!("{}:{line} holds a path of one machine: {}", file.display(), String::from_utf8_lossy(&bytes[start..end]));
        }
    }
}

#[test]
fn machine_paths_are_recognized() {
    let paths = machine_paths();
    let found = |text: String| machine_path(text.as_bytes(), &paths).is_some();
    assert!(found(format!("cd {}ann/isorate", paths[0])));
    assert!(found(format!("\"{}x\"", paths[1])));
    assert!(found(format!("path={}", root().display())));
    assert!(!found(format!("https://example.org{}page", paths[2])));
    assert!(!found(format!("{{folder}}{}x", paths[1])));
    assert!(!found("crates/theory/src/lib.rs".into()));
}
