//! PNG images of 8 bits, one (grey) or three (RGB) channels, to and from planar pixels.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DeflateCompression, Encoder, Filter};

/// No data set here has larger sides; a damaged header must not ask for gigabytes.
pub(crate) const MAX_SIDE: u32 = 8192;

/// Shape (channels, height, width) and planar pixels of a PNG, or what is wrong with it.
pub(crate) fn decode(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), String> {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    let header = decoder.read_header_info().map_err(|e| e.to_string())?;
    let (width, height) = header.size();
    if width.max(height) > MAX_SIDE {
        return Err(format!("{width} × {height} pixels, more than {MAX_SIDE} on a side"));
    }
    let channels = match (header.color_type, header.bit_depth) {
        (ColorType::Grayscale, BitDepth::Eight) => 1,
        (ColorType::Rgb, BitDepth::Eight) => 3,
        (color, depth) => {
            return Err(format!("{color:?} with {} bits is not supported; grey or RGB with 8 bits is", depth as u8));
        }
    };
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let size = reader.output_buffer_size().ok_or("the image does not fit into memory")?;
    let mut interleaved = vec![0; size];
    reader.next_frame(&mut interleaved).map_err(|e| e.to_string())?;
    // Reads on to the end mark, so that a cut file is noticed.
    reader.finish().map_err(|e| e.to_string())?;
    let shape = [channels, height as usize, width as usize];
    Ok((shape, planar(interleaved, channels)))
}

/// A PNG whose pixels are stored, not deflated: it is meant for a compressed parquet column.
pub(crate) fn encode([channels, height, width]: [usize; 3], pixels: &[u8]) -> Result<Vec<u8>, String> {
    let side = |n: usize| u32::try_from(n).ok().filter(|&n| n <= MAX_SIDE).ok_or(format!("a side of {n} pixels"));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, side(width)?, side(height)?);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_color(match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        n => return Err(format!("{n} channels; 1 or 3 can be written")),
    });
    encoder.set_deflate_compression(DeflateCompression::NoCompression);
    encoder.set_filter(Filter::NoFilter);
    let mut writer = encoder.write_header().map_err(|e| e.to_string())?;
    writer.write_image_data(&interleaved(pixels, channels)).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())?;
    Ok(bytes)
}

/// Channel after channel, of pixels with their channels together.
pub(crate) fn planar(interleaved: Vec<u8>, channels: usize) -> Vec<u8> {
    if channels == 1 {
        return interleaved;
    }
    let plane = interleaved.len() / channels;
    let mut planar = vec![0; interleaved.len()];
    for (channel, plane) in planar.chunks_exact_mut(plane.max(1)).enumerate() {
        for (target, pixel) in plane.iter_mut().zip(interleaved.chunks_exact(channels)) {
            *target = pixel[channel];
        }
    }
    planar
}

fn interleaved(planar: &[u8], channels: usize) -> Vec<u8> {
    let plane = planar.len() / channels;
    (0..plane).flat_map(|i| planar.iter().copied().skip(i).step_by(plane)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(rgb: bool, height in 1usize..9, width in 1usize..9, seed: u8) {
            let shape = [if rgb { 3 } else { 1 }, height, width];
            let values = std::iter::successors(Some(seed), |v| Some(v.wrapping_add(37)));
            let pixels: Vec<u8> = values.take(shape.iter().product()).collect();
            let bytes = encode(shape, &pixels).unwrap();
            prop_assert_eq!(decode(&bytes).unwrap(), (shape, pixels));
            for cut in 0..bytes.len() {
                prop_assert!(decode(&bytes[..cut]).is_err(), "a PNG cut at {} of {} bytes was accepted", cut, bytes.len());
            }
        }
    }

    #[test]
    fn red_comes_first_and_planes_are_separate() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(ColorType::Rgb);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
        writer.finish().unwrap();
        assert_eq!(decode(&bytes).unwrap(), ([3, 1, 2], vec![1, 4, 2, 5, 3, 6]));
    }

    #[test]
    fn other_formats_are_named() {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(ColorType::Rgba);
        encoder.write_header().unwrap().write_image_data(&[0; 4]).unwrap();
        insta::assert_snapshot!(decode(&bytes).unwrap_err(), @"Rgba with 8 bits is not supported; grey or RGB with 8 bits is");
        assert!(decode(b"\xff\xd8\xff\xe0 a JPEG").is_err());
        assert!(encode([2, 1, 1], &[0, 0]).is_err());
    }
}
