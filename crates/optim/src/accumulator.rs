//! Gradients of several micro-batches for one step.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use crate::elementwise::{ScaledAdd, update2};
use crate::gradients::finite_gradients;
use crate::rules::Check;
use crate::{NamedParam, Result};

/// Collects the gradients of n micro-batches and returns their mean, as if one large batch had been used.
///
/// ```text
/// g = Σᵢ wᵢgᵢ / Σᵢ wᵢ              i = 1, …, n; all wᵢ = 1 with `add`
/// ```
///
/// When the loss is a mean over the examples of a micro-batch and all micro-batches have the same size, g is the gradient
/// of the mean over all examples, up to rounding. When the sizes differ, that holds with the number of examples (for
/// language models: of predicted tokens) as the weight wᵢ; a plain mean of means is another loss. With [`sum`](Self::sum)
/// (Self::sum) the division is left out, for losses that are sums or are divided already.
///
/// A parameter without a gradient in a micro-batch counts as zero there; one without a gradient in all of them has none
/// in the result. Sums are formed in f64 for f64 gradients and in f32 for all others; the result has the type of the
/// parameter. The gradients handed in are not kept: the accumulator owns one buffer per parameter, which is reused,
/// and the result is detached and its own as well.
///
/// Partial sums are not part of a saved state: save when [`pending`](Self::pending) is 0.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use isorate_optim::{Accumulator, GroupRules, NamedParam, Optimizer, Role, RuleConfig, Sgd};
///
/// let w = Var::new(&[1.0_f64, 2.0], &Device::Cpu)?;
/// let params = vec![NamedParam::new("w", Role::Vector, w.clone())];
/// let mut accumulator = Accumulator::mean(&params, 2)?;
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Sgd(Sgd::new(0.5))))?;
/// for x in [[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 2.0]] {
///     let loss = (w.as_tensor() * Tensor::new(&x, &Device::Cpu)?)?.sum_all()?;
///     if let Some(gradients) = accumulator.add(&loss.backward()?)? {
///         optimizer.step(&gradients)?;
///     }
/// }
/// assert_eq!(optimizer.steps(), 2);
/// assert_eq!(w.to_vec1::<f64>()?, [0.25, 1.25]);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct Accumulator {
    params: Vec<Buffer>,
    micro_batches: usize,
    mean: bool,
    pending: usize,
    weight: f64,
}

#[derive(Debug)]
struct Buffer {
    param: NamedParam,
    /// Σ wᵢgᵢ; made with the first gradient.
    sum: Option<Var>,
    /// Whether this round has had a gradient, so that `sum` counts.
    filled: bool,
}

impl Accumulator {
    /// The mean over `micro_batches` micro-batches.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when `micro_batches` is 0.
    pub fn mean(params: &[NamedParam], micro_batches: usize) -> Result<Self> {
        let check = Check { rule: "accumulator" };
        check.that(micro_batches >= 1, "micro_batches", micro_batches, "at least one is needed")?;
        let params = params.iter().map(|param| Buffer { param: param.clone(), sum: None, filled: false }).collect();
        Ok(Self { params, micro_batches, mean: true, pending: 0, weight: 0.0 })
    }

    /// The sum over `micro_batches` micro-batches.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) when `micro_batches` is 0.
    pub fn sum(params: &[NamedParam], micro_batches: usize) -> Result<Self> {
        Ok(Self { mean: false, ..Self::mean(params, micro_batches)? })
    }

    /// Takes in the gradients of one micro-batch. Some with the last of a round; the next one starts a new round.
    ///
    /// # Errors
    /// [`Error::NonFiniteGradient`](crate::Error::NonFiniteGradient) and
    /// [`Error::GradientMismatch`](crate::Error::GradientMismatch) name the parameter; nothing was taken in then.
    pub fn add(&mut self, gradients: &GradStore) -> Result<Option<GradStore>> {
        self.add_weighted(gradients, 1.0)
    }

    /// [`Accumulator::add`] with the weight wᵢ, such as the number of examples.
    ///
    /// # Errors
    /// Also [`Error::Setting`](crate::Error::Setting) when `weight` is not positive and finite.
    pub fn add_weighted(&mut self, gradients: &GradStore, weight: f64) -> Result<Option<GradStore>> {
        let check = Check { rule: "accumulator" };
        check.that(weight.is_finite() && weight > 0.0, "weight", weight, "it must be positive and finite")?;
        // All are checked before the first sum changes.
        let found = finite_gradients(gradients, self.params.iter().map(|buffer| &buffer.param))?;
        for (buffer, gradient) in self.params.iter_mut().zip(found) {
            if let Some(gradient) = gradient {
                buffer.add(&gradient, weight)?;
            }
        }
        self.pending += 1;
        self.weight += weight;
        if self.pending == self.micro_batches { self.finish() } else { Ok(None) }
    }

    /// How many micro-batches the current round has had.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Ends a round early, at the end of an epoch for example, with the mean or sum over the micro-batches it has had.
    /// None when it has had none.
    ///
    /// # Errors
    /// Those of candle, such as a device out of memory.
    pub fn finish(&mut self) -> Result<Option<GradStore>> {
        if self.pending == 0 {
            return Ok(None);
        }
        let scale = if self.mean { 1.0 / self.weight } else { 1.0 };
        let mut gradients = GradStore::default();
        for Buffer { param, sum, filled } in &self.params {
            if let (Some(sum), true) = (sum, filled) {
                let gradient = (sum.as_detached_tensor() * scale)?.to_dtype(param.var.dtype())?;
                gradients.insert(&param.var, gradient);
            }
        }
        self.clear();
        Ok(Some(gradients))
    }

    /// Forgets the current round.
    pub fn clear(&mut self) {
        self.pending = 0;
        self.weight = 0.0;
        for buffer in &mut self.params {
            buffer.filled = false;
        }
    }
}

impl Buffer {
    fn add(&mut self, gradient: &Tensor, weight: f64) -> Result<()> {
        let sum = match &self.sum {
            Some(sum) => sum,
            None => self.sum.insert(Var::zeros(gradient.shape(), gradient.dtype(), gradient.device())?),
        };
        // What an earlier round has left in the buffer is finite, so 0 times it is 0.
        let keep = if self.filled { 1.0 } else { 0.0 };
        update2(&ScaledAdd { keep, scale: weight }, sum, gradient)?;
        self.filled = true;
        Ok(())
    }
}
