//! Blocks of 8 or 16 rows and columns of numbers, turned around.
#![allow(unsafe_code, reason = "intrinsics, and code for processors that have them")]

use crate::product::Lanes;

/// Columns to rows: `out[i][j] = rows[j][i]`, for multiples of 8 rows and columns.
#[inline]
pub(crate) fn transpose<const R: usize, const C: usize>(rows: &[&Lanes<C>; R], out: &mut [Lanes<R>; C]) {
    const { assert!(R.is_multiple_of(8) && C.is_multiple_of(8), "blocks of 8×8") }
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { avx2(rows, out) };
    }
    plain(rows, out);
}

fn plain<const R: usize, const C: usize>(rows: &[&Lanes<C>; R], out: &mut [Lanes<R>; C]) {
    for (column, out) in out.iter_mut().enumerate() {
        for (out, row) in out.iter_mut().zip(rows) {
            *out = row[column];
        }
    }
}

/// Squares of 8×8. Left to itself, the compiler moves one number at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<const R: usize, const C: usize>(rows: &[&Lanes<C>; R], out: &mut [Lanes<R>; C]) {
    use std::arch::x86_64::{
        __m256, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
        _mm256_unpacklo_ps,
    };
    #[target_feature(enable = "avx2")]
    #[inline]
    fn load<const C: usize>(row: &Lanes<C>, half: usize) -> __m256 {
        let numbers = &row.as_chunks::<8>().0[half];
        // SAFETY: eight f32 numbers are the 32 bytes that are read; no alignment is asked for.
        unsafe { _mm256_loadu_ps(numbers.as_ptr()) }
    }
    #[target_feature(enable = "avx2")]
    #[inline]
    fn store<const R: usize>(row: &mut Lanes<R>, half: usize, numbers: __m256) {
        let out = &mut row.as_chunks_mut::<8>().0[half];
        // SAFETY: eight f32 numbers are the 32 bytes that are written; no alignment is asked for.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), numbers) }
    }
    for (half_row, half_column) in (0..R / 8).flat_map(|row| (0..C / 8).map(move |column| (row, column))) {
        let row = |index: usize| load(rows[8 * half_row + index], half_column);
        let [a, b, c, d, e, f, g, h] = [row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)];
        // Pairs of rows, of which each half of a register holds two columns, and four rows, of which it holds one.
        let (ab, cd, ef, gh) = (
            [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)],
            [_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)],
            [_mm256_unpacklo_ps(e, f), _mm256_unpackhi_ps(e, f)],
            [_mm256_unpacklo_ps(g, h), _mm256_unpackhi_ps(g, h)],
        );
        for pair in 0..2 {
            let first = [_mm256_shuffle_ps::<0x44>(ab[pair], cd[pair]), _mm256_shuffle_ps::<0xee>(ab[pair], cd[pair])];
            let last = [_mm256_shuffle_ps::<0x44>(ef[pair], gh[pair]), _mm256_shuffle_ps::<0xee>(ef[pair], gh[pair])];
            for column in 0..2 {
                let to = 8 * half_column + 2 * pair + column;
                store(&mut out[to], half_row, _mm256_permute2f128_ps::<0x20>(first[column], last[column]));
                store(&mut out[to + 4], half_row, _mm256_permute2f128_ps::<0x31>(first[column], last[column]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_number_goes_to_its_place_in<const R: usize, const C: usize>() {
        let mut next = 0.0;
        let block: [Lanes<C>; R] = std::array::from_fn(|_| {
            std::array::from_fn(|_| {
                next += 1.0;
                next
            })
        });
        for way in [transpose, plain] {
            let mut out = [[0.0; R]; C];
            way(&block.each_ref(), &mut out);
            for (i, row) in block.iter().enumerate() {
                assert_eq!(row.map(f32::to_bits), out.map(|out| out[i].to_bits()));
            }
        }
    }

    #[test]
    fn every_number_goes_to_its_place() {
        every_number_goes_to_its_place_in::<16, 16>();
        every_number_goes_to_its_place_in::<8, 16>();
        every_number_goes_to_its_place_in::<16, 8>();
    }
}
