//! The sizes of a convolution.

use candle_core::{Result, Shape, bail};
use rayon::prelude::*;

use crate::conv::Conv2d;

/// A convolution of images [N, C, H, W] with weights [O, C/g, kh, kw].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// N
    pub images: usize,
    /// C/g
    pub inputs: usize,
    /// O/g
    pub outputs: usize,
    /// g
    pub groups: usize,
    /// H and W.
    pub input: [usize; 2],
    /// Those of the result.
    pub output: [usize; 2],
    /// kh and kw.
    pub kernel: [usize; 2],
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
}

impl Sizes {
    /// # Errors
    /// When the shapes do not fit each other.
    pub fn new(x: &Shape, weight: &Shape, Conv2d { stride, padding, groups }: Conv2d) -> Result<Self> {
        let (Ok((images, channels, h, w)), Ok((outputs, inputs, kh, kw))) = (x.dims4(), weight.dims4()) else {
            bail!("a convolution takes images [N, C, H, W] and weights [O, C/g, kh, kw], not {x:?} and {weight:?}");
        };
        if stride == 0 || groups == 0 {
            bail!("a convolution of {x:?} with {weight:?} has stride {stride} and {groups} groups: both are at least 1");
        }
        if Some(channels) != inputs.checked_mul(groups) || !outputs.is_multiple_of(groups) {
            bail!("weights {weight:?} do not fit images {x:?} with {groups} groups");
        }
        let places = |size: usize, kernel: usize| {
            let padded = padding.checked_mul(2)?.checked_add(size)?;
            Some(padded.checked_sub(kernel)? / stride + 1)
        };
        match (places(h, kh), places(w, kw)) {
            (Some(oh), Some(ow)) if [h, w, kh, kw].iter().all(|&size| size > 0) => Ok(Self {
                images,
                inputs,
                outputs: outputs / groups,
                groups,
                input: [h, w],
                output: [oh, ow],
                kernel: [kh, kw],
                stride,
                padding,
            }),
            _ => bail!("weights {weight:?} do not fit into images {x:?} with {padding} zeros on each side"),
        }
    }

    /// The same result from the pixels alone that 1×1 weights see at a larger stride, if this is such a convolution.
    pub fn thinned(&self, x: &[f32]) -> Option<(Self, Vec<f32>)> {
        let Self { input: [h, w], output, stride, .. } = *self;
        (self.kernel == [1, 1] && self.padding == 0 && stride > 1).then(|| {
            let [oh, ow] = output;
            let mut seen = vec![0.0; x.len() / (h * w) * oh * ow];
            seen.par_chunks_exact_mut(oh * ow).zip(x.par_chunks_exact(h * w)).for_each(|(seen, plane)| {
                for (seen, row) in seen.chunks_exact_mut(ow).zip(plane.chunks_exact(w).step_by(stride)) {
                    seen.iter_mut().zip(row.iter().step_by(stride)).for_each(|(seen, x)| *seen = *x);
                }
            });
            (Self { input: output, stride: 1, ..*self }, seen)
        })
    }

    /// The shape of the result.
    pub fn result(&self) -> [usize; 4] {
        [self.images, self.groups * self.outputs, self.output[0], self.output[1]]
    }
}
