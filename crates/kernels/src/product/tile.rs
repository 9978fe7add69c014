//! Tiles of a product, whose sums stay in registers.
//!
//! There are loops here where arrays could be mapped: `map` may be left as a call.

use crate::simd::{LANES, mul_add};

/// A register, or several of them on lesser processors.
pub(crate) type Lanes = [f32; LANES];

/// The sums of R rows and 16·V columns.
pub(crate) type Tile<const R: usize, const V: usize> = [[Lanes; V]; R];

/// Adds the products of rows and panels of columns: `sums[r][v] += Σ_k rows[r][k]·panels[v][k]`, from first to last k.
///
/// All rows and panels have the length of the first row at least.
#[inline(always)]
pub(crate) fn add_rows<const FMA: bool, const R: usize, const V: usize>(
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
    // A copy that lives in registers.
    let mut inner = *sums;
    for k in 0..depth {
        let (mut left, mut right) = ([0.0; R], [[0.0; LANES]; V]);
        for (left, row) in left.iter_mut().zip(rows) {
            *left = row[k];
        }
        for (right, panel) in right.iter_mut().zip(panels) {
            *right = panel[k];
        }
        add::<FMA, R, V>(&mut inner, &left, &right);
    }
    *sums = inner;
}

/// Adds the products of rows and columns that both lie side by side at each place of the sum:
/// `sums[r][v] += Σ_q left[places[q] + r]·panels[v][q]`, from first to last q.
///
/// All panels have the length of `places` at least.
#[inline(always)]
pub(crate) fn add_outer<const FMA: bool, const R: usize, const V: usize>(
    sums: &mut Tile<R, V>,
    left: &[f32],
    places: &[usize],
    mut panels: [&[Lanes]; V],
) {
    for panel in &mut panels {
        *panel = &panel[..places.len()];
    }
    let mut inner = *sums;
    for (q, &place) in places.iter().enumerate() {
        let mut right = [[0.0; LANES]; V];
        for (right, panel) in right.iter_mut().zip(panels) {
            *right = panel[q];
        }
        let mut rows = [0.0; R];
        rows.copy_from_slice(&left[place..][..R]);
        add::<FMA, R, V>(&mut inner, &rows, &right);
    }
    *sums = inner;
}

/// The products of one number of each row and 16·V columns.
#[inline(always)]
pub(super) fn add<const FMA: bool, const R: usize, const V: usize>(sums: &mut Tile<R, V>, left: &[f32; R], right: &[Lanes; V]) {
    for (sums, &row) in sums.iter_mut().zip(left) {
        for (sums, columns) in sums.iter_mut().zip(right) {
            for (sum, &column) in sums.iter_mut().zip(columns) {
                *sum = mul_add::<FMA>(row, column, *sum);
            }
        }
    }
}
