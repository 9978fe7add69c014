//! A training of one step, to be saved and loaded.

use std::path::PathBuf;

use candle_core::backprop::GradStore;
use candle_core::{DType, Var};
use isorate_optim::{Checkpoint, GroupRules, NamedParam, Optimizer, Role, RuleConfig, WeightEma};

use super::{normal, rule};

pub struct Training {
    pub params: Vec<NamedParam>,
    pub optimizer: Optimizer,
    pub ema: WeightEma,
    pub folder: tempfile::TempDir,
}

impl Training {
    /// One step from seeded weights.
    pub fn new(shapes: &[(&str, &[usize])], dtype: DType, rule: &RuleConfig) -> Self {
        let seeded = |(name, shape): &(&str, &[usize])| {
            let var = Var::from_tensor(&normal(shape, 7).to_dtype(dtype).unwrap()).unwrap();
            NamedParam::new(*name, if shape.len() < 2 { Role::Vector } else { Role::Matrix }, var)
        };
        let params: Vec<NamedParam> = shapes.iter().map(seeded).collect();
        let optimizer = Optimizer::new(params.clone(), &GroupRules::uniform(rule.clone())).unwrap();
        let ema = WeightEma::new(&params, 0.9).unwrap();
        let mut training = Self { params, optimizer, ema, folder: tempfile::tempdir().unwrap() };
        training.step(8);
        training
    }

    pub fn small() -> Self {
        Self::new(&[("w", &[2, 2])], DType::F32, &adamw())
    }

    pub fn step(&mut self, seed: u64) {
        let mut gradients = GradStore::default();
        for param in &self.params {
            gradients.insert(&param.var, normal(param.var.dims(), seed).to_dtype(param.var.dtype()).unwrap());
        }
        self.optimizer.step(&gradients).unwrap();
        self.ema.update().unwrap();
    }

    pub fn checkpoint(&mut self) -> Checkpoint<'_> {
        Checkpoint::new(&self.params, &mut self.optimizer).with_ema(&mut self.ema)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn saved(&mut self) -> Vec<u8> {
        let path = self.path("saved");
        self.checkpoint().save(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    /// The state of the optimizer alone.
    pub fn state(&self) -> Vec<u8> {
        let path = self.path("state");
        self.optimizer.save_state(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    /// What loading these bytes as a state says, without the path; nothing may have changed then.
    pub fn refusal(&mut self, bytes: &[u8]) -> String {
        let (path, before) = (self.path("other"), self.saved());
        std::fs::write(&path, bytes).unwrap();
        let text = self.optimizer.load_state(&path).unwrap_err().to_string();
        assert!(self.saved() == before, "{text}");
        let text = text.strip_prefix(&format!("{}: ", path.display())).expect("the error begins with the file");
        text.to_owned()
    }

    /// The same for a checkpoint.
    pub fn checkpoint_refusal(&mut self, bytes: &[u8]) -> String {
        let (path, before) = (self.path("other"), self.saved());
        std::fs::write(&path, bytes).unwrap();
        let text = self.checkpoint().load(&path).unwrap_err().to_string();
        assert!(self.saved() == before, "{text}");
        text.strip_prefix(&format!("{}: ", path.display())).expect("the error begins with the file").to_owned()
    }
}

pub fn adamw() -> RuleConfig {
    rule(r#"{"rule":"adamw","lr":0.1}"#)
}
