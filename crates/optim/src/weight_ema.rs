//! Exponential moving average of the weights.

use candle_core::{DType, Tensor, Var};

use crate::elementwise::{Real, Update2, update2};
use crate::gradients::accumulation_dtype;
use crate::rules::Check;
use crate::{Error, NamedParam, Result};

/// An exponential moving average of the weights, for evaluation.
///
/// ```text
/// A ← A + (1 − d)·(W − A)          = dA + (1 − d)W; A₀ is W when the average is made
/// ```
///
/// One update follows each optimizer step. With [`with_warmup`](Self::with_warmup) the decay of update t = 0, 1, … is
///
/// ```text
/// d_t = min(d, (1 + t)/(10 + t))
/// ```
///
/// so that the first weights are forgotten quickly. Without it A₀ keeps the share dᵗ, e⁻¹ after 1/(1 − d) updates. Since A
/// starts at the weights and not at zero, no bias correction is needed.
///
/// Averages of f64 weights are f64, all others f32, on the device of the weights: one tensor per parameter. In f32 a
/// relative difference between W and A under about 6e-8/(1 − d) is lost to rounding; averages of f16 and bf16 weights are
/// rounded when they are put in place.
///
/// The tensors of `params` are averaged and nothing else. The running statistics of batch normalization are not
/// parameters of an optimizer; when their averages are wanted, list them too.
///
/// Sources: B. Polyak, A. Juditsky, 1992; the warm-up is that of `tf.train.ExponentialMovingAverage(decay,
/// num_updates)`. `torch.optim.swa_utils.AveragedModel` with `get_ema_multi_avg_fn(d)` has the same equation without
/// warm-up, but its first update copies the weights instead of averaging.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{NamedParam, Role, WeightEma};
///
/// let w = Var::new(&[1.0_f64], &Device::Cpu)?;
/// let params = [NamedParam::new("w", Role::Vector, w.clone())];
/// let mut ema = WeightEma::new(&params, 0.75)?;
/// w.set(&w.affine(1.0, 4.0)?)?; // a step
/// ema.update()?;
/// ema.apply()?;
/// assert_eq!(w.to_vec1::<f64>()?, [2.0]); // evaluate with the averages here
/// ema.restore()?;
/// assert_eq!(w.to_vec1::<f64>()?, [5.0]);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct WeightEma {
    pub(crate) decay: f64,
    pub(crate) warmup: bool,
    pub(crate) updates: u64,
    pub(crate) averages: Vec<Entry>,
    /// The weights, while the averages are in their place.
    weights: Option<Vec<Tensor>>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub name: String,
    pub var: Var,
    pub average: Var,
}

/// y ← y + share·(x − y)
struct Towards {
    share: f64,
}

impl Update2 for Towards {
    fn element<T: Real>(&self, y: T, x: T) -> T {
        y + T::from_f64(self.share) * (x - y)
    }
    fn composed(&self, y: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        y + ((x - y)? * self.share)?
    }
}

impl WeightEma {
    /// An average that starts at the weights, with a constant decay d in [0, 1).
    ///
    /// # Errors
    /// [`Error::Setting`] for a decay outside [0, 1), [`Error::ParameterDtype`] for a parameter of integers,
    /// [`Error::DuplicateName`], and [`Error::NoParameters`].
    pub fn new(params: &[NamedParam], decay: f64) -> Result<Self> {
        Check { rule: "weight EMA" }.decay_rate("decay", decay)?;
        if params.is_empty() {
            return Err(Error::NoParameters);
        }
        let mut averages: Vec<Entry> = Vec::with_capacity(params.len());
        for NamedParam { name, var, .. } in params {
            if averages.iter().any(|average| average.name == *name) {
                return Err(Error::DuplicateName(name.clone()));
            }
            if !matches!(var.dtype(), DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
                return Err(Error::ParameterDtype { name: name.clone(), dtype: var.dtype() });
            }
            let average = Var::from_tensor(&detached_copy(var, accumulation_dtype(var.dtype()))?)?;
            averages.push(Entry { name: name.clone(), var: var.clone(), average });
        }
        Ok(Self { decay, warmup: false, updates: 0, averages, weights: None })
    }

    /// The same average with a decay that begins at 1/10 and rises to d.
    #[must_use]
    pub fn with_warmup(mut self) -> Self {
        self.warmup = true;
        self
    }

    /// The decay of the next update.
    pub fn decay(&self) -> f64 {
        let t = self.updates as f64;
        if self.warmup { self.decay.min((1.0 + t) / (10.0 + t)) } else { self.decay }
    }

    /// The number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Takes the current weights in.
    ///
    /// # Errors
    /// [`Error::AveragesInPlace`] between [`apply`](Self::apply) and [`restore`](Self::restore).
    pub fn update(&mut self) -> Result<()> {
        self.weights_in_place()?;
        let share = 1.0 - self.decay();
        for Entry { var, average, .. } in &self.averages {
            let weight = var.detach().to_dtype(average.dtype())?.contiguous()?;
            update2(&Towards { share }, average, &weight)?;
        }
        self.updates += 1;
        Ok(())
    }

    /// Puts the averages into the variables and keeps the weights aside, bit for bit, until
    /// [`restore`](Self::restore).
    ///
    /// # Errors
    /// [`Error::AveragesInPlace`] when they are there already.
    pub fn apply(&mut self) -> Result<()> {
        self.weights_in_place()?;
        let weights: Vec<Tensor> = self.averages.iter().map(|a| detached_copy(&a.var, a.var.dtype())).collect::<Result<_>>()?;
        let rounded: Vec<Tensor> =
            self.averages.iter().map(|a| Ok(a.average.detach().to_dtype(a.var.dtype())?)).collect::<Result<_>>()?;
        self.weights = Some(weights);
        for (Entry { var, .. }, average) in self.averages.iter().zip(rounded) {
            var.set(&average)?;
        }
        Ok(())
    }

    /// Puts the weights back. Without [`apply`](Self::apply) before, nothing happens.
    ///
    /// # Errors
    /// Those of candle.
    pub fn restore(&mut self) -> Result<()> {
        if let Some(weights) = &self.weights {
            for (Entry { var, .. }, weight) in self.averages.iter().zip(weights) {
                var.set(weight)?;
            }
        }
        self.weights = None;
        Ok(())
    }

    /// Runs `evaluate` with the averages in place and puts the weights back, also when it fails.
    ///
    /// # Errors
    /// Those of [`apply`](Self::apply), [`restore`](Self::restore) and `evaluate`.
    pub fn evaluate<T, E: From<Error>>(&mut self, evaluate: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.apply()?;
        let outcome = evaluate();
        self.restore()?;
        outcome
    }

    /// Each parameter's name with its average.
    pub fn averages(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.averages.iter().map(|a| (a.name.as_str(), a.average.as_tensor()))
    }

    /// An error while the averages are where the weights belong.
    pub(crate) fn weights_in_place(&self) -> Result<()> {
        if self.weights.is_some() { Err(Error::AveragesInPlace) } else { Ok(()) }
    }
}

fn detached_copy(tensor: &Tensor, dtype: DType) -> Result<Tensor> {
    Ok(tensor.detach().to_dtype(dtype)?.contiguous()?.copy()?)
}
