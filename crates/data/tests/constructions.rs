//! The imbalanced constructions on the embedded images: counts, bytes, and what is promised of their sources.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use isorate_data::{
    CELEBA_TRAIN_GROUPS, ClassImbalance, DominoClasses, DominoSet, DominoSettings, DominoSource, Dominoes, GaussianMixture,
    GroupTaskSizes, GroupedImages, Groups, IRM_TEST_FLIP, IRM_TRAIN_FLIPS, Images, Split, TwoColorLaw, colorize_background,
    dominoes, fashion_mnist, group_task, imbalance_ratio, mnist, two_colors,
};
use proptest::prelude::*;

fn both(dataset: &isorate_data::EmbeddedDataset) -> [Images; 2] {
    Split::ALL.map(|split| dataset.load(split).unwrap())
}

/// The rows with class and attribute of every group, and the checksum.
fn describe(report: &mut String, name: &str, set: &GroupedImages) {
    writeln!(report, "{name}: {} images {:?}, blake3 {}", set.len(), set.images().shape(), set.checksum()).unwrap();
    let groups = set.groups();
    for (class, counts) in groups.counts().chunks(groups.attribute_names().len()).enumerate() {
        let counts: Vec<String> = counts.iter().map(|count| format!("{count:5}")).collect();
        writeln!(report, "  {:10} {}", groups.class_names()[class], counts.join("")).unwrap();
    }
    writeln!(report, "  by {}", groups.attribute_names().join(", ")).unwrap();
}

#[test]
fn imbalanced_subsets() {
    let labels = fashion_mnist().load(Split::Train).unwrap().labels().to_vec();
    let digits = mnist().load(Split::Train).unwrap().labels().to_vec();
    let mut report = String::new();
    let laws = [
        ClassImbalance::Step { ratio: 20.0 },
        ClassImbalance::Exponential { factor: 0.01 },
        ClassImbalance::Exponential { factor: 0.1 },
        ClassImbalance::HeavyTail,
    ];
    for (name, labels) in [("fashion-mnist", &labels), ("mnist", &digits)] {
        for law in laws {
            let kept = law.subset(labels, 10, 1).unwrap();
            let mut counts = [0; 10];
            for &row in &kept {
                counts[labels[row] as usize] += 1;
            }
            let bytes: Vec<u8> = kept.iter().flat_map(|&row| (row as u64).to_le_bytes()).collect();
            let ratio = imbalance_ratio(&counts).unwrap();
            writeln!(report, "{name}, {law:?}: {} rows, ratio {ratio:.2}, blake3 {}", kept.len(), blake3::hash(&bytes)).unwrap();
            writeln!(report, "  {counts:?}").unwrap();
            assert_ne!(kept, law.subset(labels, 10, 2).unwrap());
        }
    }
    insta::assert_snapshot!(report);
}

#[test]
fn coloured_digits() {
    let [train, test] = both(mnist());
    let mut report = String::new();
    describe(&mut report, "biased-mnist train, 0.99", &colorize_background(&train, 0.99, 1, "train").unwrap());
    describe(&mut report, "biased-mnist test, 0.1", &colorize_background(&test, 0.1, 1, "test").unwrap());
    let rows: Vec<usize> = (0..train.len()).collect();
    for (environment, flip) in IRM_TRAIN_FLIPS.into_iter().enumerate() {
        let half: Vec<usize> = rows.iter().copied().skip(environment).step_by(2).collect();
        let set = two_colors(&train.select(&half).unwrap(), &TwoColorLaw::environment(flip), 1, "train").unwrap();
        describe(&mut report, &format!("two colours train, {flip}"), &set);
    }
    let law = TwoColorLaw::environment(IRM_TEST_FLIP);
    let set = two_colors(&test, &law, 1, "test").unwrap();
    describe(&mut report, &format!("two colours test, {IRM_TEST_FLIP}"), &set);
    assert_ne!(set.checksum(), two_colors(&test, &law, 2, "test").unwrap().checksum());
    assert_eq!(set.groups().counts(), two_colors(&test, &law, 2, "test").unwrap().groups().counts());
    insta::assert_snapshot!(report);
}

fn mnist_fashion(correlation: f64, held_out: usize, seed: u64) -> Dominoes {
    let (digits, articles) = (both(mnist()), both(fashion_mnist()));
    let [top, bottom] = [&digits, &articles].map(|[train, test]| DominoSource { train, test });
    dominoes(top, bottom, &DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation, held_out }, seed).unwrap()
}

#[test]
fn mnist_fashion_dominoes() {
    let mut report = String::new();
    for correlation in [0.95, 0.99] {
        let sets = mnist_fashion(correlation, 100, 1);
        describe(&mut report, &format!("train, {correlation}"), &sets.train.images);
        if correlation < 0.99 {
            describe(&mut report, "balanced", &sets.balanced.images);
            describe(&mut report, "test", &sets.test.images);
            describe(&mut report, "test, core-only", &sets.test.core_only().unwrap());
        }
    }
    insta::assert_snapshot!(report);
    let [a, b] = [1, 2].map(|seed| mnist_fashion(0.95, 100, seed));
    assert_eq!(a, mnist_fashion(0.95, 100, 1));
    for (a, b) in [(&a.train, &b.train), (&a.balanced, &b.balanced), (&a.test, &b.test)] {
        assert_ne!(a.sources, b.sources);
        assert_eq!(a.images.groups().counts(), b.images.groups().counts());
    }
}

#[test]
fn group_task_with_the_proportions_of_celeba() {
    let [train, test] = both(fashion_mnist());
    let task = group_task(&train, &test, GroupTaskSizes::EMBEDDED, 1).unwrap();
    let mut report = String::new();
    describe(&mut report, "train", &task.train);
    describe(&mut report, "validation", &task.validation);
    describe(&mut report, "test", &task.test);
    insta::assert_snapshot!(report);
    // No image is used twice: the embedded images are all different.
    let images = |sets: &[&GroupedImages]| -> Vec<Vec<u8>> {
        sets.iter().flat_map(|set| set.images().pixels().chunks_exact(784)).map(<[u8]>::to_vec).collect()
    };
    let used = images(&[&task.train, &task.validation, &task.test]);
    let different: BTreeSet<&Vec<u8>> = used.iter().collect();
    assert_eq!(different.len(), used.len());
    let other = group_task(&train, &test, GroupTaskSizes::EMBEDDED, 2).unwrap();
    assert_eq!(task, group_task(&train, &test, GroupTaskSizes::EMBEDDED, 1).unwrap());
    assert_ne!(task.train.checksum(), other.train.checksum());
    assert_eq!(task.train.groups().counts(), other.train.groups().counts());
}

/// Accuracies of `[x, 1]ᵀ w` with w fitted to ±1 by least squares with a small ridge: that of each group of `test`, for the class
/// or the attribute.
fn linear_probe(train: &GroupedImages, test: &GroupedImages, of: fn(&Groups) -> &[u32]) -> Vec<f64> {
    let features = |set: &GroupedImages| {
        let pixels = set.images().to_f32();
        Mat::from_fn(set.len(), 785, |row, j| if j < 784 { f64::from(pixels[row * 784 + j]) } else { 1.0 })
    };
    let sign = |value: u32| if value == 1 { 1.0 } else { -1.0 };
    let x = features(train);
    let y = Mat::from_fn(train.len(), 1, |row, _| sign(of(train.groups())[row]));
    let mut gram = x.transpose() * &x;
    (0..785).for_each(|j| gram[(j, j)] += 1e-3 * train.len() as f64);
    let w = gram.llt(Side::Lower).unwrap().solve(x.transpose() * y);
    let scores = features(test) * w;
    let groups = test.groups();
    let mut right = vec![0usize; groups.count()];
    for row in 0..test.len() {
        right[groups.group(row)] += usize::from(scores[(row, 0)] * sign(of(groups)[row]) > 0.0);
    }
    right.iter().zip(groups.counts()).map(|(&right, count)| right as f64 / count as f64).collect()
}

/// What makes it a task for this project: the attribute is easier than the class, a plain fit fails on the smallest group, and a
/// fit on balanced groups shows that the class can be read there.
#[test]
fn the_group_task_has_an_easy_spurious_attribute() {
    let [train, test] = both(fashion_mnist());
    let task = group_task(&train, &test, GroupTaskSizes::EMBEDDED, 1).unwrap();
    // Balanced groups: half of the test images to fit, the other half to measure.
    let half = |parity: usize| {
        let mut seen = [0; 4];
        let rows: Vec<usize> = (0..task.test.len())
            .filter(|&row| {
                seen[task.test.groups().group(row)] += 1;
                seen[task.test.groups().group(row)] % 2 == parity
            })
            .collect();
        task.test.select(&rows).unwrap()
    };
    let (fit, measure) = (half(0), half(1));
    let worst = |accuracies: &[f64]| accuracies.iter().copied().fold(1.0, f64::min);
    let mean = |accuracies: &[f64]| accuracies.iter().sum::<f64>() / 4.0;
    let plain = linear_probe(&task.train, &measure, Groups::labels);
    let class = linear_probe(&fit, &measure, Groups::labels);
    let attribute = linear_probe(&fit, &measure, Groups::attributes);
    assert!(mean(&attribute) > 0.97 && mean(&attribute) > mean(&class) + 0.05, "{attribute:?} against {class:?}");
    assert!(plain[..3].iter().all(|&accuracy| accuracy > plain[3]), "{plain:?}");
    assert!(worst(&plain) + 0.2 < worst(&class), "{plain:?} against {class:?}");
}

#[test]
fn gaussian_mixture() {
    let weights: Vec<f64> = (1..=20).map(|c| 1.0 / f64::from(c)).collect();
    let sum: f64 = weights.iter().sum();
    let priors = weights.iter().map(|weight| weight / sum).collect();
    let mixture = GaussianMixture { priors, mean_norm: 1.0, noise_std: 0.1, dim: Some(200) };
    let table = mixture.sample(2_000, 1).unwrap();
    let labels: Vec<u8> = table.labels().iter().flat_map(|label| label.to_le_bytes()).collect();
    // The features pass through the platform's exponential and logarithm in the tails of the normal; the labels do not.
    insta::assert_snapshot!(
        format!("{:?}\nlabels blake3 {}", table.class_counts(), blake3::hash(&labels)),
        @r"
    [556, 278, 185, 139, 111, 93, 79, 69, 62, 56, 50, 46, 43, 40, 37, 35, 33, 31, 29, 28]
    labels blake3 aed65f2606524401220da264a8c798faf63b75e2f119739e5c7ab2aa04adf569
    "
    );
}

/// Sources whose pixels are all the row they stand in, with given class sizes.
fn numbered(shape: [usize; 3], labels: &[u32]) -> Images {
    let dim: usize = shape.iter().product();
    let pixels = (0..labels.len()).flat_map(|row| vec![u8::try_from(row % 251 + 1).unwrap(); dim]).collect();
    Images::new(shape, 10, pixels, labels.to_vec()).unwrap()
}

fn labels(sizes: [(u32, usize); 3]) -> Vec<u32> {
    let longest = sizes.iter().map(|size| size.1).max().unwrap();
    (0..longest).flat_map(|i| sizes.iter().filter(move |size| i < size.1).map(|size| size.0)).collect()
}

/// How often each row of one half is used, by its class.
fn uses(set: &DominoSet, half: usize) -> BTreeMap<usize, usize> {
    let mut uses = BTreeMap::new();
    set.sources.iter().for_each(|source| *uses.entry(source[half]).or_insert(0) += 1);
    uses
}

#[test]
fn mnist_cifar_dominoes_are_padded_and_repeated() {
    let top = numbered([1, 28, 28], &labels([(0, 9), (1, 11), (2, 5)]));
    let mut bottom = numbered([3, 32, 32], &labels([(1, 12), (9, 12), (3, 4)]));
    // Channels that differ, so that a mix-up is seen.
    let pixels = bottom.pixels().iter().enumerate().map(|(i, p)| p ^ u8::try_from(i / 1024 % 3).unwrap()).collect();
    bottom = Images::new([3, 32, 32], 10, pixels, bottom.labels().to_vec()).unwrap();
    let sources = [&top, &bottom].map(|images| DominoSource { train: images, test: images });
    let settings = DominoSettings { classes: DominoClasses::MNIST_CIFAR, correlation: 0.75, held_out: 2 };
    let sets = dominoes(sources[0], sources[1], &settings, 4).unwrap();
    assert_eq!(sets.train.images.groups().counts(), [6, 2, 2, 6]);
    assert_eq!(sets.train.images.groups().name(1), "automobile, one");
    for set in [&sets.train, &sets.balanced, &sets.test] {
        let images = set.images.images();
        assert_eq!(images.shape(), [3, 64, 32]);
        for (row, &[upper, lower]) in set.sources.iter().enumerate() {
            let (class, attribute) = (set.images.groups().labels()[row], set.images.groups().attributes()[row]);
            assert_eq!((bottom.labels()[lower], top.labels()[upper]), ([1, 9][class as usize], attribute));
            let image = images.image(row).unwrap();
            for (channel, plane) in image.chunks_exact(64 * 32).enumerate() {
                for (i, line) in plane.chunks_exact(32).enumerate() {
                    for (j, &pixel) in line.iter().enumerate() {
                        let inside = (2..30).contains(&i) && (2..30).contains(&j);
                        let expected = match i {
                            0..32 if inside => top.image(upper).unwrap()[(i - 2) * 28 + j - 2],
                            0..32 => 0,
                            _ => bottom.image(lower).unwrap()[channel * 1024 + (i - 32) * 32 + j],
                        };
                        assert_eq!(pixel, expected, "channel {channel}, row {i}, column {j}");
                    }
                }
            }
        }
        let core = set.core_only().unwrap();
        assert_eq!(core.groups(), set.images.groups());
        for (core, original) in core.images().pixels().chunks_exact(2048).zip(images.pixels().chunks_exact(2048)) {
            assert!(core[..1024].iter().all(|&pixel| pixel == 0));
            assert_eq!(core[1024..], original[1024..]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn dominoes_use_their_sources_as_promised(
        tops in prop::array::uniform2(5usize..40),
        bottoms in prop::array::uniform2(5usize..40),
        correlation in 0.0..=1.0f64,
        held_out in 1usize..3,
        seed: u64,
    ) {
        let top = numbered([1, 1, 1], &labels([(0, tops[0]), (1, tops[1]), (7, 3)]));
        let bottom = numbered([1, 1, 1], &labels([(4, bottoms[0]), (3, bottoms[1]), (0, 3)]));
        let sources = [&top, &bottom].map(|images| DominoSource { train: images, test: images });
        let settings = DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation, held_out };
        let sets = dominoes(sources[0], sources[1], &settings, seed).unwrap();

        // The hold-out is apart from training in both halves.
        for half in 0..2 {
            let (train, held) = (uses(&sets.train, half), uses(&sets.balanced, half));
            prop_assert!(train.keys().all(|row| !held.contains_key(row)));
            prop_assert!(held.values().all(|&n| n == 1), "a hold-out image is used once");
        }
        // Every other lower image is trained on, once.
        let lower = uses(&sets.train, 1);
        prop_assert!(lower.values().all(|&n| n == 1));
        prop_assert_eq!(lower.len(), bottoms[0] + bottoms[1] - 4 * held_out);
        // No upper image is used n + 1 times before all of its digit are used n times.
        for set in [&sets.train, &sets.test] {
            let upper = uses(set, 0);
            for digit in 0..2u32 {
                let used: Vec<usize> = upper.iter().filter(|(row, _)| top.labels()[**row] == digit).map(|(_, &n)| n).collect();
                let pool = tops[digit as usize] - if std::ptr::eq(set, &raw const sets.train) { 2 * held_out } else { 0 };
                let total: usize = used.iter().sum();
                prop_assert_eq!(used.len(), total.min(pool));
                prop_assert!(used.iter().all(|&n| n == total / pool || n == total.div_ceil(pool)));
            }
        }
        // Counts.
        let counts = sets.train.images.groups().counts();
        for class in 0..2 {
            let n = bottoms[class] - 2 * held_out;
            prop_assert_eq!(counts[2 * class] + counts[2 * class + 1], n);
            prop_assert!((counts[3 * class] as f64 - correlation * n as f64).abs() <= 0.5);
        }
        prop_assert_eq!(sets.balanced.images.groups().counts(), vec![held_out; 4]);
        let half = bottoms[0].min(bottoms[1]) / 2;
        prop_assert_eq!(sets.test.images.groups().counts(), vec![half; 4]);
    }
}

#[test]
fn dominoes_that_cannot_be_made_are_refused() {
    let make = |top: [usize; 2], bottom: [usize; 2], shape: [usize; 3], correlation: f64, held_out: usize| {
        let top = numbered(shape, &labels([(0, top[0]), (1, top[1]), (2, 1)]));
        let bottom = numbered([1, 2, 2], &labels([(4, bottom[0]), (3, bottom[1]), (0, 1)]));
        let sources = [&top, &bottom].map(|images| DominoSource { train: images, test: images });
        let settings = DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation, held_out };
        dominoes(sources[0], sources[1], &settings, 0).unwrap_err()
    };
    let fits = [1, 2, 2];
    insta::assert_snapshot!(make([9, 9], [9, 9], fits, 1.1, 1), @"correlation = 1.1: must be in [0, 1]");
    insta::assert_snapshot!(make([9, 9], [9, 9], fits, 0.9, 0), @"held_out = 0: must be at least 1: the decoded accuracy needs a balanced hold-out");
    insta::assert_snapshot!(make([9, 4], [9, 9], fits, 0.9, 2), @r"
    held_out = 2: twice as many training images of each class of both halves are kept out of training, and one has 4
    hint: choose at most 1
    ");
    insta::assert_snapshot!(make([9, 9], [2, 9], fits, 0.9, 1), @r"
    held_out = 1: twice as many training images of each class of both halves are kept out of training, and one has 2
    hint: every class needs at least 3
    ");
    assert!(make([9, 9], [9, 9], fits, 0.9, usize::MAX).to_string().contains("choose at most 4"));
    insta::assert_snapshot!(make([9, 9], [9, 9], [1, 3, 2], 0.9, 1), @"shape of the upper images = [1, 3, 2]: must have 1 channel and fit into 2 × 2, the size of the lower images");
    insta::assert_snapshot!(make([9, 9], [9, 9], [3, 2, 2], 0.9, 1), @"shape of the upper images = [3, 2, 2]: must have 1 channel and fit into 2 × 2, the size of the lower images");
    let ten = numbered(fits, &labels([(0, 9), (1, 9), (4, 9)]));
    let two = Images::new(fits, 2, vec![0; 8], vec![0, 1]).unwrap();
    let pair = |train, test| DominoSource { train, test };
    let settings = DominoSettings { classes: DominoClasses::MNIST_FASHION, correlation: 0.9, held_out: 1 };
    insta::assert_snapshot!(dominoes(pair(&ten, &ten), pair(&two, &two), &settings, 0).unwrap_err(), @"classes of the dominoes: row 0: label 4 is outside 0..2");
    let same = DominoSettings { classes: DominoClasses { bottom: [4, 4], ..settings.classes }, ..settings };
    insta::assert_snapshot!(dominoes(pair(&ten, &ten), pair(&ten, &ten), &same, 0).unwrap_err(), @"lower classes = [4, 4]: must be two different labels");
    let wide = numbered([1, 2, 3], &[0, 1]);
    insta::assert_snapshot!(dominoes(pair(&ten, &wide), pair(&ten, &ten), &settings, 0).unwrap_err(), @"shape of the upper test images = [1, 2, 3]: must be [1, 2, 2], as that of the training images");
}

#[test]
fn dominoes_without_a_correlation_or_with_nothing_else() {
    let counts = |correlation| mnist_fashion(correlation, 1, 0).train.images.groups().counts();
    assert_eq!(counts(1.0), [1_198, 0, 0, 1_198]);
    assert_eq!(counts(0.0), [0, 1_198, 1_198, 0]);
    // More zeros are needed than there are: 15 are used twice.
    let set = mnist_fashion(1.0, 1, 0).train;
    let twice = uses(&set, 0).values().filter(|&&n| n == 2).count();
    let zeros = mnist().load(Split::Train).unwrap().class_counts()[0] - 2;
    assert_eq!(twice, 1_198 - zeros);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn group_tasks_have_their_proportions_and_share_no_image(
        articles in prop::array::uniform10(120usize..200),
        train_size in 118usize..200,
        validation in 118usize..200,
        seed: u64,
    ) {
        // The number of an image is in its pixels.
        let labels: Vec<u32> = (0u32..).zip(articles).flat_map(|(article, n)| vec![article; n]).collect();
        let pixels = (0..labels.len()).flat_map(|row| u16::try_from(row).unwrap().to_le_bytes()).collect();
        let source = Images::new([1, 1, 2], 10, pixels, labels.clone()).unwrap();
        let task = group_task(&source, &source, GroupTaskSizes { train: train_size, validation }, seed).unwrap();
        let rows = |set: &GroupedImages| -> Vec<usize> {
            set.images().pixels().chunks_exact(2).map(|p| usize::from(u16::from_le_bytes([p[0], p[1]]))).collect()
        };
        for (set, size) in [(&task.train, train_size), (&task.validation, validation)] {
            prop_assert_eq!(set.len(), size);
            for (count, share) in set.groups().counts().into_iter().zip(CELEBA_TRAIN_GROUPS) {
                prop_assert!((count as f64 - size as f64 * share as f64 / 162_770.0).abs() < 1.0);
            }
        }
        let used: BTreeSet<usize> = [rows(&task.train), rows(&task.validation)].concat().into_iter().collect();
        prop_assert_eq!(used.len(), train_size + validation);
        let expected = [vec![0, 3, 6], vec![5, 7], vec![2, 4], vec![9]];
        for set in [&task.train, &task.validation, &task.test] {
            prop_assert!(rows(set).iter().enumerate().all(|(i, &row)| expected[set.groups().group(i)].contains(&labels[row])));
        }
        prop_assert_eq!(task.test.groups().counts(), vec![articles[9]; 4]);
    }
}

#[test]
fn group_tasks_that_cannot_be_made_are_refused() {
    let [train, test] = both(fashion_mnist());
    let error =
        |train_size, validation| group_task(&train, &test, GroupTaskSizes { train: train_size, validation }, 0).unwrap_err();
    insta::assert_snapshot!(error(5_800, 200), @r"
    train + validation = 6000: needs 2465 images of the articles in group 1, and there are 2400
    hint: choose at most about 5841 together
    ");
    insta::assert_snapshot!(error(50, 200), @r"
    train = 50: leaves the smallest group, 0.85% of the images, empty
    hint: choose at least 118
    ");
    assert!(error(usize::MAX, usize::MAX).to_string().contains("choose at most about 5841"));
    insta::assert_snapshot!(error(200, 0), @r"
    validation = 0: leaves the smallest group, 0.85% of the images, empty
    hint: choose at least 118
    ");
    let small = Images::new([1, 1, 1], 3, vec![0], vec![0]).unwrap();
    insta::assert_snapshot!(group_task(&small, &test, GroupTaskSizes::EMBEDDED, 0).unwrap_err(), @"classes = 3: must be 10, the articles of Fashion-MNIST");
    let boots = Images::new([1, 1, 1], 10, vec![0], vec![9]).unwrap();
    insta::assert_snapshot!(group_task(&train, &boots, GroupTaskSizes::EMBEDDED, 0).unwrap_err(), @"test images of the smallest group = 0: must be at least 1");
    // The smallest set that has every group, and the largest.
    let sizes = |train_size, validation| {
        let task = group_task(&train, &test, GroupTaskSizes { train: train_size, validation }, 0).unwrap();
        (task.train.groups().counts(), task.validation.groups().counts())
    };
    assert_eq!(sizes(118, 118), (vec![52, 48, 17, 1], vec![52, 48, 17, 1]));
    assert_eq!(sizes(5_700, 141).0[1], 2_342);
}
