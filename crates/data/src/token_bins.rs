//! Tokens grouped by how often they occur.

use crate::DataError;

/// The types of a vocabulary in bins of about as many tokens each, the most frequent types first: the groups by which Kunstner et al.
/// 2024 ("Heavy-Tailed Class Imbalance and Why Adam Outperforms Gradient Descent on Language Models", arXiv 2402.19449) look at the loss.
///
/// Types are sorted by count, most frequent first, equal counts by id. With `C` the share of tokens of a type and all types before it, its
/// bin is `⌊bins · C⌋`, at most `bins − 1`: the type with which the share reaches `q / bins` begins bin `q`, as in the
/// authors' code. So a bin can be off by the tokens of a type, and it has none if one type alone takes more than its share. A type
/// that does not occur has `C = 1`, so it is in the last bin: tokens that only the evaluation has are rare ones.
///
/// Use the counts of the training text, for all texts that are compared.
///
/// ```
/// use isorate_data::TokenBins;
/// let bins = TokenBins::new(&[1, 50, 0, 9, 30, 10], 4)?;
/// assert_eq!(bins.types(), [0, 0, 1, 5]);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBins {
    bins: Vec<usize>,
    counts: Vec<u64>,
    number: usize,
}

impl TokenBins {
    /// Bins for `counts[id]` tokens of each type.
    ///
    /// # Errors
    /// [`DataError::Setting`] without a bin; [`DataError::Empty`] without a token.
    pub fn new(counts: &[u64], bins: usize) -> Result<Self, DataError> {
        if bins == 0 {
            return Err(DataError::setting("bins", bins, "must be at least 1"));
        }
        let total: u128 = counts.iter().map(|&count| u128::from(count)).sum();
        if total == 0 {
            return Err(DataError::Empty { name: "tokens".to_owned() });
        }
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&id| std::cmp::Reverse(counts[id]));
        let mut bin = vec![0; counts.len()];
        let mut reached = 0;
        for id in order {
            reached += u128::from(counts[id]);
            let place = bins as u128 * reached / total;
            bin[id] = usize::try_from(place).map_or(bins - 1, |place| place.min(bins - 1));
        }
        Ok(Self { bins: bin, counts: counts.to_vec(), number: bins })
    }

    /// The number of bins.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one bin")]
    pub fn len(&self) -> usize {
        self.number
    }

    /// The bin of a type, 0 for the most frequent ones.
    ///
    /// # Panics
    /// If there is no such type.
    pub fn bin(&self, token: u32) -> usize {
        self.bins[token as usize]
    }

    /// The number of types in each bin.
    pub fn types(&self) -> Vec<usize> {
        let mut types = vec![0; self.number];
        for &bin in &self.bins {
            types[bin] += 1;
        }
        types
    }

    /// The number of tokens in each bin, in the text that was counted.
    pub fn tokens(&self) -> Vec<u64> {
        self.tokens_of(&self.counts)
    }

    /// The number of tokens in each bin, in a text with `counts[id]` tokens of each type.
    ///
    /// # Panics
    /// If there are more types.
    pub fn tokens_of(&self, counts: &[u64]) -> Vec<u64> {
        let mut tokens = vec![0; self.number];
        for (count, &bin) in counts.iter().zip(&self.bins[..counts.len()]) {
            tokens[bin] += count;
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_are_where_the_share_is_reached() {
        // Shares .25, .5, .75, 1: the type that reaches a quarter begins the next bin, so the first one has none.
        let bins = TokenBins::new(&[5, 5, 5, 5], 4).unwrap();
        assert_eq!((0..4).map(|id| bins.bin(id)).collect::<Vec<_>>(), [1, 2, 3, 3]);
        // By count, then by id.
        let bins = TokenBins::new(&[1, 3, 1, 3, 1, 0], 3).unwrap();
        assert_eq!((0..6).map(|id| bins.bin(id)).collect::<Vec<_>>(), [2, 1, 2, 2, 2, 2]);
        assert_eq!((bins.types(), bins.tokens()), (vec![0, 1, 5], vec![0, 3, 6]));
        assert_eq!(bins.tokens_of(&[0, 7]), [0, 7, 0]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        insta::assert_snapshot!(TokenBins::new(&[1], 0).unwrap_err(), @"bins = 0: must be at least 1");
        insta::assert_snapshot!(TokenBins::new(&[0], 2).unwrap_err(), @"tokens: no rows; a data set needs at least one");
    }

    proptest! {
        #[test]
        fn bins_are_ordered_and_off_by_at_most_a_type(counts in prop::collection::vec(0u64..1000, 1..300), number in 1usize..12) {
            prop_assume!(counts.iter().any(|&count| count > 0));
            let bins = TokenBins::new(&counts, number).unwrap();
            let total: u64 = counts.iter().sum();
            prop_assert_eq!(bins.types().iter().sum::<usize>(), counts.len());
            prop_assert_eq!(bins.tokens().iter().sum::<u64>(), total);
            let ids = 0..u32::try_from(counts.len()).unwrap();
            for (a, b) in ids.clone().zip(ids.skip(1)) {
                if counts[a as usize] > counts[b as usize] {
                    prop_assert!(bins.bin(a) <= bins.bin(b));
                }
            }
            let largest = *counts.iter().max().unwrap() as f64;
            let mut sum = 0;
            for (q, tokens) in bins.tokens().into_iter().enumerate() {
                sum += tokens;
                let exact = total as f64 * (q + 1) as f64 / number as f64;
                prop_assert!(sum as f64 <= exact + 1e-9 * exact && sum as f64 + largest >= exact - 1e-9 * exact);
            }
        }
    }
}
