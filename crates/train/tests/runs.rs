//! Small real experiments through the public face: planned, run, stored, found again.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::fmt::Write as _;
use std::sync::Mutex;

use isorate_data::Origin;
use isorate_optim::DeviceChoice;
use isorate_results::{Outcome, Provenance, Run, Store};
use isorate_train::{Error, Event, Experiment, Kind, Runner, Scale, Stop, Task, Tuned, choose, plan, plan_tuning};

/// A specification with one optimizer per line of `optimizers`, small enough for a test.
fn experiment(optimizers: &[(&str, &str, &str)]) -> Experiment {
    let mut text = String::from(
        "title = 'a test'\nkind = 'training'\nbatch_size = 50\nevaluations_per_epoch = 2\n\
         [data]\nname = 'colored-mnist'\ncorrelation = 0.9\n\
         [model]\nname = 'mlp'\nhidden = [16]\nactivation = 'relu'\n",
    );
    for scale in ["smoke", "default"] {
        write!(text, "[scale.{scale}]\ntrain = 220\nvalidation = 80\ntest = 100\nepochs = 2\nseeds = [3]\ntuning_seeds = [7]\n")
            .unwrap();
    }
    for (key, step_sizes, rule) in optimizers {
        write!(text, "[[optimizers]]\nkey = '{key}'\nstep_sizes = {step_sizes}\nmatrix = {rule}\nvector = {rule}\n").unwrap();
    }
    Experiment::parse(&text, "test", "test.toml").unwrap()
}

/// The outcome of running tasks, and the events' names in order.
fn ensure(tasks: &[Task], store: &Store, workers: usize) -> (Result<Vec<Run>, Error>, Vec<String>) {
    let events = Mutex::new(Vec::new());
    let watch = |event: Event| {
        let name = format!("{event:?}");
        if !name.starts_with("Step") {
            events.lock().unwrap().push(name.split([' ', '{']).next().unwrap().to_owned());
        }
    };
    let (stop, device) = (Stop::new(), DeviceChoice::Cpu.open());
    let runner = Runner { store, provenance: Provenance::default(), stop: &stop, device, workers, watch: &watch };
    let runs = runner.ensure(tasks);
    (runs, events.into_inner().unwrap())
}

const SGD: (&str, &str, &str) = ("sgd", "[0.01, 0.1]", "{ rule = 'sgd', momentum = 0.9 }");
const SIGNUM: (&str, &str, &str) = ("signum", "[0.001]", "{ rule = 'signum' }");

#[test]
fn runs_are_reproduced_bit_for_bit_and_found_again() {
    let experiment = experiment(&[SGD, SIGNUM]);
    let tasks = plan_tuning(&experiment, Scale::Smoke, &Origin::Embedded).unwrap();
    assert_eq!(tasks.len(), 3);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (Store::open(one.path()).unwrap(), Store::open(two.path()).unwrap());
    let (runs, events) = ensure(&tasks, &one, 2);
    let runs = runs.unwrap();
    assert_eq!(events, ["Planned", "Finished", "Finished", "Finished"]);
    // One run after the other, each on all threads, gives the same numbers as two at a time on one thread each.
    let (again, _) = ensure(&tasks, &two, 1);
    for (run, again) in runs.iter().zip(again.unwrap()) {
        assert_eq!(run.outcome, Outcome::Finished);
        assert_eq!(run.records_hash(), again.records_hash());
    }
    let (found, events) = ensure(&tasks, &one, 2);
    assert_eq!(events, ["Planned"]);
    assert_eq!(found.unwrap(), runs);
}

#[test]
fn measurements_begin_at_step_0_and_cover_groups_and_classes() {
    let experiment = experiment(&[SIGNUM]);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let run = ensure(&plan_tuning(&experiment, Scale::Smoke, &Origin::Embedded).unwrap(), &store, 1).0.unwrap().remove(0);
    // 220 images in batches of 50 are five steps an epoch: measured after steps 0, 3, 5, 8, 10.
    for split in ["validation", "test"] {
        for group in ["all", "majority", "minority", "class-0", "class-9"] {
            let steps: Vec<u64> = run.series(split, "accuracy", group).map(|record| record.step).collect();
            assert_eq!(steps, [0, 3, 5, 8, 10], "{split} {group}");
        }
    }
    let last = run.series("test", "accuracy", "all").last().unwrap();
    assert_eq!(last.epoch, Some(2.0));
    assert!(run.series("train", "loss", "all").map(|record| record.step).eq([3, 5, 8, 10]));
    let weighted = |group: &str| run.series("test", "accuracy", group).last().unwrap().value;
    // Uniform colours: a tenth of the test images are in the majority group.
    assert!((0.1 * weighted("majority") + 0.9 * weighted("minority") - last.value).abs() < 1e-9);
}

#[test]
fn a_diverged_run_is_a_result_and_never_chosen() {
    let experiment = experiment(&[("sgd", "[0.01, 1e30]", "{ rule = 'sgd' }")]);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tasks = plan_tuning(&experiment, Scale::Smoke, &Origin::Embedded).unwrap();
    let runs = ensure(&tasks, &store, 2).0.unwrap();
    assert_eq!(runs[0].outcome, Outcome::Finished);
    let Outcome::Diverged { step, reason } = &runs[1].outcome else { panic!("1e30 did not diverge") };
    assert!(*step <= 3, "{step}");
    assert!(reason.contains("loss") || reason.contains("gradient"), "{reason}");
    // It is not tried again, and what was measured before is kept.
    assert_eq!(ensure(&tasks, &store, 2).1, ["Planned"]);
    assert!(runs[1].series("test", "accuracy", "all").next().is_some());
    let Kind::Training(training) = &experiment.kind else { unreachable!() };
    let tuned = choose(training, &runs);
    assert_eq!(tuned.step_size("sgd"), Some(0.01));
    let (_, choice) = tuned.choices().next().unwrap();
    assert!(choice.validation[1].abs() < 1e-300, "a diverged run scores 0");
    assert!(choice.at_edge());
}

#[test]
fn choices_survive_their_file() {
    let experiment = experiment(&[SGD, SIGNUM]);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let runs = ensure(&plan_tuning(&experiment, Scale::Smoke, &Origin::Embedded).unwrap(), &store, 2).0.unwrap();
    let Kind::Training(training) = &experiment.kind else { unreachable!() };
    let tuned = choose(training, &runs);
    let specification = folder.path().join("test.toml");
    fs_err::write(Tuned::path(&specification), tuned.to_toml(&experiment, Scale::Smoke)).unwrap();
    let read = Tuned::read(&specification).unwrap();
    for key in ["sgd", "signum"] {
        assert_eq!(read.step_size(key), tuned.step_size(key));
    }
    let tasks = plan(&experiment, Scale::Smoke, &read, &Origin::Embedded).unwrap();
    // The data's moments, and one run for each optimizer.
    assert_eq!(tasks.len(), 3);
    let untuned = plan(&experiment, Scale::Smoke, &Tuned::default(), &Origin::Embedded).unwrap_err().to_string();
    assert!(untuned.contains("isorate tune test.toml"), "{untuned}");
}

#[test]
fn a_request_to_stop_is_heard_between_steps() {
    let experiment = experiment(&[SGD]);
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let tasks = plan_tuning(&experiment, Scale::Smoke, &Origin::Embedded).unwrap();
    let stop = Stop::new();
    let watch = |event: Event| {
        if matches!(event, Event::Step { .. }) {
            stop.request();
        }
    };
    let runner = Runner {
        store: &store,
        provenance: Provenance::default(),
        stop: &stop,
        device: DeviceChoice::Cpu.open(),
        workers: 1,
        watch: &watch,
    };
    assert!(matches!(runner.ensure(&tasks), Err(Error::Interrupted)));
    assert!(!store.contains("test", &tasks[0].header(Provenance::default()).unwrap().run_id));
}
