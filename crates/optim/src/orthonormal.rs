//! Orthonormal columns by a QR decomposition, on the CPU in f64.

use faer::{MatMut, MatRef};

use crate::factorize::qr;

/// Magnitudes whose squares stay far inside the range of f64.
const SAFE: std::ops::Range<f64> = 1e-100..1e100;

/// Replaces the columns of a matrix [rows, columns], rows ≥ columns, stored column after column, by orthonormal ones:
/// column j becomes its part that is orthogonal to the columns before it, with length 1 (and either sign).
///
/// A column that depends on those before it within rounding becomes zero. The values must be finite.
pub(crate) fn orthonormalize(values: &mut [f64], rows: usize, columns: usize) {
    debug_assert!(rows >= columns && values.len() == rows * columns);
    let largest = values.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    if largest == 0.0 {
        return;
    }
    let mut factored = MatRef::from_column_major_slice(values, rows, columns).to_owned();
    if !SAFE.contains(&largest) {
        factored.col_iter_mut().for_each(|column| column.iter_mut().for_each(|x| *x /= largest));
    }
    let (basis, rank) = qr(&mut factored, |rank| rank);
    let mut out = MatMut::from_column_major_slice_mut(values, rows, columns);
    out.fill(0.0);
    for (i, j) in origins(factored.as_ref(), rank).into_iter().enumerate() {
        out.as_mut().col_mut(j).copy_from(basis.col(i));
    }
}

/// The column that each of the `rank` basis vectors comes from.
///
/// The triangular factor is a staircase: faer passes over a column whose distance from those before it is within
/// rounding of its length, by the threshold that is repeated here.
fn origins(factored: MatRef<'_, f64>, rank: usize) -> Vec<usize> {
    let (rows, columns) = factored.shape();
    let mut origins: Vec<usize> = Vec::with_capacity(rank);
    for j in 0..columns {
        let row = origins.len();
        if row == rank {
            break;
        }
        let length = (0..=row).fold(0.0_f64, |length, i| length.hypot(factored[(i, j)]));
        if factored[(row, j)].abs() > 16.0 * f64::EPSILON * (rows - row) as f64 * length {
            origins.push(j);
        }
    }
    // In the last row of a square matrix there is nothing left to compare with, and faer keeps what rounding has left.
    for j in 0..columns {
        if origins.len() < rank && !origins.contains(&j) {
            origins.push(j);
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of pseudo-random numbers in [−1, 1), from a linear congruence.
    fn columns(rows: usize, columns: usize) -> Vec<f64> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / (1_u64 << 30) as f64 - 1.0
        };
        (0..rows * columns).map(|_| next()).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    /// The definition, column by column and twice for accuracy.
    fn gram_schmidt(values: &[f64], rows: usize) -> Vec<f64> {
        let mut done: Vec<Vec<f64>> = Vec::new();
        for column in values.chunks(rows) {
            let mut x = column.to_vec();
            for _ in 0..2 {
                for q in &done {
                    let overlap = dot(q, &x);
                    x.iter_mut().zip(q).for_each(|(x, q)| *x -= overlap * q);
                }
            }
            let length = dot(&x, &x).sqrt();
            let keep = length > 1e-10 * dot(column, column).sqrt();
            for x in &mut x {
                *x = if keep { *x / length } else { 0.0 };
            }
            done.push(x);
        }
        done.concat()
    }

    fn check(values: &[f64], rows: usize, count: usize) {
        let mut ours = values.to_vec();
        orthonormalize(&mut ours, rows, count);
        let expected = gram_schmidt(values, rows);
        for (j, (a, b)) in ours.chunks(rows).zip(expected.chunks(rows)).enumerate() {
            let sign = if dot(a, b) < 0.0 { -1.0 } else { 1.0 };
            let difference = a.iter().zip(b).map(|(x, y)| (x - sign * y).abs()).fold(0.0, f64::max);
            // The conditioning of the columns costs digits.
            assert!(difference < 1e-11, "{rows}×{count}, column {j}: {difference:e}");
        }
    }

    #[test]
    fn columns_become_orthonormal_in_their_order() {
        for (rows, count) in [(1, 1), (5, 1), (4, 4), (7, 3), (40, 30), (200, 90), (90, 90)] {
            check(&columns(rows, count), rows, count);
        }
    }

    #[test]
    fn dependent_columns_become_zero_where_they_stand() {
        for (rows, count) in [(7, 4), (60, 50), (150, 100)] {
            let mut values = columns(rows, count);
            // The second column is twice the first, the last is the sum of the first and the third, and one is zero.
            for i in 0..rows {
                values[rows + i] = 2.0 * values[i];
                values[(count - 1) * rows + i] = values[i] + values[2 * rows + i];
                if count > 10 {
                    values[7 * rows + i] = 0.0;
                }
            }
            check(&values, rows, count);
        }
        // All columns alike.
        let one = columns(30, 1);
        check(&one.repeat(20), 30, 20);
    }

    #[test]
    fn extreme_and_zero_columns_are_finite() {
        for scale in [1e-300, 1e-160, 1e160, 1e300] {
            let values: Vec<f64> = columns(6, 4).iter().map(|x| x * scale).collect();
            let mut ours = values.clone();
            orthonormalize(&mut ours, 6, 4);
            let mut plain = columns(6, 4);
            orthonormalize(&mut plain, 6, 4);
            assert!(ours.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-12), "{scale:e}");
        }
        let mut zero = vec![0.0; 12];
        orthonormalize(&mut zero, 4, 3);
        assert_eq!(zero, [0.0; 12]);
    }
}
