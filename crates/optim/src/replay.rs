//! Reference trajectories: another implementation's weights, step by step, against ours.

mod null_space;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::RULE_NAMES;
use crate::reduce::{all_finite, f64_values};
use crate::{Error, GroupRules, NamedParam, Optimizer, Result, Role, RuleConfig};

/// What the metadata entry `case` of a reference trajectory says, as JSON.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Case {
    /// The rule, as in `rule = "…"`.
    pub optimizer: String,
    /// Its hyperparameters, under the names of [`RuleConfig`]. Also `bf16_reference = true`, when the reference
    /// iterated in bfloat16 and only a loose agreement can be expected.
    pub hyper: Map<String, Value>,
    /// The shape of the parameter.
    pub shape: Vec<usize>,
    /// The number n of steps.
    pub steps: usize,
    /// Which implementation made the numbers.
    pub source: String,
}

/// The outcome of a replay.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The file.
    pub file: PathBuf,
    /// What it holds.
    pub case: Case,
    /// Largest |ΔW| over all elements and steps; infinite when our weights stopped being finite.
    pub max_abs_diff: f64,
    /// The step, from 1, with that difference.
    pub worst_step: usize,
    /// For SOAP on a matrix that is not square: whether a basis of the null space of the first gradient, which the
    /// definition leaves open, was taken from `w.2`. For d dimensions these are d(d − 1)/2 numbers.
    pub basis_from_reference: bool,
    /// The largest difference that counts as agreement, by type and rule: float64 1e-12 for SGD, NGD, NMD, SignGD and
    /// Signum, 1e-5 for Shampoo, 1e-9 for the others; float32 1e-5, for SOAP 1e-4; 5e-3 for a bfloat16 reference.
    pub tolerance: f64,
}

impl Replay {
    /// Whether the largest difference is within the tolerance.
    pub fn agrees(&self) -> bool {
        self.max_abs_diff <= self.tolerance
    }
}

/// Why a reference trajectory cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayProblem {
    /// The file cannot be read.
    #[error("{0}")]
    Read(std::io::Error),
    /// The file is not a complete safetensors file.
    #[error("not a complete safetensors file: {0}")]
    Format(safetensors::SafeTensorError),
    /// The metadata entry `case` is missing.
    #[error("the metadata has no entry `case`; a reference trajectory describes itself there as JSON")]
    NoCase,
    /// The metadata entry `case` is not of the right form.
    #[error("the metadata entry `case`: {0}")]
    Case(serde_json::Error),
    /// A rule that nobody knows.
    #[error("unknown optimizer `{optimizer}` (supported: {})", RULE_NAMES.join(", "))]
    UnknownOptimizer {
        /// The rule.
        optimizer: String,
    },
    /// Hyperparameters that do not belong to the rule or have a wrong type or value.
    #[error("hyperparameters of {optimizer}: {problem}")]
    Hyper {
        /// The rule.
        optimizer: String,
        /// What is wrong, with the key.
        problem: String,
    },
    /// A trajectory without steps.
    #[error("`steps` = 0, but a trajectory has at least one step")]
    NoSteps,
    /// A tensor is missing.
    #[error("tensor `{name}` is missing; {steps} steps need w.0 and grad.K, w.K for K = 1…{steps}")]
    Missing {
        /// The tensor.
        name: String,
        /// The number of steps.
        steps: usize,
    },
    /// A tensor that does not belong to a trajectory of this many steps.
    #[error("tensor `{name}` does not belong to a trajectory of {steps} steps (w.0, then grad.K and w.K)")]
    Unexpected {
        /// The tensor.
        name: String,
        /// The number of steps.
        steps: usize,
    },
    /// A tensor of another shape than the case says.
    #[error("tensor `{name}` has shape {shape:?}, but the case says {expected:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape of the case.
        expected: Vec<usize>,
    },
    /// A tensor of a type other than f32 and f64, or other than that of w.0.
    #[error("tensor `{name}` is {dtype:?}, but it must be {expected}")]
    Dtype {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: Dtype,
        /// What it should be.
        expected: &'static str,
    },
    /// A reference that is not finite.
    #[error("tensor `{name}` holds a NaN or an infinity")]
    NotFinite {
        /// The tensor.
        name: String,
    },
    /// The optimizer itself failed.
    #[error("step {step}: {problem}")]
    Step {
        /// The step, from 1; 0 is the construction.
        step: usize,
        /// What happened.
        problem: Box<Error>,
    },
}

/// Runs a reference trajectory through our optimizer on the CPU.
///
/// The file is in safetensors format: `w.0`, then `grad.K` and `w.K` for K = 1…n, all of one shape and all float32 or
/// all float64; the metadata entry `case` is the JSON of a [`Case`]. Our weights start at `w.0`; step K uses `grad.K`,
/// and the result is compared with `w.K`, without ever being reset to it. What a rule leaves open is taken from the file
/// ([`Replay::basis_from_reference`]).
///
/// # Errors
/// [`Error::Replay`] with the file and a [`ReplayProblem`]. A difference, however large, is not an error.
pub fn replay(path: impl AsRef<Path>) -> Result<Replay> {
    replay_on(path, &Device::Cpu)
}

/// [`replay`] with weights and gradients on `device`.
///
/// # Errors
/// Those of [`replay`].
pub fn replay_on(path: impl AsRef<Path>, device: &Device) -> Result<Replay> {
    let file = path.as_ref();
    run(file, device).map_err(|problem| Error::Replay { file: file.to_owned(), problem })
}

fn run(file: &Path, device: &Device) -> Result<Replay, ReplayProblem> {
    let bytes = std::fs::read(file).map_err(ReplayProblem::Read)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(ReplayProblem::Format)?;
    let case = read_case(&bytes)?;
    let rule = rule_of(&case)?;
    let trajectory = Trajectory { tensors, case: &case };
    trajectory.check_names()?;

    let failed = |step: usize| move |e: Error| ReplayProblem::Step { step, problem: Box::new(e) };
    let start = trajectory.tensor("w.0", device)?;
    let weight = Var::from_tensor(&start).map_err(|e| failed(0)(e.into()))?;
    let params = vec![NamedParam::new("w", Role::Matrix, weight.clone())];
    let soap = if let RuleConfig::Soap(soap) = &rule { Some(*soap) } else { None };
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule)).map_err(failed(0))?;

    let mut max_abs_diff = 0.0;
    let mut worst_step = 1;
    let mut basis_from_reference = false;
    for step in 1..=case.steps {
        let mut gradients = GradStore::default();
        let gradient = trajectory.tensor(&format!("grad.{step}"), device)?;
        let expected = trajectory.tensor(&format!("w.{step}"), &Device::Cpu)?;
        if step == 2
            && let Some(soap) = &soap
            && let Some(rule) = null_space::with_basis_of_reference(soap, optimizer.rule(0), &weight, &gradient, &expected)
                .map_err(failed(step))?
        {
            optimizer.set_rule(0, rule);
            basis_from_reference = true;
        }
        gradients.insert(&weight, gradient);
        optimizer.step(&gradients).map_err(failed(step))?;
        let difference = max_difference(&weight, &expected).map_err(failed(step))?;
        if difference > max_abs_diff {
            max_abs_diff = difference;
            worst_step = step;
        }
    }
    let tolerance = tolerance(&case, start.dtype());
    Ok(Replay { file: file.to_owned(), case, max_abs_diff, worst_step, basis_from_reference, tolerance })
}

fn read_case(bytes: &[u8]) -> Result<Case, ReplayProblem> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(ReplayProblem::Format)?;
    let text = metadata.metadata().as_ref().and_then(|m| m.get("case")).ok_or(ReplayProblem::NoCase)?;
    serde_json::from_str(text).map_err(ReplayProblem::Case)
}

/// The rule of a case, checked.
fn rule_of(case: &Case) -> Result<RuleConfig, ReplayProblem> {
    let optimizer = case.optimizer.clone();
    if !RULE_NAMES.contains(&optimizer.as_str()) {
        return Err(ReplayProblem::UnknownOptimizer { optimizer });
    }
    let hyper = |problem: String| ReplayProblem::Hyper { optimizer: optimizer.clone(), problem };
    let mut settings = case.hyper.clone();
    if settings.remove("bf16_reference").is_some_and(|v| !v.is_boolean()) {
        return Err(hyper("`bf16_reference` must be true or false".into()));
    }
    if optimizer == "specgd" {
        // SpecGD has no settings but its learning rate; a file may still spell out what it is.
        if settings.remove("momentum").is_some_and(|v| v.as_f64() != Some(0.0)) {
            return Err(hyper("`momentum` must be 0; with momentum the rule is muon with the exact orthogonalizer".into()));
        }
        if settings.remove("orthogonalizer").is_some_and(|v| v != "exact") {
            return Err(hyper("`orthogonalizer` must be \"exact\"".into()));
        }
    }
    if settings.insert("rule".into(), optimizer.clone().into()).is_some() {
        return Err(hyper("unknown field `rule`".into()));
    }
    let rule: RuleConfig = serde_json::from_value(settings.into()).map_err(|e| hyper(e.to_string()))?;
    rule.validate().map_err(|e| hyper(e.to_string()))?;
    Ok(rule)
}

fn tolerance(case: &Case, dtype: DType) -> f64 {
    if case.hyper.get("bf16_reference") == Some(&Value::Bool(true)) {
        5e-3
    } else if case.optimizer == "soap" && dtype == DType::F32 {
        1e-4
    } else if case.optimizer == "shampoo" || dtype == DType::F32 {
        1e-5
    } else if matches!(case.optimizer.as_str(), "sgd" | "ngd" | "nmd" | "signgd" | "signum") {
        1e-12
    } else {
        1e-9
    }
}

/// Largest |a − b| in f64; infinite when a holds a NaN or an infinity.
fn max_difference(a: &Tensor, b: &Tensor) -> Result<f64> {
    let mut largest = 0.0_f64;
    for (x, y) in f64_values(a)?.iter().zip(f64_values(b)?) {
        let difference = (x - y).abs();
        largest = if difference.is_nan() { f64::INFINITY } else { largest.max(difference) };
    }
    Ok(largest)
}

struct Trajectory<'a> {
    tensors: SafeTensors<'a>,
    case: &'a Case,
}

impl Trajectory<'_> {
    /// Exactly w.0 and grad.K, w.K for K = 1…n.
    fn check_names(&self) -> Result<(), ReplayProblem> {
        let steps = self.case.steps;
        if steps == 0 {
            return Err(ReplayProblem::NoSteps);
        }
        let mut present: BTreeSet<&str> = self.tensors.names().into_iter().collect();
        let expected = std::iter::once("w.0".to_owned()).chain((1..=steps).flat_map(|k| [format!("grad.{k}"), format!("w.{k}")]));
        for name in expected {
            if !present.remove(name.as_str()) {
                return Err(ReplayProblem::Missing { name, steps });
            }
        }
        match present.first() {
            None => Ok(()),
            Some(name) => Err(ReplayProblem::Unexpected { name: (*name).to_owned(), steps }),
        }
    }

    fn tensor(&self, name: &str, device: &Device) -> Result<Tensor, ReplayProblem> {
        let view = self.tensors.tensor(name).map_err(ReplayProblem::Format)?;
        let expected = self.tensors.tensor("w.0").map_err(ReplayProblem::Format)?.dtype();
        let name = name.to_owned();
        let (dtype, wanted) = match expected {
            Dtype::F32 => (DType::F32, "F32, as w.0"),
            Dtype::F64 => (DType::F64, "F64, as w.0"),
            _ => {
                return Err(ReplayProblem::Dtype { name, dtype: expected, expected: "F32 or F64" });
            }
        };
        if view.dtype() != expected {
            return Err(ReplayProblem::Dtype { name, dtype: view.dtype(), expected: wanted });
        }
        if view.shape() != self.case.shape {
            let (shape, expected) = (view.shape().to_vec(), self.case.shape.clone());
            return Err(ReplayProblem::Shape { name, shape, expected });
        }
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)
            .map_err(|e| ReplayProblem::Step { step: 0, problem: Box::new(e.into()) })?;
        let finite = all_finite(&tensor).map_err(|e| ReplayProblem::Step { step: 0, problem: Box::new(e) })?;
        if finite { Ok(tensor) } else { Err(ReplayProblem::NotFinite { name }) }
    }
}
