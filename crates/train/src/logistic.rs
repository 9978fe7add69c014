//! Multinomial logistic regression: the head that is fitted anew on frozen features for a *decoded* accuracy.
//!
//! A network may hold a feature that its own head ignores. Deep feature reweighting (P. Kirichenko, P. Izmailov, A. G. Wilson, "Last
//! layer re-training is sufficient for robustness to spurious correlations", ICLR 2023) shows it: fit a logistic regression to the last
//! layer's features on a group-balanced hold-out, and measure that.
//!
//! It is written here because linfa-logistic would bring fourteen more crates, and second versions of `rand`, `rand_chacha` and
//! `rand_core`, for one convex minimization.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use isorate_data::{DataError, LabelledFeatures};

use crate::Error;

/// The fit ends when ‖∇F‖_F is at most this, times the number of rows n.
const GRADIENT_NORM: f64 = 1e-9;
/// Newton steps after which a fit counts as failed; 10 to 20 are usual.
const NEWTON_STEPS: usize = 200;
/// Halvings of a Newton step.
const HALVINGS: usize = 60;
/// The part of the decrease foretold by the gradient that a step must reach (Armijo's rule).
const DECREASE: f64 = 1e-4;
/// Relative rounding of F: near the minimum the decrease is lost in it.
const ROUNDING: f64 = 1e-12;

/// A linear classifier with intercepts on standardized features, fitted to n rows (x_i, y_i) of `dim` features and k classes:
///
/// F(W, b) = −Σ_i log softmax(W x̃_i + b)\[y_i\] + (ridge/2) ‖W‖_F²,  x̃ = (x − mean)/std by column (dividing by n).
///
/// Intercepts are free. This is scikit-learn's `StandardScaler` before `LogisticRegression(C=1/ridge)` for k ≥ 3; for two classes that one
/// fits the difference of the two rows of W, and its C is 2/ridge.
///
/// A column that does not vary counts as 0, in later rows as well. A class without rows is never predicted. Where the classes can be
/// separated, the ridge alone keeps the minimum finite.
///
/// The minimum is found by Newton's method with steps from conjugate gradients (J. Nocedal, S. Wright, *Numerical Optimization*, 2nd ed.,
/// section 7.1), in f64 and on the calling thread: the bits do not depend on how many threads there are. It ends at
/// ‖∇F‖_F ≤ 1e-9 · n, and since F curves by at least the ridge, W is then within 1e-9 · n / ridge of the best.
/// Each product with the Hessian costs 4 n·dim·k operations.
#[derive(Clone, Debug)]
pub(crate) struct LogisticRegression {
    scaler: Scaler,
    classes: usize,
    /// Column-major (dim + 1) × k: the column of class c holds its weights, then its intercept.
    weights: Vec<f64>,
}

impl LogisticRegression {
    /// Fits `features`, n × `dim` row after row.
    ///
    /// # Errors
    /// [`Error::Data`]: sizes that do not fit together, a label outside `0..classes`, a feature that is not finite or whose variance is not,
    /// a ridge that is not positive and finite, or no convergence in 200 steps.
    pub(crate) fn fit(features: &[f64], dim: usize, labels: &[u32], classes: usize, ridge: f64) -> Result<Self, Error> {
        let data = LabelledFeatures::new(features, dim, labels, classes)?;
        if !(ridge > 0.0 && ridge.is_finite()) {
            let rule = "must be positive and finite".to_owned();
            return Err(DataError::Setting { setting: "ridge", value: ridge.to_string(), rule }.into());
        }
        let scaler = Scaler::of(&data)?;
        let problem = Problem { x: scaler.rows(features), labels, size: dim + 1, classes, ridge };
        let weights = problem.minimum().ok_or(DataError::NoConvergence {
            what: "the logistic regression",
            rows: data.len(),
            columns: dim,
        })?;
        Ok(Self { scaler, classes, weights })
    }

    /// The class with the largest output, the first of equals, for each whole row of `features`; `u32::MAX`, which is no class, for a row
    /// with a feature that is not finite.
    pub(crate) fn predict(&self, features: &[f64]) -> Vec<u32> {
        let x = self.scaler.rows(features);
        let outputs = outputs(&self.weights, &x, self.scaler.mean.len() + 1, self.classes);
        let largest = |row: &[f64]| {
            let first = (0..).zip(row).reduce(|best, next| if next.1 > best.1 { next } else { best });
            first.filter(|_| row.iter().all(|output| !output.is_nan())).map_or(u32::MAX, |(class, _)| class)
        };
        outputs.chunks_exact(self.classes).map(largest).collect()
    }
}

/// Mean and standard deviation of each column.
#[derive(Clone, Debug)]
struct Scaler {
    mean: Vec<f64>,
    /// 0 for a column that does not vary, else 1/std.
    scale: Vec<f64>,
}

impl Scaler {
    fn of(data: &LabelledFeatures<'_, f64>) -> Result<Self, Error> {
        let (n, dim) = (data.len() as f64, data.dim());
        let mut mean = vec![0.0; dim];
        for (row, x) in data.features().chunks_exact(dim).enumerate() {
            for (column, (mean, &value)) in mean.iter_mut().zip(x).enumerate() {
                if !value.is_finite() {
                    return Err(DataError::NotFinite { row, column, value }.into());
                }
                *mean += value / n;
            }
        }
        let mut variance = vec![0.0; dim];
        for x in data.features().chunks_exact(dim) {
            for ((variance, mean), x) in variance.iter_mut().zip(&mean).zip(x) {
                *variance += (x - mean).powi(2) / n;
            }
        }
        if let Some(value) = variance.iter().find(|variance| !variance.is_finite()) {
            let rule = "must be finite: the features are too large".to_owned();
            return Err(DataError::Setting { setting: "variance of a feature", value: value.to_string(), rule }.into());
        }
        // The mean of n equal numbers is off by their rounding.
        let constant = |std: f64, mean: f64| std <= n * f64::EPSILON * mean.abs();
        let scale = |(variance, &mean): (f64, &f64)| {
            let std = f64::sqrt(variance);
            if constant(std, mean) { 0.0 } else { 1.0 / std }
        };
        let scale = variance.into_iter().zip(&mean).map(scale).collect();
        Ok(Self { mean, scale })
    }

    /// Standardized rows with a 1 behind each, for the intercept: (dim + 1) × n column-major. A row that is not finite becomes NaN.
    fn rows(&self, features: &[f64]) -> Vec<f64> {
        let dim = self.mean.len();
        let mut rows = Vec::with_capacity(features.len() / dim * (dim + 1));
        for x in features.chunks_exact(dim) {
            rows.extend(x.iter().zip(&self.mean).zip(&self.scale).map(|((x, mean), scale)| (x - mean) * scale));
            rows.push(if x.iter().all(|x| x.is_finite()) { 1.0 } else { f64::NAN });
        }
        rows
    }
}

/// The minimization of F over the weights, (dim + 1) × k.
struct Problem<'a> {
    /// x̃ with a 1 for the intercept, `size` × n column-major.
    x: Vec<f64>,
    labels: &'a [u32],
    size: usize,
    classes: usize,
    ridge: f64,
}

impl Problem<'_> {
    /// The weights at which ‖∇F‖ ≤ [`GRADIENT_NORM`] · n; none if they are not found.
    fn minimum(&self) -> Option<Vec<f64>> {
        let n = self.labels.len() as f64;
        let mut weights = self.start();
        let (mut value, mut probabilities) = self.value(&weights);
        let mut first = None;
        for _ in 0..NEWTON_STEPS {
            let gradient = self.gradient(&weights, &probabilities);
            let norm = dot(&gradient, &gradient).sqrt();
            if norm <= GRADIENT_NORM * n {
                return Some(weights);
            }
            // Ever more exact steps: the convergence is superlinear.
            let exactness = (norm / *first.get_or_insert(norm)).sqrt().min(0.1) * norm;
            let step = self.newton_step(&probabilities, &gradient, exactness);
            let slope = dot(&gradient, &step);
            let tried = (0..HALVINGS).find_map(|halvings| {
                let length = 0.5_f64.powi(halvings.try_into().ok()?);
                let next: Vec<f64> = weights.iter().zip(&step).map(|(w, s)| w + length * s).collect();
                let (reached, probabilities) = self.value(&next);
                let enough = value + DECREASE * length * slope + ROUNDING * value.abs();
                (reached <= enough).then_some((next, reached, probabilities))
            });
            (weights, value, probabilities) = tried?;
        }
        None
    }

    /// No weights, and log-frequencies as intercepts: for a class without rows −∞, where its gradient is 0.
    fn start(&self) -> Vec<f64> {
        let mut counts = vec![0.0_f64; self.classes];
        for &label in self.labels {
            counts[label as usize] += 1.0;
        }
        let mut weights = vec![0.0; self.size * self.classes];
        for (column, count) in weights.chunks_exact_mut(self.size).zip(counts) {
            column[self.size - 1] = (count / self.labels.len() as f64).ln();
        }
        weights
    }

    /// F, and the probabilities P, k × n column-major.
    fn value(&self, weights: &[f64]) -> (f64, Vec<f64>) {
        let mut rows = outputs(weights, &self.x, self.size, self.classes);
        let mut loss = 0.0;
        for (row, &label) in rows.chunks_exact_mut(self.classes).zip(self.labels) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let shifted = row[label as usize] - largest;
            for z in row.iter_mut() {
                *z = (*z - largest).exp();
            }
            let sum: f64 = row.iter().sum();
            for p in row.iter_mut() {
                *p /= sum;
            }
            loss += sum.ln() - shifted;
        }
        let squares: f64 = self.penalized(weights).map(|w| w * w).sum();
        (loss + 0.5 * self.ridge * squares, rows)
    }

    /// X (P − Y)ᵀ + ridge · W.
    fn gradient(&self, weights: &[f64], probabilities: &[f64]) -> Vec<f64> {
        let mut residuals = probabilities.to_vec();
        for (row, &label) in residuals.chunks_exact_mut(self.classes).zip(self.labels) {
            row[label as usize] -= 1.0;
        }
        self.with_ridge(&residuals, weights)
    }

    /// H V = X Rᵀ + ridge · V with the rows r = p ∘ q − p (pᵀq), q = Vᵀx.
    fn hessian_times(&self, probabilities: &[f64], v: &[f64]) -> Vec<f64> {
        let mut rows = outputs(v, &self.x, self.size, self.classes);
        for (q, p) in rows.chunks_exact_mut(self.classes).zip(probabilities.chunks_exact(self.classes)) {
            let mean = dot(q, p);
            q.iter_mut().zip(p).for_each(|(q, p)| *q = p * (*q - mean));
        }
        self.with_ridge(&rows, v)
    }

    /// S with ‖H S + ∇F‖ ≤ `exactness`, by conjugate gradients. A shift of all intercepts changes nothing, and neither ∇F nor H leads there.
    fn newton_step(&self, probabilities: &[f64], gradient: &[f64], exactness: f64) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut direction = residual.clone();
        let mut squares = dot(&residual, &residual);
        for _ in 0..gradient.len() {
            let image = self.hessian_times(probabilities, &direction);
            let curvature = dot(&direction, &image);
            if curvature <= 0.0 {
                break;
            }
            let length = squares / curvature;
            step.iter_mut().zip(&direction).for_each(|(s, d)| *s += length * d);
            residual.iter_mut().zip(&image).for_each(|(r, h)| *r -= length * h);
            let before = squares;
            squares = dot(&residual, &residual);
            if squares.sqrt() <= exactness {
                break;
            }
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + squares / before * *d);
        }
        step
    }

    /// X `rows`ᵀ + ridge · `weights`, (dim + 1) × k; the intercepts have no ridge.
    fn with_ridge(&self, rows: &[f64], weights: &[f64]) -> Vec<f64> {
        let n = self.labels.len();
        let mut out = vec![0.0; weights.len()];
        let target = MatMut::from_column_major_slice_mut(&mut out, self.size, self.classes);
        let x = MatRef::from_column_major_slice(&self.x, self.size, n);
        let rows = MatRef::from_column_major_slice(rows, self.classes, n);
        matmul(target, Accum::Replace, x, rows.transpose(), 1.0, Par::Seq);
        for (out, column) in out.chunks_exact_mut(self.size).zip(weights.chunks_exact(self.size)) {
            out[..self.size - 1].iter_mut().zip(column).for_each(|(out, w)| *out += self.ridge * w);
        }
        out
    }

    /// All weights but the intercepts.
    fn penalized<'w>(&self, weights: &'w [f64]) -> impl Iterator<Item = &'w f64> {
        weights.chunks_exact(self.size).flat_map(|column| &column[..column.len() - 1])
    }
}

/// Wᵀ X: k × n column-major, the outputs of one row after those of another.
fn outputs(weights: &[f64], x: &[f64], size: usize, classes: usize) -> Vec<f64> {
    let n = x.len() / size;
    let mut out = vec![0.0; classes * n];
    let target = MatMut::from_column_major_slice_mut(&mut out, classes, n);
    // The intercepts may be −∞, which a product with 0 would turn into NaN in a blocked sum of other classes: they are added apart.
    let w = MatRef::from_column_major_slice(weights, size, classes);
    let x = MatRef::from_column_major_slice(x, size, n);
    matmul(target, Accum::Replace, w.subrows(0, size - 1).transpose(), x.subrows(0, size - 1), 1.0, Par::Seq);
    for (row, x) in out.chunks_exact_mut(classes).zip(x.col_iter()) {
        for (output, column) in row.iter_mut().zip(weights.chunks_exact(size)) {
            *output += column[size - 1] * x[size - 1];
        }
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use isorate_data::stream;
    use rand::Rng as _;
    use rayon::ThreadPoolBuilder;
    use serde::Deserialize;

    use super::*;

    /// What `tests/reference/logistic.py` writes.
    #[derive(Deserialize)]
    struct Reference {
        dim: usize,
        classes: usize,
        features: Vec<f64>,
        labels: Vec<u32>,
        coefficients: Vec<f64>,
        intercepts: Vec<f64>,
        probabilities: Vec<f64>,
        predictions: Vec<u32>,
    }

    fn distance(a: impl IntoIterator<Item = f64>, b: &[f64]) -> f64 {
        let differences: Vec<f64> = a.into_iter().zip(b).map(|(a, b)| (a - b).abs()).collect();
        assert_eq!(differences.len(), b.len());
        differences.into_iter().fold(0.0, f64::max)
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let cases: BTreeMap<String, Reference> = serde_json::from_str(include_str!("../tests/reference/logistic.json")).unwrap();
        for (name, case) in cases {
            let model = LogisticRegression::fit(&case.features, case.dim, &case.labels, case.classes, 1.0).unwrap();
            let columns = || model.weights.chunks_exact(case.dim + 1);
            let coefficients = columns().flat_map(|column| column[..case.dim].to_vec());
            let intercepts: Vec<f64> = columns().map(|column| column[case.dim]).collect();
            let mean = intercepts.iter().sum::<f64>() / case.classes as f64;
            let problem = Problem {
                x: model.scaler.rows(&case.features),
                labels: &case.labels,
                size: case.dim + 1,
                classes: case.classes,
                ridge: 1.0,
            };
            let (_, probabilities) = problem.value(&model.weights);
            let seventh = probabilities.chunks_exact(case.classes).step_by(7).flatten().copied();
            let found = [
                distance(coefficients, &case.coefficients),
                distance(intercepts.iter().map(|b| b - mean), &case.intercepts),
                distance(seventh, &case.probabilities),
            ];
            println!("{name}: largest differences of coefficients, intercepts, probabilities {found:?}");
            assert!(found.iter().all(|&difference| difference < 1e-8), "{name}: {found:?}");
            assert_eq!(model.predict(&case.features), case.predictions, "{name}");
        }
    }

    /// 300 rows of 64 features in 10 classes, far apart by `distance`.
    fn blobs(distance: f64) -> (Vec<f64>, Vec<u32>) {
        let mut random = stream(0, "logistic-test", 0);
        let labels: Vec<u32> = (0..300).map(|row| row % 10).collect();
        let row = |&label: &u32| -> Vec<f64> {
            (0..64).map(|j| if j == label { distance } else { 0.0 } + random.random_range(-1.0..1.0)).collect()
        };
        (labels.iter().flat_map(row).collect(), labels)
    }

    #[test]
    fn threads_change_no_bit() {
        let (features, labels) = blobs(1.0);
        let fit = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| LogisticRegression::fit(&features, 64, &labels, 10, 1.0)).unwrap().weights
        };
        let [one, four] = [1, 4].map(|threads| fit(threads).into_iter().map(f64::to_bits).collect::<Vec<_>>());
        assert_eq!(one, four);
    }

    #[test]
    fn the_ridge_bounds_separable_data() {
        let (features, labels) = blobs(1e4);
        for ridge in [1.0, 1e-6] {
            let model = LogisticRegression::fit(&features, 64, &labels, 10, ridge).unwrap();
            assert_eq!(model.predict(&features), labels);
            assert!(model.weights.iter().all(|w| w.abs() < 1e3));
        }
    }

    #[test]
    fn a_feature_that_does_not_vary_says_nothing() {
        let (features, labels) = blobs(1.0);
        let model = LogisticRegression::fit(&features, 64, &labels, 10, 1.0).unwrap();
        // 0.1 has no exact sum.
        let with = |constant: f64| features.chunks_exact(64).flat_map(|x| [x, &[constant]].concat()).collect::<Vec<_>>();
        let wider = LogisticRegression::fit(&with(0.1), 65, &labels, 10, 1.0).unwrap();
        assert_eq!(wider.predict(&with(7.0)), model.predict(&features));
    }

    #[test]
    fn a_class_without_rows_is_never_predicted() {
        let features = [0.0, 1.0, 2.0, 3.0];
        let model = LogisticRegression::fit(&features, 1, &[0, 0, 2, 2], 4, 1.0).unwrap();
        assert_eq!(model.predict(&[-9.0, 1.0, 2.0, 9.0]), [0, 0, 2, 2]);
        let one = LogisticRegression::fit(&features, 1, &[3; 4], 4, 1.0).unwrap();
        assert_eq!(one.predict(&[-9.0, f64::NAN, f64::INFINITY]), [3, u32::MAX, u32::MAX]);
    }

    #[test]
    fn bad_input_is_refused() {
        let fit = |features: &[f64], dim, labels: &[u32], ridge| {
            LogisticRegression::fit(features, dim, labels, 2, ridge).unwrap_err().to_string()
        };
        assert_eq!(fit(&[0.0, f64::NAN], 1, &[0, 1], 1.0), "features: row 1, column 0 is NaN; every feature must be finite");
        assert_eq!(fit(&[0.0, 1.0], 1, &[0, 1], 0.0), "ridge = 0: must be positive and finite");
        assert_eq!(fit(&[0.0, 1.0], 1, &[0, 1, 1], 1.0), "number of features = 2: must be 3 rows × 1");
        assert_eq!(
            fit(&[-1e200, 1e200], 1, &[0, 1], 1.0),
            "variance of a feature = inf: must be finite: the features are too large"
        );
        assert!(fit(&[0.0, 1.0], 1, &[0, 2], 1.0).contains("outside 0..2"));
    }
}
