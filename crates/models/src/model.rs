use candle_core::{Result, Tensor, Var};
use isorate_kernels::cross_entropy;

/// Whether a pass through a network is a step of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch normalization takes the statistics of the batch and moves its running averages; gradients can be taken.
    Train,
    /// Batch normalization takes its running averages. Parameters are constants: there are no gradients, so nothing of the
    /// pass stays in memory but its result.
    Evaluate,
}

impl Mode {
    /// A parameter as this mode sees it.
    pub(crate) fn of(self, parameter: &Var) -> Tensor {
        match self {
            Self::Train => parameter.as_tensor().clone(),
            Self::Evaluate => parameter.as_detached_tensor(),
        }
    }
}

/// What a parameter does in its network: which update rule suits it.
///
/// In terms of `Role` of `isorate-optim`: a [`Filter`](Self::Filter) and a [`Matrix`](Self::Matrix) are `Matrix`, the other
/// kinds have a role of their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Filters of a convolution, \[out, in, height, width\].
    Filter,
    /// A hidden weight matrix, \[out, in\].
    Matrix,
    /// The weight matrix of the last layer, \[classes, in\].
    Head,
    /// One row for each token, position or type of token.
    Embedding,
    /// A bias or a gain.
    Vector,
}

/// A parameter of a [`Model`].
#[derive(Clone, Debug)]
pub struct Parameter {
    /// Its name, as PyTorch has it.
    pub name: String,
    /// What it does.
    pub kind: ParameterKind,
    /// Its values. Clones of a `Var` share them.
    pub var: Var,
}

impl Parameter {
    pub(crate) fn new(name: impl Into<String>, kind: ParameterKind, var: &Var) -> Self {
        Self { name: name.into(), kind, var: var.clone() }
    }
}

/// What training needs of a network, whichever it is.
pub trait Model {
    /// The scores of the classes, before any softmax, for inputs whose first dimension is the batch.
    fn logits(&self, inputs: &Tensor, mode: Mode) -> Result<Tensor>;

    /// The mean loss of these logits: minus the logarithm of the probability of each target, in nats.
    fn loss(&self, inputs: &Tensor, targets: &Tensor, mode: Mode) -> Result<Tensor> {
        cross_entropy(&self.logits(inputs, mode)?, targets)
    }

    /// All parameters, from the input on; each variable once.
    fn parameters(&self) -> Vec<Parameter>;

    /// What belongs to the network's state and is not trained, with its name: running averages.
    fn buffers(&self) -> Vec<(String, Var)> {
        Vec::new()
    }

    /// The names under which published files may have the parameter or buffer that is called `name` here.
    fn names_in_files(&self, name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    /// Whether published files have the matrix of the parameter that is called `name` here as \[in, out\].
    fn is_turned_in_files(&self, _name: &str) -> bool {
        false
    }

    /// Whether published files may have a tensor of this name that the network does without.
    fn does_without(&self, _name_in_file: &str) -> bool {
        false
    }
}
