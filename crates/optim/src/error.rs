//! What can go wrong, in one type.

use std::path::PathBuf;

use crate::groups::RoutingProblem;
use crate::probe::ProbeProblem;
use crate::replay::ReplayProblem;
use crate::state::StateProblem;
use crate::state_file::StateFileProblem;

/// The result of everything here that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate. Each names the parameter, setting or file, the bad value and the rule it broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter outside its range.
    #[error("{rule}: {setting} = {value}, but {requirement}")]
    Setting {
        /// The rule the hyperparameter belongs to.
        rule: &'static str,
        /// The hyperparameter.
        setting: &'static str,
        /// Its value.
        value: String,
        /// The condition it must meet.
        requirement: &'static str,
    },
    /// The rule of one group is not valid.
    #[error("group `{group}`: {problem}")]
    Group {
        /// The group.
        group: String,
        /// What is wrong with its rule.
        problem: Box<Error>,
    },
    /// Groups that are not valid, or do not fit the parameters.
    #[error(transparent)]
    Routing(RoutingProblem),
    /// A factor for the learning rate that is negative or not finite.
    #[error("learning-rate factor = {0}, but it must be finite and not negative")]
    LrFactor(f64),
    /// The optimizer was given nothing to optimize.
    #[error("the optimizer was given no parameters")]
    NoParameters,
    /// Two parameters have the same name.
    #[error("parameter `{0}` is listed twice")]
    DuplicateName(String),
    /// One variable appears under two names, so it would be updated twice in each step.
    #[error("parameters `{first}` and `{second}` are the same variable\nhint: list tied weights once, under the role that fits")]
    SharedVariable {
        /// The name listed first.
        first: String,
        /// The other name.
        second: String,
    },
    /// A parameter without elements.
    #[error("parameter `{name}` of shape {shape:?} has no elements")]
    EmptyParameter {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A parameter of a type that has no arithmetic here: integers and floats of 8 bits and less.
    #[error(
        "parameter `{name}` is {dtype:?}, but it must be f32, f64, bf16 or f16\nhint: keep weights in f32 and convert them in the forward pass; put what is no weight into a frozen group"
    )]
    ParameterDtype {
        /// The parameter.
        name: String,
        /// Its element type.
        dtype: candle_core::DType,
    },
    /// A rule for matrices met a parameter that is not one.
    #[error(
        "parameter `{name}` of shape {shape:?} is in group `{group}` under {rule}, which needs at least two dimensions\nhint: give it the role `vector`, put a group that takes it before `{group}`, or choose another rule for the group"
    )]
    NotAMatrix {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// Its group.
        group: String,
        /// The group's rule.
        rule: &'static str,
    },
    /// A rank that a matrix cannot have.
    #[error(
        "parameter `{name}` is a {rows}×{columns} matrix, too small for dion with rank = {rank}\nhint: a rank is at most min(r, c); give `rank_fraction`, or another rule to its group"
    )]
    RankTooLarge {
        /// The parameter.
        name: String,
        /// The rank asked for.
        rank: usize,
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// A tensor for an orthogonalizer that is not a non-empty matrix.
    #[error("an orthogonalizer needs a matrix with at least one element, not a tensor of shape {shape:?}")]
    MatrixShape {
        /// The shape it has.
        shape: Vec<usize>,
    },
    /// An element type that an orthogonalizer does not accept.
    #[error("the {orthogonalizer} orthogonalizer does not accept {dtype:?} on {device}; it accepts {accepted}\nhint: {hint}")]
    MatrixDtype {
        /// Which orthogonalizer.
        orthogonalizer: &'static str,
        /// The element type.
        dtype: candle_core::DType,
        /// The device of the tensor.
        device: &'static str,
        /// What is possible.
        accepted: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A NaN or an infinity where a finite matrix is needed.
    #[error("the matrix to orthogonalize holds a NaN or an infinity")]
    NonFiniteMatrix,
    /// The singular value decomposition did not converge.
    #[error("the singular value decomposition of a {rows}×{columns} matrix did not converge")]
    SvdDidNotConverge {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        columns: usize,
    },
    /// The eigendecomposition of a factor of Shampoo or SOAP did not converge.
    #[error("the eigendecomposition of a {size}×{size} factor of the preconditioner did not converge")]
    EighDidNotConverge {
        /// Rows of the factor.
        size: usize,
    },
    /// A factor of Shampoo or SOAP, or its root, that left the range of its type.
    #[error(
        "a {size}×{size} factor of the preconditioner holds a NaN or an infinity, since it sums products of gradients\nhint: clip the gradients or scale the loss down"
    )]
    NonFiniteFactor {
        /// Rows of the factor.
        size: usize,
    },
    /// A gradient with a NaN or an infinity. Nothing was updated.
    #[error(
        "the gradient of parameter `{name}` holds a NaN or an infinity; no parameter was updated\nhint: the run has diverged; try a smaller learning rate"
    )]
    NonFiniteGradient {
        /// The parameter.
        name: String,
    },
    /// A gradient that does not fit its parameter. Nothing was updated.
    #[error(
        "the gradient of parameter `{name}` is {dtype:?} of shape {shape:?}, but the parameter is {expected_dtype:?} of shape {expected_shape:?}"
    )]
    GradientMismatch {
        /// The parameter.
        name: String,
        /// Element type of the gradient.
        dtype: candle_core::DType,
        /// Shape of the gradient.
        shape: Vec<usize>,
        /// Element type of the parameter.
        expected_dtype: candle_core::DType,
        /// Shape of the parameter.
        expected_shape: Vec<usize>,
    },
    /// A gradient on another device than its parameter. Nothing was updated.
    #[error("the gradient of parameter `{name}` is on {device}, but the parameter is on {expected}")]
    GradientDevice {
        /// The parameter.
        name: String,
        /// Where its gradient is.
        device: &'static str,
        /// Where it is itself; when both read the same, there are two devices of this kind.
        expected: &'static str,
    },
    /// A parameter in f64 on a Metal device, which has no arithmetic for it.
    #[error("parameter `{name}` is F64, but Metal devices have no f64\nhint: use f32, or keep the model on the CPU")]
    NoF64OnMetal {
        /// The parameter.
        name: String,
    },
    /// A choice of device that cannot be read.
    #[error(
        "device `{0}` is not one of auto, cpu, cuda, cuda:N, metal and metal:N\nhint: N counts the devices from 0; cuda is for NVIDIA's, metal for Apple's"
    )]
    UnknownDevice(String),
    /// No parameter of the optimizer has a gradient.
    #[error(
        "none of the {parameters} parameters has a gradient\nhint: the loss does not depend on them, or the gradients belong to another model"
    )]
    NoGradients {
        /// Number of parameters.
        parameters: usize,
    },
    /// The update of one parameter failed. Parameters before it in the list were updated already.
    #[error("updating parameter `{name}` with {rule}: {problem}")]
    Update {
        /// The parameter.
        name: String,
        /// Its rule.
        rule: &'static str,
        /// What happened.
        problem: Box<Error>,
    },
    /// A state that does not fit the rule that is to take it.
    #[error("state: {0}")]
    State(StateProblem),
    /// A state file that cannot be written or taken. Nothing was changed.
    #[error("{}: {problem}", file.display())]
    StateFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: Box<StateFileProblem>,
    },
    /// The variables hold the averages of the weights, and not the weights.
    #[error("the averages of the weights are in the place of the weights\nhint: call WeightEma::restore first")]
    AveragesInPlace,
    /// A reference trajectory that cannot be replayed.
    #[error("{}: {problem}", file.display())]
    Replay {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        problem: ReplayProblem,
    },
    /// A spectral probe that cannot be set up or cannot record.
    #[error("probe: {0}")]
    Probe(#[from] ProbeProblem),
    /// An error of candle itself, such as a device out of memory.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
