//! Images that have an attribute beside their class.

use crate::{DataError, Examples, Groups, Images};

/// `n` images of one size, 8 bits a channel, each with a class and an attribute.
///
/// Invariant: the labels of the images are the classes of the groups, in the same order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupedImages {
    images: Images,
    groups: Groups,
}

impl GroupedImages {
    /// Puts images and groups together.
    ///
    /// # Errors
    /// [`DataError::Setting`] when the groups are not those of the images: other labels, or names for another number of classes.
    pub fn new(images: Images, groups: Groups) -> Result<Self, DataError> {
        if groups.class_names().len() != images.classes() {
            return Err(DataError::setting(
                "number of class names",
                groups.class_names().len(),
                format!("must be {}, one for each class of the images", images.classes()),
            ));
        }
        if images.labels() != groups.labels() {
            return Err(DataError::setting(
                "labels of the groups",
                groups.len(),
                format!("must be the {} labels of the images, in their order", images.len()),
            ));
        }
        Ok(Self { images, groups })
    }

    /// The number of images.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one image")]
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Pixels and classes.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Class and attribute of each image.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The images at `indices`, in that order; an index may come twice.
    ///
    /// # Errors
    /// [`DataError::Empty`] without an index, [`DataError::Setting`] for an index past the end.
    pub fn select(&self, indices: &[usize]) -> Result<Self, DataError> {
        Self::new(self.images.select(indices)?, self.groups.select(indices)?)
    }

    /// BLAKE3 in hexadecimal over all pixels, then the classes, then the attributes, each of these as 4 little-endian bytes.
    pub fn checksum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.images.pixels());
        for values in [self.groups.labels(), self.groups.attributes()] {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        hasher.finalize().to_hex().to_string()
    }
}

impl Examples for GroupedImages {
    fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn classes(&self) -> usize {
        self.images.classes()
    }

    fn labels(&self) -> &[u32] {
        self.images.labels()
    }

    fn groups(&self) -> Option<&Groups> {
        Some(&self.groups)
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        self.images.read(rows, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped(labels: &[u32], class_names: &[&str]) -> Result<GroupedImages, DataError> {
        let images = Images::new([1, 1, 1], 2, vec![7, 8, 9], vec![0, 1, 1])?;
        let attributes = vec![0; labels.len()];
        GroupedImages::new(images, Groups::new(class_names.to_vec(), vec!["x"], labels.to_vec(), attributes)?)
    }

    #[test]
    fn rows_stay_together() {
        let set = grouped(&[0, 1, 1], &["a", "b"]).unwrap();
        let picked = set.select(&[2, 0]).unwrap();
        assert_eq!((picked.images().pixels(), picked.groups().labels()), (&[9, 7][..], &[1, 0][..]));
        let mut out = [0.0; 2];
        picked.read(&[1, 0], &mut out).unwrap();
        assert!((out[0] - 7.0 / 255.0).abs() < 1e-6 && (out[1] - 9.0 / 255.0).abs() < 1e-6, "{out:?}");
        assert_eq!(Examples::groups(&picked), Some(picked.groups()));
        assert_ne!(picked.checksum(), set.select(&[0, 2]).unwrap().checksum());
    }

    #[test]
    fn groups_of_other_images_are_refused() {
        let error = |labels, names| grouped(labels, names).unwrap_err();
        insta::assert_snapshot!(error(&[0, 0, 1], &["a", "b"]), @"labels of the groups = 3: must be the 3 labels of the images, in their order");
        insta::assert_snapshot!(error(&[0, 1, 1], &["a", "b", "c"]), @"number of class names = 3: must be 2, one for each class of the images");
    }
}
