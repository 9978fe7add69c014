//! The IDX format of the original MNIST files.
//!
//! Two zero bytes, a type code (0x08: unsigned byte), the number of dimensions, each dimension as a 4-byte big-endian integer,
//! then the values, last dimension fastest ("The MNIST database", section "File formats for the MNIST database").

use crate::DataError;

/// Reads an IDX file of grey images (type 0x08, three dimensions): (count, height, width) and the pixels. `name` is for the error.
///
/// # Errors
/// [`DataError::Idx`] when a header field or the length is not exactly right.
pub fn parse_idx_images<'a>(bytes: &'a [u8], name: &str) -> Result<([usize; 3], &'a [u8]), DataError> {
    parse(bytes, name, "images")
}

/// Reads an IDX file of labels (type 0x08, one dimension). `name` is for the error.
///
/// # Errors
/// [`DataError::Idx`] when a header field or the length is not exactly right.
pub fn parse_idx_labels<'a>(bytes: &'a [u8], name: &str) -> Result<&'a [u8], DataError> {
    parse::<1>(bytes, name, "labels").map(|(_, labels)| labels)
}

fn parse<'a, const D: usize>(bytes: &'a [u8], name: &str, expected: &'static str) -> Result<([usize; D], &'a [u8]), DataError> {
    let error = |reason| DataError::Idx { name: name.to_owned(), expected, reason };
    let Some((&[z0, z1, kind, dims], mut rest)) = bytes.split_first_chunk::<4>() else {
        return Err(error(format!("{} bytes are too short for a header", bytes.len())));
    };
    if [z0, z1] == [0x1f, 0x8b] {
        return Err(error("it is compressed with gzip\nhint: run gunzip on it first".to_owned()));
    }
    if [z0, z1] != [0, 0] {
        return Err(error(format!("it starts with {z0:#04x} {z1:#04x} instead of two zero bytes")));
    }
    if kind != 0x08 {
        return Err(error(format!("type code {kind:#04x} instead of 0x08, unsigned byte")));
    }
    if usize::from(dims) != D {
        return Err(error(format!("{dims} dimensions instead of {D}")));
    }
    let mut shape = [0; D];
    for side in &mut shape {
        let Some((field, tail)) = rest.split_first_chunk::<4>() else {
            return Err(error(format!("{} bytes are too short for {D} dimensions", bytes.len())));
        };
        *side = u32::from_be_bytes(*field) as usize;
        rest = tail;
    }
    let size = shape.iter().try_fold(1usize, |n, &side| n.checked_mul(side));
    if size != Some(rest.len()) {
        return Err(error(format!("the header says {shape:?}, but {} bytes follow", rest.len())));
    }
    Ok((shape, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [u8; 10] = [0, 0, 8, 1, 0, 0, 0, 2, 7, 9];
    const IMAGES: [u8; 18] = [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 5, 6];

    #[test]
    fn reads_exact_files() {
        assert_eq!(parse_idx_labels(&LABELS, "l").unwrap(), [7, 9]);
        assert_eq!(parse_idx_images(&IMAGES, "i").unwrap(), ([1, 1, 2], &[5, 6][..]));
    }

    #[test]
    fn every_truncation_and_extension_is_an_error() {
        for cut in 0..IMAGES.len() {
            assert!(parse_idx_images(&IMAGES[..cut], "i").is_err(), "cut at {cut}");
        }
        assert!(parse_idx_labels(&[&LABELS[..], &[0]].concat(), "l").is_err());
    }

    #[test]
    fn errors_name_the_broken_rule() {
        let with = |at: usize, value: u8| {
            let mut bytes = LABELS;
            bytes[at] = value;
            parse_idx_labels(&bytes, "train-labels").unwrap_err()
        };
        insta::assert_snapshot!(with(0, 1), @"train-labels: not an IDX file of labels: it starts with 0x01 0x00 instead of two zero bytes");
        insta::assert_snapshot!(with(2, 0x0d), @"train-labels: not an IDX file of labels: type code 0x0d instead of 0x08, unsigned byte");
        insta::assert_snapshot!(with(3, 3), @"train-labels: not an IDX file of labels: 3 dimensions instead of 1");
        insta::assert_snapshot!(with(7, 3), @"train-labels: not an IDX file of labels: the header says [3], but 2 bytes follow");
        insta::assert_snapshot!(parse_idx_labels(&[0x1f, 0x8b, 8, 0, 0], "x.gz").unwrap_err(), @r"
        x.gz: not an IDX file of labels: it is compressed with gzip
        hint: run gunzip on it first
        ");
    }
}
