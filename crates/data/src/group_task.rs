//! A task with the group proportions of CelebA from real, unchanged images of Fashion-MNIST.

use rand::seq::SliceRandom;

use crate::images::count_classes;
use crate::split::largest_remainders;
use crate::{DataError, GroupedImages, Groups, Images, stream};

/// The training images of CelebA by (hair, gender): dark-haired women, dark-haired men, blond women, blond men; 162,770 together
/// (Sagawa et al. 2020, arXiv 1911.08731). 44.0%, 41.1%, 14.1% and 0.85%.
pub const CELEBA_TRAIN_GROUPS: [usize; 4] = [71_629, 66_874, 22_880, 1_387];

/// The articles of Fashion-MNIST in each group, by label: shirts without warmth (t-shirt, dress, shirt), open shoes (sandal,
/// sneaker), warm tops (pullover, coat), ankle boots. Trousers and bags take no part.
const ARTICLES: [&[u32]; 4] = [&[0, 3, 6], &[5, 7], &[2, 4], &[9]];

/// How many images of the training set are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTaskSizes {
    /// Images to train on.
    pub train: usize,
    /// Other images, with the same proportions of the groups.
    pub validation: usize,
}

impl GroupTaskSizes {
    /// Nearly all that the embedded subset of 12,000 images allows: 43 and 7 images are in the smallest group.
    pub const EMBEDDED: Self = Self { train: 5_000, validation: 800 };
}

/// The three sets of the group task. No image is in two of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupTask {
    /// To train on, with the proportions of [`CELEBA_TRAIN_GROUPS`].
    pub train: GroupedImages,
    /// Other training images with the same proportions.
    pub validation: GroupedImages,
    /// Test images, all four groups equally large.
    pub test: GroupedImages,
}

/// A classification task with CelebA's groups for data that need no download: is the article *warm* or *light* wear (class, in
/// the part of blond or dark hair), for the *body* or the *feet* (attribute, in the part of gender)?
///
/// | group | CelebA | articles | share |
/// |---|---|---|---|
/// | light, body | dark-haired women | t-shirt/top, dress, shirt | 44.0% |
/// | light, feet | dark-haired men | sandal, sneaker | 41.1% |
/// | warm, body | blond women | pullover, coat | 14.1% |
/// | warm, feet | blond men | ankle boot | 0.85% |
///
/// As in CelebA nothing is painted into the images: class and attribute are what people labelled. The attribute is the easy one,
/// as tops and shoes differ in their outline; pullovers and shirts hardly do. It is spurious in the same way: 98% of what is worn
/// on the feet is light, so a model may call all of it light, and the boots are its worst group.
///
/// Measured with linear least squares on the embedded images (seed 1; a test holds the order of these numbers): fitted on the
/// training set, the class is right in 93%, 100%, 71% and 12% of the four test groups; fitted on balanced groups, in 80%, 87%, 75%
/// and 86%; and the attribute, fitted on balanced groups, in 99% of each.
///
/// It differs from CelebA in that warm tops and warm shoes have less in common than fair hair on two heads, in that a group is made of
/// one to three kinds of articles, each in the proportion that it has in the source, and in that "warm" is what one expects of
/// an article, not a property of the picture: some of the ankle boots are pumps.
///
/// Sizes are exact: both sets share their images out by largest remainders. The smallest group of the test images sets the size
/// of all four test groups. Images are in the order of the source, and which of them are taken is random.
///
/// # Errors
/// [`DataError::Setting`] when the images are not of ten classes, the sizes are more than the source has or leave a group of the
/// training or validation set empty, or a group has no test image.
///
/// ```
/// use isorate_data::{GroupTaskSizes, Split, fashion_mnist, group_task};
/// let (train, test) = (fashion_mnist().load(Split::Train)?, fashion_mnist().load(Split::Test)?);
/// let task = group_task(&train, &test, GroupTaskSizes::EMBEDDED, 1)?;
/// assert_eq!(task.train.groups().counts(), [2_200, 2_054, 703, 43]);
/// assert_eq!(task.train.groups().name(3), "warm, feet");
/// assert_eq!(task.test.groups().counts(), [400; 4]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn group_task(train: &Images, test: &Images, sizes: GroupTaskSizes, seed: u64) -> Result<GroupTask, DataError> {
    for images in [train, test] {
        if images.classes() != 10 {
            return Err(DataError::setting("classes", images.classes(), "must be 10, the articles of Fashion-MNIST"));
        }
    }
    let pools = group_sizes(train);
    let (counts, held) = (shares("train", sizes.train)?, shares("validation", sizes.validation)?);
    if let Some(group) = (0..4).find(|&group| counts[group].saturating_add(held[group]) > pools[group]) {
        // In proportion; rounding may allow an image more or less.
        let most = (0..4).map(|g| pools[g] * 162_770 / CELEBA_TRAIN_GROUPS[g]).min().unwrap_or(0);
        return Err(DataError::setting(
            "train + validation",
            sizes.train.saturating_add(sizes.validation),
            format!(
                "needs {} images of the articles in group {group}, and there are {}\nhint: choose at most about {most} together",
                counts[group].saturating_add(held[group]),
                pools[group]
            ),
        ));
    }
    let smallest = group_sizes(test).into_iter().min().unwrap_or(0);
    if smallest == 0 {
        return Err(DataError::setting("test images of the smallest group", 0, "must be at least 1"));
    }
    let [chosen, validation] = pick(train, [counts, held], seed, "train");
    let [tested, _] = pick(test, [[smallest; 4], [0; 4]], seed, "test");
    Ok(GroupTask { train: grouped(train, &chosen)?, validation: grouped(train, &validation)?, test: grouped(test, &tested)? })
}

/// How many of `count` images each group gets.
fn shares(setting: &'static str, count: usize) -> Result<[usize; 4], DataError> {
    let shares = largest_remainders(&CELEBA_TRAIN_GROUPS, count);
    let shares = [shares[0], shares[1], shares[2], shares[3]];
    if shares.contains(&0) {
        return Err(DataError::setting(
            setting,
            count,
            "leaves the smallest group, 0.85% of the images, empty\nhint: choose at least 118",
        ));
    }
    Ok(shares)
}

fn group_sizes(images: &Images) -> [usize; 4] {
    let counts = images.class_counts();
    ARTICLES.map(|articles| articles.iter().map(|&article| counts[article as usize]).sum())
}

/// Two disjoint random choices with the counts asked for in each group, ascending; each article of a group gives its share of
/// both.
fn pick(images: &Images, counts: [[usize; 4]; 2], seed: u64, purpose: &str) -> [Vec<usize>; 2] {
    let sizes = count_classes(images.labels(), images.classes());
    let mut chosen = [Vec::new(), Vec::new()];
    for (group, articles) in ARTICLES.iter().enumerate() {
        let available: Vec<usize> = articles.iter().map(|&article| sizes[article as usize]).collect();
        // Both at once first, so that no article is asked for more than there are.
        let together = largest_remainders(&available, counts[0][group] + counts[1][group]);
        let firsts = largest_remainders(&together, counts[0][group]);
        for ((&article, together), first) in articles.iter().zip(together).zip(firsts) {
            let mut rows: Vec<usize> = (0..images.len()).filter(|&row| images.labels()[row] == article).collect();
            rows.shuffle(&mut stream(seed, &format!("group task {purpose}"), article.into()));
            chosen[0].extend_from_slice(&rows[..first]);
            chosen[1].extend_from_slice(&rows[first..together]);
        }
    }
    for rows in &mut chosen {
        rows.sort_unstable();
    }
    chosen
}

fn grouped(images: &Images, rows: &[usize]) -> Result<GroupedImages, DataError> {
    let images = images.select(rows)?;
    let groups: Vec<u32> = images
        .labels()
        .iter()
        .map(|article| (0u32..).zip(ARTICLES).find(|(_, articles)| articles.contains(article)).map_or(0, |(group, _)| group))
        .collect();
    let (labels, attributes): (Vec<u32>, Vec<u32>) = groups.iter().map(|group| (group / 2, group % 2)).unzip();
    let groups = Groups::new(["light", "warm"], ["body", "feet"], labels.clone(), attributes)?;
    GroupedImages::new(Images::new(images.shape(), 2, images.pixels().to_vec(), labels)?, groups)
}
