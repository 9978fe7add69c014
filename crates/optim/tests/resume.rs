//! A training that is stopped and resumed gives the weights of one that was not, bit for bit: every rule, with a
//! schedule, clipping, accumulation and an average of the weights.
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

mod common;

use std::path::Path;
use std::process::Command;

use candle_core::{DType, Tensor, Var};
use common::{all_rules, bits, normal, rule};
use isorate_optim::{
    Accumulator, Checkpoint, GroupRules, NamedParam, Optimizer, Role, RuleConfig, Schedule, WeightEma, clip_grad_norm,
};

/// Long enough to go on after the last stop through a refresh of any preconditioner.
const STEPS: u64 = 14;

/// After the first step, and in the middle of the periods of preconditioners.
const STOPS: [u64; 3] = [1, 5, 7];

const SHAPES: [(&str, Role, &[usize]); 4] = [
    ("conv.weight", Role::Matrix, &[3, 2, 2, 2]),
    ("fc1.bias", Role::Vector, &[5]),
    ("fc1.weight", Role::Matrix, &[5, 7]),
    ("wte.weight", Role::Embedding, &[6, 3]),
];

struct Training {
    params: Vec<NamedParam>,
    optimizer: Optimizer,
    ema: WeightEma,
}

impl Training {
    /// With weights that depend on `seed`.
    fn new(rule: &RuleConfig, dtype: DType, seed: u64) -> Self {
        let param = |(index, (name, role, shape)): (usize, &(&str, Role, &[usize]))| {
            let start = normal(shape, seed + index as u64).to_dtype(dtype).unwrap();
            NamedParam::new(*name, *role, Var::from_tensor(&start).unwrap())
        };
        let params: Vec<NamedParam> = SHAPES.iter().enumerate().map(param).collect();
        let optimizer = Optimizer::new(params.clone(), &GroupRules::uniform(rule.clone())).unwrap();
        let ema = WeightEma::new(&params, 0.9).unwrap().with_warmup();
        Self { params, optimizer, ema }
    }

    fn run(&mut self, until: u64) {
        let schedule = Schedule::trapezoid(STEPS, 6).with_warmup(3);
        let mut accumulator = Accumulator::mean(&self.params, 2).unwrap();
        while self.optimizer.steps() < until {
            let step = self.optimizer.steps();
            for micro_batch in 0..2 {
                if let Some(mut gradients) = accumulator.add(&self.loss(step, micro_batch).backward().unwrap()).unwrap() {
                    clip_grad_norm(&mut gradients, &self.params, 3.0).unwrap();
                    self.optimizer.set_lr_factor(schedule.factor(step)).unwrap();
                    self.optimizer.step(&gradients).unwrap();
                    self.ema.update().unwrap();
                }
            }
        }
    }

    /// The sum of tanh(W ∘ X) over all parameters: its gradients depend on the weights, so a difference would grow.
    fn loss(&self, step: u64, micro_batch: u64) -> Tensor {
        let of = |param: &NamedParam| {
            let x = normal(param.var.dims(), 1000 + 2 * step + micro_batch).to_dtype(param.var.dtype()).unwrap();
            (param.var.as_tensor() * x).unwrap().tanh().unwrap().sum_all().unwrap()
        };
        self.params.iter().map(of).reduce(|a, b| (a + b).unwrap()).unwrap()
    }

    fn checkpoint(&mut self) -> Checkpoint<'_> {
        Checkpoint::new(&self.params, &mut self.optimizer).with_ema(&mut self.ema)
    }

    fn weights(&self) -> Vec<Vec<u64>> {
        self.params.iter().map(|param| bits(&param.var)).collect()
    }

    /// Weights, states, averages, step count and factor as the bytes of a file: equal files, equal trainings.
    fn fingerprint(&mut self, folder: &Path) -> Vec<u8> {
        let path = folder.join("fingerprint");
        self.checkpoint().save(&path).unwrap();
        std::fs::read(path).unwrap()
    }
}

/// Preconditioners in every phase at the stops: with and without a start, in blocks, with each kind of grafting.
const PRECONDITIONED: [&str; 6] = [
    r#"{"rule":"shampoo","lr":0.1,"precondition_every":3,"weight_decay":0.01}"#,
    r#"{"rule":"shampoo","lr":0.1,"precondition_every":4,"beta2":0.9,"max_dim":4,"graft":"sgd"}"#,
    r#"{"rule":"shampoo","lr":0.1,"precondition_every":2,"start_step":6,"graft":"adam"}"#,
    r#"{"rule":"soap","lr":0.1,"precondition_every":3}"#,
    r#"{"rule":"soap","lr":0.1,"precondition_every":4,"max_precond_dim":6,"shampoo_beta":0.8}"#,
    r#"{"rule":"soap","lr":0.1}"#,
];

fn cases() -> Vec<(RuleConfig, DType)> {
    let rules = all_rules().into_iter().chain(PRECONDITIONED.map(rule));
    // Rules work in f32 and f64; the half types are rounded once in each step.
    rules.flat_map(|rule| [DType::F32, DType::F64, DType::BF16, DType::F16].map(|dtype| (rule.clone(), dtype))).collect()
}

#[test]
fn every_rule_resumes_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    for (rule, dtype) in cases() {
        let mut whole = Training::new(&rule, dtype, 1);
        whole.run(STEPS);
        let expected = whole.fingerprint(folder.path());
        for stop in STOPS {
            let mut stopped = Training::new(&rule, dtype, 1);
            stopped.run(stop);
            stopped.checkpoint().save(&path).unwrap();
            // Other weights and a state of another history, so that everything has to come from the file.
            let mut resumed = Training::new(&rule, dtype, 50);
            resumed.run(2);
            resumed.checkpoint().load(&path).unwrap();
            assert_eq!(resumed.optimizer.steps(), stop);
            resumed.run(STEPS);
            assert_eq!(resumed.weights(), whole.weights(), "{rule:?}, {dtype:?}, stopped after {stop}");
            assert!(resumed.fingerprint(folder.path()) == expected, "{rule:?}, {dtype:?}, stopped after {stop}");
        }
    }
}

/// What the test above compares does depend on the state: without it, the weights come out different.
#[test]
fn without_its_state_a_rule_does_not_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let mut stateful = 0;
    for (rule, dtype) in cases() {
        let mut whole = Training::new(&rule, dtype, 1);
        whole.run(5);
        whole.optimizer.save_state(&path).unwrap();
        let mut other = Training::new(&rule, dtype, 1);
        for (own, theirs) in other.params.iter().zip(&whole.params) {
            own.var.set(&theirs.var).unwrap();
        }
        let mut with_state = Training::new(&rule, dtype, 1);
        for (own, theirs) in with_state.params.iter().zip(&whole.params) {
            own.var.set(&theirs.var).unwrap();
        }
        with_state.optimizer.load_state(&path).unwrap();
        // The same data for all three.
        let step = |training: &mut Training| {
            let gradients = training.loss(5, 0).backward().unwrap();
            training.optimizer.set_lr_factor(1.0).unwrap();
            training.optimizer.step(&gradients).unwrap();
            training.weights()
        };
        let expected = step(&mut whole);
        assert_eq!(step(&mut with_state), expected, "{rule:?}");
        if step(&mut other) != expected {
            stateful += 1;
        }
    }
    // All but SGD without momentum, NGD, SignGD and SpecGD remember something.
    let stateless = |rule: &RuleConfig| {
        let text = serde_json::to_string(rule).unwrap();
        rule.name() == "specgd" || text.contains(r#""momentum":0.0"#)
    };
    assert_eq!(stateful, cases().iter().filter(|(rule, _)| !stateless(rule)).count());
}

#[test]
fn another_process_resumes_bit_for_bit() {
    const FOLDER: &str = "ISORATE_OPTIM_RESUME";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = Path::new(&folder);
        for (index, (rule, dtype)) in cases().iter().enumerate() {
            let mut resumed = Training::new(rule, *dtype, 50);
            resumed.checkpoint().load(folder.join(format!("{index}.stopped"))).unwrap();
            resumed.run(STEPS);
            resumed.checkpoint().save(folder.join(format!("{index}.finished"))).unwrap();
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (index, (rule, dtype)) in cases().iter().enumerate() {
        let mut training = Training::new(rule, *dtype, 1);
        training.run(5);
        training.checkpoint().save(folder.path().join(format!("{index}.stopped"))).unwrap();
        training.run(STEPS);
        expected.push(training.fingerprint(folder.path()));
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process_resumes_bit_for_bit", "--nocapture"])
        .env(FOLDER, folder.path())
        .env("RAYON_NUM_THREADS", "3")
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    for (index, (case, expected)) in cases().iter().zip(expected).enumerate() {
        let finished = std::fs::read(folder.path().join(format!("{index}.finished"))).unwrap();
        assert!(finished == expected, "{case:?}");
    }
}
