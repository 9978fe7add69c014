//! Convolutions to few channels, and gradients of inputs of few channels: sums over windows, for pixels side by side.
//!
//! Planes stay as they are, in a frame of zeros, and a register has 16 pixels of one channel. With few channels of the result
//! this wastes nothing, and nothing is turned around. The products are those of a [`Correlation`], in the same order, so that a result
//! has the same bits.
//!
//! [`Correlation`]: crate::conv::correlation::Correlation

use std::cell::Cell;

use rayon::prelude::*;

use crate::conv::geometry::{self, Geometry};
use crate::conv::source::{Frame, Planes};
use crate::product::{Tile, add_places};
use crate::simd::{Form, Kernel, LANES};

/// Channels of the result whose sums a tile has.
const CHANNELS: usize = 4;

/// Pixels of a result that a thread takes at least, where there are as many.
const FEWEST: usize = 512;

/// Sums over windows of planes.
pub(crate) struct Direct {
    from: Planes,
    /// Rows and columns of a plane of `from`.
    input: [usize; 2],
    frame: Frame,
    step: usize,
    to: Planes,
    /// Columns of a plane of `to`.
    columns: usize,
    classes: Vec<Class>,
}

/// Pixels of the result that weigh their windows alike.
struct Class {
    /// Their rows and columns in the result.
    pixels: [Vec<usize>; 2],
    /// Where the window of the first pixel begins in the frames. That of the next row is a row of a frame further.
    first: usize,
    /// For each number of a window, where it is from its beginning.
    places: Vec<usize>,
    /// For each four channels of the result, their weights of each number of the window.
    weights: Vec<[f32; CHANNELS]>,
}

impl Direct {
    /// With the weights of a group.
    pub fn new(geometry: &Geometry, weight: &[f32]) -> Self {
        let Geometry { from, input, frame, to, columns, step, .. } = geometry;
        let mut direct =
            Self { from: *from, input: *input, frame: *frame, step: *step, to: *to, columns: *columns, classes: Vec::new() };
        direct.classes = geometry.classes.iter().map(|class| direct.class(geometry, class, weight)).collect();
        direct
    }

    fn class(&self, geometry: &Geometry, class: &geometry::Class, weight: &[f32]) -> Class {
        let [rows, columns] = class.taps.each_ref().map(Vec::len);
        let [first_y, first_z] = class.first;
        let taps = (0..rows).flat_map(|a| (0..columns).map(move |b| (first_y + a, first_z + b)));
        let places = taps.flat_map(|(y, z)| (0..self.from.channels).map(move |channel| self.place(channel, y, z)));
        let first = self.place(0, first_y, first_z);
        let weight_places = geometry.weight_places(class);
        let channels = |group: usize| group * CHANNELS..self.to.channels.min((group + 1) * CHANNELS);
        let weights = (0..self.to.channels.div_ceil(CHANNELS)).flat_map(|group| {
            weight_places.iter().map(move |place| {
                let mut weights = [0.0; CHANNELS];
                for (weight_of, channel) in weights.iter_mut().zip(channels(group)) {
                    *weight_of = weight[channel * geometry.weights.to + place];
                }
                weights
            })
        });
        Class {
            pixels: class.pixels.clone(),
            first,
            places: places.map(|place| place - first).collect(),
            weights: weights.collect(),
        }
    }

    /// Rows and columns of the part of a frame with one remainder of rows and columns by the step.
    fn part(&self) -> [usize; 2] {
        self.frame.size.map(|size| size.div_ceil(self.step))
    }

    /// Where a number of a frame is: planes are cut by the remainders of rows and columns, so that what the windows of pixels side
    /// by side see at one of their places is side by side.
    fn place(&self, channel: usize, row: usize, column: usize) -> usize {
        let (step, [rows, columns]) = (self.step, self.part());
        (((channel * step + row % step) * step + column % step) * rows + row / step) * columns + column / step
    }

    /// Pixels that belong to no class are left as they are.
    pub fn run(&self, from: &[f32], to: &mut [f32], form: Form) {
        let (from_size, to_size) = (self.from.all * self.from.pixels, self.to.all * self.to.pixels);
        if to.is_empty() || from.is_empty() {
            return;
        }
        let images = FEWEST.div_ceil(self.to.pixels);
        let (from, to) = (from.par_chunks(images * from_size), to.par_chunks_mut(images * to_size));
        to.zip(from).with_max_len(1).for_each(|(to, from)| form.run(Images { direct: self, from, to }));
    }

    /// Puts the planes of an image into their frames.
    #[inline(always)]
    fn fill(&self, image: &[f32], frames: &mut [f32]) {
        let (step, [height, width], [top, left]) = (self.step, self.input, self.frame.before);
        for (channel, plane) in image.chunks_exact(self.from.pixels).enumerate() {
            for (row, numbers) in plane.chunks_exact(width).enumerate().take(height) {
                for rest in 0..step.min(width) {
                    let target = self.place(channel, top + row, left + rest);
                    if step == 1 {
                        frames[target..][..width].copy_from_slice(numbers);
                    } else {
                        frames[target..].iter_mut().zip(numbers[rest..].iter().step_by(step)).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }
}

/// Buffers that are used again.
#[derive(Default)]
struct Scratch {
    frames: Vec<f32>,
    sums: Vec<f32>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// A few images.
struct Images<'a> {
    direct: &'a Direct,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Images<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        if WIDE { self.run_in::<FMA, 4>() } else { self.run_in::<FMA, 1>() }
    }
}

impl Images<'_> {
    /// In tiles of 16·V pixels.
    #[inline(always)]
    fn run_in<const FMA: bool, const V: usize>(self) {
        let Direct { from, step, to, classes, columns, .. } = self.direct;
        let [rows, width] = self.direct.part();
        let mut scratch = SCRATCH.take();
        let Scratch { frames, sums } = &mut scratch;
        // Numbers behind the last frame are read for sums that are not used.
        frames.clear();
        frames.resize(from.channels * step * step * rows * width + V * LANES, 0.0);
        for (image, to_image) in self.from.chunks_exact(from.all * from.pixels).zip(self.to.chunks_exact_mut(to.all * to.pixels))
        {
            self.direct.fill(&image[from.first * from.pixels..][..from.channels * from.pixels], frames);
            for class in classes {
                let [ys, zs] = &class.pixels;
                let (Some(&first), false) = (zs.first(), ys.is_empty()) else { continue };
                // Rows of the frame, without the last columns of the last of them.
                let count = (ys.len() - 1) * width + zs.len();
                let length = count.next_multiple_of(V * LANES);
                sums.resize(CHANNELS * length, 0.0);
                let every = zs.get(1).map_or(1, |second| second - first);
                for (group, weights) in class.weights.chunks_exact(class.places.len()).enumerate() {
                    for start in (0..count).step_by(V * LANES) {
                        let mut tile: Tile<CHANNELS, V> = [[[0.0; LANES]; V]; CHANNELS];
                        add_places::<FMA, CHANNELS, V>(&mut tile, weights, &frames[class.first + start..], &class.places);
                        for (tile, sums) in tile.iter().zip(sums.chunks_exact_mut(length)) {
                            sums[start..][..V * LANES].copy_from_slice(tile.as_flattened());
                        }
                    }
                    let channels = group * CHANNELS..to.channels.min((group + 1) * CHANNELS);
                    for (channel, sums) in channels.zip(sums.chunks_exact(length)) {
                        let plane = &mut to_image[(to.first + channel) * to.pixels..][..to.pixels];
                        for (y, sums) in ys.iter().zip(sums.chunks(width)) {
                            let row = &mut plane[y * columns..][..*columns];
                            if every == 1 {
                                row[first..][..zs.len()].copy_from_slice(&sums[..zs.len()]);
                            } else {
                                row[first..].iter_mut().step_by(every).zip(&sums[..zs.len()]).for_each(|(to, sum)| *to = *sum);
                            }
                        }
                    }
                }
            }
        }
        SCRATCH.set(scratch);
    }
}
