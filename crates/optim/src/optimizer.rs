//! The optimizer: parameters, their rules and the step.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor, TensorId, Var};
use rayon::prelude::*;

use crate::config::Param;
use crate::elementwise::shares_storage;
use crate::orthogonalize::device_name;
use crate::reduce::first_not_finite;
use crate::rules::Rule;
use crate::{Error, GroupRules, NamedParam, Orthogonalizer, Result, Role, RuleConfig};

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
#[derive(Debug)]
pub struct Optimizer {
    slots: Vec<Slot>,
    lr_factor: f64,
}

#[derive(Debug)]
struct Slot {
    assignment: Assignment,
    var: Var,
    rule: Box<dyn Rule>,
}

/// Which rule a parameter got.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The parameter.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its group.
    pub role: Role,
    /// The group's rule.
    pub rule: RuleConfig,
}

impl Optimizer {
    /// An optimizer with fresh state. Parameters are updated in the order given; it does not influence the result.
    ///
    /// # Errors
    /// When a rule is not valid, the list is empty, a name or a variable appears twice, a parameter is empty or neither
    /// f32 nor f64, or the rule of its group cannot handle its shape.
    pub fn new(params: Vec<NamedParam>, groups: &GroupRules) -> Result<Self> {
        groups.validate()?;
        if params.is_empty() {
            return Err(Error::NoParameters);
        }
        let mut names: BTreeSet<String> = BTreeSet::new();
        let mut variables: Vec<(TensorId, String)> = Vec::with_capacity(params.len());
        let mut slots = Vec::with_capacity(params.len());
        for NamedParam { name, role, var } in params {
            if !names.insert(name.clone()) {
                return Err(Error::DuplicateName(name));
            }
            if let Some((_, first)) = variables.iter().find(|(id, _)| *id == var.id()) {
                return Err(Error::SharedVariable { first: first.clone(), second: name });
            }
            variables.push((var.id(), name.clone()));
            let shape = var.dims().to_vec();
            if var.elem_count() == 0 {
                return Err(Error::EmptyParameter { name, shape });
            }
            if !matches!(var.dtype(), DType::F32 | DType::F64) {
                return Err(Error::ParameterDtype { name, dtype: var.dtype() });
            }
            if var.dtype() == DType::F64 && var.device().is_metal() {
                return Err(Error::NoF64OnMetal { name });
            }
            let config = groups.get(role).clone();
            let rule = config.build(&Param { name: &name, role, var: &var })?;
            slots.push(Slot { assignment: Assignment { name, shape, role, rule: config }, var, rule });
        }
        Ok(Self { slots, lr_factor: 1.0 })
    }

    /// One step along the gradients of a loss.
    ///
    /// A parameter without a gradient is skipped, together with its state, as in PyTorch and candle: layers may be
    /// frozen or unused. All gradients are checked before anything is updated.
    ///
    /// # Errors
    /// [`Error::NoGradients`] when no parameter has a gradient, [`Error::NonFiniteGradient`] when one holds a NaN or an
    /// infinity and [`Error::GradientMismatch`] when one does not fit; all weights and states are then as before.
    /// [`Error::Update`] when the device or a decomposition fails in the middle of the step.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
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
        let mut together = Together::new(self.lr_factor);
        for (slot, gradient) in active {
            if slot.rule.orthogonalized().is_some() {
                together.push(slot, gradient)?;
            } else {
                slot.rule.step(&slot.var, &gradient, self.lr_factor).map_err(|e| slot.failed(e))?;
            }
        }
        together.finish()
    }

    /// Backpropagates `loss` and makes a step.
    ///
    /// # Errors
    /// Those of candle's `backward` and of [`Optimizer::step`].
    pub fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        self.step(&loss.backward()?)
    }

    /// Multiplies the learning rate of every rule by `factor` from now on, for schedules. Starts at 1; not cumulative.
    /// Decoupled weight decay follows the learning rate.
    ///
    /// # Errors
    /// [`Error::LrFactor`] when `factor` is negative or not finite.
    pub fn set_lr_factor(&mut self, factor: f64) -> Result<()> {
        if !(factor.is_finite() && factor >= 0.0) {
            return Err(Error::LrFactor(factor));
        }
        self.lr_factor = factor;
        Ok(())
    }

    /// The current factor of the learning rates.
    pub fn lr_factor(&self) -> f64 {
        self.lr_factor
    }

    /// Each parameter with its rule, in the order of the updates.
    pub fn assignments(&self) -> impl ExactSizeIterator<Item = &Assignment> {
        self.slots.iter().map(|slot| &slot.assignment)
    }

    /// A table of the parameters, one line each: role, rule, name, shape.
    pub fn describe(&self) -> String {
        let width = self.assignments().map(|a| a.name.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for a in self.assignments() {
            let (role, rule) = (a.role, a.rule.name());
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{role:<9}  {rule:<6}  {:<width$}  {:?}", a.name, a.shape);
        }
        text
    }
}

/// Parameters whose directions are orthogonalized together, in their order: small matrices go to different threads, and
/// equal shapes on a device into one stack. On the CPU the bits are those of [`Rule::step`] one by one.
struct Together<'a> {
    waiting: Vec<(&'a mut Slot, Tensor)>,
    bytes: usize,
    lr_factor: f64,
}

/// Bytes of gradients, and so of directions and of results, that wait at a time.
const TOGETHER: usize = 64 << 20;

impl<'a> Together<'a> {
    fn new(lr_factor: f64) -> Self {
        Self { waiting: Vec::new(), bytes: 0, lr_factor }
    }

    fn push(&mut self, slot: &'a mut Slot, gradient: Tensor) -> Result<()> {
        let bytes = gradient.elem_count() * gradient.dtype().size_in_bytes();
        let fits = self.waiting.first_mut().is_none_or(|(first, _)| {
            self.bytes + bytes <= TOGETHER && orthogonalizer(&mut *first.rule) == orthogonalizer(&mut *slot.rule)
        });
        if !fits {
            self.update()?;
        }
        self.bytes += bytes;
        self.waiting.push((slot, gradient));
        Ok(())
    }

    fn update(&mut self) -> Result<()> {
        self.bytes = 0;
        let mut waiting = std::mem::take(&mut self.waiting);
        let Some(how) = waiting.first_mut().and_then(|(slot, _)| orthogonalizer(&mut *slot.rule)) else {
            return Ok(());
        };
        let how = how.clone();
        let mut directions = Vec::with_capacity(waiting.len());
        for (slot, gradient) in &mut waiting {
            if let Some(rule) = slot.rule.orthogonalized() {
                directions.push(rule.direction(gradient).map_err(|e| slot.failed(e))?);
            }
        }
        let results = how.apply_each(&directions);
        drop(directions);
        for ((slot, _), result) in waiting.into_iter().zip(results) {
            if let Some(rule) = slot.rule.orthogonalized() {
                result
                    .and_then(|orthogonal| rule.update(&slot.var, &orthogonal, self.lr_factor))
                    .map_err(|e| slot.failed(e))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.update()
    }
}

fn orthogonalizer(rule: &mut dyn Rule) -> Option<&Orthogonalizer> {
    rule.orthogonalized().map(|rule| rule.orthogonalizer())
}

impl Slot {
    fn failed(&self, problem: Error) -> Error {
        Error::Update { name: self.assignment.name.clone(), rule: self.assignment.rule.name(), problem: Box::new(problem) }
    }

    /// The gradient in the form that rules expect, except that it may not be finite, or None when there is none.
    fn checked_gradient(&self, gradients: &GradStore) -> Result<Option<Tensor>> {
        let Some(gradient) = gradients.get(&self.var) else {
            return Ok(None);
        };
        if gradient.shape() != self.var.shape() || gradient.dtype() != self.var.dtype() {
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
        let mut gradient = gradient.detach().contiguous()?;
        if shares_storage(&gradient, &self.var) {
            gradient = gradient.copy()?;
        }
        Ok(Some(gradient))
    }
}
