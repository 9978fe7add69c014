//! Imbalanced subsets.

use rand::seq::SliceRandom;

use crate::images::{check_labels, count_classes};
use crate::{DataError, stream};

/// STEP imbalance (Cao et al. 2019, arXiv 1906.07413): the first half of the classes keep all of their rows, and each class of the last
/// half (of 2q + 1 classes, the last q + 1) keeps `⌊n_max/ratio⌋` rows, `n_max` being the largest class; a class that has no more keeps all. The kept rows of a class are a random
/// subset from the stream (`seed`, "step imbalance", class). Returns the indices that are kept, ascending.
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
    check_labels("labels", labels, classes)?;
    if !(ratio.is_finite() && ratio >= 1.0) {
        return Err(DataError::setting(
            "step",
            ratio,
            "the ratio must be finite and at least 1\nhint: 20 is common, and 1 changes nothing",
        ));
    }
    let largest = count_classes(labels, classes).into_iter().max().unwrap_or(0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most the largest count, at least 0")]
    let kept = (largest as f64 / ratio).floor() as usize;
    if kept < 2 {
        return Err(DataError::setting(
            "step",
            ratio,
            format!(
                "leaves {kept} of {largest} rows to a class of the minority, and every class needs two\nhint: choose at most {}",
                largest / 2
            ),
        ));
    }
    let mut chosen = Vec::new();
    for class in 0..classes {
        let mut members: Vec<usize> = (0..labels.len()).filter(|&row| labels[row] as usize == class).collect();
        if class >= classes / 2 && members.len() > kept {
            let (subset, _) = members.partial_shuffle(&mut stream(seed, "step imbalance", class as u64), kept);
            chosen.extend_from_slice(subset);
        } else {
            chosen.append(&mut members);
        }
    }
    chosen.sort_unstable();
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_half_is_small_and_seeded() {
        let labels: Vec<u32> = (0..1000).map(|i| i % 5).collect();
        let kept = step_imbalance(&labels, 5, 20.0, 3).unwrap();
        let counts = count_classes(&kept.iter().map(|&i| labels[i]).collect::<Vec<_>>(), 5);
        assert_eq!(counts, [200, 200, 10, 10, 10]);
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
}
