//! Cross-entropy of a softmax.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::elementwise::map;
use crate::fresh::{Part, filled_with, part_of};
use crate::graph::apply1;
use crate::simd::{self, Kernel};
use crate::values::{Values, on_cpu};

/// The mean over the rows of −log softmax(z)_y in nats, for logits z \[n, classes\] and labels y \[n\] of type u32.
///
/// The gradient of a row is (softmax(z) − e)/n, with 1 at the label in e and 0 elsewhere. On the CPU it is computed with
/// the loss, which has the exponentials, if z leads to a variable, and a label that is no class is an error that names it.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let (n, classes) = logits.dims2()?;
    if labels.dims() != [n] || labels.dtype() != DType::U32 {
        let (shape, dtype) = (labels.shape(), labels.dtype());
        bail!("logits {:?} need {n} labels of type u32, one for each row, not {shape:?} of type {dtype:?}", logits.shape());
    }
    if !(on_cpu(&[logits]) && logits.is_contiguous() && logits.elem_count() > 0) {
        return composed(logits, labels);
    }
    let labels = labels.to_vec1::<u32>()?;
    if let Some((row, label)) = labels.iter().enumerate().find(|&(_, &label)| label as usize >= classes) {
        bail!("label {label} of row {row} is none of {classes} classes, which count from 0");
    }
    let rows = part_of(classes) / classes;
    let values = Values::of(logits)?;
    let part = |index: usize, gradient: Option<&mut Part<'_>>| {
        let z = values.chunks(rows * classes).nth(index).unwrap_or_default();
        let labels = labels.chunks(rows).nth(index).unwrap_or_default();
        simd::run(Rows { z, labels, share: 1.0 / n as f64, gradient })
    };
    let mut losses = vec![0.0; n.div_ceil(rows)];
    if !logits.track_op() {
        losses.par_iter_mut().enumerate().for_each(|(index, loss)| *loss = part(index, None));
        return Tensor::new(mean(&losses, n), logits.device());
    }
    let gradient =
        filled_with(values.len(), rows * classes, &mut losses, |index, gradient, loss| *loss = part(index, Some(gradient)));
    let gradient = Tensor::from_vec(gradient, (n, classes), logits.device())?;
    apply1(logits, CrossEntropy { loss: mean(&losses, n), gradient })
}

/// The mean over `n` rows, from sums over parts of them.
#[allow(clippy::cast_possible_truncation, reason = "results are f32")]
fn mean(sums: &[f64], n: usize) -> f32 {
    (sums.iter().sum::<f64>() / n as f64) as f32
}

fn composed(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let largest = logits.max_keepdim(D::Minus1)?.detach();
    let shifted = logits.broadcast_sub(&largest)?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let of_label = shifted.gather(&labels.unsqueeze(1)?, 1)?;
    (log_sum - of_label)?.mean_all()
}

/// A loss with its gradient.
struct CrossEntropy {
    loss: f32,
    gradient: Tensor,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross entropy"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(vec![self.loss]), ().into()))
    }

    #[allow(clippy::float_cmp, reason = "times 1 is nothing to do")]
    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let g = grad.to_scalar::<f32>()?;
        if g == 1.0 {
            return Ok(Some(self.gradient.clone()));
        }
        let scaled = map(&Values::of(&self.gradient)?, |x| g * x);
        Tensor::from_vec(scaled, self.gradient.shape(), self.gradient.device()).map(Some)
    }
}

/// The sum of the losses of some rows, and their gradients in terms of the mean.
struct Rows<'a, 'b> {
    z: &'a [f32],
    labels: &'a [u32],
    /// Of a row in the mean.
    share: f64,
    gradient: Option<&'a mut Part<'b>>,
}

impl Kernel for Rows<'_, '_> {
    type Output = f64;

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "gradients are f32")]
    fn run<const FMA: bool, const WIDE: bool>(mut self) -> f64 {
        let classes = self.z.len() / self.labels.len();
        let mut exponentials = vec![0.0; classes];
        let mut losses = 0.0;
        for (z, &label) in self.z.chunks_exact(classes).zip(self.labels) {
            let label = label as usize;
            exponentials.copy_from_slice(z);
            let (largest, sum) = simd::exponentials::<FMA>(&mut exponentials, 1.0);
            losses += sum.ln() + f64::from(largest) - f64::from(z[label]);
            if let Some(gradient) = &mut self.gradient {
                exponentials[label] = (f64::from(exponentials[label]) - sum) as f32;
                let scale = (self.share / sum) as f32;
                gradient.map(&exponentials, |x| scale * x);
            }
        }
        losses
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{assert_near, bits, numbers, pass, reference, same_on_any_threads, uniform};

    fn labels(n: usize, classes: usize, seed: usize) -> Vec<u32> {
        (0..n).map(|row| u32::try_from((row * 31 + seed) % classes).unwrap()).collect()
    }

    fn tensor(labels: &[u32]) -> Tensor {
        Tensor::new(labels, &Device::Cpu).unwrap()
    }

    /// The gradient of a loss.
    fn scale(g: f32) -> Tensor {
        Tensor::new(g, &Device::Cpu).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn as_defined(n in 1..7_usize, classes in 1..70_usize, seed in 0..1000_usize, size in 0.1..30.0_f64, g in -2.0..2.0_f32) {
            let z = (uniform(&[n, classes], seed as u64) * size).unwrap();
            let labels = labels(n, classes, seed);
            let define = |inputs: &[Vec<f64>]| {
                let rows = inputs[0].chunks(classes).zip(&labels);
                let losses = rows.map(|(z, &label)| z.iter().map(|x| (x - z[label as usize]).exp()).sum::<f64>().ln());
                vec![losses.sum::<f64>() / n as f64]
            };
            for g in [g, 1.0] {
                let g = scale(g);
                let ours = pass(&[&z], &g, |t| cross_entropy(&t[0], &tensor(&labels)));
                ours.assert_near(&reference(&[&z], &g, define), 1e-6);
            }
            // A loss alone is the same loss.
            let alone = cross_entropy(&z, &tensor(&labels)).unwrap();
            let with_gradient = cross_entropy(&Var::from_tensor(&z).unwrap(), &tensor(&labels)).unwrap();
            prop_assert_eq!(bits(&alone), bits(&with_gradient));
        }
    }

    #[test]
    fn as_composed_on_many_rows_and_classes() {
        for (n, classes) in [(70, 3001), (5000, 10), (3, 40_000)] {
            let z = (uniform(&[n, classes], 1) * 20.0).unwrap();
            let labels = tensor(&labels(n, classes, 3));
            let ours = pass(&[&z], &scale(1.0), |t| cross_entropy(&t[0], &labels));
            let theirs = pass(&[&z], &scale(1.0), |t| composed(&t[0], &labels));
            assert_near(&ours.y, &theirs.y, 1e-6);
            let times_n = |pass: &[Vec<f32>]| -> Vec<f32> { pass[0].iter().map(|g| g * n as f32).collect() };
            assert_near(&times_n(&ours.gradients), &times_n(&theirs.gradients), 2e-6);
            same_on_any_threads(|| pass(&[&z], &scale(0.3), |t| cross_entropy(&t[0], &labels)));
        }
    }

    #[test]
    fn nan_and_infinity_pass_through() {
        for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut z = numbers(&uniform(&[3, 20], 1));
            z[25] = special;
            let z = Tensor::from_vec(z, (3, 20), &Device::Cpu).unwrap();
            let labels = tensor(&[1, 2, 3]);
            let ours = pass(&[&z], &scale(1.0), |t| cross_entropy(&t[0], &labels));
            let theirs = pass(&[&z], &scale(1.0), |t| composed(&t[0], &labels));
            let pairs = ours.y.iter().zip(&theirs.y).chain(ours.gradients[0].iter().zip(&theirs.gradients[0]));
            for (x, y) in pairs {
                assert!((x.is_nan() && y.is_nan()) || (x - y).abs() < 1e-6, "{x} instead of {y} for {special}");
            }
        }
    }

    #[test]
    fn bad_labels_are_errors() {
        let z = uniform(&[2, 3], 1);
        let error = |labels: &Tensor| cross_entropy(&z, labels).unwrap_err().to_string();
        assert!(error(&tensor(&[0, 3])).contains("label 3 of row 1 is none of 3 classes"));
        assert!(error(&tensor(&[0])).contains("[2, 3] need 2 labels"));
        assert!(error(&Tensor::new(&[0_i64, 1], &Device::Cpu).unwrap()).contains("type u32"));
    }

    #[test]
    fn other_types_and_layouts() {
        let z = uniform(&[4, 4], 1);
        let labels = tensor(&[0, 1, 2, 3]);
        let ours = numbers(&cross_entropy(&z, &labels).unwrap());
        let double = cross_entropy(&z.to_dtype(DType::F64).unwrap(), &labels).unwrap().to_dtype(DType::F32).unwrap();
        assert_near(&ours, &numbers(&double), 1e-6);
        let turned = z.t().unwrap().contiguous().unwrap().t().unwrap();
        assert_near(&ours, &numbers(&cross_entropy(&turned, &labels).unwrap()), 1e-6);
    }
}
