//! Runs made up for tests and for looking at figures: F1 from smooth curves with seeded noise, F2 and F5 from the closed forms.
#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests: a panic says all that is needed")]

use std::path::Path;

use isorate_results::{Header, Outcome, Provenance, Record, Run, Store};
use serde_json::{Value, json};

pub mod training;

pub fn run(experiment: &str, seed: u64, spec: Value, records: Vec<Record>) -> Run {
    let header = Header::new(experiment, "default", seed, spec, Provenance::default()).unwrap();
    Run::new(header, Outcome::Finished, records)
}

/// A number in [−1, 1] from whole numbers.
fn noise(parts: &[u64]) -> f64 {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for &part in parts {
        state = (state ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        state ^= state >> 29;
    }
    (state >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}

pub const EPOCHS: u64 = 12;
const STEPS_PER_EPOCH: u64 = 28;

/// Final and early minority accuracy, and time scale of the majority accuracy in epochs.
fn shape(optimizer: &str) -> (f64, f64, f64) {
    match optimizer {
        "muon" => (0.38, 1.8, 0.25),
        "nmd" => (0.26, 6.0, 0.6),
        "signum" => (0.28, 5.0, 0.4),
        "sgd" => (0.22, 8.0, 0.9),
        _ => (0.30, 4.0, 0.4),
    }
}

/// The runs of every experiment of the catalogue that has no made-up ones here: those that are frozen in the repository.
pub fn frozen() -> Vec<Run> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../figures/results");
    let store = Store::open(&folder).unwrap();
    let mut experiments: Vec<&str> = isorate_figures::catalogue().map(|entry| entry.experiment).collect();
    experiments.sort_unstable();
    experiments.dedup();
    let made = ["a1", "b3", "b4", "b7", "b8", "f1", "f2", "f3", "f4", "f5", "f6-networks", "f7", "f8", "f9", "t1"];
    experiments.retain(|experiment| !made.contains(experiment));
    let mut runs = Vec::new();
    for experiment in experiments {
        let mut files: Vec<_> = fs_err::read_dir(folder.join(experiment)).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            let id = serde_json::from_value(json!(file.file_stem().unwrap().to_string_lossy())).unwrap();
            runs.push(store.read(experiment, &id).unwrap());
        }
    }
    runs
}

pub fn training_run(optimizer: &str, seed: u64) -> Run {
    let spec = json!({
        "scale": "default",
        "kind": "training", "case": "colored-mnist",
        "data": { "set": "colored", "source": "embedded", "correlation": 0.99, "train": 4000, "validation": 1000, "test": 2000 },
        "model": { "name": "mlp", "hidden": [200] },
        "optimizer": { "key": optimizer, "step_size": 0.02, "grid": [0.005, 0.01, 0.02, 0.05, 0.1], "selection": "both" },
        "epochs": EPOCHS, "batch_size": 128, "seed": seed,
    });
    let (end, slow, quick) = shape(optimizer);
    let key = optimizer.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut records = Vec::new();
    for step in (0..=EPOCHS * STEPS_PER_EPOCH).filter(|step| step % 14 == 0) {
        let epoch = step as f64 / STEPS_PER_EPOCH as f64;
        let wobble = 0.02 * noise(&[key, seed, step]) + 0.03 * noise(&[key, seed]);
        let grown = if step == 0 { 0.0 } else { 1.0 };
        let minority =
            (0.02 + end * (1.0 - (-epoch / slow).exp()) + grown * wobble * (1.0 - (-epoch / 3.0).exp())).clamp(0.0, 1.0);
        let majority = (0.985 - 0.875 * (-epoch / quick).exp() + 0.2 * grown * wobble).clamp(0.0, 1.0);
        let record = |split: &str, metric: &str, group: &str, value: f64| {
            Record::at_step(step).epoch(epoch).of(optimizer).split(split).metric(metric).group(group).value(value)
        };
        records.push(record("test", "accuracy", "minority", minority));
        records.push(record("test", "accuracy", "majority", majority));
        records.push(record("test", "accuracy", "all", 0.5 * (minority + majority)));
        records.push(record("train", "loss", "all", 2.3 * (-epoch).exp()));
        records.extend(
            training::mechanism(optimizer, epoch)
                .iter()
                .map(|(split, metric, group, value)| record(split, metric, group, *value)),
        );
    }
    run("f1", seed, spec, records)
}

/// The run stopped after `epoch`.
pub fn diverge(mut run: Run, epoch: f64) -> Run {
    for record in &mut run.records {
        if record.epoch.is_some_and(|at| at > epoch) {
            record.value = f64::NAN;
        }
    }
    run.records.retain(|record| record.epoch.is_some_and(|at| at <= epoch + 0.5));
    run.outcome = Outcome::Diverged { step: 14, reason: "the loss is NaN".into() };
    run
}

pub fn moments_run() -> Run {
    let record = |metric: &str, index: usize, value: f64| {
        Record::at_step(0).of("data").split("train").metric(metric).group(&index.to_string()).value(value)
    };
    let mut records = Vec::new();
    for index in 0..10 {
        let decay = (-(index as f64) / 3.0).exp();
        records.push(record("s_yx", index, if index == 0 { 2.6 } else { 0.55 * decay }));
        records.push(record("s_xx", index, if index == 0 { 61.0 } else { 9.0 * decay + 0.8 * noise(&[index as u64]).abs() }));
    }
    for index in 0..64 {
        records.push(record("eigenvalue", index, if index == 0 { 65.0 } else { 14.0 / (index as f64).powf(1.3) }));
    }
    let residual = Record::at_step(0).of("data").split("train").metric("condition1_residual").group("all").value(0.137);
    records.push(residual);
    run("f1", 0, json!({ "kind": "moments", "case": "colored-mnist" }), records)
}

pub fn f1(optimizers: &[&str], seeds: u64) -> Vec<Run> {
    let mut runs: Vec<Run> =
        optimizers.iter().flat_map(|optimizer| (0..seeds).map(|seed| training_run(optimizer, seed))).collect();
    runs.push(moments_run());
    runs
}

/// A Gaussian mixture with orthogonal means: `s_yx = μ p`, `s_xx = μ² p + σ²`.
pub struct Mixture {
    pub priors: Vec<f64>,
    pub mean: f64,
    pub noise: f64,
}

impl Mixture {
    fn yx(&self, c: usize) -> f64 {
        self.mean * self.priors[c]
    }
    fn xx(&self, c: usize) -> f64 {
        self.mean.powi(2) * self.priors[c] + self.noise.powi(2)
    }
    pub fn limit(&self, c: usize) -> f64 {
        self.yx(c) / self.xx(c)
    }
    fn gd(&self, t: f64) -> Vec<f64> {
        (0..self.priors.len()).map(|c| self.limit(c) * (1.0 - (-self.xx(c) * t).exp())).collect()
    }
    fn spec(&self, t: f64) -> Vec<f64> {
        (0..self.priors.len()).map(|c| t.min(self.limit(c))).collect()
    }
    /// NGD: GD's path at time τ with t = ∫₀^τ ‖∇‖, for increasing `times`.
    fn ngd(&self, times: &[f64]) -> Vec<Vec<f64>> {
        let speed =
            |tau: f64| (0..self.priors.len()).map(|c| (self.yx(c) * (-self.xx(c) * tau).exp()).powi(2)).sum::<f64>().sqrt();
        let (mut tau, mut t) = (0.0, 0.0);
        let mut out = Vec::new();
        for &time in times {
            while t < time && tau < 400.0 {
                let step = 1e-3 * (1.0 + tau);
                let gained = step * speed(tau + step / 2.0);
                let part = if gained > 0.0 { ((time - t) / gained).min(1.0) } else { 1.0 };
                t += part * gained;
                tau += part * step;
            }
            out.push(self.gd(tau));
        }
        out
    }
    fn path(&self, rule: &str, times: &[f64]) -> Vec<Vec<f64>> {
        match rule {
            "gd" => times.iter().map(|&t| self.gd(t)).collect(),
            "ngd" => self.ngd(times),
            _ => times.iter().map(|&t| self.spec(t)).collect(),
        }
    }
    fn loss(&self, alphas: &[f64], c: usize) -> f64 {
        let squares: f64 = alphas.iter().map(|alpha| alpha * alpha).sum();
        0.5 * ((1.0 - self.mean * alphas[c]).powi(2) + self.noise.powi(2) * squares)
    }
    fn balanced(&self, alphas: &[f64]) -> f64 {
        (0..alphas.len()).map(|c| self.loss(alphas, c)).sum::<f64>() / alphas.len() as f64
    }
    fn spec_json(&self) -> Value {
        json!({ "mixture": { "priors": self.priors, "mean_norm": self.mean, "noise_std": self.noise } })
    }

    /// The curves of F2 under the names of B4.
    pub fn b4(&self) -> Run {
        let mut records = self.f2().records;
        let named = |from: &str, to: &str, records: &[Record]| -> Vec<Record> {
            records.iter().filter(|r| r.optimizer == from).cloned().map(|r| r.of(to)).collect()
        };
        for (from, to) in [("specgd", "shampoo-sum"), ("specgd", "shampoo-average")] {
            records.extend(named(from, to, &records));
        }
        run("b4", 0, self.spec_json(), records)
    }

    pub fn f2(&self) -> Run {
        let mut records = Vec::new();
        for (rule, end) in [("gd", 12.0), ("ngd", 1.5), ("specgd", 1.2)] {
            for (split, count) in [("closed-form", 400), ("simulation", 24)] {
                let times: Vec<f64> = (0..=count).map(|i| end * f64::from(i) / f64::from(count)).collect();
                for (&time, alphas) in times.iter().zip(self.path(rule, &times)) {
                    for (c, alpha) in alphas.into_iter().enumerate() {
                        records.push(
                            Record::at_step(0)
                                .time(time)
                                .of(rule)
                                .split(split)
                                .metric("alpha")
                                .group(&c.to_string())
                                .value(alpha),
                        );
                    }
                }
            }
        }
        for c in 0..self.priors.len() {
            let record =
                |metric: &str| Record::at_step(0).of("mixture").split("closed-form").metric(metric).group(&c.to_string());
            records.push(record("prior").value(self.priors[c]));
            records.push(record("limit").value(self.limit(c)));
        }
        run("f2", 0, self.spec_json(), records)
    }

    pub fn f5(&self, bilinear: bool) -> Run {
        let minority = self.priors.len() - 1;
        let end = self.limit(minority);
        let mut records = Vec::new();
        for (rule, minority_slope, balanced_slope) in [("gd", 0.25, 0.5), ("ngd", 0.5, 0.25)] {
            for (split, count) in [("closed-form", 300), ("simulation", 15)] {
                let times: Vec<f64> = (1..=count).map(|i| end * f64::from(i) / f64::from(count)).collect();
                for (&time, alphas) in times.iter().zip(self.path(rule, &times)) {
                    let spectral = self.spec(time);
                    let mut push = |metric: &str, group: &str, value: f64| {
                        records
                            .push(Record::at_step(0).time(time).of(rule).split(split).metric(metric).group(group).value(value));
                    };
                    let gap = self.loss(&alphas, minority) - self.loss(&spectral, minority);
                    let balanced = self.balanced(&alphas) - self.balanced(&spectral);
                    push("minority_gap", "linear", gap);
                    push("balanced_gap", "linear", balanced);
                    if bilinear {
                        push("minority_gap", "bilinear", 1.4 * gap);
                        push("balanced_gap", "bilinear", 1.3 * balanced);
                    }
                    if split == "closed-form" {
                        push("minority_bound", "linear", minority_slope * self.mean * time);
                        push("balanced_bound", "linear", balanced_slope * self.mean * time);
                    }
                }
            }
        }
        run("f5", 0, self.spec_json(), records)
    }
}

/// The mixture of F2 in the paper.
pub fn three() -> Mixture {
    Mixture { priors: vec![0.5, 0.3, 0.2], mean: 1.0, noise: 0.5 }
}

/// Ten classes, priors falling by a quarter.
pub fn ten() -> Mixture {
    let weights: Vec<f64> = (0..10).map(|c| 0.75_f64.powi(c)).collect();
    let sum: f64 = weights.iter().sum();
    Mixture { priors: weights.iter().map(|weight| (1e4 * weight / sum).round() / 1e4).collect(), mean: 1.0, noise: 0.3 }
}

/// A mixture that meets the conditions of Theorem 1: μ ≥ 1, k ≥ 3μ, `p_m` ≤ 1/(5 SNR + 6k).
pub fn theorem() -> Mixture {
    Mixture { priors: vec![0.49, 0.49, 0.02], mean: 1.0, noise: 0.5 }
}

/// T1 with one check that fails.
pub fn t1() -> Run {
    let checks = [
        ("thm1-minority", "L_m(GF) − L_m(Spec) ≥ μt/4 on (0, t*]", "smallest gap/(μt) | all mixtures", 0.3261, 0.25, 1.0),
        ("thm1-balanced", "L_bal(GF) − L_bal(Spec) ≥ μt/2 on (0, t*]", "smallest gap/(μt)", 0.612_345_678_9, 0.5, 1.0),
        ("thm2-balanced-quarter", "L_bal(NGF) − L_bal(Spec) ≥ μt/4 on (0, t*]", "smallest gap/(μt)", 0.2413, 0.25, 0.0),
        ("limit-common", "α_c(n) of GD, simulation & closed form", "largest relative error", 3.2e-15, 1e-12, 1.0),
    ];
    let mut records = Vec::new();
    let mut notes = Vec::new();
    for (id, statement, quantity, value, bound, pass) in checks {
        let record =
            |metric: &str, value: f64| Record::at_step(0).of("theory").split("check").metric(metric).group(id).value(value);
        let margin = if id == "limit-common" { bound - value } else { value - bound };
        records.extend([record("value", value), record("bound", bound), record("margin", margin), record("pass", pass)]);
        let heading = if id.starts_with("thm") { "Theorems 1 and 2" } else { "Limits" };
        notes.push((format!("{id}.heading"), heading.to_owned()));
        notes.push((format!("{id}.statement"), statement.to_owned()));
        notes.push((format!("{id}.quantity"), quantity.to_owned()));
    }
    let mut run = run("t1", 0, json!({ "checks": "all" }), records);
    run.notes = notes.into_iter().collect();
    run
}

/// Responses that saturate, and a rare class that follows `SpecGD` late.
pub fn b3() -> Run {
    let mut records = Vec::new();
    let base = |rule: &str, split: &str| Record::at_step(0).of(rule).split(split);
    for steps in [1, 5] {
        for i in 0..=40 {
            let x = 10.0_f64.powf(-5.0 + f64::from(i) / 8.0);
            let record = base("newton-schulz", "closed-form").metric("response").group(&steps.to_string());
            records.push(record.time(x).value((3.4445_f64.powi(steps) * x).min(1.0)));
        }
    }
    for imbalance in ["10", "1000"] {
        let late: f64 = imbalance.parse().unwrap();
        records.push(base("newton-schulz", "closed-form").metric("share").group(imbalance).value(0.3 / late));
        for (rule, rate) in [("specgd", 1.0), ("newton-schulz", 1.0 / late.log10())] {
            for split in ["closed-form", "simulation"] {
                for i in 0..=30 {
                    let t = f64::from(i) / 10.0;
                    records.push(base(rule, split).metric("minority").group(imbalance).time(t).value((rate * t).min(1.0)));
                }
            }
        }
    }
    run("b3", 0, json!({ "classes": 10, "mean_norm": 1.0, "noise_std": 1.0 }), records)
}

/// F4 at two seeds: the stopping points of every rule, and curves that rise to them. `SpecGD` leads, but for canonical means.
pub fn f4() -> Run {
    let mut records = Vec::new();
    for data in ["n-2000", "population"] {
        for (rule, basis, level) in
            [("ngd", "rotated", 0.6), ("signgd", "rotated", 0.65), ("signgd", "canonical", 0.8), ("specgd", "rotated", 0.75)]
        {
            let name = format!("{data}.{basis}");
            let record = |split: &str, metric: &str, group: &str, step: u64, value: f64| {
                let base = Record::at_step(step).time(0.1 * step as f64).of(rule);
                base.split(split).metric(metric).group(group).value(value)
            };
            records.push(record("test", "step_size", &name, 40, 0.1));
            for (steps, loss) in [(40, 0.0), (80, 0.01)] {
                records.push(record("validation", "tuning_balanced", &name, steps, level - loss));
                records.push(record("validation", "tuning_worst", &name, steps, level - 0.1));
            }
            for step in 1..=40 {
                for (score, below) in [("balanced", 0.0), ("worst", 0.1), ("majority", -0.05), ("minority", 0.05)] {
                    let value = (level - below) * (1.0 - (-(step as f64) / 5.0).exp());
                    records.push(record("test", score, &name, step, value));
                    records.push(record("test", &format!("{score}_deviation"), &name, step, 0.02));
                }
            }
            for seed in 0..2 {
                let group = format!("{name}.seed-{seed}");
                for (score, below) in [("best_balanced", 0.0), ("best_worst", 0.1)] {
                    let value = level - below + if rule == "specgd" { 0.04 * seed as f64 } else { 0.0 };
                    records.push(record("test", score, &group, 20 + seed, value));
                    records.push(record("test", &format!("{score}_oracle"), &group, 22, value + 0.01));
                }
            }
        }
    }
    let spec = json!({
        "classes": 20, "dim": 200, "mean_norm": 3.0, "noise_std": 1.0, "seeds": [0, 1], "step_counts": [40, 80], "kind": "early-stopping"
    });
    run("f4", 0, spec, records)
}

/// A1 with errors that fall as 1/√n.
pub fn a1() -> Run {
    let mixture = three();
    let mut records = Vec::new();
    for c in 0..3 {
        let record = |metric: &str| Record::at_step(0).of("mixture").split("closed-form").metric(metric).group(&c.to_string());
        records.push(record("prior").value(mixture.priors[c]));
        records.push(record("limit").value(mixture.limit(c)));
    }
    for (place, rule) in ["gd", "ngd", "specgd", "muon", "muon-ns"].into_iter().enumerate() {
        let times: Vec<f64> = (0..=50).map(|i| 0.02 * f64::from(i)).collect();
        let path = mixture.path(if rule == "ngd" { "specgd" } else { rule }, &times);
        for split in ["closed-form", "simulation"] {
            for (&time, alphas) in times.iter().zip(&path) {
                for (c, alpha) in alphas.iter().enumerate() {
                    let base = Record::at_step(0).time(time).of(rule).split(split).metric("alpha").group(&c.to_string());
                    records.push(base.value(alpha + if split == "simulation" { 0.01 } else { 0.0 }));
                }
            }
        }
        for case in ["linear.d-10", "bilinear.d-10", "linear.d-200"] {
            let base = |metric: &str, group: &str| Record::at_step(9).of(rule).split("simulation").metric(metric).group(group);
            for n in [100, 1000, 10_000] {
                let error = (1.0 + place as f64) / f64::from(n).sqrt();
                records.push(base("error", &format!("{case}.n-{n}")).value(error));
                records.push(base("error_deviation", &format!("{case}.n-{n}")).value(0.3 * error));
            }
            for (metric, value) in [("slope", -0.5), ("slope_error", 0.01), ("intercept", (1.0 + place as f64).ln())] {
                records.push(base(metric, case).value(value));
            }
        }
    }
    let spec = json!({
        "mixture": { "priors": mixture.priors, "mean_norm": 1.0, "noise_std": 0.5, "dim": 10 },
        "high_dim": 200, "initial_scale": 1e-4, "trials": 8, "shown_samples": 1000,
    });
    run("a1", 0, spec, records)
}
