use std::sync::atomic::{AtomicBool, Ordering};

/// What can go wrong between a specification and its results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A specification breaks a rule. The message names file and setting, the value, the rule, and a hint if there is one.
    #[error("{file}: {setting}: {message}")]
    Spec {
        /// The specification file.
        file: String,
        /// The setting, as a path of keys.
        setting: String,
        /// The value, the rule, and on a line of its own a hint.
        message: String,
    },
    /// The specification is not TOML of the right form.
    #[error("{file}: {message}")]
    Parse {
        /// The specification file.
        file: String,
        /// Where and what.
        message: String,
    },
    /// The user asked to stop; everything that was finished is in the store.
    #[error("interrupted; what was finished is kept")]
    Interrupted,
    /// A run cannot be made as it was described.
    #[error("{0}")]
    Run(String),
    /// Weights could not be read or written.
    #[error(transparent)]
    Weights(#[from] isorate_models::Error),
    /// Data could not be read or built.
    #[error(transparent)]
    Data(#[from] isorate_data::DataError),
    /// The optimizer refused.
    #[error(transparent)]
    Optimizer(#[from] isorate_optim::Error),
    /// The store refused.
    #[error(transparent)]
    Results(#[from] isorate_results::Error),
    /// The theory refused.
    #[error(transparent)]
    Theory(#[from] isorate_theory::Error),
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The file system refused; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Error {
    /// Whether it is about one run alone, so that other runs can still be made: a computation that failed, and neither a file nor a
    /// specification.
    pub(crate) fn is_of_this_run(&self) -> bool {
        match self {
            Self::Tensor(_) | Self::Weights(isorate_models::Error::Candle(_)) => true,
            Self::Optimizer(error) => !matches!(error, isorate_optim::Error::StateFile { .. }),
            _ => false,
        }
    }
}

/// A request to stop, asked between any two steps of a run.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Nobody asked yet.
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }
    /// Asks.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
    /// An error if somebody asked.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}
