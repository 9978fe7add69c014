//! Cross-entropy of a softmax.

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::elementwise::map;
use crate::fresh::{Part, filled_with, part_of};
use crate::simd::{self, Kernel, LANES};
use crate::values::{Values, on_cpu};

/// The mean over the rows of −log softmax(z)_y in nats, for logits z [n, classes] and labels y [n] of type u32.
///
/// The gradient of z is (softmax(z) − 1_y)/n for each row. On the CPU it is computed with the loss, which has the
/// exponentials, if z leads to a variable, and a label that is no class is an error that names it.
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
    let part = |index: usize, gradient| {
        let z = values.chunks(rows * classes).nth(index).unwrap_or_default();
        let labels = labels.chunks(rows).nth(index).unwrap_or_default();
        simd::run(Rows { z, labels, share: 1.0 / n as f64, gradient })
    };
    let mut losses = vec![0.0; n.div_ceil(rows)];
    if !logits.track_op() {
        losses.par_iter_mut().enumerate().for_each(|(index, loss)| *loss = part(index, None));
        return Tensor::new(mean(&losses, n), logits.device());
    }
    let gradient = filled_with(values.len(), rows * classes, &mut losses, |index, gradient, loss| *loss = part(index, Some(gradient)));
    let gradient = Tensor::from_vec(gradient, (n, classes), logits.device())?;
    logits.apply_op1(CrossEntropy { loss: mean(&losses, n), gradient })
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
    fn run<const FMA: bool>(mut self) -> f64 {
        let classes = self.z.len() / self.labels.len();
        let mut exponentials = vec![0.0; classes];
        let mut losses = 0.0;
        for (z, &label) in self.z.chunks_exact(classes).zip(self.labels) {
            let label = label as usize;
            let largest = largest(z);
            let sum = exponentials_of::<FMA>(z, largest, &mut exponentials);
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

/// The largest number; one that is not a number does not count.
#[inline(always)]
fn largest(z: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = z.as_chunks::<LANES>();
    for z in chunks {
        lanes.iter_mut().zip(z).for_each(|(largest, &z)| *largest = if z > *largest { z } else { *largest });
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// e^(z − largest) for each z, and their sum.
#[inline(always)]
fn exponentials_of<const FMA: bool>(z: &[f32], largest: f32, out: &mut [f32]) -> f64 {
    // A sum goes on in f64 after so many elements.
    const BLOCK: usize = 1 << 10;
    let mut total = 0.0;
    for (z, out) in z.chunks(BLOCK).zip(out.chunks_mut(BLOCK)) {
        let mut lanes = [0.0_f32; LANES];
        let mut add = |z: &[f32], out: &mut [f32]| {
            for ((sum, &z), out) in lanes.iter_mut().zip(z).zip(out) {
                *out = simd::exp::<FMA>(z - largest);
                *sum += *out;
            }
        };
        let ((z, z_rest), (out, out_rest)) = (z.as_chunks::<LANES>(), out.as_chunks_mut::<LANES>());
        z.iter().zip(out).for_each(|(z, out)| add(z, out));
        add(z_rest, out_rest);
        total += f64::from(simd::sum(&lanes, |x| x));
    }
    total
}
