//! Batch normalization.

mod add_relu;
mod operation;
mod passes;
mod sums;
#[cfg(test)]
mod tests;

use candle_core::{D, Result, Tensor, bail};

pub use self::add_relu::batch_norm_add_relu;
use self::operation::BatchNorm;
use self::passes::{Channel, moments};
use crate::graph::apply3;
use crate::relu;
use crate::values::{Values, on_cpu};

/// The result of [`batch_norm`].
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The normalized x, \[N, C, H, W\].
    pub y: Tensor,
    /// Mean of each channel over N, H and W, \[C\]; detached.
    pub mean: Tensor,
    /// Biased variance of each channel, \[C\]; detached.
    pub variance: Tensor,
}

/// y = γ (x − m)/√(v + ε) + β, with the mean m and the biased variance v of each channel over the batch, for x \[N, C, H, W\]
/// and γ, β \[C\]; then max(0, y) if `relu`.
///
/// With ĝ the gradient of y where max(0, y) passes it on, x̂ = (x − m)/√(v + ε), and means over a channel, the gradient of x
/// is γ/√(v + ε) · (ĝ − mean ĝ − x̂ mean(ĝ x̂)). On the CPU nothing passes where y is 0, as in PyTorch, and the variance is
/// accurate however large the mean is: the sums are taken about the mean of each image.
///
/// Shapes that do not fit are errors.
pub fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64, relu: bool) -> Result<BatchNormed> {
    let shape = check(x, &[("gamma", gamma), ("beta", beta)])?;
    if !fits(&[x, gamma, beta]) {
        return composed(x, gamma, beta, eps, relu);
    }
    let channels = moments(&Values::of(x)?, shape);
    let [mean, variance] = statistics(&channels, x)?;
    let y = apply3(x, gamma, beta, BatchNorm { channels, eps, relu, of_batch: true })?;
    Ok(BatchNormed { y, mean, variance })
}

/// Mean and variance of each channel, as tensors beside x.
#[allow(clippy::cast_possible_truncation, reason = "results are f32")]
fn statistics(channels: &[Channel], x: &Tensor) -> Result<[Tensor; 2]> {
    let of_channels = |f: fn(&Channel) -> f64| Tensor::from_iter(channels.iter().map(|channel| f(channel) as f32), x.device());
    Ok([of_channels(|c| c.mean)?, of_channels(|c| c.variance)?])
}

/// The same with given statistics, as in evaluation. They count as constants: the gradient of x is γ ĝ/√(v + ε).
pub fn batch_norm_with(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    eps: f64,
    relu: bool,
) -> Result<Tensor> {
    check(x, &[("gamma", gamma), ("beta", beta), ("mean", mean), ("variance", variance)])?;
    if !fits(&[x, gamma, beta, mean, variance]) {
        return composed_with(x, gamma, beta, &mean.detach(), &variance.detach(), eps, relu);
    }
    let channels = Values::of(mean)?
        .iter()
        .zip(&*Values::of(variance)?)
        .map(|(&mean, &variance)| Channel { mean: mean.into(), variance: variance.into() })
        .collect();
    apply3(x, gamma, beta, BatchNorm { channels, eps, relu, of_batch: false })
}

/// [N, C, H·W] of x \[N, C, H, W\], if there is one number of each kind for each channel.
fn check(x: &Tensor, of_channels: &[(&str, &Tensor)]) -> Result<[usize; 3]> {
    let &[n, c, h, w] = x.dims() else {
        bail!("batch norm normalizes images [N, C, H, W], not {:?}", x.shape());
    };
    for (name, tensor) in of_channels {
        if tensor.dims() != [c] {
            bail!("batch norm of {:?} needs {c} numbers as {name}, one for each channel, not {:?}", x.shape(), tensor.shape());
        }
    }
    Ok([n, c, h * w])
}

fn fits(tensors: &[&Tensor]) -> bool {
    on_cpu(tensors) && tensors.iter().all(|tensor| tensor.is_contiguous() && tensor.elem_count() > 0)
}

fn composed(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64, relu: bool) -> Result<BatchNormed> {
    let rows = x.transpose(0, 1)?.flatten_from(1)?;
    let mean = rows.mean(D::Minus1)?;
    let variance = rows.broadcast_sub(&mean.unsqueeze(1)?)?.sqr()?.mean(D::Minus1)?;
    let y = composed_with(x, gamma, beta, &mean, &variance, eps, relu)?;
    Ok(BatchNormed { y, mean: mean.detach(), variance: variance.detach() })
}

fn composed_with(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    eps: f64,
    relu: bool,
) -> Result<Tensor> {
    let channel = |t: &Tensor| t.reshape((1, (), 1, 1));
    let scale = (gamma / (variance + eps)?.sqrt()?)?;
    let y = x.broadcast_sub(&channel(mean)?)?.broadcast_mul(&channel(&scale)?)?.broadcast_add(&channel(beta)?)?;
    if relu { self::relu(&y) } else { Ok(y) }
}
