//! Loops over slices that are compiled for the widest vectors that the processor has.
//!
//! A [`Kernel`] is plain Rust. It is compiled for AVX-512, for AVX2 and as the target says, and [`run`] takes the first of
//! them that the processor has. Its loops become vector instructions when they go over arrays of [`LANES`] elements.
#![allow(unsafe_code, reason = "code for processors that have some instructions is only safe to call on them")]

mod exp;
mod lanes;

pub(crate) use exp::{exp, exponentials};
pub(crate) use lanes::{HALF, LANES, largest, sum, sum2};

/// Work that is compiled once for each set of instructions.
///
/// Only what is inlined into `run` is: it, and the functions that it calls, are marked `#[inline(always)]`.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;

    /// With `FMA`, [`mul_add`] is one instruction. With `WIDE` there are 32 registers of [`LANES`] numbers, those of AVX-512.
    fn run<const FMA: bool, const WIDE: bool>(self) -> Self::Output;
}

/// Which of its forms a kernel runs in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// As [`run`] does.
    Best,
    /// That for AVX-512, compiled for any processor.
    #[cfg(test)]
    Wide,
    /// That for processors without AVX2.
    #[cfg(test)]
    Plain,
}

impl Form {
    #[cfg(test)]
    pub const ALL: [Self; 3] = [Self::Best, Self::Wide, Self::Plain];

    /// Runs a kernel on the calling thread.
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            Self::Best => run(kernel),
            #[cfg(test)]
            Self::Wide => kernel.run::<true, true>(),
            #[cfg(test)]
            Self::Plain => kernel.run::<false, false>(),
        }
    }
}

/// Runs a kernel on the calling thread.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<true, true>()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<K: Kernel>(kernel: K) -> K::Output {
            kernel.run::<true, false>()
        }
        let has_avx2 = std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma");
        let has_avx512 = std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl");
        if has_avx512 && has_avx2 {
            // SAFETY: the function is safe but for the instructions that it is compiled to, and the processor has them.
            return unsafe { avx512(kernel) };
        }
        if has_avx2 {
            // SAFETY: as above.
            return unsafe { avx2(kernel) };
        }
    }
    kernel.run::<{ cfg!(target_arch = "aarch64") }, false>()
}

/// a·b + c, with one rounding if `FMA`, with two otherwise.
#[inline(always)]
pub(crate) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}
