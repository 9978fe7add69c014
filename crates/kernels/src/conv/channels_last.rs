//! Images with the channels of a pixel side by side, and back.

use crate::product::{LANES, Lanes, transposed};

/// Puts the channels of each pixel of an image side by side: `out[places[pixel] + channel] = planes[channel·pixels + pixel]`.
pub(crate) fn from_planes(planes: &[f32], channels: usize, places: &[usize], out: &mut [f32]) {
    let pixels = places.len();
    for first in (0..channels).step_by(LANES) {
        let width = LANES.min(channels - first);
        let planes = &planes[first * pixels..];
        for (start, places) in (0..pixels).step_by(LANES).zip(places.chunks(LANES)) {
            if width == LANES && places.len() == LANES {
                let square = transposed(std::array::from_fn(|channel| lanes_at(planes, channel * pixels + start)));
                for (&place, lanes) in places.iter().zip(&square) {
                    out[place + first..][..LANES].copy_from_slice(lanes);
                }
            } else {
                for (pixel, &place) in (start..).zip(places) {
                    for (channel, out) in out[place + first..][..width].iter_mut().enumerate() {
                        *out = planes[channel * pixels + pixel];
                    }
                }
            }
        }
    }
}

/// The way back for up to 16 channels: `planes[targets[i] + channel·pixels] = lanes[i·stride][channel]`.
pub(crate) fn to_planes(lanes: &[Lanes], stride: usize, targets: &[usize], channels: usize, pixels: usize, planes: &mut [f32]) {
    for (start, targets) in (0..).step_by(LANES).zip(targets.chunks(LANES)) {
        let first = targets[0];
        if targets.len() == LANES && targets.iter().zip(first..).all(|(&target, expected)| target == expected) {
            let square = transposed(std::array::from_fn(|pixel| &lanes[(start + pixel) * stride]));
            for (channel, row) in square[..channels].iter().enumerate() {
                planes[first + channel * pixels..][..LANES].copy_from_slice(row);
            }
        } else {
            for (lanes, &target) in lanes[start * stride..].iter().step_by(stride).zip(targets) {
                for (channel, &number) in lanes[..channels].iter().enumerate() {
                    planes[target + channel * pixels] = number;
                }
            }
        }
    }
}

/// The numbers from `start` on.
#[inline(always)]
pub(crate) fn lanes_at(numbers: &[f32], start: usize) -> &Lanes {
    // As long as what is cut off, so this cannot fail.
    numbers[start..].first_chunk().unwrap_or_else(|| panic!("{LANES} numbers from {start}"))
}
