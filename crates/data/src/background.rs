//! Biased-MNIST: white digits on a background whose colour mostly agrees with the digit.

use crate::colored::{assign, check_colorable};
use crate::{DataError, GroupedImages, Groups, Images};

/// The ten background colours (RGB, 0 to 255) of Biased-MNIST in "Learning De-biased Representations with Biased Representations"
/// (Bahng et al. 2020, arXiv 1910.02806), as in the published code of its authors (NAVER Corp., MIT licence); colour `c` belongs
/// to digit `c`. Yellow and magenta are 225, not 255, there too.
pub const REBIAS_PALETTE: [[u8; 3]; 10] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [225, 225, 0],
    [225, 0, 225],
    [0, 255, 255],
    [255, 128, 0],
    [255, 0, 128],
    [128, 0, 255],
    [128, 128, 128],
];

const COLOR_NAMES: [&str; 10] = ["red", "green", "blue", "yellow", "magenta", "cyan", "orange", "rose", "violet", "grey"];

/// Biased-MNIST: every pixel that is 0 becomes the background colour of [`REBIAS_PALETTE`], every other pixel white, as in the
/// code of Bahng et al.: the digit has hard edges. The class is the digit, the attribute the colour; rows where the two agree are
/// the majority.
///
/// - **Counts are exact**, those of [`colorize`](crate::colorize): `round(correlation · n_c)` images of class `c` have colour
///   `c`, the others are spread over the nine other colours so that these differ by at most one. (The authors round the first
///   number down, and put as many as fit into each of the other colours, so that the last of these may get fewer.) They use
///   correlations from 0.99 to 0.999 and 0.1 for an unbiased set.
/// - The same images, correlation, seed and purpose give the same colours to the same images as `colorize`, so two such sets
///   differ in where the colour is and in nothing else.
///
/// # Errors
/// [`DataError::Setting`] when the images are not grey or not of ten classes, or the correlation is outside [0, 1].
///
/// ```
/// use isorate_data::{Split, colorize_background, mnist};
/// let set = colorize_background(&mnist().load(Split::Test)?, 0.99, 1, "test")?;
/// assert_eq!(set.images().shape(), [3, 28, 28]);
/// let minority = (0..set.len()).filter(|&row| !set.groups().is_aligned(row)).count();
/// assert_eq!(minority, 41);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn colorize_background(images: &Images, correlation: f64, seed: u64, purpose: &str) -> Result<GroupedImages, DataError> {
    check_colorable(images, correlation)?;
    let colors = assign(images, correlation, seed, purpose);
    let [_, height, width] = images.shape();
    let mut pixels = Vec::with_capacity(3 * images.pixels().len());
    for (grey, &color) in images.pixels().chunks_exact(height * width).zip(&colors) {
        for intensity in REBIAS_PALETTE[color as usize] {
            pixels.extend(grey.iter().map(|&pixel| if pixel == 0 { intensity } else { 255 }));
        }
    }
    let digits = (0..images.classes()).map(|digit| digit.to_string());
    let groups = Groups::new(digits, COLOR_NAMES.map(str::to_owned), images.labels().to_vec(), colors)?;
    GroupedImages::new(Images::new([3, height, width], images.classes(), pixels, images.labels().to_vec())?, groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ColorLaw, Split, colorize, mnist};

    #[test]
    fn the_digit_is_white_and_the_rest_has_the_colour() {
        let images = mnist().load(Split::Test).unwrap();
        let set = colorize_background(&images, 0.1, 3, "test").unwrap();
        for row in [0, 1, 2, 3_999] {
            let grey = images.image(row).unwrap();
            let color = REBIAS_PALETTE[set.groups().attributes()[row] as usize];
            for (plane, intensity) in set.images().image(row).unwrap().chunks_exact(784).zip(color) {
                assert!(plane.iter().zip(grey).all(|(&pixel, &g)| pixel == if g == 0 { intensity } else { 255 }));
            }
        }
    }

    #[test]
    fn colours_are_those_of_the_coloured_digits() {
        let images = mnist().load(Split::Test).unwrap();
        let set = colorize_background(&images, 0.9, 7, "x").unwrap();
        let digits = colorize(&images, &ColorLaw::correlated(0.9), 7, "x").unwrap();
        assert_eq!(set.groups().attributes(), digits.colors());
        assert_eq!(set.groups().labels(), digits.labels());
    }

    #[test]
    fn the_ends_of_the_correlation_and_one_image() {
        let images = Images::new([1, 1, 2], 10, vec![0, 9], vec![4]).unwrap();
        let one = |correlation| colorize_background(&images, correlation, 0, "one").unwrap();
        assert!(one(1.0).groups().is_aligned(0));
        assert_eq!(one(1.0).images().pixels(), [225, 255, 0, 255, 225, 255]);
        assert!(!one(0.0).groups().is_aligned(0));
        let error = colorize_background(&images, -0.1, 0, "one").unwrap_err();
        insta::assert_snapshot!(error, @"correlation = -0.1: must be in [0, 1]");
    }
}
