//! The Gaussian error linear unit.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::graph;
use crate::simd::{self, Kernel, exp, mul_add};
use crate::values::{Values, on_cpu, values};

/// Elements that one thread takes at a time.
const PIECE: usize = 1 << 14;

/// x Φ(x), as BERT has it.
///
/// On the CPU in f32 the relative error of Φ is below 10⁻⁶ for x ≥ −5, and that of the density in its slope.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    if on_cpu(&[x]) { graph::apply1(&x.contiguous()?, Gelu(Exact)) } else { x.gelu_erf() }
}

/// ½ x (1 + tanh(√(2/π)(x + 0.044715 x³))), as GPT-2 has it.
///
/// On the CPU in f32 the relative error is below 10⁻⁶ for x ≥ −3, and grows with the exponent of the tail below.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    if on_cpu(&[x]) { graph::apply1(&x.contiguous()?, Gelu(Tanh)) } else { x.gelu() }
}

/// A function of one number and its slope.
trait Curve: Copy + Send + Sync + 'static {
    fn value<const FMA: bool>(self, x: f32) -> f32;
    fn slope<const FMA: bool>(self, x: f32) -> f32;
}

#[derive(Clone, Copy)]
struct Exact;

impl Exact {
    /// Φ(x) and e^(−x²/2).
    ///
    /// Φ(−|x|) = e^(−x²/2) q(t) with t = 1/(1 + 0.3 |x|), where the polynomial q was fitted to the least largest relative
    /// error, 1.5·10⁻⁷, on |x| ≤ 14, where Φ leaves the range of f32.
    #[inline(always)]
    fn distribution<const FMA: bool>(x: f32) -> (f32, f32) {
        const Q: [f32; 7] = [-0.157_204_77, 0.206_356_31, -0.053_686_08, 0.128_562_81, 0.099_913_17, 0.120_754, 0.119_629_3];
        let density = exp::<FMA>(-0.5 * x * x);
        let t = 1.0 / mul_add::<FMA>(0.3, x.abs(), 1.0);
        let mut q = 0.035_675_19;
        for coefficient in Q {
            q = mul_add::<FMA>(q, t, coefficient);
        }
        let tail = density * q * t;
        (if x > 0.0 { 1.0 - tail } else { tail }, density)
    }
}

impl Curve for Exact {
    #[inline(always)]
    fn value<const FMA: bool>(self, x: f32) -> f32 {
        x * Self::distribution::<FMA>(x).0
    }

    /// Φ(x) + x e^(−x²/2)/√(2π).
    #[inline(always)]
    fn slope<const FMA: bool>(self, x: f32) -> f32 {
        const SCALE: f32 = 0.398_942_3;
        let (phi, density) = Self::distribution::<FMA>(x);
        mul_add::<FMA>(x * SCALE, density, phi)
    }
}

#[derive(Clone, Copy)]
struct Tanh;

impl Tanh {
    /// 2√(2/π).
    const SCALE: f32 = 1.595_769_2;
    const CUBE: f32 = 0.044_715;

    /// ½(1 + tanh u) = 1/(1 + e^(−2u)), which loses no digits where tanh u is near −1.
    #[inline(always)]
    fn gate<const FMA: bool>(x: f32) -> f32 {
        let twice_u = x * mul_add::<FMA>(Self::SCALE * Self::CUBE, x * x, Self::SCALE);
        1.0 / (1.0 + exp::<FMA>(-twice_u))
    }
}

impl Curve for Tanh {
    #[inline(always)]
    fn value<const FMA: bool>(self, x: f32) -> f32 {
        x * Self::gate::<FMA>(x)
    }

    /// s + x s(1 − s)·2u' with s = ½(1 + tanh u).
    #[inline(always)]
    fn slope<const FMA: bool>(self, x: f32) -> f32 {
        let gate = Self::gate::<FMA>(x);
        let slope = mul_add::<FMA>(3.0 * Self::SCALE * Self::CUBE, x * x, Self::SCALE);
        mul_add::<FMA>(x * gate * (1.0 - gate), slope, gate)
    }
}

struct Gelu<C>(C);

impl<C: Curve> CustomOp1 for Gelu<C> {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(y, x)| simd::run(Forward { curve: self.0, x, y }));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let mut of_x = vec![0.0; x.elem_count()];
        {
            let (x, grad) = (Values::of(x)?, Values::of(&grad)?);
            let pieces = of_x.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE).zip(grad.par_chunks(PIECE)));
            pieces.for_each(|(of_x, (x, grad))| simd::run(Backward { curve: self.0, x, grad, of_x }));
        }
        Ok(Some(Tensor::from_vec(of_x, x.shape(), x.device())?))
    }
}

struct Forward<'a, C> {
    curve: C,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl<C: Curve> Kernel for Forward<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        self.y.iter_mut().zip(self.x).for_each(|(y, &x)| *y = self.curve.value::<FMA>(x));
    }
}

struct Backward<'a, C> {
    curve: C,
    x: &'a [f32],
    grad: &'a [f32],
    of_x: &'a mut [f32],
}

impl<C: Curve> Kernel for Backward<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        for ((of_x, &x), g) in self.of_x.iter_mut().zip(self.x).zip(self.grad) {
            *of_x = g * self.curve.slope::<FMA>(x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{numbers, pass, same_on_any_threads, uniform};

    /// ½(1 + tanh u), u and u'.
    fn gate(x: f64) -> (f64, f64) {
        let scale = (2.0 / std::f64::consts::PI).sqrt();
        let u = scale * (x + 0.044_715 * x.powi(3));
        (1.0 / (1.0 + (-2.0 * u).exp()), scale * (1.0 + 3.0 * 0.044_715 * x * x))
    }

    fn density(x: f64) -> f64 {
        (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }

    /// Φ, from Simpson's rule on [0, x].
    fn distribution(x: f64) -> f64 {
        let n = 2000;
        let step = x / f64::from(n);
        let weight = |i| if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
        0.5 + (0..=n).map(|i| weight(i) * density(f64::from(i) * step)).sum::<f64>() * step / 3.0
    }

    /// For x > 0 the upper tail Φ(−x), from its continued fraction where Φ would cancel.
    fn tail(x: f64) -> f64 {
        if x < 1.5 { 1.0 - distribution(x) } else { density(x) / (1..=200).rev().fold(x, |rest, k| x + f64::from(k) / rest) }
    }

    /// The value and the slope at each x, compiled for this processor and as it stands.
    fn both<C: Curve>(curve: C, x: &[f32]) -> [(Vec<f32>, Vec<f32>); 2] {
        [false, true].map(|portable| {
            let (mut y, mut slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            let ones = vec![1.0; x.len()];
            let forward = Forward { curve, x, y: &mut y };
            if portable {
                forward.run::<false, false>();
            } else {
                simd::run(forward);
            }
            let backward = Backward { curve, x, grad: &ones, of_x: &mut slope };
            if portable {
                backward.run::<false, false>();
            } else {
                simd::run(backward);
            }
            (y, slope)
        })
    }

    #[test]
    fn exact_within_the_stated_error() {
        let x: Vec<f32> = (-500..=900).map(|i| i as f32 * 0.01).collect();
        for (y, slope) in both(Exact, &x) {
            for ((&x, y), slope) in x.iter().zip(y).zip(slope) {
                let x = f64::from(x);
                let phi = if x < 0.0 { tail(-x) } else { 1.0 - tail(x) };
                assert!((f64::from(y) - x * phi).abs() <= 1e-6 * (x * phi).abs() + 1e-12, "{x}: {y}, not {}", x * phi);
                let expected = phi + x * density(x);
                let unit = phi + (x * density(x)).abs();
                assert!((f64::from(slope) - expected).abs() <= 1e-6 * unit, "{x}: {slope}, not {expected}");
            }
        }
    }

    #[test]
    fn tanh_within_the_stated_error() {
        let x: Vec<f32> = (-300..=900).map(|i| i as f32 * 0.01).collect();
        for (y, slope) in both(Tanh, &x) {
            for ((&x, y), slope) in x.iter().zip(y).zip(slope) {
                let x = f64::from(x);
                let (gate, of_u) = gate(x);
                assert!((f64::from(y) - x * gate).abs() <= 1e-6 * (x * gate).abs(), "{x}: {y}, not {}", x * gate);
                let part = 2.0 * x * gate * (1.0 - gate) * of_u;
                assert!((f64::from(slope) - gate - part).abs() <= 2e-6 * (gate + part.abs()), "{x}: {slope}");
            }
        }
    }

    type Ours = fn(&Tensor) -> Result<Tensor>;
    const BOTH: [(Ours, Ours); 2] = [(gelu, Tensor::gelu_erf), (gelu_tanh, Tensor::gelu)];

    #[test]
    fn agree_with_candle() {
        let shape = [2 * PIECE + 77];
        let (x, g) = ((uniform(&shape, 1) * 6.0).unwrap(), uniform(&shape, 2));
        for (ours, theirs) in BOTH {
            let ours = same_on_any_threads(|| pass(&[&x], &g, |x| ours(&x[0])));
            // candle's slopes have coefficients of six digits.
            ours.assert_near(&pass(&[&x], &g, |x| theirs(&x[0])), 1e-5);
        }
    }

    #[test]
    #[allow(clippy::float_cmp, reason = "the same zeros and infinities")]
    fn what_is_not_finite_is_as_in_candle() {
        let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e20, -1e20, 60.0, -60.0, 0.0];
        let x = Tensor::new(&special, &candle_core::Device::Cpu).unwrap();
        for (ours, theirs) in BOTH {
            let (ours, theirs) = (numbers(&ours(&x).unwrap()), numbers(&theirs(&x).unwrap()));
            for ((x, ours), theirs) in special.iter().zip(ours).zip(theirs) {
                assert!(ours == theirs || (ours.is_nan() && theirs.is_nan()), "{x}: {ours}, not {theirs}");
            }
        }
    }

    #[test]
    fn other_layouts() {
        let x = uniform(&[4, 3], 4).t().unwrap();
        assert_eq!(numbers(&gelu(&x).unwrap()), numbers(&gelu(&x.contiguous().unwrap()).unwrap()));
    }
}
