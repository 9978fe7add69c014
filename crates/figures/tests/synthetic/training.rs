//! Training runs made up to the contract of records: smooth curves with seeded noise, better for spectral rules.

use isorate_results::{Record, Run};
use serde_json::{Value, json};

use super::{noise, run};

/// Split, metric, group and value of one measurement.
type Value4 = (&'static str, &'static str, String, f64);

/// What the runs of one case have in common.
pub struct Setting {
    pub experiment: &'static str,
    pub case: &'static str,
    pub data: Value,
    pub model: Value,
    pub epochs: u64,
    pub evaluations: u64,
    /// What a rule measures after some epochs, without noise.
    pub measures: fn(&str, &str, f64) -> Vec<Value4>,
}

/// Steps of an epoch.
const STEPS: u64 = 24;

/// How fast a rule learns what is rare, in epochs.
fn slowness(optimizer: &str) -> f64 {
    match optimizer {
        "specgd" | "muon-exact" => 1.5,
        "muon" | "muon-all" | "muon-ns5" => 1.6,
        "muon-no-head" | "muon-no-filters" => 1.7,
        "shampoo" | "muon-ns3" | "muon-hidden" => 2.1,
        "adam" | "adamw" => 2.9,
        "signum" => 3.5,
        "muon-ns1" | "nmd" => 5.0,
        _ => 7.0,
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(7, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)))
}

fn rise(epoch: f64, slow: f64) -> f64 {
    1.0 - (-epoch / slow).exp()
}

impl Setting {
    /// Runs of every optimizer and seed, at step sizes that both choices took; for SGD they took two.
    pub fn runs(&self, optimizers: &[&str], seeds: u64) -> Vec<Run> {
        let choices =
            |optimizer: &str| if optimizer == "sgd" { vec![("average", 0.1), ("worst", 0.3)] } else { vec![("both", 0.03)] };
        let all = optimizers.iter().flat_map(|&optimizer| {
            choices(optimizer).into_iter().flat_map(move |choice| (0..seeds).map(move |seed| self.run(optimizer, choice, seed)))
        });
        all.collect()
    }

    fn run(&self, optimizer: &str, (selection, step_size): (&str, f64), seed: u64) -> Run {
        let spec = json!({
            "kind": "training", "experiment": self.experiment, "scale": "default", "seed": seed, "revision": 2,
            "case": self.case, "data": self.data, "model": self.model,
            "optimizer": { "key": optimizer, "step_size": step_size, "grid": [0.003, 0.01, 0.03, 0.1, 0.3], "selection": selection },
            "schedule": "constant", "batch_size": 128, "epochs": self.epochs, "evaluations_per_epoch": self.evaluations,
        });
        let key = hash(optimizer);
        let mut records = Vec::new();
        for index in 0..=self.epochs * self.evaluations {
            let step = index * STEPS / self.evaluations;
            let epoch = step as f64 / STEPS as f64;
            for (split, metric, group, value) in (self.measures)(self.case, optimizer, epoch) {
                let place = hash(&group);
                let size = if epoch > 0.0 { 0.015 } else { 0.0 };
                let wobble = size * (noise(&[key, seed, step, place]) + noise(&[key, seed, place]));
                let value = match metric {
                    "accuracy" | "top1" | "top5" => (value + wobble).clamp(0.0, 1.0),
                    _ => value * (1.0 + wobble),
                };
                let record = Record::at_step(step).epoch(epoch).of(optimizer).split(split);
                // Whole parts of a power of two: sums are the same on every machine.
                records.push(record.metric(metric).group(&group).value((1024.0 * value).round() / 1024.0));
            }
        }
        let mut made = run(self.experiment, seed, spec, records);
        let provenance = &mut made.header.provenance;
        provenance.steps = self.epochs * STEPS;
        provenance.train_seconds = self.epochs as f64 * (4.0 + slowness(optimizer).recip() * 3.0 + 0.1 * seed as f64);
        provenance.peak_memory_bytes = 412_345_678 + 1_000_000 * seed;
        made
    }
}

fn accuracy(split: &'static str, group: &str, value: f64) -> Value4 {
    (split, "accuracy", group.to_owned(), value)
}

/// Learned shares of nine components, which rise at more equal rates under spectral rules, and stable ranks.
pub fn mechanism(optimizer: &str, epoch: f64) -> Vec<Value4> {
    let slow = slowness(optimizer);
    let mut found: Vec<Value4> = (0..9)
        .map(|c| {
            let own = 0.25 * (1.0 + f64::from(c) * (slow - 1.2));
            ("train", "learned", c.to_string(), 0.96 * rise(epoch, own))
        })
        .collect();
    found.push(("train", "stable_rank", "hidden".into(), 9.0 - 4.0 * rise(epoch, 3.0) * (slow / 7.0)));
    found.push(("train", "stable_rank", "head".into(), 6.0 - 3.5 * rise(epoch, 2.0) * (slow / 7.0)));
    if epoch == 0.0 {
        found.extend((0..9).map(|c| ("train", "learned_s_yx", c.to_string(), 0.5 * 0.7_f64.powi(c))));
    }
    found
}

fn by_group(_: &str, optimizer: &str, epoch: f64) -> Vec<Value4> {
    let slow = slowness(optimizer);
    let (minority, majority) = (0.1 + 0.64 * rise(epoch, slow), 0.1 + 0.8 * rise(epoch, 0.7));
    let mut found = mechanism(optimizer, epoch);
    found.extend([
        accuracy("test", "minority", minority),
        accuracy("test", "majority", majority),
        accuracy("test", "all", 0.5 * (minority + majority)),
        accuracy("test", "worst-class", 0.6 * minority),
        accuracy("test", "worst-group", 0.9 * minority),
        ("train", "loss", "all".into(), 2.3 * (-epoch / slow).exp()),
    ]);
    found
}

/// Deeper networks rise faster.
fn by_depth(case: &str, optimizer: &str, epoch: f64) -> Vec<Value4> {
    let (quick, lead) = if case == "depth-4" { (0.6, 1.3) } else { (1.0, 1.0) };
    let minority = 0.05 + 0.5 * rise(epoch, lead * quick * slowness(optimizer).powf(lead));
    vec![accuracy("test", "minority", minority), accuracy("test", "majority", 0.1 + 0.88 * rise(epoch, 0.3))]
}

fn dominoes(case: &str, optimizer: &str, epoch: f64) -> Vec<Value4> {
    let slow = slowness(optimizer);
    let hard = if case == "dominoes-95-shirts" { 0.6 } else { 1.0 };
    let mut found: Vec<Value4> = mechanism(optimizer, epoch).into_iter().filter(|value| value.1 == "stable_rank").collect();
    found.extend([
        ("balanced", "learned", "spurious".into(), 0.9 * rise(epoch, 0.5)),
        ("balanced", "learned", "core".into(), 0.6 * hard * rise(epoch, slow)),
        accuracy("test", "worst-group", 0.4 * hard * rise(epoch, 2.0 * slow)),
        accuracy("test", "all", 0.5 + 0.3 * rise(epoch, slow)),
        accuracy("core-only", "worst-group", 0.45 * hard * rise(epoch, slow)),
        accuracy("decoded", "worst-group", 0.4 + 0.5 * hard * rise(epoch, if slow > 6.0 { 4.0 * slow } else { slow })),
    ]);
    found
}

fn fine_tuned(_: &str, optimizer: &str, epoch: f64) -> Vec<Value4> {
    let slow = if optimizer == "adam" { 1.75 } else { slowness(optimizer) };
    vec![
        accuracy("test", "worst-group", 0.75 * rise(epoch, slow)),
        accuracy("test", "all", 0.5 + 0.43 * rise(epoch, 0.8)),
        accuracy("test", "minority", 0.8 * rise(epoch, slow)),
        accuracy("test", "majority", 0.5 + 0.45 * rise(epoch, 0.8)),
    ]
}

fn language(_: &str, optimizer: &str, epoch: f64) -> Vec<Value4> {
    let slow = slowness(optimizer);
    let mut found = Vec::new();
    for bin in 0..10 {
        let rare = f64::from(bin) / 9.0;
        let learned = rise(epoch, 0.6 + rare * slow);
        let loss = 8.3 - (6.8 - 3.2 * rare) * learned;
        let share = (0.75 - 0.6 * rare) * learned;
        let group = format!("bin-{bin}");
        found.push(("test", "loss", group.clone(), loss));
        found.push(("test", "top1", group.clone(), share));
        found.push(("test", "top5", group, (1.35 * share).min(1.0)));
    }
    let learned = rise(epoch, 0.6 + 0.5 * slow);
    found.extend([
        ("test", "loss", "all".into(), 8.3 - 5.2 * learned),
        ("test", "top1", "all".into(), 0.45 * learned),
        ("test", "top5", "all".into(), 0.6 * learned),
    ]);
    found
}

fn resnet(depth: u32) -> Value {
    json!({ "name": "resnet", "depth": depth, "width": 16, "stem": "cifar" })
}

fn imbalanced() -> Value {
    json!({
        "set": "imbalanced", "images": "fashion-mnist", "imbalance": "step:20", "source": "embedded",
        "train": 10_000, "validation": 2000, "test": 4000,
    })
}

const ALL: [&str; 6] = ["muon", "shampoo", "nmd", "signum", "sgd", "adam"];

pub fn f3(seeds: u64) -> Vec<Run> {
    let setting = Setting {
        experiment: "f3",
        case: "fashion-mnist",
        data: imbalanced(),
        model: resnet(18),
        epochs: 8,
        evaluations: 2,
        measures: by_group,
    };
    setting.runs(&[&["specgd"], &ALL[..]].concat(), seeds)
}

pub fn f6_networks(seeds: u64) -> Vec<Run> {
    let of = |case: &'static str, hidden: Vec<u32>| {
        let data = json!({ "set": "colored", "correlation": 0.99, "source": "embedded", "train": 10_000, "validation": 2000, "test": 4000 });
        let model = json!({ "name": "mlp", "hidden": hidden, "activation": "relu" });
        Setting { experiment: "f6-networks", case, data, model, epochs: 12, evaluations: 4, measures: by_depth }.runs(&ALL, seeds)
    };
    [of("depth-2", vec![200]), of("depth-4", vec![200; 3])].concat()
}

pub fn f7(seeds: u64) -> Vec<Run> {
    let of = |case: &'static str, correlation: f64| {
        let data = json!({ "set": "dominoes", "bottom": "fashion-mnist", "correlation": correlation, "source": "embedded", "train": 3600 });
        let model = resnet(34);
        Setting { experiment: "f7", case, data, model, epochs: 10, evaluations: 1, measures: dominoes }.runs(&ALL, seeds)
    };
    [of("dominoes-95", 0.95), of("dominoes-95-shirts", 0.99)].concat()
}

pub fn f8(seeds: u64) -> Vec<Run> {
    let setting = Setting {
        experiment: "f8",
        case: "warm-wear",
        data: json!({ "set": "group-task", "source": "embedded", "train": 5000, "validation": 1000 }),
        model: json!({ "name": "resnet", "depth": 18, "width": 16, "stem": "cifar", "pretrain": { "images": "fashion-mnist" } }),
        epochs: 6,
        evaluations: 2,
        measures: fine_tuned,
    };
    setting.runs(&ALL, seeds)
}

pub fn f9(seeds: u64) -> Vec<Run> {
    let setting = Setting {
        experiment: "f9",
        case: "sotu",
        data: json!({
            "set": "text", "corpus": "sotu", "source": "embedded", "vocabulary": 4096, "context": 64,
            "train": 8000, "validation": 500, "test": 1000,
        }),
        model: json!({ "name": "gpt", "layers": 2, "width": 64, "heads": 4, "tied": false }),
        epochs: 6,
        evaluations: 2,
        measures: language,
    };
    setting.runs(&ALL, seeds)
}

pub fn b7(seeds: u64) -> Vec<Run> {
    ablation("b7", &["muon-all", "muon-no-head", "muon-no-filters", "muon-hidden"], seeds)
}

pub fn b8(seeds: u64) -> Vec<Run> {
    ablation("b8", &["muon-ns1", "muon-ns3", "muon-ns5", "muon-exact"], seeds)
}

fn ablation(experiment: &'static str, variants: &[&str], seeds: u64) -> Vec<Run> {
    let (data, model) = (imbalanced(), resnet(18));
    Setting { experiment, case: "fashion-mnist", data, model, epochs: 8, evaluations: 1, measures: by_group }
        .runs(variants, seeds)
}

/// The experiments that train networks.
pub const EXPERIMENTS: [&str; 8] = ["f1", "f3", "f6-networks", "f7", "f8", "f9", "b7", "b8"];

/// The runs of all of these experiments but F1.
pub fn everything(seeds: u64) -> Vec<Run> {
    [f3, f6_networks, f7, f8, f9, b7, b8].into_iter().flat_map(|runs| runs(seeds)).collect()
}
