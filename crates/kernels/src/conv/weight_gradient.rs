//! The gradient of the weights.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::conv::channels_last::{from_planes, to_planes};
use crate::conv::sizes::Sizes;
use crate::conv::source::{Source, repeated};
use crate::product::{Lanes, add_outer, groups, unrolled};
use crate::simd::{Form, HALF, Kernel};

/// Outputs whose sums a task keeps, a multiple of 16.
const OUTPUTS: usize = 64;

/// Into how many tasks the work is cut, unless there are too few images or more outputs. It must not depend on the number of
/// threads, since the sums of the tasks are added.
const TASKS: usize = 16;

/// Pixels that are added at a time: 16 outputs of them are 8 KiB, for the nearest cache.
const PIXELS: usize = 128;

/// The most rows of a tile, and a multiple of those of every tile.
const ROWS: usize = 12;

impl Sizes {
    /// w'[o, c, a, b] = Σ_{n, i, j} g[n, o, i, j]·x[n, c, s·i + a − p, s·j + b − p], for one group.
    ///
    /// The images are cut into pieces whose sums are added in order. Outputs are taken W at a time.
    pub fn weight_gradient<const W: usize>(&self, x: &[f32], grad: &[f32], group: usize, out: &mut [f32], form: Form) {
        if out.is_empty() || self.images == 0 {
            return;
        }
        let gradient = WeightGradient::<W>::new(self, group);
        let blocks = self.outputs.div_ceil(OUTPUTS);
        let pieces = TASKS.div_ceil(blocks).min(self.images);
        let size = gradient.rows() * gradient.panels;
        let mut sums = vec![[0.0; W]; blocks * pieces * size];
        sums.par_chunks_mut(size).with_max_len(1).enumerate().for_each(|(index, sums)| {
            let (block, piece) = (index / pieces, index % pieces);
            let images = piece * self.images / pieces..(piece + 1) * self.images / pieces;
            form.run(Part { gradient: &gradient, x, grad, images, first: block * OUTPUTS, sums });
        });
        let row = self.inputs * self.kernel[0] * self.kernel[1];
        sums.par_chunks_mut(pieces * size).zip(out.par_chunks_mut(OUTPUTS * row)).for_each(|(sums, out)| {
            let (total, others) = sums.split_at_mut(size);
            for other in others.chunks_exact(size) {
                for (total, other) in total.as_flattened_mut().iter_mut().zip(other.as_flattened()) {
                    *total += other;
                }
            }
            gradient.spread(total, row, out);
        });
    }
}

/// What the tasks share.
struct WeightGradient<'a, const W: usize> {
    sizes: &'a Sizes,
    group: usize,
    source: Source,
    /// Images that are laid out at a time.
    together: usize,
    /// For each pixel of the result in these images, where its window begins.
    windows: Vec<usize>,
    /// Numbers side by side in a window: b and c.
    taps: usize,
    /// Panels of W outputs in a task.
    panels: usize,
}

impl<'a, const W: usize> WeightGradient<'a, W> {
    fn new(sizes: &'a Sizes, group: usize) -> Self {
        let source = sizes.source(group);
        let together = PIXELS.div_ceil(sizes.output[0] * sizes.output[1]).min(sizes.images);
        let windows = repeated(&sizes.windows(), together, source.frame.len());
        let panels = OUTPUTS.min(sizes.outputs).div_ceil(W);
        Self { sizes, group, source, together, windows, taps: sizes.kernel[1] * sizes.inputs, panels }
    }

    /// Rows of the sums of a panel: for each a, the taps and what tiles may need behind them.
    fn rows(&self) -> usize {
        self.sizes.kernel[0] * self.taps.next_multiple_of(ROWS)
    }

    /// From [a, (b, c), o] for each panel to [o, c, a, b].
    fn spread(&self, sums: &[Lanes<W>], row: usize, out: &mut [f32]) {
        let ([kh, kw], inputs) = (self.sizes.kernel, self.sizes.inputs);
        for a in 0..kh {
            let targets: Vec<usize> = (0..kw).flat_map(|b| (0..inputs).map(move |c| (c * kh + a) * kw + b)).collect();
            for (sums, out) in sums.chunks_exact(self.rows()).zip(out.chunks_mut(W * row)) {
                let sums = &sums[a * self.taps.next_multiple_of(ROWS)..];
                to_planes(sums, 1, &targets, out.len() / row, row, out);
            }
        }
    }
}

/// Buffers that are used again.
#[derive(Default)]
struct Scratch {
    source: Vec<f32>,
    grad: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// The sums over some images for some outputs.
struct Part<'a, const W: usize> {
    gradient: &'a WeightGradient<'a, W>,
    x: &'a [f32],
    grad: &'a [f32],
    images: Range<usize>,
    /// The first output.
    first: usize,
    /// For each panel of outputs, those at each tap.
    sums: &'a mut [Lanes<W>],
}

impl<const W: usize> Kernel for Part<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let WeightGradient { sizes, group, source, together, windows, .. } = self.gradient;
        let outputs = sizes.outputs_of(*group);
        let pixels = outputs.pixels;
        let g_places: Vec<usize> = (0..pixels).map(|pixel| pixel * W).collect();
        let firsts = || (self.first..outputs.channels.min(self.first + OUTPUTS)).step_by(W);
        let mut scratch = SCRATCH.take();
        for start in self.images.clone().step_by(*together) {
            let images = start..self.images.end.min(start + together);
            source.frames(&self.x[images.start * source.image()..images.end * source.image()], &mut scratch.source);
            scratch.grad.clear();
            scratch.grad.resize(firsts().len() * images.len() * pixels * W, 0.0);
            for (index, image) in images.clone().enumerate() {
                for (panel, first) in firsts().enumerate() {
                    let planes = &self.grad[(image * outputs.all + outputs.first + first) * pixels..];
                    let to = &mut scratch.grad[(panel * images.len() + index) * pixels * W..];
                    from_planes(planes, W.min(outputs.channels - first), &g_places, to);
                }
            }
            let all = images.len() * pixels;
            let (grad, _) = scratch.grad.as_chunks::<W>();
            for (index, windows) in windows[..all].chunks(PIXELS).enumerate() {
                let pixels = Pixels { source: &scratch.source, windows, grad: &grad[index * PIXELS..], all };
                for panels in groups::<WIDE>(firsts().len()) {
                    match panels.len() {
                        4 if WIDE => self.gradient.add::<FMA, 6, 4>(&pixels, panels, self.sums),
                        3 if WIDE => self.gradient.add::<FMA, 6, 3>(&pixels, panels, self.sums),
                        2 if WIDE => self.gradient.add::<FMA, 12, 2>(&pixels, panels, self.sums),
                        _ if WIDE => self.gradient.add::<FMA, 12, 1>(&pixels, panels, self.sums),
                        _ if FMA && W == HALF => self.gradient.add::<FMA, 12, 1>(&pixels, panels, self.sums),
                        _ if FMA => self.gradient.add::<FMA, 6, 1>(&pixels, panels, self.sums),
                        _ => self.gradient.add::<FMA, 2, 1>(&pixels, panels, self.sums),
                    }
                }
            }
        }
        SCRATCH.set(scratch);
    }
}

/// Some pixels of the result.
struct Pixels<'a, const W: usize> {
    source: &'a [f32],
    /// Where the window of each pixel begins in the source.
    windows: &'a [usize],
    /// The gradients of W outputs at each pixel; the next W are `all` places further.
    grad: &'a [Lanes<W>],
    all: usize,
}

impl<const W: usize> WeightGradient<'_, W> {
    /// Adds the products of some pixels, in tiles of R taps and V panels of outputs.
    #[inline(always)]
    fn add<const FMA: bool, const R: usize, const V: usize>(
        &self,
        pixels: &Pixels<'_, W>,
        panels: Range<usize>,
        sums: &mut [Lanes<W>],
    ) {
        let grads: [&[Lanes<W>]; V] = std::array::from_fn(|index| &pixels.grad[(panels.start + index) * pixels.all..]);
        // No call may come between the sums of a tile and where they are stored: it would send them to the stack in every step.
        let (rows, taps) = (self.rows(), self.taps.next_multiple_of(ROWS));
        for a in 0..self.sizes.kernel[0] {
            for tap in (0..self.taps).step_by(R) {
                let sums = &mut sums[panels.start * rows + a * taps + tap..];
                let mut tile = [[[0.0; W]; V]; R];
                unrolled!(PANEL in V, {
                    for (tile, sums) in tile.iter_mut().zip(&sums[PANEL * rows..][..R]) {
                        tile[PANEL] = *sums;
                    }
                });
                let source = &pixels.source[self.source.frame.place(a, 0) + tap..];
                add_outer::<FMA, R, V, W>(&mut tile, source, pixels.windows, grads);
                unrolled!(PANEL in V, {
                    for (tile, sums) in tile.iter().zip(&mut sums[PANEL * rows..][..R]) {
                        *sums = tile[PANEL];
                    }
                });
            }
        }
    }
}
