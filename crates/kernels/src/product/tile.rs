//! Tiles of a product, whose sums stay in registers.

use crate::instructions::Processor;

/// The f32 numbers in the widest register.
pub(crate) const LANES: usize = 16;

/// A register, or several of them on lesser processors.
pub(crate) type Lanes = [f32; LANES];

/// The sums of R rows and 16·V columns.
pub(crate) type Tile<const R: usize, const V: usize> = [[Lanes; V]; R];

/// Adds the products of rows and panels of columns: `sums[r][v] += Σ_k rows[r][k]·panels[v][k]`, from first to last k.
///
/// All rows and panels have the length of the first row at least.
#[inline(always)]
pub(crate) fn add_rows<P: Processor, const R: usize, const V: usize>(
    processor: P,
    sums: &mut Tile<R, V>,
    rows: [&[f32]; R],
    panels: [&[Lanes]; V],
) {
    let depth = rows[0].len();
    let (rows, panels) = (rows.map(|row| &row[..depth]), panels.map(|panel| &panel[..depth]));
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
        add(processor, &mut inner, &left, &right);
    }
    *sums = inner;
}

/// Adds the products of rows and columns that both lie side by side at each place of the sum:
/// `sums[r][v] += Σ_q left[places[q] + r]·panels[v][q]`, from first to last q.
///
/// All panels have the length of `places` at least.
#[inline(always)]
pub(crate) fn add_outer<P: Processor, const R: usize, const V: usize>(
    processor: P,
    sums: &mut Tile<R, V>,
    left: &[f32],
    places: &[usize],
    panels: [&[Lanes]; V],
) {
    let panels = panels.map(|panel| &panel[..places.len()]);
    let mut inner = *sums;
    for (q, &place) in places.iter().enumerate() {
        let mut right = [[0.0; LANES]; V];
        for (right, panel) in right.iter_mut().zip(panels) {
            *right = panel[q];
        }
        let mut rows = [0.0; R];
        rows.copy_from_slice(&left[place..][..R]);
        add(processor, &mut inner, &rows, &right);
    }
    *sums = inner;
}

/// Loops, and no `map` of arrays: that may be a call.
#[inline(always)]
fn add<P: Processor, const R: usize, const V: usize>(processor: P, sums: &mut Tile<R, V>, left: &[f32; R], right: &[Lanes; V]) {
    for (sums, &row) in sums.iter_mut().zip(left) {
        for (sums, columns) in sums.iter_mut().zip(right) {
            for (sum, &column) in sums.iter_mut().zip(columns) {
                *sum = processor.mul_add(row, column, *sum);
            }
        }
    }
}
