//! Tiles of a product, whose sums stay in registers.
//!
//! There are loops here where arrays could be mapped: `map` may be left as a call.

use crate::simd::{LANES, mul_add};

/// A register, or several of them on lesser processors.
pub(crate) type Lanes<const W: usize = LANES> = [f32; W];

/// The sums of R rows and W·V columns.
pub(crate) type Tile<const R: usize, const V: usize, const W: usize = LANES> = [[Lanes<W>; V]; R];

/// Adds the products of rows and panels of columns: `sums[r][v] += Σ_k rows[r][k]·panels[v][k]`, from first to last k.
///
/// All rows and panels have the length of the first row at least.
#[inline(always)]
pub(crate) fn add_rows<const FMA: bool, const R: usize, const V: usize, const W: usize>(
    sums: &mut Tile<R, V, W>,
    mut rows: [&[f32]; R],
    mut panels: [&[Lanes<W>]; V],
) {
    let depth = rows[0].len();
    for row in &mut rows {
        *row = &row[..depth];
    }
    for panel in &mut panels {
        *panel = &panel[..depth];
    }
    // A copy that lives in registers.
    let mut inner = *sums;
    for k in 0..depth {
        let (mut left, mut right) = ([0.0; R], [[0.0; W]; V]);
        for (left, row) in left.iter_mut().zip(rows) {
            *left = row[k];
        }
        for (right, panel) in right.iter_mut().zip(panels) {
            *right = panel[k];
        }
        add::<FMA, R, V, W>(&mut inner, &left, &right);
    }
    *sums = inner;
}

/// Adds the products of rows and columns that both lie side by side at each place of the sum:
/// `sums[r][v] += Σ_q left[places[q] + r]·panels[v][q]`, from first to last q.
///
/// All panels have the length of `places` at least.
#[inline(always)]
pub(crate) fn add_outer<const FMA: bool, const R: usize, const V: usize, const W: usize>(
    sums: &mut Tile<R, V, W>,
    left: &[f32],
    places: &[usize],
    mut panels: [&[Lanes<W>]; V],
) {
    for panel in &mut panels {
        *panel = &panel[..places.len()];
    }
    let mut inner = *sums;
    for (q, &place) in places.iter().enumerate() {
        let mut right = [[0.0; W]; V];
        for (right, panel) in right.iter_mut().zip(panels) {
            *right = panel[q];
        }
        let mut rows = [0.0; R];
        rows.copy_from_slice(&left[place..][..R]);
        add::<FMA, R, V, W>(&mut inner, &rows, &right);
    }
    *sums = inner;
}

/// Adds the products of rows and of columns that lie side by side at each place of the sum:
/// `sums[r][v] += Σ_k left[k][r]·right[places[k] + 16·v]`, from first to last k.
///
/// `left` has the length of `places` at least.
#[inline(always)]
pub(crate) fn add_places<const FMA: bool, const R: usize, const V: usize>(
    sums: &mut Tile<R, V>,
    left: &[[f32; R]],
    right: &[f32],
    places: &[usize],
) {
    let mut inner = *sums;
    for (left, &place) in left.iter().zip(places) {
        let mut columns = [[0.0; LANES]; V];
        columns.as_flattened_mut().copy_from_slice(&right[place..][..V * LANES]);
        add::<FMA, R, V, LANES>(&mut inner, left, &columns);
    }
    *sums = inner;
}

/// `$body` with `$index` from 0 to `$count`, at most 12, without a loop.
///
/// A loop over rows may be made into vectors over rows, which gather and scatter single numbers: with AVX-512 that took 20 times as long.
macro_rules! unrolled {
    ($index:ident in $count:ident, $body:expr) => {
        const { assert!($count <= 12, "there are 12 at most") };
        unrolled!($index in $count, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    ($index:ident in $count:ident, $body:expr, $($number:literal)*) => {
        $(if $number < $count {
            const $index: usize = $number;
            $body
        })*
    };
}

pub(crate) use unrolled;

/// The products of one number of each row and W·V columns.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "one index for two arrays")]
pub(super) fn add<const FMA: bool, const R: usize, const V: usize, const W: usize>(
    sums: &mut Tile<R, V, W>,
    left: &[f32; R],
    right: &[Lanes<W>; V],
) {
    unrolled!(ROW in R, {
        unrolled!(COLUMN in V, {
            let (sums, row, columns) = (&mut sums[ROW][COLUMN], left[ROW], &right[COLUMN]);
            for lane in 0..W {
                sums[lane] = mul_add::<FMA>(row, columns[lane], sums[lane]);
            }
        });
    });
}
