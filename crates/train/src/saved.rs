//! Runs that are not finished, on disk: from there they go on to the same numbers, bit for bit.

use std::path::{Path, PathBuf};

use isorate_optim::{Checkpoint, NamedParam, Optimizer};
use isorate_results::{Record, RunId, write_atomic};
use serde::{Deserialize, Serialize};

use crate::Error;

/// Raise it with every change of what is written.
const VERSION: u32 = 1;

/// Where an unfinished run is kept: `ID.json`, which names the file of weights and optimizer state that belongs to it.
///
/// The file of weights is written first and under a name of its own, so a kill at any moment leaves a description with the weights of
/// its step. What is damaged, or of another version, counts as not there: the run begins again.
pub(crate) struct Saved {
    folder: PathBuf,
    id: String,
}

/// Everything of an unfinished run but its weights and the state of its optimizer. The order of the data is a function of the step.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SavedRun {
    /// Steps made.
    pub(crate) step: u64,
    /// Time inside steps, seconds.
    pub(crate) seconds: f64,
    /// Training losses since the last measurement.
    pub(crate) losses: Vec<f64>,
    pub(crate) records: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    version: u32,
    weights: String,
    /// BLAKE3 of that file.
    checksum: String,
    step: u64,
    seconds: f64,
    /// Floats as their bits: JSON has no NaN.
    losses: Vec<u64>,
    records: Vec<Row>,
}

/// A record, its floats as bits.
#[derive(Serialize, Deserialize)]
struct Row(String, u64, Option<u64>, Option<u64>, String, String, String, u64);

impl From<&Record> for Row {
    fn from(record: &Record) -> Self {
        let Record { optimizer, step, epoch, time, split, metric, group, value } = record.clone();
        Self(optimizer, step, epoch.map(f64::to_bits), time.map(f64::to_bits), split, metric, group, value.to_bits())
    }
}

impl From<Row> for Record {
    fn from(Row(optimizer, step, epoch, time, split, metric, group, value): Row) -> Self {
        let (epoch, time) = (epoch.map(f64::from_bits), time.map(f64::from_bits));
        Self { optimizer, step, epoch, time, split, metric, group, value: f64::from_bits(value) }
    }
}

impl Saved {
    /// Nothing is read or written yet.
    pub(crate) fn new(work: &Path, id: &RunId) -> Self {
        Self { folder: work.join("unfinished"), id: id.to_string() }
    }

    fn description(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.id))
    }

    /// The step that the run was written at, if it was.
    pub(crate) fn step(&self) -> Option<u64> {
        Some(self.read()?.step)
    }

    fn read(&self) -> Option<Description> {
        let description: Description = serde_json::from_slice(&fs_err::read(self.description()).ok()?).ok()?;
        (description.version == VERSION).then_some(description)
    }

    /// Puts weights and optimizer where the run was, and returns the rest; nothing if there is no such run, or it is damaged.
    pub(crate) fn load(&self, state: &[NamedParam], optimizer: &mut Optimizer) -> Result<Option<SavedRun>, Error> {
        let Some(description) = self.read() else { return Ok(None) };
        let weights = self.folder.join(&description.weights);
        let Ok(bytes) = fs_err::read(&weights) else { return Ok(None) };
        if blake3::hash(&bytes).to_hex().as_str() != description.checksum {
            return Ok(None);
        }
        drop(bytes);
        Checkpoint::new(state, optimizer).load(&weights)?;
        Ok(Some(SavedRun {
            step: description.step,
            seconds: description.seconds,
            losses: description.losses.into_iter().map(f64::from_bits).collect(),
            records: description.records.into_iter().map(Record::from).collect(),
        }))
    }

    pub(crate) fn write(&self, state: &[NamedParam], optimizer: &mut Optimizer, run: &SavedRun) -> Result<(), Error> {
        fs_err::create_dir_all(&self.folder)?;
        let before = self.read().map(|description| description.weights);
        let weights = format!("{}-{}.safetensors", self.id, run.step);
        let path = self.folder.join(&weights);
        Checkpoint::new(state, optimizer).save(&path)?;
        let description = Description {
            version: VERSION,
            checksum: blake3::hash(&fs_err::read(&path)?).to_hex().to_string(),
            weights: weights.clone(),
            step: run.step,
            seconds: run.seconds,
            losses: run.losses.iter().map(|loss| loss.to_bits()).collect(),
            records: run.records.iter().map(Row::from).collect(),
        };
        let text = serde_json::to_vec(&description).map_err(std::io::Error::from)?;
        write_atomic(&self.description(), &text)?;
        if let Some(before) = before.filter(|before| *before != weights) {
            remove(&self.folder.join(before))?;
        }
        Ok(())
    }

    /// Removes every file of the run.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        remove(&self.description())?;
        let Ok(files) = fs_err::read_dir(&self.folder) else { return Ok(()) };
        for file in files {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(&self.id) {
                remove(&file.path())?;
            }
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use isorate_optim::{GroupRules, RuleConfig, Sgd};
    use serde_json::json;

    use super::*;

    fn run() -> SavedRun {
        let record = Record::at_step(3).epoch(1.0 / 3.0).of("muon").split("test").metric("accuracy").value(f64::NAN);
        SavedRun { step: 4, seconds: 0.25, losses: vec![0.1, f64::MIN_POSITIVE], records: vec![record.time(-0.0)] }
    }

    #[test]
    fn a_run_comes_back_and_damage_counts_as_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let saved = Saved::new(folder.path(), &RunId::of(&json!({"a": 1})).unwrap());
        let weight = Var::new(&[[1.0f32, 2.0]], &Device::Cpu).unwrap();
        let state = NamedParam::infer_all([("w".into(), weight.clone())]);
        let mut optimizer = Optimizer::new(state.clone(), &GroupRules::uniform(RuleConfig::Sgd(Sgd::new(0.1)))).unwrap();
        assert!(saved.load(&state, &mut optimizer).unwrap().is_none());
        saved.write(&state, &mut optimizer, &SavedRun::default()).unwrap();
        saved.write(&state, &mut optimizer, &run()).unwrap();
        assert_eq!(saved.step(), Some(4));
        assert_eq!(fs_err::read_dir(&saved.folder).unwrap().count(), 2, "the older weights are gone");

        weight.set(&weight.zeros_like().unwrap()).unwrap();
        let back = saved.load(&state, &mut optimizer).unwrap().unwrap();
        assert_eq!(weight.to_vec2::<f32>().unwrap(), [[1.0, 2.0]]);
        assert_eq!((back.step, back.seconds, &back.losses), (4, 0.25, &run().losses));
        assert!(back.records[0].value.is_nan() && back.records[0].time.is_some_and(|t| t == 0.0 && t.is_sign_negative()));

        let weights = saved.folder.join(saved.read().unwrap().weights);
        let bytes = fs_err::read(&weights).unwrap();
        fs_err::write(&weights, &bytes[..bytes.len() - 1]).unwrap();
        assert!(saved.load(&state, &mut optimizer).unwrap().is_none());
        fs_err::write(saved.description(), "{").unwrap();
        assert!(saved.load(&state, &mut optimizer).unwrap().is_none());
        saved.remove().unwrap();
        assert_eq!(fs_err::read_dir(&saved.folder).unwrap().count(), 0);
    }
}
