//! Gradients as they come out of a backward pass, checked.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use crate::orthogonalize::device_name;
use crate::reduce::first_not_finite;
use crate::{Error, NamedParam, Result};

/// The type in which sums over a tensor of this type are formed: f64 for f64, f32 for everything smaller.
pub(crate) fn accumulation_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// For each parameter its gradient, if there is one: detached, contiguous, in [`accumulation_dtype`]. It may share memory
/// with what the store holds.
///
/// An error names the first parameter whose gradient has another shape, is on another device, or is not finite.
pub(crate) fn finite_gradients<'a>(
    gradients: &GradStore,
    params: impl IntoIterator<Item = &'a NamedParam> + Clone,
) -> Result<Vec<Option<Tensor>>> {
    let found: Vec<Option<Tensor>> =
        params.clone().into_iter().map(|param| fitting_gradient(gradients, param)).collect::<Result<_>>()?;
    match first_not_finite(found.iter().flatten())? {
        None => Ok(found),
        Some(index) => {
            let present = params.into_iter().zip(&found).filter(|(_, gradient)| gradient.is_some());
            let name = present.map(|(param, _)| param.name.clone()).nth(index).unwrap_or_default();
            Err(Error::NonFiniteGradient { name })
        }
    }
}

fn fitting_gradient(gradients: &GradStore, param: &NamedParam) -> Result<Option<Tensor>> {
    let Some(gradient) = gradients.get(&param.var) else {
        return Ok(None);
    };
    if gradient.shape() != param.var.shape() {
        return Err(Error::GradientMismatch {
            name: param.name.clone(),
            dtype: gradient.dtype(),
            shape: gradient.dims().to_vec(),
            expected_dtype: param.var.dtype(),
            expected_shape: param.var.dims().to_vec(),
        });
    }
    if !gradient.device().same_device(param.var.device()) {
        return Err(Error::GradientDevice {
            name: param.name.clone(),
            device: device_name(gradient.device()),
            expected: device_name(param.var.device()),
        });
    }
    Ok(Some(gradient.detach().to_dtype(accumulation_dtype(gradient.dtype()))?.contiguous()?))
}
