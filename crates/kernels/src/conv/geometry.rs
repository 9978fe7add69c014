//! Convolutions and the gradients of their inputs as correlations.

use crate::conv::correlation::{Class, Correlation, Planes};
use crate::conv::sizes::Sizes;
use crate::conv::winograd::Winograd;
use crate::product::{Panels, Piece, blocks};

/// Channels from which the transformations are worth it.
const WINOGRAD: usize = 16;

impl Sizes {
    /// The channels of a group in x.
    pub fn inputs_of(&self, group: usize) -> Planes {
        let [h, w] = self.input;
        Planes { all: self.groups * self.inputs, first: group * self.inputs, channels: self.inputs, pixels: h * w }
    }

    /// The channels of a group in the result.
    pub fn outputs_of(&self, group: usize) -> Planes {
        let [h, w] = self.output;
        Planes { all: self.groups * self.outputs, first: group * self.outputs, channels: self.outputs, pixels: h * w }
    }

    /// The weights of a group.
    pub fn weights_of<'a>(&self, weight: &'a [f32], group: usize) -> &'a [f32] {
        let size = self.outputs * self.inputs * self.kernel[0] * self.kernel[1];
        &weight[group * size..][..size]
    }

    /// The frame that all windows of x fit into, its top and left being the padding.
    pub fn frame(&self) -> Frame {
        let size = |index: usize| {
            let seen = (self.output[index] - 1) * self.stride + self.kernel[index];
            seen.max(self.input[index] + self.padding)
        };
        Frame { before: [self.padding; 2], size: [size(0), size(1)], channels: self.inputs }
    }

    /// Where the window of each pixel of the result begins in the frame.
    pub fn windows(&self) -> Vec<usize> {
        let (frame, [rows, columns]) = (self.frame(), self.output);
        let places = (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j)));
        places.map(|(i, j)| frame.place(i * self.stride, j * self.stride)).collect()
    }

    /// The convolution of one group.
    pub fn forward(&self, weight: &[f32], group: usize) -> Correlation {
        let ([kh, kw], frame) = (self.kernel, self.frame());
        let pieces = (0..kh).map(|a| Piece { start: frame.place(a, 0), length: kw * self.inputs });
        let taps = (0..kh).flat_map(|a| (0..kw).map(move |b| a * kw + b));
        let weight_places: Vec<usize> = taps.flat_map(|tap| (0..self.inputs).map(move |c| c * kh * kw + tap)).collect();
        let mut weights = Panels::new();
        weights.gather(self.weights_of(weight, group), self.outputs, self.inputs * kh * kw, &weight_places);
        let to = self.outputs_of(group);
        Correlation {
            from: self.inputs_of(group),
            places: frame.places(self.input),
            framed: frame.len(),
            to,
            classes: vec![Class { windows: self.windows(), targets: (0..to.pixels).collect(), blocks: blocks(pieces), weights }],
        }
    }

    /// [`Sizes::forward`] and [`Sizes::input_gradient`] by another way, where it is faster.
    pub fn winograd(&self, weight: &[f32], group: usize, forward: bool) -> Option<Winograd> {
        let least = self.inputs.min(self.outputs);
        if self.kernel != [3, 3] || self.stride != 1 || least < WINOGRAD {
            return None;
        }
        let weight = self.weights_of(weight, group);
        let (x, y) = ((self.inputs_of(group), self.input), (self.outputs_of(group), self.output));
        // The gradient is a convolution with the weights turned around, of as many pixels more as the padding leaves out.
        let (((from, input), (to, output)), first, taps) =
            if forward { ((x, y), 0, [0, 1, 2, 3, 4, 5, 6, 7, 8]) } else { ((y, x), self.padding, [8, 7, 6, 5, 4, 3, 2, 1, 0]) };
        let before = if forward { self.padding } else { 2 };
        let size = |index: usize| (before + input[index]).max(first + output[index].next_multiple_of(2) + 2);
        let (column, row) = if forward { (9, 9 * self.inputs) } else { (9 * self.inputs, 9) };
        let places: Vec<usize> = (0..from.channels).map(|channel| channel * column).collect();
        Some(Winograd {
            from,
            to,
            frame: Frame { before: [before; 2], size: [size(0), size(1)], channels: from.channels },
            input,
            output,
            first,
            weights: Winograd::weights(weight, to.channels, row, &places, taps),
        })
    }

    /// The gradient of the input of one group, from that of the result:
    /// x'[c, y, z] = Σ_{o, a, b} w[o, c, a, b]·g[o, i, j] over the places with s·i + a − p = y and s·j + b − p = z.
    ///
    /// Pixels with the same remainders of y + p and z + p by s have the same taps: those with these remainders.
    pub fn input_gradient(&self, weight: &[f32], group: usize) -> Correlation {
        let ([h, w], [kh, kw], s) = (self.input, self.kernel, self.stride);
        // Windows begin as many places before (y + p)/s as there are taps before the last one.
        let before = self.kernel.map(|kernel| (kernel - 1) / s);
        let size = |index: usize| before[index] + self.output[index].max((self.input[index] - 1 + self.padding) / s + 1);
        let frame = Frame { before, size: [size(0), size(1)], channels: self.outputs };
        let mut classes = Vec::new();
        for (rest_y, rest_z) in (0..s.min(kh)).flat_map(|y| (0..s.min(kw)).map(move |z| (y, z))) {
            let along = |size: usize, rest: usize| (0..size).filter(move |y| (y + self.padding) % s == rest);
            let pixels = || along(h, rest_y).flat_map(move |y| along(w, rest_z).map(move |z| (y, z)));
            // The last tap meets the first place of the window.
            let taps = |kernel: usize, rest: usize| (rest..kernel).step_by(s).rev();
            let (rows, columns) = (taps(kh, rest_y), taps(kw, rest_z));
            let (first_y, first_z) = (before[0] + 1 - rows.len(), before[1] + 1 - columns.len());
            let window = |(y, z): (usize, usize)| frame.place((y + self.padding) / s + first_y, (z + self.padding) / s + first_z);
            let pieces = (0..rows.len()).map(|row| Piece { start: frame.place(row, 0), length: columns.len() * self.outputs });
            let all = rows.clone().flat_map(|a| columns.clone().map(move |b| a * kw + b));
            let places: Vec<usize> =
                all.flat_map(|tap| (0..self.outputs).map(move |o| o * self.inputs * kh * kw + tap)).collect();
            let mut weights = Panels::new();
            weights.gather(self.weights_of(weight, group), self.inputs, kh * kw, &places);
            classes.push(Class {
                windows: pixels().map(window).collect(),
                targets: pixels().map(|(y, z)| y * w + z).collect(),
                blocks: blocks(pieces),
                weights,
            });
        }
        Correlation {
            from: self.outputs_of(group),
            places: frame.places(self.output),
            framed: frame.len(),
            to: self.inputs_of(group),
            classes,
        }
    }
}

/// An image with channels last and with room around.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Rows above and columns to the left of the image.
    pub before: [usize; 2],
    /// Rows and columns with the room.
    pub size: [usize; 2],
    pub channels: usize,
}

impl Frame {
    pub fn len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// Where the channels of a pixel of the frame begin.
    pub fn place(&self, row: usize, column: usize) -> usize {
        (row * self.size[1] + column) * self.channels
    }

    /// Where the pixels of an image of some size go.
    pub fn places(&self, [h, w]: [usize; 2]) -> Vec<usize> {
        let pixels = (0..h).flat_map(|y| (0..w).map(move |z| (y, z)));
        pixels.map(|(y, z)| self.place(y + self.before[0], z + self.before[1])).collect()
    }
}
