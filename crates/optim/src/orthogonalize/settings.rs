//! An orthogonalizer as it stands in the settings of a rule.

use serde::{Deserialize, Serialize};

use super::{IterationDtype, NewtonSchulz, OddPolynomial, Orthogonalizer, PolynomialSchedule};
use crate::Result;
use crate::rules::Check;

/// The values of `orthogonalizer`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Name {
    Exact,
    #[default]
    NewtonSchulz,
    You,
    PolarExpress,
    Polynomial,
}

/// The keys of an orthogonalizer. Those without a meaning for it are missing.
#[derive(Clone, Debug, Default)]
pub(crate) struct OrthogonalizerSettings {
    pub name: Name,
    pub ns_steps: Option<usize>,
    pub ns_dtype: Option<IterationDtype>,
    pub coefficients: Option<Vec<[f64; 3]>>,
}

impl OrthogonalizerSettings {
    /// The orthogonalizer, or the sentence that says which key of `rule` is out of place.
    pub fn read(self, rule: &str) -> Result<Orthogonalizer, String> {
        let (steps, dtype, coefficients) = match self.name {
            Name::Exact => (false, false, false),
            Name::NewtonSchulz => (true, true, false),
            Name::You | Name::PolarExpress => (false, true, false),
            Name::Polynomial => (false, true, true),
        };
        let given = [
            ("ns_steps", steps, self.ns_steps.is_some()),
            ("ns_dtype", dtype, self.ns_dtype.is_some()),
            ("coefficients", coefficients, self.coefficients.is_some()),
        ];
        let polynomial =
            |schedule| Orthogonalizer::Polynomial(OddPolynomial { schedule, dtype: self.ns_dtype.unwrap_or_default() });
        let orthogonalizer = match self.name {
            Name::Exact => Orthogonalizer::Exact,
            Name::NewtonSchulz => Orthogonalizer::NewtonSchulz(NewtonSchulz {
                steps: self.ns_steps.unwrap_or(NewtonSchulz::default().steps),
                dtype: self.ns_dtype.unwrap_or_default(),
            }),
            Name::You => polynomial(PolynomialSchedule::You),
            Name::PolarExpress => polynomial(PolynomialSchedule::PolarExpress),
            Name::Polynomial => match self.coefficients {
                Some(coefficients) => polynomial(PolynomialSchedule::Custom(coefficients)),
                None => {
                    return Err(format!(
                        "{rule}: orthogonalizer = \"polynomial\" needs `coefficients`, one [a, b, c] for each step"
                    ));
                }
            },
        };
        match given.iter().find(|(_, has_meaning, given)| *given && !has_meaning) {
            Some((key, ..)) => Err(format!("{rule}: `{key}` has no meaning with orthogonalizer = \"{}\"", orthogonalizer.name())),
            None => Ok(orthogonalizer),
        }
    }
}

impl From<Orthogonalizer> for OrthogonalizerSettings {
    fn from(orthogonalizer: Orthogonalizer) -> Self {
        let ns_dtype = orthogonalizer.dtype();
        let (name, ns_steps, coefficients) = match orthogonalizer {
            Orthogonalizer::Exact => (Name::Exact, None, None),
            Orthogonalizer::NewtonSchulz(it) => (Name::NewtonSchulz, Some(it.steps), None),
            Orthogonalizer::Polynomial(it) => match it.schedule {
                PolynomialSchedule::You => (Name::You, None, None),
                PolynomialSchedule::PolarExpress => (Name::PolarExpress, None, None),
                PolynomialSchedule::Custom(coefficients) => (Name::Polynomial, None, Some(coefficients)),
            },
        };
        Self { name, ns_steps, ns_dtype, coefficients }
    }
}

impl Orthogonalizer {
    /// Checks the hyperparameters of the orthogonalizer of a rule.
    pub(crate) fn validate(&self, check: &Check) -> Result<()> {
        match self {
            Self::Exact => Ok(()),
            Self::NewtonSchulz(it) => check.that(it.steps >= 1, "ns_steps", it.steps, "at least one step is needed"),
            Self::Polynomial(it) => {
                let coefficients = it.coefficients();
                check.that(!coefficients.is_empty(), "coefficients", "[]", "at least one step is needed")?;
                let finite = coefficients.iter().flatten().all(|x| x.is_finite());
                check.that(finite, "coefficients", format!("{coefficients:?}"), "they must be finite")
            }
        }
    }

    /// Checks that a device can compute in the type chosen.
    pub(crate) fn validate_on(&self, check: &Check, device: &candle_core::Device) -> Result<()> {
        check.that(
            !(self.dtype() == Some(IterationDtype::F64) && device.is_metal()),
            "ns_dtype",
            "f64",
            "Metal devices have no f64; they have tensor, bf16, f16 and f32",
        )
    }
}
