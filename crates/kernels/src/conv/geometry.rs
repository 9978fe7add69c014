//! Convolutions and the gradients of their inputs as correlations.

use crate::conv::correlation::{Class, Correlation};
use crate::conv::sizes::Sizes;
use crate::conv::source::{Frame, Planes, Source};
use crate::conv::winograd::Winograd;
use crate::product::{Panels, Piece, blocks};

/// Channels from which the transformations are worth it.
const WINOGRAD: usize = 32;

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

    /// The channels of a group in x, in a frame that all windows fit into. Its top and left are the padding.
    pub fn source(&self, group: usize) -> Source {
        Source::new(self.inputs_of(group), self.input, self.frame())
    }

    fn frame(&self) -> Frame {
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
            from: self.source(group),
            to,
            classes: vec![Class { windows: self.windows(), targets: (0..to.pixels).collect(), blocks: blocks(pieces), weights }],
        }
    }

    /// [`Sizes::forward`] by another way, where it is faster.
    pub fn fast_forward(&self, weight: &[f32], group: usize) -> Option<Winograd> {
        let taps = [0, 1, 2, 3, 4, 5, 6, 7, 8];
        self.is_fast().then(|| {
            let places: Vec<usize> = (0..self.inputs).map(|c| c * taps.len()).collect();
            let weights =
                Winograd::weights(self.weights_of(weight, group), self.outputs, self.inputs * taps.len(), &places, taps);
            let (x, y) = ((self.inputs_of(group), self.input), (self.outputs_of(group), self.output));
            Winograd::new(x, y, [self.padding, 0], weights)
        })
    }

    /// [`Sizes::input_gradient`] by another way, where it is faster: it is a convolution with the weights turned around.
    pub fn fast_input_gradient(&self, weight: &[f32], group: usize) -> Option<Winograd> {
        let taps = [8, 7, 6, 5, 4, 3, 2, 1, 0];
        self.is_fast().then(|| {
            let places: Vec<usize> = (0..self.outputs).map(|o| o * self.inputs * taps.len()).collect();
            let weights = Winograd::weights(self.weights_of(weight, group), self.inputs, taps.len(), &places, taps);
            let (x, y) = ((self.inputs_of(group), self.input), (self.outputs_of(group), self.output));
            // The first pixel of x is seen by as many places as there are rows of weights, less those that the padding has.
            Winograd::new(y, x, [2, self.padding], weights)
        })
    }

    fn is_fast(&self) -> bool {
        self.kernel == [3, 3] && self.stride == 1 && self.inputs.min(self.outputs) >= WINOGRAD
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
        Correlation { from: Source::new(self.outputs_of(group), self.output, frame), to: self.inputs_of(group), classes }
    }
}
