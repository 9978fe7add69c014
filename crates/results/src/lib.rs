//! The only reader and writer of results.
//!
//! A [`Run`] is what one computation left behind: a [`Header`] (what was asked for, how it ended, where it ran) and its
//! [`Record`]s in long form, one number a row. A [`Store`] is a folder of such runs, one parquet file each, under a
//! [`RunId`] that is a hash of what was asked for. So a finished run is found again and not computed twice, and a run
//! that was asked for differently can never be taken for it.
//!
//! Files appear whole or not at all ([`write_atomic`]), and a file is used only if its records still have the hash that its
//! header states.
//!
//! ```
//! use isorate_results::{Header, Outcome, Provenance, Record, Run, Store};
//!
//! let folder = tempfile::tempdir()?;
//! let store = Store::open(folder.path())?;
//! let spec = serde_json::json!({ "rule": "specgd", "eta": 0.01 });
//! let header = Header::new("f2", "default", 0, spec, Provenance::default())?;
//! let records = vec![Record::at_step(3).time(0.03).split("simulation").metric("alpha").of("specgd").group("0").value(0.03)];
//! store.write(&Run::new(header.clone(), Outcome::Finished, records))?;
//! assert_eq!(store.read("f2", &header.run_id)?.records.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod atomic;
mod error;
mod id;
mod parquet;
mod quiet;
mod record;
mod run;
mod store;

pub use atomic::write_atomic;
pub use error::Error;
pub use id::{RunId, canonical_json};
pub use record::{COLUMNS, Column, Record};
pub use run::{Header, Outcome, Provenance, Run};
pub use store::Store;
