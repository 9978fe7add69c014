//! Where the windows of a convolution lie, and those of the gradient of its input.

use crate::conv::sizes::Sizes;
use crate::conv::source::{Frame, Planes, Source};
use crate::conv::winograd::Winograd;

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

    /// A convolution of one group.
    pub fn forward(&self, group: usize) -> Geometry {
        let ([kh, kw], [rows, columns]) = (self.kernel, self.output);
        Geometry {
            from: self.inputs_of(group),
            input: self.input,
            frame: self.frame(),
            to: self.outputs_of(group),
            columns,
            step: self.stride,
            classes: vec![Class {
                pixels: [(0..rows).collect(), (0..columns).collect()],
                first: [0, 0],
                taps: [(0..kh).collect(), (0..kw).collect()],
            }],
            weights: WeightStrides { to: self.inputs * kh * kw, from: kh * kw, row: kw },
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
    pub fn input_gradient(&self, group: usize) -> Geometry {
        let ([_, w], [kh, kw], s) = (self.input, self.kernel, self.stride);
        // Windows begin as many places before (y + p)/s as there are taps before the last one.
        let before = self.kernel.map(|kernel| (kernel - 1) / s);
        let size = |index: usize| before[index] + self.output[index].max((self.input[index] - 1 + self.padding) / s + 1);
        // Pixels, the first place of the first window, and taps along one axis.
        let along = |axis: usize, rest: usize| {
            let pixels: Vec<usize> = (0..self.input[axis]).filter(|y| (y + self.padding) % s == rest).collect();
            // The last tap meets the first place of the window.
            let taps: Vec<usize> = (rest..self.kernel[axis]).step_by(s).rev().collect();
            let first = pixels.first().map_or(0, |y| (y + self.padding) / s + before[axis] + 1 - taps.len());
            (pixels, first, taps)
        };
        let rests = (0..s.min(kh)).flat_map(|y| (0..s.min(kw)).map(move |z| (y, z)));
        let classes = rests.map(|(rest_y, rest_z)| {
            let ((ys, first_y, rows), (zs, first_z, columns)) = (along(0, rest_y), along(1, rest_z));
            Class { pixels: [ys, zs], first: [first_y, first_z], taps: [rows, columns] }
        });
        Geometry {
            from: self.outputs_of(group),
            input: self.output,
            frame: Frame { before, size: [size(0), size(1)], channels: self.outputs },
            to: self.inputs_of(group),
            columns: w,
            step: 1,
            classes: classes.collect(),
            weights: WeightStrides { to: kh * kw, from: self.inputs * kh * kw, row: kw },
        }
    }
}

/// What a convolution and the gradient of its input have in common: sums over windows of framed images.
pub(crate) struct Geometry {
    pub from: Planes,
    /// Rows and columns of a plane of `from`.
    pub input: [usize; 2],
    pub frame: Frame,
    pub to: Planes,
    /// Columns of a plane of `to`.
    pub columns: usize,
    /// Places in the frame from the window of a pixel to that of the next one of its class.
    pub step: usize,
    pub classes: Vec<Class>,
    pub weights: WeightStrides,
}

/// Pixels of the result that weigh their windows alike.
pub(crate) struct Class {
    /// Their rows and columns in the result.
    pub pixels: [Vec<usize>; 2],
    /// The row and column of the frame where the window of the first one begins.
    pub first: [usize; 2],
    /// For each row and each column of the window, that of the weights.
    pub taps: [Vec<usize>; 2],
}

/// Distances between weights.
pub(crate) struct WeightStrides {
    /// From one channel of the result to the next.
    pub to: usize,
    /// From one channel of the source to the next.
    pub from: usize,
    /// From one row of a filter to the next.
    pub row: usize,
}

impl Geometry {
    /// Where the weights of a class are for the first channel of the result: by rows and columns of the window and channels of
    /// the source.
    pub fn weight_places(&self, class: &Class) -> Vec<usize> {
        let WeightStrides { from, row, .. } = self.weights;
        let taps = class.taps[0].iter().flat_map(|a| class.taps[1].iter().map(move |b| a * row + b));
        taps.flat_map(|tap| (0..self.frame.channels).map(move |channel| channel * from + tap)).collect()
    }
}
