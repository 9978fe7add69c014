//! The command line is a contract: its help texts are snapshots.

use isorate_tests::Workplace;

#[test]
fn help_texts() {
    let workplace = Workplace::new();
    let mut text = workplace.succeed(&["--help"]).stdout;
    for command in ["figures", "verify-theory", "trajectory", "run", "tune", "replay", "claims"] {
        let help = workplace.succeed(&[command, "--help"]).stdout;
        assert!(help.contains("Example:"), "{command} has no example");
        text.push_str(&format!("\n──── {command} ────\n{help}"));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_list_of_figures() {
    insta::assert_snapshot!(Workplace::new().succeed(&["figures", "--list"]).stdout);
}
