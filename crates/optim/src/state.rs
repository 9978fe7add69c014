//! What rules remember between steps, by name: the content of a state file.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Shape, Tensor, Var};

use crate::{Error, Result};

/// One remembered thing.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    /// A tensor, such as a momentum.
    Tensor(Tensor),
    /// A number, such as a count of steps; counts stay exact up to 2⁵³.
    Number(f64),
}

/// The state of one rule for one parameter. Names are ordered, never hashed.
#[derive(Clone, Debug, Default)]
pub(crate) struct State(BTreeMap<String, Value>);

/// Why a state does not fit the rule that is to take it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateProblem {
    /// A part that the rule needs is missing.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A part that the rule does not know.
    #[error("`{0}` does not belong to this rule")]
    Unexpected(String),
    /// A tensor where a number belongs, or the reverse.
    #[error("`{name}` must be {expected}")]
    Kind {
        /// The part.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// Anything else that the rule found wrong.
    #[error("{0}")]
    Other(String),
    /// A tensor of another shape.
    #[error("`{name}` has shape {shape:?}, but {expected:?} is needed")]
    Shape {
        /// The part.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor of another type.
    #[error("`{name}` is {dtype:?}, but {expected:?} is needed")]
    Dtype {
        /// The part.
        name: String,
        /// Its type.
        dtype: DType,
        /// The type it should have.
        expected: DType,
    },
}

impl State {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor.
    pub fn tensor(mut self, name: impl Into<String>, tensor: &Tensor) -> Self {
        self.0.insert(name.into(), Value::Tensor(tensor.detach()));
        self
    }

    /// Adds a tensor, if there is one.
    pub fn tensor_if_any(self, name: &str, tensor: Option<&Tensor>) -> Self {
        match tensor {
            Some(tensor) => self.tensor(name, tensor),
            None => self,
        }
    }

    /// Adds a number.
    pub fn number(mut self, name: impl Into<String>, number: f64) -> Self {
        self.0.insert(name.into(), Value::Number(number));
        self
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Takes a number out. In a file it is a scalar of f64.
    pub fn take_number(&mut self, name: &str) -> Result<f64> {
        match self.0.remove(name) {
            Some(Value::Number(number)) => Ok(number),
            Some(Value::Tensor(tensor)) if tensor.rank() == 0 && tensor.dtype() == DType::F64 => Ok(tensor.to_scalar::<f64>()?),
            Some(Value::Tensor(_)) => Err(StateProblem::Kind { name: name.to_owned(), expected: "a number" }.into()),
            None => Err(StateProblem::Missing(name.to_owned()).into()),
        }
    }

    /// Takes a tensor out, as a variable of its own on `device`; it must have this shape and type.
    pub fn take_var(&mut self, name: &str, shape: &Shape, dtype: DType, device: &Device) -> Result<Var> {
        let tensor = match self.0.remove(name) {
            Some(Value::Tensor(tensor)) => tensor,
            Some(Value::Number(_)) => {
                return Err(StateProblem::Kind { name: name.to_owned(), expected: "a tensor" }.into());
            }
            None => return Err(StateProblem::Missing(name.to_owned()).into()),
        };
        if tensor.shape() != shape {
            let (shape, expected) = (tensor.dims().to_vec(), shape.dims().to_vec());
            return Err(StateProblem::Shape { name: name.to_owned(), shape, expected }.into());
        }
        if tensor.dtype() != dtype {
            return Err(StateProblem::Dtype { name: name.to_owned(), dtype: tensor.dtype(), expected: dtype }.into());
        }
        Ok(Var::from_tensor(&tensor.to_device(device)?.copy()?)?)
    }

    /// [`State::take_var`] with the shape, type and device of `like`.
    pub fn take_like(&mut self, name: &str, like: &Tensor) -> Result<Var> {
        self.take_var(name, like.shape(), like.dtype(), like.device())
    }

    /// An error if anything was not taken.
    pub fn finish(&self) -> Result<()> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(StateProblem::Unexpected(name.clone()).into()),
        }
    }
}

impl From<StateProblem> for Error {
    fn from(problem: StateProblem) -> Self {
        Self::State(problem)
    }
}
