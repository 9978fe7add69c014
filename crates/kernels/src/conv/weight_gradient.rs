//! The gradient of the weights.

use std::cell::Cell;

use rayon::prelude::*;

use crate::Threads;
use crate::conv::channels_last::from_planes;
use crate::conv::geometry::Frame;
use crate::conv::sizes::Sizes;
use crate::instructions::{Instructions, Processor, Task};
use crate::product::{LANES, Lanes, add_outer};

/// Outputs whose sums a thread keeps at a time, a multiple of 16.
const OUTPUTS: usize = 64;

/// Into how many tasks the work is cut, unless there are too few images or more outputs. It must not depend on the number of
/// threads, since the sums of the tasks are added.
const TASKS: usize = 16;

/// Pixels that are added at a time: with 48 columns they are 24 KiB, for the nearest cache.
const PIXELS: usize = 128;

impl Sizes {
    /// w'[o, c, a, b] = Σ_{n, i, j} g[n, o, i, j]·x[n, c, s·i + a − p, s·j + b − p], for one group.
    ///
    /// The images are cut into pieces whose sums are added in order.
    pub fn weight_gradient(&self, x: &[f32], grad: &[f32], group: usize, out: &mut [f32], instructions: Instructions) {
        let row = self.inputs * self.kernel[0] * self.kernel[1];
        if out.is_empty() || self.images == 0 {
            return;
        }
        let gradient = WeightGradient::new(self, group);
        let blocks = self.outputs.div_ceil(OUTPUTS);
        let pieces = TASKS.div_ceil(blocks).min(self.images);
        let size = gradient.rows() * gradient.width;
        let mut sums = vec![[0.0; LANES]; pieces * blocks * size];
        sums.par_chunks_mut(size).with_max_len(1).enumerate().for_each(|(index, sums)| {
            let (piece, block) = (index / blocks, index % blocks);
            let images = piece * self.images / pieces..(piece + 1) * self.images / pieces;
            instructions.run(Piece { gradient: &gradient, x, grad, images, first: block * OUTPUTS, sums });
        });
        // From [piece, block, o, a, (b, c)] to [o, c, a, b].
        Threads::All.chunks(out, row, |output, out| {
            let (block, row) = (output / OUTPUTS, output % OUTPUTS);
            let row = |piece: usize| &sums[(piece * blocks + block) * size + row * gradient.width..][..gradient.width];
            let mut total = row(0).to_vec();
            for piece in 1..pieces {
                for (total, sum) in total.as_flattened_mut().iter_mut().zip(row(piece).as_flattened()) {
                    *total += sum;
                }
            }
            gradient.spread(total.as_flattened(), out);
        });
    }
}

/// What the tasks share.
struct WeightGradient<'a> {
    sizes: &'a Sizes,
    group: usize,
    frame: Frame,
    /// Images that are laid out at a time.
    together: usize,
    /// For each pixel of the result in these images, where its window begins.
    windows: Vec<usize>,
    /// Registers of 16 numbers for a row of taps: b and c, side by side.
    taps: usize,
    /// Registers for all taps.
    width: usize,
}

impl<'a> WeightGradient<'a> {
    fn new(sizes: &'a Sizes, group: usize) -> Self {
        let frame = sizes.frame();
        let together = PIXELS.div_ceil(sizes.output[0] * sizes.output[1]).min(sizes.images);
        let windows = sizes.windows();
        let windows = (0..together).flat_map(|image| windows.iter().map(move |window| image * frame.len() + window)).collect();
        let taps = (sizes.kernel[1] * sizes.inputs).div_ceil(LANES);
        Self { sizes, group, frame, together, windows, taps, width: sizes.kernel[0] * taps }
    }

    /// Rows of the sums of a task.
    fn rows(&self) -> usize {
        OUTPUTS.min(self.sizes.outputs.next_multiple_of(LANES))
    }

    /// From [a, (b, c)] to [c, a, b].
    fn spread(&self, sums: &[f32], out: &mut [f32]) {
        let ([kh, kw], inputs) = (self.sizes.kernel, self.sizes.inputs);
        for (a, sums) in sums.chunks_exact(self.taps * LANES).enumerate() {
            for b in 0..kw {
                for (sum, out) in sums[b * inputs..][..inputs].iter().zip(out[a * kw + b..].iter_mut().step_by(kh * kw)) {
                    *out = *sum;
                }
            }
        }
    }
}

/// Buffers that are used again.
struct Scratch {
    source: Vec<f32>,
    grad: Vec<Lanes>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch { source: Vec::new(), grad: Vec::new() }) };
}

impl Default for Scratch {
    fn default() -> Self {
        Self { source: Vec::new(), grad: Vec::new() }
    }
}

/// The sums over some images for some outputs.
struct Piece<'a> {
    gradient: &'a WeightGradient<'a>,
    x: &'a [f32],
    grad: &'a [f32],
    images: std::ops::Range<usize>,
    /// The first output.
    first: usize,
    /// For each output of the task, its taps.
    sums: &'a mut [Lanes],
}

impl Task for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn run<P: Processor>(self, processor: P) {
        let WeightGradient { sizes, group, frame, together, windows, .. } = self.gradient;
        let (inputs, outputs) = (sizes.inputs_of(*group), sizes.outputs_of(*group));
        let (x_places, pixels) = (frame.places(sizes.input), outputs.pixels);
        let rows = self.gradient.rows().min((outputs.channels - self.first).next_multiple_of(LANES));
        let g_places: Vec<usize> = (0..pixels).map(|pixel| pixel * LANES).collect();
        let mut scratch = SCRATCH.take();
        for start in self.images.clone().step_by(*together) {
            let images = start..self.images.end.min(start + together);
            // The last windows may be read past their ends.
            scratch.source.clear();
            scratch.source.resize(images.len() * frame.len() + 3 * LANES, 0.0);
            scratch.grad.clear();
            scratch.grad.resize(rows / LANES * images.len() * pixels, [0.0; LANES]);
            for (index, image) in images.clone().enumerate() {
                let planes = &self.x[(image * inputs.all + inputs.first) * inputs.pixels..];
                from_planes(planes, inputs.channels, &x_places, &mut scratch.source[index * frame.len()..]);
                for (panel, first) in (self.first..self.first + rows).step_by(LANES).enumerate() {
                    let planes = &self.grad[(image * outputs.all + outputs.first + first) * pixels..];
                    let to = scratch.grad[(panel * images.len() + index) * pixels..].as_flattened_mut();
                    from_planes(planes, LANES.min(outputs.channels - first), &g_places, to);
                }
            }
            let windows = &windows[..images.len() * pixels];
            for (index, windows) in windows.chunks(PIXELS).enumerate() {
                let left = Left { panels: &scratch.grad, depth: images.len() * pixels, start: index * PIXELS };
                self.gradient.add(processor, &left, &scratch.source, windows, self.sums);
            }
        }
        SCRATCH.set(scratch);
    }
}

/// Panels of 16 outputs at each pixel.
struct Left<'a> {
    panels: &'a [Lanes],
    depth: usize,
    start: usize,
}

impl WeightGradient<'_> {
    /// Adds the products of some pixels.
    #[inline(always)]
    fn add<P: Processor>(&self, processor: P, left: &Left<'_>, source: &[f32], windows: &[usize], sums: &mut [Lanes]) {
        for a in 0..self.sizes.kernel[0] {
            let mut tap = 0;
            while tap < self.taps {
                let rest = self.taps - tap;
                let most = if P::SUMS >= 24 { 3 } else { 1 };
                let width = rest.div_ceil(rest.div_ceil(most));
                let source = &source[self.frame.place(a, 0) + tap * LANES..];
                let sums = &mut sums[a * self.taps + tap..];
                match width {
                    3 if P::SUMS >= 24 => self.add_tiles::<P, 8, 3>(processor, left, source, windows, sums),
                    2 if P::SUMS >= 24 => self.add_tiles::<P, 8, 2>(processor, left, source, windows, sums),
                    _ if P::SUMS >= 24 => self.add_tiles::<P, 16, 1>(processor, left, source, windows, sums),
                    _ if P::SUMS >= 6 => self.add_tiles::<P, 4, 1>(processor, left, source, windows, sums),
                    _ => self.add_tiles::<P, 2, 1>(processor, left, source, windows, sums),
                }
                tap += width;
            }
        }
    }

    #[inline(always)]
    fn add_tiles<P: Processor, const R: usize, const V: usize>(
        &self,
        processor: P,
        left: &Left<'_>,
        source: &[f32],
        windows: &[usize],
        sums: &mut [Lanes],
    ) {
        for (panel, rows) in left.panels.chunks_exact(left.depth).enumerate() {
            let rows = &rows[left.start..][..windows.len()];
            for first in (0..LANES).step_by(R) {
                let row = |index: usize| (panel * LANES + first + index) * self.width;
                let mut tile: [[Lanes; V]; R] =
                    std::array::from_fn(|index| std::array::from_fn(|column| sums[row(index) + column]));
                add_outer(processor, &mut tile, (rows, first), source, windows);
                for (index, tile) in tile.iter().enumerate() {
                    sums[row(index)..][..V].copy_from_slice(tile);
                }
            }
        }
    }
}
