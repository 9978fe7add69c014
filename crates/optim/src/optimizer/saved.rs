//! The state of an optimizer in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Optimizer, Slot, checked_factor};
use crate::rules::Rule;
use crate::state::{State, StateProblem, Value};
use crate::state_file::{
    Contents, Described, Exact, OptimizerEntry, StateEntry, StateFileProblem, Stored, in_file, settings_of, state_name,
};
use crate::{Error, Result, RuleConfig};

/// What this part of a file is called in errors.
const SECTION: &str = "optimizer state";

impl Optimizer {
    /// Writes the state of every rule, the learning-rate factors and the number of steps to a safetensors file.
    ///
    /// The file has a tensor `<parameter>/<part>` for each part of the state, and in its metadata a version, the shape
    /// and type of each parameter and its rule with all hyperparameters. Its last 32 bytes are the BLAKE3 checksum of
    /// all others. Equal states give equal bytes, whatever the order of the parameters. The file appears whole or not at
    /// all: it is written beside `path`, flushed to the disk and renamed; a symbolic link at `path` is replaced, not followed.
    ///
    /// Weights are not in it: see [`Checkpoint`](crate::Checkpoint) for both in one file, so that they cannot be of
    /// different steps.
    ///
    /// # Errors
    /// [`Error::StateFile`]; a file that was at `path` before is unchanged then.
    ///
    /// ```
    /// use candle_core::{Device, Var};
    /// use isorate_optim::{AdamW, GroupRules, NamedParam, Optimizer, Role, RuleConfig};
    ///
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("optimizer.safetensors");
    /// let w = Var::new(&[1.0_f32, -2.0], &Device::Cpu)?;
    /// let new = || {
    ///     let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
    ///     Optimizer::new(params, &GroupRules::uniform(RuleConfig::AdamW(AdamW::new(0.1))))
    /// };
    /// let mut optimizer = new()?;
    /// optimizer.backward_step(&w.sqr()?.sum_all()?)?;
    /// optimizer.save_state(&path)?;
    ///
    /// let mut resumed = new()?;
    /// resumed.load_state(&path)?;
    /// assert_eq!(resumed.steps(), 1);
    /// # Ok::<(), isorate_optim::Error>(())
    /// ```
    pub fn save_state(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut contents = Contents::new();
        self.add_to(&mut contents).map_err(|problem| in_file(path, problem))?;
        contents.write(path)
    }

    /// Reads what [`save_state`](Self::save_state) or [`Checkpoint::save`](crate::Checkpoint::save) has written, after
    /// which the optimizer continues as the saved one would have, on the CPU bit for bit. On another device than that of
    /// the saved one the state moves there.
    ///
    /// Everything is checked first: that the file is whole and unaltered, its version, and that it has the state of
    /// exactly the parameters that this optimizer updates, by name, with the same shapes, types, roles and rules. All
    /// hyperparameters must be equal but the learning rate, which is often changed on purpose in a resumed run: that of
    /// this optimizer holds. (PyTorch's `load_state_dict` silently replaces all of them by those of the file.) In which
    /// group a parameter is does not matter, as long as each group with a learning-rate factor of its own is there.
    ///
    /// # Errors
    /// [`Error::StateFile`] names the file, the parameter, what was expected and what was found. The optimizer is as
    /// before then.
    pub fn load_state(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let stored = Stored::read(path)?;
        let restored = self.restored(&stored).map_err(|problem| in_file(path, problem))?;
        self.replace(restored);
        Ok(())
    }

    #[allow(clippy::float_cmp, reason = "exactly 1 is the factor of a group that was never given one")]
    pub(crate) fn add_to(&self, contents: &mut Contents) -> Result<(), StateFileProblem> {
        let mut parameters = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let name = &slot.assignment.name;
            let mut parts = Vec::new();
            for (part, value) in slot.rule.state().iter() {
                let tensor = match value {
                    Value::Tensor(tensor) => tensor.clone(),
                    Value::Number(number) => number_tensor(*number)?,
                };
                contents.insert(state_name(name, part), &tensor)?;
                parts.push(part.to_owned());
            }
            parameters.push(StateEntry {
                name: name.clone(),
                dtype: format!("{:?}", slot.var.dtype()),
                shape: slot.var.dims().to_vec(),
                role: slot.assignment.role.name().to_owned(),
                rule: slot.config().clone(),
                state: parts,
            });
        }
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        let factors = self.routing.groups.iter().zip(&self.group_lr_factors).filter(|(_, factor)| **factor != 1.0);
        contents.description.optimizer = Some(OptimizerEntry {
            steps: self.steps,
            lr_factor: Exact(self.lr_factor),
            group_lr_factors: factors.map(|(group, factor)| (group.name.clone(), Exact(*factor))).collect(),
            parameters,
        });
        Ok(())
    }

    /// The state in a file, checked and ready to be put in place.
    pub(crate) fn restored(&self, stored: &Stored) -> Result<Restored, StateFileProblem> {
        let entry = stored.description.optimizer.as_ref().ok_or(StateFileProblem::NoSection(SECTION))?;
        let entries: BTreeMap<&str, &StateEntry<Described>> =
            entry.parameters.iter().map(|entry| (entry.name.as_str(), entry)).collect();
        let own: BTreeSet<&str> = self.slots.iter().map(|slot| slot.assignment.name.as_str()).collect();
        let mut additional = entry.parameters.iter().filter(|entry| !own.contains(entry.name.as_str()));
        let mut rules = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let name = slot.assignment.name.as_str();
            let Some(entry) = entries.get(name) else {
                let renamed = additional.find(|entry| entry.shape == slot.var.dims()).map(|entry| entry.name.clone());
                return Err(StateFileProblem::MissingParameter { section: SECTION, name: name.to_owned(), renamed });
            };
            rules.push(slot.restored(entry, stored)?);
        }
        if let Some(entry) = additional.next() {
            return Err(StateFileProblem::AdditionalParameter { section: SECTION, name: entry.name.clone() });
        }
        let mut group_lr_factors = vec![1.0; self.routing.groups.len()];
        for (group, factor) in &entry.group_lr_factors {
            let index = self.routing.groups.iter().position(|own| own.name == *group);
            let index = index.ok_or_else(|| StateFileProblem::UnknownGroup { name: group.clone(), factor: factor.0 })?;
            group_lr_factors[index] = valid_factor(*factor)?;
        }
        Ok(Restored { rules, lr_factor: valid_factor(entry.lr_factor)?, group_lr_factors, steps: entry.steps })
    }

    /// Puts a state in place, which cannot fail.
    pub(crate) fn replace(&mut self, restored: Restored) {
        for (slot, rule) in self.slots.iter_mut().zip(restored.rules) {
            slot.rule = rule;
        }
        self.lr_factor = restored.lr_factor;
        self.group_lr_factors = restored.group_lr_factors;
        self.steps = restored.steps;
    }
}

/// A state that fits the optimizer it was made for.
#[derive(Debug)]
pub(crate) struct Restored {
    /// In the order of the parameters.
    rules: Vec<Box<dyn Rule>>,
    lr_factor: f64,
    group_lr_factors: Vec<f64>,
    steps: u64,
}

impl Slot {
    fn config(&self) -> &RuleConfig {
        self.assignment.rule.as_ref().expect("only parameters with a rule have a slot")
    }

    fn restored(&self, entry: &StateEntry<Described>, stored: &Stored) -> Result<Box<dyn Rule>, StateFileProblem> {
        let name = || entry.name.clone();
        if entry.shape != self.var.dims() {
            let (found, expected) = (entry.shape.clone(), self.var.dims().to_vec());
            return Err(StateFileProblem::Shape { name: name(), found, expected });
        }
        let dtype = format!("{:?}", self.var.dtype());
        if entry.dtype != dtype {
            return Err(StateFileProblem::Dtype { name: name(), found: entry.dtype.clone(), expected: dtype });
        }
        self.check_settings(entry)?;
        let mut state = State::new();
        for part in &entry.state {
            state = state.tensor(part, &stored.tensor(&state_name(&entry.name, part))?);
        }
        let rule = self.rule.restored(&mut state).and_then(|rule| state.finish().map(|()| rule));
        rule.map_err(|error| match error {
            Error::State(problem) => StateFileProblem::State { name: name(), rule: self.config().name(), problem },
            Error::Candle(problem) => StateFileProblem::Device(problem),
            other => StateFileProblem::State {
                name: name(),
                rule: self.config().name(),
                problem: StateProblem::Other(other.to_string()),
            },
        })
    }

    /// Whether role, rule and hyperparameters but the learning rate are those of the file.
    fn check_settings(&self, entry: &StateEntry<Described>) -> Result<(), StateFileProblem> {
        let role = self.assignment.role.name();
        if entry.role != role {
            return Err(StateFileProblem::Setting {
                name: entry.name.clone(),
                setting: "role".to_owned(),
                found: entry.role.clone(),
                expected: role.to_owned(),
            });
        }
        let own = settings_of(self.config()).map_err(StateFileProblem::Description)?;
        let text = |value: Option<&serde_json::Value>| value.map_or_else(|| "absent".to_owned(), ToString::to_string);
        // The rule itself first: its hyperparameters have other names than those of another rule.
        let keys = std::iter::once("rule").chain(own.keys().chain(entry.rule.keys()).map(String::as_str));
        for key in keys.filter(|key| *key != "lr") {
            if own.get(key) != entry.rule.get(key) {
                return Err(StateFileProblem::Setting {
                    name: entry.name.clone(),
                    setting: key.to_owned(),
                    found: text(entry.rule.get(key)),
                    expected: text(own.get(key)),
                });
            }
        }
        Ok(())
    }
}

fn number_tensor(number: f64) -> Result<candle_core::Tensor, StateFileProblem> {
    candle_core::Tensor::new(number, &candle_core::Device::Cpu).map_err(StateFileProblem::Device)
}

fn valid_factor(Exact(factor): Exact) -> Result<f64, StateFileProblem> {
    checked_factor(factor).map_err(|error| StateFileProblem::Description(serde::de::Error::custom(error)))
}
