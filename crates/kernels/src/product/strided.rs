//! Products of matrices that are too small for panels.

use crate::product::tile::{Tile, add};
use crate::simd::LANES;

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
/// a multiple of [`LANES`]. B and C are row-major with rows of `b_width` and `c_width` elements.
#[inline(always)]
pub(crate) fn product<const FMA: bool, const ADD: bool>(
    (m, n, k): (usize, usize, usize),
    a: Strided<'_>,
    (b, b_width): (&[f32], usize),
    (c, c_width): (&mut [f32], usize),
) {
    const TALL: usize = 4;
    let mut row = 0;
    while row < m {
        let (a, height) = (Strided { values: &a.values[row * a.row..], ..a }, TALL.min(m - row));
        for column in (0..n).step_by(LANES) {
            let (b, c) = ((&b[column..], b_width), (&mut c[row * c_width + column..], c_width));
            if height == TALL {
                tile::<FMA, ADD, TALL>(k, a, b, c);
            } else {
                for row in 0..height {
                    let a = Strided { values: &a.values[row * a.row..], ..a };
                    tile::<FMA, ADD, 1>(k, a, b, (&mut c.0[row * c_width..], c_width));
                }
            }
        }
        row += height;
    }
}

/// The first M rows and [`LANES`] columns; the sums stay in registers.
#[inline(always)]
fn tile<const FMA: bool, const ADD: bool, const M: usize>(
    k: usize,
    a: Strided<'_>,
    (b, b_width): (&[f32], usize),
    (c, c_width): (&mut [f32], usize),
) {
    let mut sums: Tile<M, 1> = [[[0.0; LANES]]; M];
    for place in 0..k {
        let (mut left, mut right) = ([0.0; M], [[0.0; LANES]]);
        for (row, left) in left.iter_mut().enumerate() {
            *left = a.values[row * a.row + place * a.column];
        }
        right[0].copy_from_slice(&b[place * b_width..][..LANES]);
        add::<FMA, M, 1, LANES>(&mut sums, &left, &right);
    }
    for (row, [sums]) in sums.iter().enumerate() {
        let c = &mut c[row * c_width..][..LANES];
        c.iter_mut().zip(sums).for_each(|(c, sum)| *c = if ADD { *c + sum } else { *sum });
    }
}
