//! Seeded subsets of a labelled set.

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::images::{check_labels, count_classes};
use crate::{DataError, stream};

/// How a subset is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Every subset of that size is equally likely.
    Plain,
    /// Each class `c` gives its share `count · n_c / n`, rounded by largest remainders (ties to the lower class) so that the
    /// shares add up to `count`; within a class every subset of that size is equally likely.
    Stratified,
}

/// A training and a validation part: together all indices, each part ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldOut {
    /// Indices to train on.
    pub train: Vec<usize>,
    /// Indices held out.
    pub validation: Vec<usize>,
}

/// Draws `count` indices of `labels` without replacement, in ascending order.
///
/// # Errors
/// [`DataError::Setting`] unless `0 < count ≤ labels.len()`; [`DataError::Empty`] and [`DataError::Label`] for bad labels.
pub fn draw(
    labels: &[u32],
    classes: usize,
    count: usize,
    sampling: Sampling,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<usize>, DataError> {
    check_labels("labels", labels, classes)?;
    if count == 0 || count > labels.len() {
        return Err(DataError::setting("count", count, format!("must be in 1..={}", labels.len())));
    }
    let mut chosen = Vec::with_capacity(count);
    match sampling {
        Sampling::Plain => {
            let mut all: Vec<usize> = (0..labels.len()).collect();
            chosen.extend_from_slice(all.partial_shuffle(rng, count).0);
        }
        Sampling::Stratified => {
            let mut members = vec![Vec::new(); classes];
            for (i, &label) in labels.iter().enumerate() {
                members[label as usize].push(i);
            }
            let shares = largest_remainders(&count_classes(labels, classes), count);
            for (members, share) in members.iter_mut().zip(shares) {
                chosen.extend_from_slice(members.partial_shuffle(rng, share).0);
            }
        }
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// Holds `count` of the training images out for validation, drawn from the stream (`seed`, "validation", 0).
///
/// # Errors
/// As [`draw`]; also [`DataError::Setting`] when nothing would be left to train on.
pub fn hold_out(labels: &[u32], classes: usize, count: usize, sampling: Sampling, seed: u64) -> Result<HoldOut, DataError> {
    if count >= labels.len() {
        return Err(DataError::setting(
            "validation count",
            count,
            format!("must be below the {} images there are", labels.len()),
        ));
    }
    let validation = draw(labels, classes, count, sampling, &mut stream(seed, "validation", 0))?;
    let mut held = vec![false; labels.len()];
    for &i in &validation {
        held[i] = true;
    }
    let train = (0..labels.len()).filter(|&i| !held[i]).collect();
    Ok(HoldOut { train, validation })
}

/// `total` shared out in proportion to `weights` (not all 0): floors first, then one more to the largest remainders, ties to the
/// lower index. No share exceeds its weight while `total ≤ Σ weights`.
pub(crate) fn largest_remainders(weights: &[usize], total: usize) -> Vec<usize> {
    let sum: u128 = weights.iter().map(|&w| w as u128).sum();
    let exact = |w: usize| w as u128 * total as u128;
    let mut shares: Vec<usize> =
        weights.iter().map(|&w| usize::try_from(exact(w) / sum).expect("a share is at most the total")).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&c| std::cmp::Reverse(exact(weights[c]) % sum));
    let missing = total - shares.iter().sum::<usize>();
    for &c in &order[..missing] {
        shares[c] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labelled() -> impl Strategy<Value = (Vec<u32>, usize)> {
        prop::collection::vec(0u32..5, 2..200).prop_flat_map(|labels| {
            let n = labels.len();
            (Just(labels), 1..n)
        })
    }

    proptest! {
        #[test]
        fn parts_are_disjoint_complete_and_of_the_right_size((labels, count) in labelled(), seed: u64, stratified: bool) {
            let sampling = if stratified { Sampling::Stratified } else { Sampling::Plain };
            let parts = hold_out(&labels, 5, count, sampling, seed).unwrap();
            prop_assert_eq!(parts.validation.len(), count);
            prop_assert!(parts.validation.is_sorted() && parts.train.is_sorted());
            let mut all = [parts.train.clone(), parts.validation.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            prop_assert_eq!(&parts, &hold_out(&labels, 5, count, sampling, seed).unwrap());
        }

        #[test]
        fn strata_keep_their_share((labels, count) in labelled(), seed: u64) {
            let parts = hold_out(&labels, 5, count, Sampling::Stratified, seed).unwrap();
            for class in 0..5u32 {
                let n_c = labels.iter().filter(|&&l| l == class).count() as f64;
                let drawn = parts.validation.iter().filter(|&&i| labels[i] == class).count() as f64;
                let exact = count as f64 * n_c / labels.len() as f64;
                prop_assert!((drawn - exact).abs() < 1.0, "class {}: {} drawn, share {}", class, drawn, exact);
            }
        }
    }

    #[test]
    fn the_seed_matters_and_is_enough() {
        let labels: Vec<u32> = (0..100).map(|i| i % 4).collect();
        let with = |seed| hold_out(&labels, 4, 8, Sampling::Stratified, seed).unwrap().validation;
        assert_eq!(with(3), with(3));
        assert_ne!(with(3), with(4));
    }

    #[test]
    fn every_index_is_about_equally_likely() {
        let labels = vec![0; 20];
        let mut hits = [0u32; 20];
        for seed in 0..4_000 {
            for i in hold_out(&labels, 1, 5, Sampling::Plain, seed).unwrap().validation {
                hits[i] += 1;
            }
        }
        // 1,000 expected, standard deviation √(4000 · ¼ · ¾) = 27; five of them.
        assert!(hits.iter().all(|&h| (863..=1137).contains(&h)), "{hits:?}");
    }

    #[test]
    fn bad_counts_are_refused() {
        let hold = |count| hold_out(&[0, 1, 1], 2, count, Sampling::Plain, 0).unwrap_err();
        insta::assert_snapshot!(hold(0), @"count = 0: must be in 1..=3");
        insta::assert_snapshot!(hold(3), @"validation count = 3: must be below the 3 images there are");
        assert!(hold_out(&[0, 5], 2, 1, Sampling::Plain, 0).is_err());
    }

    #[test]
    fn remainders_add_up() {
        assert_eq!(largest_remainders(&[5, 3, 2], 5), [3, 1, 1]);
        assert_eq!(largest_remainders(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(largest_remainders(&[0, 4], 4), [0, 4]);
    }
}
