//! Why a state file cannot be written or taken.

use candle_core::DType;

use crate::state::StateProblem;

/// Why a state file cannot be written or taken. Nothing was changed: neither weights and state nor the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// The file cannot be written.
    #[error("cannot be written: {0}; what was there before is unchanged")]
    Write(std::io::Error),
    /// A folder, a device or a pipe.
    #[error("is not a regular file")]
    NotAFile,
    /// The file is not a complete safetensors file.
    #[error("not a complete safetensors file: {0}\nhint: it was cut off, altered, or is of another kind; use an earlier one")]
    NotSafetensors(safetensors::SafeTensorError),
    /// A safetensors file of someone else.
    #[error(
        "the metadata has no entry `isorate-optim`, so this is no state file\nhint: weights alone are read by candle's VarMap::load"
    )]
    Foreign,
    /// A file of another version.
    #[error(
        "has version {found} of the format, but only version {expected} is supported\nhint: read it with the release that wrote it"
    )]
    Version {
        /// The version of the file.
        found: u64,
        /// The version supported here.
        expected: u64,
    },
    /// The contents do not match the checksum.
    #[error(
        "the contents do not match the checksum: the file was altered after it was written\nhint: use an earlier one, or another copy"
    )]
    Checksum,
    /// The description in the metadata is not of the right form.
    #[error("the metadata entry `isorate-optim`: {0}")]
    Description(serde_json::Error),
    /// A tensor that the description names is missing.
    #[error("tensor `{0}` is described, but missing")]
    MissingTensor(String),
    /// A tensor that the description does not name.
    #[error("tensor `{0}` is not described")]
    UnexpectedTensor(String),
    /// A tensor of a type that state files do not have.
    #[error("tensor `{name}` has type {dtype:?}, which state files do not have")]
    UnknownType {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: safetensors::Dtype,
    },
    /// A tensor of a type that cannot be stored.
    #[error("tensor `{name}` is {dtype:?}; only f64, f32, bf16, f16, i64, u32 and u8 can be stored")]
    CannotStore {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: DType,
    },
    /// Two tensors would have the same name.
    #[error(
        "two tensors would be called `{0}`\nhint: parameter names must differ from `<parameter>/<part of a state>`; rename one"
    )]
    NameClash(String),
    /// A parameter of the optimizer that the checkpoint does not list.
    #[error("parameter `{0}` of the optimizer is not among the parameters of the checkpoint\nhint: list all that the model has")]
    NotListed(String),
    /// The file lacks what was asked for.
    #[error(
        "has no {0}\nhint: Optimizer::save_state writes an optimizer state, WeightEma::save an average, Checkpoint::save all"
    )]
    NoSection(&'static str),
    /// A parameter of the model is not in the file.
    #[error("has no {section} of parameter `{name}`\nhint: {}", .renamed.as_ref().map_or_else(
        || "the file belongs to another model".to_owned(),
        |other| format!("it has one of `{other}`, of the same shape, which the model lacks; was the parameter renamed?")
    ))]
    MissingParameter {
        /// What is missing: an optimizer state, an average or weights.
        section: &'static str,
        /// The parameter.
        name: String,
        /// A parameter of the same shape that only the file has.
        renamed: Option<String>,
    },
    /// A parameter of the file that the model does not have.
    #[error("has {section} of parameter `{name}`, which the model lacks\nhint: the file belongs to another model")]
    AdditionalParameter {
        /// What is there: an optimizer state, an average or weights.
        section: &'static str,
        /// The parameter.
        name: String,
    },
    /// A parameter of another shape.
    #[error(
        "parameter `{name}` has shape {found:?} in the file, but {expected:?} in the model\nhint: the file belongs to another model"
    )]
    Shape {
        /// The parameter.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the model.
        expected: Vec<usize>,
    },
    /// A parameter of another type.
    #[error("parameter `{name}` is {found} in the file, but {expected} in the model\nhint: build the model in {found}")]
    Dtype {
        /// The parameter.
        name: String,
        /// Its type in the file.
        found: String,
        /// Its type in the model.
        expected: String,
    },
    /// Another rule, or another value of a hyperparameter.
    #[error(
        "parameter `{name}` was under {setting} = {found}, but now is under {setting} = {expected}\nhint: build the optimizer with the settings of the run that wrote the file; only the learning rate may differ"
    )]
    Setting {
        /// The parameter.
        name: String,
        /// `role`, `rule`, or the hyperparameter.
        setting: String,
        /// Its value in the file, `absent` if it has none there.
        found: String,
        /// Its value here.
        expected: String,
    },
    /// A group with a learning-rate factor of its own that the optimizer does not have.
    #[error(
        "group `{name}` has a learning-rate factor of {factor}, but there is no such group\nhint: name the groups as in the run that wrote the file"
    )]
    UnknownGroup {
        /// The group.
        name: String,
        /// Its factor.
        factor: f64,
    },
    /// An average with another decay.
    #[error(
        "the average has {setting} = {found}, but here {setting} = {expected}\nhint: build it with the settings of the run that wrote the file"
    )]
    EmaSetting {
        /// `decay` or `warmup`.
        setting: &'static str,
        /// Its value in the file.
        found: String,
        /// Its value here.
        expected: String,
    },
    /// The state of a parameter does not fit its rule.
    #[error("parameter `{name}`, {rule}: {problem}")]
    State {
        /// The parameter.
        name: String,
        /// Its rule.
        rule: &'static str,
        /// What does not fit.
        problem: StateProblem,
    },
    /// The device could not give or take a tensor.
    #[error(transparent)]
    Device(candle_core::Error),
}
