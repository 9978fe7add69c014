//! Rows with a class and an attribute each, and the groups that these two make.

use crate::DataError;
use crate::images::check_labels;

/// The class `y` and the attribute `a` of each row. Group `g = y · n_attributes + a`, as in Sagawa et al. 2020, "Distributionally
/// Robust Neural Networks for Group Shifts".
///
/// Invariants: at least one row; labels are below the number of classes, attributes below the number of attributes.
///
/// ```
/// use isorate_data::Groups;
/// let groups = Groups::new(["dark", "blond"], ["female", "male"], vec![0, 1, 1], vec![1, 0, 0])?;
/// assert_eq!(groups.counts(), [0, 1, 2, 0]);
/// assert_eq!((groups.group(0), groups.name(1).as_str()), (1, "dark, male"));
/// # Ok::<(), isorate_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    class_names: Vec<String>,
    attribute_names: Vec<String>,
    labels: Vec<u32>,
    attributes: Vec<u32>,
}

impl Groups {
    /// # Errors
    /// [`DataError::Empty`] without rows, [`DataError::Label`] for a label or an attribute without a name,
    /// [`DataError::Setting`] when there are not as many attributes as labels.
    pub fn new<S: Into<String>>(
        class_names: impl IntoIterator<Item = S>,
        attribute_names: impl IntoIterator<Item = S>,
        labels: Vec<u32>,
        attributes: Vec<u32>,
    ) -> Result<Self, DataError> {
        let class_names: Vec<String> = class_names.into_iter().map(Into::into).collect();
        let attribute_names: Vec<String> = attribute_names.into_iter().map(Into::into).collect();
        if labels.len() != attributes.len() {
            return Err(DataError::setting(
                "number of attributes",
                attributes.len(),
                format!("must be {}, one for each label", labels.len()),
            ));
        }
        check_labels("classes", &labels, class_names.len())?;
        check_labels("attributes", &attributes, attribute_names.len())?;
        Ok(Self { class_names, attribute_names, labels, attributes })
    }

    /// The number of rows.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one row")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// What each class is called.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// What each attribute is called.
    pub fn attribute_names(&self) -> &[String] {
        &self.attribute_names
    }

    /// The class of each row.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The attribute of each row.
    pub fn attributes(&self) -> &[u32] {
        &self.attributes
    }

    /// The number of groups, present or not: classes × attributes.
    pub fn count(&self) -> usize {
        self.class_names.len() * self.attribute_names.len()
    }

    /// The group of a row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn group(&self, row: usize) -> usize {
        self.labels[row] as usize * self.attribute_names.len() + self.attributes[row] as usize
    }

    /// Whether the attribute of a row has the index of its class. In the constructions with one attribute for each class (a
    /// colour for each digit, a digit for each article) these are the rows that follow the spurious correlation: the majority.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn is_aligned(&self, row: usize) -> bool {
        self.labels[row] == self.attributes[row]
    }

    /// The number of rows of each group.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.count()];
        for row in 0..self.len() {
            counts[self.group(row)] += 1;
        }
        counts
    }

    /// Class and attribute of a group, such as "blond, male".
    ///
    /// # Panics
    /// If there is no such group.
    pub fn name(&self, group: usize) -> String {
        let (class, attribute) = (group / self.attribute_names.len(), group % self.attribute_names.len());
        format!("{}, {}", self.class_names[class], self.attribute_names[attribute])
    }

    /// The rows at `indices`, in that order; an index may come twice.
    ///
    /// # Errors
    /// [`DataError::Empty`] without an index, [`DataError::Setting`] for an index past the end.
    pub fn select(&self, indices: &[usize]) -> Result<Self, DataError> {
        if let Some(&past) = indices.iter().find(|&&i| i >= self.len()) {
            return Err(DataError::setting("index", past, format!("must be below {}", self.len())));
        }
        let of = |values: &[u32]| indices.iter().map(|&i| values[i]).collect();
        Self::new(self.class_names.clone(), self.attribute_names.clone(), of(&self.labels), of(&self.attributes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_class_and_attribute_together() {
        let groups = Groups::new(["a", "b"], ["x", "y", "z"], vec![1, 0, 1], vec![2, 0, 1]).unwrap();
        assert_eq!((0..3).map(|row| groups.group(row)).collect::<Vec<_>>(), [5, 0, 4]);
        let picked = groups.select(&[2, 2, 0]).unwrap();
        assert_eq!((picked.labels(), picked.attributes()), (&[1, 1, 1][..], &[1, 1, 2][..]));
        assert_eq!(picked.counts(), [0, 0, 0, 0, 2, 1]);
    }

    #[test]
    fn refuses_what_breaks_the_invariants() {
        let new = |labels: &[u32], attributes: &[u32]| {
            Groups::new(["a", "b"], ["x"], labels.to_vec(), attributes.to_vec()).unwrap_err()
        };
        insta::assert_snapshot!(new(&[], &[]), @"classes: no rows; a data set needs at least one");
        insta::assert_snapshot!(new(&[0, 2], &[0, 0]), @"classes: row 1: label 2 is outside 0..2");
        insta::assert_snapshot!(new(&[0], &[1]), @"attributes: row 0: label 1 is outside 0..1");
        insta::assert_snapshot!(new(&[0], &[0, 0]), @"number of attributes = 2: must be 1, one for each label");
        let one = Groups::new(["a"], ["x"], vec![0], vec![0]).unwrap();
        insta::assert_snapshot!(one.select(&[1]).unwrap_err(), @"index = 1: must be below 1");
    }
}
