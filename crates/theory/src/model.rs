use faer::Mat;
use serde::Deserialize;

use crate::components::Components;
use crate::condition1::CONDITION_1;
use crate::error::{Error, Result};
use crate::gaussian_mixture::GaussianMixture;
use crate::mixture::{Mixture, MixtureConfig, SCALE};
use crate::moments::MatrixMoments;
use crate::trajectory::{Linear, TrajectoryConfig, TrajectoryRow, rows};

/// What a linear model is trained on: a model file of `isorate trajectory`.
///
/// The file is TOML and has the keys of one of four kinds:
///
/// | kind | keys | components |
/// |---|---|---|
/// | mixture with random orthogonal means | `priors`, `mean_norm`, `noise_std`, optional `dim`, `seed` | the classes |
/// | mixture with given means | `priors`, `means` (k rows of d numbers), `noise_std` | the classes |
/// | spectra of moments | `s_yx`, `s_xx`, optional `dim`, `seed` (of the random bases) | as listed |
/// | dense moments | `sigma_yx` (k rows of d numbers), `sigma_xx` (d rows of d numbers) | by falling s_yx |
///
/// See [`Mixture`], [`GaussianMixture`], [`MatrixMoments::from_spectra`] and [`MatrixMoments::given`].
///
/// ```
/// use isorate_theory::{Model, Network, Rule, Source, TrajectoryConfig};
///
/// let model = Model::from_toml("s_yx = [0.5, 0.1]\ns_xx = [1.0, 2.0]")?;
/// let config =
///     TrajectoryConfig { rule: Rule::SpecGd, times: vec![0.02, 1.0], network: Network::LINEAR, source: Source::ClosedForm };
/// let rows = model.trajectory(&config)?;
/// assert_eq!(rows[0].alpha, [0.02, 0.02]);
/// assert_eq!(rows[1].alpha, [0.5, 0.05]);
/// # Ok::<(), isorate_theory::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Model {
    /// The data model of the paper: orthogonal means of equal length.
    Mixture(Mixture),
    /// A mixture with any means.
    GaussianMixture(GaussianMixture),
    /// Spectra, and the seed of the bases.
    Spectra(Components, u64),
    /// Dense moments.
    Moments(Box<MatrixMoments>),
}

/// All keys of all kinds.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    priors: Option<Vec<f64>>,
    mean_norm: Option<f64>,
    means: Option<Vec<Vec<f64>>>,
    noise_std: Option<f64>,
    s_yx: Option<Vec<f64>>,
    s_xx: Option<Vec<f64>>,
    sigma_yx: Option<Vec<Vec<f64>>>,
    sigma_xx: Option<Vec<Vec<f64>>>,
    dim: Option<usize>,
    seed: Option<u64>,
}

impl Model {
    /// Reads and checks a model file's text.
    pub fn from_toml(text: &str) -> Result<Self> {
        let file: ModelFile = toml::from_str(text).map_err(|error| Error::Toml(error.to_string().trim_end().to_owned()))?;
        let kind = file.kind()?;
        file.only(kind)?;
        match kind {
            Kind::Means => {
                let (priors, means) = (kind.need("priors", file.priors)?, kind.need("means", file.means)?);
                GaussianMixture::new(priors, &means, kind.need("noise_std", file.noise_std)?).map(Self::GaussianMixture)
            }
            Kind::Mixture => Mixture::new(MixtureConfig {
                priors: kind.need("priors", file.priors)?,
                mean_norm: kind.need("mean_norm", file.mean_norm)?,
                noise_std: kind.need("noise_std", file.noise_std)?,
                dim: file.dim,
                seed: file.seed.unwrap_or(0),
            })
            .map(Self::Mixture),
            Kind::Spectra => {
                let (s_yx, s_xx) = (kind.need("s_yx", file.s_yx)?, kind.need("s_xx", file.s_xx)?);
                let dim = file.dim.unwrap_or(s_yx.len());
                let components = Components::new(s_yx, s_xx, dim)?;
                check_spectra(&components)?;
                Ok(Self::Spectra(components, file.seed.unwrap_or(0)))
            }
            Kind::Matrices => {
                let cross = matrix("sigma_yx", &kind.need("sigma_yx", file.sigma_yx)?)?;
                let second = matrix("sigma_xx", &kind.need("sigma_xx", file.sigma_xx)?)?;
                let moments = MatrixMoments::given(cross, second)?;
                check_spectra(moments.components())?;
                Ok(Self::Moments(Box::new(moments)))
            }
        }
    }

    /// The components (s_yx,c, s_xx,c) that the closed forms are about. Fails where Condition 1 does not hold: for means that are not
    /// orthogonal to [`crate::ORTHOGONAL`], and dense moments with a residual above [`CONDITION_1`].
    pub fn components(&self) -> Result<Components> {
        match self {
            Self::Mixture(mixture) => Ok(mixture.components()),
            Self::GaussianMixture(mixture) => mixture.components(),
            Self::Spectra(components, _) => Ok(components.clone()),
            Self::Moments(moments) => {
                let residual = moments.residual();
                if residual > CONDITION_1 {
                    return Err(Error::Condition1 { residual, bound: CONDITION_1 });
                }
                Ok(moments.components().clone())
            }
        }
    }

    /// Σ_yx and Σ_xx as matrices.
    pub fn matrix_moments(&self) -> Result<MatrixMoments> {
        match self {
            Self::Mixture(mixture) => mixture.matrix_moments(),
            Self::GaussianMixture(mixture) => mixture.matrix_moments(),
            Self::Spectra(components, seed) => MatrixMoments::from_spectra(components.clone(), *seed),
            Self::Moments(moments) => Ok((**moments).clone()),
        }
    }

    /// The number of components: of the classes of a mixture, of the entries of `s_yx`, or of the positive singular values of `sigma_yx`.
    pub fn len(&self) -> usize {
        match self {
            Self::Mixture(mixture) => mixture.classes(),
            Self::GaussianMixture(mixture) => mixture.classes(),
            Self::Spectra(components, _) => components.len(),
            Self::Moments(moments) => moments.components().len(),
        }
    }

    /// Always false: there is at least one component.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// α_c(t) under a rule, one row for each time; see [`crate::trajectory()`].
    ///
    /// For a mixture with given means α_c = e_cᵀ W μ_c/‖μ_c‖, also when the means are not orthogonal; then only the simulation is there,
    /// rows have no `off_diagonal`, and a deep model starts aligned with the singular vectors of Σ_yx.
    pub fn trajectory(&self, config: &TrajectoryConfig) -> Result<Vec<TrajectoryRow>> {
        let seed = match self {
            Self::Mixture(mixture) => mixture.seed(),
            Self::Spectra(_, seed) => *seed,
            Self::GaussianMixture(_) | Self::Moments(_) => 0,
        };
        let given = match self {
            Self::GaussianMixture(mixture) => Some(mixture),
            _ => None,
        };
        rows(config, &Linear { components: &|| self.components(), moments: &|| self.matrix_moments(), seed, given })
    }
}

/// Which keys a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Mixture,
    Means,
    Spectra,
    Matrices,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Mixture => "a mixture",
            Self::Means => "a mixture with given means",
            Self::Spectra => "spectra of moments",
            Self::Matrices => "dense moments",
        }
    }

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Mixture => &["priors", "mean_norm", "noise_std", "dim", "seed"],
            Self::Means => &["priors", "means", "noise_std"],
            Self::Spectra => &["s_yx", "s_xx", "dim", "seed"],
            Self::Matrices => &["sigma_yx", "sigma_xx"],
        }
    }

    fn need<T>(self, key: &'static str, value: Option<T>) -> Result<T> {
        value.ok_or_else(|| {
            Error::setting(
                key,
                format_args!("nothing"),
                format!("it is missing from {}", self.name()),
                format!("the keys of {} are {}", self.name(), self.keys().join(", ")),
            )
        })
    }
}

impl ModelFile {
    fn present(&self) -> Vec<&'static str> {
        [
            ("priors", self.priors.is_some()),
            ("mean_norm", self.mean_norm.is_some()),
            ("means", self.means.is_some()),
            ("noise_std", self.noise_std.is_some()),
            ("s_yx", self.s_yx.is_some()),
            ("s_xx", self.s_xx.is_some()),
            ("sigma_yx", self.sigma_yx.is_some()),
            ("sigma_xx", self.sigma_xx.is_some()),
            ("dim", self.dim.is_some()),
            ("seed", self.seed.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, present)| present.then_some(key))
        .collect()
    }

    fn kind(&self) -> Result<Kind> {
        if self.means.is_some() {
            return Ok(Kind::Means);
        }
        if self.priors.is_some() || self.mean_norm.is_some() || self.noise_std.is_some() {
            return Ok(Kind::Mixture);
        }
        if self.s_yx.is_some() || self.s_xx.is_some() {
            return Ok(Kind::Spectra);
        }
        if self.sigma_yx.is_some() || self.sigma_xx.is_some() {
            return Ok(Kind::Matrices);
        }
        Err(Error::setting(
            "model",
            self.present(),
            "has the keys of no kind of model",
            "give priors, mean_norm and noise_std of a mixture (or priors, means and noise_std), or moments as s_yx and s_xx or as sigma_yx and sigma_xx",
        ))
    }

    /// Fails if a key belongs to another kind.
    fn only(&self, kind: Kind) -> Result<()> {
        match self.present().into_iter().find(|key| !kind.keys().contains(key)) {
            None => Ok(()),
            Some(key) => Err(Error::setting(
                key,
                format_args!("given"),
                format!("it is no key of {}", kind.name()),
                format!("the keys of {} are {}", kind.name(), kind.keys().join(", ")),
            )),
        }
    }
}

/// A matrix from its rows.
fn matrix(name: &str, rows: &[Vec<f64>]) -> Result<Mat<f64>> {
    let cols = rows.first().map_or(0, Vec::len);
    for (index, row) in rows.iter().enumerate() {
        if row.len() != cols {
            return Err(Error::setting(
                format!("{name}[{index}]"),
                format_args!("{} numbers", row.len()),
                format!("every row must have the same length, and {name}[0] has {cols}"),
                "give the matrix row by row",
            ));
        }
        if let Some((column, value)) = row.iter().enumerate().find(|(_, value)| value.abs() > *SCALE.end()) {
            return Err(Error::setting(
                format!("{name}[{index}][{column}]"),
                value,
                format!("must be finite and at most {:e} in magnitude", SCALE.end()),
                "scale the inputs",
            ));
        }
    }
    Ok(Mat::from_fn(rows.len(), cols, |i, j| rows[i][j]))
}

/// Squares and quotients of the spectra must neither overflow nor vanish.
fn check_spectra(components: &Components) -> Result<()> {
    for (name, values) in [("s_yx", components.s_yx()), ("s_xx", components.s_xx())] {
        if let Some((index, value)) = values.iter().enumerate().find(|(_, value)| !SCALE.contains(value)) {
            return Err(Error::setting(
                format!("{name}[{index}]"),
                value,
                format!("must be from {:e} to {:e}", SCALE.start(), SCALE.end()),
                "scale the inputs or the labels",
            ));
        }
    }
    Ok(())
}
