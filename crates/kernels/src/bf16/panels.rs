//! Factors of a product, laid out for it.

use half::bf16;

use crate::Threads;

/// Rows or columns of a factor in a panel: the f32 numbers in the widest register.
pub(crate) const WIDTH: usize = 16;

/// A factor in panels of 16 of its rows (or columns, for a right factor): for each two neighbouring places in the sum, the
/// pairs of 16 rows side by side. What is missing in the last panel, and to an even number of places, is filled with zeros.
///
/// The memory is kept and used again: it goes by the largest factor so far.
#[derive(Debug, Default)]
pub struct Panels {
    pairs: Vec<[u32; WIDTH]>,
    size: usize,
    depth: usize,
}

/// A place in a sum and its number.
fn pair(first: bf16, second: bf16) -> u32 {
    u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16
}

impl Panels {
    /// Nothing yet.
    pub const fn new() -> Self {
        Self { pairs: Vec::new(), size: 0, depth: 0 }
    }

    /// The rows of a row-major matrix.
    ///
    /// # Panics
    /// When there are not `rows`·`columns` elements.
    pub fn set_rows(&mut self, matrix: &[bf16], (rows, columns): (usize, usize), threads: Threads) {
        assert_eq!(matrix.len(), rows * columns, "a matrix [{rows}, {columns}]");
        self.fill(rows, columns, threads, |first, panel| {
            for (lane, row) in matrix.chunks_exact(columns).skip(first).take(WIDTH).enumerate() {
                along(panel, lane, row);
            }
        });
    }

    /// The columns of a row-major matrix.
    ///
    /// # Panics
    /// When there are not `rows`·`columns` elements.
    pub fn set_columns(&mut self, matrix: &[bf16], (rows, columns): (usize, usize), threads: Threads) {
        assert_eq!(matrix.len(), rows * columns, "a matrix [{rows}, {columns}]");
        self.fill(columns, rows, threads, |first, panel| across(panel, matrix, columns, first));
    }

    /// The rows of a symmetric matrix [n, n], of which only the lower triangle is looked at.
    ///
    /// # Panics
    /// When there are not n² elements.
    pub fn set_symmetric(&mut self, lower: &[bf16], n: usize, threads: Threads) {
        assert_eq!(lower.len(), n * n, "a matrix [{n}, {n}]");
        self.fill(n, n, threads, |first, panel| {
            // Left of the diagonal the rows are there; below it, the columns are, which are the same.
            let end = (first + WIDTH).min(n);
            let (left, rest) = panel.split_at_mut(first / 2);
            let (diagonal, below) = rest.split_at_mut((end - first).div_ceil(2));
            for (lane, row) in lower.chunks_exact(n).skip(first).take(WIDTH).enumerate() {
                along(left, lane, &row[..first]);
            }
            let entry = |i: usize, j: usize| if j < n { lower[i.max(j) * n + i.min(j)] } else { bf16::ZERO };
            for (place, pairs) in diagonal.iter_mut().enumerate() {
                let j = first + 2 * place;
                for (i, target) in (first..end).zip(pairs) {
                    *target = pair(entry(i, j), entry(i, j + 1));
                }
            }
            across(below, &lower[end * n..], n, first);
        });
    }

    /// `fill(first row, pairs)` for each panel.
    fn fill(&mut self, size: usize, depth: usize, threads: Threads, fill: impl Fn(usize, &mut [[u32; WIDTH]]) + Sync) {
        (self.size, self.depth) = (size, depth.div_ceil(2));
        let (count, depth) = (self.count(), self.depth);
        // Lanes without a row, and everything when the places are few, must hold zeros.
        let used = count * depth;
        if self.pairs.len() < used {
            self.pairs.resize(used, [0; WIDTH]);
        }
        let ragged = !size.is_multiple_of(WIDTH);
        if depth == 0 || count == 0 {
            return;
        }
        // A few panels at a time, so that a task is worth its start.
        let together = count.div_ceil(4 * threads.count());
        threads.chunks(&mut self.pairs[..used], together * depth, |chunk, panels| {
            for (index, panel) in panels.chunks_exact_mut(depth).enumerate() {
                let number = chunk * together + index;
                if ragged && number + 1 == count {
                    panel.fill([0; WIDTH]);
                }
                fill(number * WIDTH, panel);
            }
        });
    }

    /// The number of rows.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// The number of panels.
    pub(crate) fn count(&self) -> usize {
        self.size.div_ceil(WIDTH)
    }

    /// The number of pairs in each row.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// One panel.
    #[inline(always)]
    pub(crate) fn panel(&self, index: usize) -> &[[u32; WIDTH]] {
        &self.pairs[index * self.depth..][..self.depth]
    }
}

/// One row of a panel from numbers that lie side by side.
fn along(panel: &mut [[u32; WIDTH]], lane: usize, row: &[bf16]) {
    let (pairs, rest) = row.as_chunks::<2>();
    for (target, &[first, second]) in panel.iter_mut().zip(pairs) {
        target[lane] = pair(first, second);
    }
    if let ([last], Some(target)) = (rest, panel.get_mut(pairs.len())) {
        target[lane] = pair(*last, bf16::ZERO);
    }
}

/// A panel whose rows are the columns `first`, `first` + 1, … of a row-major matrix.
fn across(panel: &mut [[u32; WIDTH]], matrix: &[bf16], columns: usize, first: usize) {
    let width = WIDTH.min(columns - first);
    let mut rows = matrix.chunks_exact(columns).map(|row| &row[first..first + width]);
    for target in panel {
        let (Some(above), below) = (rows.next(), rows.next()) else { return };
        match below {
            Some(below) => {
                for ((target, &first), &second) in target.iter_mut().zip(above).zip(below) {
                    *target = pair(first, second);
                }
            }
            None => {
                for (target, &first) in target.iter_mut().zip(above) {
                    *target = pair(first, bf16::ZERO);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Different numbers, exact in bf16.
    fn numbers(count: usize) -> Vec<bf16> {
        (1..=count).map(|i| bf16::from_bits(u16::try_from(i).unwrap())).collect()
    }

    fn entry(panels: &Panels, row: usize, place: usize) -> u16 {
        let pair = panels.panel(row / WIDTH)[place / 2][row % WIDTH];
        let half = if place.is_multiple_of(2) { pair & 0xffff } else { pair >> 16 };
        half.try_into().unwrap()
    }

    #[test]
    fn every_number_has_its_place_and_the_rest_is_zero() {
        let mut panels = Panels::new();
        // The large one first: what it leaves behind must not show.
        for (rows, columns) in [(40, 50), (1, 1), (16, 2), (17, 3), (3, 17), (33, 16), (1, 31), (31, 1)] {
            let matrix = numbers(rows * columns);
            for threads in [Threads::One, Threads::All] {
                panels.set_rows(&matrix, (rows, columns), threads);
                check(&panels, rows, columns, |i, j| matrix[i * columns + j].to_bits());
                panels.set_columns(&matrix, (rows, columns), threads);
                check(&panels, columns, rows, |i, j| matrix[j * columns + i].to_bits());
            }
        }
    }

    #[test]
    fn a_symmetric_matrix_is_read_from_its_lower_triangle() {
        let mut panels = Panels::new();
        for n in [50, 1, 2, 15, 16, 17, 31, 32, 33, 47] {
            let matrix = numbers(n * n);
            panels.set_symmetric(&matrix, n, Threads::All);
            check(&panels, n, n, |i, j| matrix[i.max(j) * n + i.min(j)].to_bits());
        }
    }

    fn check(panels: &Panels, size: usize, depth: usize, expected: impl Fn(usize, usize) -> u16) {
        assert_eq!((panels.size(), panels.depth()), (size, depth.div_ceil(2)));
        for i in 0..size.next_multiple_of(WIDTH) {
            for j in 0..depth.next_multiple_of(2) {
                let expected = if i < size && j < depth { expected(i, j) } else { 0 };
                assert_eq!(entry(panels, i, j), expected, "[{size}, {depth}] at {i}, {j}");
            }
        }
    }
}
