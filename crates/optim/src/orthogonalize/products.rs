//! Matrix products on the CPU, with half of the work where the result is symmetric.
//!
//! Every element is a sum in one fixed order. How a product is cut into pieces depends on its shape alone, so the bits
//! of the result do not depend on the number of threads.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use isorate_kernels::Threads;

use crate::elementwise::Real;

/// Larger results are cut in half: small enough that two threads share a product of 512×512, large enough that packing
/// the factors again costs little.
const WHOLE: usize = 256;

/// out ← lhs·rhs
pub(super) fn product<T: Real + ComplexField>(out: MatMut<'_, T>, lhs: MatRef<'_, T>, rhs: MatRef<'_, T>, threads: Threads) {
    let (rows, columns) = out.shape();
    if rows <= WHOLE && columns <= WHOLE {
        matmul(out, Accum::Replace, lhs, rhs, T::one(), Par::Seq);
    } else if rows > columns {
        let half = halved(rows);
        let (top, bottom) = out.split_at_row_mut(half);
        let (above, below) = lhs.split_at_row(half);
        threads.both(|| product(top, above, rhs, threads), || product(bottom, below, rhs, threads));
    } else {
        let half = halved(columns);
        let (left, right) = out.split_at_col_mut(half);
        let (first, second) = rhs.split_at_col(half);
        threads.both(|| product(left, lhs, first, threads), || product(right, lhs, second, threads));
    }
}

/// Half of a size, at the border of a cache line.
fn halved(size: usize) -> usize {
    (size / 2).next_multiple_of(16)
}

/// Up to this size a triangle is cut into columns of panels; a larger one into two triangles and a square, which are
/// half of the work each.
const TRIANGLE: usize = 128;

/// Columns that are computed at once below the diagonal block, and within it: the narrower, the less is computed above
/// the diagonal, and the more often the left factor is packed.
const PANEL: usize = 64;
const STRIP: usize = 16;

/// The lower triangle of out ← lhs·rhs, for factors whose product is symmetric. What stands above the diagonal
/// afterwards has no meaning.
///
/// `out` is column-major; a column-major `lhs` is fastest.
pub(super) fn lower_product<T: Real + ComplexField>(
    mut out: MatMut<'_, T>,
    lhs: MatRef<'_, T>,
    rhs: MatRef<'_, T>,
    threads: Threads,
) {
    let n = out.nrows();
    if n > TRIANGLE {
        let half = halved(n);
        let (top, _, square, bottom) = out.split_at_mut(half, half);
        let (above, below) = lhs.split_at_row(half);
        let (left, right) = rhs.split_at_col(half);
        threads.both(
            || product(square, below, left, threads),
            || threads.both(|| lower_product(top, above, left, threads), || lower_product(bottom, below, right, threads)),
        );
        return;
    }
    for panel in (0..n).step_by(PANEL) {
        let end = (panel + PANEL).min(n);
        for strip in (panel..end).step_by(STRIP) {
            piece(out.as_mut(), lhs, rhs, strip..end, strip..(strip + STRIP).min(end));
        }
        piece(out.as_mut(), lhs, rhs, end..n, panel..end);
    }
}

/// Some rows and columns of out ← lhs·rhs.
fn piece<T: Real + ComplexField>(
    out: MatMut<'_, T>,
    lhs: MatRef<'_, T>,
    rhs: MatRef<'_, T>,
    rows: Range<usize>,
    columns: Range<usize>,
) {
    if rows.is_empty() {
        return;
    }
    let target = out.submatrix_mut(rows.start, columns.start, rows.len(), columns.len());
    let (lhs, rhs) = (lhs.subrows(rows.start, rows.len()), rhs.subcols(columns.start, columns.len()));
    matmul(target, Accum::Replace, lhs, rhs, T::one(), Par::Seq);
}

/// Columns that one thread completes at a time.
const COLUMNS: usize = 64;

/// The symmetric matrix `out`, [n, n], with the given lower triangle (both column-major).
pub(super) fn mirrored<T: Real>(out: &mut [T], lower: &[T], n: usize, threads: Threads) {
    threads.chunks(out, COLUMNS * n, |chunk, columns| mirrored_columns(columns, lower, n, chunk * COLUMNS, |_, _| {}));
}

/// aI + bR + cS, symmetric, from the whole of R and the lower triangle of S (all column-major).
pub(super) fn polynomial<T: Real>(out: &mut [T], [a, b, c]: [f64; 3], r: &[T], s_lower: &[T], n: usize, threads: Threads) {
    let [a, b, c] = [a, b, c].map(T::from_f64);
    threads.chunks(out, COLUMNS * n, |chunk, columns| {
        mirrored_columns(columns, s_lower, n, chunk * COLUMNS, |j, column| {
            for (s, &r) in column.iter_mut().zip(&r[j * n..]) {
                *s = c * *s + b * r;
            }
            column[j] += a;
        });
    });
}

/// Side of the blocks that are transposed in registers.
const BLOCK: usize = 8;

/// Columns `first`, `first + 1`, … of the symmetric matrix with a given lower triangle, each given to `then` while it is in
/// the cache. `first` is a multiple of [`BLOCK`].
fn mirrored_columns<T: Real>(columns: &mut [T], lower: &[T], n: usize, first: usize, then: impl Fn(usize, &mut [T])) {
    for (index, columns) in columns.chunks_mut(BLOCK * n).enumerate() {
        let j0 = first + index * BLOCK;
        let width = columns.len() / n;
        if width == BLOCK {
            for i0 in (0..j0).step_by(BLOCK) {
                let mut block = [[T::zero(); BLOCK]; BLOCK];
                for i in 0..BLOCK {
                    let row = &lower[(i0 + i) * n + j0..][..BLOCK];
                    for j in 0..BLOCK {
                        block[j][i] = row[j];
                    }
                }
                for (j, column) in block.iter().enumerate() {
                    columns[j * n + i0..][..BLOCK].copy_from_slice(column);
                }
            }
        } else {
            for i in 0..j0 {
                for j in 0..width {
                    columns[j * n + i] = lower[i * n + j0 + j];
                }
            }
        }
        for j in 0..width {
            for i in 0..j {
                columns[j * n + j0 + i] = lower[(j0 + i) * n + j0 + j];
            }
            let diagonal = j * n + j0 + j;
            columns[diagonal..(j + 1) * n].copy_from_slice(&lower[(j0 + j) * n + j0 + j..(j0 + j + 1) * n]);
            then(j0 + j, &mut columns[j * n..(j + 1) * n]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(count: usize) -> Vec<f64> {
        (0..count).map(|i| (i as f64 * 0.37).sin()).collect()
    }

    /// Sizes below, at and above every limit where the products are cut.
    const SIZES: [usize; 12] = [1, 2, 7, 8, 9, 31, 64, 65, 128, 150, 257, 530];

    #[test]
    fn products_are_products() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (70, 20, 600), (1100, 3, 530), (513, 129, 64)] {
            let (a, b) = (values(m * k), values(k * n));
            let (lhs, rhs) = (MatRef::from_column_major_slice(&a, m, k), MatRef::from_row_major_slice(&b, k, n));
            let mut one = vec![0.0; m * n];
            let mut all = vec![0.0; m * n];
            product(MatMut::from_column_major_slice_mut(&mut one, m, n), lhs, rhs, Threads::One);
            product(MatMut::from_column_major_slice_mut(&mut all, m, n), lhs, rhs, Threads::All);
            assert_eq!(one, all);
            for (i, j) in [(0, 0), (m / 2, n - 1), (m - 1, n / 2), (m - 1, n - 1)] {
                let expected: f64 = (0..k).map(|l| lhs[(i, l)] * rhs[(l, j)]).sum();
                assert!((one[j * m + i] - expected).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn symmetric_products_are_whole_after_mirroring() {
        for n in SIZES {
            let k = 5;
            let x = values(n * k);
            let x = MatRef::from_row_major_slice(&x, n, k);
            for threads in [Threads::One, Threads::All] {
                let mut lower = vec![f64::NAN; n * n];
                lower_product(MatMut::from_column_major_slice_mut(&mut lower, n, n), x, x.transpose(), threads);
                let mut whole = vec![f64::NAN; n * n];
                mirrored(&mut whole, &lower, n, threads);
                let mut mapped = vec![f64::NAN; n * n];
                polynomial(&mut mapped, [0.5, -2.0, 3.0], &whole, &lower, n, threads);
                for j in 0..n {
                    for i in 0..n {
                        let expected: f64 = (0..k).map(|l| x[(i, l)] * x[(j, l)]).sum();
                        assert!((whole[j * n + i] - expected).abs() < 1e-12, "{n}: ({i}, {j})");
                        let expected = expected + if i == j { 0.5 } else { 0.0 };
                        assert!((mapped[j * n + i] - expected).abs() < 1e-12, "{n}: ({i}, {j})");
                    }
                }
            }
        }
    }
}
