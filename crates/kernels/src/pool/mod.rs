//! Pooling.

mod planes;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};

use self::planes::{Pooling, Windows};
use crate::graph::apply1;
use crate::values::{Values, on_cpu, values};

/// The largest value of each window of `kernel`×`kernel` pixels, `stride` apart, with `padding` pixels of −∞ on each side,
/// for x [N, C, H, W].
///
/// On the CPU as in PyTorch: the gradient goes to the first of the largest pixels of a window, row by row, and the result
/// is not a number where a pixel of the window is not. Elsewhere candle's own operation gives no gradient for windows that
/// overlap.
///
/// A window larger than the padded image, and a padding of more than half a window, are errors.
pub fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    if padding > kernel / 2 {
        bail!("max pooling with windows of {kernel}×{kernel} pixels takes a padding of at most half of that, not {padding}");
    }
    let windows = windows(x, kernel, stride, padding)?;
    if fits(x) { apply1(x, MaxPool(windows)) } else { padded(x, padding)?.max_pool2d_with_stride(kernel, stride) }
}

/// The mean of each window of `kernel`×`kernel` pixels, `stride` apart, for x [N, C, H, W].
///
/// A window larger than the image is an error. Away from the CPU, candle gives no gradient for windows that overlap.
pub fn avg_pool2d(x: &Tensor, kernel: usize, stride: usize) -> Result<Tensor> {
    let windows = windows(x, kernel, stride, 0)?;
    if fits(x) { apply1(x, AvgPool(windows)) } else { x.avg_pool2d_with_stride(kernel, stride) }
}

/// The mean of each channel, [N, C], for x [N, C, H, W].
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    if fits(x) { apply1(x, GlobalAvgPool) } else { x.flatten_from(2)?.mean(D::Minus1) }
}

fn fits(x: &Tensor) -> bool {
    on_cpu(&[x]) && x.is_contiguous() && x.elem_count() > 0
}

/// The windows in the planes of x, at least one in each; `padding` is at most half of a window.
fn windows(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Windows> {
    let (_, _, height, width) = x.dims4()?;
    if kernel == 0 || stride == 0 || kernel - 2 * padding > height.min(width) {
        bail!("windows of {kernel}×{kernel} pixels, {stride} apart, do not fit in {:?} padded by {padding}", x.shape());
    }
    Ok(Windows { size: [height, width], kernel, stride, padding })
}

/// x with −∞ around it.
fn padded(x: &Tensor, padding: usize) -> Result<Tensor> {
    let mut x = x.clone();
    for dim in [2, 3] {
        if padding > 0 {
            let mut shape = x.dims().to_vec();
            shape[dim] = padding;
            let border = Tensor::full(f32::NEG_INFINITY, shape, x.device())?.to_dtype(x.dtype())?;
            x = Tensor::cat(&[&border, &x, &border], dim)?;
        }
    }
    Ok(x)
}

struct MaxPool(Windows);

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        pooled(self.0, Pooling::Max, x, layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        gradient(self.0, Pooling::Max, x, grad).map(Some)
    }
}

struct AvgPool(Windows);

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        "avg_pool2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        pooled(self.0, Pooling::Mean, x, layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        gradient(self.0, Pooling::Mean, x, grad).map(Some)
    }
}

fn pooled(windows: Windows, pooling: Pooling, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let (n, c, _, _) = layout.shape().dims4()?;
    let [rows, columns] = windows.places();
    Ok((CpuStorage::F32(windows.forward(pooling, values(x, layout)?)), (n, c, rows, columns).into()))
}

fn gradient(windows: Windows, pooling: Pooling, x: &Tensor, grad: &Tensor) -> Result<Tensor> {
    let grad = grad.contiguous()?;
    Tensor::from_vec(windows.gradient(pooling, &Values::of(x)?, &Values::of(&grad)?), x.shape(), x.device())
}

struct GlobalAvgPool;

impl CustomOp1 for GlobalAvgPool {
    fn name(&self) -> &'static str {
        "global_avg_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        Ok((CpuStorage::F32(planes::means(values(x, layout)?, h * w)), (n, c).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, _, h, w) = x.dims4()?;
        let grad = grad.contiguous()?;
        Tensor::from_vec(planes::spread(&Values::of(&grad)?, h * w), x.shape(), x.device()).map(Some)
    }
}
