//! The sets of one run, made from files and a seed.

mod images;
mod pairs;
mod text;

use std::sync::{Arc, Mutex, PoisonError};

use isorate_data::{Origin, TokenBins};
use serde_json::{Value, json};

use crate::Error;
use crate::inputs::Inputs;
use crate::source::{self, Source};
use crate::spec::data::DataSpec;

/// A data set with its files and the seed of every choice in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataRun {
    pub(crate) spec: DataSpec,
    pub(crate) sources: Vec<Source>,
    pub(crate) seed: u64,
}

/// What a network is trained and measured on.
pub(crate) struct Sets {
    pub(crate) train: Inputs,
    pub(crate) held_out: Vec<HeldOut>,
    /// Group-balanced rows that a decoding regression is fitted on; it is measured on `test`.
    pub(crate) decode: Option<Inputs>,
    pub(crate) outputs: Outputs,
}

/// A set to measure on.
pub(crate) struct HeldOut {
    /// `validation`, `test` or `core-only`.
    pub(crate) split: &'static str,
    pub(crate) inputs: Inputs,
    pub(crate) parts: Parts,
}

/// What is counted apart.
pub(crate) enum Parts {
    /// Rows by class and group.
    Rows(RowParts),
    /// Tokens by the frequency of their type.
    Tokens(TokenBins),
}

/// The parts of rows with one label each.
pub(crate) struct RowParts {
    pub(crate) labels: Vec<u32>,
    pub(crate) classes: usize,
    /// Whether a row is of the minority.
    pub(crate) minority: Vec<bool>,
    /// The group of each row and the number of groups; none for a set without an attribute.
    pub(crate) groups: Option<(Vec<usize>, usize)>,
}

/// What a network tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outputs {
    /// One of some classes.
    Classes(usize),
    /// The next token, after at most `context` of them.
    Tokens { vocabulary: usize, context: usize },
}

impl DataRun {
    /// Finds the files of a set.
    pub(crate) fn new(spec: &DataSpec, origin: &Origin, seed: u64) -> Result<Self, Error> {
        let images = |name: &str| Source::images(name, origin);
        let sources = match spec {
            DataSpec::Colored(_) => vec![images("mnist")?],
            DataSpec::Imbalanced(data) => vec![images(&data.images)?],
            DataSpec::Dominoes(data) => vec![images("mnist")?, images(&data.bottom)?],
            DataSpec::GroupTask(_) => vec![images("fashion-mnist")?],
            DataSpec::Celeba(_) => vec![Source::hub("celeba")?],
            DataSpec::MultiNli(_) => vec![Source::hub("multi-nli")?, Source::hub("bert-base-uncased")?],
            DataSpec::Text(data) if data.corpus == "sotu" => vec![Source::EmbeddedText],
            DataSpec::Text(data) => vec![Source::hub(&data.corpus)?],
        };
        Ok(Self { spec: spec.clone(), sources, seed })
    }

    /// Everything that the sets depend on but the seed, which the run's identity holds.
    pub(crate) fn spec(&self) -> Value {
        let mut spec = serde_json::to_value(&self.spec).unwrap_or(Value::Null);
        spec["source"] = json!(source::labels(&self.sources));
        spec["checksum"] = json!(source::checksums(&self.sources));
        spec
    }

    pub(crate) fn build(&self) -> Result<Sets, Error> {
        match &self.spec {
            DataSpec::Colored(data) => images::colored(data, &self.sources[0], self.seed),
            DataSpec::Imbalanced(data) => images::imbalanced(data, &self.sources[0], self.seed),
            DataSpec::Dominoes(data) => images::dominoes(data, &self.sources[0], &self.sources[1], self.seed),
            DataSpec::GroupTask(data) => images::group_task(data, &self.sources[0], self.seed),
            DataSpec::Celeba(_) => images::celeba(&self.sources[0]),
            DataSpec::MultiNli(data) => pairs::multi_nli(data, &self.sources[1], self.seed),
            DataSpec::Text(data) => text::windows(data, &self.sources[0], self.seed),
        }
    }
}

/// The sets of the last few runs, shared by those that use them.
#[derive(Default)]
pub(crate) struct DataCache(Mutex<Vec<(DataRun, Arc<Sets>)>>);

impl DataCache {
    /// Two workers can be at two seeds.
    const KEPT: usize = 2;

    pub(crate) fn get(&self, run: &DataRun) -> Result<Arc<Sets>, Error> {
        // Held while the sets are made: a second worker that wants the same waits instead of making them again.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, sets)) = kept.iter().find(|(other, _)| other == run) {
            return Ok(Arc::clone(sets));
        }
        let sets = Arc::new(run.build()?);
        if kept.len() == Self::KEPT {
            kept.remove(0);
        }
        kept.push((run.clone(), Arc::clone(&sets)));
        Ok(sets)
    }
}
