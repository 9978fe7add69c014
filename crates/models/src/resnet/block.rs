//! A residual block.

use candle_core::{Device, Result, Tensor};
use rand::Rng;

use super::layer::{ConvNorm, Then};
use crate::Mode;

/// max(0, f(x) + s(x)): f is a chain of convolutions, each normalized, with max(0, ·) between them; s is x itself, or where
/// the shape changes a 1×1 convolution of it, normalized.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) chain: Vec<ConvNorm>,
    pub(super) shortcut: Option<ConvNorm>,
}

/// What a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Two convolutions of 3×3 pixels, the stride in the first.
    Basic,
    /// 1×1, 3×3 and 1×1 pixels, the stride in the second, four times as many channels out of the last.
    Bottleneck,
}

impl BlockKind {
    /// Channels out of the block for each channel within.
    pub(super) fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }
}

impl Block {
    pub(super) fn new(
        kind: BlockKind,
        inputs: usize,
        width: usize,
        stride: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self> {
        let outputs = width * kind.expansion();
        let layers: &[_] = match kind {
            BlockKind::Basic => &[((inputs, width), 3, stride), ((width, width), 3, 1)],
            BlockKind::Bottleneck => &[((inputs, width), 1, 1), ((width, width), 3, stride), ((width, outputs), 1, 1)],
        };
        let chain = layers.iter().map(|&(channels, kernel, stride)| ConvNorm::new(channels, kernel, stride, rng, device));
        let chain = chain.collect::<Result<_>>()?;
        let changes = stride != 1 || inputs != outputs;
        let shortcut = if changes { Some(ConvNorm::new((inputs, outputs), 1, stride, rng, device)?) } else { None };
        Ok(Self { chain, shortcut })
    }

    pub(super) fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let shortcut = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x, Then::Stop, mode)?,
            None => x.clone(),
        };
        let mut y = x.clone();
        for (i, layer) in self.chain.iter().enumerate() {
            let then = if i + 1 < self.chain.len() { Then::Relu } else { Then::AddRelu(&shortcut) };
            y = layer.forward(&y, then, mode)?;
        }
        Ok(y)
    }
}
