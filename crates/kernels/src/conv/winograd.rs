//! Convolutions with 3×3 weights at stride 1 by the minimal filtering of Winograd, F(2×2, 3×3).
//!
//! A tile of 2×2 results is Aᵀ((G w Gᵀ) ∘ (Bᵀ d B))A for the 4×4 pixels d that it sees: 16 multiplications instead of 36 for
//! each pair of channels. They are 16 products of matrices, one for each place in the tile, of
//! \[tiles, C\] and \[C, O\]. (A. Lavin and S. Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.1.)
//!
//! An error is at most a few times that of the plain sum. But a pixel that is not finite would reach results that do not see it:
//! when a result is not finite, the plain sum has to be used.
#![allow(clippy::needless_range_loop, reason = "squares are gone through by rows and by columns")]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::conv::channels_last::{lanes_at, to_planes};
use crate::conv::source::{Frame, Planes, Source};
use crate::product::{Lanes, Panels, Piece, Rows, blocks, groups, lanes_of, multiply, room};
use crate::simd::{Form, Kernel, LANES};

/// Tiles that are taken at a time, where there are as many in some rows of them: their 16·C transformed numbers, and 16·64 products
/// of them, fit the cache.
const TILES: usize = 48;

/// A window, or what becomes of it, for 16 channels.
type Square<const N: usize> = [[Lanes; N]; N];

/// A convolution with 3×3 weights at stride 1.
pub(crate) struct Winograd {
    from: Source,
    to: Planes,
    /// Rows and columns of a result.
    output: [usize; 2],
    /// The row and column in the frame where the window of the first pixel begins.
    first: usize,
    /// For each place in a tile and channel of the image, the transformed weights of the channels of the result.
    weights: Panels,
}

impl Winograd {
    /// A convolution of planes of a size to planes of a size. The frame has `before` rows and columns of zeros before an image,
    /// and the window of the first pixel begins at row and column `first` of it.
    pub fn new(
        (from, input): (Planes, [usize; 2]),
        (to, output): (Planes, [usize; 2]),
        [before, first]: [usize; 2],
        weights: Panels,
    ) -> Self {
        // The last tiles may be larger than what is left of a result.
        let size = |index: usize| (before + input[index]).max(first + output[index].next_multiple_of(2) + 2);
        let frame = Frame { before: [before; 2], size: [size(0), size(1)], channels: from.channels };
        Self { from: Source::new(from, input, frame), to, output, first, weights }
    }

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
    pub fn run(&self, from: &[f32], to: &mut [f32], form: Form) -> bool {
        let (from_size, to_size) = (self.from.image(), self.to.all * self.to.pixels);
        let images = TILES.div_ceil(self.tiles().iter().product());
        let finite = AtomicBool::new(true);
        to.par_chunks_mut(images * to_size).zip(from.par_chunks(images * from_size)).with_max_len(1).for_each(|(to, from)| {
            if !form.run(Images { winograd: self, from, to }) {
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
#[derive(Default)]
struct Scratch {
    source: Vec<f32>,
    transformed: Vec<Lanes>,
    products: Vec<Lanes>,
    results: Vec<Lanes>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// A few images.
struct Images<'a> {
    winograd: &'a Winograd,
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Images<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) -> bool {
        let Winograd { from, to, weights, .. } = self.winograd;
        let [tile_rows, tile_columns] = self.winograd.tiles();
        let mut scratch = SCRATCH.take();
        let Scratch { source, transformed, products, results } = &mut scratch;
        from.frames(self.from, source);
        // Rows of tiles of all images.
        let images = 0..self.from.len() / from.image();
        let rows: Vec<(usize, usize)> = images.flat_map(|image| (0..tile_rows).map(move |row| (image, row))).collect();
        let channels = from.planes.channels;
        let blocks = blocks([Piece { start: 0, length: channels }]);
        let mut finite = true;
        for rows in rows.chunks(TILES.div_ceil(tile_columns)) {
            let tiles = rows.len() * tile_columns;
            self.winograd.transform(source, rows, transformed);
            let starts: Vec<usize> = (0..tiles).map(|tile| tile * channels.next_multiple_of(LANES)).collect();
            for panels in groups::<WIDE>(weights.count()) {
                let matrix = apart(room(tiles, panels.len()));
                products.resize(16 * matrix, [0.0; LANES]);
                let sources = transformed.chunks_exact(transformed.len() / 16);
                for (index, (source, products)) in sources.zip(products.chunks_exact_mut(matrix)).enumerate() {
                    let rows = Rows { source: source.as_flattened(), starts: &starts, blocks: &blocks };
                    let columns = panels.clone().map(|panel| &weights.panel(panel)[index * channels..][..channels]);
                    multiply::<FMA, WIDE>(&rows, columns, products);
                }
                for (index, panel) in panels.clone().enumerate() {
                    let product = |tile: usize, place: usize| &products[place * matrix + tile * panels.len() + index];
                    finite &= self.winograd.combine(tiles, product, results);
                    let first = to.first + panel * LANES;
                    let planes = Planes { first, channels: LANES.min(to.first + to.channels - first), ..*to };
                    self.winograd.store(results, rows, planes, self.to);
                }
            }
        }
        SCRATCH.set(scratch);
        finite
    }
}

/// A distance of matrices that do not meet in the same few places of a cache: an odd number of its lines.
fn apart(size: usize) -> usize {
    size | 1
}

impl Winograd {
    /// The transformed windows of some rows of tiles: \[place, tile, channel\].
    #[inline(always)]
    fn transform(&self, source: &[f32], rows: &[(usize, usize)], transformed: &mut Vec<Lanes>) {
        let (frame, columns) = (&self.from.frame, self.tiles()[1]);
        let registers = frame.channels.div_ceil(LANES);
        let matrix = apart(rows.len() * columns * registers);
        transformed.resize(16 * matrix, [0.0; LANES]);
        let mut to = 0;
        for &(image, row) in rows {
            for column in 0..columns {
                let window = image * frame.len() + frame.place(2 * row + self.first, 2 * column + self.first);
                for register in 0..registers {
                    let pixel = |a: usize, b: usize| lanes_at(source, window + frame.place(a, b) + register * LANES);
                    of_pixels(pixel, |index, lanes| transformed[index * matrix + to] = lanes);
                    to += 1;
                }
            }
        }
    }

    /// The results of 16 channels from the products at each place of each tile, as rows of pixels, two for each row of tiles.
    /// Whether they are finite.
    #[inline(always)]
    fn combine<'a>(&self, tiles: usize, product: impl Fn(usize, usize) -> &'a Lanes, results: &mut Vec<Lanes>) -> bool {
        let (width, columns) = (self.output[1], self.tiles()[1]);
        results.resize(tiles / columns * 2 * width, [0.0; LANES]);
        // 0 as long as all are finite.
        let mut probe = [0.0; LANES];
        for tile in 0..tiles {
            let (row, column) = (tile / columns, tile % columns);
            for (a, pixels) in of_products(|place| product(tile, place)).iter().enumerate() {
                let first = (2 * row + a) * width + 2 * column;
                let end = width.min(2 * column + 2) - 2 * column;
                results[first..][..end].copy_from_slice(&pixels[..end]);
                for lanes in pixels {
                    probe.iter_mut().zip(lanes).for_each(|(probe, lane)| *probe += 0.0 * lane);
                }
            }
        }
        probe.iter().all(|&probe| probe == 0.0)
    }

    /// Puts results of up to 16 channels into their planes.
    fn store(&self, results: &[Lanes], rows: &[(usize, usize)], planes: Planes, to: &mut [f32]) {
        let [height, width] = self.output;
        let mut results = results;
        // Those of one image at a time.
        for rows in rows.chunk_by(|(one, _), (other, _)| one == other) {
            let (image, first) = rows[0];
            let targets: Vec<usize> = (2 * first * width..height.min(2 * (first + rows.len())) * width).collect();
            let to = &mut to[(image * planes.all + planes.first) * planes.pixels..];
            to_planes(results, 1, &targets, planes.channels, planes.pixels, to);
            results = &results[rows.len() * 2 * width..];
        }
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
        // Copies are loads of whole registers; numbers one at a time would be loaded one at a time.
        let column = [*pixel(0, b), *pixel(1, b), *pixel(2, b), *pixel(3, b)];
        let column = column.each_ref();
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
        let column = [*product(b), *product(4 + b), *product(8 + b), *product(12 + b)];
        let column = column.each_ref();
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
