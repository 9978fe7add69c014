//! Squares of 16×16 numbers, turned around.

use crate::product::{LANES, Lanes};

/// Columns to rows.
///
/// It is compiled by itself, and not for its callers' instructions: with AVX-512 the compiler would gather and scatter, which is slower.
#[inline(never)]
pub(crate) fn transposed(rows: [&Lanes; LANES]) -> [Lanes; LANES] {
    std::array::from_fn(|column| rows.map(|row| row[column]))
}
