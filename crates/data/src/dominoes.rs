//! Dominoes: two images on top of each other, of which the lower one tells the label and the upper one mostly agrees.

use rand::seq::SliceRandom;

use crate::images::check_labels;
use crate::{DataError, Examples, GroupedImages, Groups, Images, stream};

/// Which classes of two data sets are put together; index `c` of both belongs to class `c` of the dominoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DominoClasses {
    /// Labels of the upper images (the attribute, spurious).
    pub top: [u32; 2],
    /// Their names.
    pub top_names: [&'static str; 2],
    /// Labels of the lower images (the class, core).
    pub bottom: [u32; 2],
    /// Their names.
    pub bottom_names: [&'static str; 2],
}

impl DominoClasses {
    /// MNIST 0 or 1 above CIFAR-10 automobile or truck, in that pairing: the MNIST–CIFAR data of Shah et al. 2020, "The Pitfalls
    /// of Simplicity Bias in Neural Networks" (arXiv 2006.07710).
    pub const MNIST_CIFAR: Self =
        Self { top: [0, 1], top_names: ["zero", "one"], bottom: [1, 9], bottom_names: ["automobile", "truck"] };

    /// MNIST 0 or 1 above Fashion-MNIST coat or dress, the variant of Kirichenko et al. 2023, "Last Layer Re-Training is
    /// Sufficient for Robustness to Spurious Correlations" (arXiv 2204.02937). Which digit goes with which article is a choice of
    /// ours: 0 with the coat.
    pub const MNIST_FASHION: Self =
        Self { top: [0, 1], top_names: ["zero", "one"], bottom: [4, 3], bottom_names: ["coat", "dress"] };

    /// MNIST 0 or 1 above Fashion-MNIST T-shirt or shirt, the pair of articles that is told apart worst: a choice of ours, for a core
    /// that is as hard beside its digit as automobile against truck.
    pub const MNIST_SHIRTS: Self =
        Self { top: [0, 1], top_names: ["zero", "one"], bottom: [0, 6], bottom_names: ["T-shirt", "shirt"] };
}

/// How dominoes are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DominoSettings {
    /// The classes of the halves.
    pub classes: DominoClasses,
    /// The share of the training dominoes of each class whose halves agree, in [0, 1]: ρ.
    pub correlation: f64,
    /// The number of training images of each half in each of the four groups that is kept out of training, for
    /// [`Dominoes::balanced`].
    pub held_out: usize,
}

/// The images of one half: those to train on and those to test on.
#[derive(Clone, Copy, Debug)]
pub struct DominoSource<'a> {
    /// The images that training and the balanced hold-out are made of.
    pub train: &'a Images,
    /// The images that the test set is made of.
    pub test: &'a Images,
}

/// Dominoes, and the rows of the two sources that each is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DominoSet {
    /// The images; the class is that of the lower half, the attribute that of the upper half. Where the two indices are equal
    /// ([`Groups::is_aligned`]) the halves agree: the majority of the training set.
    pub images: GroupedImages,
    /// The row of the upper and of the lower source of each image.
    pub sources: Vec<[usize; 2]>,
}

/// A training set and what a model is measured with. No source image is in two of the three.
///
/// Three accuracies are taken of the worst of the four groups (Kirichenko et al. 2023): *original*, on [`test`](Self::test);
/// *core-only*, on [`DominoSet::core_only`] of it; *decoded*, on it again after a logistic regression on the features of the last
/// layer was fitted on [`balanced`](Self::balanced).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dominoes {
    /// To train on: the halves of a share ρ agree.
    pub train: DominoSet,
    /// Other training images, all four groups equally large.
    pub balanced: DominoSet,
    /// Test images, all four groups equally large.
    pub test: DominoSet,
}

/// Builds dominoes.
///
/// The upper image is put in the middle of a black one of the lower one's size, copied to its channels, and set on top of it: two
/// images of C×H×W make one of C×2H×W, so 3×64×32 for MNIST–CIFAR and 1×56×28 for MNIST–Fashion.
///
/// - **Lower images are used once.** Of each class, `2 · held_out` random training images go to the balanced hold-out; all
///   others are trained on. The test set takes the same even number from both classes: twice `⌊n/2⌋` of the smaller one.
/// - **Counts are exact**: of the `n` training dominoes of a class, the halves of `round(ρ n)` agree; in the two balanced sets
///   those of exactly half.
/// - **Upper images are used as evenly as possible.** `2 · held_out` of each digit go to the balanced hold-out and to nothing
///   else. The others are dealt in a random order, and dealt again when all were used: no image is used twice before every image
///   of its digit was used once. The complete MNIST has digits enough for all automobiles and trucks (5,000 each); for the 6,000
///   coats of the complete Fashion-MNIST it has 5,923 zeros, so 77 of them may be used twice.
/// - Dominoes are in the order of their lower images.
///
/// What is known of the paper that is reproduced here: MNIST–CIFAR dominoes, a correlation of 95% and 99%, and these three
/// accuracies. What is not: the size of the sets and of the hold-out, and whether images are used again. (The published code
/// of Shah et al. cuts all four classes to the size of the smallest and uses each image once, with halves that always agree or are
/// independent.)
///
/// # Errors
/// [`DataError::Setting`] when the correlation is outside [0, 1], two classes are the same, there are not enough images for the
/// sizes asked for, the upper images are not grey or are larger than the lower ones, or training and test images differ in
/// shape; [`DataError::Label`] for a class that the images do not have.
///
/// ```
/// use isorate_data::{DominoClasses, DominoSettings, DominoSource, Split, dominoes, fashion_mnist, mnist};
/// let (top, top_test) = (mnist().load(Split::Train)?, mnist().load(Split::Test)?);
/// let (bottom, bottom_test) = (fashion_mnist().load(Split::Train)?, fashion_mnist().load(Split::Test)?);
/// let sets = dominoes(
///     DominoSource { train: &top, test: &top_test },
///     DominoSource { train: &bottom, test: &bottom_test },
///     &DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation: 0.95, held_out: 100 },
///     1,
/// )?;
/// assert_eq!(sets.train.images.images().shape(), [1, 56, 28]);
/// assert_eq!(sets.train.images.groups().counts(), [950, 50, 50, 950]);
/// assert_eq!(sets.test.images.groups().counts(), [200; 4]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn dominoes(
    top: DominoSource<'_>,
    bottom: DominoSource<'_>,
    settings: &DominoSettings,
    seed: u64,
) -> Result<Dominoes, DataError> {
    if !(0.0..=1.0).contains(&settings.correlation) {
        return Err(DataError::setting("correlation", settings.correlation, "must be in [0, 1]"));
    }
    for (setting, [first, second]) in [("upper classes", settings.classes.top), ("lower classes", settings.classes.bottom)] {
        if first == second {
            return Err(DataError::setting(setting, [first, second], "must be two different labels"));
        }
    }
    check_shapes(top, bottom)?;
    let pools = |images: &Images, labels: [u32; 2], half: &str| -> Result<[Vec<usize>; 2], DataError> {
        check_labels("classes of the dominoes", &labels, images.classes())?;
        Ok([0, 1].map(|class| {
            let mut rows: Vec<usize> = (0..images.len()).filter(|&row| images.labels()[row] == labels[class]).collect();
            rows.shuffle(&mut stream(seed, &format!("dominoes {half}"), class as u64));
            rows
        }))
    };
    let classes = settings.classes;
    let mut bottoms = pools(bottom.train, classes.bottom, "train bottom")?;
    let mut tops = pools(top.train, classes.top, "train top")?;
    check_held_out(settings.held_out, bottoms.iter().chain(&tops).map(Vec::len).min().unwrap_or(0))?;
    let held = 2 * settings.held_out;
    let balanced = Plan {
        bottoms: bottoms.each_mut().map(|rows| rows.split_off(rows.len() - held)),
        tops: tops.each_mut().map(|rows| rows.split_off(rows.len() - held)),
        aligned: [settings.held_out; 2],
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of images")]
    let aligned = bottoms.each_ref().map(|rows| (settings.correlation * rows.len() as f64).round() as usize);
    let train = Plan { bottoms, tops, aligned };

    let mut bottoms = pools(bottom.test, classes.bottom, "test bottom")?;
    let half = bottoms.iter().map(|rows| rows.len() / 2).min().unwrap_or(0);
    for rows in &mut bottoms {
        rows.truncate(2 * half);
    }
    let tops = pools(top.test, classes.top, "test top")?;
    if half == 0 || tops.iter().any(Vec::is_empty) {
        let counts: Vec<usize> = bottoms.iter().chain(&tops).map(Vec::len).collect();
        return Err(DataError::setting(
            "test images of the lower and upper classes",
            counts,
            "four groups need two of each and one of each",
        ));
    }
    let test = Plan { bottoms, tops, aligned: [half; 2] };
    Ok(Dominoes {
        train: train.build(top.train, bottom.train, classes)?,
        balanced: balanced.build(top.train, bottom.train, classes)?,
        test: test.build(top.test, bottom.test, classes)?,
    })
}

impl DominoSet {
    /// The same images with a black upper half: only the core feature is left. Groups stay those of the originals.
    pub fn core_only(&self) -> Result<GroupedImages, DataError> {
        let images = self.images.images();
        let [_, height, width] = images.shape();
        let mut pixels = images.pixels().to_vec();
        for channel in pixels.chunks_exact_mut(height * width) {
            channel[..height / 2 * width].fill(0);
        }
        let images = Images::new(images.shape(), images.classes(), pixels, images.labels().to_vec())?;
        GroupedImages::new(images, self.images.groups().clone())
    }
}

impl Examples for DominoSet {
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
        Some(self.images.groups())
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        self.images.read(rows, out)
    }
}

/// Which rows make a set, by class.
struct Plan {
    bottoms: [Vec<usize>; 2],
    tops: [Vec<usize>; 2],
    /// The halves of so many of each class agree.
    aligned: [usize; 2],
}

impl Plan {
    fn build(self, top: &Images, bottom: &Images, classes: DominoClasses) -> Result<DominoSet, DataError> {
        let mut dealt = self.tops.each_ref().map(|rows| rows.iter().cycle());
        // Lower row, class, attribute, upper row.
        let mut rows: Vec<(usize, u32, u32, usize)> = Vec::new();
        for (class, (bottoms, aligned)) in (0u32..).zip(self.bottoms.iter().zip(self.aligned)) {
            for (place, &bottom) in bottoms.iter().enumerate() {
                let attribute = if place < aligned { class } else { 1 - class };
                let top = dealt[attribute as usize].next().expect("every pool has an image: the sizes were checked");
                rows.push((bottom, class, attribute, *top));
            }
        }
        rows.sort_unstable();
        let sources: Vec<[usize; 2]> = rows.iter().map(|&(bottom, _, _, top)| [top, bottom]).collect();
        let labels: Vec<u32> = rows.iter().map(|row| row.1).collect();
        let attributes = rows.iter().map(|row| row.2).collect();
        let groups = Groups::new(classes.bottom_names, classes.top_names, labels.clone(), attributes)?;
        let (shape, pixels) = stack(top, bottom, &sources);
        Ok(DominoSet { images: GroupedImages::new(Images::new(shape, 2, pixels, labels)?, groups)?, sources })
    }
}

/// The shape and the pixels of the dominoes.
fn stack(top: &Images, bottom: &Images, sources: &[[usize; 2]]) -> ([usize; 3], Vec<u8>) {
    let [channels, height, width] = bottom.shape();
    let [_, top_height, top_width] = top.shape();
    let (down, right) = ((height - top_height) / 2, (width - top_width) / 2);
    let plane = height * width;
    let mut pixels = vec![0; sources.len() * channels * 2 * plane];
    for (domino, &[upper, lower]) in pixels.chunks_exact_mut(channels * 2 * plane).zip(sources) {
        let upper = &top.pixels()[upper * top.dim()..][..top.dim()];
        let lower = &bottom.pixels()[lower * bottom.dim()..][..bottom.dim()];
        for (halves, lower) in domino.chunks_exact_mut(2 * plane).zip(lower.chunks_exact(plane)) {
            let (above, below) = halves.split_at_mut(plane);
            for (target, row) in above.chunks_exact_mut(width).skip(down).zip(upper.chunks_exact(top_width)) {
                target[right..right + top_width].copy_from_slice(row);
            }
            below.copy_from_slice(lower);
        }
    }
    ([channels, 2 * height, width], pixels)
}

fn check_held_out(held_out: usize, fewest: usize) -> Result<(), DataError> {
    if held_out == 0 {
        return Err(DataError::setting(
            "held_out",
            held_out,
            "must be at least 1: the decoded accuracy needs a balanced hold-out",
        ));
    }
    if fewest.saturating_sub(1) / 2 < held_out {
        let hint = match fewest.saturating_sub(1) / 2 {
            0 => "every class needs at least 3".to_owned(),
            most => format!("choose at most {most}"),
        };
        return Err(DataError::setting(
            "held_out",
            held_out,
            format!(
                "twice as many training images of each class of both halves are kept out of training, and one has {fewest}\nhint: {hint}"
            ),
        ));
    }
    Ok(())
}

fn check_shapes(top: DominoSource<'_>, bottom: DominoSource<'_>) -> Result<(), DataError> {
    for (setting, source) in [("shape of the upper test images", top), ("shape of the lower test images", bottom)] {
        let (train, test) = (source.train.shape(), source.test.shape());
        if train != test {
            return Err(DataError::setting(setting, test, format!("must be {train:?}, as that of the training images")));
        }
    }
    let ([channels, top_height, top_width], [_, height, width]) = (top.train.shape(), bottom.train.shape());
    if channels != 1 || top_height > height || top_width > width {
        return Err(DataError::setting(
            "shape of the upper images",
            top.train.shape(),
            format!("must have 1 channel and fit into {height} × {width}, the size of the lower images"),
        ));
    }
    Ok(())
}
