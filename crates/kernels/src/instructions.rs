//! Code compiled for what the processor can do.
#![allow(unsafe_code, reason = "code for processors that have certain instructions is only safe to call on them")]

/// Code that is compiled once for each set of instructions.
pub(crate) trait Task {
    /// What comes out.
    type Output;

    /// The work. Implementations are `#[inline(always)]`, with all that they call on the way to the arithmetic: then it is
    /// compiled for the instructions.
    fn run<P: Processor>(self, processor: P) -> Self::Output;
}

/// What code may count on.
pub(crate) trait Processor: Copy {
    /// Rows of 16 numbers of f32 that fit the registers, besides a few for the factors.
    const SUMS: usize;

    /// `a·b + sum`, with one rounding where the processor does that at no cost.
    fn mul_add(self, a: f32, b: f32, sum: f32) -> f32;
}

/// A set of instructions that this processor has: values are made by [`Instructions::best`] and [`Instructions::all`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instructions(Set);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// With the tiles that AVX-512 has, so that they are tested without it.
    #[cfg(test)]
    Large,
    Common,
}

impl Instructions {
    /// Every set that this processor has, the best one first.
    pub fn all() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            (Set::Avx512, has_avx512()),
            #[cfg(target_arch = "x86_64")]
            (Set::Avx2, has_avx2()),
            (Set::Common, true),
            #[cfg(test)]
            (Set::Large, true),
        ]
        .into_iter()
        .filter_map(|(set, has)| has.then_some(Self(set)))
    }

    /// The fastest one.
    pub fn best() -> Self {
        Self::all().next().unwrap_or(Self(Set::Common))
    }

    /// Does the work with them.
    #[inline]
    pub fn run<T: Task>(self, task: T) -> T::Output {
        match self.0 {
            // SAFETY: the processor has these instructions, since there is a value that says so.
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => unsafe { with_avx512(task) },
            // SAFETY: the same.
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => unsafe { with_avx2(task) },
            Set::Common => task.run(Common::<2>),
            #[cfg(test)]
            Set::Large => task.run(Common::<28>),
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    has_avx2()
        && std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512dq")
        && std::arch::is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<T: Task>(task: T) -> T::Output {
    task.run(Fused::<28>)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<T: Task>(task: T) -> T::Output {
    task.run(Fused::<6>)
}

/// Multiplies and adds in one instruction, and keeps N rows of 16 numbers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Fused<const N: usize>;

#[cfg(target_arch = "x86_64")]
impl<const N: usize> Processor for Fused<N> {
    const SUMS: usize = N;

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, sum: f32) -> f32 {
        a.mul_add(b, sum)
    }
}

/// No instructions but those of every processor of its kind.
#[derive(Clone, Copy)]
struct Common<const N: usize>;

impl<const N: usize> Processor for Common<N> {
    const SUMS: usize = N;

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, sum: f32) -> f32 {
        a * b + sum
    }
}
