//! Sums over windows of images: what a convolution and the gradient of its input have in common.

use std::cell::Cell;

use rayon::prelude::*;

use crate::conv::channels_last::{from_planes, to_planes};
use crate::instructions::{Instructions, Processor, Task};
use crate::product::{LANES, Lanes, Panels, Piece, Rows, groups, multiply, room};

/// Pixels of a result that a thread takes at least, where there are as many: weights are read once for them.
const FEWEST: usize = 128;

/// Pixels whose sums are kept at a time: with 64 channels they are 64 KiB.
const PIXELS: usize = 256;

/// Some of the channels of images [N, channels, pixels].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    /// Channels of an image.
    pub all: usize,
    /// The first channel that is meant.
    pub first: usize,
    /// Channels that are meant.
    pub channels: usize,
    /// Pixels of a channel.
    pub pixels: usize,
}

/// Pixels of the result that weigh their windows alike.
pub(crate) struct Class {
    /// For each pixel of an image, where its window begins in the source.
    pub windows: Vec<usize>,
    /// For each pixel, where it stands in a plane of the result.
    pub targets: Vec<usize>,
    /// The pieces of a window, from its beginning, in blocks.
    pub blocks: Vec<Vec<Piece>>,
    /// The weights for each number in the pieces: a column is a channel of the result.
    pub weights: Panels,
}

/// `to[target, o] = Σ_k source[window + k]·weights[k, o]` for each pixel of each class and each channel o, where the source
/// is `from` with the channels of a pixel side by side, in a frame of zeros.
pub(crate) struct Correlation {
    pub from: Planes,
    /// Where each pixel stands in the source.
    pub places: Vec<usize>,
    /// Numbers of an image in the source.
    pub framed: usize,
    pub to: Planes,
    pub classes: Vec<Class>,
}

impl Correlation {
    /// Pixels that belong to no class are left as they are.
    pub fn run(mut self, from: &[f32], to: &mut [f32], instructions: Instructions) {
        let (from_size, to_size) = (self.from.all * self.from.pixels, self.to.all * self.to.pixels);
        if to.is_empty() || from.is_empty() {
            return;
        }
        let images = FEWEST.div_ceil(self.to.pixels);
        for class in &mut self.classes {
            class.windows = repeated(&class.windows, images, self.framed);
            class.targets = repeated(&class.targets, images, to_size);
        }
        to.par_chunks_mut(images * to_size).zip(from.par_chunks(images * from_size)).with_max_len(1).for_each(|(to, from)| {
            instructions.run(Images { correlation: &self, from, to });
        });
    }
}

/// The positions in each of some images of one size.
fn repeated(positions: &[usize], images: usize, size: usize) -> Vec<usize> {
    (0..images).flat_map(|image| positions.iter().map(move |position| image * size + position)).collect()
}

/// Buffers that are used again.
#[derive(Default)]
struct Scratch {
    source: Vec<f32>,
    sums: Vec<Lanes>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { source: Vec::new(), sums: Vec::new() }) };
}

/// A few images.
struct Images<'a> {
    correlation: &'a Correlation,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Task for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Processor>(self, processor: P) {
        let Correlation { from, places, framed, to, classes } = self.correlation;
        let Scratch { mut source, mut sums } = SCRATCH.take();
        let from_size = from.all * from.pixels;
        let images = self.from.len() / from_size;
        source.clear();
        source.resize(images * framed, 0.0);
        for (image, source) in self.from.chunks_exact(from_size).zip(source.chunks_exact_mut(*framed)) {
            from_planes(&image[from.first * from.pixels..], from.channels, places, source);
        }
        for class in classes {
            let pixels = class.windows.len() / FEWEST.div_ceil(to.pixels) * images;
            for (windows, targets) in class.windows[..pixels].chunks(PIXELS).zip(class.targets[..pixels].chunks(PIXELS)) {
                let rows = Rows { source: &source, starts: windows, blocks: &class.blocks };
                for panels in groups::<P>(class.weights.count()) {
                    let columns = panels.clone().map(|panel| class.weights.panel(panel));
                    sums.resize(room(windows.len(), panels.len()), [0.0; LANES]);
                    multiply(processor, &rows, columns, &mut sums);
                    for (index, first) in panels.clone().map(|panel| panel * LANES).enumerate() {
                        let planes = &mut self.to[(to.first + first) * to.pixels..];
                        to_planes(&sums[index..], panels.len(), targets, LANES.min(to.channels - first), to.pixels, planes);
                    }
                }
            }
        }
        SCRATCH.set(Scratch { source, sums });
    }
}
