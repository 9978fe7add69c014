//! The embedded MNIST subset is what its README says.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Write as _;

use isorate_data::{Split, mnist};
use polars::prelude::*;

/// As `assets/mnist/README.md` records them.
const RECORDED: [&str; 2] = [
    "e8ab3c205857409f0e74f78db66a31666821b83542864e47de90da72356892d1",
    "9f2b25015587a182ca04b958985e76523d33d82698f1e8143f3d2851729dcba6",
];

#[test]
fn bytes_are_the_recorded_ones() {
    let readme = fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/mnist/README.md")).unwrap();
    for (split, recorded) in Split::ALL.into_iter().zip(RECORDED) {
        assert_eq!(mnist().checksum(split), recorded, "{split:?}");
        assert!(readme.contains(recorded), "assets/mnist/README.md does not have the hash of {split:?}");
    }
    let size: usize = Split::ALL.iter().map(|&s| mnist().bytes(s).len()).sum();
    assert!(size <= 6_000_000, "{size} bytes");
}

/// The complete MNIST has 5923 6742 5958 6131 5842 5421 5918 6265 5851 5949 training and 980 1135 1032 1010 982 892 958 1028 974 1009
/// test images of the digits 0 to 9; the subset is a fifth of the former and two fifths of the latter.
#[test]
fn classes_have_the_proportions_of_the_complete_set() {
    let complete =
        [[5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]];
    let mut report = String::new();
    for ((split, complete), share) in Split::ALL.into_iter().zip(complete).zip([0.2, 0.4]) {
        let images = mnist().load(split).unwrap();
        assert_eq!(images.shape(), [1, 28, 28]);
        let counts = images.class_counts();
        writeln!(report, "{}: {} images, by class {counts:?}", split.name(), images.len()).unwrap();
        for (count, complete) in counts.into_iter().zip(complete) {
            assert!((count as f64 - share * f64::from(complete)).abs() < 1.0);
        }
    }
    insta::assert_snapshot!(report);
}

/// Known facts: the digits are drawn bright on black in the 20×20 box that MNIST normalizes to, centred by mass; the mean intensity of MNIST is .1307 and
/// its standard deviation .3081 (the constants used everywhere to normalize it).
#[test]
fn pixels_are_mnist() {
    let images = mnist().load(Split::Train).unwrap();
    let pixels = images.to_f32();
    let n = pixels.len() as f64;
    let mean = pixels.iter().map(|&p| f64::from(p)).sum::<f64>() / n;
    let std = (pixels.iter().map(|&p| (f64::from(p) - mean).powi(2)).sum::<f64>() / n).sqrt();
    assert!((mean - 0.1307).abs() < 0.001 && (std - 0.3081).abs() < 0.001, "mean {mean}, standard deviation {std}");
    assert_eq!(images.pixels().iter().max(), Some(&255));
    let corner = |i: usize| images.image(i).unwrap()[..28].iter().all(|&p| p == 0);
    assert!((0..images.len()).filter(|&i| corner(i)).count() > 11_900, "the top row should be black almost everywhere");
}

/// The first images of each part, drawn as text, with their label and their place in the complete set.
#[test]
fn first_images_look_like_their_labels() {
    let mut report = String::new();
    for split in Split::ALL {
        let images = mnist().load(split).unwrap();
        let path = &paths(split)[0];
        writeln!(report, "{path}: label {}", images.labels()[0]).unwrap();
        for row in images.image(0).unwrap().chunks(28) {
            let line: String = row.iter().map(|&p| b" .:-=+*#%@"[usize::from(p) * 10 / 256] as char).collect();
            writeln!(report, "|{line}|").unwrap();
        }
    }
    insta::assert_snapshot!(report);
}

fn paths(split: Split) -> Vec<String> {
    let bytes = std::io::Cursor::new(mnist().bytes(split));
    let table = ParquetReader::new(bytes).finish().unwrap();
    let path = table.column("image").unwrap().struct_().unwrap().field_by_name("path").unwrap();
    path.str().unwrap().iter().map(|path| path.unwrap().to_owned()).collect()
}

/// Every image comes once, in the original order; the easy first half of the test set has about half of the test images.
#[test]
fn the_subset_is_spread_over_the_complete_set() {
    for (split, complete) in Split::ALL.into_iter().zip([60_000, 10_000]) {
        let places: Vec<usize> = paths(split)
            .iter()
            .map(|path| {
                let digits = path.strip_prefix(&format!("{}-", split.name())).unwrap();
                digits.strip_suffix(".png").unwrap().parse().unwrap()
            })
            .collect();
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(places.iter().all(|&place| place < complete));
        if split == Split::Test {
            let easy = places.iter().filter(|&&place| place < 5_000).count();
            // The number in the README.
            assert_eq!(easy, 2_028);
        }
    }
}

#[test]
fn the_description_is_complete() {
    let set = mnist();
    assert_eq!(set.classes(), 10);
    insta::assert_snapshot!(format!("{}\n{}\n{}\n{}\n{}", set.name, set.description, set.origin, set.licence, set.citation));
}
