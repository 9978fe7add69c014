//! Convolutions with 3×3 weights at stride 1 by the minimal filtering of Winograd, F(2×2, 3×3).
//!
//! A tile of 2×2 results is Aᵀ((G w Gᵀ) ∘ (Bᵀ d B))A for the 4×4 pixels d that it sees: 16 multiplications instead of 36 for
//! each pair of channels. They are 16 products of matrices, one for each place in the tile, of
//! \[tiles, C\] and \[C, O\]. (A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.1.)
//!
//! An error is at most a few times that of the plain sum. But a pixel that is not finite would reach results that do not see it:
//! when a result is not finite, the plain sum has to be used.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::conv::channels_last::{from_planes, lanes_at, to_planes};
use crate::conv::correlation::Planes;
use crate::conv::geometry::Frame;
use crate::instructions::{Instructions, Processor, Task};
use crate::product::{LANES, Lanes, Panels, Piece, Rows, blocks, groups, lanes_of, multiply, room};

/// Tiles that are taken at a time, where there are as many in some rows of them: their 16·C transformed numbers, and 16·64 products
/// of them, fit the cache.
const TILES: usize = 48;

/// A window, or what becomes of it, for 16 channels.
type Square<const N: usize> = [[Lanes; N]; N];

/// A convolution with 3×3 weights at stride 1.
pub(crate) struct Winograd {
    pub from: Planes,
    pub to: Planes,
    /// The frame of an image, with room for whole tiles.
    pub frame: Frame,
    /// Rows and columns of an image.
    pub input: [usize; 2],
    /// Rows and columns of a result.
    pub output: [usize; 2],
    /// The row and column in the frame where the window of the first pixel begins.
    pub first: usize,
    /// For each place in a tile and channel of the image, the transformed weights of the channels of the result.
    pub weights: Panels,
}

impl Winograd {
    /// `weights[o·stride + places[c] + taps[k]]` are those of tap k.
    pub fn weights(weight: &[f32], outputs: usize, stride: usize, places: &[usize], taps: [usize; 9]) -> Panels {
        let mut weights = Panels::new();
        weights.fill(outputs, 16 * places.len(), |columns, panel| {
            let weight = &weight[columns.start * stride..];
            for (c, place) in places.iter().enumerate() {
                let square: Square<3> = std::array::from_fn(|a| {
                    std::array::from_fn(|b| lanes_of(&weight[place + taps[3 * a + b]..], columns.len(), stride))
                });
                let mut transformed = [[[0.0; LANES]; 4]; 4];
                of_weights(&square, &mut transformed);
                for (index, lanes) in transformed.as_flattened().iter().enumerate() {
                    panel[index * places.len() + c] = *lanes;
                }
            }
        });
        weights
    }

    /// Whether all results are finite.
    pub fn run(&self, from: &[f32], to: &mut [f32], instructions: Instructions) -> bool {
        let (from_size, to_size) = (self.from.all * self.from.pixels, self.to.all * self.to.pixels);
        let images = TILES.div_ceil(self.tiles()[0] * self.tiles()[1]);
        let finite = AtomicBool::new(true);
        to.par_chunks_mut(images * to_size).zip(from.par_chunks(images * from_size)).with_max_len(1).for_each(|(to, from)| {
            if !instructions.run(Images { winograd: self, from, to }) {
                finite.store(false, Ordering::Relaxed);
            }
        });
        finite.into_inner()
    }

    /// Rows and columns of tiles.
    fn tiles(&self) -> [usize; 2] {
        self.output.map(|size| size.div_ceil(2))
    }
}

/// Buffers that are used again.
struct Scratch {
    source: Vec<f32>,
    transformed: Vec<Lanes>,
    products: Vec<Lanes>,
    results: Vec<Lanes>,
}

impl Scratch {
    const fn new() -> Self {
        Self { source: Vec::new(), transformed: Vec::new(), products: Vec::new(), results: Vec::new() }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch::new()) };
}

/// A few images.
struct Images<'a> {
    winograd: &'a Winograd,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Task for Images<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<P: Processor>(self, processor: P) -> bool {
        let Winograd { from, to, frame, input, output, first, weights } = self.winograd;
        let mut scratch = SCRATCH.take();
        let Scratch { source, transformed, products, results } = &mut scratch;
        let (places, targets) = (frame.places(*input), (0..to.pixels).collect::<Vec<_>>());
        let from_size = from.all * from.pixels;
        source.clear();
        // The channels of the last pixel are read as a multiple of 16.
        source.resize(self.from.len() / from_size * frame.len() + LANES, 0.0);
        for (index, image) in self.from.chunks_exact(from_size).enumerate() {
            from_planes(&image[from.first * from.pixels..], from.channels, &places, &mut source[index * frame.len()..]);
        }
        let [tile_rows, tile_columns] = self.winograd.tiles();
        // Rows of tiles, of all images.
        let rows: Vec<(usize, usize)> =
            (0..self.from.len() / from_size).flat_map(|n| (0..tile_rows).map(move |i| (n, i))).collect();
        let blocks = blocks([Piece { start: 0, length: from.channels }]);
        let registers = from.channels.div_ceil(LANES);
        let mut probe = [0.0; LANES];
        for rows in rows.chunks(TILES.div_ceil(tile_columns)) {
            let tiles = rows.len() * tile_columns;
            // An odd distance, so that the 16 matrices do not meet in the same few places of the cache.
            let matrix = tiles * registers | 1;
            transformed.resize(16 * matrix, [0.0; LANES]);
            for (row, &(image, i)) in rows.iter().enumerate() {
                for j in 0..tile_columns {
                    let window = image * frame.len() + frame.place(2 * i + first, 2 * j + first);
                    for register in 0..registers {
                        let place = |a: usize, b: usize| window + frame.place(a, b) + register * LANES;
                        let to = (row * tile_columns + j) * registers + register;
                        of_pixels(|a, b| lanes_at(source, place(a, b)), |index, lanes| transformed[index * matrix + to] = lanes);
                    }
                }
            }
            let starts: Vec<usize> = (0..tiles).map(|tile| tile * registers * LANES).collect();
            for panels in groups::<P>(weights.count()) {
                let product = room(tiles, panels.len()) | 1;
                products.resize(16 * product, [0.0; LANES]);
                for (index, products) in products.chunks_exact_mut(product).enumerate() {
                    let source = transformed[index * matrix..].as_flattened();
                    let rows = Rows { source, starts: &starts, blocks: &blocks };
                    let columns = panels.clone().map(|panel| &weights.panel(panel)[index * from.channels..][..from.channels]);
                    multiply(processor, &rows, columns, products);
                }
                for (index, panel) in panels.clone().enumerate() {
                    // Two rows of pixels for each row of tiles.
                    results.resize(4 * tiles, [0.0; LANES]);
                    for tile in 0..tiles {
                        let place = tile * panels.len() + index;
                        let (row, column) = (tile / tile_columns, tile % tile_columns);
                        let square = of_products(|index| &products[index * product + place]);
                        for (a, lanes) in square.iter().enumerate() {
                            let place = (2 * row + a) * output[1] + 2 * column;
                            let width = 2.min(output[1] - 2 * column);
                            results[place..][..width].copy_from_slice(&lanes[..width]);
                            for lanes in lanes {
                                probe.iter_mut().zip(lanes).for_each(|(probe, lane)| *probe += 0.0 * lane);
                            }
                        }
                    }
                    let first = panel * LANES;
                    let channels = LANES.min(to.channels - first);
                    let mut row = 0;
                    while row < rows.len() {
                        // The rows of one image.
                        let (image, i) = rows[row];
                        let count = rows[row..].iter().take_while(|(other, _)| *other == image).count();
                        let pixels = 2 * i * output[1]..output[0].min(2 * (i + count)) * output[1];
                        let planes = &mut self.to[(image * to.all + to.first + first) * to.pixels..];
                        to_planes(&results[2 * row * output[1]..], 1, &targets[pixels], channels, to.pixels, planes);
                        row += count;
                    }
                }
            }
        }
        SCRATCH.set(scratch);
        probe.iter().all(|&probe| probe == 0.0)
    }
}

/// G w Gᵀ
#[inline(always)]
fn of_weights(weights: &Square<3>, out: &mut Square<4>) {
    let mut half = [[[0.0; LANES]; 3]; 4];
    for b in 0..3 {
        let column = [&weights[0][b], &weights[1][b], &weights[2][b]];
        half[0][b] = *column[0];
        set(&mut half[1][b], column, |[a, b, c]| 0.5 * ((a + c) + b));
        set(&mut half[2][b], column, |[a, b, c]| 0.5 * ((a + c) - b));
        half[3][b] = *column[2];
    }
    for (half, out) in half.iter().zip(out) {
        let row = half.each_ref();
        out[0] = half[0];
        set(&mut out[1], row, |[a, b, c]| 0.5 * ((a + c) + b));
        set(&mut out[2], row, |[a, b, c]| 0.5 * ((a + c) - b));
        out[3] = half[2];
    }
}

/// Bᵀ d B, where `pixel(a, b)` is d\[a, b\] and `put(i, lanes)` takes the place i = 4·a + b of the result.
#[inline(always)]
fn of_pixels<'a>(pixel: impl Fn(usize, usize) -> &'a Lanes, mut put: impl FnMut(usize, Lanes)) {
    let mut half: Square<4> = [[[0.0; LANES]; 4]; 4];
    for b in 0..4 {
        let column = [pixel(0, b), pixel(1, b), pixel(2, b), pixel(3, b)];
        set(&mut half[0][b], column, |[a, _, c, _]| a - c);
        set(&mut half[1][b], column, |[_, b, c, _]| b + c);
        set(&mut half[2][b], column, |[_, b, c, _]| c - b);
        set(&mut half[3][b], column, |[_, b, _, d]| b - d);
    }
    for (a, half) in half.iter().enumerate() {
        let row = half.each_ref();
        put(4 * a, of(row, |[a, _, c, _]| a - c));
        put(4 * a + 1, of(row, |[_, b, c, _]| b + c));
        put(4 * a + 2, of(row, |[_, b, c, _]| c - b));
        put(4 * a + 3, of(row, |[_, b, _, d]| b - d));
    }
}

/// Aᵀ m A, where `product(i)` is the place i of m.
#[inline(always)]
fn of_products<'a>(product: impl Fn(usize) -> &'a Lanes) -> Square<2> {
    let mut half = [[[0.0; LANES]; 4]; 2];
    for b in 0..4 {
        let column = [product(b), product(4 + b), product(8 + b), product(12 + b)];
        set(&mut half[0][b], column, |[a, b, c, _]| (a + b) + c);
        set(&mut half[1][b], column, |[_, b, c, d]| (b - c) - d);
    }
    let mut out = [[[0.0; LANES]; 2]; 2];
    for (half, out) in half.iter().zip(&mut out) {
        let row = half.each_ref();
        set(&mut out[0], row, |[a, b, c, _]| (a + b) + c);
        set(&mut out[1], row, |[_, b, c, d]| (b - c) - d);
    }
    out
}

#[inline(always)]
fn set<const N: usize>(out: &mut Lanes, inputs: [&Lanes; N], f: impl Fn([f32; N]) -> f32) {
    for (lane, out) in out.iter_mut().enumerate() {
        let mut numbers = [0.0; N];
        for (number, input) in numbers.iter_mut().zip(inputs) {
            *number = input[lane];
        }
        *out = f(numbers);
    }
}

#[inline(always)]
fn of<const N: usize>(inputs: [&Lanes; N], f: impl Fn([f32; N]) -> f32) -> Lanes {
    let mut out = [0.0; LANES];
    set(&mut out, inputs, f);
    out
}
