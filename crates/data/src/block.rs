//! Rows of a shard, checked value by value.

use polars::prelude::Series;

use crate::DataError;
use crate::shards::BYTES;

/// Some successive rows of the columns that were asked for.
pub(crate) struct Block {
    pub(crate) file: String,
    /// The place of the first one in its file.
    pub(crate) first_row: usize,
    /// In the order in which they were asked for; of an image, its `bytes`.
    pub(crate) columns: Vec<Series>,
}

impl Block {
    /// The place in its file of the block's row `i`.
    pub(crate) fn row(&self, i: usize) -> usize {
        self.first_row + i
    }

    /// The image files in column `index`.
    pub(crate) fn images(&self, index: usize) -> Result<Vec<&[u8]>, DataError> {
        let column = &self.columns[index];
        let values = column.binary().map_err(|e| self.damaged(&e.to_string()))?;
        let name = || format!("{}.{BYTES}", column.name());
        values.iter().enumerate().map(|(i, value)| value.ok_or_else(|| self.null(name(), i))).collect()
    }

    /// The texts in column `index`.
    pub(crate) fn texts(&self, index: usize) -> Result<Vec<&str>, DataError> {
        let column = &self.columns[index];
        let values = column.str().map_err(|e| self.damaged(&e.to_string()))?;
        values.iter().enumerate().map(|(i, value)| value.ok_or_else(|| self.null(column.name().to_string(), i))).collect()
    }

    /// The whole numbers in column `index`, each of which must be in `0..classes`.
    pub(crate) fn labels(&self, index: usize, classes: usize) -> Result<Vec<u32>, DataError> {
        let column = &self.columns[index];
        let values = column.i64().map_err(|e| self.damaged(&e.to_string()))?;
        let check = |(i, label): (usize, Option<i64>)| {
            let label = label.ok_or_else(|| self.null(column.name().to_string(), i))?;
            u32::try_from(label).ok().filter(|&l| (l as usize) < classes).ok_or_else(|| DataError::Label {
                name: self.file.clone(),
                row: self.row(i),
                column: column.name().to_string(),
                label,
                classes,
            })
        };
        values.iter().enumerate().map(check).collect()
    }

    /// The truth values in column `index`, as 0 and 1.
    pub(crate) fn flags(&self, index: usize) -> Result<Vec<u32>, DataError> {
        let column = &self.columns[index];
        let values = column.bool().map_err(|e| self.damaged(&e.to_string()))?;
        values
            .iter()
            .enumerate()
            .map(|(i, value)| value.map(u32::from).ok_or_else(|| self.null(column.name().to_string(), i)))
            .collect()
    }

    fn null(&self, column: String, i: usize) -> DataError {
        DataError::Null { name: self.file.clone(), column, row: self.row(i) }
    }

    fn damaged(&self, reason: &str) -> DataError {
        DataError::DamagedParquet { name: self.file.clone(), reason: reason.to_owned() }
    }
}
