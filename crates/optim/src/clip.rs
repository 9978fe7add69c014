//! Gradient clipping.

use candle_core::Tensor;
use candle_core::backprop::GradStore;

use crate::gradients::finite_gradients;
use crate::reduce::{frobenius_norms, max_abs};
use crate::rules::Check;
use crate::{NamedParam, Result};

/// Scales the gradients of `params`, all together, so that their common norm is at most `max_norm`, as
/// `torch.nn.utils.clip_grad_norm_` does; returns the norm before.
///
/// ```text
/// n = √(Σ_p ‖g_p‖_F²)              over all parameters with a gradient
/// g_p ← min(1, max_norm/(n + 1e-6)) · g_p
/// ```
///
/// The norm is formed in f64 and does not overflow. Gradients are replaced only when the factor is below 1; the new
/// ones are detached tensors of their own, of the same type. `max_norm` = ∞ only measures. Without any gradient the norm
/// is 0. To clip each parameter by its own norm, call this for each element of `params.chunks(1)`.
///
/// Call it between the backward pass and the step, with accumulation on the accumulated gradients.
///
/// # Which rules feel it
/// NGD, SignGD and SpecGD do not change when a gradient is multiplied by a constant, so clipping by norm does nothing
/// for them. With momentum (NMD, Signum, Muon), with Adam's and Shampoo's averages, it weighs the gradients of different
/// steps against each other, so a single outlier counts less; a constant factor on all steps still does nothing, up to
/// ε. SGD feels it directly.
///
/// # Errors
/// [`Error::NonFiniteGradient`](crate::Error::NonFiniteGradient) names the first parameter whose gradient holds a NaN or
/// an infinity, [`Error::GradientMismatch`](crate::Error::GradientMismatch) one of another shape,
/// [`Error::Setting`](crate::Error::Setting) a `max_norm` that is not positive. No gradient is changed then.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{NamedParam, Role, clip_grad_norm};
///
/// let w = Var::new(&[3.0_f64, 4.0], &Device::Cpu)?;
/// let params = [NamedParam::new("w", Role::Vector, w.clone())];
/// let mut gradients = (w.sqr()?.sum_all()? * 0.5)?.backward()?;
/// assert_eq!(clip_grad_norm(&mut gradients, &params, 1.0)?, 5.0);
/// let clipped = gradients.get(&w).unwrap().to_vec1::<f64>()?;
/// assert!((clipped[0] - 0.6).abs() < 1e-6 && (clipped[1] - 0.8).abs() < 1e-6);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
pub fn clip_grad_norm(gradients: &mut GradStore, params: &[NamedParam], max_norm: f64) -> Result<f64> {
    let check = Check { rule: "clip_grad_norm" };
    check.that(max_norm > 0.0, "max_norm", max_norm, "the largest norm must be positive")?;
    let present = present(gradients, params)?;
    let norm = norm_of(&frobenius_norms(present.iter().map(|(_, gradient)| gradient))?);
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        for (param, gradient) in present {
            replace(gradients, param, &(gradient * factor)?)?;
        }
    }
    Ok(norm)
}

/// Limits every element of the gradients of `params` to [−`max_value`, `max_value`], as
/// `torch.nn.utils.clip_grad_value_` does; returns the largest absolute value before, 0 without any gradient.
///
/// Gradients are replaced only when some element is over the limit, by detached tensors of their own. Unlike clipping by
/// norm this changes the direction of the gradient, so every rule but SignGD feels it.
///
/// # Errors
/// Those of [`clip_grad_norm`]: also an infinity is an error here, where PyTorch makes it `max_value`.
///
/// ```
/// use candle_core::{Device, Var};
/// use isorate_optim::{NamedParam, Role, clip_grad_value};
///
/// let w = Var::new(&[3.0_f64, -4.0], &Device::Cpu)?;
/// let params = [NamedParam::new("w", Role::Vector, w.clone())];
/// let mut gradients = (w.sqr()?.sum_all()? * 0.5)?.backward()?;
/// assert_eq!(clip_grad_value(&mut gradients, &params, 3.5)?, 4.0);
/// assert_eq!(gradients.get(&w).unwrap().to_vec1::<f64>()?, [3.0, -3.5]);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
pub fn clip_grad_value(gradients: &mut GradStore, params: &[NamedParam], max_value: f64) -> Result<f64> {
    let check = Check { rule: "clip_grad_value" };
    check.that(max_value > 0.0, "max_value", max_value, "the largest value must be positive")?;
    let mut largest = 0.0_f64;
    let mut over = Vec::new();
    for (param, gradient) in present(gradients, params)? {
        let value = max_abs(&gradient)?;
        largest = largest.max(value);
        if value > max_value {
            over.push((param, gradient.clamp(-max_value, max_value)?));
        }
    }
    for (param, clipped) in over {
        replace(gradients, param, &clipped)?;
    }
    Ok(largest)
}

/// The parameters that have a gradient, with it.
fn present<'a>(gradients: &GradStore, params: &'a [NamedParam]) -> Result<Vec<(&'a NamedParam, Tensor)>> {
    let found = finite_gradients(gradients, params)?;
    Ok(params.iter().zip(found).filter_map(|(param, gradient)| Some((param, gradient?))).collect())
}

/// Puts a gradient in the place of another, in the type of that one.
fn replace(gradients: &mut GradStore, param: &NamedParam, gradient: &Tensor) -> Result<()> {
    let dtype = gradients.get(&param.var).map_or(param.var.dtype(), Tensor::dtype);
    gradients.insert(&param.var, gradient.to_dtype(dtype)?);
    Ok(())
}

/// √(Σ n²) without overflow or underflow.
fn norm_of(norms: &[f64]) -> f64 {
    let largest = norms.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    let squares: f64 = norms.iter().map(|norm| (norm / largest).powi(2)).sum();
    (largest * squares.sqrt()).min(f64::MAX)
}
