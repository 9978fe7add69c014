//! The update rules: each file has a rule's closed form next to the step that its simulation takes.

pub(crate) mod deep_gd;
pub(crate) mod deep_ngd;
pub(crate) mod gd;
pub(crate) mod muon;
pub(crate) mod newton_schulz;
pub(crate) mod ngd;
pub(crate) mod power;
pub(crate) mod shampoo;
pub(crate) mod signgd;
pub(crate) mod specgd;

use faer::{Mat, MatMut};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::SpectralMap;
use crate::network::Network;
use crate::newton_schulz::NewtonSchulz;
use crate::shampoo::Shampoo;

pub(crate) use shampoo::Preconditioner;

/// An update rule W ← W − η Δ(∇). GD, NGD, `SignGD` and `SpecGD` are steepest descent; the last three are normalized under
/// the Frobenius, the max and the spectral norm (arXiv 2510.22980, the section on update rules).
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// Gradient descent, Δ = ∇.
    Gd,
    /// Normalized gradient descent, Δ = ∇/‖∇‖_F (per layer in a deep model).
    Ngd,
    /// Spectral gradient descent, Δ = U Vᵀ of the truncated singular value decomposition ∇ = U Σ Vᵀ.
    SpecGd,
    /// Sign descent, Δ = sign ∇ entry by entry.
    SignGd,
    /// Δ = U Σ^p Vᵀ: GD at p = 1, `SpecGD` at p = 0 (a family of this project, not of the paper).
    Power {
        /// p, from 0 to 1.
        exponent: f64,
    },
    /// Δ = U Vᵀ of the momentum M ← β M + (1 − β) ∇, M₀ = 0, with the exact polar factor; `SpecGD` at β = 0.
    Muon {
        /// β, from 0 up to but not including 1.
        momentum: f64,
    },
    /// Muon as it is used: Newton–Schulz steps on M/‖M‖_F in place of the polar factor of the momentum M ← β M + (1 − β) ∇, M₀ = 0.
    NewtonSchulz {
        /// The steps and their response φ.
        response: NewtonSchulz,
        /// β, from 0 up to but not including 1.
        momentum: f64,
    },
    /// Δ = L^{−1/4} ∇ R^{−1/4} with accumulated L of ∇ ∇ᵀ and R of ∇ᵀ ∇.
    Shampoo(Shampoo),
}

impl Rule {
    /// The names that [`Rule::from_options`] knows.
    pub const NAMES: [&'static str; 6] = ["gd", "ngd", "specgd", "signgd", "power", "muon"];

    /// The rule called `name`, with the options that it needs: `power` takes p in `power`, `muon` takes β in `momentum`; the
    /// other rules take neither.
    ///
    /// ```
    /// use isorate_theory::Rule;
    /// assert_eq!(Rule::from_options("muon", None, Some(0.9))?, Rule::Muon { momentum: 0.9 });
    /// assert!(Rule::from_options("power", None, None).is_err());
    /// # Ok::<(), isorate_theory::Error>(())
    /// ```
    pub fn from_options(name: &str, power: Option<f64>, momentum: Option<f64>) -> Result<Self> {
        let rule = match name {
            "gd" => Self::Gd,
            "ngd" => Self::Ngd,
            "specgd" => Self::SpecGd,
            "signgd" => Self::SignGd,
            "power" => Self::Power { exponent: required("power", power)? },
            "muon" => Self::Muon { momentum: required("momentum", momentum)? },
            _ => {
                return Err(Error::setting("rule", name, "unknown rule", format!("the rules are {}", Self::NAMES.join(", "))));
            }
        };
        for (setting, value, owner) in [("power", power, "power"), ("momentum", momentum, "muon")] {
            if let Some(value) = value
                && name != owner
            {
                return Err(Error::setting(
                    setting,
                    value,
                    format!("the rule {name} has no {setting}"),
                    format!("leave it out, or use the rule {owner}"),
                ));
            }
        }
        rule.check()?;
        Ok(rule)
    }

    /// Fails if a parameter of the rule is outside its domain.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Power { exponent } if !(0.0..=1.0).contains(&exponent) => Err(Error::setting(
                "power",
                exponent,
                "the exponent p of the singular values must be from 0 to 1",
                "0 is SpecGD, 1 is GD",
            )),
            Self::Muon { momentum } | Self::NewtonSchulz { momentum, .. } if !(0.0..1.0).contains(&momentum) => {
                Err(Error::setting(
                    "momentum",
                    momentum,
                    "must be at least 0 and less than 1",
                    "0 is SpecGD, 0.9 and 0.95 are common",
                ))
            }
            Self::Shampoo(shampoo) => shampoo.check(),
            _ => Ok(()),
        }
    }

    /// The rule's name, as in [`Rule::NAMES`] for those that are there.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gd => "gd",
            Self::Ngd => "ngd",
            Self::SpecGd => "specgd",
            Self::SignGd => "signgd",
            Self::Power { .. } => "power",
            Self::Muon { .. } => "muon",
            Self::NewtonSchulz { .. } => "newton-schulz",
            Self::Shampoo(_) => "shampoo",
        }
    }

    /// α at each time (rows in the order of `times`) of the continuous-time flow.
    pub(crate) fn closed_form(self, c: &Components, network: &Network, times: &[f64]) -> Result<Vec<Vec<f64>>> {
        match self {
            Self::Gd => gd::closed_form(c, network, times),
            Self::Ngd => ngd::closed_form(c, network, times),
            Self::SpecGd => Ok(specgd::closed_form(c, network, times)),
            Self::SignGd => signgd::closed_form(),
            Self::Power { exponent } => power::closed_form(exponent, c, network, times),
            Self::Muon { momentum } => muon::closed_form(momentum, c, network, times),
            Self::NewtonSchulz { response, momentum } => newton_schulz::closed_form(response, momentum, c, network, times),
            Self::Shampoo(_) => shampoo::closed_form(),
        }
    }

    /// Δ in the components at step `step` (0 for the first): the direction for the aligned gradient `gradient`, of which entries up
    /// to `floor` are noise. `state` is what the rule keeps for each component: the momentum, or Shampoo's statistics.
    pub(crate) fn scalar_direction(self, gradient: &[f64], floor: f64, step: usize, state: &mut [f64], out: &mut [f64]) {
        match self {
            Self::Gd => out.copy_from_slice(gradient),
            Self::Ngd => ngd::scalar_direction(gradient, floor, out),
            // In the canonical basis the gradient is diagonal and its sign is its polar factor.
            Self::SpecGd | Self::SignGd => specgd::scalar_direction(gradient, floor, out),
            Self::Power { exponent } => power::scalar_direction(exponent, gradient, floor, out),
            Self::Muon { momentum: beta } => {
                muon::average(beta, gradient, state);
                specgd::scalar_direction(state, floor, out);
            }
            Self::NewtonSchulz { response, momentum: beta } => {
                muon::average(beta, gradient, state);
                newton_schulz::scalar_direction(response, state, floor, out);
            }
            Self::Shampoo(shampoo) => shampoo::scalar_direction(shampoo, gradient, step, state, out),
        }
    }

    /// Δ for a gradient matrix whose own rounding noise is at most `floor` in norm.
    pub(crate) fn matrix_direction(
        self,
        gradient: &Mat<f64>,
        floor: f64,
        momentum: &mut Mat<f64>,
        preconditioner: &mut Preconditioner,
        map: &mut SpectralMap,
        mut out: MatMut<'_, f64>,
    ) -> Result<()> {
        match self {
            Self::Gd => {
                out.copy_from(gradient);
                Ok(())
            }
            Self::Ngd => {
                ngd::matrix_direction(gradient, floor, out);
                Ok(())
            }
            Self::SpecGd => map.apply(gradient.as_ref(), floor, |_| 1.0, out),
            Self::SignGd => {
                signgd::matrix_direction(gradient, floor, out);
                Ok(())
            }
            Self::Power { exponent } => map.apply(gradient.as_ref(), floor, |sigma| sigma.powf(exponent), out),
            Self::Muon { momentum: beta } => {
                muon::average_matrix(beta, gradient, momentum);
                map.apply(momentum.as_ref(), floor, |_| 1.0, out)
            }
            Self::NewtonSchulz { response, momentum: beta } => {
                muon::average_matrix(beta, gradient, momentum);
                newton_schulz::matrix_direction(response.steps(), momentum, floor, out);
                Ok(())
            }
            Self::Shampoo(shampoo) => preconditioner.direction(shampoo, gradient, out),
        }
    }
}

fn required(setting: &str, value: Option<f64>) -> Result<f64> {
    value.ok_or_else(|| {
        Error::setting(
            setting,
            format_args!("nothing"),
            format!("the rule needs a value for {setting}"),
            if setting == "power" { "give --power P with P from 0 to 1" } else { "give --momentum B, such as 0.9" },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for name in Rule::NAMES {
            let rule =
                Rule::from_options(name, (name == "power").then_some(0.5), (name == "muon").then_some(0.9)).expect("valid");
            assert_eq!(rule.name(), name);
        }
    }

    #[test]
    fn wrong_options_are_errors() {
        for (name, power, momentum) in [
            ("adam", None, None),
            ("gd", Some(0.5), None),
            ("specgd", None, Some(0.9)),
            ("power", None, None),
            ("power", Some(1.5), None),
            ("power", Some(f64::NAN), None),
            ("muon", None, Some(1.0)),
            ("muon", None, Some(-0.1)),
        ] {
            let error = Rule::from_options(name, power, momentum).expect_err("must be rejected").to_string();
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
