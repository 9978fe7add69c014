use std::path::PathBuf;

/// Why a figure, a table or the state of a claim could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No figure or table has this name.
    #[error("there is no figure or table `{id}`; there are {known}")]
    Unknown {
        /// What was asked for.
        id: String,
        /// What there is.
        known: String,
    },
    /// There are no runs to draw from.
    #[error(
        "{figure}: there is no run of the experiment `{experiment}`\nhint: run `isorate figures {figure}`, or the experiment alone"
    )]
    NoRuns {
        /// The figure or table.
        figure: String,
        /// The experiment it shows.
        experiment: String,
    },
    /// There are runs, but a number that the figure shows is not in them.
    #[error(
        "{figure}: the runs of the experiment `{experiment}` hold no {what}\nhint: the runs may come from another version; run the experiment again"
    )]
    Missing {
        /// The figure or table.
        figure: String,
        /// The experiment it shows.
        experiment: String,
        /// The run or the record that is missing.
        what: String,
    },
    /// The runs do not belong together: one picture shows one scale, one setting, and one run for each rule and seed.
    #[error("{figure}: the runs of the experiment `{experiment}` do not belong together: {what}")]
    Mixed {
        /// The figure or table.
        figure: String,
        /// The experiment it shows.
        experiment: String,
        /// What differs, and the values.
        what: String,
    },
    /// The picture could not be made from its description.
    #[error("{figure}: cannot draw: {reason}")]
    Render {
        /// The figure.
        figure: String,
        /// What the drawing library said.
        reason: String,
    },
    /// A file could not be written; the message names it.
    #[error("{source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of claims is not what it must be; the message of the parser names line and column.
    #[error("the claims cannot be read: {0}")]
    ClaimsSyntax(#[from] toml::de::Error),
    /// A claim is inconsistent, or asks for what the runs cannot hold.
    #[error("claim `{claim}`: {reason}")]
    Claim {
        /// The claim.
        claim: String,
        /// The rule that it breaks.
        reason: String,
    },
    /// The text has no single place for the table of claims.
    #[error("the claims table goes between the lines `{begin}` and `{end}`, and {found}")]
    Markers {
        /// The first marker.
        begin: &'static str,
        /// The last marker.
        end: &'static str,
        /// What is there instead.
        found: String,
    },
}
