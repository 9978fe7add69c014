//! The output layer of a language model together with its loss.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::matmul::matmul;
use crate::product::Strided;
use crate::simd::{self, Kernel, exponentials};
use crate::values::{on_cpu, values};
use crate::{affine, cross_entropy, graph};

/// Rows whose logits exist at the same time: few enough that they stay in the cache.
const ROWS: usize = 256;

/// The mean over all places of −log softmax(W x)_y in nats, for x [..., d], W [classes, d] and labels y [...] of type u32:
/// `cross_entropy` of `affine`, without ever holding the logits of all places.
///
/// On the CPU in f32 the gradients are taken together with the loss, so that each logit is computed once: detach x and W
/// where only the loss is wanted.
pub fn linear_cross_entropy(x: &Tensor, weight: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (Some((&width, places)), (classes, inputs)) = (x.dims().split_last(), weight.dims2()?) else {
        bail!("a row of at least one dimension is needed, not {:?}", x.shape());
    };
    if width != inputs {
        bail!("an output layer with weights {:?} takes {inputs} inputs, not those of {:?}", weight.shape(), x.shape());
    }
    if labels.dims() != places || labels.dtype() != DType::U32 {
        let (shape, dtype) = (labels.shape(), labels.dtype());
        bail!("inputs of shape {:?} need labels of shape {places:?} and type u32, not {shape:?} and {dtype:?}", x.shape());
    }
    let flat = labels.flatten_all()?;
    let labels = flat.to_vec1::<u32>()?;
    if let Some(label) = labels.iter().find(|&&label| label as usize >= classes) {
        bail!("label {label} is none of {classes} classes");
    }
    if on_cpu(&[x, weight]) {
        let wanted = (x.track_op(), weight.track_op());
        let op = LinearCrossEntropy { labels, wanted, gradients: OnceLock::new() };
        graph::apply2(&x.contiguous()?, &weight.contiguous()?, op)
    } else {
        cross_entropy(&affine(&x.reshape((labels.len(), width))?, weight, None)?, &flat)
    }
}

struct LinearCrossEntropy {
    labels: Vec<u32>,
    /// Whether x and W have gradients.
    wanted: (bool, bool),
    gradients: OnceLock<(Option<Tensor>, Option<Tensor>)>,
}

impl CustomOp2 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy of a linear map"
    }

    #[allow(clippy::cast_possible_truncation, reason = "results are f32")]
    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (classes, width) = w_layout.shape().dims2()?;
        let (x, w, n) = (values(x, x_layout)?, values(w, w_layout)?, self.labels.len());
        let scale = (1.0 / n as f64) as f32;
        let mut loss = 0.0;
        let mut of_x = vec![0.0; if self.wanted.0 { n * width } else { 0 }];
        let mut of_w = vec![0.0; if self.wanted.1 { classes * width } else { 0 }];
        let mut logits = vec![0.0; ROWS.min(n) * classes];
        for (index, labels) in self.labels.chunks(ROWS).enumerate() {
            let count = labels.len();
            let place = index * ROWS * width..(index * ROWS + count) * width;
            let (x, logits) = (&x[place.clone()], &mut logits[..count * classes]);
            matmul((count, classes, width), Strided::rows(x, width), Strided::columns(w, width), logits, false);
            loss += rows_to_gradients(logits, classes, labels, scale);
            if self.wanted.0 {
                let of_x = &mut of_x[place];
                matmul((count, width, classes), Strided::rows(logits, classes), Strided::rows(w, width), of_x, false);
            }
            if self.wanted.1 {
                let turned = Strided::columns(logits, classes);
                matmul((classes, width, count), turned, Strided::rows(x, width), &mut of_w, true);
            }
        }
        let of_x = self.wanted.0.then(|| Tensor::from_vec(of_x, x_layout.shape(), &Device::Cpu)).transpose()?;
        let of_w = self.wanted.1.then(|| Tensor::from_vec(of_w, (classes, width), &Device::Cpu)).transpose()?;
        // Nobody else writes: the operation is applied once.
        let _ = self.gradients.set((of_x, of_w));
        Ok((CpuStorage::F32(vec![(loss / n as f64) as f32]), Shape::from(())))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let Some((of_x, of_w)) = self.gradients.get() else {
            bail!("the gradient of a loss was asked for before the loss");
        };
        let factor = f64::from(grad.to_scalar::<f32>()?);
        let times = |gradient: &Option<Tensor>| match gradient {
            Some(gradient) if factor.to_bits() != 1.0_f64.to_bits() => (gradient * factor).map(Some),
            gradient => Ok(gradient.clone()),
        };
        Ok((times(of_x)?, times(of_w)?))
    }
}

/// The sum of the losses of the rows of `logits`, which become `(softmax(z) − 1_y)·scale`.
fn rows_to_gradients(logits: &mut [f32], classes: usize, labels: &[u32], scale: f32) -> f64 {
    let rows = logits.par_chunks_mut(classes).zip(labels).with_min_len(8);
    let losses: Vec<f64> = rows.map(|(logits, &label)| simd::run(Row { logits, label: label as usize, scale })).collect();
    losses.iter().sum()
}

struct Row<'a> {
    logits: &'a mut [f32],
    label: usize,
    scale: f32,
}

impl Kernel for Row<'_> {
    type Output = f64;

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "gradients are f32")]
    fn run<const FMA: bool, const WIDE: bool>(self) -> f64 {
        let Self { logits, label, scale } = self;
        let of_label = f64::from(logits[label]);
        let (top, total) = exponentials::<FMA>(logits, 1.0);
        let factor = (f64::from(scale) / total) as f32;
        for p in &mut *logits {
            *p *= factor;
        }
        logits[label] -= scale;
        total.ln() + f64::from(top) - of_label
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{numbers, pass, reference, same_on_any_threads, uniform};

    fn labels(n: usize, classes: usize) -> Tensor {
        let label = |i: usize| u32::try_from((7 * i + i * i) % classes).unwrap();
        let labels: Vec<u32> = (0..n).map(label).collect();
        Tensor::from_vec(labels, n, &Device::Cpu).unwrap()
    }

    fn agrees(n: usize, width: usize, classes: usize, seed: u64) {
        let (x, w) = (uniform(&[n, width], seed), (uniform(&[classes, width], seed + 1) * 3.0).unwrap());
        let (labels, g) = (labels(n, classes), Tensor::new(-1.7_f32, &Device::Cpu).unwrap());
        let ours = same_on_any_threads(|| pass(&[&x, &w], &g, |x| linear_cross_entropy(&x[0], &x[1], &labels)));
        let theirs = pass(&[&x, &w], &g, |x| cross_entropy(&x[0].matmul(&x[1].t()?)?, &labels));
        ours.assert_near(&theirs, 1e-5);
        let scale = theirs.gradients.iter().flatten().fold(0.0_f32, |scale, g| scale.max(g.abs()));
        for (ours, theirs) in ours.gradients.iter().flatten().zip(theirs.gradients.iter().flatten()) {
            assert!((ours - theirs).abs() <= 1e-5 * scale, "{ours}, not {theirs}, beside up to {scale}");
        }
        if n * width * classes < 2000 {
            let labels = labels.to_vec1::<u32>().unwrap();
            let plain = |inputs: &[Vec<f64>]| {
                let loss = |(x, &label): (&[f64], &u32)| {
                    let logits: Vec<f64> = inputs[1].chunks(width).map(|w| w.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
                    logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[label as usize]
                };
                vec![inputs[0].chunks(width).zip(&labels).map(loss).sum::<f64>() / n as f64]
            };
            ours.assert_near(&reference(&[&x, &w], &g, plain), 1e-5);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn is_the_formula(n in 1..12_usize, width in 1..9_usize, classes in 1..30_usize, seed in 0..1000_u64) {
            agrees(n, width, classes, seed);
        }
    }

    #[test]
    fn several_blocks() {
        agrees(2 * ROWS + 9, 40, 77, 1);
    }

    #[test]
    fn a_constant_gets_no_gradient() {
        let (x, w) = (uniform(&[2, 3, 4], 2), candle_core::Var::from_tensor(&uniform(&[5, 4], 3)).unwrap());
        let labels = labels(6, 5).reshape((2, 3)).unwrap();
        let loss = linear_cross_entropy(&x, &w, &labels).unwrap();
        let gradients = loss.backward().unwrap();
        assert!(gradients.get(&x).is_none() && gradients.get(&w).is_some());
        let detached = linear_cross_entropy(&x, &w.as_detached_tensor(), &labels).unwrap();
        assert_eq!(numbers(&detached), numbers(&loss));
        assert!(!detached.track_op());
    }

    #[test]
    fn what_is_not_finite_comes_out() {
        let (mut x, w) = (numbers(&uniform(&[3, 4], 2)), uniform(&[5, 4], 3));
        for special in [f32::NAN, f32::INFINITY] {
            x[5] = special;
            let x = Tensor::from_slice(&x, (3, 4), &Device::Cpu).unwrap();
            assert!(linear_cross_entropy(&x, &w, &labels(3, 5)).unwrap().to_scalar::<f32>().unwrap().is_nan());
        }
    }

    #[test]
    fn other_types_and_wrong_shapes() {
        let (x, w) = (uniform(&[3, 4], 2), uniform(&[5, 4], 3));
        let double = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
        let (one, two) = (
            linear_cross_entropy(&x, &w, &labels(3, 5)).unwrap().to_scalar::<f32>().unwrap(),
            linear_cross_entropy(&double(&x), &double(&w), &labels(3, 5)).unwrap().to_scalar::<f64>().unwrap(),
        );
        assert!((f64::from(one) - two).abs() < 1e-6);
        let error = |x: &Tensor, w: &Tensor, labels: &Tensor| linear_cross_entropy(x, w, labels).unwrap_err().to_string();
        assert!(error(&x, &uniform(&[5, 3], 1), &labels(3, 5)).contains("[5, 3] takes 3 inputs, not those of [3, 4]"));
        assert!(error(&x, &w, &labels(4, 5)).contains("[3] and type u32, not [4]"));
        assert!(error(&x, &w, &Tensor::new(&[0_u32, 5, 1], &Device::Cpu).unwrap()).contains("label 5 is none of 5"));
    }
}
