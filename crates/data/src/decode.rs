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
/// PNG decodes to the stored pixels. JPEG decoders may round differently, by one or two steps of 255 in a pixel; this one is
/// `zune-jpeg`.
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
pub(crate) struct Pixels<'a> {
    column: &'a str,
    /// The shape that all images have, and why.
    shape: Option<([usize; 3], String)>,
    /// How many images there will be.
    rows: usize,
    pixels: Vec<u8>,
}

impl<'a> Pixels<'a> {
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
                    column: self.column.to_owned(),
                    expected,
                    found,
                    like: like.clone(),
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
