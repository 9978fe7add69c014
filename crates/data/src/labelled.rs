//! A checked view of features and labels.

use crate::DataError;
use crate::images::check_labels;

/// `n` feature vectors of length `dim` with one label each: `features` is `n × dim`, row after row.
///
/// Invariants: `n ≥ 1`, `dim ≥ 1`, every label is below `classes`. Whether the features are finite is checked where they are read.
#[derive(Clone, Copy, Debug)]
pub struct LabelledFeatures<'a, T> {
    features: &'a [T],
    dim: usize,
    labels: &'a [u32],
    classes: usize,
}

impl<'a, T: Copy + Into<f64>> LabelledFeatures<'a, T> {
    /// Checks the sizes and the labels.
    ///
    /// # Errors
    /// [`DataError::Empty`], [`DataError::Label`], or [`DataError::Setting`] when `features.len() ≠ labels.len() · dim` or `dim = 0`.
    pub fn new(features: &'a [T], dim: usize, labels: &'a [u32], classes: usize) -> Result<Self, DataError> {
        check_labels("labelled features", labels, classes)?;
        if dim == 0 {
            return Err(DataError::setting("dim", dim, "must be positive"));
        }
        if labels.len().checked_mul(dim) != Some(features.len()) {
            return Err(DataError::setting(
                "number of features",
                features.len(),
                format!("must be {} rows × {dim}", labels.len()),
            ));
        }
        Ok(Self { features, dim, labels, classes })
    }

    /// The number of rows.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one row")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The length of a feature vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The label of each row.
    pub fn labels(&self) -> &'a [u32] {
        self.labels
    }

    /// All features, row after row.
    pub fn features(&self) -> &'a [T] {
        self.features
    }

    /// Rows `start..start + buffer.len() / dim` in double precision, checked to be finite.
    pub(crate) fn fill(&self, start: usize, buffer: &mut [f64]) -> Result<(), DataError> {
        let from = start * self.dim;
        for (i, (target, &value)) in buffer.iter_mut().zip(&self.features[from..]).enumerate() {
            let value: f64 = value.into();
            if !value.is_finite() {
                return Err(DataError::NotFinite { row: start + i / self.dim, column: i % self.dim, value });
            }
            *target = value;
        }
        Ok(())
    }
}
