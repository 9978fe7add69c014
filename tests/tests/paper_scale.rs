//! The paper scale of the experiments on a small hub: the same sets, networks and initial weights through the same code, from files with
//! the real schemas, and small in every size.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use isorate_results::{Outcome, Run, Store};
use isorate_tests::small_hub::SmallHub;
use isorate_tests::{Ended, root};
use serde_json::Value;

/// The specification of an experiment with one step size for each optimizer, one epoch, one seed, and other numbers in its paper
/// scale's cases: `(case, path of keys, value)`.
fn shrunk(experiment: &str, optimizers: &[&str], numbers: &[(&str, &str, toml::Value)]) -> String {
    let text = fs_err::read_to_string(root().join(format!("paper/experiments/{experiment}.toml"))).unwrap();
    let mut spec: toml::Table = toml::from_str(&text).unwrap();
    let listed = spec["optimizers"].as_array_mut().unwrap();
    listed.retain(|optimizer| optimizers.contains(&optimizer["key"].as_str().unwrap()));
    assert_eq!(listed.len(), optimizers.len());
    for optimizer in listed {
        optimizer["step_sizes"].as_array_mut().unwrap().truncate(1);
    }
    let scale = spec["scale"]["paper"].as_table_mut().unwrap();
    scale.insert("epochs".into(), 1.into());
    scale.insert("seeds".into(), vec![0].into());
    for case in scale["cases"].as_array_mut().unwrap() {
        let key = case["key"].as_str().unwrap().to_owned();
        for (_, path, value) in numbers.iter().filter(|(of, ..)| *of == key) {
            let (table, name) = path.rsplit_once('.').map_or((None, *path), |(table, name)| (Some(table), name));
            let table = match table {
                Some(table) => case[table].as_table_mut().unwrap(),
                None => case.as_table_mut().unwrap(),
            };
            assert!(table.insert(name.to_owned(), value.clone()).is_some(), "{key} has {path}");
        }
    }
    toml::to_string(&spec).unwrap()
}

/// A small hub whose files were fetched, with one specification in it.
struct Place(SmallHub, &'static str);

impl Place {
    fn new(names: &[&str], experiment: &'static str, specification: &str) -> Self {
        let place = SmallHub::with(names);
        fs_err::create_dir_all(place.path().join("paper/experiments")).unwrap();
        fs_err::write(place.path().join(format!("paper/experiments/{experiment}.toml")), specification).unwrap();
        let place = Self(place, experiment);
        let fetched = place.run(&[&["fetch"], names].concat());
        assert_eq!(fetched.code, Some(0), "{}", fetched.stderr);
        place.0.hub.forget_requests();
        place
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.0.command(arguments).output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Makes all runs, then draws the figure from them.
    fn runs(&self) -> Vec<Run> {
        let file = format!("paper/experiments/{}.toml", self.1);
        let ended = self.run(&["run", &file, "--scale", "paper", "--data", "hub"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(self.0.hub.downloads().is_empty(), "training asks the hub for nothing");
        let drawn = self.run(&["figures", self.1, "--scale", "paper", "--data", "hub", "--out", "out"]);
        assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
        assert!(self.0.path().join(format!("out/{}.svg", self.1)).is_file());
        self.stored(&ended.stdout)
    }

    /// The trainings among the runs whose files are listed.
    fn stored(&self, listed: &str) -> Vec<Run> {
        let store = Store::open(&self.0.path().join(".isorate/results")).unwrap();
        let ids = listed.lines().filter_map(|line| {
            let path = line.split_whitespace().next()?;
            serde_json::from_value(path.rsplit('/').next()?.strip_suffix(".parquet")?.into()).ok()
        });
        let runs: Vec<Run> = ids.map(|id| store.read(self.1, &id).unwrap()).collect();
        runs.into_iter().filter(|run| run.header.spec["kind"] == "training").collect()
    }
}

/// Every run of a case finished, has the data of the hub in its provenance, and measured this score, a number, at its end.
fn measured(runs: &[Run], case: &str, optimizers: usize, files: &[&str], [split, metric, group]: [&str; 3]) {
    let of_case: Vec<&Run> = runs.iter().filter(|run| run.header.spec["case"] == case).collect();
    assert_eq!(of_case.len(), optimizers, "{case}");
    for run in of_case {
        assert_eq!(run.outcome, Outcome::Finished, "{case}");
        assert!(run.header.provenance.steps > 0);
        for part in files {
            assert!(
                run.header.provenance.data.keys().any(|name| name.starts_with(part)),
                "{part} in {:?}",
                run.header.provenance.data
            );
        }
        let last = run.series(split, metric, group).last().unwrap_or_else(|| panic!("{case}: {split} {metric} {group}"));
        assert!(last.value.is_finite() && last.epoch == Some(1.0), "{case}: {last:?}");
    }
}

fn size(number: i64) -> toml::Value {
    number.into()
}

#[test]
fn cifar_with_resnet_18_and_50() {
    let mut numbers = Vec::new();
    for (case, train, validation) in [("cifar-10", 24, 8), ("cifar-100", 500, 100)] {
        numbers.extend([(case, "data.train", size(train)), (case, "data.validation", size(validation))]);
        numbers.extend([(case, "data.imbalance", "step:2".into()), (case, "model.width", size(4))]);
    }
    numbers.extend([("cifar-10", "data.test", size(10)), ("cifar-100", "data.test", size(100))]);
    let place = Place::new(&["cifar-10", "cifar-100"], "f3", &shrunk("f3", &["muon", "shampoo", "sgd"], &numbers));
    let runs = place.runs();
    measured(&runs, "cifar-10", 3, &["cifar-10/"], ["train", "learned", "8"]);
    measured(&runs, "cifar-100", 3, &["cifar-100/"], ["test", "accuracy", "all"]);
}

#[test]
fn dominoes_of_mnist_and_cifar_with_resnet_34() {
    let mut numbers = Vec::new();
    for case in ["mnist-cifar-95", "mnist-cifar-99"] {
        numbers.extend([(case, "data.validation_per_group", size(1)), (case, "data.decode_per_group", size(2))]);
        numbers.extend([(case, "model.width", size(4)), (case, "data.correlation", 0.5.into())]);
    }
    let place = Place::new(&["mnist", "cifar-10"], "f7", &shrunk("f7", &["muon", "adam"], &numbers));
    let runs = place.runs();
    measured(&runs, "mnist-cifar-95", 2, &["mnist/", "cifar-10/"], ["decoded", "accuracy", "worst-group"]);
    measured(&runs, "mnist-cifar-99", 2, &["mnist/", "cifar-10/"], ["balanced", "learned", "core"]);
}

#[test]
fn celeba_and_multinli_from_weights_of_the_hub() {
    let numbers =
        [("celeba", "model.width", size(4)), ("celeba", "batch_size", size(20)), ("multi-nli", "data.length", size(24))];
    let names = ["celeba", "resnet-50", "multi-nli", "bert-base-uncased"];
    let place = Place::new(&names, "f8", &shrunk("f8", &["muon", "sgd"], &numbers));
    let runs = place.runs();
    measured(&runs, "celeba", 2, &["celeba/"], ["test", "accuracy", "worst-group"]);
    measured(&runs, "multi-nli", 2, &["multi-nli/", "bert-base-uncased/"], ["test", "accuracy", "worst-group"]);
    let weights: Vec<&Value> = runs.iter().map(|run| &run.header.spec["model"]["checksum"]).collect();
    assert!(weights.iter().all(|checksum| checksum.as_object().is_some_and(|files| !files.is_empty())), "{weights:?}");
}

/// A sentence that is longer than BERT has positions, and weights of another width: a row for each run that says so, or an error that
/// names file, tensor and both shapes. Other runs are made.
#[test]
fn what_does_not_fit_the_weights_is_said() {
    let numbers =
        [("celeba", "model.width", size(4)), ("celeba", "batch_size", size(20)), ("multi-nli", "data.length", size(30))];
    let names = ["celeba", "resnet-50", "multi-nli", "bert-base-uncased"];
    let place = Place::new(&names, "f8", &shrunk("f8", &["muon", "sgd"], &numbers));
    let arguments = ["run", "paper/experiments/f8.toml", "--scale", "paper", "--data", "hub"];
    let ended = place.run(&arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let failed: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("multi-nli")).collect();
    assert_eq!(failed.len(), 2, "{}", ended.stdout);
    assert!(failed.iter().all(|line| line.ends_with("failed at step 0")), "{failed:?}");
    for run in place.stored(&failed.join("\n")) {
        assert!(matches!(&run.outcome, Outcome::Failed { step: 0, reason } if reason.contains("30")), "{:?}", run.outcome);
    }
    assert_eq!(ended.stdout.lines().filter(|line| line.contains("celeba") && line.ends_with("finished")).count(), 2);
    // A row like any other: it is not made again, unless that is asked for.
    assert_eq!(place.run(&arguments).stderr, "");
    assert!(place.run(&[&arguments[..], &["--resume"]].concat()).stderr.contains("2 to make"));

    let other = shrunk("f8", &["sgd"], &[("celeba", "model.width", size(8))]);
    fs_err::write(place.0.path().join("paper/experiments/f8.toml"), other).unwrap();
    let refused = place.run(&arguments);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    for part in ["model.safetensors", "conv1.weight", "[4, 3, 7, 7]", "[8, 3, 7, 7]"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
}

#[test]
fn stories_from_the_hub() {
    let case = "tinystories";
    let numbers = [
        (case, "data.vocabulary", size(300)),
        (case, "data.context", size(16)),
        (case, "data.train", size(60)),
        (case, "data.validation", size(4)),
        (case, "data.test", size(8)),
        (case, "model.layers", size(1)),
        (case, "model.width", size(16)),
        (case, "model.heads", size(2)),
    ];
    let place = Place::new(&["tiny-stories"], "f9", &shrunk("f9", &["muon", "adam"], &numbers));
    measured(&place.runs(), case, 2, &["tiny-stories/"], ["test", "loss", "bin-9"]);
}
