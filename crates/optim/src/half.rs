//! Parameters in half precision: rules work on them in f32.

use candle_core::{DType, Var};

use crate::Result;

/// The type in which a rule works on a parameter: its gradient and its state have it too. None for a type without
/// optimizer arithmetic.
pub(crate) fn working_dtype(dtype: DType) -> Option<DType> {
    match dtype {
        DType::F32 | DType::F64 => Some(dtype),
        DType::BF16 | DType::F16 => Some(DType::F32),
        _ => None,
    }
}

/// The variable that a rule works on: the parameter itself, or a copy of it in the working type.
pub(crate) fn working_copy(var: &Var, working: DType) -> Result<Var> {
    if var.dtype() == working { Ok(var.clone()) } else { Ok(Var::from_tensor(&var.as_detached_tensor().to_dtype(working)?)?) }
}

/// Rounds the result of an update into the parameter: to the nearest value, ties to even, as candle's conversion does.
pub(crate) fn store(var: &Var, result: &Var) -> Result<()> {
    if var.dtype() != result.dtype() {
        var.set(&result.as_detached_tensor().to_dtype(var.dtype())?)?;
    }
    Ok(())
}
