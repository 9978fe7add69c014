//! What can be wrong with a probe.

/// Which side of a matrix a basis belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Rows: a basis of [r, k].
    Left,
    /// Columns: a basis of [c, k].
    Right,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

/// Why a [`SpectralProbe`](crate::SpectralProbe) cannot be set up or cannot record.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeProblem {
    /// A setting outside its range.
    #[error("{setting} = 0, but it must be at least 1\nhint: {hint}")]
    Zero {
        /// The setting.
        setting: &'static str,
        /// What to write instead.
        hint: &'static str,
    },
    /// Bases for a parameter that the probe does not have.
    #[error("there is no parameter `{name}` to compare with bases")]
    UnknownParameter {
        /// The name given.
        name: String,
    },
    /// Bases for a parameter that is not a matrix.
    #[error("parameter `{name}` of shape {shape:?} is no matrix, so there is nothing to compare with bases")]
    NoMatrix {
        /// The parameter.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// A basis whose vectors have another length than those of the parameter.
    #[error("the {side} basis for parameter `{name}` has {rows} rows, but the parameter needs {expected}")]
    BasisRows {
        /// The parameter.
        name: String,
        /// Which basis.
        side: Side,
        /// Its rows.
        rows: usize,
        /// The rows it should have.
        expected: usize,
    },
    /// A tensor that cannot be a basis.
    #[error("the {side} basis has shape {shape:?}, but it must be a matrix of at least one column and no more columns than rows")]
    BasisShape {
        /// Which basis.
        side: Side,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// Columns of a basis that are not orthonormal.
    #[error(
        "the {side} basis is not orthonormal: columns {} and {} have the inner product {product}\nhint: take the singular vectors or a QR decomposition of it",
        columns.0, columns.1
    )]
    NotOrthonormal {
        /// Which basis.
        side: Side,
        /// Two columns, counted from 0.
        columns: (usize, usize),
        /// Their inner product.
        product: f64,
    },
    /// Two bases whose columns should be pairs.
    #[error("the bases have {left} columns on the left and {right} on the right, but they must be pairs")]
    UnpairedBases {
        /// Columns of the left one.
        left: usize,
        /// Columns of the right one.
        right: usize,
    },
    /// A NaN or an infinity in what should be recorded.
    #[error("the {what} of parameter `{name}` holds a NaN or an infinity in step {step}, so it has no spectrum")]
    NonFinite {
        /// The parameter.
        name: String,
        /// Its weight, gradient or update.
        what: &'static str,
        /// The step.
        step: u64,
    },
    /// A decomposition that did not converge.
    #[error("the decomposition of the {what} of parameter `{name}` did not converge in step {step}")]
    NoConvergence {
        /// The parameter.
        name: String,
        /// Its weight, gradient or update.
        what: &'static str,
        /// The step.
        step: u64,
    },
}
