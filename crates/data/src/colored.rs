//! Colored-MNIST: grey digits multiplied by a colour that mostly agrees with the digit.

use rand::seq::SliceRandom;
use rand_distr::{Distribution, Normal};
use rayon::prelude::*;

use crate::{DataError, Groups, Images, stream};

/// The ten colours (RGB) of Colored-MNIST in "Learning from Failure" (Nam et al. 2020); colour `c` belongs to digit `c`. The
/// palette of the paper reproduced here is not public.
pub const LFF_PALETTE: [[f64; 3]; 10] = [
    [0.9837, 0.3125, 0.1686],
    [0.9905, 0.9156, 0.3515],
    [0.6730, 0.4611, 0.5798],
    [0.7833, 0.8316, 0.6013],
    [0.0880, 0.7780, 0.9818],
    [0.3214, 0.9611, 0.4464],
    [0.0246, 0.2357, 0.7587],
    [0.5552, 0.1016, 0.7618],
    [0.2077, 0.3929, 0.0187],
    [0.8337, 0.2024, 0.2669],
];

/// The jitter of Nam et al. 2020. It is a standard deviation, not a variance: their code multiplies a standard normal by it.
pub const LFF_JITTER_STD: f64 = 0.005;

const COLORS: usize = LFF_PALETTE.len();

/// How colours are given to digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColorLaw {
    /// The share of each class that gets its own colour, in [0, 1]; the rest is spread evenly over the nine other colours.
    pub correlation: f64,
    /// Standard deviation of the normal jitter that each image adds to each channel of its colour, at least 0.
    pub jitter_std: f64,
}

impl ColorLaw {
    /// A training law with the given correlation and the jitter [`LFF_JITTER_STD`].
    pub const fn correlated(correlation: f64) -> Self {
        Self { correlation, jitter_std: LFF_JITTER_STD }
    }

    /// The test law: colours uniform and independent of the digit, so that 10% agree with it;
    /// the jitter is [`LFF_JITTER_STD`].
    pub const UNIFORM: Self = Self::correlated(0.1);
}

/// Whether an image follows the spurious correlation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// The colour agrees with the digit.
    Majority,
    /// The colour is another digit's.
    Minority,
}

impl Group {
    /// True for [`Group::Minority`].
    pub fn is_minority(self) -> bool {
        self == Self::Minority
    }
}

/// Coloured images: `n × 3 × height × width` pixels in [0, 1] with a digit and a colour each.
#[derive(Clone, Debug, PartialEq)]
pub struct ColoredImages {
    shape: [usize; 3],
    pixels: Vec<f32>,
    cells: Groups,
}

/// Colours grey images of ten classes.
///
/// - **Counts are exact**, not drawn: of the `n_c` images of class `c`, `round(correlation · n_c)` get colour `c` and the others
///   are spread over the nine other colours so that these differ by at most one. Which images, and which colours get the odd ones,
///   is random. So every seed has the same number of minority images.
/// - Image `i` is `pixel/255 · clamp(colour + ε_i, 0, 1)` with `ε_i ~ N(0, jitter_std² I_3)`, one draw for each image and channel.
///   Background pixels are 0 and stay black.
/// - The result is a function of the arguments alone. `purpose` (such as "train", "test") separates sets made from one seed.
///
/// # Errors
/// [`DataError::Setting`] when the images are not grey or not of ten classes, the correlation is outside [0, 1] or the jitter
/// negative or not finite.
///
/// ```
/// use isorate_data::{ColorLaw, Split, colorize, mnist};
/// let test = colorize(&mnist().load(Split::Test)?, &ColorLaw::UNIFORM, 1, "test")?;
/// let aligned = test.groups().iter().filter(|g| !g.is_minority()).count();
/// assert!((395..=405).contains(&aligned));
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn colorize(images: &Images, law: &ColorLaw, seed: u64, purpose: &str) -> Result<ColoredImages, DataError> {
    let [_, height, width] = images.shape();
    check_colorable(images, law.correlation)?;
    let jitter = Some(law.jitter_std)
        .filter(|std| *std >= 0.0)
        .and_then(|std| Normal::new(0.0, std).ok())
        .ok_or_else(|| DataError::setting("jitter_std", law.jitter_std, "must be finite and not negative"))?;

    let colors = assign(images, law.correlation, seed, purpose);
    let mut rng = stream(seed, &format!("colored {purpose} jitter"), 0);
    #[allow(clippy::cast_possible_truncation, reason = "pixels are single precision")]
    let rgb: Vec<[f32; 3]> = colors
        .iter()
        .map(|&color| LFF_PALETTE[color as usize].map(|mean| (mean + jitter.sample(&mut rng)).clamp(0.0, 1.0) as f32))
        .collect();

    let plane = height * width;
    let mut pixels = vec![0.0; images.len() * 3 * plane];
    pixels.par_chunks_exact_mut(3 * plane).zip(images.pixels().par_chunks_exact(plane)).zip(&rgb).for_each(
        |((target, grey), rgb)| {
            for (target, intensity) in target.chunks_exact_mut(plane).zip(rgb) {
                for (t, &g) in target.iter_mut().zip(grey) {
                    *t = f32::from(g) / 255.0 * intensity;
                }
            }
        },
    );
    let digits = (0..COLORS).map(|digit| digit.to_string());
    let color_names = (0..COLORS).map(|color| format!("colour {color}"));
    let cells = Groups::new(digits, color_names, images.labels().to_vec(), colors)?;
    Ok(ColoredImages { shape: [3, height, width], pixels, cells })
}

/// Grey images of ten classes, and a share.
pub(crate) fn check_colorable(images: &Images, correlation: f64) -> Result<(), DataError> {
    let channels = images.shape()[0];
    if channels != 1 {
        return Err(DataError::setting("channels", channels, "only grey images (1 channel) can be coloured"));
    }
    if images.classes() != COLORS {
        return Err(DataError::setting("classes", images.classes(), format!("must be {COLORS}, one for each colour")));
    }
    if !(0.0..=1.0).contains(&correlation) {
        return Err(DataError::setting("correlation", correlation, "must be in [0, 1]"));
    }
    Ok(())
}

/// The colour of each image.
pub(crate) fn assign(images: &Images, correlation: f64, seed: u64, purpose: &str) -> Vec<u32> {
    let mut colors = images.labels().to_vec();
    let all = (0u32..).take(COLORS);
    for class in all.clone() {
        let mut rng = stream(seed, &format!("colored {purpose} assignment"), class.into());
        let mut members: Vec<usize> = (0..colors.len()).filter(|&i| images.labels()[i] == class).collect();
        members.shuffle(&mut rng);
        let mut others: Vec<u32> = all.clone().filter(|&color| color != class).collect();
        others.shuffle(&mut rng);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of members")]
        let aligned = (correlation * members.len() as f64).round() as usize;
        for (&i, &color) in members[aligned..].iter().zip(others.iter().cycle()) {
            colors[i] = color;
        }
    }
    colors
}

impl ColoredImages {
    /// The number of images.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one image")]
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Channels (3), height and width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The number of values of one image: 3 × height × width.
    pub fn dim(&self) -> usize {
        self.shape.iter().product()
    }

    /// The number of classes (10).
    pub fn classes(&self) -> usize {
        COLORS
    }

    /// The number of colours (10).
    pub fn color_count(&self) -> usize {
        COLORS
    }

    /// All pixels, `n × 3 × height × width`, in [0, 1].
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The digit of each image.
    pub fn labels(&self) -> &[u32] {
        self.cells.labels()
    }

    /// The colour of each image, an index into [`LFF_PALETTE`].
    pub fn colors(&self) -> &[u32] {
        self.cells.attributes()
    }

    /// Digit and colour of each image, as class and attribute.
    pub fn cells(&self) -> &Groups {
        &self.cells
    }

    /// The group of each image.
    pub fn groups(&self) -> Vec<Group> {
        let group = |(label, color)| {
            if label == color { Group::Majority } else { Group::Minority }
        };
        self.labels().iter().zip(self.colors()).map(group).collect()
    }

    /// The number of images of each digit (row) in each colour (column).
    pub fn cell_counts(&self) -> [[usize; 10]; 10] {
        let mut counts = [[0; 10]; 10];
        for (&label, &color) in self.labels().iter().zip(self.colors()) {
            counts[label as usize][color as usize] += 1;
        }
        counts
    }

    /// BLAKE3 in hexadecimal over all pixels, then labels, then colours, each as 4 little-endian bytes.
    pub fn checksum(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for image in self.pixels.chunks(self.dim()) {
            let bytes: Vec<u8> = image.iter().flat_map(|p| p.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        for values in [self.labels(), self.colors()] {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            hasher.update(&bytes);
        }
        hasher.finalize().to_hex().to_string()
    }
}
