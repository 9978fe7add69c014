//! Singular values and what is computed from them.

use candle_core::{DType, Tensor};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use serde::{Deserialize, Serialize};

use super::bases::{Alignment, Bases};
use crate::factorize::{singular_values, symmetric_eigen};
use crate::reduce::f64_values;
use crate::rules::matrix_shape;
use crate::{Error, Result};

/// The singular values σ₁ ≥ σ₂ ≥ … of a matrix A, [r, c], and the measures of its shape that follow from them.
///
/// Everything is computed in f64 on the CPU. With ε the machine epsilon of f64 for f64 matrices and of f32 for all
/// others, singular values at or under max(r, c)·ε·σ₁ cannot be told from rounding and count as 0, as in
/// [`Orthogonalizer::Exact`](crate::Orthogonalizer::Exact). f64 matrices use a singular value decomposition; the others
/// the eigenvalues of the smaller Gram matrix, whose resolution √ε₆₄·σ₁ ≈ 1.5e-8·σ₁ lies below that limit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_optim::Spectrum;
///
/// let a = Tensor::new(&[[3.0_f64, 0.0], [0.0, 4.0]], &Device::Cpu)?;
/// let spectrum = Spectrum::of(&a, None)?;
/// assert!((spectrum.singular_values[0] - 4.0).abs() < 1e-12 && (spectrum.singular_values[1] - 3.0).abs() < 1e-12);
/// assert!((spectrum.stable_rank - 25.0 / 16.0).abs() < 1e-12);
/// assert!((spectrum.nuclear_rank - 49.0 / 25.0).abs() < 1e-12);
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// The largest singular values, in nonincreasing order: as many as were asked for, min(r, c) at most.
    pub singular_values: Vec<f64>,
    /// The number of singular values above max(r, c)·ε·σ₁.
    pub rank: usize,
    /// ‖A‖_F, the root of the sum of the squared elements.
    pub frobenius_norm: f64,
    /// ‖A‖_*, the sum of all singular values.
    pub nuclear_norm: f64,
    /// ‖A‖_F²/σ₁², in [1, rank]; 0 for a zero matrix (M. Rudelson, R. Vershynin, 2007).
    pub stable_rank: f64,
    /// ‖A‖_*²/‖A‖_F², in [1, rank]; 0 for a zero matrix.
    ///
    /// For the gradient of a layer, a spectral step promises more descent than a Euclidean one where this exceeds the
    /// stable rank of the activations that enter the layer: D. Davis, D. Drusvyatskiy, "When do spectral gradient updates
    /// help in deep learning?", 2025 (arXiv 2512.04299). [`Spectrum::of`] takes activations too.
    pub nuclear_rank: f64,
    /// ‖A‖_*/σ₁, in [1, rank]; 0 for a zero matrix. A step by the polar factor has this inner product with A/σ₁.
    pub nuclear_over_spectral: f64,
    /// How A lies to the bases given for its parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alignment: Option<Alignment>,
}

impl Spectrum {
    /// The spectrum of any matrix, such as a batch of activations, with the `top` largest singular values or all.
    ///
    /// Tensors of more dimensions count as [first, product of the others], so a filter is [out, in·kh·kw].
    ///
    /// # Errors
    /// [`Error::MatrixShape`] for a tensor of less than two dimensions or without elements, and [`Error::NonFiniteMatrix`].
    pub fn of(matrix: &Tensor, top: Option<usize>) -> Result<Self> {
        let shape = matrix_shape(matrix.dims()).filter(|_| matrix.elem_count() > 0);
        let (rows, columns) = shape.ok_or_else(|| Error::MatrixShape { shape: matrix.dims().to_vec() })?;
        let values = f64_values(&matrix.detach().contiguous()?)?;
        let matrix = Matrix { values: &values, rows, columns, precision: Precision::of(matrix.dtype()) };
        matrix.spectrum(top, None).map_err(|failure| match failure {
            Failure::NonFinite => Error::NonFiniteMatrix,
            Failure::NoConvergence => Error::SvdDidNotConverge { rows, columns },
        })
    }

    /// ‖A‖₂ = σ₁.
    pub fn spectral_norm(&self) -> f64 {
        self.singular_values.first().copied().unwrap_or(0.0)
    }
}

/// Why a matrix has no spectrum. The caller knows its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    NonFinite,
    NoConvergence,
}

/// What the elements of a matrix can resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Precision {
    Double,
    Single,
}

impl Precision {
    pub fn of(dtype: DType) -> Self {
        if dtype == DType::F64 { Self::Double } else { Self::Single }
    }

    fn epsilon(self) -> f64 {
        match self {
            Self::Double => f64::EPSILON,
            Self::Single => f64::from(f32::EPSILON),
        }
    }
}

/// The elements of a matrix [rows, columns], row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f64],
    pub rows: usize,
    pub columns: usize,
    pub precision: Precision,
}

/// Norms whose squares, and squared roundings, stay far inside the range of f64.
const SAFE_SIZE: std::ops::Range<f64> = 1e-100..1e100;

impl Matrix<'_> {
    pub fn spectrum(&self, top: Option<usize>, bases: Option<&Bases>) -> Result<Spectrum, Failure> {
        let size = self.values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
        // `max` drops a NaN.
        if !self.values.iter().all(|x| x.is_finite()) {
            return Err(Failure::NonFinite);
        }
        if size == 0.0 || SAFE_SIZE.contains(&size) {
            return self.of_safe_size(size, top, bases);
        }
        let scaled: Vec<f64> = self.values.iter().map(|x| x / size).collect();
        let mut spectrum = Matrix { values: &scaled, ..*self }.of_safe_size(1.0, top, bases)?;
        spectrum.singular_values.iter_mut().for_each(|sigma| *sigma *= size);
        spectrum.frobenius_norm *= size;
        spectrum.nuclear_norm *= size;
        if let Some(alignment) = &mut spectrum.alignment {
            alignment.scale(size);
        }
        Ok(spectrum)
    }

    fn of_safe_size(&self, size: f64, top: Option<usize>, bases: Option<&Bases>) -> Result<Spectrum, Failure> {
        let &Self { values, rows, columns, precision } = self;
        let count = rows.min(columns);
        // A row-major [r, c] slice is the column-major c×r matrix Aᵀ, which has the same singular values; its left
        // singular vectors are the right ones of A.
        let transposed = MatRef::from_column_major_slice(values, columns, rows);
        let (mut sigma, vectors) = if size == 0.0 {
            (vec![0.0; count], None)
        } else if bases.is_some() {
            let (mut right, mut left) = (Mat::zeros(columns, count), Mat::zeros(rows, count));
            let sigma = singular_values(transposed, Some((&mut right, &mut left))).ok_or(Failure::NoConvergence)?;
            (sigma, Some((left, right)))
        } else if precision == Precision::Double {
            (singular_values(transposed, None).ok_or(Failure::NoConvergence)?, None)
        } else {
            (by_gram(transposed)?, None)
        };
        let limit = rows.max(columns) as f64 * precision.epsilon() * sigma[0];
        let rank = sigma.iter().take_while(|&&s| s > limit).count();
        sigma[rank..].fill(0.0);
        let squares: f64 = values.iter().map(|x| x * x).sum();
        let nuclear_norm: f64 = sigma.iter().sum();
        // The quotients of a zero matrix are 0, not NaN: it has rank 0.
        let over = |a: f64, b: f64| if rank == 0 { 0.0 } else { a / b };
        let (stable_rank, nuclear_rank, nuclear_over_spectral) =
            (over(squares, sigma[0] * sigma[0]), over(nuclear_norm * nuclear_norm, squares), over(nuclear_norm, sigma[0]));
        let shown = top.unwrap_or(count).min(count);
        let alignment = bases.map(|bases| bases.alignment(transposed.transpose(), squares, vectors.as_ref(), shown.min(rank)));
        sigma.truncate(shown);
        Ok(Spectrum {
            singular_values: sigma,
            rank,
            frobenius_norm: squares.sqrt(),
            nuclear_norm,
            stable_rank,
            nuclear_rank,
            nuclear_over_spectral,
            alignment,
        })
    }
}

/// Singular values in nonincreasing order, the roots of the eigenvalues of the smaller Gram matrix.
fn by_gram(x: MatRef<'_, f64>) -> Result<Vec<f64>, Failure> {
    let (m, n) = x.shape();
    let size = m.min(n);
    let mut gram = Mat::zeros(size, size);
    let (left, right) = if m >= n { (x.transpose(), x) } else { (x, x.transpose()) };
    // Threads split the result of a product and not its sums, which changes no bit.
    matmul(gram.as_mut(), Accum::Replace, left, right, 1.0, Par::rayon(0));
    let squares = symmetric_eigen(gram.as_ref(), None).ok_or(Failure::NoConvergence)?;
    // Eigenvalues come in nondecreasing order, and rounding can make the smallest ones negative.
    Ok(squares.iter().rev().map(|square| square.max(0.0).sqrt()).collect())
}
