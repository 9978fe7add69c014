//! Batch normalization.

use candle_core::{D, Result, Tensor};

use crate::relu;

/// The result of [`batch_norm`].
#[derive(Clone, Debug)]
pub struct BatchNormed {
    /// The normalized x, [N, C, H, W].
    pub y: Tensor,
    /// Mean of each channel over N, H and W, [C]; detached.
    pub mean: Tensor,
    /// Biased variance of each channel, [C]; detached.
    pub variance: Tensor,
}

/// y = γ (x − m)/√(v + ε) + β, with the mean m and the biased variance v of each channel over the batch, for x [N, C, H, W]
/// and γ, β [C]; then max(0, y) if `relu`.
pub fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64, relu: bool) -> Result<BatchNormed> {
    let (n, c, h, w) = x.dims4()?;
    let rows = x.transpose(0, 1)?.reshape((c, n * h * w))?;
    let mean = rows.mean(D::Minus1)?;
    let variance = rows.broadcast_sub(&mean.unsqueeze(1)?)?.sqr()?.mean(D::Minus1)?;
    let y = batch_norm_with(x, gamma, beta, &mean, &variance, eps, relu)?;
    Ok(BatchNormed { y, mean: mean.detach(), variance: variance.detach() })
}

/// The same with given statistics, as in evaluation.
pub fn batch_norm_with(
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
