//! One pass over the elements of tensors.

use crate::fresh::{Part, filled, part_of};
use crate::simd::{Kernel, run};

/// f(xᵢ) for each i.
pub(crate) fn map(x: &[f32], f: impl Fn(f32) -> f32 + Copy + Sync) -> Vec<f32> {
    // The second slice is not read.
    map2(x, x, move |x, _| f(x))
}

/// f(xᵢ, yᵢ) for each i.
///
/// # Panics
/// When the lengths differ.
pub(crate) fn map2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync) -> Vec<f32> {
    assert_eq!(x.len(), y.len(), "pairs");
    let length = part_of(1);
    filled(x.len(), length, |index, part| {
        let range = index * length..x.len().min((index + 1) * length);
        run(Map2 { part, x: &x[range.clone()], y: &y[range], f });
    })
}

struct Map2<'a, 'b, F> {
    part: &'a mut Part<'b>,
    x: &'a [f32],
    y: &'a [f32],
    f: F,
}

impl<F: Fn(f32, f32) -> f32> Kernel for Map2<'_, '_, F> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        self.part.map2(self.x, self.y, self.f);
    }
}
