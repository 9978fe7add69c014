//! The update rules, one file each: its hyperparameters (public) and its state for one parameter (private).

mod adam;
mod adamw;
mod dion;
mod muon;
mod nmd;
mod power;
mod scion;
mod sgd;
mod shampoo;
mod signum;
mod soap;
mod specgd;

use candle_core::{Tensor, Var};

use crate::elementwise::{ScaledAdd, update2, updated2};
use crate::several::{NesterovUpdate, update_all};
use crate::state::{State, StateProblem};
use crate::{Error, Orthogonalizer, Result};

pub use adam::Adam;
pub use adamw::AdamW;
pub use dion::{Dion, Rank};
pub use muon::{Muon, Scale};
pub use nmd::Nmd;
pub use power::Power;
pub use scion::{Scion, ScionNorm};
pub use sgd::Sgd;
pub use shampoo::{Graft, Shampoo};
pub use signum::Signum;
pub use soap::Soap;
pub use specgd::SpecGd;

/// A rule with its state for one parameter.
///
/// `gradient` has the shape, type and device of `weight`, is f32 or f64, contiguous, finite, and does not share memory
/// with it.
pub(crate) trait Rule: std::fmt::Debug + Send + Sync {
    /// One update of `weight`, with the learning rate multiplied by `lr_factor`.
    fn step(&mut self, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()>;

    /// Work for the coming [`Rule::step`] with the same gradient that all parameters do at the same time, such as
    /// decompositions.
    fn prepare(&mut self, _gradient: &Tensor) -> Result<()> {
        Ok(())
    }

    /// The parts of a step that is an orthogonalization with something before and after it, so that matrices of equal
    /// shape are orthogonalized together.
    fn orthogonalized(&mut self) -> Option<&mut dyn Orthogonalized> {
        None
    }

    /// What the rule remembers between steps.
    fn state(&self) -> State;

    /// The same rule with a state from elsewhere, which must have everything that [`Rule::state`] writes; `self` stays
    /// as it is.
    fn restored(&self, state: &mut State) -> Result<Box<dyn Rule>>;
}

/// A rule whose step is an orthogonalization with something before and after it.
pub(crate) trait Orthogonalized {
    /// How.
    fn orthogonalizer(&self) -> &Orthogonalizer;

    /// The matrix [r, c] to orthogonalize, after taking in the gradient.
    fn direction(&mut self, gradient: &Tensor) -> Result<Tensor>;

    /// The update of `weight` by the result, [r, c].
    fn update(&mut self, weight: &Var, orthogonal: &Tensor, lr_factor: f64) -> Result<()>;
}

/// [`Rule::step`] of such a rule alone.
fn orthogonalized_step(rule: &mut impl Orthogonalized, weight: &Var, gradient: &Tensor, lr_factor: f64) -> Result<()> {
    let direction = rule.direction(gradient)?;
    let orthogonal = rule.orthogonalizer().apply(&direction)?;
    rule.update(weight, &orthogonal, lr_factor)
}

/// The average M ← βM + (1 − β)g with M₀ = 0. For β = 0 it is the gradient, and nothing is stored.
#[derive(Debug)]
pub(crate) struct Momentum {
    beta: f64,
    average: Option<Var>,
}

impl Momentum {
    pub fn new(beta: f64, weight: &Var) -> Result<Self> {
        let average = if beta == 0.0 { None } else { Some(zeros(weight)?) };
        Ok(Self { beta, average })
    }

    pub fn state(&self) -> State {
        State::new().tensor_if_any("momentum", self.average.as_deref())
    }

    pub fn restored(&self, state: &mut State) -> Result<Self> {
        let average = self.average.as_ref().map(|average| state.take_like("momentum", average)).transpose()?;
        Ok(Self { average, ..*self })
    }

    /// What M will be after taking the gradient in.
    pub fn ahead(&self, gradient: &Tensor) -> Result<Tensor> {
        match &self.average {
            None => Ok(gradient.clone()),
            Some(average) => updated2(&ScaledAdd { keep: self.beta, scale: 1.0 - self.beta }, average, gradient),
        }
    }

    /// Takes the gradient in and returns (1 − β)g + βM, a tensor of its own.
    pub fn update_looking_ahead(&mut self, gradient: &Tensor) -> Result<Tensor> {
        match &self.average {
            None => Ok(gradient.clone()),
            Some(average) => {
                let ahead = zeros(average)?;
                let update = NesterovUpdate(ScaledAdd { keep: self.beta, scale: 1.0 - self.beta });
                update_all(&update, [average, &ahead], gradient)?;
                Ok(ahead.as_detached_tensor())
            }
        }
    }

    /// Takes the gradient in and returns M.
    pub fn update<'a>(&'a mut self, gradient: &'a Tensor) -> Result<&'a Tensor> {
        match &self.average {
            None => Ok(gradient),
            Some(average) => {
                update2(&ScaledAdd { keep: self.beta, scale: 1.0 - self.beta }, average, gradient)?;
                Ok(average.as_tensor())
            }
        }
    }
}

/// A state of zeros like `weight`.
pub(crate) fn zeros(weight: &Var) -> Result<Var> {
    Ok(Var::zeros(weight.shape(), weight.dtype(), weight.device())?)
}

/// Takes a count out of a state.
fn take_count(state: &mut State, name: &str) -> Result<usize> {
    let number = state.take_number(name)?;
    // Beyond 2⁵³ not every count is a number, and none is reached.
    if number >= 0.0 && number.fract() == 0.0 && number <= (1_u64 << 53) as f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number within the range")]
        return Ok(number as usize);
    }
    Err(StateProblem::Kind { name: name.to_owned(), expected: "a count" }.into())
}

/// The matrix [r, c] that a rule for matrices sees: the first dimension, and all others together. None for scalars and
/// vectors.
pub(crate) fn matrix_shape(shape: &[usize]) -> Option<(usize, usize)> {
    match shape {
        [] | [_] => None,
        [rows, rest @ ..] => Some((*rows, rest.iter().product())),
    }
}

/// Whether a setting that came later, such as `weight_decay`, is left out: settings from before it keep their text.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Checks of single hyperparameters, shared by the rules.
pub(crate) struct Check {
    pub rule: &'static str,
}

impl Check {
    pub fn that(
        &self,
        holds: bool,
        setting: &'static str,
        value: impl std::fmt::Display,
        requirement: &'static str,
    ) -> Result<()> {
        if holds { Ok(()) } else { Err(Error::Setting { rule: self.rule, setting, value: value.to_string(), requirement }) }
    }

    pub fn lr(&self, lr: f64) -> Result<()> {
        self.that(lr.is_finite() && lr > 0.0, "lr", lr, "a learning rate must be positive and finite")
    }

    pub fn decay_rate(&self, setting: &'static str, beta: f64) -> Result<()> {
        self.that((0.0..1.0).contains(&beta), setting, beta, "it must lie in [0, 1)")
    }

    pub fn not_negative(&self, setting: &'static str, value: f64) -> Result<()> {
        self.that(value.is_finite() && value >= 0.0, setting, value, "it must be finite and not negative")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Hyper, Param};
    use crate::{Graft, Role, Shampoo, Soap};
    use candle_core::Device;

    fn sample(seed: f64) -> Tensor {
        let values: Vec<f64> = (0..35).map(|i| (seed + f64::from(i) * 1.618).sin()).collect();
        Tensor::from_vec(values, (5, 7), &Device::Cpu).unwrap()
    }

    fn step(rule: &mut dyn Rule, weight: &Var, seed: f64) {
        rule.prepare(&sample(seed)).unwrap();
        rule.step(weight, &sample(seed), 1.0).unwrap();
    }

    fn values(weight: &Var) -> Vec<Vec<f64>> {
        weight.to_vec2().unwrap()
    }

    fn check_resume(settings: &impl Hyper) {
        let weight = Var::from_tensor(&sample(0.0)).unwrap();
        let build = || settings.build(&Param { name: "w", group: "matrix", role: Role::Matrix, var: &weight }).unwrap();
        let mut rule = build();
        for k in 0..7 {
            // A new rule takes the state of this one; later steps of this one do not reach it.
            let mut state = rule.state();
            let mut resumed = build().restored(&mut state).unwrap();
            state.finish().unwrap();
            let copy = Var::from_tensor(&weight.as_tensor().copy().unwrap()).unwrap();
            let mut ahead = rule.restored(&mut rule.state()).unwrap();
            let elsewhere = Var::from_tensor(&weight.as_tensor().copy().unwrap()).unwrap();
            for later in 0..3 {
                step(&mut *ahead, &elsewhere, 20.0 + f64::from(later));
                step(&mut *resumed, &copy, 10.0 + f64::from(k) + f64::from(later));
            }
            let unbroken = Var::from_tensor(&weight.as_tensor().copy().unwrap()).unwrap();
            let mut reference = rule.restored(&mut rule.state()).unwrap();
            for later in 0..3 {
                step(&mut *reference, &unbroken, 10.0 + f64::from(k) + f64::from(later));
            }
            step(&mut *rule, &weight, 10.0 + f64::from(k));
            assert_eq!(values(&copy), values(&unbroken), "step {k}");
        }
    }

    #[test]
    fn shampoo_and_soap_resume_bit_by_bit_between_their_roots() {
        let shampoo = Shampoo { eps: 1e-6, precondition_every: 3, start_step: Some(2), max_dim: 4, ..Shampoo::new(0.1) };
        check_resume(&shampoo);
        check_resume(&Shampoo { beta1: 0.0, beta2: 0.9, graft: Graft::adam(), ..shampoo });
        check_resume(&Soap { precondition_every: 3, ..Soap::new(0.1) });
        check_resume(&Soap { precondition_every: 2, max_precond_dim: 5, ..Soap::new(0.1) });
    }

    #[test]
    fn states_with_parts_missing_or_wrong_are_refused() {
        let weight = Var::from_tensor(&sample(0.0)).unwrap();
        let param = Param { name: "w", group: "matrix", role: Role::Matrix, var: &weight };
        for mut rule in [Shampoo::new(0.1).build(&param).unwrap(), Soap::new(0.1).build(&param).unwrap()] {
            step(&mut *rule, &weight, 1.0);
            let whole = rule.state();
            for (name, _) in whole.iter() {
                let without =
                    whole.iter().filter(|(other, _)| *other != name).fold(State::new(), |state, (other, value)| match value {
                        crate::state::Value::Tensor(tensor) => state.tensor(other, tensor),
                        crate::state::Value::Number(number) => state.number(other, *number),
                    });
                let message = rule.restored(&mut without.clone()).unwrap_err().to_string();
                assert!(message.contains(&format!("`{name}` is missing")), "{message}");
                let wrong = without.tensor(name, &sample(1.0).narrow(0, 0, 2).unwrap());
                let message = rule.restored(&mut wrong.clone()).unwrap_err().to_string();
                assert!(message.contains(&format!("`{name}`")), "{message}");
            }
        }
        for bad in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
            let mut state = State::new().number("steps", bad);
            assert!(take_count(&mut state, "steps").unwrap_err().to_string().contains("`steps` must be a count"));
        }
    }
}
