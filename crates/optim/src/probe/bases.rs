//! How a matrix lies to bases that are given.

use candle_core::Tensor;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use serde::{Deserialize, Serialize};

use super::{ProbeProblem, Side};
use crate::reduce::f64_values;
use crate::{Error, Result};

/// Orthonormal bases to compare a matrix A, [r, c], with: the columns of L, [r, k], on its left, those of R, [c, k], on
/// its right, or one of the two.
///
/// For a layer of [classes, features] they may be the components of the data, the singular vectors of its
/// cross-moment Σ_yx = L S Rᵀ, along which the dynamics of linear models decouple. The columns may also be some
/// singular vectors of the weights at an earlier time.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_optim::Bases;
///
/// // The first two of three left directions.
/// let left = Tensor::new(&[[1.0_f32, 0.0], [0.0, 1.0], [0.0, 0.0]], &Device::Cpu)?;
/// let bases = Bases::left(&left)?;
/// assert!(Bases::left(&(left * 2.0)?).is_err());
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bases {
    left: Option<Mat<f64>>,
    right: Option<Mat<f64>>,
}

/// How a matrix A = Σᵢ σᵢ uᵢ vᵢᵀ, [r, c], lies to [`Bases`] L, [r, k], and R, [c, k].
///
/// The shares and coefficients depend on A alone. A cosine depends on the single singular vector, which is unique, up
/// to its sign, only where its singular value differs from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alignment {
    /// ‖LᵀA‖_F²/‖A‖_F², the part of A in the span of L, in [0, 1]; 0 for a zero matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_share: Option<f64>,
    /// ‖AR‖_F²/‖A‖_F², the part of A in the span of R, in [0, 1]; 0 for a zero matrix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_share: Option<f64>,
    /// lⱼᵀ A rⱼ for j = 1, …, k: the strength of each component in A. With both bases only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coefficients: Option<Vec<f64>>,
    /// |uᵢᵀ lⱼ|: a row of length k for each singular value of the record that is not 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_cosines: Option<Vec<Vec<f64>>>,
    /// |vᵢᵀ rⱼ|, in the same form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right_cosines: Option<Vec<Vec<f64>>>,
}

/// The largest element of BᵀB − I that still counts as rounding: the bases may come from a decomposition in f32.
const ORTHONORMAL: f64 = 1e-4;

impl Bases {
    /// A basis on the left, [r, k], with orthonormal columns.
    ///
    /// # Errors
    /// When it is not a matrix with at least as many rows as columns, or an element of LᵀL − I exceeds 1e-4.
    pub fn left(left: &Tensor) -> Result<Self> {
        Ok(Self { left: Some(orthonormal(left, Side::Left)?), right: None })
    }

    /// A basis on the right, [c, k], with orthonormal columns.
    ///
    /// # Errors
    /// Those of [`Bases::left`].
    pub fn right(right: &Tensor) -> Result<Self> {
        Ok(Self { left: None, right: Some(orthonormal(right, Side::Right)?) })
    }

    /// A basis on each side, [r, k] and [c, k], whose columns belong together in pairs.
    ///
    /// # Errors
    /// Those of [`Bases::left`], and when they differ in k.
    pub fn pair(left: &Tensor, right: &Tensor) -> Result<Self> {
        let (left, right) = (orthonormal(left, Side::Left)?, orthonormal(right, Side::Right)?);
        if left.ncols() != right.ncols() {
            return Err(Error::Probe(ProbeProblem::UnpairedBases { left: left.ncols(), right: right.ncols() }));
        }
        Ok(Self { left: Some(left), right: Some(right) })
    }

    /// The first side whose basis does not fit a matrix, with the rows that the basis has.
    pub(super) fn misfit(&self, rows: usize, columns: usize) -> Option<(Side, usize, usize)> {
        let misfit = |basis: &Option<Mat<f64>>, side, expected| {
            basis.as_ref().filter(|b| b.nrows() != expected).map(|b| (side, b.nrows(), expected))
        };
        misfit(&self.left, Side::Left, rows).or_else(|| misfit(&self.right, Side::Right, columns))
    }

    /// The alignment of `a`, [r, c], with its squared norm and its first `count` singular vectors on each side.
    pub(super) fn alignment(
        &self,
        a: MatRef<'_, f64>,
        squares: f64,
        vectors: Option<&(Mat<f64>, Mat<f64>)>,
        count: usize,
    ) -> Alignment {
        let share = |part: &Mat<f64>| if squares == 0.0 { 0.0 } else { (part.squared_norm_l2() / squares).min(1.0) };
        let cosines = |basis: &Mat<f64>, vectors: Option<&Mat<f64>>| match vectors {
            Some(vectors) => {
                let products = product(vectors.as_ref().subcols(0, count).transpose(), basis.as_ref());
                (0..count).map(|i| (0..basis.ncols()).map(|j| products[(i, j)].abs()).collect()).collect()
            }
            None => Vec::new(),
        };
        // Both orders of the products give the diagonal; LᵀA is at hand where L is.
        let left_part = self.left.as_ref().map(|left| product(left.transpose(), a));
        let right_part = self.right.as_ref().map(|right| product(a, right.as_ref()));
        let coefficients = left_part.as_ref().zip(self.right.as_ref()).map(|(part, right)| {
            (0..right.ncols()).map(|j| (0..right.nrows()).map(|i| part[(j, i)] * right[(i, j)]).sum()).collect()
        });
        Alignment {
            left_share: left_part.as_ref().map(share),
            right_share: right_part.as_ref().map(share),
            coefficients,
            left_cosines: self.left.as_ref().map(|left| cosines(left, vectors.map(|(u, _)| u))),
            right_cosines: self.right.as_ref().map(|right| cosines(right, vectors.map(|(_, v)| v))),
        }
    }
}

impl Alignment {
    /// The alignment of the matrix times `factor`.
    pub(super) fn scale(&mut self, factor: f64) {
        self.coefficients.iter_mut().flatten().for_each(|c| *c *= factor);
    }
}

fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut out = Mat::zeros(a.nrows(), b.ncols());
    matmul(out.as_mut(), Accum::Replace, a, b, 1.0, Par::rayon(0));
    out
}

fn orthonormal(basis: &Tensor, side: Side) -> Result<Mat<f64>> {
    let &[size, count] = basis.dims() else {
        return Err(Error::Probe(ProbeProblem::BasisShape { side, shape: basis.dims().to_vec() }));
    };
    if count == 0 || size < count {
        return Err(Error::Probe(ProbeProblem::BasisShape { side, shape: vec![size, count] }));
    }
    let values = f64_values(&basis.detach().contiguous()?)?;
    let basis = MatRef::from_row_major_slice(&values, size, count).to_owned();
    let gram = product(basis.transpose(), basis.as_ref());
    for j in 0..count {
        for i in 0..=j {
            let deviation = (gram[(i, j)] - if i == j { 1.0 } else { 0.0 }).abs();
            if deviation.is_nan() || deviation > ORTHONORMAL {
                return Err(Error::Probe(ProbeProblem::NotOrthonormal { side, columns: (i, j), product: gram[(i, j)] }));
            }
        }
    }
    Ok(basis)
}
