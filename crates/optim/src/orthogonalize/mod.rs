//! Orthogonalizers: from a matrix X = U diag(σ) Vᵀ to UVᵀ, exactly or nearly.

mod exact;
mod newton_schulz;

use candle_core::{DType, Device, Tensor};

use crate::{Error, Result};

pub(crate) use exact::spectral_power;
pub use newton_schulz::{IterationDtype, JORDAN_COEFFICIENTS, NewtonSchulz};

/// A map from a matrix X = U diag(σ) Vᵀ to a matrix with the same singular vectors and singular values at or near 1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_optim::Orthogonalizer;
///
/// let x = Tensor::new(&[[3.0_f64, 0.0], [0.0, 0.5]], &Device::Cpu)?;
/// let polar = Orthogonalizer::Exact.apply(&x)?;
/// assert!((polar.to_vec2::<f64>()?[1][1] - 1.0).abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Orthogonalizer {
    /// The polar factor UVᵀ by a decomposition in f64 on the CPU.
    ///
    /// Singular values at or under max(r, c)·ε·σ_max are dropped together with their vectors, where ε is the machine
    /// epsilon of the tensor's own type; so the result of a matrix of rank k has k singular values 1 and the others 0.
    /// Matrices on other devices are copied to the CPU and the result is copied back.
    ///
    /// f64 matrices use a thin singular value decomposition. f32 matrices use the eigendecomposition of the smaller
    /// Gram matrix, also in f64: its resolution √ε₆₄·σ_max ≈ 1.5e-8·σ_max lies below every singular value that the
    /// truncation keeps.
    Exact,
    /// A fixed number of steps of the quintic Newton–Schulz iteration, on the tensor's device.
    NewtonSchulz(NewtonSchulz),
}

impl Orthogonalizer {
    /// Orthogonalizes `matrix`, [r, c]; the result has its shape, type and device. A zero matrix stays zero.
    ///
    /// # Errors
    /// When `matrix` is not a matrix with at least one element, has a type other than f32 and f64, or, for
    /// [`Orthogonalizer::Exact`], holds a NaN or an infinity.
    pub fn apply(&self, matrix: &Tensor) -> Result<Tensor> {
        if matrix.rank() != 2 || matrix.elem_count() == 0 {
            return Err(Error::MatrixShape { shape: matrix.dims().to_vec() });
        }
        if !matches!(matrix.dtype(), DType::F32 | DType::F64) {
            return Err(Error::MatrixDtype {
                orthogonalizer: self.name(),
                dtype: matrix.dtype(),
                device: device_name(matrix.device()),
                accepted: "f32 and f64",
            });
        }
        // Without `detach` the result would keep every intermediate tensor alive for backpropagation.
        let matrix = matrix.detach().contiguous()?;
        match self {
            Self::Exact => exact::polar_factor(&matrix),
            Self::NewtonSchulz(iteration) => iteration.apply(&matrix),
        }
    }

    /// The name used in settings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::NewtonSchulz(_) => "newton-schulz",
        }
    }
}

pub(crate) fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "the CPU",
        Device::Cuda(_) => "a CUDA device",
        Device::Metal(_) => "a Metal device",
    }
}
