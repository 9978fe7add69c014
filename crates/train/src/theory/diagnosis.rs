//! Data sets that come with the program, diagnosed.

use std::collections::BTreeMap;

use isorate_data::ImageSources;
use serde::{Deserialize, Serialize, Serializer};

use super::{Findings, TheoryRun};
use crate::Error;
use crate::diagnosis::{DiagnosisConfig, IMAGE_SETS, NAMES, checksum, diagnose, named};
use crate::spec::{Context, unknown};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Diagnosis {
    /// Seed of the random subsets.
    seed: u64,
    /// The data sets, in the order in which they are shown.
    data: Vec<DataSet>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct DataSet {
    #[serde(serialize_with = "with_checksum")]
    name: String,
    /// The ratio of a STEP imbalance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<f64>,
}

/// The name with the checksum of the data, so that other data are another run.
fn with_checksum<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{name} {}", checksum(name)))
}

impl TheoryRun for Diagnosis {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        let setting = format!("{scale}.data");
        if self.data.is_empty() {
            return Err(context.error(&setting, "[] must name at least one data set"));
        }
        for (index, set) in self.data.iter().enumerate() {
            if !NAMES.contains(&set.name.as_str()) {
                return Err(context.error(&setting, unknown("data set", &set.name, &NAMES)));
            }
            if self.data[..index].iter().any(|other| other.name == set.name) {
                return Err(context.error(&setting, format!("`{}` stands there twice", set.name)));
            }
            if let Some(ratio) = set.step.filter(|ratio| !(ratio.is_finite() && *ratio >= 1.0)) {
                return Err(context.error(&setting, format!("step = {ratio} must be finite and at least 1")));
            }
        }
        Ok(())
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn image_sets(&self) -> Vec<&str> {
        self.data.iter().map(|set| set.name.as_str()).filter(|name| IMAGE_SETS.contains(name)).collect()
    }

    /// The records of each data set, as [`DiagnosisReport::records`](crate::DiagnosisReport::records) has them; notes `NAME.title` and
    /// `NAME.verdict`.
    fn execute(&self, images: &ImageSources) -> Result<Findings, Error> {
        let (mut records, mut notes) = (Vec::new(), BTreeMap::new());
        for set in &self.data {
            let config = DiagnosisConfig { step: set.step, seed: self.seed, ..DiagnosisConfig::default() };
            let report = diagnose(&named(&set.name, images)?, &config)?;
            records.extend(report.records());
            notes.extend(report.notes());
        }
        Ok(Findings { records, notes })
    }
}
