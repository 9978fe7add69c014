//! Sums over the pixels of each channel.
//!
//! The images are summed in groups of a size that depends on the shape alone, and then over the groups in order: the sums do
//! not depend on how the work is shared out among threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::fresh::part_of;
use crate::simd::{self, LANES};

/// Elements that are summed in f32 before the sum goes on in f64, about.
const BLOCK: usize = 1 << 11;

/// Some channels of some images of [N, C, H·W].
pub(super) struct Group {
    channels: usize,
    pub plane: usize,
    pub images: Range<usize>,
    /// The first of the channels.
    pub first: usize,
}

impl Group {
    /// Pixels of one channel in the group.
    pub fn pixels(&self) -> usize {
        self.images.len() * self.plane
    }

    /// The pixels of a channel of an image; channels count from the first of the group.
    #[inline(always)]
    pub fn pixels_of<'a>(&self, x: &'a [f32], image: usize, channel: usize) -> &'a [f32] {
        &x[(image * self.channels + self.first + channel) * self.plane..][..self.plane]
    }

    /// For each channel two sums over the pairs of pixels of x and y; `of` gives the terms for a channel of the group.
    #[inline(always)]
    pub fn sums<F: Fn(f32, f32) -> [f32; 2]>(&self, x: &[f32], y: &[f32], of: impl Fn(usize) -> F, out: &mut [[f64; 2]]) {
        let mut lanes = vec![[[0.0_f32; LANES]; 2]; out.len()];
        out.fill([0.0; 2]);
        for image in self.images.clone() {
            for (channel, (lanes, out)) in lanes.iter_mut().zip(out.iter_mut()).enumerate() {
                let f = of(channel);
                let (x, y) = (self.pixels_of(x, image, channel), self.pixels_of(y, image, channel));
                for (x, y) in x.chunks(BLOCK).zip(y.chunks(BLOCK)) {
                    add(x, y, &f, lanes);
                    if self.plane > BLOCK {
                        move_on(lanes, out);
                    }
                }
            }
        }
        lanes.iter_mut().zip(out).for_each(|(lanes, out)| move_on(lanes, out));
    }
}

/// Adds the terms of each pair to the lanes.
#[inline(always)]
fn add(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> [f32; 2], lanes: &mut [[f32; LANES]; 2]) {
    // Beside the slices these are in registers.
    let [mut first, mut second] = *lanes;
    let ((x, x_rest), (y, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in x.iter().zip(y) {
        for lane in 0..LANES {
            let [a, b] = f(x[lane], y[lane]);
            first[lane] += a;
            second[lane] += b;
        }
    }
    for (lane, (&x, &y)) in x_rest.iter().zip(y_rest).enumerate() {
        let [a, b] = f(x, y);
        first[lane] += a;
        second[lane] += b;
    }
    *lanes = [first, second];
}

/// Moves the sums of the lanes to the totals.
#[inline(always)]
fn move_on(lanes: &mut [[f32; LANES]; 2], totals: &mut [f64; 2]) {
    for (lanes, total) in std::mem::take(lanes).iter().zip(totals) {
        *total += f64::from(simd::sum(lanes, |x| x));
    }
}

/// Two numbers for each group and channel, [groups, C], from `f(group, numbers of its channels)`; and the images of a group.
pub(super) fn by_group([n, c, plane]: [usize; 3], f: impl Fn(&Group, &mut [[f64; 2]]) + Sync) -> (Vec<[f64; 2]>, usize) {
    let images = (BLOCK / plane).clamp(1, n);
    let channels = part_of(images * plane) / (images * plane);
    let mut out = vec![[0.0; 2]; n.div_ceil(images) * c];
    let group = |index: usize, first: usize| {
        let images = index * images..n.min((index + 1) * images);
        Group { channels: c, plane, images, first }
    };
    let groups = out.par_chunks_mut(c).enumerate();
    groups.for_each(|(index, out)| {
        let parts = out.par_chunks_mut(channels).enumerate();
        parts.for_each(|(part, out)| f(&group(index, part * channels), out));
    });
    (out, images)
}
