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
    /// A model file is no TOML, or has an unknown key or a value of a wrong type; the text is the parser's, with line and column.
    #[error("{0}")]
    Toml(String),
    /// A closed form was asked for, and the class means are not orthogonal.
    #[error(
        "means[{first}], means[{second}]: cosine {cosine:?}: a closed form needs orthogonal class means (|cosine| <= {bound:e})\nhint: use the simulation (source = simulation, with a step size eta)"
    )]
    NotOrthogonal {
        /// The first class of the pair that is the farthest from orthogonal.
        first: usize,
        /// The second class.
        second: usize,
        /// The cosine of the angle between their means.
        cosine: f64,
        /// The largest magnitude that counts as orthogonal.
        bound: f64,
    },
    /// A closed form was asked for, and the moments do not satisfy Condition 1.
    #[error(
        "sigma_yx, sigma_xx: relative residual of Condition 1 = {residual:e}: a closed form needs at most {bound:e}\nhint: use the simulation (source = simulation, with a step size eta)"
    )]
    Condition1 {
        /// The relative residual ‖B‖_F/‖S_xx‖_F.
        residual: f64,
        /// The largest residual for which the closed form is given.
        bound: f64,
    },
    /// Discrete gradient descent on the linear model diverges for every start but the optimum.
    #[error(
        "eta = {eta:?}: gradient descent diverges: it needs eta < 2/max s_xx = {limit:?}, where max s_xx = {largest:?} is the largest eigenvalue of Σ_xx\nhint: lower eta"
    )]
    Unstable {
        /// The step size.
        eta: f64,
        /// 2/max s_xx.
        limit: f64,
        /// The largest eigenvalue of Σ_xx.
        largest: f64,
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
