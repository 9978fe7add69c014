//! The optimizer: parameters, their rules and the step.

mod saved;
mod together;
#[cfg(test)]
mod untouched;

use std::collections::BTreeSet;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, TensorId, Var};
use isorate_kernels::backward;
use rayon::prelude::*;
use together::Together;

use crate::config::Param;
use crate::elementwise::shares_storage;
use crate::groups::{GroupLine, describe, natural};
use crate::half::{store, working_copy, working_dtype};
use crate::orthogonalize::device_name;
use crate::reduce::first_not_finite;
use crate::rules::Rule;
use crate::{Error, NamedParam, Result, Role, Routing, RoutingProblem, RuleConfig};

/// Updates a list of parameters, each by the rule of its group.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use isorate_optim::{GroupRules, Muon, NamedParam, Optimizer, RuleConfig};
///
/// let weight = Var::new(&[[0.5_f32, -0.3], [0.2, 0.1], [0.0, 0.4]], &Device::Cpu)?;
/// let bias = Var::new(&[0.0_f32, 0.0, 0.0], &Device::Cpu)?;
/// let params = NamedParam::infer_all([("fc1.bias".into(), bias.clone()), ("fc1.weight".into(), weight.clone())]);
/// let groups = GroupRules::hidden_with_adamw(RuleConfig::Muon(Muon::new(0.02)));
/// let mut optimizer = Optimizer::new(params, &groups)?;
///
/// let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu)?;
/// for _ in 0..3 {
///     let loss = x.matmul(&weight.t()?)?.broadcast_add(&bias)?.sqr()?.sum_all()?;
///     optimizer.step(&loss.backward()?)?;
/// }
/// # Ok::<(), isorate_optim::Error>(())
/// ```
///
/// # Half precision
/// Parameters may be bf16 or f16. Their rules work in f32: the weight and the gradient are converted, the state is kept
/// in f32, and once per step the new weight is rounded to the nearest value of its type, ties to even. The gradient may
/// be in the type of the parameter or in f32.
///
/// There is no hidden copy of the weights in f32, so an update smaller than half the distance between neighbouring
/// values is lost: 2⁻⁹ to 2⁻⁸ of the weight in bf16 (0.2 to 0.4 %), 2⁻¹² to 2⁻¹¹ in f16. Small learning rates then stop
/// the training of large weights. Where memory allows, keep the weights in f32 and convert them in the forward pass:
///
/// ```
/// use candle_core::{DType, Device, Tensor, Var};
/// use isorate_optim::{NamedParam, Optimizer, Role, RuleConfig, Routing, Sgd};
///
/// let weight = Var::new(&[[1.0_f32, 1.0]], &Device::Cpu)?;
/// let half = Var::from_tensor(&weight.to_dtype(DType::BF16)?)?;
/// let params = vec![
///     NamedParam::new("half", Role::Matrix, half.clone()),
///     NamedParam::new("weight", Role::Matrix, weight.clone()),
/// ];
/// let mut optimizer = Optimizer::new(params, Routing::uniform(RuleConfig::Sgd(Sgd::new(0.001))))?;
/// for _ in 0..10 {
///     let in_forward_pass = weight.to_dtype(DType::BF16)?;
///     optimizer.backward_step(&(half.sum_all()? + in_forward_pass.sum_all()?)?)?;
/// }
/// assert_eq!(half.to_dtype(DType::F32)?.to_vec2::<f32>()?, [[1.0, 1.0]]);
/// assert!(weight.to_vec2::<f32>()?[0].iter().all(|w| (w - 0.99).abs() < 1e-6));
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct Optimizer {
    /// The parameters that are updated, in the natural order of their names.
    slots: Vec<Slot>,
    /// The others.
    frozen: Vec<Assignment>,
    routing: Routing,
    lr_factor: f64,
    /// One for each group.
    group_lr_factors: Vec<f64>,
    steps: u64,
}

#[derive(Debug)]
struct Slot {
    assignment: Assignment,
    /// The index of its group.
    group: usize,
    var: Var,
    /// The type of the gradients and the state.
    working: DType,
    rule: Box<dyn Rule>,
}

/// Which group and rule a parameter got.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The parameter.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: DType,
    /// Its role.
    pub role: Role,
    /// The name of its group.
    pub group: String,
    /// The group's rule; None when it is frozen.
    pub rule: Option<RuleConfig>,
}

impl Assignment {
    /// The name of the rule in settings, or `frozen`.
    pub fn rule_name(&self) -> &'static str {
        self.rule.as_ref().map_or("frozen", RuleConfig::name)
    }
}

impl Optimizer {
    /// An optimizer with fresh state for parameters divided by a [`Routing`] or by [`GroupRules`](crate::GroupRules).
    /// The order of the list does not matter: parameters are updated and listed in the natural order of their names.
    ///
    /// # Errors
    /// [`Error::Group`] when the rule of a group is not valid; [`Error::Routing`] when groups contradict each other, take
    /// a parameter too few, or have a pattern without a parameter; [`Error::NoParameters`], [`Error::DuplicateName`] and
    /// [`Error::SharedVariable`] for the list as such; [`Error::EmptyParameter`], [`Error::ParameterDtype`] and
    /// [`Error::NotAMatrix`] for a parameter that its rule cannot handle.
    pub fn new(mut params: Vec<NamedParam>, routing: impl Into<Routing>) -> Result<Self> {
        let routing = routing.into();
        routing.validate()?;
        check_list(&params)?;
        params.sort_by(|a, b| natural(&a.name, &b.name));
        let assigned = routing.assign(&params)?;
        let (mut slots, mut frozen) = (Vec::with_capacity(params.len()), Vec::new());
        for (NamedParam { name, role, var }, group) in params.into_iter().zip(assigned) {
            let config = &routing.groups[group];
            let (shape, dtype) = (var.dims().to_vec(), var.dtype());
            let (name_of_group, rule) = (config.name.clone(), config.rule.clone());
            let assignment = Assignment { name, shape, dtype, role, group: name_of_group, rule };
            match &config.rule {
                Some(rule) => slots.push(Slot::new(assignment, group, var, rule)?),
                None => frozen.push(assignment),
            }
        }
        if slots.is_empty() {
            return Err(RoutingProblem::AllFrozen { parameters: frozen.len() }.into());
        }
        let group_lr_factors = vec![1.0; routing.groups.len()];
        Ok(Self { slots, frozen, routing, lr_factor: 1.0, group_lr_factors, steps: 0 })
    }

    /// One step along the gradients of a loss.
    ///
    /// A parameter without a gradient is skipped, together with its state, as in PyTorch and candle: layers may be
    /// unused. All gradients but those of frozen parameters are checked before anything is updated.
    ///
    /// # Errors
    /// [`Error::NoGradients`] when no parameter has a gradient, [`Error::NonFiniteGradient`] when one holds a NaN or an
    /// infinity and [`Error::GradientMismatch`] when one does not fit; all weights and states are then as before.
    /// [`Error::Update`] when the device or a decomposition fails in the middle of the step.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        if self.slots.iter().all(|slot| slot.var.device().is_cpu()) {
            // Once into rayon's pool: from outside every pass would wait until a thread there wakes up.
            rayon::scope(|_| self.step_here(gradients))
        } else {
            self.step_here(gradients)
        }
    }

    fn step_here(&mut self, gradients: &GradStore) -> Result<()> {
        let ready: Vec<Option<Tensor>> = self.slots.iter().map(|slot| slot.checked_gradient(gradients)).collect::<Result<_>>()?;
        if ready.iter().all(Option::is_none) {
            return Err(Error::NoGradients { parameters: self.slots.len() });
        }
        let mut active: Vec<(&mut Slot, Tensor)> =
            self.slots.iter_mut().zip(ready).filter_map(|(slot, gradient)| Some((slot, gradient?))).collect();
        if let Some(index) = first_not_finite(active.iter().map(|(_, gradient)| gradient))? {
            return Err(Error::NonFiniteGradient { name: active[index].0.assignment.name.clone() });
        }
        // candle's CUDA devices have a stream for each thread, and no thread waits for what another one has started: work
        // on such a device must stay on this thread.
        let prepare = |(slot, gradient): &mut (&mut Slot, Tensor)| slot.rule.prepare(gradient).map_err(|e| slot.failed(e));
        active.par_iter_mut().filter(|(slot, _)| slot.var.device().is_cpu()).try_for_each(prepare)?;
        active.iter_mut().filter(|(slot, _)| !slot.var.device().is_cpu()).try_for_each(prepare)?;
        let mut together = Together::default();
        for (slot, gradient) in active {
            let lr_factor = self.lr_factor * self.group_lr_factors[slot.group];
            if slot.rule.orthogonalized().is_some() {
                together.push(slot, gradient, lr_factor)?;
            } else {
                slot.update(|rule, weight| rule.step(weight, &gradient, lr_factor)).map_err(|e| slot.failed(e))?;
            }
        }
        together.finish()?;
        self.steps += 1;
        Ok(())
    }

    /// Backpropagates `loss`, by [`isorate_kernels::backward`], and makes a step.
    ///
    /// # Errors
    /// Those of candle's `backward` and of [`Optimizer::step`].
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        self.step(&backward(loss)?)
    }

    /// Multiplies the learning rate of every rule by `factor` from now on, for schedules. Starts at 1; not cumulative.
    /// Decoupled weight decay follows the learning rate.
    ///
    /// # Errors
    /// [`Error::LrFactor`] when `factor` is negative or not finite.
    pub fn set_lr_factor(&mut self, factor: f64) -> Result<()> {
        self.lr_factor = checked_factor(factor)?;
        Ok(())
    }

    /// The current factor of the learning rates.
    pub fn lr_factor(&self) -> f64 {
        self.lr_factor
    }

    /// The number of steps made, which is also the number, from 0, of the step about to be made. It is part of the saved
    /// state. A step that failed does not count.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Multiplies the learning rate of one group by `factor` from now on, besides the factor of all groups. Starts at
    /// 1; not cumulative; without effect on a frozen group. A factor of 0 stops the updates of a group while its state
    /// goes on averaging gradients.
    ///
    /// # Errors
    /// [`Error::LrFactor`] when `factor` is negative or not finite, [`Error::Routing`] when there is no such group.
    pub fn set_group_lr_factor(&mut self, group: &str, factor: f64) -> Result<()> {
        let index = self.group_index(group)?;
        self.group_lr_factors[index] = checked_factor(factor)?;
        Ok(())
    }

    /// The rule of the parameter with this index.
    pub(crate) fn rule(&self, index: usize) -> &dyn Rule {
        &*self.slots[index].rule
    }

    /// Replaces the rule of the parameter with this index by one of the same kind with another state.
    pub(crate) fn set_rule(&mut self, index: usize, rule: Box<dyn Rule>) {
        self.slots[index].rule = rule;
    }

    /// The current factor of one group, without that of all groups.
    ///
    /// # Errors
    /// [`Error::Routing`] when there is no such group.
    pub fn group_lr_factor(&self, group: &str) -> Result<f64> {
        Ok(self.group_lr_factors[self.group_index(group)?])
    }

    fn group_index(&self, group: &str) -> Result<usize> {
        self.routing.groups.iter().position(|g| g.name == group).ok_or_else(|| {
            let groups = self.routing.groups.iter().map(|group| group.name.clone()).collect();
            RoutingProblem::UnknownGroup { name: group.to_owned(), groups }.into()
        })
    }

    /// The groups.
    pub fn routing(&self) -> &Routing {
        &self.routing
    }

    /// Each parameter with its group and rule, in the natural order of their names, the frozen ones last.
    pub fn assignments(&self) -> impl Iterator<Item = &Assignment> {
        self.slots.iter().map(|slot| &slot.assignment).chain(&self.frozen)
    }

    /// What went where, as two tables: the groups with their rules, learning rates (and their factors, when they are not
    /// 1), weight decays, and the number of their parameters and elements; and the parameters with their groups. Where
    /// a rule sees filters as a matrix, that follows the shape. [`Routing`] shows an example.
    pub fn describe(&self) -> String {
        let line = |(group, &factor)| GroupLine { group, lr_factor: self.lr_factor * factor };
        let groups: Vec<_> = self.routing.groups.iter().zip(&self.group_lr_factors).map(line).collect();
        describe(&groups, &self.assignments().collect::<Vec<_>>())
    }
}

/// An error for an empty list, and for a name or a variable that appears twice.
fn check_list(params: &[NamedParam]) -> Result<()> {
    if params.is_empty() {
        return Err(Error::NoParameters);
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut variables: Vec<(TensorId, &str)> = Vec::with_capacity(params.len());
    for NamedParam { name, var, .. } in params {
        if !names.insert(name) {
            return Err(Error::DuplicateName(name.clone()));
        }
        if let Some((_, first)) = variables.iter().find(|(id, _)| *id == var.id()) {
            return Err(Error::SharedVariable { first: (*first).to_owned(), second: name.clone() });
        }
        variables.push((var.id(), name));
    }
    Ok(())
}

fn checked_factor(factor: f64) -> Result<f64> {
    if factor.is_finite() && factor >= 0.0 { Ok(factor) } else { Err(Error::LrFactor(factor)) }
}

impl Slot {
    fn new(assignment: Assignment, group: usize, var: Var, rule: &RuleConfig) -> Result<Self> {
        let Assignment { name, shape, dtype, role, group: group_name, .. } = &assignment;
        if var.elem_count() == 0 {
            return Err(Error::EmptyParameter { name: name.clone(), shape: shape.clone() });
        }
        if *dtype == DType::F64 && var.device().is_metal() {
            return Err(Error::NoF64OnMetal { name: name.clone() });
        }
        let working = working_dtype(*dtype).ok_or_else(|| Error::ParameterDtype { name: name.clone(), dtype: *dtype })?;
        let rule = rule.build(&Param { name, role: *role, group: group_name, var: &working_copy(&var, working)? })?;
        Ok(Self { assignment, group, var, working, rule })
    }

    /// Lets the rule change the weight, in its working type.
    fn update(&mut self, change: impl FnOnce(&mut dyn Rule, &Var) -> Result<()>) -> Result<()> {
        let weight = working_copy(&self.var, self.working)?;
        change(self.rule.as_mut(), &weight)?;
        store(&self.var, &weight)
    }

    fn failed(&self, problem: Error) -> Error {
        Error::Update { name: self.assignment.name.clone(), rule: self.assignment.rule_name(), problem: Box::new(problem) }
    }

    /// The gradient in the form that rules expect, except that it may not be finite, or None when there is none.
    fn checked_gradient(&self, gradients: &GradStore) -> Result<Option<Tensor>> {
        let Some(gradient) = gradients.get(&self.var) else {
            return Ok(None);
        };
        let known_type = gradient.dtype() == self.var.dtype() || gradient.dtype() == self.working;
        if gradient.shape() != self.var.shape() || !known_type {
            return Err(Error::GradientMismatch {
                name: self.assignment.name.clone(),
                dtype: gradient.dtype(),
                shape: gradient.dims().to_vec(),
                expected_dtype: self.var.dtype(),
                expected_shape: self.var.dims().to_vec(),
            });
        }
        if !gradient.device().same_device(self.var.device()) {
            return Err(Error::GradientDevice {
                name: self.assignment.name.clone(),
                device: device_name(gradient.device()),
                expected: device_name(self.var.device()),
            });
        }
        // The gradient of a plain sum is a broadcast scalar; that of ½‖W‖², entered by hand, may be W itself.
        let mut gradient = gradient.detach().to_dtype(self.working)?.contiguous()?;
        if shares_storage(&gradient, &self.var) {
            gradient = gradient.copy()?;
        }
        Ok(Some(gradient))
    }
}
