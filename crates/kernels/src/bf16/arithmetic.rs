//! The arithmetic of the products, number by number.

use half::bf16;

/// The sum so far plus the products of two pairs of bf16 numbers, as the instruction `VDPBF16PS` adds them. A pair is a
/// u32 whose low half comes first in the sum.
///
/// The instruction is two fused multiply-adds one after the other, first of the numbers in the high halves, then of
/// those in the low halves. Each takes subnormal numbers as zeros, rounds to the nearest f32, ties to even, and makes
/// zeros of results that are subnormal; signs of zeros are kept.
pub(crate) fn add_pair(sum: f32, a: u32, b: u32) -> f32 {
    let sum = fused(sum, high(a), high(b));
    fused(sum, low(a), low(b))
}

/// The second number of a pair.
#[inline(always)]
pub(crate) fn high(pair: u32) -> f32 {
    f32::from_bits(pair & 0xffff_0000)
}

/// The first number of a pair.
#[inline(always)]
pub(crate) fn low(pair: u32) -> f32 {
    f32::from_bits(pair << 16)
}

/// sum + a·b.
#[allow(clippy::cast_possible_truncation, reason = "this is the rounding")]
fn fused(sum: f32, a: f32, b: f32) -> f32 {
    let [sum, a, b] = [sum, a, b].map(|x| f64::from(without_subnormals(x)));
    // The product of two bf16 numbers is exact in f64. So is the sum, or one of the two is so small beside the other that
    // it changes the rounding to neither f64 nor f32: a product has 16 digits and the sum 24, so that no tie is hit.
    let exact = sum + a * b;
    // What rounds to 24 digits at 2⁻¹²⁶ counts as normal.
    if exact.abs() < SMALLEST { 0.0_f32.copysign(exact.signum() as f32) } else { exact as f32 }
}

/// 2⁻¹²⁶ − 2⁻¹⁵¹: from here on, 24 digits round to 2⁻¹²⁶.
const SMALLEST: f64 = f32::MIN_POSITIVE as f64 * (1.0 - 1.0 / (1 << 25) as f64);

fn without_subnormals(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { x }
}

/// Whether products of such numbers, and sums of these products, need none of the care of [`fused`]: every number is 0 or
/// at least 2⁻⁵⁶ and under 2⁶⁴ in absolute value.
///
/// Such a number is a multiple of 2⁻⁶³, since bf16 has 8 digits; so products and their sums are multiples of 2⁻¹²⁶, the
/// smallest normal f32, and are never subnormal. Products have 16 digits and stay below 2¹²⁸: they are exact in f32, and
/// with them a multiplication followed by an addition rounds as one fused operation does.
#[allow(clippy::needless_bitwise_bool, reason = "without branches the loop runs in vector registers")]
pub(crate) fn in_range(pairs: &[[u32; 16]]) -> bool {
    const LEAST: u32 = (127 - 56) << 7;
    const LIMIT: u32 = (127 + 64) << 7;
    let fits = |half: u32| {
        let magnitude = half & 0x7fff;
        (magnitude == 0) | (LEAST..LIMIT).contains(&magnitude)
    };
    pairs.as_flattened().iter().fold(true, |all, &pair| all & fits(pair) & fits(pair >> 16))
}

/// The nearest bf16, ties to even; one and the same NaN for every NaN.
#[allow(clippy::cast_possible_truncation, reason = "a u32 shifted by 16 is a u16")]
#[inline(always)]
pub(crate) fn rounded(x: f32) -> bf16 {
    let bits = x.to_bits();
    let nearest = (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16;
    bf16::from_bits(if x.is_nan() { 0x7fc0 } else { nearest })
}

/// bf16 to f32, exactly.
#[inline(always)]
pub(crate) fn widened(x: bf16) -> f32 {
    f32::from_bits(u32::from(x.to_bits()) << 16)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the results are exact")]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_half() {
        // Every bf16 and the f32 around it and around the middle to the next.
        for high in 0..=u16::MAX {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                let (ours, theirs) = (rounded(x), bf16::from_f32(x));
                assert!(ours.to_bits() == theirs.to_bits() || (x.is_nan() && ours.is_nan() && theirs.is_nan()), "{x:e}");
                assert!(x.is_nan() || widened(ours).to_bits() == ours.to_f32().to_bits());
            }
        }
    }

    fn pair(low: f32, high: f32) -> u32 {
        u32::from(bf16::from_f32(low).to_bits()) | u32::from(bf16::from_f32(high).to_bits()) << 16
    }

    #[test]
    fn the_rule_in_single_cases() {
        let two = |e: i32| 2.0_f32.powi(e);
        let add = |sum: f32, a: [f32; 2], b: [f32; 2]| add_pair(sum, pair(a[0], a[1]), pair(b[0], b[1]));
        // The high halves come first: 2¹⁰⁰ swallows 1 and is then taken away.
        assert_eq!(add(1.0, [-1.0, 1.0], [two(100), two(100)]), 0.0);
        // One rounding for a product and its sum: 2¹²⁷·2 alone would be infinite.
        assert_eq!(add(-two(127), [0.0, 2.0], [0.0, two(127)]), two(127));
        assert_eq!(add(f32::MAX, [0.0, 2.0], [0.0, two(127)]), f32::INFINITY);
        // Subnormal numbers are zeros, on the way in and on the way out.
        assert_eq!(add(two(-140), [0.0, 1.0], [0.0, 1.0]).to_bits(), 1.0_f32.to_bits());
        assert_eq!(add(0.0, [0.0, two(-130)], [0.0, two(20)]), 0.0);
        assert_eq!(add(0.0, [0.0, two(-70)], [0.0, -two(-70)]).to_bits(), (-0.0_f32 + 0.0).to_bits());
        assert_eq!(add(two(-126), [0.0, two(-76)], [0.0, -two(-76)]), two(-126));
        assert!(add(0.0, [0.0, f32::INFINITY], [1.0, 0.0]).is_nan());
        assert_eq!(add(0.0, [1.0, f32::INFINITY], [1.0, 2.0]), f32::INFINITY);
    }

    #[test]
    fn the_range_is_as_said() {
        let row = |x: f32| [[pair(x, 0.0); 16], [pair(0.0, -x); 16]];
        for inside in [0.0, -0.0, 2.0_f32.powi(-56), 1.0, 2.0_f32.powi(63)] {
            assert!(in_range(&row(inside)), "{inside}");
        }
        for outside in [1e-18, 1e-40, 2.0_f32.powi(64), f32::INFINITY, f32::NAN] {
            assert!(!in_range(&row(outside)), "{outside}");
        }
    }
}
