//! Every check of the theory.

use std::collections::BTreeMap;

use isorate_data::ImageSources;
use isorate_results::{Header, Outcome, Provenance, Record, Run};
use isorate_theory::{Check, VerifyConfig, heading, verify};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Findings, TheoryRun};
use crate::Error;
use crate::spec::Context;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checks {
    seed: u64,
    /// Parameter sets for each theorem.
    sets: usize,
}

impl TheoryRun for Checks {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        context.at_least_one(&format!("{scale}.sets"), self.sets)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let checks = verify(&VerifyConfig { sets: self.sets, seed: self.seed, ..VerifyConfig::default() })?;
        let (records, notes) = check_records(&checks);
        Ok(Findings { records, notes })
    }
}

/// Checks as the run that a `theory-checks` experiment would store, so that one table shows both.
pub fn check_run(checks: &[Check]) -> Result<Run, Error> {
    let (records, notes) = check_records(checks);
    let header = Header::new("t1", "default", 0, json!({ "kind": "theory-checks" }), Provenance::default())?;
    Ok(Run { notes, ..Run::new(header, Outcome::Finished, records) })
}

/// `value`, `bound`, `margin` and `pass` by check, on the split `check`; statement and quantity as notes.
fn check_records(checks: &[Check]) -> (Vec<Record>, BTreeMap<String, String>) {
    let (mut records, mut notes) = (Vec::new(), BTreeMap::new());
    for check in checks {
        let base = Record::at_step(0).of("theory").split("check").group(&check.id);
        let pass = f64::from(u8::from(check.pass));
        for (metric, value) in [("value", check.value), ("bound", check.bound), ("margin", check.margin), ("pass", pass)] {
            records.push(base.clone().metric(metric).value(value));
        }
        notes.insert(format!("{}.heading", check.id), heading(&check.id).unwrap_or_default().to_owned());
        notes.insert(format!("{}.statement", check.id), check.statement.clone());
        notes.insert(format!("{}.quantity", check.id), check.quantity.clone());
    }
    (records, notes)
}
