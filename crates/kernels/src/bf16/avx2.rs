//! The portable tiles, compiled for AVX2.
#![allow(unsafe_code, reason = "code for processors that have AVX2 is only safe to call on them")]

use half::bf16;

use crate::bf16::portable::Portable;
use crate::bf16::product::Job;

/// [`Job::rows_of`], if the processor has AVX2.
pub(crate) fn rows_of(portable: &Portable, job: &Job<'_>, first: usize, out: &mut [bf16]) -> bool {
    #[target_feature(enable = "avx2")]
    fn compiled(portable: &Portable, job: &Job<'_>, first: usize, out: &mut [bf16]) {
        job.rows_of(portable, first, out);
    }
    let has = std::arch::is_x86_feature_detected!("avx2");
    if has {
        // SAFETY: the function is safe but for the instructions that it is compiled to, and the processor has them.
        unsafe { compiled(portable, job, first, out) };
    }
    has
}
