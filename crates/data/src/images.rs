//! Labelled 8-bit images of one size.

use crate::DataError;

/// `n` labelled images of one size, 8 bits a channel.
///
/// Invariants: `n ≥ 1`; `pixels` has `n · channels · height · width` bytes, image after image, each planar (channel, row, column);
/// every label is below `classes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    shape: [usize; 3],
    classes: usize,
    pixels: Vec<u8>,
    labels: Vec<u32>,
}

impl Images {
    /// Images of `shape` = (channels, height, width) with one label each.
    ///
    /// # Errors
    /// [`DataError::Empty`] without labels, [`DataError::Label`] for a label that is not below `classes`, [`DataError::Setting`]
    /// when a side is 0 or the number of pixels does not fit.
    pub fn new(shape: [usize; 3], classes: usize, pixels: Vec<u8>, labels: Vec<u32>) -> Result<Self, DataError> {
        check_labels("images", &labels, classes)?;
        let size = shape.iter().try_fold(labels.len(), |n, &side| n.checked_mul(side));
        if size == Some(0) {
            return Err(DataError::setting("shape", shape, "channels, height and width must be positive"));
        }
        if size != Some(pixels.len()) {
            return Err(DataError::setting(
                "number of pixels",
                pixels.len(),
                format!("must be {} images × {shape:?}", labels.len()),
            ));
        }
        Ok(Self { shape, classes, pixels, labels })
    }

    /// The number of images.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one image")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Channels, height and width of each image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of values of one image: channels × height × width.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// The number of classes, present or not.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All pixels, `n × channels × height × width`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The pixels of image `index`, planar, or `None` past the end.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        self.pixels.chunks_exact(self.dim()).nth(index)
    }

    /// The class of each image.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The number of images of each class.
    pub fn class_counts(&self) -> Vec<usize> {
        count_classes(&self.labels, self.classes)
    }

    /// The pixels as numbers in [0, 1], `pixel / 255`, in the same order.
    pub fn to_f32(&self) -> Vec<f32> {
        self.pixels.iter().map(|&p| f32::from(p) / 255.0).collect()
    }

    /// BLAKE3 in hexadecimal over all pixels, then the labels, each of these as 4 little-endian bytes.
    pub fn checksum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.pixels);
        let labels: Vec<u8> = self.labels.iter().flat_map(|label| label.to_le_bytes()).collect();
        hasher.update(&labels);
        hasher.finalize().to_hex().to_string()
    }

    /// The images at `indices`, in that order; an index may come twice.
    ///
    /// # Errors
    /// [`DataError::Empty`] without an index, [`DataError::Setting`] for an index past the end.
    pub fn select(&self, indices: &[usize]) -> Result<Self, DataError> {
        let dim = self.dim();
        let mut pixels = Vec::with_capacity(indices.len() * dim);
        let mut labels = Vec::with_capacity(indices.len());
        for &i in indices {
            let (Some(image), Some(&label)) = (self.image(i), self.labels.get(i)) else {
                return Err(DataError::setting("index", i, format!("must be below {}", self.len())));
            };
            pixels.extend_from_slice(image);
            labels.push(label);
        }
        Self::new(self.shape, self.classes, pixels, labels)
    }
}

/// At least one label, each below `classes`.
pub(crate) fn check_labels(name: &str, labels: &[u32], classes: usize) -> Result<(), DataError> {
    if labels.is_empty() {
        return Err(DataError::Empty { name: name.to_owned() });
    }
    match labels.iter().position(|&l| l as usize >= classes) {
        None => Ok(()),
        Some(row) => {
            let label = i64::from(labels[row]);
            Err(DataError::Label { name: name.to_owned(), row, column: "label".to_owned(), label, classes })
        }
    }
}

pub(crate) fn count_classes(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    for &label in labels {
        counts[label as usize] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Images {
        Images::new([1, 1, 2], 3, vec![0, 51, 102, 153, 204, 255], vec![2, 0, 2]).unwrap()
    }

    #[test]
    fn holds_what_it_was_given() {
        let images = three();
        assert_eq!((images.len(), images.dim(), images.class_counts()), (3, 2, vec![1, 0, 2]));
        assert_eq!(images.image(1), Some(&[102, 153][..]));
        assert_eq!(images.image(3), None);
        assert_eq!(images.to_f32()[..3], [0.0, 0.2, 0.4]);
        let picked = images.select(&[2, 0]).unwrap();
        assert_eq!(picked.pixels(), [204, 255, 0, 51]);
        assert_eq!(picked.labels(), [2, 2]);
    }

    #[test]
    fn refuses_what_breaks_the_invariants() {
        let new = |shape, pixels: usize, labels| Images::new(shape, 2, vec![0; pixels], labels).unwrap_err();
        insta::assert_snapshot!(new([1, 1, 1], 2, vec![0, 2]), @"images: row 1: label 2 is outside 0..2");
        insta::assert_snapshot!(new([1, 1, 1], 0, vec![]), @"images: no rows; a data set needs at least one");
        insta::assert_snapshot!(new([1, 0, 1], 0, vec![0]), @"shape = [1, 0, 1]: channels, height and width must be positive");
        insta::assert_snapshot!(new([1, 2, 2], 3, vec![0]), @"number of pixels = 3: must be 1 images × [1, 2, 2]");
        new([1, usize::MAX, 2], 3, vec![0]);
        insta::assert_snapshot!(three().select(&[3]).unwrap_err(), @"index = 3: must be below 3");
    }
}
