//! Sums over windows of images: what a convolution and the gradient of its input have in common.

use std::cell::Cell;

use rayon::prelude::*;

use crate::conv::channels_last::to_planes;
use crate::conv::source::{Planes, Source, repeated};
use crate::product::{Lanes, Panels, Piece, Rows, blocks, groups, multiply, room};
use crate::simd::{Form, Kernel, LANES};

/// Pixels of a result that a thread takes at least, where there are as many: weights are read once for them.
const FEWEST: usize = 128;

/// Pixels whose sums are kept at a time: with 64 channels they are 64 KiB.
const PIXELS: usize = 256;

/// Pieces of a window up to this length are copied side by side: a tile has a cost for each of its pieces.
const SHORT: usize = 32;

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

impl Class {
    /// How windows lie when their pieces are copied side by side, if they are short.
    fn compact(&self) -> Option<Compact> {
        let pieces: Vec<Piece> = self.blocks.iter().flatten().copied().collect();
        let depth = pieces.iter().map(|piece| piece.length).sum();
        (pieces.len() > 1 && pieces.iter().all(|piece| piece.length <= SHORT)).then(|| Compact {
            pieces,
            depth,
            starts: (0..PIXELS).map(|row| row * depth).collect(),
            blocks: blocks([Piece { start: 0, length: depth }]),
        })
    }
}

/// Windows one after the other, without gaps.
struct Compact {
    /// What is copied of a window, from its beginning.
    pieces: Vec<Piece>,
    depth: usize,
    starts: Vec<usize>,
    blocks: Vec<Vec<Piece>>,
}

/// Numbers that are copied at a time.
const COPIED: usize = 8;

impl Compact {
    /// Copies windows. Whole [`COPIED`] numbers are, and the next piece is written over those too many: `source` has as many behind
    /// the last window, and `copied` gets them.
    #[inline(always)]
    fn copy(&self, source: &[f32], windows: &[usize], copied: &mut Vec<f32>) {
        copied.resize(windows.len() * self.depth + COPIED, 0.0);
        let mut done = 0;
        for window in windows {
            for piece in &self.pieces {
                let whole = piece.length.next_multiple_of(COPIED);
                let (from, _) = source[window + piece.start..][..whole].as_chunks::<COPIED>();
                let (to, _) = copied[done..done + whole].as_chunks_mut::<COPIED>();
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                done += piece.length;
            }
        }
    }
}

/// `to[target, o] = Σ_k from[window + k]·weights[k, o]` for each pixel of each class and each channel o.
pub(crate) struct Correlation {
    pub from: Source,
    pub to: Planes,
    pub classes: Vec<Class>,
}

impl Correlation {
    /// Pixels that belong to no class are left as they are.
    pub fn run(mut self, from: &[f32], to: &mut [f32], form: Form) {
        let (from_size, to_size) = (self.from.image(), self.to.all * self.to.pixels);
        if to.is_empty() || from.is_empty() {
            return;
        }
        let images = FEWEST.div_ceil(self.to.pixels);
        for class in &mut self.classes {
            class.windows = repeated(&class.windows, images, self.from.frame.len());
            class.targets = repeated(&class.targets, images, to_size);
        }
        to.par_chunks_mut(images * to_size).zip(from.par_chunks(images * from_size)).with_max_len(1).for_each(|(to, from)| {
            form.run(Images { correlation: &self, from, to });
        });
    }
}

/// Buffers that are used again.
#[derive(Default)]
struct Scratch {
    source: Vec<f32>,
    copied: Vec<f32>,
    sums: Vec<Lanes>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// A few images.
struct Images<'a> {
    correlation: &'a Correlation,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let Correlation { from, to, classes } = self.correlation;
        let mut scratch = SCRATCH.take();
        let Scratch { source, sums, copied } = &mut scratch;
        let images = self.from.len() / from.image();
        from.frames(self.from, source);
        for class in classes {
            let pixels = class.windows.len() / FEWEST.div_ceil(to.pixels) * images;
            let compact = class.compact();
            for (windows, targets) in class.windows[..pixels].chunks(PIXELS).zip(class.targets[..pixels].chunks(PIXELS)) {
                let mut rows = Rows { source, starts: windows, blocks: &class.blocks };
                if let Some(compact) = &compact {
                    compact.copy(source, windows, copied);
                    rows = Rows { source: copied, starts: &compact.starts[..windows.len()], blocks: &compact.blocks };
                }
                for panels in groups::<WIDE>(class.weights.count()) {
                    let columns = panels.clone().map(|panel| class.weights.panel(panel));
                    sums.resize(room(windows.len(), panels.len()), [0.0; LANES]);
                    multiply::<FMA, WIDE>(&rows, columns, sums);
                    for (index, first) in panels.clone().map(|panel| panel * LANES).enumerate() {
                        let planes = &mut self.to[(to.first + first) * to.pixels..];
                        to_planes(&sums[index..], panels.len(), targets, LANES.min(to.channels - first), to.pixels, planes);
                    }
                }
            }
        }
        SCRATCH.set(scratch);
    }
}
