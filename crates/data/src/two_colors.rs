//! The coloured MNIST of invariant risk minimization: two classes, two colours, noisy labels.

use rand::seq::SliceRandom;

use crate::{DataError, GroupedImages, Groups, Images, stream};

/// One environment of the two-coloured MNIST of "Invariant Risk Minimization" (Arjovsky et al. 2019, arXiv 1907.02893). All three
/// numbers are settings here; [`TwoColorLaw::environment`] has the authors' label noise and subsampling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoColorLaw {
    /// The share of each of the two kinds of digits whose label is the wrong one, in [0, 1]. The authors': 0.25.
    pub label_noise: f64,
    /// The share of each label whose colour is the other label's, in [0, 1]: e. The authors': [`IRM_TRAIN_FLIPS`] and
    /// [`IRM_TEST_FLIP`].
    pub color_flip: f64,
    /// Every how many rows and columns are kept, beginning with the first; at least 1. The authors': 2, "for computational
    /// convenience".
    pub subsample: usize,
}

/// The colour flips of the two training environments of Arjovsky et al. 2019.
pub const IRM_TRAIN_FLIPS: [f64; 2] = [0.2, 0.1];
/// The colour flip of the test environment: there the colour mostly points to the wrong label.
pub const IRM_TEST_FLIP: f64 = 0.9;

impl TwoColorLaw {
    /// The authors' setting with the colour flip of one environment.
    pub const fn environment(color_flip: f64) -> Self {
        Self { label_noise: 0.25, color_flip, subsample: 2 }
    }
}

/// Gives grey digits a noisy binary label and one of two colours.
///
/// 1. The preliminary label of an image is 1 if the digit is below 5 and 0 if not, as in the authors' published code.
/// 2. `round(label_noise · n)` of the `n` images of each preliminary label get the other label. This final label is the class.
/// 3. `round(color_flip · n)` of the `n` images of each final label get the colour of the other label, the others their own:
///    colour 0 is red, the first channel, and colour 1 is green, the second. The image stands in the channel of its colour, and
///    the other channel is 0. There is no third channel: the shape is `2 × ⌈height/subsample⌉ × ⌈width/subsample⌉`, 2×14×14 with
///    the authors' setting.
///
/// The authors draw each flip by itself; here its number is fixed, as everywhere in this crate, and which images are flipped is
/// drawn, labels and colours independently of each other. The label agrees with the colour in a share 1 − e of the images, with
/// the digit in a share 0.75: in training the colour is the better predictor. The authors take the first 50,000 training images,
/// in random order, alternately for the two training environments, and the last 10,000 for the test; here the caller chooses the
/// images of an environment.
///
/// # Errors
/// [`DataError::Setting`] when the images are not grey or not of ten classes, a share is outside [0, 1] or the subsampling is 0.
///
/// ```
/// use isorate_data::{IRM_TEST_FLIP, Split, TwoColorLaw, mnist, two_colors};
/// let test = two_colors(&mnist().load(Split::Test)?, &TwoColorLaw::environment(IRM_TEST_FLIP), 1, "test")?;
/// assert_eq!(test.images().shape(), [2, 14, 14]);
/// let aligned = (0..test.len()).filter(|&row| test.groups().is_aligned(row)).count();
/// assert_eq!(aligned, 400);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn two_colors(images: &Images, law: &TwoColorLaw, seed: u64, purpose: &str) -> Result<GroupedImages, DataError> {
    let [channels, height, width] = images.shape();
    if channels != 1 {
        return Err(DataError::setting("channels", channels, "only grey images (1 channel) can be coloured"));
    }
    if images.classes() != 10 {
        return Err(DataError::setting("classes", images.classes(), "must be 10, the digits"));
    }
    for (setting, share) in [("label_noise", law.label_noise), ("color_flip", law.color_flip)] {
        if !(0.0..=1.0).contains(&share) {
            return Err(DataError::setting(setting, share, "must be in [0, 1]"));
        }
    }
    if law.subsample == 0 {
        return Err(DataError::setting("subsample", law.subsample, "must be at least 1\nhint: 1 keeps every pixel"));
    }
    let preliminary: Vec<u32> = images.labels().iter().map(|&digit| u32::from(digit < 5)).collect();
    let labels = flip(&preliminary, law.label_noise, seed, &format!("two colours {purpose} labels"));
    let colors = flip(&labels, law.color_flip, seed, &format!("two colours {purpose} colours"));

    let shape = [2, height.div_ceil(law.subsample), width.div_ceil(law.subsample)];
    let plane = shape[1] * shape[2];
    let mut pixels = vec![0; images.len() * 2 * plane];
    for ((grey, target), &color) in
        images.pixels().chunks_exact(height * width).zip(pixels.chunks_exact_mut(2 * plane)).zip(&colors)
    {
        let rows = grey.chunks_exact(width).step_by(law.subsample);
        let kept = rows.flat_map(|row| row.iter().step_by(law.subsample));
        for (target, &pixel) in target[color as usize * plane..].iter_mut().zip(kept) {
            *target = pixel;
        }
    }
    let groups = Groups::new(["5 to 9", "0 to 4"], ["red", "green"], labels.clone(), colors)?;
    GroupedImages::new(Images::new(shape, 2, pixels, labels)?, groups)
}

/// The values 0 and 1 with `round(share · n)` of the `n` that are equal turned into the other.
fn flip(values: &[u32], share: f64, seed: u64, purpose: &str) -> Vec<u32> {
    let mut flipped = values.to_vec();
    for value in 0..2u32 {
        let mut members: Vec<usize> = (0..values.len()).filter(|&row| values[row] == value).collect();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of members")]
        let count = (share * members.len() as f64).round() as usize;
        for &mut row in members.partial_shuffle(&mut stream(seed, purpose, value.into()), count).0 {
            flipped[row] = 1 - value;
        }
    }
    flipped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, mnist};
    use proptest::prelude::*;

    #[test]
    fn the_image_is_in_the_channel_of_its_colour() {
        let images = mnist().load(Split::Test).unwrap();
        let set = two_colors(&images, &TwoColorLaw::environment(0.2), 5, "x").unwrap();
        for row in 0..100 {
            let (grey, image) = (images.image(row).unwrap(), set.images().image(row).unwrap());
            let color = set.groups().attributes()[row] as usize;
            for (i, j) in (0..14).flat_map(|i| (0..14).map(move |j| (i, j))) {
                assert_eq!(image[color * 196 + i * 14 + j], grey[2 * i * 28 + 2 * j]);
                assert_eq!(image[(1 - color) * 196 + i * 14 + j], 0);
            }
        }
    }

    #[test]
    fn sides_that_do_not_divide_keep_their_last_part() {
        let images = Images::new([1, 3, 5], 10, (1..=15).collect(), vec![7]).unwrap();
        let law = TwoColorLaw { label_noise: 0.0, color_flip: 0.0, subsample: 2 };
        let set = two_colors(&images, &law, 0, "x").unwrap();
        assert_eq!(set.images().shape(), [2, 2, 3]);
        assert_eq!(set.images().pixels(), [1, 3, 5, 11, 13, 15, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn both_flips_are_exact(low in 0usize..40, high in 1usize..40, noise in 0.0..=1.0f64, e in 0.0..=1.0f64, seed: u64) {
            let digits = [vec![2u32; low], vec![8; high]].concat();
            let images = Images::new([1, 1, 1], 10, vec![1; low + high], digits.clone()).unwrap();
            let law = TwoColorLaw { label_noise: noise, color_flip: e, subsample: 1 };
            let set = two_colors(&images, &law, seed, "x").unwrap();
            let labels = set.groups().labels();
            let wrong = |kind: u32| (0..labels.len()).filter(|&i| digits[i] == kind && (labels[i] == 1) != (kind < 5)).count() as f64;
            prop_assert!((wrong(2) - noise * low as f64).abs() <= 0.5 && (wrong(8) - noise * high as f64).abs() <= 0.5);
            let counts = set.groups().counts();
            for label in 0..2 {
                let (own, other) = (counts[label * 2 + label] as f64, counts[label * 2 + 1 - label] as f64);
                prop_assert!((other - e * (own + other)).abs() <= 0.5);
            }
            prop_assert_eq!(set.checksum(), two_colors(&images, &law, seed, "x").unwrap().checksum());
        }
    }

    #[test]
    fn bad_settings_are_named() {
        let images = Images::new([1, 1, 1], 10, vec![0], vec![0]).unwrap();
        let error = |label_noise, color_flip, subsample| {
            two_colors(&images, &TwoColorLaw { label_noise, color_flip, subsample }, 0, "x").unwrap_err()
        };
        insta::assert_snapshot!(error(1.5, 0.1, 1), @"label_noise = 1.5: must be in [0, 1]");
        insta::assert_snapshot!(error(0.1, f64::NAN, 1), @"color_flip = NaN: must be in [0, 1]");
        insta::assert_snapshot!(error(0.1, 0.1, 0), @r"
        subsample = 0: must be at least 1
        hint: 1 keeps every pixel
        ");
    }
}
