//! Orthogonalizers: from a matrix X = U diag(σ) Vᵀ to UVᵀ, exactly or nearly.

mod batch;
mod bfloat16;
mod exact;
mod products;
mod schedule;
mod settings;
mod shelf;
mod slices;
mod tensors;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use batch::Method;
use candle_core::{Device, Tensor};

use crate::Result;

pub(crate) use exact::spectral_power;
pub use schedule::{IterationDtype, JORDAN_COEFFICIENTS, NewtonSchulz, OddPolynomial, PolynomialSchedule};
pub(crate) use settings::{Name, OrthogonalizerSettings};

/// A map from a matrix X = U diag(σ) Vᵀ to a matrix with the same singular vectors and singular values at or near 1.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_optim::{ExactPolar, NewtonSchulz, OddPolynomial, Orthogonalize};
///
/// let x = Tensor::new(&[[3.0_f64, 0.0], [0.0, 0.5]], &Device::Cpu)?;
/// let methods: [&dyn Orthogonalize; 3] = [&ExactPolar, &NewtonSchulz::jordan(5), &OddPolynomial::polar_express()];
/// for method in methods {
///     let o = method.orthogonalize(&x)?.to_vec2::<f64>()?;
///     assert!((o[1][1] - 1.0).abs() < 0.35, "{}", method.name());
/// }
/// # Ok::<(), isorate_optim::Error>(())
/// ```
pub trait Orthogonalize: std::fmt::Debug + Send + Sync {
    /// The name used in settings.
    fn name(&self) -> &'static str;

    /// Orthogonalizes `matrix`, [r, c], f32 or f64; the result has its shape, type and device. A zero matrix stays zero.
    ///
    /// # Errors
    /// [`Error::MatrixShape`](crate::Error::MatrixShape) when `matrix` is not a matrix with at least one element,
    /// [`Error::MatrixDtype`](crate::Error::MatrixDtype) when it is neither f32 nor f64 or the device cannot compute in
    /// the type chosen, [`Error::NonFiniteMatrix`](crate::Error::NonFiniteMatrix) when it holds a NaN or an infinity.
    /// Iterations on a device do not look at the elements: there a NaN or an infinity gives NaN.
    fn orthogonalize(&self, matrix: &Tensor) -> Result<Tensor>;

    /// [`Orthogonalize::orthogonalize`] for many matrices of any shapes, results in their order.
    ///
    /// The orthogonalizers of this crate share the work out: on the CPU among threads, with the same bits as one by one;
    /// on other devices in stacks of equal shapes.
    ///
    /// # Errors
    /// The first error of any matrix.
    fn orthogonalize_all(&self, matrices: &[Tensor]) -> Result<Vec<Tensor>> {
        matrices.iter().map(|matrix| self.orthogonalize(matrix)).collect()
    }
}

/// The polar factor UVᵀ by a decomposition in f64 on the CPU.
///
/// Singular values at or under max(r, c)·ε·σ_max are dropped together with their vectors, where ε is the machine
/// epsilon of the tensor's own type; so the result of a matrix of rank k has k singular values 1 and the others 0.
/// Matrices on other devices are copied to the CPU and the result is copied back.
///
/// f64 matrices use a thin singular value decomposition. f32 matrices use the eigendecomposition of the smaller
/// Gram matrix, also in f64: its resolution √ε₆₄·σ_max ≈ 1.5e-8·σ_max lies below every singular value that the
/// truncation keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExactPolar;

/// The choice of an orthogonalizer, as it stands in settings.
///
#[doc = include_str!("../../docs/orthogonalizers.md")]
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
    /// The polar factor itself: [`ExactPolar`].
    Exact,
    /// Jordan's quintic, a fixed number of times.
    NewtonSchulz(NewtonSchulz),
    /// A schedule of odd polynomials.
    Polynomial(OddPolynomial),
}

impl Orthogonalizer {
    /// [`Orthogonalize::orthogonalize`].
    pub fn apply(&self, matrix: &Tensor) -> Result<Tensor> {
        self.method().one(matrix)
    }

    /// The name used in settings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Exact => ExactPolar.name(),
            Self::NewtonSchulz(iteration) => iteration.name(),
            Self::Polynomial(polynomial) => polynomial.name(),
        }
    }

    /// The type in which it computes; None for a decomposition.
    pub(crate) fn dtype(&self) -> Option<IterationDtype> {
        match self {
            Self::Exact => None,
            Self::NewtonSchulz(iteration) => Some(iteration.dtype),
            Self::Polynomial(polynomial) => Some(polynomial.dtype),
        }
    }

    /// Each result by itself, so that an error can be told with the name of its parameter.
    pub(crate) fn apply_each(&self, matrices: &[Tensor]) -> Vec<Result<Tensor>> {
        self.method().all(matrices)
    }

    fn method(&self) -> Method<'_> {
        match self {
            Self::Exact => Method::Exact,
            Self::NewtonSchulz(iteration) => Method::Iteration(iteration.iteration()),
            Self::Polynomial(polynomial) => Method::Iteration(polynomial.iteration()),
        }
    }
}

/// The trait for a type, by its expression for the method.
macro_rules! orthogonalize {
    ($type:ty, $name:expr, $method:expr) => {
        impl Orthogonalize for $type {
            fn name(&self) -> &'static str {
                $name(self)
            }

            fn orthogonalize(&self, matrix: &Tensor) -> Result<Tensor> {
                $method(self).one(matrix)
            }

            fn orthogonalize_all(&self, matrices: &[Tensor]) -> Result<Vec<Tensor>> {
                $method(self).all(matrices).into_iter().collect()
            }
        }
    };
}

orthogonalize!(ExactPolar, |_: &Self| "exact", |_: &Self| Method::Exact);
orthogonalize!(NewtonSchulz, |_: &Self| "newton-schulz", |it: &Self| Method::Iteration(it.iteration()));
orthogonalize!(OddPolynomial, |it: &Self| it.schedule.name(), |it| Method::Iteration(Self::iteration(it)));
orthogonalize!(Orthogonalizer, Self::name, Self::method);

pub(crate) fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "the CPU",
        Device::Cuda(_) => "a CUDA device",
        Device::Metal(_) => "a Metal device",
    }
}
