//! What a training loop asks of a data set.

use crate::{ColoredImages, DataError, Groups, Images};

/// Labelled images whose pixels are read on demand: in memory, decoded when asked for, or computed.
///
/// Invariants, which every implementation keeps: `labels().len() == len() ≥ 1`; every label is below `classes()`; the groups, where
/// there are any, have the same rows and the same labels; reading a row gives the same bytes every time.
///
/// ```
/// use isorate_data::{Examples, Split, mnist};
/// let images = mnist().load(Split::Test)?;
/// let mut two = vec![0.0; 2 * Examples::dim(&images)];
/// images.read(&[3, 0], &mut two)?;
/// assert_eq!(two[784..], images.to_f32()[..784]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
#[allow(clippy::len_without_is_empty, reason = "there is always at least one image")]
pub trait Examples: Sync {
    /// The number of images, at least 1.
    fn len(&self) -> usize {
        self.labels().len()
    }

    /// Channels, height and width of each image as [`read`](Self::read) gives it.
    fn shape(&self) -> [usize; 3];

    /// The number of values of one image: channels × height × width.
    fn dim(&self) -> usize {
        self.shape().iter().product()
    }

    /// The number of classes, present or not.
    fn classes(&self) -> usize;

    /// The class of each image.
    fn labels(&self) -> &[u32];

    /// Class and attribute of each image, or `None` for a set without an attribute.
    fn groups(&self) -> Option<&Groups> {
        None
    }

    /// Writes the images at `rows`, in that order, to `out`: `rows.len() × channels × height × width` values in [0, 1]. A row may
    /// come twice.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a row past the end or an `out` of another length; what reading a file can raise, where the
    /// pixels are in a file. What `out` holds after an error is not specified.
    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError>;
}

impl Examples for Images {
    fn shape(&self) -> [usize; 3] {
        self.shape()
    }

    fn classes(&self) -> usize {
        self.classes()
    }

    fn labels(&self) -> &[u32] {
        self.labels()
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        check_read(self, rows, out)?;
        for (&row, target) in rows.iter().zip(out.chunks_exact_mut(self.dim())) {
            to_unit(&self.pixels()[row * self.dim()..][..self.dim()], target);
        }
        Ok(())
    }
}

impl Examples for ColoredImages {
    fn shape(&self) -> [usize; 3] {
        self.shape()
    }

    fn classes(&self) -> usize {
        self.classes()
    }

    fn labels(&self) -> &[u32] {
        self.labels()
    }

    /// The digit and its colour.
    fn groups(&self) -> Option<&Groups> {
        Some(self.cells())
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        check_read(self, rows, out)?;
        for (&row, target) in rows.iter().zip(out.chunks_exact_mut(self.dim())) {
            target.copy_from_slice(&self.pixels()[row * self.dim()..][..self.dim()]);
        }
        Ok(())
    }
}

/// Every row is there, and `out` has room for exactly these rows.
pub(crate) fn check_read<E: Examples + ?Sized>(examples: &E, rows: &[usize], out: &[f32]) -> Result<(), DataError> {
    if let Some(past) = rows.iter().find(|&&row| row >= examples.len()) {
        return Err(DataError::setting("row", past, format!("must be below {}", examples.len())));
    }
    if rows.len().checked_mul(examples.dim()) != Some(out.len()) {
        return Err(DataError::setting(
            "length of out",
            out.len(),
            format!("must be {} rows × {} values", rows.len(), examples.dim()),
        ));
    }
    Ok(())
}

/// `pixel / 255`.
pub(crate) fn to_unit(pixels: &[u8], out: &mut [f32]) {
    for (target, &pixel) in out.iter_mut().zip(pixels) {
        *target = f32::from(pixel) / 255.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColorLaw, colorize};

    fn images() -> Images {
        Images::new([1, 1, 2], 10, vec![0, 51, 102, 153, 204, 255], vec![2, 0, 2]).unwrap()
    }

    #[test]
    fn images_are_read_in_the_order_asked_for() {
        let mut out = [9.0; 6];
        images().read(&[2, 0, 2], &mut out).unwrap();
        assert_eq!(out[..], [0.8, 1.0, 0.0, 0.2, 0.8, 1.0]);
        assert!(Examples::groups(&images()).is_none());
    }

    #[test]
    fn coloured_images_have_a_group_for_each_digit_and_colour() {
        let colored = colorize(&images(), &ColorLaw::correlated(1.0), 1, "train").unwrap();
        let mut out = [9.0; 6];
        colored.read(&[1], &mut out).unwrap();
        assert_eq!(out[..], colored.pixels()[6..12]);
        let groups = Examples::groups(&colored).unwrap();
        assert_eq!((groups.labels(), groups.attributes(), groups.count()), (&[2, 0, 2][..], &[2, 0, 2][..], 100));
        assert_eq!(groups.name(23), "2, colour 3");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let read = |rows: &[usize], length| images().read(rows, &mut vec![0.0; length]).unwrap_err();
        insta::assert_snapshot!(read(&[0, 3], 4), @"row = 3: must be below 3");
        insta::assert_snapshot!(read(&[0, 1], 3), @"length of out = 3: must be 2 rows × 2 values");
    }
}
