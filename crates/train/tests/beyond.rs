//! The experiments beyond the paper: what they refuse, and that their simulations meet their closed forms.

#![allow(clippy::unwrap_used, reason = "a test that fails by a panic says all that is needed")]

use isorate_data::Origin;
use isorate_optim::DeviceChoice;
use isorate_results::{Provenance, Record, Run, Store};
use isorate_train::{Experiment, Runner, Scale, Stop, Tuned, plan};

const POWER: &str = include_str!("../../../paper/experiments/b1.toml");
const MUON: &str = include_str!("../../../paper/experiments/b2.toml");

fn smoke(text: &str) -> Run {
    let experiment = Experiment::parse(text, "test", "test.toml").unwrap();
    let tasks = plan(&experiment, Scale::Smoke, &Tuned::default(), &Origin::Embedded).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let stop = Stop::new();
    let runner = Runner {
        store: &store,
        provenance: Provenance::default(),
        stop: &stop,
        device: DeviceChoice::Cpu.open(),
        workers: 1,
        work: folder.path(),
        save_every: std::time::Duration::MAX,
        again: false,
        watch: &|_| {},
    };
    runner.ensure(&tasks).unwrap().remove(0)
}

fn values<'a>(run: &'a Run, split: &str, metric: &str) -> Vec<&'a Record> {
    run.records.iter().filter(|record| record.split == split && record.metric == metric).collect()
}

#[test]
fn bad_settings_are_named() {
    for (text, from, to, named) in [
        (POWER, "exponents = [1.0, 0.5, 0.25, 0.0]", "exponents = []", "exponents"),
        (POWER, "0.25, 0.0]", "1.5]", "1.5 must be from 0"),
        (POWER, "depths = [1, 2, 3]", "depths = [0]", "depths"),
        (POWER, "delta = 10.0", "delta = -1.0", "delta"),
        (POWER, "[0.6, 0.3, 0.1]", "[0.5, 0.5]", "equal classes have no order"),
        (POWER, "[0.6, 0.3, 0.1]", "[0.6, 0.4, 1e-20]", "scale.smoke.resolution"),
        (POWER, "resolution = 50", "resolution = 0", "scale.smoke.resolution"),
        (MUON, "momenta = [0.0,", "momenta = [1.0,", "momenta"),
        (MUON, "step_size = 0.002", "step_size = 0.2", "step_size"),
        (MUON, "step_size = 0.002", "step_size = 1e-9", "scale.smoke.settling"),
        (MUON, "longest_memory = 200.0", "longest_memory = 1.0", "longest_memory"),
        (MUON, "settling = 5.0", "settling = nan", "scale.smoke.settling"),
        (MUON, "window = 60", "windows = 60", "windows"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Experiment::parse(&text.replacen(from, to, 1), "test", "test.toml").expect_err(to).to_string();
        assert!(error.contains(named), "{to}: {error}");
    }
}

#[test]
fn simulated_times_meet_the_closed_form() {
    let run = smoke(POWER);
    let (exact, simulated) = (values(&run, "closed-form", "time_ratio"), values(&run, "simulation", "time_ratio"));
    assert!(simulated.len() >= 8, "{}", simulated.len());
    for record in simulated {
        let exact = exact.iter().find(|other| other.optimizer == record.optimizer && other.group == record.group).unwrap();
        assert!((record.value / exact.value - 1.0).abs() < 0.05, "{record:?} against {}", exact.value);
    }
}

#[test]
fn simulated_overshoots_are_those_predicted() {
    let run = smoke(MUON);
    for metric in ["overshoot", "share"] {
        for record in values(&run, "closed-form", metric) {
            let same = |other: &&&Record| {
                other.optimizer == record.optimizer && other.group == record.group && other.time == record.time
            };
            let simulated = values(&run, "simulation", metric);
            if metric == "overshoot" {
                if let Some(other) = simulated.iter().find(same) {
                    assert!((other.value - record.value).abs() < 1e-9, "{record:?} against {}", other.value);
                }
            } else {
                let highest = simulated
                    .iter()
                    .filter(|other| other.optimizer == record.optimizer && other.group == record.group)
                    .map(|other| other.value)
                    .fold(0.0, f64::max);
                assert!((highest - record.value).abs() < 1e-9, "{record:?} against {highest}");
            }
        }
    }
}
