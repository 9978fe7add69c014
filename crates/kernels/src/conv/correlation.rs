//! Sums over windows of images: what a convolution and the gradient of its input have in common.

use std::cell::Cell;

use rayon::prelude::*;

use crate::conv::channels_last::to_planes;
use crate::conv::geometry::{self, Geometry};
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
struct Class {
    /// For each pixel of some images, where its window begins in the source.
    windows: Vec<usize>,
    /// For each pixel, where it stands in a plane of the result.
    targets: Vec<usize>,
    /// The pieces of a window, from its beginning, in blocks.
    blocks: Vec<Vec<Piece>>,
    /// The weights for each number in the pieces: a column is a channel of the result.
    weights: Panels,
    /// How windows are copied, if they are short.
    compact: Option<Compact>,
}

/// Windows one after the other, without gaps.
struct Compact {
    /// Where in a window, and to where in its copy, [`COPIED`] numbers go at a time.
    copies: Vec<[usize; 2]>,
    /// Numbers of a window, with what is between the pieces, and a few behind it.
    span: usize,
    depth: usize,
    starts: Vec<usize>,
    blocks: Vec<Vec<Piece>>,
}

/// Numbers that are copied at a time.
const COPIED: usize = 8;

impl Compact {
    /// For windows of some pieces, if these are short.
    fn new(pieces: &[Piece]) -> Option<Self> {
        (pieces.len() > 1 && pieces.iter().all(|piece| piece.length <= SHORT)).then(|| {
            let (mut copies, mut depth) = (Vec::new(), 0);
            for piece in pieces {
                copies.extend((0..piece.length).step_by(COPIED).map(|at| [piece.start + at, depth + at]));
                depth += piece.length;
            }
            Self {
                span: copies.iter().map(|[from, _]| from + COPIED).max().unwrap_or(0),
                copies,
                depth,
                starts: (0..PIXELS).map(|row| row * depth).collect(),
                blocks: blocks([Piece { start: 0, length: depth }]),
            }
        })
    }

    /// Copies windows. Whole [`COPIED`] numbers are, and the next piece is written over those too many: `source` has as many behind
    /// the last window, and `copied` gets them.
    #[inline(always)]
    fn copy(&self, source: &[f32], windows: &[usize], copied: &mut Vec<f32>) {
        copied.resize(windows.len() * self.depth + COPIED, 0.0);
        for (row, &window) in windows.iter().enumerate() {
            let (from, to) = (&source[window..][..self.span], &mut copied[row * self.depth..][..self.depth + COPIED]);
            for &[at, target] in &self.copies {
                to[target..][..COPIED].copy_from_slice(&from[at..][..COPIED]);
            }
        }
    }
}

/// `to[target, o] = Σ_k from[window + k]·weights[k, o]` for each pixel of each class and each channel o.
pub(crate) struct Correlation {
    from: Source,
    to: Planes,
    /// Images that a thread takes at least.
    images: usize,
    classes: Vec<Class>,
}

impl Correlation {
    /// With the weights of a group.
    pub fn new(geometry: &Geometry, weight: &[f32]) -> Self {
        let Geometry { from, input, frame, to, columns, step, classes, weights } = geometry;
        let images = FEWEST.div_ceil(to.pixels);
        let class = |class: &geometry::Class| {
            let [ys, zs] = &class.pixels;
            let [first_y, first_z] = class.first;
            let pixels = (0..ys.len()).flat_map(|i| (0..zs.len()).map(move |j| (i, j)));
            let windows: Vec<usize> = pixels.clone().map(|(i, j)| frame.place(first_y + i * step, first_z + j * step)).collect();
            let targets: Vec<usize> = pixels.map(|(i, j)| ys[i] * columns + zs[j]).collect();
            let length = class.taps[1].len() * frame.channels;
            let pieces: Vec<Piece> = (0..class.taps[0].len()).map(|row| Piece { start: frame.place(row, 0), length }).collect();
            let mut panels = Panels::new();
            panels.gather(weight, to.channels, weights.to, &geometry.weight_places(class));
            Class {
                windows: repeated(&windows, images, frame.len()),
                targets: repeated(&targets, images, to.all * to.pixels),
                compact: Compact::new(&pieces),
                blocks: blocks(pieces),
                weights: panels,
            }
        };
        let classes = classes.iter().map(class).collect();
        Self { from: Source::new(*from, *input, *frame), to: *to, images, classes }
    }

    /// Pixels that belong to no class are left as they are.
    pub fn run(&self, from: &[f32], to: &mut [f32], form: Form) {
        let (from_size, to_size) = (self.from.image(), self.to.all * self.to.pixels);
        if to.is_empty() || from.is_empty() {
            return;
        }
        let (from, to) = (from.par_chunks(self.images * from_size), to.par_chunks_mut(self.images * to_size));
        to.zip(from).with_max_len(1).for_each(|(to, from)| form.run(Images { correlation: self, from, to }));
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
        let Correlation { from, to, images, classes } = self.correlation;
        let mut scratch = SCRATCH.take();
        let Scratch { source, sums, copied } = &mut scratch;
        let here = self.from.len() / from.image();
        from.frames(self.from, source);
        for class in classes {
            let pixels = class.windows.len() / images * here;
            for (windows, targets) in class.windows[..pixels].chunks(PIXELS).zip(class.targets[..pixels].chunks(PIXELS)) {
                let mut rows = Rows { source, starts: windows, blocks: &class.blocks };
                if let Some(compact) = &class.compact {
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
