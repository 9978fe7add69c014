//! Products of matrices that are too small for the matrix product of large ones.

use super::{LANES, mul_add};

/// A matrix whose elements lie `row` and `column` apart.
#[derive(Clone, Copy)]
pub(crate) struct Strided<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> Strided<'a> {
    /// A row-major matrix.
    pub fn rows(values: &'a [f32], width: usize) -> Self {
        Self { values, row: width, column: 1 }
    }

    /// The transpose of a row-major matrix.
    pub fn columns(values: &'a [f32], width: usize) -> Self {
        Self { values, row: 1, column: width }
    }
}

/// C ← AB, or C ← C + AB with `ADD`, for the first m rows and k columns of A, and the first n columns of B and C, where n is
/// a multiple of [`LANES`]. B and C are row-major, and come with the lengths of their rows.
#[inline(always)]
pub(crate) fn product<const FMA: bool, const ADD: bool>(
    a: Strided<'_>,
    b: (&[f32], usize),
    c: (&mut [f32], usize),
    (m, n, k): (usize, usize, usize),
) {
    const TALL: usize = 4;
    let mut row = 0;
    while row + TALL <= m {
        rows::<FMA, ADD, TALL>(Strided { values: &a.values[row * a.row..], ..a }, b, (&mut c.0[row * c.1..], c.1), n, k);
        row += TALL;
    }
    while row < m {
        rows::<FMA, ADD, 1>(Strided { values: &a.values[row * a.row..], ..a }, b, (&mut c.0[row * c.1..], c.1), n, k);
        row += 1;
    }
}

/// The first M rows.
#[inline(always)]
fn rows<const FMA: bool, const ADD: bool, const M: usize>(
    a: Strided<'_>,
    b: (&[f32], usize),
    c: (&mut [f32], usize),
    n: usize,
    k: usize,
) {
    for column in (0..n).step_by(LANES) {
        tile::<FMA, ADD, M>(a, (&b.0[column..], b.1), (&mut c.0[column..], c.1), k);
    }
}

/// The first M rows and [`LANES`] columns; the sums stay in registers.
#[inline(always)]
fn tile<const FMA: bool, const ADD: bool, const M: usize>(a: Strided<'_>, b: (&[f32], usize), c: (&mut [f32], usize), k: usize) {
    let mut sums = [[0.0; LANES]; M];
    for place in 0..k {
        let b = &b.0[place * b.1..][..LANES];
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = a.values[row * a.row + place * a.column];
            sums.iter_mut().zip(b).for_each(|(sum, b)| *sum = mul_add::<FMA>(a, *b, *sum));
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        let c = &mut c.0[row * c.1..][..LANES];
        c.iter_mut().zip(sums).for_each(|(c, sum)| *c = if ADD { *c + sum } else { *sum });
    }
}
