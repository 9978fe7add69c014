//! Sweeps that are killed at any moment, and go on to the same numbers.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use isorate_tests::Workplace;

/// A part of the runs of a network with running averages, written down at every step.
const ARGUMENTS: [&str; 8] = ["run", "paper/experiments/f3.toml", "--scale", "smoke", "--shard", "2/5", "--save-every", "0"];

/// Epochs enough that a kill finds most runs at work.
fn workplace() -> Workplace {
    let workplace = Workplace::new();
    let file = workplace.path().join("paper/experiments/f3.toml");
    let text = fs_err::read_to_string(&file).unwrap().replacen("epochs = 1\n", "epochs = 6\n", 1);
    fs_err::write(&file, text).unwrap();
    workplace
}

/// The hash of every run's records by name.
fn hashes(workplace: &Workplace) -> BTreeMap<String, String> {
    let store = isorate_results::Store::open(&workplace.path().join(".isorate/results")).unwrap();
    let files = workplace.files(".isorate/results").into_iter();
    let names = files.filter(|(path, _)| path.extension().is_some_and(|extension| extension == "parquet"));
    names
        .map(|(path, _)| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let run = store.read("f3", &serde_json::from_value(name.clone().into()).unwrap()).unwrap();
            (name, run.records_hash())
        })
        .collect()
}

#[test]
fn a_sweep_that_is_killed_again_and_again_ends_in_the_same_bits() {
    let (quiet, killed) = (workplace(), workplace());
    quiet.succeed(&ARGUMENTS);
    let expected = hashes(&quiet);
    assert!(expected.len() > 1);
    assert_eq!(quiet.files(".isorate/work").len(), 0, "finished runs leave nothing behind");

    let at_work = |workplace: &Workplace| {
        let files = std::fs::read_dir(workplace.path().join(".isorate/work/unfinished"));
        files.into_iter().flatten().flatten().any(|file| file.path().extension().is_some_and(|extension| extension == "json"))
    };
    let mut found_at_work = 0;
    for milliseconds in [0, 13, 47, 5, 71, 29, 100, 37, 160, 19] {
        let mut child = killed.command(&ARGUMENTS).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !at_work(&killed) && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(milliseconds));
        // SIGKILL, or nothing where it has ended by itself.
        child.kill().unwrap();
        child.wait().unwrap();
        let list = killed.succeed(&[&ARGUMENTS[..], &["--list"]].concat());
        found_at_work += usize::from(list.stdout.contains("interrupted after step"));
    }
    assert!(found_at_work > 2, "{found_at_work} of 10 kills found a run at work");
    killed.succeed(&ARGUMENTS);
    assert_eq!(hashes(&killed), expected);
    let listed: Vec<bool> =
        killed.succeed(&[&ARGUMENTS[..], &["--list"]].concat()).stdout.lines().map(|line| line.ends_with("finished")).collect();
    assert_eq!(listed, vec![true; expected.len()]);
}
