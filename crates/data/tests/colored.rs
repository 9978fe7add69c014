//! Colored-MNIST from the embedded digits.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;

use isorate_data::{
    Centering, ColorLaw, ColoredImages, Images, LFF_PALETTE, LabelledFeatures, Moments, Split, colorize, mnist, variance_shares,
};
use proptest::prelude::*;

fn colored(split: Split, law: ColorLaw, seed: u64) -> ColoredImages {
    colorize(&mnist().load(split).unwrap(), &law, seed, split.name()).unwrap()
}

#[test]
fn counts_and_bytes_are_fixed_by_the_seed() {
    let mut report = String::new();
    let laws = [(Split::Train, ColorLaw::correlated(0.99)), (Split::Test, ColorLaw::UNIFORM)];
    for (split, law) in laws {
        let set = colored(split, law, 1);
        writeln!(report, "{}: blake3 {}", split.name(), set.checksum()).unwrap();
        let minority = set.groups().iter().filter(|g| g.is_minority()).count();
        writeln!(report, "majority {}, minority {minority}", set.len() - minority).unwrap();
        writeln!(report, "digit  majority  minority  by colour").unwrap();
        for (digit, row) in set.cell_counts().iter().enumerate() {
            let total: usize = row.iter().sum();
            write!(report, "{digit:5}  {:8}  {:8}  ", row[digit], total - row[digit]).unwrap();
            for count in row {
                write!(report, "{count:5}").unwrap();
            }
            writeln!(report).unwrap();
        }
        writeln!(report).unwrap();
    }
    insta::assert_snapshot!(report);
}

#[test]
fn seed_and_purpose_separate_sets() {
    let images = mnist().load(Split::Test).unwrap();
    let sum = |seed, purpose| colorize(&images, &ColorLaw::correlated(0.9), seed, purpose).unwrap().checksum();
    assert_eq!(sum(5, "a"), sum(5, "a"));
    assert_ne!(sum(5, "a"), sum(6, "a"));
    assert_ne!(sum(5, "a"), sum(5, "b"));
}

#[test]
fn pixels_are_grey_times_colour() {
    let images = mnist().load(Split::Test).unwrap();
    let set = colored(Split::Test, ColorLaw { correlation: 0.1, jitter_std: 0.0 }, 3);
    for i in 0..20 {
        let grey = images.image(i).unwrap();
        let image = &set.pixels()[i * 2352..(i + 1) * 2352];
        for (channel, plane) in image.chunks(784).enumerate() {
            let intensity = LFF_PALETTE[set.colors()[i] as usize][channel];
            for (&value, &g) in plane.iter().zip(grey) {
                assert!((f64::from(value) - f64::from(g) / 255.0 * intensity).abs() < 1e-6);
            }
        }
    }
}

/// The jitter is the standard deviation of a channel where nothing is clamped.
#[test]
fn jitter_has_the_standard_deviation_asked_for() {
    let n = 5_000;
    let images = Images::new([1, 1, 1], 10, vec![255; n], vec![2; n]).unwrap();
    let set = colorize(&images, &ColorLaw { correlation: 1.0, jitter_std: 0.005 }, 9, "jitter").unwrap();
    for channel in 0..3 {
        let z: Vec<f64> = set.pixels().chunks(3).map(|p| (f64::from(p[channel]) - LFF_PALETTE[2][channel]) / 0.005).collect();
        let mean = z.iter().sum::<f64>() / n as f64;
        let variance = z.iter().map(|z| z * z).sum::<f64>() / n as f64;
        // Standard errors .014 and .02; five of them.
        assert!(mean.abs() < 0.07 && (variance - 1.0).abs() < 0.1, "channel {channel}: mean {mean}, variance {variance}");
    }
    let wild = colorize(&images, &ColorLaw { correlation: 1.0, jitter_std: 2.0 }, 9, "jitter").unwrap();
    assert!(wild.pixels().iter().all(|p| (0.0..=1.0).contains(p)));
    assert!(wild.pixels().contains(&0.0) && wild.pixels().contains(&1.0), "a wild jitter is clamped on both sides");
}

proptest! {
    #[test]
    fn counts_are_exact_and_even(counts in prop::array::uniform10(0usize..40), correlation in 0.0..=1.0f64, seed: u64) {
        let labels: Vec<u32> = (0u32..).zip(counts).flat_map(|(c, n)| vec![c; n]).collect();
        prop_assume!(!labels.is_empty());
        let images = Images::new([1, 1, 1], 10, vec![255; labels.len()], labels).unwrap();
        let set = colorize(&images, &ColorLaw::correlated(correlation), seed, "counts").unwrap();
        for (class, row) in set.cell_counts().into_iter().enumerate() {
            prop_assert_eq!(row.iter().sum::<usize>(), counts[class]);
            prop_assert!((row[class] as f64 - correlation * counts[class] as f64).abs() <= 0.5);
            let others = || row.iter().enumerate().filter(|&(color, _)| color != class).map(|(_, &n)| n);
            prop_assert!(others().max().unwrap() - others().min().unwrap() <= 1);
        }
    }
}

#[test]
fn bad_parameters_are_named() {
    let images = Images::new([1, 1, 1], 10, vec![0], vec![0]).unwrap();
    let error =
        |correlation, jitter_std| colorize(&images, &ColorLaw { correlation, jitter_std }, 0, "x").unwrap_err().to_string();
    insta::assert_snapshot!(error(1.01, 0.0), @"correlation = 1.01: must be in [0, 1]");
    insta::assert_snapshot!(error(f64::NAN, 0.0), @"correlation = NaN: must be in [0, 1]");
    insta::assert_snapshot!(error(0.5, -0.1), @"jitter_std = -0.1: must be finite and not negative");
    insta::assert_snapshot!(error(0.5, f64::INFINITY), @"jitter_std = inf: must be finite and not negative");
    let rgb = Images::new([3, 1, 1], 10, vec![0; 3], vec![0]).unwrap();
    insta::assert_snapshot!(colorize(&rgb, &ColorLaw::UNIFORM, 0, "x").unwrap_err(), @"channels = 3: only grey images (1 channel) can be coloured");
    let two = Images::new([1, 1, 1], 2, vec![0], vec![0]).unwrap();
    insta::assert_snapshot!(colorize(&two, &ColorLaw::UNIFORM, 0, "x").unwrap_err(), @"classes = 2: must be 10, one for each colour");
}

/// The strongest component after the mean reads the colour when the colour tells the digit, and does not when it tells nothing.
#[test]
fn correlation_puts_the_colour_into_the_leading_components() {
    let images = mnist().load(Split::Test).unwrap();
    let balanced = colorize(&images, &ColorLaw::UNIFORM, 1, "balanced").unwrap();
    let view = |set: &ColoredImages| -> Vec<f64> {
        let data = LabelledFeatures::new(set.pixels(), set.dim(), set.labels(), 10).unwrap();
        let moments = Moments::new(&data, Centering::Raw).unwrap();
        assert_eq!(moments.rank(), 10);
        let data = LabelledFeatures::new(balanced.pixels(), set.dim(), balanced.labels(), 10).unwrap();
        let shares = variance_shares(&data, balanced.colors(), 10, moments.right_vectors()).unwrap();
        shares.iter().map(|share| share.attribute).collect()
    };
    let correlated = view(&colorize(&images, &ColorLaw::correlated(0.99), 1, "train").unwrap());
    let independent = view(&colorize(&images, &ColorLaw::UNIFORM, 1, "train").unwrap());
    assert!(correlated[1] > 0.6, "{correlated:?}");
    assert!(independent[1..].iter().all(|&share| share < 0.05), "{independent:?}");
}
