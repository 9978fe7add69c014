//! What can go wrong with a file.

use std::path::{Path, PathBuf};

use safetensors::SafeTensorError;

/// The result of reading and writing weights and configurations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file of weights or a configuration cannot be read or written. Each names the file, the tensor or setting, what was
/// found and what was expected. After an error in reading the model is as it was, after one in writing the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is wrong with a file.
    #[error("{}: {problem}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: Box<FileProblem>,
    },
    /// An error of candle itself, such as a device out of memory.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    pub(crate) fn file(file: &Path, problem: FileProblem) -> Self {
        Self::File { file: file.to_owned(), problem: Box::new(problem) }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// It cannot be written.
    #[error("cannot be written: {0}; what was there before is unchanged")]
    Write(std::io::Error),
    /// It is a folder, a pipe or a device.
    #[error("is not a regular file")]
    NotAFile,
    /// It is no file of weights.
    #[error("is not a complete safetensors file: {0}")]
    NotSafetensors(SafeTensorError),
    /// It is no list of the files that a model is spread over.
    #[error(
        "does not say which files hold the tensors: {0}\nhint: it should be a `model.safetensors.index.json` with a `weight_map`"
    )]
    Index(serde_json::Error),
    /// A list of files that names one elsewhere.
    #[error("puts tensors into `{0}`, but the files must be in its own folder")]
    Elsewhere(String),
    /// A tensor is in two of the files that a model is spread over.
    #[error("has tensor `{name}`, which {} has as well", first.display())]
    InTwoFiles {
        /// The tensor.
        name: String,
        /// The file that has it first.
        first: PathBuf,
    },
    /// A tensor of the model is not there.
    #[error("lacks tensor `{name}` of shape {expected:?}{}\nhint: {hint}", also(other_names))]
    Missing {
        /// The tensor.
        name: String,
        /// The other names under which files may have it.
        other_names: Vec<String>,
        /// Its shape.
        expected: Vec<usize>,
        /// What to do.
        hint: &'static str,
    },
    /// A tensor of the model is there under two names.
    #[error("has both `{first}` and `{second}`, which are the same tensor of the model")]
    TwoNames {
        /// One name.
        first: String,
        /// The other.
        second: String,
    },
    /// A tensor for which the model has no place.
    #[error(
        "has tensor `{name}` of type {dtype} and shape {shape:?}, for which the model has no place\nhint: the file belongs to a model of another kind or depth"
    )]
    Unexpected {
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A tensor of another shape.
    #[error("tensor `{name}` has shape {found:?}, but the model expects {expected:?}\nhint: {hint}")]
    Shape {
        /// Its name in the file.
        name: String,
        /// Its shape in the file.
        found: Vec<usize>,
        /// Its shape in the model.
        expected: Vec<usize>,
        /// What to do.
        hint: &'static str,
    },
    /// A tensor of a type that weights do not have.
    #[error("tensor `{name}` has type {found}, but weights are F32, F16 or BF16\nhint: convert the file to one of these")]
    Type {
        /// Its name in the file.
        name: String,
        /// Its type in the file.
        found: String,
    },
    /// A configuration that cannot be read.
    #[error("is not the configuration of a BERT: {0}")]
    Configuration(serde_json::Error),
    /// A setting of a configuration that is not possible here.
    #[error("{setting} = {value}, but it must be {requirement}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The rule.
        requirement: &'static str,
    },
}

fn also(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", also known as `{}`", names.join("` or `")) }
}
