//! Images as windows see them: with the channels of a pixel side by side, in a frame of zeros.

use crate::conv::channels_last::from_planes;
use crate::simd::LANES;

/// Some of the channels of images [N, channels, pixels].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Planes {
    /// Channels of an image.
    pub all: usize,
    /// The first channel that is meant.
    pub first: usize,
    /// Channels that are meant.
    pub channels: usize,
    /// Pixels of a channel.
    pub pixels: usize,
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
    /// Numbers in it.
    pub fn len(&self) -> usize {
        self.size[0] * self.size[1] * self.channels
    }

    /// Where the channels of a pixel of the frame begin.
    pub fn place(&self, row: usize, column: usize) -> usize {
        (row * self.size[1] + column) * self.channels
    }
}

/// How images become framed ones.
pub(crate) struct Source {
    pub planes: Planes,
    pub frame: Frame,
    /// Where each pixel goes.
    places: Vec<usize>,
}

impl Source {
    /// For images of h rows and w columns.
    pub fn new(planes: Planes, [h, w]: [usize; 2], frame: Frame) -> Self {
        let pixels = (0..h).flat_map(|y| (0..w).map(move |z| (y, z)));
        let places = pixels.map(|(y, z)| frame.place(y + frame.before[0], z + frame.before[1])).collect();
        Self { planes, frame, places }
    }

    /// Numbers of an image.
    pub fn image(&self) -> usize {
        self.planes.all * self.planes.pixels
    }

    /// Frames one after the other, and behind them zeros for whoever reads a few numbers too many.
    pub fn frames(&self, images: &[f32], out: &mut Vec<f32>) {
        let Self { planes, frame, places } = self;
        out.clear();
        out.resize(images.len() / self.image() * frame.len() + LANES, 0.0);
        for (image, out) in images.chunks_exact(self.image()).zip(out.chunks_exact_mut(frame.len())) {
            from_planes(&image[planes.first * planes.pixels..], planes.channels, places, out);
        }
    }
}

/// The positions in each of some images of one size.
pub(crate) fn repeated(positions: &[usize], images: usize, size: usize) -> Vec<usize> {
    (0..images).flat_map(|image| positions.iter().map(move |position| image * size + position)).collect()
}
