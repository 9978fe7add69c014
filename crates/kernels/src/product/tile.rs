//! Tiles of a product, whose sums stay in registers.
//!
//! There are loops here where arrays could be mapped: `map` may be left as a call.

use crate::simd::{LANES, mul_add};

/// A register, or several of them on lesser processors.
pub(crate) type Lanes = [f32; LANES];

/// The sums of R rows and 16·V columns.
pub(crate) type Tile<const R: usize, const V: usize> = [[Lanes; V]; R];

/// Half of the columns of a panel: half of the work, where there are no more.
pub(crate) const HALF: usize = LANES / 2;

/// Adds the products of rows and the first N columns of panels: `sums[r][v] += Σ_k rows[r][k]·panels[v][k]`, from first to last k.
///
/// All rows and panels have the length of the first row at least.
#[inline(always)]
pub(crate) fn add_rows<const FMA: bool, const R: usize, const V: usize, const N: usize>(
    sums: &mut Tile<R, V>,
    mut rows: [&[f32]; R],
    mut panels: [&[Lanes]; V],
) {
    let depth = rows[0].len();
    for row in &mut rows {
        *row = &row[..depth];
    }
    for panel in &mut panels {
        *panel = &panel[..depth];
    }
    let mut inner = taken::<R, V, N>(sums);
    for k in 0..depth {
        let (mut left, mut right) = ([0.0; R], [[0.0; N]; V]);
        for (left, row) in left.iter_mut().zip(rows) {
            *left = row[k];
        }
        for (right, panel) in right.iter_mut().zip(panels) {
            right.copy_from_slice(&panel[k][..N]);
        }
        add::<FMA, R, V, N>(&mut inner, &left, &right);
    }
    put_back(&inner, sums);
}

/// A copy of the first N columns, that lives in registers.
#[inline(always)]
fn taken<const R: usize, const V: usize, const N: usize>(sums: &Tile<R, V>) -> [[[f32; N]; V]; R] {
    let mut inner = [[[0.0; N]; V]; R];
    for (inner, sums) in inner.iter_mut().flatten().zip(sums.iter().flatten()) {
        inner.copy_from_slice(&sums[..N]);
    }
    inner
}

#[inline(always)]
fn put_back<const R: usize, const V: usize, const N: usize>(inner: &[[[f32; N]; V]; R], sums: &mut Tile<R, V>) {
    for (inner, sums) in inner.iter().flatten().zip(sums.iter_mut().flatten()) {
        sums[..N].copy_from_slice(inner);
    }
}

/// Adds the products of rows and the first N columns that both lie side by side at each place of the sum:
/// `sums[r][v] += Σ_q left[places[q] + r]·panels[v][q]`, from first to last q.
///
/// All panels have the length of `places` at least.
#[inline(always)]
pub(crate) fn add_outer<const FMA: bool, const R: usize, const V: usize, const N: usize>(
    sums: &mut Tile<R, V>,
    left: &[f32],
    places: &[usize],
    mut panels: [&[Lanes]; V],
) {
    for panel in &mut panels {
        *panel = &panel[..places.len()];
    }
    let mut inner = taken::<R, V, N>(sums);
    for (q, &place) in places.iter().enumerate() {
        let mut right = [[0.0; N]; V];
        for (right, panel) in right.iter_mut().zip(panels) {
            right.copy_from_slice(&panel[q][..N]);
        }
        let mut rows = [0.0; R];
        rows.copy_from_slice(&left[place..][..R]);
        add::<FMA, R, V, N>(&mut inner, &rows, &right);
    }
    put_back(&inner, sums);
}

/// The products of one number of each row and N·V columns.
#[inline(always)]
pub(super) fn add<const FMA: bool, const R: usize, const V: usize, const N: usize>(
    sums: &mut [[[f32; N]; V]; R],
    left: &[f32; R],
    right: &[[f32; N]; V],
) {
    for (sums, &row) in sums.iter_mut().zip(left) {
        for (sums, columns) in sums.iter_mut().zip(right) {
            for (sum, &column) in sums.iter_mut().zip(columns) {
                *sum = mul_add::<FMA>(row, column, *sum);
            }
        }
    }
}
