//! A convolution and the batch normalization after it.

use candle_core::{Device, Result, Tensor, Var, bail};
use isorate_kernels::{Conv2d, add_relu, batch_norm, batch_norm_add_relu, batch_norm_with, conv2d};
use rand::Rng;

use crate::Mode;
use crate::init::{constant, normal};

/// Added to a variance.
const EPS: f64 = 1e-5;
/// The share of the newest batch in the running averages.
const MOMENTUM: f64 = 0.1;

/// What follows a normalization.
#[derive(Clone, Copy, Debug)]
pub(super) enum Then<'a> {
    /// Nothing.
    Stop,
    /// max(0, ·).
    Relu,
    /// max(0, · + s): the end of a block with the shortcut s.
    AddRelu(&'a Tensor),
}

/// A convolution without bias that keeps the size of the image at stride 1, then batch normalization.
#[derive(Clone, Debug)]
pub(super) struct ConvNorm {
    pub(super) filters: Var,
    pub(super) gamma: Var,
    pub(super) beta: Var,
    pub(super) running_mean: Var,
    pub(super) running_variance: Var,
    settings: Conv2d,
}

impl ConvNorm {
    /// Filters of `kernel`×`kernel` pixels (odd) from N(0, 2/(out·kernel²)), He's initialization for what goes out; γ = 1, β = 0.
    pub(super) fn new(
        (inputs, outputs): (usize, usize),
        kernel: usize,
        stride: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self> {
        let std = (2.0 / (outputs * kernel * kernel) as f64).sqrt();
        Ok(Self {
            filters: normal((outputs, inputs, kernel, kernel), std, rng, device)?,
            gamma: constant(1.0, outputs, device)?,
            beta: constant(0.0, outputs, device)?,
            running_mean: constant(0.0, outputs, device)?,
            running_variance: constant(1.0, outputs, device)?,
            settings: Conv2d { stride, padding: kernel / 2, groups: 1 },
        })
    }

    /// The normalized result and what follows. In training the running averages move: that of the variance by the unbiased
    /// estimate, as in PyTorch.
    pub(super) fn forward(&self, x: &Tensor, then: Then<'_>, mode: Mode) -> Result<Tensor> {
        let x = conv2d(x, &mode.of(&self.filters), self.settings)?;
        match mode {
            Mode::Train => self.normalize_by_batch(&x, then),
            Mode::Evaluate => self.normalize_by_averages(&x, then),
        }
    }

    fn normalize_by_batch(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let (images, _, height, width) = x.dims4()?;
        let count = images * height * width;
        if count < 2 {
            bail!(
                "batch normalization in training needs more than one value for each channel, not {:?}\nhint: take more or larger images",
                x.shape()
            );
        }
        let normed = match then {
            Then::AddRelu(shortcut) => batch_norm_add_relu(x, &self.gamma, &self.beta, shortcut, EPS)?,
            _ => batch_norm(x, &self.gamma, &self.beta, EPS, matches!(then, Then::Relu))?,
        };
        let unbiased = count as f64 / (count - 1) as f64;
        move_average(&self.running_mean, &normed.mean, 1.0)?;
        move_average(&self.running_variance, &normed.variance, unbiased)?;
        Ok(normed.y)
    }

    fn normalize_by_averages(&self, x: &Tensor, then: Then<'_>) -> Result<Tensor> {
        let [gamma, beta, mean, variance] =
            [&self.gamma, &self.beta, &self.running_mean, &self.running_variance].map(Var::as_detached_tensor);
        let y = batch_norm_with(x, &gamma, &beta, &mean, &variance, EPS, matches!(then, Then::Relu))?;
        match then {
            Then::AddRelu(shortcut) => add_relu(&y, shortcut),
            _ => Ok(y),
        }
    }
}

/// (1 − m) average + m · scale · newest.
fn move_average(average: &Var, newest: &Tensor, scale: f64) -> Result<()> {
    let kept = (average.as_detached_tensor() * (1.0 - MOMENTUM))?;
    average.set(&(kept + (newest * (MOMENTUM * scale))?)?)
}
