//! The command line is a contract: its help texts are snapshots.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::fmt::Write as _;

use isorate_tests::Workplace;

#[test]
fn help_texts() {
    let workplace = Workplace::new();
    let mut text = workplace.succeed(&["--help"]).stdout;
    for command in [
        "figures",
        "verify-theory",
        "trajectory",
        "diagnose",
        "run",
        "tune",
        "replay",
        "fetch",
        "claims",
        "costs",
        "bench",
        "data inspect",
    ] {
        let mut arguments: Vec<&str> = command.split(' ').collect();
        arguments.push("--help");
        let help = workplace.succeed(&arguments).stdout;
        assert!(help.contains("Example:"), "{command} has no example");
        write!(text, "\n──── {command} ────\n{help}").unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_list_of_figures() {
    insta::assert_snapshot!(Workplace::new().succeed(&["figures", "--list"]).stdout);
}
