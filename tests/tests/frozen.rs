//! Tables, figures and claims from the frozen results: what the repository shows is what its results give.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use isorate_tests::{Workplace, root};

#[test]
fn tables() {
    let workplace = Workplace::new();
    workplace.succeed(&["figures", "--frozen", "--out", "out"]);
    for (path, bytes) in workplace.files("out") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if ["md", "tex", "csv"].contains(&extension) {
            let text = String::from_utf8(bytes).unwrap();
            if extension == "tex" {
                // A character without a command stops LaTeX; only the caption, a comment on the first line, may hold one.
                let foreign = text.lines().skip(1).find(|line| !line.is_ascii());
                assert_eq!(foreign, None, "{name}");
            }
            insta::assert_snapshot!(name, text);
        }
    }
}

/// The committed pictures and tables are those that the frozen results give, byte for byte.
#[test]
fn committed_files_are_current() {
    let workplace = Workplace::new();
    workplace.succeed(&["figures", "--frozen", "--out", "out"]);
    let drawn = workplace.files("out");
    let list = workplace.succeed(&["figures", "--list"]).stdout;
    assert_eq!(drawn.len(), 3 * list.lines().count(), "three formats of each figure and table");
    for (path, bytes) in drawn {
        let committed = root().join("figures").join(path.file_name().unwrap());
        let same = fs_err::read(&committed).is_ok_and(|there| there == bytes);
        assert!(same, "{} is not what the frozen results give; `just replot` draws it", committed.display());
    }
}

#[test]
fn claims() {
    let workplace = Workplace::new();
    insta::assert_snapshot!(workplace.succeed(&["claims", "--frozen"]).stdout);
    let json = workplace.succeed(&["claims", "--frozen", "--format", "json"]).stdout;
    let claims: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&json).unwrap();
    let mut keys = ["id", "statement", "experiment", "figure", "quantity", "value", "spread", "bound", "scale", "state"];
    keys.sort_unstable();
    for claim in &claims {
        let mut found: Vec<&str> = claim.keys().map(String::as_str).collect();
        found.sort_unstable();
        assert_eq!(found, keys);
        // Claims about data that are not in the program wait for paper scale, and say so.
        let waits = claim["statement"].as_str().unwrap().contains("paper scale");
        assert_eq!(claim["state"] == "not tested here", waits, "{}", claim["id"]);
    }
    // An empty store has no results to judge.
    let none = workplace.succeed(&["claims", "--format", "json"]).stdout;
    let none: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&none).unwrap();
    assert_eq!(none.len(), claims.len());
    assert!(none.iter().all(|claim| claim["state"] == "not tested here" && claim["value"].is_null()));
}

#[test]
fn verify_theory_prints_json_of_the_contract() {
    let ended = Workplace::new().succeed(&["verify-theory", "--format", "json", "--sets", "50"]);
    let checks: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&ended.stdout).unwrap();
    assert!(!checks.is_empty());
    for check in checks {
        let keys: std::collections::BTreeSet<&str> = check.keys().map(String::as_str).collect();
        assert_eq!(keys, ["bound", "id", "margin", "pass", "quantity", "statement", "value"].into());
        assert_eq!(check["pass"], true, "{}", check["id"]);
    }
}
