use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use isorate_atomic_file::PARTIAL_PREFIX;

use crate::{Error, Run, RunId, parquet, write_atomic};

/// A partial file this old belongs to no living writer.
const STALE: Duration = Duration::from_hours(1);

/// A folder of runs: `<experiment>/<run id>.parquet`.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens a store; the folder is made with the first run.
    ///
    /// What killed writers left behind is removed.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        if folder.exists() && !folder.is_dir() {
            let message = format!("{}: a store is a folder, and this is a file", folder.display());
            return Err(std::io::Error::new(std::io::ErrorKind::NotADirectory, message).into());
        }
        let store = Self { folder: folder.to_owned() };
        if folder.is_dir() {
            for experiment in fs_err::read_dir(folder)? {
                let experiment = experiment?.path();
                if experiment.is_dir() {
                    remove_stale_partials(&experiment)?;
                }
            }
        }
        Ok(store)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a run stands, or would stand.
    pub fn path(&self, experiment: &str, id: &RunId) -> PathBuf {
        self.folder.join(experiment).join(format!("{id}.parquet"))
    }

    /// Whether a file for the run is there; only [`read`](Self::read) tells whether it is whole.
    pub fn contains(&self, experiment: &str, id: &RunId) -> bool {
        self.path(experiment, id).is_file()
    }

    /// Writes a run; the file appears whole or not at all.
    pub fn write(&self, run: &Run) -> Result<PathBuf, Error> {
        let path = self.path(&run.header.experiment, &run.header.run_id);
        write_atomic(&path, &parquet::encode(run, &path)?)?;
        Ok(path)
    }

    /// Reads a run and checks it: the format, the hash of its records, and that it is the run its name says.
    pub fn read(&self, experiment: &str, id: &RunId) -> Result<Run, Error> {
        let path = self.path(experiment, id);
        let run = parquet::decode(fs_err::read(&path)?, &path)?;
        if run.header.run_id != *id || RunId::of(&run.header.spec)? != *id {
            let reason = format!("it holds the run {}", run.header.run_id);
            return Err(Error::Unreadable { path, reason });
        }
        Ok(run)
    }

    /// Moves an unreadable file out of the way, to `<name>.damaged`, and returns the new path.
    pub fn set_aside(&self, experiment: &str, id: &RunId) -> Result<PathBuf, Error> {
        let path = self.path(experiment, id);
        let aside = path.with_extension("parquet.damaged");
        fs_err::rename(&path, &aside)?;
        Ok(aside)
    }
}

fn remove_stale_partials(folder: &Path) -> Result<(), Error> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(PARTIAL_PREFIX) {
            continue;
        }
        let modified = entry.metadata()?.modified()?;
        if SystemTime::now().duration_since(modified).is_ok_and(|age| age > STALE) {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{Header, Outcome, Provenance, Record};

    fn run(seed: u64) -> Run {
        let header = Header::new("f1", "smoke", seed, json!({ "seed": seed, "lr": 0.1 }), Provenance::default()).unwrap();
        let records = (0..50)
            .map(|step| {
                let record = Record::at_step(step).split("test").metric("accuracy").of("muon").group("minority");
                let record = if step % 2 == 0 { record.epoch(step as f64 / 7.0) } else { record.time(0.5) };
                record.value(if step == 3 { f64::NAN } else { 1.0 / (step as f64 + 1.0) })
            })
            .collect();
        Run::new(header, Outcome::Diverged { step: 49, reason: "the loss is NaN".into() }, records)
    }

    #[test]
    fn a_run_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let written = run(1);
        let path = store.write(&written).unwrap();
        let read = store.read("f1", &written.header.run_id).unwrap();
        assert_eq!(read.header, written.header);
        assert_eq!(read.outcome, written.outcome);
        assert_eq!(read.records_hash(), written.records_hash());
        assert_eq!(read.records[0], written.records[0]);
        assert!(read.records[3].value.is_nan());
        // The same run gives the same bytes, so that frozen results do not change in the repository without cause.
        let first = fs_err::read(&path).unwrap();
        store.write(&written).unwrap();
        assert_eq!(first, fs_err::read(&path).unwrap());
    }

    #[test]
    fn an_empty_run_is_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut empty = run(2);
        empty.records.clear();
        store.write(&empty).unwrap();
        assert_eq!(store.read("f1", &empty.header.run_id).unwrap(), empty);
    }

    #[test]
    fn no_truncation_or_altered_byte_is_taken_for_a_result() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let written = run(3);
        let path = store.write(&written).unwrap();
        let whole = fs_err::read(&path).unwrap();
        for length in (0..whole.len()).step_by(37) {
            fs_err::write(&path, &whole[..length]).unwrap();
            let error = store.read("f1", &written.header.run_id).unwrap_err();
            assert!(matches!(error, Error::Unreadable { .. }), "{length}: {error}");
        }
        for position in (0..whole.len()).step_by(11) {
            let mut altered = whole.clone();
            altered[position] ^= 0x55;
            fs_err::write(&path, &altered).unwrap();
            // Some bytes carry nothing (statistics, names of the writer); but the records are those that were written.
            if let Ok(read) = store.read("f1", &written.header.run_id) {
                assert_eq!(read.records_hash(), written.records_hash(), "byte {position}");
            }
        }
    }

    #[test]
    fn foreign_files_are_named_and_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (a, b) = (run(4), run(5));
        let path = store.write(&a).unwrap();
        fs_err::copy(&path, store.path("f1", &b.header.run_id)).unwrap();
        let message = store.read("f1", &b.header.run_id).unwrap_err().to_string();
        assert!(message.contains(b.header.run_id.as_str()) && message.contains(a.header.run_id.as_str()), "{message}");
        let aside = store.set_aside("f1", &b.header.run_id).unwrap();
        assert!(aside.ends_with(format!("{}.parquet.damaged", b.header.run_id)));
        assert!(!store.contains("f1", &b.header.run_id));
        assert!(store.contains("f1", &a.header.run_id));
    }

    #[test]
    fn a_file_is_no_store() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs_err::write(&path, b"").unwrap();
        assert!(Store::open(&path).unwrap_err().to_string().contains("a store is a folder"));
    }
}
