/// What can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A filter that no work's name contains.
    #[error("no work has `{filter}` in its name\nhint: {hint}")]
    UnknownWork {
        /// The filter.
        filter: String,
        /// What it may have meant.
        hint: String,
    },
    /// An operation failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An update rule failed.
    #[error(transparent)]
    Optim(#[from] isorate_optim::Error),
}

/// Short for a result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;
