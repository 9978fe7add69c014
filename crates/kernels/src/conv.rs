//! Two-dimensional convolution.

use candle_core::{Result, Tensor};

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
pub fn conv2d(x: &Tensor, weight: &Tensor, Conv2d { stride, padding, groups }: Conv2d) -> Result<Tensor> {
    x.conv2d(weight, padding, stride, 1, groups)
}
