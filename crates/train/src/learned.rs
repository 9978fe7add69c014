//! How much of each component of the data a classifier has learned.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, Par};
use isorate_data::{DataError, LabelledFeatures};

use crate::Error;

/// The components of labelled rows x_i ∈ R^d, y_i one-hot in R^k, and the measure of what predictions for these rows hold of each.
///
/// With Cov(y, x) = (1/n) Σ_i (y_i − ȳ)(x_i − x̄)ᵀ = Σ_c s_yx,c u_c v_cᵀ (k×d, singular values descending, as in
/// [`isorate_data::Moments`] with `Centering::Centered`), predictions p_i ∈ R^k have learned of component c
///
/// ρ_c = u_cᵀ Cov(p, x) v_c / s_yx,c.
///
/// **Why this.** Cross-entropy L = −(1/n) Σ_i log p_i\[y_i\] of p = softmax(f) has ∂L/∂f_i = (p_i − y_i)/n. Where W maps x linearly into f, the
/// gradient is ∇_W L = E\[(p − y) xᵀ\], and that of a bias is E\[p − y\]; where the bias is at its best, E p = ȳ and
/// ∇_W L = Cov(p, x) − Cov(y, x), so that
///
/// −u_cᵀ (∇_W L) v_c = s_yx,c (1 − ρ_c):
///
/// 1 − ρ_c is the part of component c that still drives the learning. For a deeper network the same matrix is what a linear map beside it,
/// from the inputs to the logits, would be driven by. ρ_c is 0 for predictions that ignore x and 1 where they have the labels' moment; it is
/// linear in p and may leave \[0, 1\].
///
/// **Linear models.** Square loss of f(x) = W x + b has the gradient Cov(f − y, x): put f in the place of p. Under Condition 1 on the centred
/// moments, Cov(x, x) = V S_xx Vᵀ, a model W = Σ_c α_c u_c v_cᵀ has Cov(f, x) = W Cov(x, x), and ρ_c = α_c s_xx,c / s_yx,c = α_c / a_c*: the
/// part of the way to its limit (paper, section 3) that component c has gone.
///
/// All sums are in f64, in the order of the rows and on the calling thread: the bits do not depend on how many threads there are.
#[derive(Clone, Debug)]
pub(crate) struct LearnedSpectrum {
    classes: usize,
    s_yx: Vec<f64>,
    /// r×k: row c is u_c.
    left: Vec<f64>,
    /// z_c = v_cᵀ(x − x̄), n×r row after row.
    projections: Vec<f64>,
}

impl LearnedSpectrum {
    /// Takes the components of `features`, n × `d` row after row. It costs about 2 n·d·r operations, and memory for n·r + k·d numbers:
    /// nothing of size d×d is formed.
    ///
    /// # Errors
    /// [`Error::Data`]: sizes that do not fit together, a label outside `0..classes`, a feature that is not finite, no convergence, or
    /// features that are not correlated with the labels, which leave no component above rounding, max(k, d) · ε · ‖E\[y xᵀ\]‖_F.
    pub(crate) fn new(features: &[f32], d: usize, labels: &[u32], classes: usize) -> Result<Self, Error> {
        let data = LabelledFeatures::new(features, d, labels, classes)?;
        let (cross, cutoff) = cross_moment(&data)?;
        let (all, left, right) = decompose(&cross).ok_or(DataError::NoConvergence {
            what: "the singular value decomposition",
            rows: classes,
            columns: d,
        })?;
        let largest = all.first().copied().unwrap_or(0.0);
        let s_yx: Vec<f64> = all.into_iter().take_while(|&s| s > cutoff).collect();
        let rank = s_yx.len();
        if rank == 0 {
            let rule = format!("must be above rounding, {cutoff:e}: the features are not correlated with the labels");
            let setting = "largest singular value of Cov(y, x)";
            return Err(DataError::Setting { setting, value: format!("{largest:e}"), rule }.into());
        }
        let left = (0..rank).flat_map(|c| left.col(c).iter().copied().collect::<Vec<_>>()).collect();
        Ok(Self { classes, s_yx, left, projections: projections(features, d, &right, rank) })
    }

    /// The singular values s_yx,c of Cov(y, x), descending: r ≤ min(k − 1, d) of them.
    pub(crate) fn s_yx(&self) -> &[f64] {
        &self.s_yx
    }

    /// ρ_c for each component, from predictions for the same rows in the same order: n × k row after row, for a network its softmax outputs.
    ///
    /// A prediction that is not finite makes every ρ_c NaN; so do predictions of another number.
    pub(crate) fn learned(&self, probabilities: &[f32]) -> Vec<f64> {
        let rank = self.s_yx.len();
        let n = self.projections.len() / rank;
        if probabilities.len() != n * self.classes {
            return vec![f64::NAN; rank];
        }
        let mut mean = vec![0.0; self.classes];
        for p in probabilities.chunks_exact(self.classes) {
            mean.iter_mut().zip(p).for_each(|(mean, &p)| *mean += f64::from(p) / n as f64);
        }
        let mut moments = vec![0.0; rank];
        for (p, z) in probabilities.chunks_exact(self.classes).zip(self.projections.chunks_exact(rank)) {
            for ((moment, z), u) in moments.iter_mut().zip(z).zip(self.left.chunks_exact(self.classes)) {
                let along: f64 = u.iter().zip(p).zip(&mean).map(|((u, &p), mean)| u * (f64::from(p) - mean)).sum();
                *moment += along * z / n as f64;
            }
        }
        moments.iter().zip(&self.s_yx).map(|(moment, s)| moment / s).collect()
    }
}

/// Cov(y, x), k×d, and what counts as rounding in its singular values.
fn cross_moment(data: &LabelledFeatures<'_, f32>) -> Result<(Mat<f64>, f64), Error> {
    let (n, d, k) = (data.len() as f64, data.dim(), data.classes());
    // Columns are classes while summing, so that each row adds to contiguous memory.
    let mut cross = Mat::<f64>::zeros(d, k);
    let mut priors = vec![0.0; k];
    for (row, (x, &label)) in data.features().chunks_exact(d).zip(data.labels()).enumerate() {
        if let Some((column, &value)) = x.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(DataError::NotFinite { row, column, value: value.into() }.into());
        }
        priors[label as usize] += 1.0 / n;
        cross.col_mut(label as usize).iter_mut().zip(x).for_each(|(sum, &x)| *sum += f64::from(x) / n);
    }
    let cutoff = k.max(d) as f64 * f64::EPSILON * cross.norm_l2();
    let mean: Vec<f64> = cross.row_iter().map(|row| row.sum()).collect();
    Ok((Mat::from_fn(k, d, |i, j| cross[(j, i)] - priors[i] * mean[j]), cutoff))
}

/// Singular values, descending, with U and V in columns; none if they are not found.
fn decompose(cross: &Mat<f64>) -> Option<(Vec<f64>, Mat<f64>, Mat<f64>)> {
    let (k, d) = cross.shape();
    let size = k.min(d);
    let (mut values, mut left, mut right) = (Diag::zeros(size), Mat::zeros(k, size), Mat::zeros(d, size));
    let (thin, options) = (ComputeSvdVectors::Thin, faer::prelude::default());
    let mut memory = MemBuffer::new(svd_scratch::<f64>(k, d, thin, thin, Par::Seq, options));
    let stack = MemStack::new(&mut memory);
    svd(cross.as_ref(), values.as_mut(), Some(left.as_mut()), Some(right.as_mut()), Par::Seq, stack, options).ok()?;
    Some((values.column_vector().iter().copied().collect(), left, right))
}

/// v_cᵀ(x − x̄) for the first `rank` columns v_c: n×r row after row.
fn projections(features: &[f32], d: usize, right: &Mat<f64>, rank: usize) -> Vec<f64> {
    let n = features.len() / d;
    let directions: Vec<f64> = (0..d).flat_map(|j| (0..rank).map(move |c| right[(j, c)])).collect();
    let mut projections = vec![0.0; n * rank];
    for (z, x) in projections.chunks_exact_mut(rank).zip(features.chunks_exact(d)) {
        for (v, &x) in directions.chunks_exact(rank).zip(x) {
            z.iter_mut().zip(v).for_each(|(z, v)| *z += f64::from(x) * v);
        }
    }
    let mut mean = vec![0.0; rank];
    for z in projections.chunks_exact(rank) {
        mean.iter_mut().zip(z).for_each(|(mean, z)| *mean += z / n as f64);
    }
    for z in projections.chunks_exact_mut(rank) {
        z.iter_mut().zip(&mean).for_each(|(z, mean)| *z -= mean);
    }
    projections
}

#[cfg(test)]
mod tests {
    use isorate_data::{Centering, Moments, stream};
    use rand::Rng as _;
    use rand::seq::SliceRandom as _;
    use rayon::ThreadPoolBuilder;

    use super::*;

    const D: usize = 30;
    const K: usize = 4;

    /// 500 rows of four classes with priors .4, .3, .2, .1.
    fn rows() -> (Vec<f32>, Vec<u32>) {
        let mut random = stream(0, "learned-test", 0);
        let labels: Vec<u32> = (0..500).map(|row| [0, 0, 0, 0, 1, 1, 1, 2, 2, 3][row % 10]).collect();
        let mut row = |label: u32| -> Vec<f32> {
            (0..30).map(|j| f32::from(u8::from(j == label)) + random.random_range(0.0..1.0)).collect()
        };
        (labels.iter().flat_map(|&label| row(label)).collect(), labels)
    }

    fn one_hot(labels: &[u32], classes: u32, scale: f32) -> Vec<f32> {
        labels.iter().flat_map(|&label| (0..classes).map(move |c| if c == label { scale } else { 0.0 })).collect()
    }

    fn near(found: &[f64], expected: f64) -> bool {
        found.iter().all(|rho| (rho - expected).abs() < 1e-12)
    }

    #[test]
    fn labels_are_learned_and_constants_are_not() {
        let (features, labels) = rows();
        let spectrum = LearnedSpectrum::new(&features, D, &labels, K).unwrap();
        let data = LabelledFeatures::new(&features, D, &labels, K).unwrap();
        let moments = Moments::new(&data, Centering::Centered).unwrap();
        assert_eq!(spectrum.s_yx().len(), K - 1);
        assert!(spectrum.s_yx().iter().zip(moments.s_yx()).all(|(a, b)| (a - b).abs() < 1e-14));
        assert!(spectrum.s_yx().is_sorted_by(|a, b| a >= b));
        assert!(near(&spectrum.learned(&one_hot(&labels, 4, 1.0)), 1.0));
        assert!(near(&spectrum.learned(&one_hot(&labels, 4, 0.25)), 0.25));
        assert!(near(&spectrum.learned(&[0.4, 0.3, 0.2, 0.1].repeat(500)), 0.0));
    }

    #[test]
    fn neither_the_order_of_the_rows_nor_the_threads_matter() {
        let (features, labels) = rows();
        let mut random = stream(0, "learned-test", 1);
        let predictions: Vec<f32> = (0..500 * K).map(|_| random.random()).collect();
        let mut order: Vec<usize> = (0..500).collect();
        order.shuffle(&mut random);
        let shuffled = |rows: &[f32], width: usize| -> Vec<f32> {
            order.iter().flat_map(|row| rows[row * width..(row + 1) * width].to_vec()).collect()
        };
        let other =
            LearnedSpectrum::new(&shuffled(&features, D), D, &order.iter().map(|&row| labels[row]).collect::<Vec<_>>(), K);
        let other = other.unwrap().learned(&shuffled(&predictions, K));
        let [one, four] = [1, 4].map(|threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| LearnedSpectrum::new(&features, D, &labels, K).unwrap().learned(&predictions))
        });
        assert_eq!(one, four);
        assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    /// Rows μ e_y ± σ√d e_j for each j, with class c as often as `counts` says. Cov(y, x) = μ Q and Cov(x, x) = μ² Q + σ² I with
    /// Q = diag(p) − p pᵀ (beside zeros) have the same eigenvectors: Condition 1 holds exactly.
    fn condition_1(mean: f32, deviation: f32, d: u32, counts: &[usize]) -> (Vec<f32>, Vec<u32>) {
        let size = deviation * (d as f32).sqrt();
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for (label, &count) in (0..).zip(counts) {
            for (axis, sign) in (0..count).flat_map(|_| (0..d).flat_map(|axis| [(axis, 1.0), (axis, -1.0)])) {
                let at = |j| if j == label { mean } else { 0.0 } + if j == axis { sign * size } else { 0.0 };
                features.extend((0..d).map(at));
                labels.push(label);
            }
        }
        (features, labels)
    }

    #[test]
    fn a_linear_model_has_gone_alpha_over_its_limit() {
        let (features, labels) = condition_1(2.0, 0.5, 4, &[5, 3, 2]);
        let data = LabelledFeatures::new(&features, 4, &labels, 3).unwrap();
        let moments = Moments::new(&data, Centering::Centered).unwrap();
        assert!(moments.block_residual() < 1e-12);
        let spectrum = LearnedSpectrum::new(&features, 4, &labels, 3).unwrap();
        // Gradient descent on the centred square loss, W ← W − η (W Σ_xx − Σ_yx): α_c / a_c* = 1 − (1 − η s_xx,c)ⁿ.
        let (rate, steps) = (0.1, 7);
        let sigma_yx = moments.sigma_yx();
        let mut w = Mat::<f64>::zeros(3, 4);
        for _ in 0..steps {
            let gradient = &w * moments.sigma_xx() - &sigma_yx;
            w = Mat::from_fn(3, 4, |i, j| w[(i, j)] - rate * gradient[(i, j)]);
        }
        let output = |x: &[f32]| -> Vec<f32> {
            #[expect(clippy::cast_possible_truncation, reason = "predictions are in single precision")]
            let output = |i| (0..4).map(|j| w[(i, j)] * f64::from(x[j])).sum::<f64>() as f32;
            (0..3).map(output).collect()
        };
        let outputs: Vec<f32> = features.chunks_exact(4).flat_map(output).collect();
        let learned = spectrum.learned(&outputs);
        for (c, (rho, s_xx)) in learned.iter().zip(moments.s_xx()).enumerate() {
            let expected = 1.0 - (1.0 - rate * s_xx).powi(steps);
            println!("component {c}: {rho:.7}, α/a* = {expected:.7}");
            assert!((rho - expected).abs() < 1e-6);
        }
        assert!(learned[0] > learned[1] + 0.1);
    }

    #[test]
    fn bad_input_is_refused() {
        let new =
            |features: &[f32], labels: &[u32]| LearnedSpectrum::new(features, 1, labels, 2).map_err(|error| error.to_string());
        assert_eq!(
            new(&[0.0, f32::INFINITY], &[0, 1]).unwrap_err(),
            "features: row 1, column 0 is inf; every feature must be finite"
        );
        assert!(new(&[0.1; 6], &[0, 1, 0, 1, 0, 0]).unwrap_err().contains("not correlated with the labels"));
        assert!(new(&[0.0], &[0, 1]).unwrap_err().contains("must be 2 rows × 1"));
        let spectrum = new(&[0.0, 1.0], &[0, 1]).unwrap();
        assert!(spectrum.learned(&[0.5]).iter().all(|rho| rho.is_nan()));
        assert!(spectrum.learned(&[0.5, f32::NAN, 0.5, 0.5]).iter().all(|rho| rho.is_nan()));
    }
}
