//! Sums in a fixed order that vectors can follow.

/// Elements that are worked on together: an AVX-512 register of f32, or several narrower ones.
pub(crate) const LANES: usize = 16;

/// Elements where there are too few for [`LANES`].
pub(crate) const HALF: usize = 8;

/// Σ f(xᵢ): lane by lane, then over the lanes by halves.
#[inline(always)]
pub(crate) fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for x in chunks {
        lanes.iter_mut().zip(x).for_each(|(sum, &x)| *sum += f(x));
    }
    lanes.iter_mut().zip(rest).for_each(|(sum, &x)| *sum += f(x));
    halves(lanes)
}

/// Σ f(xᵢ, yᵢ), as [`sum`].
#[inline(always)]
pub(crate) fn sum2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        lanes.iter_mut().zip(x.iter().zip(y)).for_each(|(sum, (&x, &y))| *sum += f(x, y));
    }
    lanes.iter_mut().zip(x_rest.iter().zip(y_rest)).for_each(|(sum, (&x, &y))| *sum += f(x, y));
    halves(lanes)
}

/// The largest number; −∞ of none. NaN is passed over.
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    let take = |top: &mut f32, x: f32| *top = if x > *top { x } else { *top };
    for x in chunks {
        lanes.iter_mut().zip(x).for_each(|(top, &x)| take(top, x));
    }
    lanes.iter_mut().zip(rest).for_each(|(top, &x)| take(top, x));
    lanes.iter().fold(f32::NEG_INFINITY, |top, &x| if x > top { x } else { top })
}

#[inline(always)]
fn halves(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        let (low, high) = lanes.split_at_mut(width);
        low.iter_mut().zip(high).for_each(|(low, high)| *low += *high);
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of small integers are exact, so every element must count once.
    #[test]
    fn every_element_counts() {
        for length in 0..70_u16 {
            let x: Vec<f32> = (1..=length).map(f32::from).collect();
            let n = f32::from(length);
            assert!((sum(&x, |x| x) - n * (n + 1.0) / 2.0).abs() < 0.5, "{length}");
            assert!((sum2(&x, &x, |x, y| x * y) - n * (n + 1.0) * (2.0 * n + 1.0) / 6.0).abs() < 0.5, "{length}");
        }
    }
}
