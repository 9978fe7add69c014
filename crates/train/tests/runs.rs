//! Small real experiments through the public face: planned, run, stored, found again.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use isorate_data::Origin;
use isorate_optim::DeviceChoice;
use isorate_results::{Outcome, Provenance, Run, Store};
use isorate_train::{Error, Event, Experiment, Grids, Runner, Scale, State, Stop, Task, Tuned, choose, plan, plan_tuning};

const COLORED: &str = "data = { set = 'colored', correlation = 0.9, train = 220, validation = 80, test = 500 }\n\
                       model = { name = 'mlp', hidden = [16], activation = 'relu' }\n";

/// A specification with one optimizer per line of `optimizers`, small enough for a test.
fn experiment_on(case: &str, optimizers: &[(&str, &str, &str)]) -> Experiment {
    let mut text =
        String::from("title = 'a test'\nkind = 'training'\nbatch_size = 50\nschedule = 'cosine'\nevaluations_per_epoch = 2\n");
    for (key, step_sizes, rule) in optimizers {
        write!(text, "[[optimizers]]\nkey = '{key}'\nstep_sizes = {step_sizes}\nmatrix = {rule}\nvector = {rule}\n").unwrap();
    }
    for scale in ["smoke", "default"] {
        write!(text, "[scale.{scale}]\nepochs = 2\nseeds = [3]\ntuning_seeds = [7]\n").unwrap();
        write!(text, "[[scale.{scale}.cases]]\nkey = 'a-case'\n{case}").unwrap();
    }
    Experiment::parse(&text, "test", "test.toml").unwrap()
}

fn experiment(optimizers: &[(&str, &str, &str)]) -> Experiment {
    experiment_on(COLORED, optimizers)
}

fn tuning(experiment: &Experiment) -> (Grids, Vec<Task>) {
    let grids = Grids::of(experiment, Scale::Smoke).unwrap();
    let tasks = plan_tuning(experiment, Scale::Smoke, &grids, &Origin::Embedded).unwrap();
    (grids, tasks)
}

/// The runs of optimizers with one step size each, which need no tuning.
fn planned(experiment: &Experiment) -> Vec<Task> {
    plan(experiment, Scale::Smoke, &Tuned::default(), &Origin::Embedded).unwrap()
}

/// A store and the place for unfinished runs beside it.
struct Folder {
    folder: tempfile::TempDir,
    store: Store,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { store: Store::open(&folder.path().join("store")).unwrap(), folder }
    }

    fn runner<'a>(&'a self, stop: &'a Stop, workers: usize, watch: &'a (dyn Fn(Event) + Sync)) -> Runner<'a> {
        Runner {
            store: &self.store,
            provenance: Provenance::default(),
            stop,
            device: DeviceChoice::Cpu.open(),
            workers,
            work: self.folder.path(),
            save_every: Duration::ZERO,
            again: false,
            watch,
        }
    }

    /// The outcome of running tasks, and the events' names in order.
    fn ensure(&self, tasks: &[Task], workers: usize) -> (Result<Vec<Run>, Error>, Vec<String>) {
        let events = Mutex::new(Vec::new());
        let watch = |event: Event| {
            let name = format!("{event:?}");
            if !name.starts_with("Step") {
                events.lock().unwrap().push(name.split([' ', '{']).next().unwrap().to_owned());
            }
        };
        let runs = self.runner(&Stop::new(), workers, &watch).ensure(tasks);
        (runs, events.into_inner().unwrap())
    }

    fn run(&self, tasks: &[Task]) -> Vec<Run> {
        self.ensure(tasks, 2).0.unwrap()
    }
}

const SGD: (&str, &str, &str) = ("sgd", "[0.01, 0.1]", "{ rule = 'sgd', momentum = 0.9 }");
const SIGNUM: (&str, &str, &str) = ("signum", "[0.001]", "{ rule = 'signum' }");

fn groups(run: &Run, split: &str, metric: &str) -> BTreeSet<String> {
    let of = run.records.iter().filter(|record| record.split == split && record.metric == metric);
    of.map(|record| record.group.clone()).collect()
}

#[test]
fn runs_are_reproduced_bit_for_bit_and_found_again() {
    let tasks = tuning(&experiment(&[SGD, SIGNUM])).1;
    assert_eq!(tasks.len(), 3);
    let (one, two) = (Folder::new(), Folder::new());
    let (runs, events) = one.ensure(&tasks, 2);
    let runs = runs.unwrap();
    assert_eq!(events, ["Planned", "Finished", "Finished", "Finished"]);
    // One run after the other, each on all threads, gives the same numbers as two at a time on one thread each.
    let (again, _) = two.ensure(&tasks, 1);
    for (run, again) in runs.iter().zip(again.unwrap()) {
        assert_eq!(run.outcome, Outcome::Finished);
        assert_eq!(run.records_hash(), again.records_hash());
    }
    let (found, events) = one.ensure(&tasks, 2);
    assert_eq!(events, ["Planned"]);
    assert_eq!(found.unwrap(), runs);
    let provenance = &runs[0].header.provenance;
    assert_eq!(provenance.steps, 10);
    assert!(provenance.train_seconds > 0.0 && provenance.train_seconds <= provenance.wall_seconds);
    assert!(cfg!(not(target_os = "linux")) || provenance.peak_memory_bytes > 1 << 20);
}

#[test]
fn measurements_begin_at_step_0_and_cover_groups_classes_and_components() {
    let tasks = planned(&experiment(&[SIGNUM]));
    assert_eq!(tasks.len(), 2, "the data's moments, and the run");
    let run = Folder::new().run(&tasks).remove(1);
    // 220 images in batches of 50 are five steps an epoch: measured after steps 0, 3, 5, 8, 10.
    for group in ["all", "majority", "minority", "class-0", "class-9", "worst-class", "worst-group"] {
        let steps: Vec<u64> = run.series("test", "accuracy", group).map(|record| record.step).collect();
        assert_eq!(steps, [0, 3, 5, 8, 10], "{group}");
        // Nothing can be chosen by validation any more.
        assert!(run.series("validation", "accuracy", group).map(|record| record.step).eq([10]));
    }
    let last = run.series("test", "accuracy", "all").last().unwrap();
    assert_eq!(last.epoch, Some(2.0));
    assert!(run.series("train", "loss", "all").map(|record| record.step).eq([3, 5, 8, 10]));
    let weighted = |group: &str| run.series("test", "accuracy", group).last().unwrap().value;
    // Uniform colours: a tenth of the test images are in the majority group.
    assert!((0.1 * weighted("majority") + 0.9 * weighted("minority") - last.value).abs() < 0.01);
    assert!(weighted("worst-group") <= weighted("majority").min(weighted("minority")) + 1e-12);
    // Nine centred components of ten classes; at first little of them is learned, in the end more.
    assert_eq!(groups(&run, "train", "learned").len(), 9);
    let learned: Vec<f64> = run.series("train", "learned", "0").map(|record| record.value).collect();
    assert_eq!(learned.len(), 5);
    assert!(learned[0].abs() < 0.2 && learned[4] > learned[0], "{learned:?}");
    assert_eq!(groups(&run, "train", "stable_rank"), ["head", "hidden"].map(String::from).into());
    assert!(run.series("train", "stable_rank", "head").all(|record| record.value >= 1.0 && record.value <= 10.0));
}

#[test]
fn class_imbalance_has_rare_classes() {
    let case = "data = { set = 'imbalanced', images = 'fashion-mnist', imbalance = 'step:10', train = 300, validation = 50, test = 100 }\n\
                model = { name = 'mlp', hidden = [8], activation = 'relu' }\n";
    let run = Folder::new().run(&planned(&experiment_on(case, &[SIGNUM]))).remove(0);
    let accuracy = |group: &str| run.series("test", "accuracy", group).last().unwrap().value;
    let mean = |classes: std::ops::Range<usize>| classes.map(|class| accuracy(&format!("class-{class}"))).sum::<f64>() / 5.0;
    assert!((accuracy("majority") - mean(0..5)).abs() < 1e-12);
    assert!((accuracy("minority") - mean(5..10)).abs() < 1e-12);
    assert!(run.series("test", "accuracy", "worst-group").next().is_none(), "there are no groups");
}

#[test]
fn dominoes_are_measured_by_core_and_decoded() {
    let case = "data = { set = 'dominoes', bottom = 'fashion-mnist', correlation = 0.95, validation_per_group = 200, decode_per_group = 370 }\n\
                model = { name = 'resnet', depth = 18, width = 1, stem = 'cifar' }\nepochs = 1\n";
    let run = Folder::new().run(&planned(&experiment_on(case, &[SIGNUM]))).remove(0);
    assert_eq!(run.outcome, Outcome::Finished);
    for split in ["test", "core-only", "decoded"] {
        let expected = ["all", "class-0", "class-1", "group-0", "group-1", "group-2", "group-3", "majority", "minority"];
        let expected = expected.into_iter().chain(["worst-class", "worst-group"]).map(String::from).collect();
        assert_eq!(groups(&run, split, "accuracy"), expected, "{split}");
    }
    assert_eq!(groups(&run, "balanced", "learned"), ["core".to_owned(), "spurious".to_owned()].into());
    assert!(groups(&run, "train", "learned").is_empty());
    let decoded = run.series("decoded", "accuracy", "all").last().unwrap().value;
    assert!(decoded > 0.55, "features of a ResNet tell more than chance: {decoded}");
}

#[test]
fn fine_tuning_starts_from_weights_that_are_made_once() {
    let case = "data = { set = 'group-task', train = 150, validation = 120 }\n\
                model = { name = 'resnet', depth = 18, width = 1, stem = 'cifar', pretrain = { images = 'fashion-mnist', train = 100, \
                epochs = 1, batch_size = 50, step_size = 0.003, seed = 1 } }\nepochs = 1\n";
    let (folder, tasks) = (Folder::new(), planned(&experiment_on(case, &[SIGNUM])));
    let run = folder.run(&tasks).remove(0);
    assert_eq!(run.outcome, Outcome::Finished);
    let files = |folder: &Path| fs_err::read_dir(folder.join("weights")).unwrap().count();
    assert_eq!(files(folder.folder.path()), 1);
    assert_eq!(groups(&run, "test", "accuracy").iter().filter(|group| group.starts_with("group-")).count(), 4);
}

#[test]
fn text_is_measured_by_the_frequency_of_tokens() {
    let case = "data = { set = 'text', corpus = 'sotu', vocabulary = 4096, context = 16, train = 60, validation = 8, test = 40 }\n\
                model = { name = 'gpt', layers = 1, width = 8, heads = 2, tied = true }\nbatch_size = 30\n";
    let run = Folder::new().run(&planned(&experiment_on(case, &[SIGNUM]))).remove(0);
    let metric = |metric: &str, group: &str| run.series("test", metric, group).last().unwrap().value;
    assert_eq!(groups(&run, "test", "loss").len(), 11);
    assert!(metric("loss", "all") < 4096_f64.ln() && metric("loss", "bin-9") > metric("loss", "bin-0"));
    assert!(metric("top5", "all") >= metric("top1", "all"));
}

#[test]
fn a_diverged_run_is_a_result_and_never_chosen() {
    let experiment = experiment(&[("sgd", "[0.01, 1e30]", "{ rule = 'sgd' }")]);
    let (folder, (grids, tasks)) = (Folder::new(), tuning(&experiment));
    let runs = folder.run(&tasks);
    assert_eq!(runs[0].outcome, Outcome::Finished);
    let Outcome::Diverged { step, reason } = &runs[1].outcome else { panic!("1e30 did not diverge") };
    assert!(*step <= 3, "{step}");
    assert!(reason.contains("loss") || reason.contains("gradient"), "{reason}");
    // It is not tried again.
    assert_eq!(folder.ensure(&tasks, 2).1, ["Planned"]);
    let tuned = choose(&grids, &runs);
    let (case, key, choice) = tuned.choices().next().unwrap();
    assert_eq!((case, key, choice.step_size, choice.worst_step_size), ("a-case", "sgd", 0.01, 0.01));
    assert!(choice.average[1] < -1.0, "worse than any accuracy");
    assert!(choice.at_edge());
    assert!(grids.widened(&tuned, 0).is_some());
}

#[test]
fn choices_survive_their_file() {
    let experiment = experiment(&[SGD, SIGNUM]);
    let (folder, (grids, tasks)) = (Folder::new(), tuning(&experiment));
    let tuned = choose(&grids, &folder.run(&tasks));
    let specification = folder.folder.path().join("test.toml");
    fs_err::write(Tuned::path(&specification), tuned.to_toml(&experiment)).unwrap();
    let read = Tuned::read(&specification).unwrap();
    let steps =
        |tuned: &Tuned| tuned.choices().map(|(_, key, c)| (key.to_owned(), c.step_size, c.worst_step_size)).collect::<Vec<_>>();
    assert_eq!(steps(&read), steps(&tuned));
    let tasks = plan(&experiment, Scale::Smoke, &read, &Origin::Embedded).unwrap();
    let (_, _, sgd) = read.choices().next().unwrap();
    // The data's moments, and a run for each step size that was chosen.
    assert_eq!(tasks.len(), if sgd.step_size.total_cmp(&sgd.worst_step_size).is_eq() { 3 } else { 4 });
    let untuned = plan(&experiment, Scale::Smoke, &Tuned::default(), &Origin::Embedded).unwrap_err().to_string();
    assert!(untuned.contains("isorate tune test.toml"), "{untuned}");
}

/// A request to stop is heard between steps; the run goes on from there, to the bits of one that was never stopped.
#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    let tasks = planned(&experiment(&[("muon", "[0.1]", "{ rule = 'sgd', momentum = 0.9 }")]));
    let (whole, parts) = (Folder::new(), Folder::new());
    let expected = whole.run(&tasks);
    let mut interruptions = 0;
    let runs = loop {
        let stop = Stop::new();
        let watch = |event: Event| {
            if matches!(event, Event::Step { .. }) {
                stop.request();
            }
        };
        match parts.runner(&stop, 1, &watch).ensure(&tasks) {
            Ok(runs) => break runs,
            Err(Error::Interrupted) => interruptions += 1,
            Err(other) => panic!("{other}"),
        }
        let states = parts.runner(&Stop::new(), 1, &|_| ()).states(&tasks).unwrap();
        assert!(matches!(states[1], State::Missing { step: Some(1..) }), "{states:?}");
    };
    assert!(interruptions >= 3, "{interruptions}");
    for (run, expected) in runs.iter().zip(&expected) {
        assert_eq!(run.records_hash(), expected.records_hash());
    }
    assert_eq!(fs_err::read_dir(parts.folder.path().join("unfinished")).unwrap().count(), 0);
}
