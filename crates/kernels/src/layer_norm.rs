//! Layer normalization.

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::graph;
use crate::simd::{self, Kernel, mul_add, sum, sum2};
use crate::values::{Values, on_cpu, values};

/// Rows that one thread takes at a time. The gradients of γ and β are summed over the rows of each such block, and then
/// over the blocks.
const ROWS: usize = 64;

/// γ (x − m)/√(v + ε) + β with mean m and biased variance v over the last dimension of x \[..., d\], γ and β \[d\].
#[allow(clippy::cast_possible_truncation, reason = "the arithmetic is in f32")]
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    if on_cpu(&[x, gamma, beta]) {
        graph::apply3(&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?, LayerNorm { eps: eps as f32 })
    } else {
        composed(x, gamma, beta, eps)
    }
}

fn composed(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(gamma)?.broadcast_add(beta)
}

struct LayerNorm {
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = x_layout.shape();
        let Some(&width) = shape.dims().last() else {
            bail!("a layer norm needs at least one dimension");
        };
        for (name, dims) in [("gains", gamma_layout.dims()), ("biases", beta_layout.dims())] {
            if dims != [width] {
                bail!("a layer norm of {shape:?} needs [{width}] {name}, not {dims:?}");
            }
        }
        let (x, gamma, beta) = (values(x, x_layout)?, values(gamma, gamma_layout)?, values(beta, beta_layout)?);
        let mut y = vec![0.0; x.len()];
        if width > 0 {
            let block = ROWS * width;
            y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
                simd::run(Forward { x, gamma, beta, eps: self.eps, y });
            });
        }
        Ok((CpuStorage::F32(y), shape.clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let width = gamma.elem_count();
        let mut of_x = vec![0.0; x.elem_count()];
        let mut sums = vec![0.0; 2 * width];
        if !of_x.is_empty() {
            let (x, gamma, grad) = (Values::of(x)?, Values::of(gamma)?, Values::of(&grad)?);
            let (x, gamma, grad) = (&*x, &*gamma, &*grad);
            let block = ROWS * width;
            let mut partial = vec![0.0; 2 * width * x.len().div_ceil(block)];
            let blocks = of_x.par_chunks_mut(block).zip(partial.par_chunks_mut(2 * width));
            blocks.zip(x.par_chunks(block).zip(grad.par_chunks(block))).for_each(|((of_x, sums), (x, grad))| {
                let (of_gamma, of_beta) = sums.split_at_mut(width);
                simd::run(Backward { x, gamma, grad, eps: self.eps, of_x, of_gamma, of_beta });
            });
            for partial in partial.chunks_exact(2 * width) {
                sums.iter_mut().zip(partial).for_each(|(sum, part)| *sum += part);
            }
        }
        let of_beta = Tensor::from_slice(&sums[width..], width, x.device())?;
        sums.truncate(width);
        let of_gamma = Tensor::from_vec(sums, width, x.device())?;
        let of_x = x.track_op().then(|| Tensor::from_vec(of_x, x.shape(), x.device())).transpose()?;
        Ok((of_x, gamma.track_op().then_some(of_gamma), beta.track_op().then_some(of_beta)))
    }
}

/// Mean and 1/√(v + ε) of a row.
#[inline(always)]
fn statistics(x: &[f32], eps: f32) -> (f32, f32) {
    let n = x.len() as f32;
    let mean = sum(x, |x| x) / n;
    let variance = sum(x, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + eps).sqrt())
}

struct Forward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    eps: f32,
    y: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let width = self.gamma.len();
        for (x, y) in self.x.chunks_exact(width).zip(self.y.chunks_exact_mut(width)) {
            let (mean, scale) = statistics(x, self.eps);
            for ((y, x), (gamma, beta)) in y.iter_mut().zip(x).zip(self.gamma.iter().zip(self.beta)) {
                *y = mul_add::<FMA>((x - mean) * scale, *gamma, *beta);
            }
        }
    }
}

/// With x̂ = (x − m)/√(v + ε) and h = γ ∘ G for the gradient G of the result, row by row:
/// (h − mean(h) − x̂ mean(h ∘ x̂))/√(v + ε); over the rows Σ G ∘ x̂ for γ and Σ G for β.
struct Backward<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    grad: &'a [f32],
    eps: f32,
    of_x: &'a mut [f32],
    of_gamma: &'a mut [f32],
    of_beta: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let Self { gamma, eps, of_gamma, of_beta, .. } = self;
        let width = gamma.len();
        let rows = self.x.chunks_exact(width).zip(self.grad.chunks_exact(width)).zip(self.of_x.chunks_exact_mut(width));
        for ((x, grad), of_x) in rows {
            let (mean, scale) = statistics(x, eps);
            for (((x, g), h), ((gamma, of_gamma), of_beta)) in
                x.iter().zip(grad).zip(&mut *of_x).zip(gamma.iter().zip(&mut *of_gamma).zip(&mut *of_beta))
            {
                *h = gamma * g;
                *of_gamma = mul_add::<FMA>(*g, (x - mean) * scale, *of_gamma);
                *of_beta += g;
            }
            let n = width as f32;
            let mean_h = sum(of_x, |h| h) / n;
            let mean_hx = sum2(of_x, x, |h, x| h * ((x - mean) * scale)) / n;
            for (h, x) in of_x.iter_mut().zip(x) {
                *h = (*h - mean_h - (x - mean) * scale * mean_hx) * scale;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{numbers, pass, reference, same_on_any_threads, uniform};

    const EPS: f64 = 1e-5;

    fn inputs(shape: &[usize], seed: u64) -> [Tensor; 4] {
        let width = shape[shape.len() - 1];
        [uniform(shape, seed), uniform(&[width], seed + 1), uniform(&[width], seed + 2), uniform(shape, seed + 3)]
    }

    fn plain(inputs: &[Vec<f64>]) -> Vec<f64> {
        let [x, gamma, beta] = inputs else { unreachable!() };
        let n = gamma.len() as f64;
        let mut y = Vec::new();
        for x in x.chunks(gamma.len()) {
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            y.extend((0..x.len()).map(|i| gamma[i] * (x[i] - mean) / (variance + EPS).sqrt() + beta[i]));
        }
        y
    }

    /// Against candle's operations, and against the formula where that is not too much work.
    fn agrees(shape: &[usize], seed: u64) {
        let [x, gamma, beta, g] = inputs(shape, seed);
        let inputs = [&x, &gamma, &beta];
        let ours = same_on_any_threads(|| pass(&inputs, &g, |x| layer_norm(&x[0], &x[1], &x[2], EPS)));
        ours.assert_near(&pass(&inputs, &g, |x| composed(&x[0], &x[1], &x[2], EPS)), 2e-5);
        if x.elem_count() < 1000 {
            ours.assert_near(&reference(&inputs, &g, plain), 2e-5);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn is_the_formula(batch in 1..4_usize, rows in 1..9_usize, width in 2..40_usize, seed in 0..1000_u64) {
            agrees(&[batch, rows, width], seed);
        }
    }

    #[test]
    fn several_blocks_and_one_column() {
        agrees(&[2 * ROWS + 5, 128], 1);
        // A row of one number is at its mean.
        agrees(&[5, 1], 2);
        let [x, gamma, beta, _] = inputs(&[0, 3], 3);
        assert_eq!(layer_norm(&x, &gamma, &beta, EPS).unwrap().dims(), [0, 3]);
    }

    #[test]
    fn what_is_not_finite_stays_in_its_row() {
        for special in [f32::NAN, f32::INFINITY] {
            let mut x = numbers(&uniform(&[3, 20], 4));
            x[25] = special;
            let [_, gamma, beta, _] = inputs(&[3, 20], 5);
            let y = layer_norm(&Tensor::from_vec(x, (3, 20), gamma.device()).unwrap(), &gamma, &beta, EPS).unwrap();
            for (place, y) in numbers(&y).into_iter().enumerate() {
                assert_eq!(y.is_nan(), (20..40).contains(&place), "{special} at {place}");
            }
        }
    }

    #[test]
    fn other_layouts_types_and_wrong_shapes() {
        let [x, gamma, beta, _] = inputs(&[3, 4], 6);
        let columns = x.t().unwrap().contiguous().unwrap();
        let turned = layer_norm(&columns.t().unwrap(), &gamma, &beta, EPS).unwrap();
        assert_eq!(numbers(&turned), numbers(&layer_norm(&x, &gamma, &beta, EPS).unwrap()));
        let [x64, gamma64, beta64] = [&x, &gamma, &beta].map(|tensor| tensor.to_dtype(DType::F64).unwrap());
        assert_eq!(layer_norm(&x64, &gamma64, &beta64, EPS).unwrap().dtype(), DType::F64);
        let error = layer_norm(&columns, &gamma, &beta, EPS).unwrap_err().to_string();
        assert!(error.contains("[4, 3]") && error.contains("[4]"), "{error}");
    }
}
