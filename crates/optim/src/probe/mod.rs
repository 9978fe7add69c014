//! Spectral probes: what the weights, gradients and updates of a training run look like, every so many steps.

mod bases;
mod problem;
mod record;
mod spectrum;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::reduce::f64_values;
use crate::rules::matrix_shape;
use crate::{Error, NamedParam, Result};
use spectrum::{Failure, Matrix, Precision};

pub use bases::{Alignment, Bases};
pub use problem::{ProbeProblem, Side};
pub use record::{ParamRecord, ProbeRecord, UpdateRatio};
pub use spectrum::Spectrum;

/// What a [`SpectralProbe`] records, and how often.
///
/// In settings, `every` is required. Defaults: all singular values; the spectra of weights, gradients and updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeConfig {
    /// Steps whose number is a multiple of this are recorded, step 0 among them. At least 1.
    pub every: u64,
    /// How many of the largest singular values a record holds, at least 1; None for all. The other measures always
    /// come from all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<usize>,
    /// Whether the spectra of the weights before the step are recorded.
    #[serde(default = "yes")]
    pub weights: bool,
    /// Whether the spectra of the gradients are recorded.
    #[serde(default = "yes")]
    pub gradients: bool,
    /// Whether the spectra of the updates are recorded.
    #[serde(default = "yes")]
    pub updates: bool,
}

fn yes() -> bool {
    true
}

impl ProbeConfig {
    /// Everything, every `every` steps.
    pub fn every(every: u64) -> Self {
        Self { every, top: None, weights: true, gradients: true, updates: true }
    }
}

/// Records singular values, ranks, alignment and update-to-weight ratios of parameters around an optimizer's step.
///
/// The probe reads; it never changes a weight, a gradient or the state of an optimizer, so a run with it gives the same
/// bits as without. [`before`](Self::before) and [`after`](Self::after) go around the step, whatever makes it. In a step
/// that is not due, both return at once. In one that is due, the probe
///
/// - takes the spectrum ([`Spectrum`]) of each weight W and of each gradient as handed to `before`, and copies W;
/// - after the step takes the spectrum of the update ΔW = W_after − W, the actual change of the stored weights, weight
///   decay included, and the ratios ([`UpdateRatio`]).
///
/// Tensors of more than two dimensions are matrices [out, in·kh·kw]; vectors and scalars have ratios only. Parameters
/// without a gradient have no gradient spectrum. Since W is stored with rounding, ΔW carries an error of ε·|W| for each
/// element; what lies below it in the spectrum of a very small update is not the optimizer's.
///
/// # Cost
/// Each spectrum of an f32 matrix [r, c] costs a product of min(r, c)²·max(r, c) multiply-adds and the eigenvalues of a
/// symmetric matrix of size min(r, c), in f64, on the CPU; weights on another device are copied there. Parameters are
/// handled in parallel. Memory in a step that is due: one copy of the weights, and per thread one matrix in f64 and its
/// Gram matrix. f64 matrices and parameters with bases take a singular value decomposition instead, which is several
/// times dearer. [`ProbeRecord::seconds`] says what each record took.
///
/// Milliseconds of one spectrum of an f32 matrix, on a quiet machine of two cores with AVX-512, smallest of 15:
///
/// | 128×784 | 200×2352 | 512×512 | 512×784 | 2048×512 | 1024×1024 |
/// |---|---|---|---|---|---|
/// | 1.7 | 4.6 | 17 | 19 | 28 | 105 |
///
/// In the same run a record of everything for an MLP 784-512-512-10 took 67 ms, next to 6 ms of forward and backward pass
/// with batch 128 and 34 ms of a Muon step: 1.7 training steps, so with `every` = 100 it is 1.7% of the time. With bases
/// for the first layer it took 220 ms. The program `examples/probe_cost.rs` measures this.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{GroupRules, Muon, NamedParam, Optimizer, ProbeConfig, Role, RuleConfig, SpectralProbe};
///
/// let weight = Var::new(&[[1.0_f32, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::Cpu)?;
/// let params = vec![NamedParam::new("fc1.weight", Role::Matrix, weight.clone())];
/// let mut probe = SpectralProbe::new(ProbeConfig::every(10), &params)?;
/// let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Muon(Muon::new(0.02))))?;
/// let mut records = Vec::new();
/// for step in 0..25 {
///     let gradients = weight.sqr()?.mean_all()?.backward()?;
///     probe.before(step, &gradients)?;
///     optimizer.step(&gradients)?;
///     records.extend(probe.after()?);
/// }
/// assert_eq!(records.iter().map(|r| r.step).collect::<Vec<_>>(), [0, 10, 20]);
/// let update = records[0].params[0].update.as_ref().unwrap();
/// assert!(update.stable_rank > 1.5 && update.stable_rank <= 2.0);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Debug)]
pub struct SpectralProbe {
    config: ProbeConfig,
    params: Vec<Probed>,
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Probed {
    name: String,
    var: Var,
    /// [r, c]; None for vectors and scalars.
    matrix: Option<(usize, usize)>,
    bases: Option<Bases>,
}

/// The first half of a record.
#[derive(Debug)]
struct Pending {
    step: u64,
    took: Duration,
    params: Vec<Before>,
}

#[derive(Debug)]
struct Before {
    copy: Tensor,
    weight: Option<Spectrum>,
    gradient: Option<Spectrum>,
}

impl SpectralProbe {
    /// A probe of these parameters, in this order.
    ///
    /// # Errors
    /// When a setting is 0, there is no parameter, a name appears twice, or a parameter has no elements.
    pub fn new(config: ProbeConfig, params: &[NamedParam]) -> Result<Self> {
        if config.every == 0 {
            let hint = "every = 1 records each step; leave the probe out to record none";
            return Err(Error::Probe(ProbeProblem::Zero { setting: "every", hint }));
        }
        if config.top == Some(0) {
            let hint = "top = 1 records the spectral norm; leave `top` out to record all singular values";
            return Err(Error::Probe(ProbeProblem::Zero { setting: "top", hint }));
        }
        if params.is_empty() {
            return Err(Error::NoParameters);
        }
        let mut names = BTreeSet::new();
        let mut probed = Vec::with_capacity(params.len());
        for NamedParam { name, var, .. } in params {
            if !names.insert(name) {
                return Err(Error::DuplicateName(name.clone()));
            }
            if var.elem_count() == 0 {
                return Err(Error::EmptyParameter { name: name.clone(), shape: var.dims().to_vec() });
            }
            let matrix = matrix_shape(var.dims());
            probed.push(Probed { name: name.clone(), var: var.clone(), matrix, bases: None });
        }
        Ok(Self { config, params: probed, pending: None })
    }

    /// Compares the weight, gradient and update of one parameter with given bases in every record ([`Alignment`]).
    ///
    /// # Errors
    /// When there is no such parameter, it is no matrix, or the bases do not fit its shape.
    pub fn with_bases(mut self, name: &str, bases: Bases) -> Result<Self> {
        let Some(param) = self.params.iter_mut().find(|p| p.name == name) else {
            return Err(Error::Probe(ProbeProblem::UnknownParameter { name: name.to_owned() }));
        };
        let Some((r, c)) = param.matrix else {
            let shape = param.var.dims().to_vec();
            return Err(Error::Probe(ProbeProblem::NoMatrix { name: name.to_owned(), shape }));
        };
        if let Some((side, rows, expected)) = bases.misfit(r, c) {
            return Err(Error::Probe(ProbeProblem::BasisRows { name: name.to_owned(), side, rows, expected }));
        }
        param.bases = Some(bases);
        Ok(self)
    }

    /// Whether `step` is one that the probe records.
    pub fn is_due(&self, step: u64) -> bool {
        step.is_multiple_of(self.config.every)
    }

    /// Looks at weights and gradients before step number `step` of the optimizer. A record begun before and not finished
    /// is given up.
    ///
    /// # Errors
    /// [`ProbeProblem::NonFinite`] and [`ProbeProblem::NoConvergence`], with the name of the parameter, and
    /// [`Error::GradientMismatch`].
    pub fn before(&mut self, step: u64, gradients: &GradStore) -> Result<()> {
        self.pending = None;
        if !self.is_due(step) {
            return Ok(());
        }
        let start = Instant::now();
        let params = self.params.par_iter().map(|p| p.before(&self.config, step, gradients)).collect::<Result<_>>()?;
        self.pending = Some(Pending { step, took: start.elapsed(), params });
        Ok(())
    }

    /// Looks at the weights after the step. None when `before` recorded nothing.
    ///
    /// # Errors
    /// Those of [`before`](Self::before), for the updates.
    pub fn after(&mut self) -> Result<Option<ProbeRecord>> {
        let Some(Pending { step, took, params }) = self.pending.take() else {
            return Ok(None);
        };
        let start = Instant::now();
        let before: Vec<(&Probed, Before)> = self.params.iter().zip(params).collect();
        let params = before.into_par_iter().map(|(p, before)| p.after(&self.config, step, before)).collect::<Result<_>>()?;
        Ok(Some(ProbeRecord { step, seconds: (took + start.elapsed()).as_secs_f64(), params }))
    }
}

impl Probed {
    fn before(&self, config: &ProbeConfig, step: u64, gradients: &GradStore) -> Result<Before> {
        let gradient = gradients.get(&self.var);
        if let Some(gradient) = gradient.filter(|g| g.shape() != self.var.shape()) {
            return Err(Error::GradientMismatch {
                name: self.name.clone(),
                dtype: gradient.dtype(),
                shape: gradient.dims().to_vec(),
                expected_dtype: self.var.dtype(),
                expected_shape: self.var.dims().to_vec(),
            });
        }
        let spectrum = |wanted: bool, what, tensor: &Tensor| match self.matrix.filter(|_| wanted) {
            Some(_) => Ok(Some(self.spectrum(config, step, what, &f64_values(&tensor.detach().contiguous()?)?)?)),
            None => Ok::<_, Error>(None),
        };
        Ok(Before {
            copy: self.var.as_detached_tensor().copy()?,
            weight: spectrum(config.weights, "weight", &self.var)?,
            gradient: gradient.map_or(Ok(None), |g| spectrum(config.gradients, "gradient", g))?,
        })
    }

    fn after(&self, config: &ProbeConfig, step: u64, before: Before) -> Result<ParamRecord> {
        let old = f64_values(&before.copy.contiguous()?)?;
        let new = f64_values(&self.var.as_detached_tensor().contiguous()?)?;
        let change: Vec<f64> = new.iter().zip(&old).map(|(new, old)| new - old).collect();
        let norms = (norm(&change), norm(&old));
        if !norms.0.is_finite() || !norms.1.is_finite() {
            let what = if norms.1.is_finite() { "update" } else { "weight" };
            return Err(Error::Probe(ProbeProblem::NonFinite { name: self.name.clone(), what, step }));
        }
        let update = match self.matrix.filter(|_| config.updates) {
            Some(_) => Some(self.spectrum(config, step, "update", &change)?),
            None => None,
        };
        let quotient = |a: f64, b: f64| if b > 0.0 { Some(a / b) } else { None };
        let ratio = UpdateRatio {
            frobenius: quotient(norms.0, norms.1),
            spectral: update
                .as_ref()
                .zip(before.weight.as_ref())
                .and_then(|(u, w)| quotient(u.spectral_norm(), w.spectral_norm())),
        };
        Ok(ParamRecord {
            name: self.name.clone(),
            shape: self.var.dims().to_vec(),
            weight: before.weight,
            gradient: before.gradient,
            update,
            ratio,
        })
    }

    fn spectrum(&self, config: &ProbeConfig, step: u64, what: &'static str, values: &[f64]) -> Result<Spectrum> {
        let (rows, columns) = self.matrix.expect("spectra are taken of matrices only");
        let matrix = Matrix { values, rows, columns, precision: Precision::of(self.var.dtype()) };
        matrix.spectrum(config.top, self.bases.as_ref()).map_err(|failure| {
            let name = self.name.clone();
            Error::Probe(match failure {
                Failure::NonFinite => ProbeProblem::NonFinite { name, what, step },
                Failure::NoConvergence => ProbeProblem::NoConvergence { name, what, step },
            })
        })
    }
}

/// The root of the sum of squares, scaled by the largest element so that no square leaves the range.
fn norm(values: &[f64]) -> f64 {
    // `max` drops a NaN, which the sum then keeps.
    let largest = values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    scale * values.iter().map(|x| (x / scale) * (x / scale)).sum::<f64>().sqrt()
}
