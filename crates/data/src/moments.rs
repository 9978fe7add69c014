//! Second moments of a labelled data set and Condition 1.

use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par, Side};

use crate::images::count_classes;
use crate::{DataError, LabelledFeatures};

/// Rows that are converted to double precision at a time: 40 MB at the 2,352 features of Colored-MNIST.
const BLOCK_ROWS: usize = 2048;

/// Whether means are subtracted before the moments are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Centering {
    /// `Σ_yx = E[y xᵀ]`, `Σ_xx = E[x xᵀ]`: the moments of Condition 1 and the ones that drive a linear model without bias. The
    /// mean of the data is one of their components, usually by far the largest.
    Raw,
    /// `Σ_yx = E[(y−ȳ)(x−x̄)ᵀ]`, `Σ_xx = E[(x−x̄)(x−x̄)ᵀ]`: the moments that drive a linear model with a bias. `Σ_yx` then has
    /// rank `k−1` at most.
    Centered,
}

/// Empirical second moments of `n` samples `(x_i, y_i)`, `x_i ∈ R^d`, `y_i` one-hot in `R^k`:
///
/// `Σ_yx = (1/n) Σ_i y_i x_iᵀ` (k×d), `Σ_xx = (1/n) Σ_i x_i x_iᵀ` (d×d), or their centred forms.
///
/// `Σ_yx = U S_yx Vᵀ` is its singular value decomposition, truncated to the `r ≤ min(k, d)` singular values above
/// rounding, `max(k, d) · ε · ‖E[y xᵀ]‖_F` (raw, as centring leaves errors of that size), in descending order. Component `c` is the pair of column `u_c` of `U` and `v_c` of `V`.
///
/// **Condition 1** (paper, section 2) says `Σ_xx = V S_xx Vᵀ` with a diagonal `S_xx` and the same `V`, completed to a basis of
/// `R^d`. Real data obey it only up to a residual: `Σ_xx = V̄ (S_xx + B) V̄ᵀ`, `V̄ = [V, V⊥]`, where `S_xx` is the diagonal of
/// `V̄ᵀ Σ_xx V̄` and `B` the rest. With `A = Vᵀ Σ_xx V` (r×r) and `C = V⊥ᵀ Σ_xx V`, two measures are given:
///
/// - [`block_residual`](Self::block_residual) `= ‖offdiag A‖_F / ‖diag A‖_F`: do the components interact with each other? It needs no
///   completion of `V`.
/// - [`residual`](Self::residual) `= ‖B‖_F / ‖S_xx‖_F` in all of `R^d`. The condition leaves `V⊥` free; this is the smallest value
///   over all its choices, reached when `V⊥` diagonalizes `V⊥ᵀ Σ_xx V⊥`. Then
///   `‖B‖² = ‖offdiag A‖² + 2‖C‖²`, `‖C‖_F = ‖Σ_xx V − V A‖_F` and `‖S_xx‖² = ‖Σ_xx‖² − ‖B‖²`, so `V⊥` is never formed.
///
/// When singular values coincide, `V`, and with it `s_xx` and the residuals, depend on the choice of basis in that subspace.
#[derive(Clone, Debug)]
pub struct Moments {
    samples: usize,
    priors: Vec<f64>,
    sigma_xx: Mat<f64>,
    s_yx: Vec<f64>,
    s_xx: Vec<f64>,
    /// r×k and r×d, row `c` for component `c`.
    left: Vec<f64>,
    right: Vec<f64>,
    block_residual: f64,
    residual: f64,
}

impl Moments {
    /// Accumulates both moments in double precision and decomposes `Σ_yx`. The cost is that of `Σ_xx`, about `n d²` operations.
    ///
    /// # Errors
    /// [`DataError::NotFinite`] for a feature that is NaN or infinite; [`DataError::NoConvergence`]; [`DataError::Setting`] when `Σ_yx = 0`, which has
    /// no components.
    ///
    /// ```
    /// use isorate_data::{Centering, LabelledFeatures, Moments};
    /// // Two classes on the axes, three samples to one: s_yx,c = p_c μ and s_xx,c = p_c μ² with μ = 2.
    /// let features = [2.0, 0.0, 2.0, 0.0, 2.0, 0.0, 0.0, 2.0];
    /// let data = LabelledFeatures::new(&features, 2, &[0, 0, 0, 1], 2)?;
    /// let moments = Moments::new(&data, Centering::Raw)?;
    /// assert!(moments.s_yx().iter().zip([1.5, 0.5]).all(|(s, e)| (s - e).abs() < 1e-15));
    /// assert!(moments.s_xx().iter().zip([3.0, 1.0]).all(|(s, e)| (s - e).abs() < 1e-15));
    /// assert!(moments.residual() < 1e-15);
    /// # Ok::<(), isorate_data::DataError>(())
    /// ```
    pub fn new<T: Copy + Into<f64>>(data: &LabelledFeatures<'_, T>, centering: Centering) -> Result<Self, DataError> {
        let (mut sigma_yx, mut sigma_xx) = accumulate(data)?;
        let n = data.len() as f64;
        let counts = count_classes(data.labels(), data.classes());
        let priors: Vec<f64> = counts.iter().map(|&c| c as f64 / n).collect();
        let cutoff = data.classes().max(data.dim()) as f64 * f64::EPSILON * sigma_yx.norm_l2();
        if centering == Centering::Centered {
            // The rows of Σ_yx are p_c E[x | c], so their sum is the mean of x.
            let mean: Vec<f64> = sigma_yx.col_iter().map(|column| column.sum()).collect();
            for (j, m) in mean.iter().enumerate() {
                for (i, p) in priors.iter().enumerate() {
                    sigma_yx[(i, j)] -= p * m;
                }
                for (i, l) in mean.iter().enumerate() {
                    sigma_xx[(i, j)] -= l * m;
                }
            }
        }
        Self::decompose(data.len(), priors, &sigma_yx, sigma_xx, cutoff)
    }

    fn decompose(
        samples: usize,
        priors: Vec<f64>,
        sigma_yx: &Mat<f64>,
        sigma_xx: Mat<f64>,
        cutoff: f64,
    ) -> Result<Self, DataError> {
        let (k, d) = (sigma_yx.nrows(), sigma_yx.ncols());
        let svd = sigma_yx.thin_svd().map_err(|_| DataError::NoConvergence {
            what: "the singular value decomposition",
            rows: k,
            columns: d,
        })?;
        let all: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        let largest = all.first().copied().unwrap_or(0.0);
        let s_yx: Vec<f64> = all.into_iter().take_while(|&s| s > cutoff).collect();
        if s_yx.is_empty() {
            return Err(DataError::setting(
                "largest singular value of Σ_yx",
                largest,
                format!("must be above rounding, {cutoff:e}"),
            ));
        }
        let rank = s_yx.len();
        let u = svd.U().subcols(0, rank);
        let v = svd.V().subcols(0, rank);

        let sigma_v = &sigma_xx * v;
        let a = v.transpose() * &sigma_v;
        let c = &sigma_v - v * &a;
        let s_xx: Vec<f64> = a.diagonal().column_vector().iter().copied().collect();
        let diagonal = s_xx.iter().map(|s| s * s).sum::<f64>();
        let off_diagonal = off_diagonal_squared(&a);
        let b = off_diagonal + 2.0 * c.squared_norm_l2();
        let s = sigma_xx.squared_norm_l2() - b;

        // A singular pair is fixed up to a common sign: make the largest entry of u_c positive.
        let mut left = Vec::with_capacity(rank * k);
        let mut right = Vec::with_capacity(rank * d);
        for (u, v) in u.col_iter().zip(v.col_iter()) {
            let top = u.iter().copied().fold(0.0, |top: f64, x| if x.abs() > top.abs() { x } else { top });
            left.extend(u.iter().map(|x| x * top.signum()));
            right.extend(v.iter().map(|x| x * top.signum()));
        }
        Ok(Self {
            samples,
            priors,
            sigma_xx,
            s_yx,
            s_xx,
            left,
            right,
            block_residual: (off_diagonal / diagonal).sqrt(),
            residual: (b / s).sqrt(),
        })
    }

    /// The number of samples `n`.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The feature dimension `d`.
    pub fn dim(&self) -> usize {
        self.sigma_xx.nrows()
    }

    /// The class frequencies `p_c`.
    pub fn priors(&self) -> &[f64] {
        &self.priors
    }

    /// The number of components `r`, the numerical rank of `Σ_yx`.
    pub fn rank(&self) -> usize {
        self.s_yx.len()
    }

    /// The singular values `s_yx,c` of `Σ_yx`, descending.
    pub fn s_yx(&self) -> &[f64] {
        &self.s_yx
    }

    /// `s_xx,c = v_cᵀ Σ_xx v_c` for each component.
    pub fn s_xx(&self) -> &[f64] {
        &self.s_xx
    }

    /// The left singular vectors, `r × k`: row `c` is `u_c`, with its largest entry positive.
    pub fn left_vectors(&self) -> &[f64] {
        &self.left
    }

    /// The right singular vectors, `r × d`: row `c` is `v_c`.
    pub fn right_vectors(&self) -> &[f64] {
        &self.right
    }

    /// `Σ_xx`, `d × d`.
    pub fn sigma_xx(&self) -> MatRef<'_, f64> {
        self.sigma_xx.as_ref()
    }

    /// `Σ_yx`, `k × d`, up to what the truncation to `r` components left out.
    pub fn sigma_yx(&self) -> Mat<f64> {
        let (k, d) = (self.priors.len(), self.dim());
        Mat::from_fn(k, d, |i, j| {
            self.s_yx.iter().enumerate().map(|(c, s)| s * self.left[c * k + i] * self.right[c * d + j]).sum()
        })
    }

    /// `‖offdiag A‖_F / ‖diag A‖_F`, `A = Vᵀ Σ_xx V`: Condition 1 among the components (see [`Moments`]).
    pub fn block_residual(&self) -> f64 {
        self.block_residual
    }

    /// `‖B‖_F / ‖S_xx‖_F` in `R^d` with the best completion of `V` (see [`Moments`]).
    pub fn residual(&self) -> f64 {
        self.residual
    }

    /// The trace of `Σ_xx`; `Σ_c s_xx,c` over it is the share of the second moment that the components hold.
    pub fn trace(&self) -> f64 {
        self.sigma_xx.diagonal().column_vector().sum()
    }

    /// All `d` eigenvalues of `Σ_xx`, descending. Costs about `d³` operations at each call.
    ///
    /// # Errors
    /// [`DataError::NoConvergence`].
    pub fn eigenvalues(&self) -> Result<Vec<f64>, DataError> {
        let d = self.dim();
        let mut values = self.sigma_xx.self_adjoint_eigenvalues(Side::Lower).map_err(|_| DataError::NoConvergence {
            what: "the eigenvalue decomposition",
            rows: d,
            columns: d,
        })?;
        values.reverse();
        Ok(values)
    }
}

/// `‖offdiag A‖_F²`, summed entry by entry: as a difference of norms it would drown in rounding where Condition 1 holds.
fn off_diagonal_squared(a: &Mat<f64>) -> f64 {
    let mut sum = 0.0;
    for j in 0..a.ncols() {
        for i in (0..a.nrows()).filter(|&i| i != j) {
            sum += a[(i, j)] * a[(i, j)];
        }
    }
    sum
}

/// Raw `Σ_yx` and `Σ_xx`.
fn accumulate<T: Copy + Into<f64>>(data: &LabelledFeatures<'_, T>) -> Result<(Mat<f64>, Mat<f64>), DataError> {
    let (n, d) = (data.len(), data.dim());
    let weight = 1.0 / n as f64;
    // Columns are classes while accumulating, so that each sample adds to contiguous memory.
    let mut sigma_xy = Mat::<f64>::zeros(d, data.classes());
    let mut sigma_xx = Mat::<f64>::zeros(d, d);
    let mut buffer = vec![0.0; BLOCK_ROWS.min(n) * d];
    for start in (0..n).step_by(BLOCK_ROWS) {
        let rows = BLOCK_ROWS.min(n - start);
        let block = &mut buffer[..rows * d];
        data.fill(start, block)?;
        for (x, &label) in block.chunks_exact(d).zip(&data.labels()[start..]) {
            for (sum, x) in sigma_xy.col_mut(label as usize).iter_mut().zip(x) {
                *sum += x * weight;
            }
        }
        // Rows of the features are columns here: x_blockᵀ is d × rows.
        let x = MatRef::from_column_major_slice(block, d, rows);
        triangular::matmul(
            &mut sigma_xx,
            BlockStructure::TriangularLower,
            Accum::Add,
            x,
            BlockStructure::Rectangular,
            x.transpose(),
            BlockStructure::Rectangular,
            weight,
            Par::rayon(0),
        );
    }
    for j in 0..d {
        for i in 0..j {
            sigma_xx[(i, j)] = sigma_xx[(j, i)];
        }
    }
    Ok((sigma_xy.transpose().to_owned(), sigma_xx))
}
