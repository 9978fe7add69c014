//! The README is the manual: its commands are run, and what they print is compared.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use isorate_tests::{Workplace, root};

fn readme() -> String {
    fs_err::read_to_string(root().join("README.md")).unwrap()
}

/// The code blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    text.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// Whether `text` is `expected`, where a line `…` stands for any number of lines: a README need not show everything, and where a curve that
/// comes near zero has gone differs between processors by a few steps.
fn matches(text: &str, expected: &str) -> bool {
    let mut parts = expected.split("…\n");
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut whole = true;
    for part in parts {
        whole = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || whole && expected.ends_with("…\n")
}

#[test]
fn lines_may_be_left_out() {
    for (text, expected, is) in [
        ("a\nb\nc\n", "a\nb\nc\n", true),
        ("a\nb\nc\n", "a\n…\nc\n", true),
        ("a\nb\nc\n", "a\n…\n", true),
        ("a\nc\n", "a\n…\nc\n", true),
        ("a\nb\nc\n", "a\n…\nb\n", false),
        ("a\nb\nc\n", "a\nb\n", false),
        ("a\nb\nc\n", "b\n…\nc\n", false),
        ("a\nb\n", "a\n…\nc\n", false),
    ] {
        assert_eq!(matches(text, expected), is, "{text:?} {expected:?}");
    }
}

#[test]
fn examples_print_what_the_readme_says() {
    let text = readme();
    let workplace = Workplace::new();
    let mut examples = 0;
    for block in blocks(&text, "console") {
        for example in block.split("$ ").filter(|example| !example.is_empty()) {
            let (command, expected) = example.split_once('\n').unwrap();
            if let Some(content) = command.strip_prefix("cat ") {
                fs_err::write(workplace.path().join(content), expected).unwrap();
                continue;
            }
            let words: Vec<&str> = command.split_whitespace().collect();
            assert_eq!(words[0], "isorate", "{command}");
            let ended = workplace.run(&words[1..]);
            assert!(matches(&ended.stdout, expected), "{command}: {}\n{}", ended.stderr, ended.stdout);
            examples += 1;
        }
    }
    assert!(examples > 0, "the README shows no example");
}

/// Every `just …` the README names is a recipe.
#[test]
fn recipes_exist() {
    let justfile = fs_err::read_to_string(root().join("justfile")).unwrap();
    let recipes: Vec<&str> = justfile
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(':') && !line.contains(":="))
        .map(|line| line.split([' ', ':']).next().unwrap())
        .collect();
    let text = readme();
    let named: Vec<&str> = text
        .match_indices("just ")
        .filter(|(at, _)| text[..*at].ends_with(['`', ' ', '\n']))
        .filter_map(|(at, _)| text[at + 5..].split(|c: char| !(c.is_ascii_lowercase() || c == '-')).next())
        // `cargo install just --locked` names no recipe.
        .filter(|word| !word.is_empty() && !word.starts_with('-'))
        .collect();
    assert!(named.contains(&"figures") && named.contains(&"test"));
    for name in named {
        assert!(recipes.contains(&name), "the README names `just {name}`, which is no recipe");
    }
}

#[test]
fn the_claims_table_is_current() {
    let workplace = Workplace::new();
    fs_err::copy(root().join("README.md"), workplace.path().join("README.md")).unwrap();
    workplace.succeed(&["claims", "--frozen", "--write", "README.md", "--check"]);
}
