//! Tiles by the instruction `VDPBF16PS`.
#![allow(unsafe_code, reason = "intrinsics, and code for processors that have them")]

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_storeu_ps,
};

use half::bf16;

use crate::bf16::panels::WIDTH;
use crate::bf16::product::{HEIGHT, Job, Processor, Tile};

/// A processor with AVX512-BF16. A value of this type exists on such processors only: [`Avx512::detect`] makes it.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    pub fn detect() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("avx512bf16");
        has.then_some(Self(()))
    }
}

impl Processor for Avx512 {
    #[inline(always)]
    fn tile<const V: usize>(&self, job: &Job<'_>, row: usize, panel: usize) -> Tile<V> {
        let rows = job.rows.panel(row * HEIGHT / WIDTH);
        let columns = std::array::from_fn(|index| job.columns.panel(panel + index));
        // SAFETY: the processor has AVX-512 and AVX512-BF16, since there is an `Avx512`.
        unsafe {
            if (row * HEIGHT).is_multiple_of(WIDTH) { tile::<V, 0>(rows, columns) } else { tile::<V, HEIGHT>(rows, columns) }
        }
    }

    fn rows_of(&self, job: &Job<'_>, first: usize, out: &mut [bf16]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        fn compiled(processor: Avx512, job: &Job<'_>, first: usize, out: &mut [bf16]) {
            job.rows_of(&processor, first, out);
        }
        // SAFETY: the processor has these instructions, since there is an `Avx512`.
        unsafe { compiled(*self, job, first, out) }
    }
}

/// The sums of the rows from `LANE` on in a panel of rows, and of V panels of columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
#[inline]
fn tile<const V: usize, const LANE: usize>(rows: &[[u32; WIDTH]], columns: [&[[u32; WIDTH]]; V]) -> Tile<V> {
    let columns = columns.map(|panel| &panel[..rows.len()]);
    let mut sums = [[_mm512_setzero_ps(); V]; HEIGHT];
    for (place, rows) in rows.iter().enumerate() {
        let columns = columns.map(|panel| as_bf16(load(&panel[place])));
        for (sums, row) in sums.iter_mut().zip(&rows[LANE..]) {
            let row = as_bf16(_mm512_set1_epi32(row.cast_signed()));
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = _mm512_dpbf16_ps(*sum, row, column);
            }
        }
    }
    let mut tile = [[[0.0_f32; WIDTH]; V]; HEIGHT];
    for (tile, sums) in tile.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
        // SAFETY: 16 f32 numbers are the 64 bytes that are written; no alignment is asked for.
        unsafe { _mm512_storeu_ps(tile.as_mut_ptr(), *sums) };
    }
    tile
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(pairs: &[u32; WIDTH]) -> __m512i {
    // SAFETY: 16 u32 numbers are the 64 bytes that are read; no alignment is asked for.
    unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn as_bf16(pairs: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of which every pattern is a value; on little-endian x86 the low half of a u32 is the
    // first of two bf16 numbers.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(pairs) }
}
