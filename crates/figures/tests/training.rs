//! Figures and tables of training runs: what they say, whatever the order of the runs, and what is said of runs that are not whole.

#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic says all that is needed")]

use isorate_figures::{Drawing, catalogue, find, render};
use isorate_results::{Outcome, Run};

mod synthetic;

use synthetic::{f1, training};

fn everything() -> Vec<Run> {
    let mut runs = f1(&["muon", "shampoo", "nmd", "signum", "sgd", "adam"], 2);
    runs.extend(training::everything(2));
    runs
}

/// Names of the figures and tables of training experiments.
fn names() -> impl Iterator<Item = &'static str> {
    catalogue().filter(|entry| training::EXPERIMENTS.contains(&entry.experiment)).map(|entry| entry.id)
}

/// The caption that is written into an SVG, or the table in Markdown.
fn words(id: &str, runs: &[Run]) -> String {
    match render(id, runs).unwrap() {
        Drawing::Table(table) => table.markdown_page(),
        Drawing::Figure(images) => {
            let (_, rest) = images.svg.split_once("<desc>").unwrap();
            rest.split_once("</desc>").unwrap().0.to_owned()
        }
    }
}

fn error(id: &str, runs: &[Run]) -> String {
    render(id, runs).unwrap_err().to_string()
}

#[test]
fn captions_and_tables() {
    let runs = everything();
    for id in names() {
        insta::assert_snapshot!(id, words(id, &runs));
    }
}

#[test]
fn the_order_of_the_runs_leaves_no_trace() {
    let runs = everything();
    let mut turned: Vec<Run> = runs.iter().rev().cloned().collect();
    turned.rotate_left(17);
    for id in names() {
        assert!(render(id, &runs).unwrap() == render(id, &turned).unwrap(), "{id}");
    }
}

#[test]
fn all_training_experiments_are_needed_for_their_step_sizes() {
    let entry = find("t10").unwrap();
    assert_eq!(entry.experiments().collect::<Vec<_>>(), training::EXPERIMENTS);
    assert_eq!(find("f3").unwrap().experiments().collect::<Vec<_>>(), ["f3"]);
    let mut runs = everything();
    runs.retain(|run| run.header.experiment != "f8");
    assert!(error("t10", &runs).contains("there is no run of the experiment `f8`"));
    let mut runs = everything();
    runs.iter_mut().filter(|run| run.header.experiment == "f9").for_each(|run| run.header.scale = "smoke".into());
    assert!(error("t10", &runs).contains("they are of the scale `smoke`, others of `default`"));
}

#[test]
fn runs_that_failed_are_told_and_the_others_shown() {
    let mut runs = training::f7(2);
    for run in runs.iter_mut().filter(|run| run.header.spec["optimizer"]["key"] == "shampoo") {
        run.outcome = Outcome::Failed { step: 0, reason: "out of memory".into() };
        run.records.clear();
    }
    let caption = words("f7", &runs);
    assert!(
        caption.contains("Failed: Shampoo (coat or dress) with 2 of 2, Shampoo (T-shirt or shirt) with 2 of 2 seeds"),
        "{caption}"
    );
    assert!(words("t7", &runs).contains("2 (2 failed)"));
    words("f7-spectrum", &runs);
    let mut runs = training::f9(2);
    for run in runs.iter_mut().filter(|run| run.header.spec["optimizer"]["key"] == "adam") {
        run.outcome = Outcome::Diverged { step: 30, reason: "the loss is NaN".into() };
        run.records.retain(|record| record.step <= 30);
    }
    assert!(words("f9", &runs).contains("Diverged: Adam with 2 of 2 seeds"));
}

#[test]
fn what_is_missing_is_named() {
    let without = |mut runs: Vec<Run>, split: &str, metric: &str, group: &str| {
        runs.iter_mut().filter(|run| run.header.spec["optimizer"]["key"] == "sgd").for_each(|run| {
            run.records.retain(|record| !(record.split == split && record.metric == metric && record.group == group));
        });
        runs
    };
    let cases = [
        ("f3", without(training::f3(1), "test", "accuracy", "majority"), "group `majority`, optimizer `sgd`"),
        ("f7", without(training::f7(1), "core-only", "accuracy", "worst-group"), "split `core-only`"),
        ("f3-spectrum", without(training::f3(1), "train", "learned", "4"), "metric `learned`, group `4`, optimizer `sgd`"),
        ("f3-spectrum", without(training::f3(1), "train", "stable_rank", "head"), "group `head`"),
        ("f9", without(training::f9(1), "test", "top5", "bin-3"), "metric `top5`, group `bin-3`, optimizer `sgd`"),
    ];
    for (id, runs, said) in cases {
        let message = error(id, &runs);
        assert!(message.starts_with(&format!("{id}: ")) && message.contains(said), "{message}");
    }
    let mut runs = training::f3(1);
    for run in &mut runs {
        run.header.provenance.train_seconds = 0.0;
    }
    assert!(error("f3", &runs).contains("no training time of `"));
    let mut runs = training::f3(1);
    runs.retain(|run| run.header.spec["optimizer"]["selection"] != "average");
    assert!(error("t3", &runs).contains("run of `sgd` with a step size chosen by `average`"));
    // Ablations compare variants of one rule, whatever it is measured on.
    let mut runs = training::b7(1);
    for run in &mut runs {
        run.records.retain(|record| record.group != "minority");
    }
    assert!(error("b7", &runs).contains("group `minority`"));
}

#[test]
fn what_does_not_belong_together_is_named() {
    let altered = |change: fn(&mut Run)| {
        let mut runs = training::f3(2);
        change(runs.last_mut().unwrap());
        error("f3", &runs)
    };
    let message = altered(|run| run.header.spec["optimizer"]["step_size"] = 0.7.into());
    assert!(message.contains("their step size of `adam` is `0.03` and `0.7`"), "{message}");
    let message = altered(|run| run.header.spec["epochs"] = 9.into());
    assert!(message.contains("their setting `epochs` is `8` and `9`"), "{message}");
    let message = altered(|run| run.header.spec["schedule"] = "cosine".into());
    assert!(message.contains("their setting `schedule`"), "{message}");
    let message = altered(|run| run.header.seed = 0);
    assert!(message.contains("both of `adam` with seed 0"), "{message}");
}
