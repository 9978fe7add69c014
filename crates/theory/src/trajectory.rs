use crate::components::Components;
use crate::discrete::{check_eta, discrete};
use crate::error::{Error, Result};
use crate::gaussian_mixture::{GaussianMixture, ORTHOGONAL};
use crate::mixture::Mixture;
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::rules::Rule;
use crate::simulation::Simulation;

/// How far a simulated time may be from a multiple of the step size, relative to the number of steps (at least one).
const GRID_TOLERANCE: f64 = 1e-9;
const MOST_STEPS: f64 = 1e7;

/// Where a trajectory comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Source {
    /// The continuous-time flow.
    ClosedForm,
    /// Steps of size `eta` on real matrices; time t is n·`eta`.
    Simulation {
        /// The step size η.
        eta: f64,
    },
}

/// What [`trajectory`] computes.
#[derive(Debug, Clone, PartialEq)]
pub struct TrajectoryConfig {
    /// The update rule.
    pub rule: Rule,
    /// The times, non-negative, finite and increasing. A simulated time must be a multiple of the step size to 1e-9 of the
    /// number of steps.
    pub times: Vec<f64>,
    /// The number of layers and their initialization.
    pub network: Network,
    /// Closed form or simulation.
    pub source: Source,
}

/// One row of a trajectory.
#[derive(Debug, Clone, PartialEq)]
pub struct TrajectoryRow {
    /// The time, as it was asked for.
    pub t: f64,
    /// α_c(t) in class order.
    pub alpha: Vec<f64>,
    /// For a matrix simulation, the largest magnitude of W(t) outside the aligned diagonal (0 in exact arithmetic for the
    /// rules that keep the bases).
    pub off_diagonal: Option<f64>,
}

/// α_c(t) of a mixture under a rule, one row for each time.
///
/// The simulation iterates real matrices (see [`Simulation`]) with class means in random orthonormal directions drawn from the
/// mixture's seed. For two or more layers in the limit δ → ∞ matrices cannot leave exactly zero; for `SpecGD` and Muon the rows
/// then come from the exact recursion in the components (see [`discrete`]) and the other rules are an error.
///
/// Fails for times that do not increase, are negative or not finite, and for a step size at which discrete gradient descent on the
/// linear model diverges, η ≥ 2/max s_xx.
///
/// ```
/// use isorate_theory::{Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, trajectory};
///
/// let mixture = Mixture::new(MixtureConfig {
///     priors: vec![0.5, 0.3, 0.2],
///     mean_norm: 1.0,
///     noise_std: 1.0,
///     dim: None,
///     seed: 0,
/// })?;
/// let mut config = TrajectoryConfig {
///     rule: Rule::SpecGd,
///     times: vec![0.0, 0.1, 1.0],
///     network: Network::LINEAR,
///     source: Source::ClosedForm,
/// };
/// let theory = trajectory(&mixture, &config)?;
/// // All classes at the same rate, then the common limit a_c*.
/// assert_eq!(theory[1].alpha, [0.1, 0.1, 0.1]);
/// config.source = Source::Simulation { eta: 0.01 };
/// let simulated = trajectory(&mixture, &config)?;
/// assert!((simulated[1].alpha[0] - 0.1).abs() < 1e-12);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
pub fn trajectory(mixture: &Mixture, config: &TrajectoryConfig) -> Result<Vec<TrajectoryRow>> {
    let linear = Linear {
        components: &|| Ok(mixture.components()),
        moments: &|| mixture.matrix_moments(),
        seed: mixture.seed(),
        given: None,
    };
    rows(config, &linear)
}

/// What [`rows`] needs to know of a model; the moments are made only for a simulation.
pub(crate) struct Linear<'a> {
    pub(crate) components: &'a dyn Fn() -> Result<Components>,
    pub(crate) moments: &'a dyn Fn() -> Result<MatrixMoments>,
    pub(crate) seed: u64,
    /// The mixture with given means, whose α are read class by class.
    pub(crate) given: Option<&'a GaussianMixture>,
}

/// The trajectory of any model.
pub(crate) fn rows(config: &TrajectoryConfig, model: &Linear<'_>) -> Result<Vec<TrajectoryRow>> {
    config.rule.check()?;
    check_times(&config.times)?;
    check_increasing(&config.times)?;
    let row = |(&t, alpha): (&f64, Vec<f64>)| TrajectoryRow { t, alpha, off_diagonal: None };
    let eta = match config.source {
        Source::ClosedForm => {
            let rows = config.rule.closed_form(&(model.components)()?, &config.network, &config.times)?;
            return Ok(config.times.iter().zip(rows).map(row).collect());
        }
        Source::Simulation { eta } => eta,
    };
    check_eta(eta)?;
    let steps = config.times.iter().map(|&t| steps_at(t, eta)).collect::<Result<Vec<_>>>()?;
    let from_limit = config.network.depth() > 1 && config.network.delta().is_none();
    if from_limit {
        if config.rule == Rule::SignGd {
            config.network.require_delta("signgd", "cannot be simulated with matrices from exactly zero")?;
        }
        let rows = discrete(&(model.components)()?, &config.network, config.rule, eta, &steps)?;
        return Ok(config.times.iter().zip(rows).map(row).collect());
    }
    let moments = (model.moments)()?;
    check_stable(config, eta, moments.largest_eigenvalue())?;
    let mut simulation = Simulation::new(&moments, &config.network, config.rule, eta, model.seed)?;
    let oblique = model.given.is_some_and(|mixture| mixture.least_orthogonal().2.abs() > ORTHOGONAL);
    config
        .times
        .iter()
        .zip(steps)
        .map(|(&t, step)| {
            while simulation.step() < step {
                simulation.advance()?;
            }
            let alpha = model.given.map_or_else(|| simulation.alpha(), |mixture| mixture.alpha(simulation.weights()));
            Ok(TrajectoryRow { t, alpha, off_diagonal: (!oblique).then(|| simulation.off_diagonal()) })
        })
        .collect()
}

/// Gradient descent on the linear model multiplies the error in the direction of the largest eigenvalue s of Σ_xx by 1 − η s a step.
fn check_stable(config: &TrajectoryConfig, eta: f64, largest: f64) -> Result<()> {
    let plain = matches!(config.rule, Rule::Gd) || config.rule == Rule::Power { exponent: 1.0 };
    let limit = 2.0 / largest;
    if plain && config.network.depth() == 1 && eta >= limit {
        return Err(Error::Unstable { eta, limit, largest });
    }
    Ok(())
}

fn check_increasing(times: &[f64]) -> Result<()> {
    match times.windows(2).find(|pair| pair[1] <= pair[0]) {
        None => Ok(()),
        Some(pair) => Err(Error::setting(
            "times",
            pair[1],
            format!("the times must increase, and it follows {:?}", pair[0]),
            "sort the times and leave out repetitions",
        )),
    }
}

/// Every time is non-negative and finite.
pub(crate) fn check_times(times: &[f64]) -> Result<()> {
    match times.iter().find(|t| !(t.is_finite() && **t >= 0.0)) {
        None => Ok(()),
        Some(time) => {
            Err(Error::setting("times", time, "every time must be non-negative and finite", "list times such as 0,0.1,0.2"))
        }
    }
}

fn steps_at(time: f64, eta: f64) -> Result<usize> {
    let ratio = time / eta;
    if ratio > MOST_STEPS {
        return Err(Error::setting(
            "times",
            time,
            format!("it is {ratio:e} steps of eta = {eta:?} away, more than {MOST_STEPS:e}"),
            "raise eta, or use the closed form",
        ));
    }
    let nearest = ratio.round();
    if (ratio - nearest).abs() > GRID_TOLERANCE * nearest.max(1.0) {
        return Err(Error::OffGrid { time, eta, below: ratio.floor() * eta, above: ratio.ceil() * eta });
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to 1e7")]
    Ok(nearest as usize)
}
