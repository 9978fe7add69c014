//! The exponential function.

use super::{largest, mul_add, sum};

/// eˣ within a relative error of 2⁻²² where the result is a normal number; gradually 0 below, ∞ above, and NaN stays NaN.
///
/// x = n ln 2 + r with an integer n and |r| ≤ ½ ln 2; eʳ is its Taylor polynomial of degree 7, whose remainder is below
/// 2⁻²⁷. Inlined into a loop it becomes vector instructions: there is no branch and no table.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // ln 2 in two parts. The first has 9 digits, so that n times it is exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    // Beyond these the result is 0 or ∞ anyway.
    let x = x.clamp(-105.0, 90.0);
    let rounded = mul_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = mul_add::<FMA>(n, -LN_2_LOW, mul_add::<FMA>(n, -LN_2_HIGH, x));
    let mut y = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        y = mul_add::<FMA>(y, r, coefficient);
    }
    // 2ⁿ may be out of range where the result is in it, or near: two steps.
    let n = rounded.to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    let half = n >> 1;
    y * power_of_two(half) * power_of_two(n.wrapping_sub(half))
}

/// 2ⁿ for −126 ≤ n ≤ 127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(n.wrapping_add(127).cast_unsigned() << 23)
}

/// xᵢ ← e^((xᵢ − t)·scale) with the largest number t, for a softmax; returns t and the sum.
#[inline(always)]
pub(crate) fn exponentials<const FMA: bool>(x: &mut [f32], scale: f32) -> (f32, f64) {
    // A sum goes on in f64 after so many elements.
    const BLOCK: usize = 1 << 10;
    let top = largest(x);
    for x in &mut *x {
        *x = exp::<FMA>((*x - top) * scale);
    }
    (top, x.chunks(BLOCK).map(|x| f64::from(sum(x, |x| x))).sum())
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, run};
    use super::exp;

    struct Exp<'a>(&'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Output = ();

        #[inline(always)]
        fn run<const FMA: bool, const WIDE: bool>(self) {
            self.0.iter_mut().for_each(|x| *x = exp::<FMA>(*x));
        }
    }

    #[test]
    fn within_the_stated_error() {
        let x: Vec<f32> = (-880_000..=887_000).map(|i| i as f32 * 1e-4).collect();
        for portable in [false, true] {
            let mut y = x.clone();
            if portable {
                Exp(&mut y).run::<false, false>();
            } else {
                run(Exp(&mut y));
            }
            let mut largest = 0.0_f64;
            for (&x, y) in x.iter().zip(y) {
                let exact = f64::from(x).exp();
                if exact > f64::from(f32::MIN_POSITIVE) {
                    largest = largest.max((f64::from(y) / exact - 1.0).abs());
                }
            }
            assert!(largest < 2.0_f64.powi(-22), "relative error {largest}");
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        let mut y = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 89.0, -104.5, 0.0, -0.0, -95.0];
        run(Exp(&mut y));
        assert!(y[0].is_nan());
        assert_eq!(y[1..7], [f32::INFINITY, 0.0, f32::INFINITY, 0.0, 1.0, 1.0]);
        // A subnormal number, to its last digits.
        assert!((f64::from(y[7]) - (-95.0_f64).exp()).abs() < 3e-45);
    }
}
