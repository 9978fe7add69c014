//! Images with the channels of a pixel side by side, and back.

use crate::product::{Lanes, transpose};
use crate::simd::{HALF, LANES};

/// Channels from which turning blocks of 16 pixels around is faster than moving one number at a time.
const FEW: usize = 4;

/// Puts the channels of each pixel of an image side by side: `out[places[pixel] + channel] = planes[channel·pixels + pixel]`.
pub(crate) fn from_planes(planes: &[f32], channels: usize, places: &[usize], out: &mut [f32]) {
    match channels {
        ..=HALF => from_some::<HALF>(planes, channels, places, out),
        _ => from_some::<LANES>(planes, channels, places, out),
    }
}

/// W channels at a time.
#[inline(always)]
fn from_some<const W: usize>(planes: &[f32], channels: usize, places: &[usize], out: &mut [f32]) {
    let pixels = places.len();
    for first in (0..channels).step_by(W) {
        let width = W.min(channels - first);
        let planes = &planes[first * pixels..];
        let mut block = [[0.0; W]; LANES];
        for (start, places) in (0..pixels).step_by(LANES).zip(places.chunks(LANES)) {
            if width >= FEW && places.len() == LANES {
                let row = |channel| if channel < width { lanes_at(planes, channel * pixels + start) } else { &[0.0; LANES] };
                transpose::<W, LANES>(&std::array::from_fn(row), &mut block);
                // A copy of a length that is known is an instruction or two.
                for (&place, lanes) in places.iter().zip(&block) {
                    match width {
                        FEW => out[place + first..][..FEW].copy_from_slice(&lanes[..FEW]),
                        _ if width == W => out[place + first..][..W].copy_from_slice(lanes),
                        _ => out[place + first..].iter_mut().zip(&lanes[..width]).for_each(|(out, number)| *out = *number),
                    }
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

/// The way back for up to W channels: `planes[targets[i] + channel·pixels] = lanes[i·stride][channel]`.
pub(crate) fn to_planes<const W: usize>(
    lanes: &[Lanes<W>],
    stride: usize,
    targets: &[usize],
    channels: usize,
    pixels: usize,
    planes: &mut [f32],
) {
    let mut block = [[0.0; LANES]; W];
    for (start, targets) in (0..).step_by(LANES).zip(targets.chunks(LANES)) {
        let first = targets[0];
        if targets.len() == LANES && targets.iter().zip(first..).all(|(&target, expected)| target == expected) {
            transpose::<LANES, W>(&std::array::from_fn(|pixel| &lanes[(start + pixel) * stride]), &mut block);
            for (channel, row) in block[..channels].iter().enumerate() {
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
