//! Blocks of a matrix.

use candle_core::Tensor;

use crate::Result;

/// A matrix cut into blocks of at most `max` rows and columns, in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    rows: Vec<Piece>,
    columns: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    start: usize,
    len: usize,
}

/// Pieces of `max`, the last one shorter.
fn pieces(len: usize, max: usize) -> Vec<Piece> {
    (0..len).step_by(max).map(|start| Piece { start, len: max.min(len - start) }).collect()
}

impl Blocks {
    pub fn new((rows, columns): (usize, usize), max: usize) -> Self {
        Self { rows: pieces(rows, max), columns: pieces(columns, max) }
    }

    fn is_whole(&self) -> bool {
        self.rows.len() == 1 && self.columns.len() == 1
    }

    fn each(&self) -> impl Iterator<Item = (Piece, Piece)> {
        self.rows.iter().flat_map(|&rows| self.columns.iter().map(move |&columns| (rows, columns)))
    }

    /// The shape [r, c] of each block.
    pub fn shapes(&self) -> impl Iterator<Item = (usize, usize)> {
        self.each().map(|(rows, columns)| (rows.len, columns.len))
    }

    /// The blocks of a contiguous matrix, each contiguous. A single block is the matrix itself.
    pub fn split(&self, matrix: &Tensor) -> Result<Vec<Tensor>> {
        if self.is_whole() {
            return Ok(vec![matrix.clone()]);
        }
        let block = |(rows, columns): (Piece, Piece)| {
            Ok(matrix.narrow(0, rows.start, rows.len)?.narrow(1, columns.start, columns.len)?.contiguous()?)
        };
        self.each().map(block).collect()
    }

    /// The matrix of these blocks.
    pub fn join(&self, mut blocks: Vec<Tensor>) -> Result<Tensor> {
        if self.is_whole()
            && let Some(whole) = blocks.pop()
        {
            return Ok(whole);
        }
        let rows: Vec<Tensor> =
            blocks.chunks(self.columns.len()).map(|row| Tensor::cat(row, 1)).collect::<candle_core::Result<_>>()?;
        Ok(Tensor::cat(&rows, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn blocks_cover_the_matrix_once_in_order() {
        for ((r, c), max, count) in
            [((5, 7), 3, 6), ((6, 6), 3, 4), ((5, 7), 7, 1), ((5, 7), 6, 2), ((1, 4), 1, 4), ((7, 1), 3, 3)]
        {
            let matrix = Tensor::arange(0_f64, (r * c) as f64, &Device::Cpu).unwrap().reshape((r, c)).unwrap();
            let blocks = Blocks::new((r, c), max);
            let parts = blocks.split(&matrix).unwrap();
            assert_eq!(parts.len(), count, "{r}×{c} by {max}");
            for (part, (rows, columns)) in parts.iter().zip(blocks.shapes()) {
                assert_eq!(part.dims(), [rows, columns]);
                assert!(rows <= max && columns <= max && part.is_contiguous());
            }
            let joined = blocks.join(parts).unwrap();
            assert_eq!(joined.to_vec2::<f64>().unwrap(), matrix.to_vec2::<f64>().unwrap());
        }
        assert_eq!(pieces(10, 4), [(0, 4), (4, 4), (8, 2)].map(|(start, len)| Piece { start, len }));
        let single = Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(Blocks::new((2, 2), 2).split(&single).unwrap()[0].id(), single.id(), "nothing is copied");
    }
}
