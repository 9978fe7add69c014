//! What a state file says about itself, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RuleConfig;

/// Hyperparameters as they were read: by name, without a meaning yet.
pub(crate) type Described = BTreeMap<String, Value>;

/// The description; `R` is the form of the hyperparameters, [`RuleConfig`] when written, [`Described`] when read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description<R = RuleConfig> {
    pub version: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerEntry<R>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<EmaEntry>,
    /// Names of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptimizerEntry<R> {
    pub steps: u64,
    pub lr_factor: Exact,
    /// The factors of groups, where they are not 1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub group_lr_factors: BTreeMap<String, Exact>,
    /// By name.
    pub parameters: Vec<StateEntry<R>>,
}

/// The state of one parameter.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateEntry<R> {
    pub name: String,
    pub dtype: String,
    pub shape: Vec<usize>,
    /// Some rules depend on it.
    pub role: String,
    pub rule: R,
    /// The names of the parts of the state.
    pub state: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmaEntry {
    pub decay: Exact,
    pub warmup: bool,
    pub updates: u64,
    /// Names of the parameters.
    pub parameters: Vec<String>,
}

/// A number as text: JSON readers may round the last digit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Exact(pub f64);

impl From<Exact> for String {
    fn from(Exact(number): Exact) -> Self {
        number.to_string()
    }
}

impl TryFrom<String> for Exact {
    type Error = std::num::ParseFloatError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl<R> Description<R> {
    pub fn new(version: u64) -> Self {
        Self { version, optimizer: None, ema: None, weights: None }
    }

    /// Every tensor that the file must hold besides the checksum.
    pub fn tensor_names(&self) -> impl Iterator<Item = String> {
        let states = self.optimizer.iter().flat_map(|optimizer| &optimizer.parameters);
        let parts = states.flat_map(|entry| entry.state.iter().map(|part| state_name(&entry.name, part)));
        let averages = self.ema.iter().flat_map(|ema| &ema.parameters).map(|name| ema_name(name));
        parts.chain(averages).chain(self.weights.iter().flatten().cloned())
    }
}

/// The tensor with a part of the state of a parameter.
pub(crate) fn state_name(parameter: &str, part: &str) -> String {
    format!("{parameter}/{part}")
}

/// The tensor with the average of a parameter.
pub(crate) fn ema_name(parameter: &str) -> String {
    format!("{parameter}/ema")
}

/// The version of a description, whatever else is in it.
pub(super) fn version(text: &str) -> serde_json::Result<u64> {
    #[derive(Deserialize)]
    struct Version {
        version: u64,
    }
    Ok(serde_json::from_str::<Version>(text)?.version)
}

/// Hyperparameters in the form in which they are read.
pub(crate) fn settings_of(rule: &RuleConfig) -> serde_json::Result<Described> {
    // By way of the text, so that numbers are rounded as those of a file are.
    serde_json::from_str(&serde_json::to_string(rule)?)
}
