//! Two-dimensional convolution.
//!
//! On the CPU, images are turned to channels last a few at a time, in a frame of zeros. A window of a pixel is then a few
//! runs of numbers side by side, whatever the size of the image, the stride and the padding, so that a convolution is a
//! product whose rows are windows ([`correlation`]), which are copied only where their runs are short. Three products make all of it: the
//! convolution ([`forward`]), the gradient of its input, which is a convolution of the gradient of the result
//! ([`input_gradient`]), and that of the weights, a sum over pixels ([`weight_gradient`]). For few channels of the result the
//! first two leave images as they are and take pixels together instead of channels ([`direct`]). Many 3×3 convolutions at stride 1
//! take fewer multiplications ([`winograd`]).
//!
//! A result is a sum in the same order on any number of threads.
//!
//! [`forward`]: sizes::Sizes::forward
//! [`input_gradient`]: sizes::Sizes::input_gradient

mod channels_last;
mod correlation;
mod direct;
mod geometry;
mod sizes;
mod source;
#[cfg(test)]
mod tests;
mod weight_gradient;
mod winograd;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::conv::correlation::Correlation;
use crate::conv::direct::Direct;
use crate::conv::geometry::Geometry;
use crate::conv::sizes::Sizes;
use crate::graph;
use crate::simd::{Form, HALF, LANES};
use crate::values::{Values, on_cpu, values};

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
    Sizes::new(x.shape(), weight.shape(), conv)?;
    if on_cpu(&[x, weight]) { graph::apply2(&x.contiguous()?, &weight.contiguous()?, conv) } else { composed(x, weight, conv) }
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
        let y = sizes.convolve(values(x, x_layout)?, values(w, w_layout)?, Form::Best);
        Ok((CpuStorage::F32(y), (&sizes.result()).into()))
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let sizes = Sizes::new(x.shape(), weight.shape(), *self)?;
        let form = Form::Best;
        let grad = grad.contiguous()?;
        let of_x = if x.track_op() {
            let of_x = sizes.input_gradients(&Values::of(&grad)?, &Values::of(weight)?, form);
            Some(Tensor::from_vec(of_x, x.shape(), x.device())?)
        } else {
            None
        };
        let of_weight = if weight.track_op() {
            let of_weight = sizes.weight_gradients(&Values::of(x)?, &Values::of(&grad)?, form);
            Some(Tensor::from_vec(of_weight, weight.shape(), x.device())?)
        } else {
            None
        };
        Ok((of_x, of_weight))
    }
}

/// Channels of a result up to which its pixels, and not its channels, share a register.
const FEW: usize = 8;

impl Geometry {
    /// The result in the channels that are meant, by the faster way.
    fn run(&self, weight: &[f32], from: &[f32], to: &mut [f32], form: Form) {
        match self.to.channels {
            ..=FEW => Direct::new(self, weight).run(from, to, form),
            _ => Correlation::new(self, weight).run(from, to, form),
        }
    }
}

impl Sizes {
    /// The result, [N, O, H', W'].
    fn convolve(&self, x: &[f32], weight: &[f32], form: Form) -> Vec<f32> {
        if let Some((sizes, x)) = self.thinned(x) {
            return sizes.convolve(&x, weight, form);
        }
        let mut y = vec![0.0; self.result().iter().product()];
        for group in 0..self.groups {
            let fast = self.fast_forward(weight, group);
            if !fast.is_some_and(|fast| fast.run(x, &mut y, form)) {
                self.forward(group).run(self.weights_of(weight, group), x, &mut y, form);
            }
        }
        y
    }

    /// The gradient of x from that of the result.
    fn input_gradients(&self, grad: &[f32], weight: &[f32], form: Form) -> Vec<f32> {
        let mut of_x = vec![0.0; self.images * self.groups * self.inputs * self.input[0] * self.input[1]];
        for group in 0..self.groups {
            let fast = self.fast_input_gradient(weight, group);
            if !fast.is_some_and(|fast| fast.run(grad, &mut of_x, form)) {
                self.input_gradient(group).run(self.weights_of(weight, group), grad, &mut of_x, form);
            }
        }
        of_x
    }

    /// The gradient of the weights from that of the result.
    fn weight_gradients(&self, x: &[f32], grad: &[f32], form: Form) -> Vec<f32> {
        if let Some((sizes, x)) = self.thinned(x) {
            return sizes.weight_gradients(&x, grad, form);
        }
        let size = self.outputs * self.inputs * self.kernel[0] * self.kernel[1];
        let mut of_weight = vec![0.0; self.groups * size];
        for group in 0..self.groups {
            let of_weight = &mut of_weight[group * size..][..size];
            match self.outputs {
                ..=HALF => self.weight_gradient::<HALF>(x, grad, group, of_weight, form),
                _ => self.weight_gradient::<LANES>(x, grad, group, of_weight, form),
            }
        }
        of_weight
    }
}
