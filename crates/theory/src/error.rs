use thiserror::Error;

/// The result of a fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong here. Each message names the setting, the bad value and the rule it breaks; the hint
/// stands on a line of its own.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting has a value outside its domain.
    #[error("{setting} = {value}: {rule}\nhint: {hint}")]
    Setting {
        /// The setting, written as the user writes it (`priors[2]`, `eta`, …).
        setting: String,
        /// The value that was given.
        value: String,
        /// The rule that the value breaks.
        rule: String,
        /// What to do about it.
        hint: String,
    },
    /// The rule has no closed form for the model asked for.
    #[error(
        "source = closed-form: {rule} has no closed form here: {reason}\nhint: use the simulation (source = simulation, with a step size eta)"
    )]
    NoClosedForm {
        /// The update rule.
        rule: &'static str,
        /// Why there is none.
        reason: &'static str,
    },
    /// A simulated time is not a whole number of steps.
    #[error(
        "times = {time:?}: a simulated time must be a multiple of eta = {eta:?} (to 1e-9 of itself)\nhint: the nearest multiples are {below:?} and {above:?}"
    )]
    OffGrid {
        /// The time asked for.
        time: f64,
        /// The step size.
        eta: f64,
        /// The largest multiple of the step size below the time.
        below: f64,
        /// The smallest multiple of the step size above the time.
        above: f64,
    },
    /// The iterate overflowed.
    #[error(
        "eta = {eta:?}: {rule} diverges, the iterate is no longer finite at step {step}\nhint: plain gradient descent is stable for eta below 2/max s_xx = {stable:?}"
    )]
    Diverged {
        /// The update rule.
        rule: &'static str,
        /// The step size.
        eta: f64,
        /// The first step whose iterate is not finite.
        step: usize,
        /// The stability limit 2/max s_xx of linear gradient descent.
        stable: f64,
    },
    /// The singular value decomposition of a gradient did not converge.
    #[error(
        "the singular value decomposition of a {rows}×{cols} matrix did not converge\nhint: check the model for extreme scales (mean_norm, noise_std)"
    )]
    Svd {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
    },
}

impl Error {
    pub(crate) fn setting(
        setting: impl Into<String>,
        value: impl std::fmt::Debug,
        rule: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::Setting { setting: setting.into(), value: format!("{value:?}"), rule: rule.into(), hint: hint.into() }
    }
}
