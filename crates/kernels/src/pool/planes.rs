//! Windows in planes, the pixels of one channel of one image. Each plane is worked on by itself.
#![allow(clippy::cast_possible_truncation, reason = "sums are f64 and elements are f32; positions are checked")]

use std::array::from_fn;

use crate::fresh::{Part, filled, part_of};
use crate::simd::{self, Kernel, LANES};

/// Square windows in a padded plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Rows and columns of a plane.
    pub size: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
    /// Pixels on each side, at most half of `kernel`.
    pub padding: usize,
}

/// What becomes of a window.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pooling {
    Max,
    Mean,
}

impl Windows {
    /// How many windows there are, in rows and columns.
    pub fn places(&self) -> [usize; 2] {
        self.size.map(|size| (size + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// The pooled planes of x.
    pub fn forward(self, pooling: Pooling, x: &[f32]) -> Vec<f32> {
        let ([h, w], [rows, columns]) = (self.size, self.places());
        let planes = part_of(h * w) / (h * w);
        filled(x.len() / (h * w) * rows * columns, planes * rows * columns, |index, part| {
            let x = x.chunks(planes * h * w).nth(index).unwrap_or_default();
            simd::run(Forward { windows: self, pooling, x, part });
        })
    }

    /// The gradient of the planes x, given that of the pooled ones.
    pub fn gradient(self, pooling: Pooling, x: &[f32], g: &[f32]) -> Vec<f32> {
        let ([h, w], [rows, columns]) = (self.size, self.places());
        let length = part_of(h * w);
        filled(x.len(), length, |index, part| {
            let x = x.chunks(length).nth(index).unwrap_or_default();
            let g = g.chunks(length / (h * w) * rows * columns).nth(index).unwrap_or_default();
            simd::run(Backward { windows: self, pooling, x, g, part });
        })
    }
}

struct Forward<'a, 'b> {
    windows: Windows,
    pooling: Pooling,
    x: &'a [f32],
    part: &'a mut Part<'b>,
}

impl Kernel for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let [h, w] = self.windows.size;
        let [rows, _] = self.windows.places();
        let mut padded = Padded::new(self.windows);
        for x in self.x.chunks_exact(h * w) {
            padded.set(x);
            for row in 0..rows {
                match self.pooling {
                    Pooling::Max => self.part.copy(padded.largest(row).0),
                    Pooling::Mean => self.part.copy(padded.means(row)),
                }
            }
        }
    }
}

struct Backward<'a, 'b> {
    windows: Windows,
    pooling: Pooling,
    x: &'a [f32],
    g: &'a [f32],
    part: &'a mut Part<'b>,
}

impl Kernel for Backward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let Windows { size: [h, w], kernel, stride, padding } = self.windows;
        let [rows, columns] = self.windows.places();
        let mut padded = Padded::new(self.windows);
        let line = padded.line;
        let mut gradient = vec![0.0; padded.pixels.len()];
        for (x, g) in self.x.chunks_exact(h * w).zip(self.g.chunks_exact(rows * columns)) {
            gradient.fill(0.0);
            match self.pooling {
                Pooling::Max => {
                    padded.set(x);
                    for (row, g) in g.chunks_exact(columns).enumerate() {
                        for (&at, g) in padded.largest(row).1.iter().zip(g) {
                            gradient[at as usize] += g;
                        }
                    }
                }
                Pooling::Mean => {
                    let share = 1.0 / (kernel * kernel) as f32;
                    for (row, g) in g.chunks_exact(columns).enumerate() {
                        for (a, b) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
                            let pixels = &mut gradient[(row * stride + a) * line + b..];
                            pixels.iter_mut().step_by(stride).zip(g).for_each(|(pixel, g)| *pixel += g * share);
                        }
                    }
                }
            }
            for row in gradient[padding * line..].chunks_exact(line).take(h) {
                self.part.copy(&row[padding..padding + w]);
            }
        }
    }
}

/// A plane with −∞ around it.
struct Padded {
    windows: Windows,
    pixels: Vec<f32>,
    /// Pixels in a row.
    line: usize,
    /// Results for the windows of one row.
    row: Vec<f32>,
    /// The pixels that they come from.
    at: Vec<u32>,
}

impl Padded {
    fn new(windows: Windows) -> Self {
        let [height, line] = windows.size.map(|size| size + 2 * windows.padding);
        let [_, columns] = windows.places();
        // Some pixels more, so that there is a whole tile of windows from every place.
        let pixels = vec![f32::NEG_INFINITY; height * line + LANES * windows.stride];
        Self { windows, pixels, line, row: vec![0.0; columns], at: vec![0; columns] }
    }

    fn set(&mut self, x: &[f32]) {
        let Windows { size: [_, w], padding, .. } = self.windows;
        for (x, line) in x.chunks_exact(w).zip(self.pixels.chunks_exact_mut(self.line).skip(padding)) {
            line[padding..padding + w].copy_from_slice(x);
        }
    }

    /// The largest pixels of the windows in a row, and where they are.
    #[inline(always)]
    fn largest(&mut self, row: usize) -> (&[f32], &[u32]) {
        let Windows { kernel, stride, padding, .. } = self.windows;
        let (line, top) = (self.line, row * stride);
        // Where all are −∞, the first that is not padding.
        for (column, at) in self.at.iter_mut().enumerate() {
            *at = (top.max(padding) * line + (column * stride).max(padding)) as u32;
        }
        for (tile, (row, at)) in self.row.chunks_mut(LANES).zip(self.at.chunks_mut(LANES)).enumerate() {
            let left = tile * LANES * stride;
            let mut largest = [f32::NEG_INFINITY; LANES];
            // As a step from the first pixel of the window.
            let mut place = [u32::MAX; LANES];
            for a in 0..kernel {
                let pixels = &self.pixels[(top + a) * line + left..];
                for b in 0..kernel {
                    let (pixels, here) = (every(stride, &pixels[b..]), (a * line + b) as u32);
                    let better: [bool; LANES] = from_fn(|i| (pixels[i] > largest[i]) | pixels[i].is_nan());
                    largest = from_fn(|i| if better[i] { pixels[i] } else { largest[i] });
                    place = from_fn(|i| if better[i] { here } else { place[i] });
                }
            }
            row.copy_from_slice(&largest[..row.len()]);
            for (i, (at, place)) in at.iter_mut().zip(place).enumerate() {
                if place != u32::MAX {
                    *at = (top * line + left + i * stride) as u32 + place;
                }
            }
        }
        (&self.row, &self.at)
    }

    /// The means of the windows in a row.
    #[inline(always)]
    fn means(&mut self, row: usize) -> &[f32] {
        let Windows { kernel, stride, .. } = self.windows;
        self.row.fill(0.0);
        for (a, b) in (0..kernel).flat_map(|a| (0..kernel).map(move |b| (a, b))) {
            let pixels = &self.pixels[(row * stride + a) * self.line + b..];
            match stride {
                2 => self.row.iter_mut().zip(pixels.as_chunks::<2>().0).for_each(|(sum, &[pixel, _])| *sum += pixel),
                _ => self.row.iter_mut().zip(pixels.iter().step_by(stride)).for_each(|(sum, pixel)| *sum += pixel),
            }
        }
        let count = (kernel * kernel) as f32;
        self.row.iter_mut().for_each(|sum| *sum /= count);
        &self.row
    }
}

/// Every `stride`th pixel.
#[inline(always)]
fn every(stride: usize, pixels: &[f32]) -> [f32; LANES] {
    // Strides that are known when this is compiled become loads of vectors.
    match (stride, pixels.as_chunks().0) {
        (1, [first, ..]) => *first,
        (2, [first, second, ..]) => from_fn(|i| if i < LANES / 2 { first[2 * i] } else { second[2 * i - LANES] }),
        _ => from_fn(|i| pixels[i * stride]),
    }
}

/// The mean of each plane.
pub(super) fn means(x: &[f32], plane: usize) -> Vec<f32> {
    let planes = part_of(plane) / plane;
    filled(x.len() / plane, planes, |index, part| {
        let x = x.chunks(planes * plane).nth(index).unwrap_or_default();
        simd::run(Means { x, plane, part });
    })
}

struct Means<'a, 'b> {
    x: &'a [f32],
    plane: usize,
    part: &'a mut Part<'b>,
}

impl Kernel for Means<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        for x in self.x.chunks_exact(self.plane) {
            let sum: f64 = x.chunks(1 << 11).map(|x| f64::from(simd::sum(x, |x| x))).sum();
            self.part.fill((sum / self.plane as f64) as f32, 1);
        }
    }
}

/// The same share of each number for each pixel of its plane.
pub(super) fn spread(g: &[f32], plane: usize) -> Vec<f32> {
    let length = part_of(plane);
    filled(g.len() * plane, length, |index, part| {
        for g in g.chunks(length / plane).nth(index).unwrap_or_default() {
            part.fill(g / plane as f32, plane);
        }
    })
}
