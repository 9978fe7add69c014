//! Imbalanced subsets.

use std::str::FromStr;

use rand::seq::SliceRandom;

use crate::images::{check_labels, count_classes};
use crate::{DataError, stream};

/// How the sizes of the classes fall from the first class to the last. `n_max` is the size of the largest class there is, `C` the
/// number of classes, and classes count from 0.
///
/// Each class keeps a random subset of its rows from a stream of its own, (seed, name of the law, class). With one seed, the
/// subsets of [`Exponential`](Self::Exponential) and [`HeavyTail`](Self::HeavyTail) are nested: a class that keeps fewer rows
/// keeps some of those that it keeps when it keeps more. Those of [`Step`](Self::Step) are not: its draw depends on the number
/// drawn.
///
/// ```
/// use isorate_data::ClassImbalance;
/// // CIFAR-10-LT with imbalance 100 (Cui et al. 2019, Cao et al. 2019).
/// let counts = ClassImbalance::Exponential { factor: 0.01 }.counts(&[5_000; 10])?;
/// assert_eq!(counts, [5_000, 2_997, 1_796, 1_077, 645, 387, 232, 139, 83, 50]);
///
/// assert_eq!(ClassImbalance::Step { ratio: 20.0 }.counts(&[5_000; 4])?, [5_000, 5_000, 250, 250]);
/// assert_eq!(ClassImbalance::HeavyTail.counts(&[100; 5])?, [100, 50, 33, 25, 20]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ClassImbalance {
    /// The first `⌊C/2⌋` classes keep all of their rows, the others `⌊n_max/ratio⌋` or all if they have no more: see
    /// [`step_imbalance`].
    Step {
        /// How many times smaller the small classes are, at least 1.
        ratio: f64,
    },
    /// Class `c` keeps `⌊n_max · factor^(c/(C−1))⌋` rows, or all if it has no more: the "long-tailed" sets of Cui et al. 2019
    /// (arXiv 1901.05555) and Cao et al. 2019 (arXiv 1906.07413), whose imbalance ratio is 1/factor. A product that is a whole
    /// number up to 1e-9 counts as that number, so that the counts do not depend on the last digit of a power.
    Exponential {
        /// The size of the last class relative to `n_max`, in (0, 1].
        factor: f64,
    },
    /// Sizes in the proportions 1 : 1/2 : 1/3 : …, that is p_c ∝ 1/(c + 1), the Zipf law of Kunstner et al. 2024 (arXiv
    /// 2402.19449): class `c` keeps `⌊h/(c+1)⌋` rows, where `h` is the largest number for which every class has as many. So the
    /// proportions hold in every class to less than one row; a class that is too small for its place makes all others smaller
    /// instead of breaking the law. (Kunstner et al. build up from the smallest class, `⌈n_min · C/(c+1)⌉`; with rows given and
    /// not generated, the law can only cut down.)
    HeavyTail,
}

/// As on the command line: `step:20`, `exponential:0.01`, `heavy-tail`. The range of the number is checked by [`ClassImbalance::counts`].
impl FromStr for ClassImbalance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let law = match text.split_once(':') {
            Some(("step", ratio)) => number(ratio).map(|ratio| Self::Step { ratio }),
            Some(("exponential", factor)) => number(factor).map(|factor| Self::Exponential { factor }),
            None if text == "heavy-tail" => Some(Self::HeavyTail),
            _ => None,
        };
        law.ok_or_else(|| "must be step:RATIO, exponential:FACTOR or heavy-tail, such as step:20".into())
    }
}

/// A smaller class has no spread, which the diagnosis of a data set needs.
const FEWEST: usize = 2;

impl ClassImbalance {
    /// The number of rows that each class keeps, of the numbers that there are.
    ///
    /// # Errors
    /// [`DataError::Setting`] for a ratio or factor out of its range, or when the law itself leaves fewer than two rows to a
    /// class; under the first two laws, a class that has fewer rows in the first place keeps them. [`DataError::Empty`] without a
    /// row.
    pub fn counts(self, available: &[usize]) -> Result<Vec<usize>, DataError> {
        let largest = available.iter().copied().max().unwrap_or(0);
        if largest == 0 {
            return Err(DataError::Empty { name: "labels".to_owned() });
        }
        match self {
            Self::Step { ratio } => step_counts(available, largest, ratio),
            Self::Exponential { factor } => exponential_counts(available, largest, factor),
            Self::HeavyTail => heavy_tail_counts(available),
        }
    }

    /// The indices of `labels` that are kept, ascending.
    ///
    /// # Errors
    /// As [`Self::counts`]; also [`DataError::Label`] for a label that is not below `classes`.
    pub fn subset(self, labels: &[u32], classes: usize, seed: u64) -> Result<Vec<usize>, DataError> {
        check_labels("labels", labels, classes)?;
        let counts = self.counts(&count_classes(labels, classes))?;
        let mut members = vec![Vec::new(); classes];
        for (row, &label) in labels.iter().enumerate() {
            members[label as usize].push(row);
        }
        let mut chosen = Vec::with_capacity(counts.iter().sum());
        for ((class, members), count) in members.iter_mut().enumerate().zip(counts) {
            let mut rng = stream(seed, self.purpose(), class as u64);
            if matches!(self, Self::Step { .. }) {
                chosen.extend_from_slice(members.partial_shuffle(&mut rng, count).0);
            } else {
                // All of the order, whatever is kept of it, so that subsets are nested.
                members.shuffle(&mut rng);
                chosen.extend_from_slice(&members[..count]);
            }
        }
        chosen.sort_unstable();
        Ok(chosen)
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Step { .. } => "step imbalance",
            Self::Exponential { .. } => "exponential imbalance",
            Self::HeavyTail => "heavy-tailed imbalance",
        }
    }
}

/// STEP imbalance (Cao et al. 2019, arXiv 1906.07413): the first half of the classes keep all of their rows, and each class of
/// the last half (of 2q + 1 classes, the last q + 1) keeps `⌊n_max/ratio⌋` rows, `n_max` being the largest class; a class that
/// has no more keeps all. The kept rows of a class are a random subset from the stream (`seed`, "step imbalance", class). Returns
/// the indices that are kept, ascending.
///
/// # Errors
/// [`DataError::Setting`] unless the ratio is finite and at least 1 and leaves two rows to every class; [`DataError::Empty`] and
/// [`DataError::Label`] for bad labels.
///
/// ```
/// use isorate_data::step_imbalance;
/// let labels: Vec<u32> = (0..400).map(|i| i % 4).collect();
/// let kept = step_imbalance(&labels, 4, 20.0, 0)?;
/// // 100 + 100 + 5 + 5
/// assert_eq!(kept.len(), 210);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub fn step_imbalance(labels: &[u32], classes: usize, ratio: f64, seed: u64) -> Result<Vec<usize>, DataError> {
    ClassImbalance::Step { ratio }.subset(labels, classes, seed)
}

/// The imbalance ratio: the largest class over the smallest. Infinite if a class has no rows, `None` if none has.
///
/// ```
/// use isorate_data::imbalance_ratio;
/// assert_eq!(imbalance_ratio(&[100, 20, 5]), Some(20.0));
/// assert_eq!(imbalance_ratio(&[100, 0]), Some(f64::INFINITY));
/// assert_eq!(imbalance_ratio(&[0]), None);
/// ```
pub fn imbalance_ratio(counts: &[usize]) -> Option<f64> {
    let largest = counts.iter().copied().max().filter(|&largest| largest > 0)?;
    let smallest = counts.iter().copied().min()?;
    Some(largest as f64 / smallest as f64)
}

fn step_counts(available: &[usize], largest: usize, ratio: f64) -> Result<Vec<usize>, DataError> {
    if !(ratio.is_finite() && ratio >= 1.0) {
        return Err(DataError::setting(
            "step",
            ratio,
            "the ratio must be finite and at least 1\nhint: 20 is common, and 1 changes nothing",
        ));
    }
    let kept = floor(largest as f64 / ratio);
    if kept < FEWEST {
        return Err(DataError::setting(
            "step",
            ratio,
            format!(
                "leaves {kept} of {largest} rows to a class of the minority, and every class needs two\nhint: choose at most {}",
                largest / FEWEST
            ),
        ));
    }
    let majority = available.len() / 2;
    Ok(available.iter().enumerate().map(|(class, &n)| if class < majority { n } else { n.min(kept) }).collect())
}

fn exponential_counts(available: &[usize], largest: usize, factor: f64) -> Result<Vec<usize>, DataError> {
    if !(factor > 0.0 && factor <= 1.0) {
        return Err(DataError::setting(
            "exponential",
            factor,
            "the factor, last class over first, must be above 0 and at most 1\nhint: 0.01 is common, and 1 changes nothing",
        ));
    }
    let last = available.len().saturating_sub(1).max(1) as f64;
    let kept = |class: usize| {
        let exact = largest as f64 * factor.powf(class as f64 / last);
        floor(if (exact - exact.round()).abs() < 1e-9 * exact { exact.round() } else { exact })
    };
    let smallest = kept(available.len() - 1);
    if smallest < FEWEST {
        return Err(DataError::setting(
            "exponential",
            factor,
            format!(
                "leaves {smallest} of {largest} rows to the last class, and every class needs two\nhint: choose at least {}",
                FEWEST as f64 / largest as f64
            ),
        ));
    }
    Ok(available.iter().enumerate().map(|(class, &n)| n.min(kept(class))).collect())
}

fn heavy_tail_counts(available: &[usize]) -> Result<Vec<usize>, DataError> {
    // ⌊h/(c+1)⌋ ≤ n is h ≤ (n+1)(c+1) − 1.
    let bounds = available.iter().enumerate().map(|(class, &n)| (n.saturating_add(1).saturating_mul(class + 1) - 1, class));
    let (head, narrowest) = bounds.min().unwrap_or((0, 0));
    let smallest = head / available.len();
    if smallest < FEWEST {
        return Err(DataError::setting(
            "heavy tail",
            head,
            format!(
                "the largest size of the first class for which class {narrowest} has enough rows ({} are there) leaves {smallest} to the last \
                 of {} classes, and every class needs two\nhint: leave class {narrowest} out, or put it further back",
                available[narrowest],
                available.len()
            ),
        ));
    }
    Ok((0..available.len()).map(|class| head / (class + 1)).collect())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the largest count, at least 0")]
fn floor(count: f64) -> usize {
    count.floor() as usize
}

#[cfg(test)]
mod tests {
    #[test]
    fn laws_are_read_from_text() {
        let read = |text: &str| text.parse::<super::ClassImbalance>();
        assert_eq!(read("step:20"), Ok(super::ClassImbalance::Step { ratio: 20.0 }));
        assert_eq!(read("exponential:0.01"), Ok(super::ClassImbalance::Exponential { factor: 0.01 }));
        assert_eq!(read("heavy-tail"), Ok(super::ClassImbalance::HeavyTail));
        for text in ["", "step", "step:", "step:x", "step:inf", "heavy-tail:1", "Step:20"] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    use super::*;
    use proptest::prelude::*;

    fn counts_of(kept: &[usize], labels: &[u32], classes: usize) -> Vec<usize> {
        count_classes(&kept.iter().map(|&i| labels[i]).collect::<Vec<_>>(), classes)
    }

    #[test]
    fn the_last_half_is_small_and_seeded() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 5).collect();
        let kept = step_imbalance(&labels, 5, 20.0, 3).unwrap();
        assert_eq!(counts_of(&kept, &labels, 5), [200, 200, 10, 10, 10]);
        assert!(kept.is_sorted());
        assert_eq!(kept, step_imbalance(&labels, 5, 20.0, 3).unwrap());
        assert_ne!(kept, step_imbalance(&labels, 5, 20.0, 4).unwrap());
    }

    #[test]
    fn bad_ratios_are_refused() {
        let with = |ratio| step_imbalance(&[0, 0, 0, 1, 1, 1], 2, ratio, 0).unwrap_err();
        for ratio in [0.5, f64::NAN, f64::INFINITY, -1.0] {
            assert!(with(ratio).to_string().contains("at least 1"));
        }
        insta::assert_snapshot!(with(2.0), @r"
        step = 2.0: leaves 1 of 3 rows to a class of the minority, and every class needs two
        hint: choose at most 1
        ");
    }

    #[test]
    fn bad_factors_are_refused() {
        let with = |factor| ClassImbalance::Exponential { factor }.counts(&[10, 10, 10]).unwrap_err();
        for factor in [0.0, -0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(with(factor).to_string().contains("above 0 and at most 1"), "{factor}");
        }
        insta::assert_snapshot!(with(0.1), @r"
        exponential = 0.1: leaves 1 of 10 rows to the last class, and every class needs two
        hint: choose at least 0.2
        ");
        assert_eq!(ClassImbalance::Exponential { factor: 0.2 }.counts(&[10, 10, 10]).unwrap(), [10, 4, 2]);
    }

    /// CIFAR-100-LT with imbalance 100, from the formula in exact arithmetic: class 99 keeps 5, and class 49 and 50 stand on the
    /// two sides of 50.
    #[test]
    fn powers_that_are_whole_numbers_count_as_them() {
        let counts = ClassImbalance::Exponential { factor: 0.01 }.counts(&[500; 100]).unwrap();
        assert_eq!((counts[0], counts[49], counts[50], counts[99]), (500, 51, 48, 5));
        assert_eq!(counts.iter().sum::<usize>(), 10_847);
        // 1000 · 0.001^(c/3) is 1000, 100, 10, 1 (+ a rounding error), here doubled.
        assert_eq!(ClassImbalance::Exponential { factor: 0.001 }.counts(&[2000; 4]).unwrap(), [2000, 200, 20, 2]);
    }

    #[test]
    fn a_class_too_small_for_its_place_bounds_the_heavy_tail() {
        // Class 2 has 10 rows, so h ≤ 32: 32/3 = 10.67.
        assert_eq!(ClassImbalance::HeavyTail.counts(&[90, 90, 10, 90]).unwrap(), [32, 16, 10, 8]);
        // A later class may be as small as the law makes it.
        assert_eq!(ClassImbalance::HeavyTail.counts(&[90, 45, 30, 22]).unwrap(), [90, 45, 30, 22]);
        insta::assert_snapshot!(ClassImbalance::HeavyTail.counts(&[90, 0, 90]).unwrap_err(), @r"
        heavy tail = 1: the largest size of the first class for which class 1 has enough rows (0 are there) leaves 0 to the last of 3 classes, and every class needs two
        hint: leave class 1 out, or put it further back
        ");
    }

    #[test]
    fn classes_without_rows_and_single_classes() {
        assert_eq!(ClassImbalance::Step { ratio: 2.0 }.counts(&[8, 0, 0, 8]).unwrap(), [8, 0, 0, 4]);
        assert_eq!(ClassImbalance::Exponential { factor: 0.25 }.counts(&[0, 8, 8]).unwrap(), [0, 4, 2]);
        assert_eq!(ClassImbalance::Exponential { factor: 0.25 }.counts(&[8]).unwrap(), [8]);
        assert_eq!(ClassImbalance::HeavyTail.counts(&[8]).unwrap(), [8]);
        for law in [ClassImbalance::Step { ratio: 2.0 }, ClassImbalance::Exponential { factor: 0.5 }, ClassImbalance::HeavyTail] {
            assert!(matches!(law.counts(&[]), Err(DataError::Empty { .. })));
            assert!(matches!(law.counts(&[0, 0]), Err(DataError::Empty { .. })));
            assert!(matches!(law.subset(&[0, 3], 2, 0), Err(DataError::Label { row: 1, .. })));
        }
    }

    fn laws() -> impl Strategy<Value = ClassImbalance> {
        prop_oneof![
            (1.0..15.0f64).prop_map(|ratio| ClassImbalance::Step { ratio }),
            (0.08..=1.0f64).prop_map(|factor| ClassImbalance::Exponential { factor }),
            Just(ClassImbalance::HeavyTail),
        ]
    }

    proptest! {
        #[test]
        fn subsets_have_the_counts_whatever_the_seed(law in laws(), sizes in prop::collection::vec(30usize..60, 1..6), seed: u64) {
            let classes = sizes.len();
            let mut labels: Vec<u32> = (0u32..).zip(&sizes).flat_map(|(class, &n)| vec![class; n]).collect();
            // Rows of a class need not stand together.
            labels.rotate_left(17);
            let counts = law.counts(&sizes).unwrap();
            let kept = law.subset(&labels, classes, seed).unwrap();
            prop_assert!(kept.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(counts_of(&kept, &labels, classes), counts.clone());
            prop_assert!(counts.iter().zip(&sizes).all(|(count, size)| count <= size));
            prop_assert_eq!(&kept, &law.subset(&labels, classes, seed).unwrap());
            let other = law.subset(&labels, classes, seed ^ 1).unwrap();
            prop_assert_eq!(counts_of(&other, &labels, classes), counts);
        }

        #[test]
        fn a_steeper_exponential_keeps_a_part(steep in 0.05..=1.0f64, flat in 0.05..=1.0f64, seed: u64) {
            let labels: Vec<u32> = (0..240).map(|i| i % 5).collect();
            let kept = |factor| ClassImbalance::Exponential { factor }.subset(&labels, 5, seed).unwrap();
            let (few, many) = (kept(steep.min(flat)), kept(steep.max(flat)));
            prop_assert!(few.iter().all(|row| many.binary_search(row).is_ok()));
        }

        #[test]
        fn the_heavy_tail_is_as_long_as_the_rows_allow(sizes in prop::collection::vec(20usize..99, 1..9)) {
            let counts = ClassImbalance::HeavyTail.counts(&sizes).unwrap();
            let head = counts[0];
            for (class, &count) in counts.iter().enumerate() {
                prop_assert_eq!(count, head / (class + 1));
            }
            let longer = (0..sizes.len()).all(|class| (head + 1) / (class + 1) <= sizes[class]);
            prop_assert!(!longer);
        }
    }

    #[test]
    fn no_imbalance_keeps_every_row() {
        let labels: Vec<u32> = (0..50).map(|i| i % 3).collect();
        for law in [ClassImbalance::Step { ratio: 1.0 }, ClassImbalance::Exponential { factor: 1.0 }] {
            assert_eq!(law.subset(&labels, 3, 5).unwrap(), (0..50).collect::<Vec<_>>(), "{law:?}");
        }
    }
}
