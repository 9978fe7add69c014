//! A run as a parquet file: the records as columns, the header as JSON in the file's key-value metadata.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{COLUMNS, Error, Header, Outcome, Record, Run, quiet};

/// The metadata key under which the header stands.
const KEY: &str = "isorate";

#[derive(Serialize, Deserialize)]
struct Metadata {
    header: Header,
    outcome: Outcome,
    notes: BTreeMap<String, String>,
    records_hash: String,
}

pub(crate) fn encode(run: &Run, path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |reason: String| Error::Encode { path: path.to_owned(), reason };
    let metadata = Metadata {
        header: run.header.clone(),
        outcome: run.outcome.clone(),
        notes: run.notes.clone(),
        records_hash: run.records_hash(),
    };
    let metadata = serde_json::to_string(&metadata).map_err(|error| fail(error.to_string()))?;
    let mut frame = frame(run).map_err(|error| fail(error.to_string()))?;
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_key_value_metadata(Some(KeyValueMetadata::from_static(vec![(KEY.into(), metadata)])))
        .finish(&mut frame)
        .map_err(|error| fail(error.to_string()))?;
    Ok(bytes)
}

fn frame(run: &Run) -> PolarsResult<DataFrame> {
    let records = &run.records;
    let same = |text: &str| vec![text.to_owned(); records.len()];
    let strings = |of: fn(&Record) -> &str| records.iter().map(of).collect::<Vec<_>>();
    let [run_id, experiment, scale, optimizer, seed, step, epoch, time, split, metric, group, value] = COLUMNS.map(|c| c.name);
    DataFrame::new(
        records.len(),
        vec![
            Column::new(run_id.into(), same(run.header.run_id.as_str())),
            Column::new(experiment.into(), same(&run.header.experiment)),
            Column::new(scale.into(), same(&run.header.scale)),
            Column::new(optimizer.into(), strings(|r| &r.optimizer)),
            Column::new(seed.into(), vec![run.header.seed; records.len()]),
            Column::new(step.into(), records.iter().map(|r| r.step).collect::<Vec<_>>()),
            Column::new(epoch.into(), records.iter().map(|r| r.epoch).collect::<Vec<_>>()),
            Column::new(time.into(), records.iter().map(|r| r.time).collect::<Vec<_>>()),
            Column::new(split.into(), strings(|r| &r.split)),
            Column::new(metric.into(), strings(|r| &r.metric)),
            Column::new(group.into(), strings(|r| &r.group)),
            Column::new(value.into(), records.iter().map(|r| r.value).collect::<Vec<_>>()),
        ],
    )
}

pub(crate) fn decode(bytes: Vec<u8>, path: &Path) -> Result<Run, Error> {
    let fail = |reason: String| Error::Unreadable { path: path.to_owned(), reason };
    let (metadata, records) = quiet::catch(|| -> Result<_, String> {
        let metadata = read_metadata(&bytes)?;
        Ok((metadata, read_records(bytes).map_err(|error| error.to_string())?))
    })
    .ok_or_else(|| fail("its bytes were altered".into()))?
    .map_err(fail)?;
    let run = Run { header: metadata.header, outcome: metadata.outcome, records, notes: metadata.notes };
    if run.records_hash() != metadata.records_hash {
        return Err(fail("its records do not have the hash that its header states".into()));
    }
    Ok(run)
}

fn read_metadata(bytes: &[u8]) -> Result<Metadata, String> {
    let mut reader = ParquetReader::new(Cursor::new(bytes));
    let metadata = reader.get_metadata().map_err(|error| format!("not whole parquet ({error})"))?;
    let text = metadata
        .key_value_metadata()
        .iter()
        .flatten()
        .find(|entry| entry.key == KEY)
        .and_then(|entry| entry.value.as_deref())
        .ok_or_else(|| format!("parquet without the metadata entry `{KEY}`"))?;
    serde_json::from_str(text).map_err(|error| format!("the metadata entry `{KEY}` has another form: {error}"))
}

fn read_records(bytes: Vec<u8>) -> PolarsResult<Vec<Record>> {
    let frame = ParquetReader::new(Cursor::new(bytes)).finish()?;
    let strings = |name: &str| -> PolarsResult<Vec<String>> {
        Ok(frame.column(name)?.str()?.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
    };
    let floats = |name: &str| -> PolarsResult<Vec<Option<f64>>> { Ok(frame.column(name)?.f64()?.iter().collect()) };
    let steps: Vec<u64> = frame.column("step")?.u64()?.iter().map(Option::unwrap_or_default).collect();
    let (optimizer, split, metric, group) = (strings("optimizer")?, strings("split")?, strings("metric")?, strings("group")?);
    let (epoch, time, value) = (floats("epoch")?, floats("time")?, floats("value")?);
    let texts = optimizer.into_iter().zip(split).zip(metric).zip(group);
    let numbers = steps.into_iter().zip(epoch).zip(time).zip(value);
    Ok(texts
        .zip(numbers)
        .map(|((((optimizer, split), metric), group), (((step, epoch), time), value))| Record {
            optimizer,
            step,
            epoch,
            time,
            split,
            metric,
            group,
            value: value.unwrap_or(f64::NAN),
        })
        .collect())
}
