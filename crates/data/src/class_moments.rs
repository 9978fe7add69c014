//! Moments of every class, and losses of a linear model by class.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, Mat, MatRef, Par};

use crate::images::count_classes;
use crate::{DataError, LabelledFeatures};

/// Rows that are worked on at a time.
const BLOCK_ROWS: usize = 1024;

/// First and second moments of labelled features, on the calling thread: the numbers do not depend on how many threads there are.
#[derive(Clone, Debug)]
pub struct ClassMoments {
    /// n_c, the number of rows of each class.
    pub counts: Vec<usize>,
    /// m_c = E\[x | c\], k×d.
    pub means: Mat<f64>,
    /// Σ_xx = E\[x xᵀ\], d×d.
    pub second: Mat<f64>,
    /// tr Cov(x | c), the within-class variance summed over the features.
    pub variances: Vec<f64>,
}

impl ClassMoments {
    /// Takes all moments. The cost is that of Σ_xx, n d² operations.
    ///
    /// # Errors
    /// [`DataError::NotFinite`]; [`DataError::Setting`] for a class without rows.
    pub fn new<T: Copy + Into<f64>>(data: &LabelledFeatures<'_, T>) -> Result<Self, DataError> {
        let (n, d, k) = (data.len(), data.dim(), data.classes());
        let counts = count_classes(data.labels(), k);
        if let Some(class) = counts.iter().position(|&count| count == 0) {
            return Err(DataError::setting("class", class, "has no rows"));
        }
        // Columns are classes while accumulating, so that each row adds to contiguous memory.
        let mut sums = Mat::<f64>::zeros(d, k);
        let mut second = Mat::<f64>::zeros(d, d);
        for_blocks(data, |start, block| {
            for (x, &label) in block.chunks_exact(d).zip(&data.labels()[start..]) {
                for (sum, x) in sums.col_mut(label as usize).iter_mut().zip(x) {
                    *sum += x;
                }
            }
            let x = MatRef::from_column_major_slice(block, d, block.len() / d);
            triangular::matmul(
                &mut second,
                BlockStructure::TriangularLower,
                Accum::Add,
                x,
                BlockStructure::Rectangular,
                x.transpose(),
                BlockStructure::Rectangular,
                1.0 / n as f64,
                Par::Seq,
            );
        })?;
        for j in 0..d {
            for i in 0..j {
                second[(i, j)] = second[(j, i)];
            }
        }
        let means = Mat::from_fn(k, d, |class, i| sums[(i, class)] / counts[class] as f64);
        let mut variances = vec![0.0; k];
        for_blocks(data, |start, block| {
            for (x, &label) in block.chunks_exact(d).zip(&data.labels()[start..]) {
                let class = label as usize;
                let distance: f64 = x.iter().enumerate().map(|(i, x)| (x - means[(class, i)]).powi(2)).sum();
                variances[class] += distance / counts[class] as f64;
            }
        })?;
        Ok(Self { counts, means, second, variances })
    }

    /// E\[(v_jᵀ x)² | c\] for each column v_j of `directions` (d×r): r×k.
    ///
    /// # Errors
    /// [`DataError::NotFinite`].
    pub fn projected<T: Copy + Into<f64>>(
        data: &LabelledFeatures<'_, T>,
        directions: MatRef<'_, f64>,
    ) -> Result<Mat<f64>, DataError> {
        let (d, r, k) = (data.dim(), directions.ncols(), data.classes());
        let counts = count_classes(data.labels(), k);
        let mut sums = Mat::<f64>::zeros(r, k);
        for_blocks(data, |start, block| {
            let scores = products(directions.transpose(), block, d);
            for (scores, &label) in scores.col_iter().zip(&data.labels()[start..]) {
                for (sum, score) in sums.col_mut(label as usize).iter_mut().zip(scores.iter()) {
                    *sum += score * score;
                }
            }
        })?;
        Ok(Mat::from_fn(r, k, |j, class| sums[(j, class)] / counts[class].max(1) as f64))
    }
}

/// Loss and accuracy of a linear model on the rows of one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassLoss {
    /// ½ E‖e_c − W x‖² over the rows of class c; NaN without rows.
    pub loss: f64,
    /// The part of the rows whose largest output is that of their class (the first of equals counts); NaN without rows.
    pub accuracy: f64,
}

/// ½ E‖e_c − W x‖² and the accuracy for each class c, of the k×d model W.
///
/// # Errors
/// [`DataError::NotFinite`]; [`DataError::Setting`] for a W of another shape.
pub fn class_losses<T: Copy + Into<f64>>(
    data: &LabelledFeatures<'_, T>,
    weights: MatRef<'_, f64>,
) -> Result<Vec<ClassLoss>, DataError> {
    let (d, k) = (data.dim(), data.classes());
    if weights.shape() != (k, d) {
        return Err(DataError::setting("shape of W", weights.shape(), format!("must be ({k}, {d})")));
    }
    let mut sums = vec![(0.0, 0usize, 0usize); k];
    for_blocks(data, |start, block| {
        let outputs = products(weights, block, d);
        for (outputs, &label) in outputs.col_iter().zip(&data.labels()[start..]) {
            let class = label as usize;
            let (mut loss, mut best) = (0.0, 0);
            for (index, output) in outputs.iter().enumerate() {
                let target = if index == class { 1.0 } else { 0.0 };
                loss += 0.5 * (target - output).powi(2);
                if *output > outputs[best] {
                    best = index;
                }
            }
            let (sum, hits, count) = &mut sums[class];
            *sum += loss;
            *hits += usize::from(best == class);
            *count += 1;
        }
    })?;
    let share = |(loss, hits, count): (f64, usize, usize)| {
        let count = count as f64;
        ClassLoss { loss: loss / count, accuracy: hits as f64 / count }
    };
    Ok(sums.into_iter().map(share).collect())
}

/// A X for the rows of a block as columns of X.
fn products(a: MatRef<'_, f64>, block: &[f64], d: usize) -> Mat<f64> {
    let x = MatRef::from_column_major_slice(block, d, block.len() / d);
    let mut out = Mat::zeros(a.nrows(), x.ncols());
    matmul(out.as_mut(), Accum::Replace, a, x, 1.0, Par::Seq);
    out
}

fn for_blocks<T: Copy + Into<f64>>(data: &LabelledFeatures<'_, T>, mut work: impl FnMut(usize, &[f64])) -> Result<(), DataError> {
    let (n, d) = (data.len(), data.dim());
    let mut buffer = vec![0.0; BLOCK_ROWS.min(n) * d];
    for start in (0..n).step_by(BLOCK_ROWS) {
        let block = &mut buffer[..BLOCK_ROWS.min(n - start) * d];
        data.fill(start, block)?;
        work(start, block);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes in the plane.
    fn data() -> (Vec<f64>, Vec<u32>) {
        (vec![1.0, 0.0, 3.0, 2.0, 0.0, 1.0, 0.0, 3.0, 3.0, 2.0], vec![0, 0, 1, 1, 1])
    }

    #[test]
    fn moments_by_hand() {
        let (features, labels) = data();
        let data = LabelledFeatures::new(&features, 2, &labels, 2).unwrap();
        let moments = ClassMoments::new(&data).unwrap();
        assert_eq!(moments.counts, [2, 3]);
        assert_eq!(
            (moments.means[(0, 0)], moments.means[(0, 1)], moments.means[(1, 0)], moments.means[(1, 1)]),
            (2.0, 1.0, 1.0, 2.0)
        );
        assert!((moments.second[(0, 0)] - 19.0 / 5.0).abs() < 1e-15 && (moments.second[(0, 1)] - 12.0 / 5.0).abs() < 1e-15);
        // Class 0: (1 + 1 + 1 + 1)/2; class 1: (1 + 1 + 4)/3 + (1 + 1 + 0)/3.
        assert!((moments.variances[0] - 2.0).abs() < 1e-15 && (moments.variances[1] - 8.0 / 3.0).abs() < 1e-14);
        let directions = Mat::from_fn(2, 1, |i, _| if i == 0 { 1.0 } else { -1.0 });
        let projected = ClassMoments::projected(&data, directions.as_ref()).unwrap();
        assert_eq!((projected[(0, 0)], projected[(0, 1)]), (1.0, (1.0 + 9.0 + 1.0) / 3.0));
    }

    #[test]
    fn losses_by_hand() {
        let (features, labels) = data();
        let data = LabelledFeatures::new(&features, 2, &labels, 2).unwrap();
        let zero = class_losses(&data, Mat::zeros(2, 2).as_ref()).unwrap();
        assert_eq!(zero, [ClassLoss { loss: 0.5, accuracy: 1.0 }, ClassLoss { loss: 0.5, accuracy: 0.0 }]);
        let identity = class_losses(&data, Mat::identity(2, 2).as_ref()).unwrap();
        // (0 + 0)/2, (4 + 4)/2; then (0), (0 + 4)/2, (9 + 1)/2.
        assert!((identity[0].loss - 2.0).abs() < 1e-15 && (identity[1].loss - 7.0 / 3.0).abs() < 1e-14);
        assert_eq!((identity[0].accuracy, identity[1].accuracy), (1.0, 2.0 / 3.0));
        assert!(class_losses(&data, Mat::zeros(2, 3).as_ref()).is_err());
    }
}
