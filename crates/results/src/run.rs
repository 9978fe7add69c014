use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::SCHEMA_VERSION;
use crate::{Error, Record, RunId};

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Outcome {
    /// It did all its steps.
    Finished,
    /// Its loss or a gradient stopped being finite: a result like any other.
    Diverged {
        /// The step whose update could not be made.
        step: u64,
        /// What was not finite.
        reason: String,
    },
    /// Something else ended it: memory that was not enough, say.
    Failed {
        /// The steps that were done before.
        step: u64,
        /// What went wrong.
        reason: String,
    },
}

/// Where and by what a run was made. Nothing here is part of the run's identity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Revision of the code.
    pub code_revision: String,
    /// Whether the code differed from that revision.
    pub code_dirty: bool,
    /// BLAKE3 of Cargo.lock.
    pub lock_hash: String,
    /// Versions of what computed: isorate, candle, the compiler.
    pub versions: BTreeMap<String, String>,
    /// `cpu`, `cuda:0`, ….
    pub device: String,
    /// Threads that computed.
    pub threads: usize,
    /// Wall time of the run, seconds.
    pub wall_seconds: f64,
    /// Training steps that were done.
    pub steps: u64,
    /// Time inside training steps, without measuring, seconds.
    pub train_seconds: f64,
    /// The most memory that the process held until the end of the run, bytes.
    pub peak_memory_bytes: u64,
    /// Data revision and checksum, by data set.
    pub data: BTreeMap<String, String>,
}

/// Everything about a run but its numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this format.
    pub schema_version: u32,
    /// Hash of `spec`.
    pub run_id: RunId,
    /// Name of the specification file.
    pub experiment: String,
    /// `smoke`, `default` or `paper`.
    pub scale: String,
    /// The seed of every random stream of the run.
    pub seed: u64,
    /// What was asked for, whole: the identity of the run.
    pub spec: Value,
    /// Where it was made.
    pub provenance: Provenance,
}

impl Header {
    /// A header whose identifier is computed from `spec`.
    pub fn new(experiment: &str, scale: &str, seed: u64, spec: Value, provenance: Provenance) -> Result<Self, Error> {
        let run_id = RunId::of(&spec)?;
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            run_id,
            experiment: experiment.to_owned(),
            scale: scale.to_owned(),
            seed,
            spec,
            provenance,
        })
    }
}

/// A run and its numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What was asked for and where it was made.
    pub header: Header,
    /// How it ended.
    pub outcome: Outcome,
    /// Its numbers, in the order they were measured.
    pub records: Vec<Record>,
    /// Words that belong to its numbers, by name: the statement of a theory check, say.
    pub notes: BTreeMap<String, String>,
}

impl Run {
    /// Puts a run together, without notes.
    pub fn new(header: Header, outcome: Outcome, records: Vec<Record>) -> Self {
        Self { header, outcome, records, notes: BTreeMap::new() }
    }

    /// BLAKE3 over every field of every record and over the notes, bit for bit: two runs agree exactly if these agree.
    ///
    /// Unlike the file's own hash it does not depend on when and where the run was made.
    pub fn records_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let text = |hasher: &mut blake3::Hasher, text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        let number = |hasher: &mut blake3::Hasher, number: Option<f64>| {
            hasher.update(&[u8::from(number.is_some())]);
            hasher.update(&number.unwrap_or(0.0).to_bits().to_le_bytes());
        };
        for record in &self.records {
            text(&mut hasher, &record.optimizer);
            hasher.update(&record.step.to_le_bytes());
            number(&mut hasher, record.epoch);
            number(&mut hasher, record.time);
            text(&mut hasher, &record.split);
            text(&mut hasher, &record.metric);
            text(&mut hasher, &record.group);
            // All NaNs are one: parquet readers may change the payload.
            number(&mut hasher, Some(if record.value.is_nan() { f64::NAN } else { record.value }));
        }
        for (name, note) in &self.notes {
            text(&mut hasher, name);
            text(&mut hasher, note);
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The records of one metric on one split and group, in order: `(step, value)`.
    pub fn series<'a>(&'a self, split: &'a str, metric: &'a str, group: &'a str) -> impl Iterator<Item = &'a Record> + 'a {
        self.records.iter().filter(move |record| record.split == split && record.metric == metric && record.group == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provenance_without_the_newer_fields_is_read() {
        let old = r#"{"code_revision":"f00d","code_dirty":false,"lock_hash":"c5","versions":{},"device":"cpu","threads":1,
            "wall_seconds":3.5,"data":{}}"#;
        let provenance: Provenance = serde_json::from_str(old).unwrap();
        assert_eq!((provenance.steps, provenance.train_seconds, provenance.peak_memory_bytes), (0, 0.0, 0));
        assert!((provenance.wall_seconds - 3.5).abs() < 1e-12);
    }

    #[test]
    fn outcomes_have_names() {
        let failed = Outcome::Failed { step: 7, reason: "out of memory".into() };
        let text = serde_json::to_string(&failed).unwrap();
        assert_eq!(text, r#"{"status":"failed","step":7,"reason":"out of memory"}"#);
        assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), failed);
        assert_eq!(serde_json::from_str::<Outcome>(r#"{"status":"finished"}"#).unwrap(), Outcome::Finished);
    }
}
