//! The whole way at smoke scale, through the real binary.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use isorate_tests::Workplace;

const FIGURES: [&str; 5] = ["figures", "--scale", "smoke", "--out", "out"];

/// The number of runs in the store.
fn stored(workplace: &Workplace) -> usize {
    let files = workplace.files(".isorate/results");
    files.iter().filter(|(path, _)| path.extension().is_some_and(|extension| extension == "parquet")).count()
}

/// The hash of every run's records: what was computed, without when and where.
fn hashes(workplace: &Workplace) -> Vec<(String, String)> {
    let store = isorate_results::Store::open(&workplace.path().join(".isorate/results")).unwrap();
    let mut hashes = Vec::new();
    for (path, _) in workplace.files(".isorate/results") {
        let id = serde_json::from_value(path.file_stem().unwrap().to_string_lossy().into()).unwrap();
        let experiment = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let run = store.read(&experiment, &id).unwrap();
        assert!(!run.records.is_empty());
        assert_eq!(run.header.provenance.lock_hash.len(), 64);
        hashes.push((path.display().to_string(), run.records_hash()));
    }
    hashes
}

#[test]
fn two_runs_agree_bit_for_bit_whatever_the_threads() {
    let (one, two) = (Workplace::new(), Workplace::new());
    let first = one.succeed(&FIGURES);
    let status = two.command(&FIGURES).env("RAYON_NUM_THREADS", "1").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    assert_eq!(hashes(&one), hashes(&two));
    let (figures, again) = (one.files("out"), two.files("out"));
    // Standard output names each file.
    assert_eq!(first.stdout.lines().count(), figures.len());
    for ((path, bytes), (other, other_bytes)) in figures.iter().zip(&again) {
        assert_eq!(path, other);
        // These also show how long training took, and its memory.
        if ["f3", "f8", "t2", "t3", "t7", "t8", "t9"].contains(&path.file_stem().unwrap().to_str().unwrap()) {
            continue;
        }
        assert!(bytes == other_bytes, "{} differs between two runs", path.display());
    }
}

#[test]
fn finished_runs_are_used_and_damaged_ones_made_again() {
    let workplace = Workplace::new();
    workplace.succeed(&["figures", "f2", "--scale", "smoke", "--out", "out"]);
    let before = hashes(&workplace);
    let again = workplace.succeed(&["figures", "f2", "--scale", "smoke", "--out", "out"]);
    assert_eq!(again.stderr, "", "nothing was left to do");
    let file = workplace.path().join(&before[0].0);
    let bytes = fs_err::read(&file).unwrap();
    for damaged in [&bytes[..bytes.len() - 9], b"PAR1 of something else PAR1", b""] {
        fs_err::write(&file, damaged).unwrap();
        let repaired = workplace.succeed(&["figures", "f2", "--scale", "smoke", "--out", "out"]);
        assert!(repaired.stderr.contains("not a results file") && repaired.stderr.contains(".damaged"), "{}", repaired.stderr);
        fs_err::remove_file(file.with_extension("parquet.damaged")).unwrap();
        assert_eq!(hashes(&workplace), before);
    }
}

#[test]
fn shards_together_are_the_whole() {
    let workplace = Workplace::new();
    let file = "paper/experiments/f1.toml";
    let one = workplace.succeed(&["run", file, "--scale", "smoke", "--shard", "1/2"]);
    let done = stored(&workplace);
    assert_eq!(one.stdout.lines().count(), done);
    workplace.succeed(&["run", file, "--scale", "smoke", "--shard", "2/2", "--resume"]);
    let whole = workplace.succeed(&["run", file, "--scale", "smoke"]);
    assert_eq!(whole.stderr, "", "nothing was left to do");
    assert_eq!(whole.stdout.lines().count(), stored(&workplace));
    assert!(stored(&workplace) > done);
}

/// Ctrl-C in the middle of training: exit code 130, only whole files, and the next call goes on from there.
#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_what_was_finished() {
    let workplace = Workplace::new();
    let file = workplace.path().join("paper/experiments/f1.toml");
    // Long enough that the signal always finds it at work.
    let text = fs_err::read_to_string(&file).unwrap().replacen("epochs = 1\n", "epochs = 40\n", 1);
    fs_err::write(&file, text).unwrap();
    let arguments = ["run", "paper/experiments/f1.toml", "--scale", "smoke"];
    let mut child = workplace.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let patience = Instant::now() + Duration::from_mins(2);
    while !workplace.path().join(".isorate/results/f1").is_dir() || stored(&workplace) == 0 {
        assert!(Instant::now() < patience, "no run finished");
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = hashes(&workplace);
    assert!(!kept.is_empty());
    let rest = workplace.succeed(&arguments);
    assert!(rest.stderr.contains(&format!("{} of ", kept.len())), "{}", rest.stderr);
    let now = hashes(&workplace);
    assert!(now.len() > kept.len());
    for run in &kept {
        assert!(now.contains(run), "{} was made again", run.0);
    }
}

#[test]
fn tuning_chooses_on_validation_and_writes_beside_the_specification() {
    let workplace = Workplace::new();
    let tuned = workplace.path().join("paper/experiments/f1.tuned.toml");
    let frozen = fs_err::read_to_string(&tuned).unwrap();
    fs_err::remove_file(&tuned).unwrap();
    let refused = workplace.run(&["run", "paper/experiments/f1.toml", "--scale", "smoke"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("isorate tune"), "{}", refused.stderr);
    workplace.succeed(&["tune", "paper/experiments/f1.toml", "--scale", "smoke"]);
    let chosen: toml::Table = toml::from_str(&fs_err::read_to_string(&tuned).unwrap()).unwrap();
    let before: toml::Table = toml::from_str(&frozen).unwrap();
    assert_eq!(chosen.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (key, choice) in chosen["colored-mnist"].as_table().unwrap() {
        let numbers =
            |name: &str| -> Vec<f64> { choice[name].as_array().unwrap().iter().map(|value| value.as_float().unwrap()).collect() };
        for (step_size, scores) in [("step_size", "average"), ("worst_step_size", "worst")] {
            let (step_sizes, scores) = (numbers("step_sizes"), numbers(scores));
            let best = scores.iter().copied().fold(f64::MIN, f64::max);
            let chosen_size = choice[step_size].as_float().unwrap();
            let at = step_sizes.iter().position(|size| size.total_cmp(&chosen_size).is_eq()).unwrap();
            assert!((scores[at] - best).abs() < 1e-12, "{key} did not choose its best");
        }
    }
}
