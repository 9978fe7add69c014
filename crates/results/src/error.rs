use std::path::PathBuf;

/// What can go wrong between a run and its file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused; the message names the path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is there but is not a whole results file of this version.
    #[error("{}: not a results file: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        reason: String,
    },
    /// The run could not be put into parquet.
    #[error("{}: cannot encode the run: {reason}", path.display())]
    Encode {
        /// The file that was to be written.
        path: PathBuf,
        /// The encoder's word.
        reason: String,
    },
    /// The description of a run has no canonical form.
    #[error("the description of a run must be plain data with finite numbers: {0}")]
    Spec(String),
}
