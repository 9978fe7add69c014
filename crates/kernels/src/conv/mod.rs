//! Two-dimensional convolution.
//!
//! On the CPU, images are turned to channels last a few at a time, in a frame of zeros. A window of a pixel is then a few
//! runs of numbers side by side, whatever the size of the image, the stride and the padding, so that a convolution is a product
//! whose rows are windows; they are not copied. Three products make all of it: the convolution, the gradient
//! of its input, which is a convolution of the gradient of the result, and that of the weights, a sum over pixels.

mod channels_last;
mod correlation;
mod geometry;
mod sizes;
#[cfg(test)]
mod tests;
mod weight_gradient;
mod winograd;

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Storage, Tensor, bail};

use crate::conv::sizes::Sizes;
use crate::graph::apply2;
use crate::instructions::Instructions;

/// How a kernel moves over the image: the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Pixels from one place to the next, at least 1.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Groups of channels that see each other only; divides both numbers of channels.
    pub groups: usize,
}

impl Default for Conv2d {
    /// Stride 1, no padding, one group.
    fn default() -> Self {
        Self { stride: 1, padding: 0, groups: 1 }
    }
}

/// y\[n, o, i, j\] = Σ_{c, a, b} w\[o, c, a, b\] · x\[n, c, s·i + a − p, s·j + b − p\] for x \[N, C, H, W\], w \[O, C/g, kh, kw\].
///
/// # Errors
/// When the shapes do not fit, or the kernel is larger than the padded image.
pub fn conv2d(x: &Tensor, weight: &Tensor, conv: Conv2d) -> Result<Tensor> {
    let single = |tensor: &Tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32;
    Sizes::new(x.shape(), weight.shape(), conv)?;
    if single(x) && single(weight) { apply2(&x.contiguous()?, &weight.contiguous()?, conv) } else { composed(x, weight, conv) }
}

fn composed(x: &Tensor, weight: &Tensor, Conv2d { stride, padding, groups }: Conv2d) -> Result<Tensor> {
    x.conv2d(weight, padding, stride, 1, groups)
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sizes = Sizes::new(x_layout.shape(), w_layout.shape(), *self)?;
        let y = sizes.convolve(numbers(x, x_layout)?, numbers(w, w_layout)?, Instructions::best());
        Ok((CpuStorage::F32(y), (&sizes.result()).into()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::new(x.shape(), weight.shape(), *self)?;
        let instructions = Instructions::best();
        let grad = grad.contiguous()?;
        let of_x = if x.track_op() {
            let of_x = on_slices(&grad, weight, |grad, weight| sizes.input_gradients(grad, weight, instructions))?;
            Some(Tensor::from_vec(of_x, x.shape(), x.device())?)
        } else {
            None
        };
        let of_weight = if weight.track_op() {
            let of_weight = on_slices(x, &grad, |x, grad| sizes.weight_gradients(x, grad, instructions))?;
            Some(Tensor::from_vec(of_weight, weight.shape(), x.device())?)
        } else {
            None
        };
        Ok((of_x, of_weight))
    }
}

/// A function of the numbers of two contiguous f32 tensors on the CPU.
fn on_slices<T>(a: &Tensor, b: &Tensor, f: impl FnOnce(&[f32], &[f32]) -> T) -> Result<T> {
    let ((a, a_layout), (b, b_layout)) = (a.storage_and_layout(), b.storage_and_layout());
    match (&*a, &*b) {
        (Storage::Cpu(a), Storage::Cpu(b)) => Ok(f(numbers(a, a_layout)?, numbers(b, b_layout)?)),
        _ => bail!("a convolution on the CPU got a tensor from another device"),
    }
}

fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(numbers), Some((start, end))) => Ok(&numbers[start..end]),
        _ => bail!("a convolution on the CPU takes contiguous tensors of f32, not {layout:?}"),
    }
}

impl Sizes {
    /// The result, [N, O, H', W'].
    fn convolve(&self, x: &[f32], weight: &[f32], instructions: Instructions) -> Vec<f32> {
        let mut y = vec![0.0; self.result().iter().product()];
        for group in 0..self.groups {
            let fast = self.winograd(weight, group, true);
            if !fast.is_some_and(|fast| fast.run(x, &mut y, instructions)) {
                self.forward(weight, group).run(x, &mut y, instructions);
            }
        }
        y
    }

    /// The gradient of x from that of the result.
    fn input_gradients(&self, grad: &[f32], weight: &[f32], instructions: Instructions) -> Vec<f32> {
        let mut of_x = vec![0.0; self.images * self.groups * self.inputs * self.input[0] * self.input[1]];
        for group in 0..self.groups {
            let fast = self.winograd(weight, group, false);
            if !fast.is_some_and(|fast| fast.run(grad, &mut of_x, instructions)) {
                self.input_gradient(weight, group).run(grad, &mut of_x, instructions);
            }
        }
        of_x
    }

    /// The gradient of the weights from that of the result.
    fn weight_gradients(&self, x: &[f32], grad: &[f32], instructions: Instructions) -> Vec<f32> {
        let size = self.outputs * self.inputs * self.kernel[0] * self.kernel[1];
        let mut of_weight = vec![0.0; self.groups * size];
        for group in 0..self.groups {
            self.weight_gradient(x, grad, group, &mut of_weight[group * size..][..size], instructions);
        }
        of_weight
    }
}
