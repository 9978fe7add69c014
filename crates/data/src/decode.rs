//! Images as they are in the files: PNG or JPEG.

use std::io::Cursor;

use image::codecs::jpeg::JpegDecoder;
use image::{ColorType, ImageDecoder};
use rayon::prelude::*;

use crate::block::Block;
use crate::png::{MAX_SIDE, planar};
use crate::{DataError, png};

/// How many rows are decoded together: enough for every thread, few enough to hold.
pub(crate) const ROWS_AT_ONCE: usize = 1024;

/// Shape (channels, height, width) and planar pixels of a PNG or JPEG of 8 bits, grey or RGB, or what is wrong with it.
///
/// PNG decodes to the stored pixels. JPEG decoders differ: this one, `zune-jpeg`, is within 3 (of 255) of libjpeg-turbo, which
/// Pillow uses, and within 12 at edges of colour where a file halves its colour planes (4:2:0), on the pictures that the tests have.
pub(crate) fn decode(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), String> {
    match bytes {
        [0xff, 0xd8, ..] => decode_jpeg(bytes),
        [] => Err("it has no bytes".to_owned()),
        // Of two formats the message of this decoder is as good as any.
        _ => png::decode(bytes),
    }
}

fn decode_jpeg(bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), String> {
    // The decoder makes up what is missing at the end. Some writers append zeros to the end mark.
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if !bytes[..end].ends_with(&[0xff, 0xd9]) {
        return Err("a JPEG without its end mark".to_owned());
    }
    let decoder = JpegDecoder::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    if width.min(height) == 0 {
        return Err(format!("{width} × {height} pixels"));
    }
    if width.max(height) > MAX_SIDE {
        return Err(format!("{width} × {height} pixels, more than {MAX_SIDE} on a side"));
    }
    let channels = match decoder.color_type() {
        ColorType::L8 => 1,
        ColorType::Rgb8 => 3,
        other => return Err(format!("a JPEG of type {other:?}; grey or RGB with 8 bits is supported")),
    };
    let (width, height) = (width as usize, height as usize);
    let mut interleaved = vec![0; width * height * channels];
    decoder.read_image(&mut interleaved).map_err(|e| e.to_string())?;
    Ok(([channels, height, width], planar(interleaved, channels)))
}

/// All pixels of images of one size, growing block by block.
pub(crate) struct Decoded<'a> {
    column: &'a str,
    /// The shape that all images have, and why.
    shape: Option<([usize; 3], String)>,
    /// How many images there will be.
    rows: usize,
    pixels: Vec<u8>,
}

impl<'a> Decoded<'a> {
    /// For about `rows` images in `column`, of a known shape (and why it is known) or of that of the first one.
    pub(crate) fn new(column: &'a str, shape: Option<([usize; 3], String)>, rows: usize) -> Self {
        Self { column, shape, rows, pixels: Vec::new() }
    }

    /// Decodes the images in column `index` of a block, in parallel.
    pub(crate) fn decode(&mut self, block: &Block, index: usize) -> Result<(), DataError> {
        let files = block.images(index)?;
        let decode = |i: usize| {
            decode(files[i]).map_err(|reason| DataError::Image {
                name: block.file.clone(),
                row: block.row(i),
                column: self.column.to_owned(),
                reason,
            })
        };
        let (expected, like) = if let Some(shape) = &self.shape {
            shape.clone()
        } else {
            let shape = (decode(0)?.0, format!("row {}", block.row(0)));
            self.shape.insert(shape).clone()
        };
        let dim: usize = expected.iter().product();
        let before = self.pixels.len();
        if before == 0 {
            // A damaged file may announce more rows than it has; then the memory is not there, and not needed.
            let _ = self.pixels.try_reserve_exact(self.rows.saturating_mul(dim));
        }
        self.pixels.resize(before + files.len() * dim, 0);
        let errors: Vec<DataError> = self.pixels[before..]
            .par_chunks_exact_mut(dim)
            .enumerate()
            .filter_map(|(i, target)| match decode(i) {
                Ok((found, image)) if found == expected => {
                    target.copy_from_slice(&image);
                    None
                }
                Ok((found, _)) => Some(DataError::ImageShape {
                    name: block.file.clone(),
                    row: block.row(i),
                    column: self.column.into(),
                    expected,
                    found,
                    like: like.clone().into(),
                }),
                Err(error) => Some(error),
            })
            .collect();
        // Not the first error to happen but the first row that has one, so that the message is the same every time.
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// The shape of each image and the pixels of all, or `None` if there are none.
    pub(crate) fn finish(self) -> Option<([usize; 3], Vec<u8>)> {
        self.shape.filter(|_| !self.pixels.is_empty()).map(|(shape, _)| (shape, self.pixels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pillow(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/pillow/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Largest and mean difference from what Pillow (libjpeg-turbo) decodes.
    fn difference(name: &str) -> (u8, f64) {
        let (shape, ours) = decode(&pillow(&format!("rings-{name}.jpg"))).unwrap();
        let (same, theirs) = decode(&pillow(&format!("rings-{name}.png"))).unwrap();
        assert_eq!(shape, same);
        let differences: Vec<u8> = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).collect();
        let mean = differences.iter().map(|&d| f64::from(d)).sum::<f64>() / differences.len() as f64;
        (differences.into_iter().max().unwrap(), mean)
    }

    #[test]
    fn jpeg_agrees_with_libjpeg_up_to_rounding() {
        // Rounding in the cosine transform and in the colour conversion, of which zune-jpeg's is coarser.
        for name in ["444", "progressive"] {
            let (most, mean) = difference(name);
            assert!(most <= 3 && mean < 0.1, "{name}: {most}, {mean}");
        }
        let (most, mean) = difference("grey");
        assert!(most <= 1 && mean < 0.05, "grey: {most}, {mean}");
        // Halved colour planes are also interpolated in another way, which shows at edges.
        let (most, mean) = difference("420");
        assert!(most <= 12 && mean < 1.0, "420: {most}, {mean}");
    }

    #[test]
    fn cut_and_foreign_files_are_refused() {
        let jpeg = pillow("rings-444.jpg");
        for cut in 0..jpeg.len() {
            assert!(decode(&jpeg[..cut]).is_err(), "a JPEG cut at {cut} of {} bytes was accepted", jpeg.len());
        }
        assert_eq!(decode(&[&jpeg[..], &[0; 3]].concat()), decode(&jpeg), "zeros after the end mark do no harm");
        insta::assert_snapshot!(decode(b"").unwrap_err(), @"it has no bytes");
        insta::assert_snapshot!(decode(b"GIF89a").unwrap_err(), @"Invalid PNG signature.");
        insta::assert_snapshot!(decode(b"\xff\xd8 \xff\xd9").unwrap_err());
    }

    #[test]
    fn damaged_jpeg_never_panics() {
        let jpeg = pillow("rings-420.jpg");
        for at in 0..jpeg.len() {
            for change in [jpeg[at] ^ 1, jpeg[at] ^ 0x80, 0, 255] {
                let mut damaged = jpeg.clone();
                damaged[at] = change;
                let _ = decode(&damaged);
            }
        }
    }
}
