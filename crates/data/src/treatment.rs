//! What is done to features before their moments are taken.

use crate::{DataError, Table};

/// A standard deviation at most this part of the column's largest magnitude is rounding: the column is constant.
const CONSTANT: f64 = 1e-12;

/// How features are treated. Means and deviations are those of the table that the treatment is [fitted](Treatment::fit) to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// As they are. The mean of the data is then one of the components, usually the strongest.
    Raw,
    /// The mean is subtracted; constant columns are dropped.
    Centered,
    /// The mean is subtracted and each column divided by its standard deviation; constant columns are dropped.
    Standardized,
}

/// A treatment with the numbers it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Treated {
    /// The columns that are kept.
    columns: Vec<usize>,
    /// The mean, and what rounding left of it.
    shift: Vec<(f64, f64)>,
    scale: Vec<f64>,
    constant: Vec<String>,
    dim: usize,
}

impl Treatment {
    /// Measures means and deviations of every column.
    ///
    /// # Errors
    /// [`DataError::Table`] when every column is constant.
    pub fn fit(self, table: &Table) -> Result<Treated, DataError> {
        let (n, d) = (table.len() as f64, table.dim());
        let mut mean = vec![0.0; d];
        let mut largest = vec![0.0_f64; d];
        for row in table.features().chunks_exact(d) {
            for ((mean, largest), value) in mean.iter_mut().zip(&mut largest).zip(row) {
                *mean += value / n;
                *largest = largest.max(value.abs());
            }
        }
        let mut variance = vec![0.0; d];
        for row in table.features().chunks_exact(d) {
            for ((variance, mean), value) in variance.iter_mut().zip(&mean).zip(row) {
                *variance += (value - mean) * (value - mean) / n;
            }
        }
        let deviation: Vec<f64> = variance.into_iter().map(f64::sqrt).collect();
        let is_constant = |column: &usize| deviation[*column] <= CONSTANT * largest[*column];
        let constant: Vec<usize> = (0..d).filter(is_constant).collect();
        if constant.len() == d {
            return Err(DataError::Table {
                name: table.name().to_owned(),
                place: "features".to_owned(),
                rule: "every column is constant: there is nothing to learn from".to_owned(),
                hint: "look whether the right columns are left out".to_owned(),
            });
        }
        let columns: Vec<usize> = match self {
            Self::Raw => (0..d).collect(),
            Self::Centered | Self::Standardized => (0..d).filter(|column| !is_constant(column)).collect(),
        };
        // What rounding left of the mean, which may be large against the deviation.
        let mut rest = vec![0.0; d];
        for row in table.features().chunks_exact(d) {
            for ((rest, mean), value) in rest.iter_mut().zip(&mean).zip(row) {
                *rest += (value - mean) / n;
            }
        }
        let shift =
            columns.iter().map(|&column| if self == Self::Raw { (0.0, 0.0) } else { (mean[column], rest[column]) }).collect();
        let scale = columns.iter().map(|&column| if self == Self::Standardized { deviation[column] } else { 1.0 }).collect();
        let constant = constant.into_iter().map(|column| table.feature_names()[column].clone()).collect();
        Ok(Treated { columns, shift, scale, constant, dim: d })
    }
}

impl Treated {
    /// The number of features that are left.
    pub fn dim(&self) -> usize {
        self.columns.len()
    }

    /// The names of the columns that have one value only. [`Treatment::Raw`] keeps them, the others drop them.
    pub fn constant(&self) -> &[String] {
        &self.constant
    }

    /// The treated features of a table with the same columns, row after row.
    ///
    /// # Panics
    /// The table has another number of columns.
    pub fn apply(&self, table: &Table) -> Vec<f64> {
        assert_eq!(table.dim(), self.dim, "a treatment is applied to tables with the columns it was fitted to");
        let mut features = Vec::with_capacity(table.len() * self.dim());
        for row in table.features().chunks_exact(self.dim) {
            let treated = self.columns.iter().zip(&self.shift).zip(&self.scale);
            features.extend(treated.map(|((&column, (mean, rest)), scale)| (row[column] - mean - rest) / scale));
        }
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TableOptions, read_csv};

    fn table() -> Table {
        let text = b"a,b,c,label\n1e9,2,7,x\n1000000002,4,7,x\n1000000004,0,7,y\n1000000006,2,7,y\n";
        read_csv(text, "t.csv", &TableOptions { label: "label", ignore: &[] }).unwrap()
    }

    #[test]
    fn columns_are_centred_and_scaled_and_constant_ones_dropped() {
        let table = table();
        let treated = Treatment::Standardized.fit(&table).unwrap();
        assert_eq!((treated.dim(), treated.constant()), (2, &["c".to_owned()][..]));
        let features = treated.apply(&table);
        for column in 0..2 {
            let values: Vec<f64> = features.iter().skip(column).step_by(2).copied().collect();
            assert!(values.iter().sum::<f64>().abs() < 1e-14 && (values.iter().map(|v| v * v).sum::<f64>() - 4.0).abs() < 1e-14);
        }
        let centred = Treatment::Centered.fit(&table).unwrap().apply(&table);
        assert_eq!(centred, [-3.0, 0.0, -1.0, 2.0, 1.0, -2.0, 3.0, 0.0]);
        let raw = Treatment::Raw.fit(&table).unwrap();
        assert_eq!((raw.dim(), raw.apply(&table)), (3, table.features().to_vec()));
    }

    #[test]
    fn a_table_of_constants_is_refused() {
        let text = b"a,label\n1,x\n1,x\n1,y\n1,y\n";
        let table = read_csv(text, "t.csv", &TableOptions { label: "label", ignore: &[] }).unwrap();
        insta::assert_snapshot!(Treatment::Raw.fit(&table).unwrap_err(), @r"
        t.csv: features: every column is constant: there is nothing to learn from
        hint: look whether the right columns are left out
        ");
    }
}
