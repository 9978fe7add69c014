//! Pooling.

use candle_core::{D, Result, Tensor};

/// The largest value of each window of `kernel`×`kernel` pixels, `stride` apart, with `padding` pixels of −∞ on each side.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    // Zeros would win over negative values.
    let x = if padding == 0 {
        x.clone()
    } else {
        candle_core::bail!("not written yet");
    };
    x.max_pool2d_with_stride(kernel, stride)
}

/// The mean of each window of `kernel`×`kernel` pixels, `stride` apart.
pub fn avg_pool2d(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    x.avg_pool2d_with_stride(kernel, stride)
}

/// The mean of each channel, [N, C], for x [N, C, H, W].
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    x.flatten_from(2)?.mean(D::Minus1)
}
