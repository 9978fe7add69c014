//! Gradients as they come out of a backward pass, checked.

use candle_core::backprop::GradStore;
use candle_core::{DType, Tensor};

use crate::reduce::all_finite;
use crate::{Error, NamedParam, Result};

/// The type in which sums over a tensor of this type are formed: f64 for f64, f32 for everything smaller.
pub(crate) fn accumulation_dtype(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// The gradient of a parameter: detached, contiguous, finite, in [`accumulation_dtype`]. None when there is none.
///
/// It may share memory with what the store holds.
pub(crate) fn finite_gradient(gradients: &GradStore, param: &NamedParam) -> Result<Option<Tensor>> {
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
    let gradient = gradient.detach().to_dtype(accumulation_dtype(gradient.dtype()))?.contiguous()?;
    if all_finite(&gradient)? { Ok(Some(gradient)) } else { Err(Error::NonFiniteGradient { name: param.name.clone() }) }
}
