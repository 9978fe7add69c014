//! The matrix product of the `gemm` crate, which is candle's, on slices: into memory that is there already.
#![allow(unsafe_code, reason = "the product takes pointers")]

use gemm::{Parallelism, gemm};

use crate::product::Strided;

/// C ← AB, or C ← C + AB with `add`, for A \[m, k\], B \[k, n\] and a row-major C \[m, n\], on all threads.
///
/// # Panics
/// When the slices do not hold matrices of these sizes.
pub(crate) fn matmul((m, n, k): (usize, usize, usize), a: Strided<'_>, b: Strided<'_>, c: &mut [f32], add: bool) {
    let holds = |matrix: Strided<'_>, rows: usize, columns: usize| {
        rows == 0 || columns == 0 || (rows - 1) * matrix.row + (columns - 1) * matrix.column < matrix.values.len()
    };
    assert!(holds(a, m, k) && holds(b, k, n) && c.len() == m * n, "a product [{m}, {k}] by [{k}, {n}] of other slices");
    // No slice is longer than isize::MAX bytes.
    let [n_step, a_row, a_column, b_row, b_column] = [n, a.row, a.column, b.row, b.column].map(usize::cast_signed);
    let parallelism = match rayon::current_num_threads() {
        1 => Parallelism::None,
        threads => Parallelism::Rayon(threads),
    };
    let (a, b, c) = (a.values.as_ptr(), b.values.as_ptr(), c.as_mut_ptr());
    // SAFETY: by the assertion every element of A, B and C that has a row and a column lies in its slice; nobody else has C.
    unsafe {
        gemm(m, n, k, c, 1, n_step, add, a, a_column, a_row, b, b_column, b_row, 1.0, 1.0, false, false, false, parallelism);
    }
}
