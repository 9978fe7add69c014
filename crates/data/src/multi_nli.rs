//! MultiNLI with the negation attribute.

use isorate_hub::{Fetched, Hub, Progress};
use rand::seq::SliceRandom;

use crate::decode::ROWS_AT_ONCE;
use crate::shards::{Kind, Shard, Wanted};
use crate::split::largest_remainders;
use crate::{DataError, Groups, set_aside, stream};

/// What the labels of the hub's files stand for.
const CLASSES: [&str; 3] = ["entailment", "neutral", "contradiction"];
const ATTRIBUTES: [&str; 2] = ["no negation", "negation"];
/// The words that Sagawa et al. 2020 look for.
const NEGATIONS: [&str; 4] = ["nobody", "no", "never", "nothing"];
/// Parts of the pooled pairs that are trained on, validated on and tested on, in percent.
const PARTS: [usize; 3] = [50, 20, 30];

/// Rows of the training part in each group as Sagawa et al. 2020 have them (arXiv 1911.08731), in the order of [`Groups`] here: entailment, neutral,
/// contradiction, each without and with a negation word.
pub const MULTI_NLI_TRAIN_GROUPS: [usize; 6] = [67_376, 1_521, 66_630, 1_992, 57_498, 11_158];

/// Whether a hypothesis has one of the words *nobody*, *no*, *never*, *nothing*: as in the code of Sagawa et al. 2020, ASCII punctuation is
/// taken out, letters are made small, and words are what stands between spaces. So "No-one" is the word "noone", and "don't" no negation.
///
/// ```
/// use isorate_data::has_negation;
/// assert!(has_negation("He never came."));
/// assert!(has_negation("\"No,\" she said"));
/// assert!(!has_negation("Nobody's dog") && !has_negation("I don't know"));
/// ```
pub fn has_negation(hypothesis: &str) -> bool {
    let plain: String = hypothesis.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    plain.to_lowercase().split(' ').any(|word| NEGATIONS.contains(&word))
}

/// Pairs of sentences with their groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentencePairs {
    /// What is taken to be true.
    pub premises: Vec<String>,
    /// What is judged.
    pub hypotheses: Vec<String>,
    /// The judgement as the class, a negation word in the hypothesis as the attribute.
    pub groups: Groups,
}

/// MultiNLI as Sagawa et al. 2020 use it: the training set and both development sets pooled, and shared out at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultiNli {
    /// 50% of the pairs.
    pub train: SentencePairs,
    /// 20%.
    pub validation: SentencePairs,
    /// 30%.
    pub test: SentencePairs,
}

/// Reads MultiNLI from the cache of the hub, some 90 MB of text, and shares it out by `seed`; the sizes are exact up to rounding by largest remainders. The network is
/// not used.
///
/// The random split of Sagawa et al. is in a metadata file of their code, which the hub does not have: with another split the groups of the training part differ from
/// [`MULTI_NLI_TRAIN_GROUPS`] by chance.
///
/// # Errors
/// [`DataError::Hub`] when the set was not fetched or its files are not what they must be; [`DataError::SetAside`] for a file in another schema, or with a label that
/// is not 0, 1 or 2 (the hub's files have none; in the original release pairs without a majority have none of the three, and were left out).
pub fn multi_nli(hub: &Hub, seed: u64, progress: &dyn Progress) -> Result<MultiNli, DataError> {
    multi_nli_of(hub, &hub.cached(isorate_hub::source("multi-nli")?, progress)?, seed)
}

/// [`multi_nli`] from files that were just verified.
pub(crate) fn multi_nli_of(hub: &Hub, fetched: &Fetched, seed: u64) -> Result<MultiNli, DataError> {
    let mut pairs = Pairs::default();
    for split in ["train", "validation_matched", "validation_mismatched"] {
        for file in fetched.of(split) {
            pairs.read(&file.path).map_err(|error| set_aside(hub, fetched, error))?;
        }
    }
    pairs.shared_out(seed)
}

#[derive(Default)]
struct Pairs {
    premises: Vec<String>,
    hypotheses: Vec<String>,
    labels: Vec<u32>,
}

impl Pairs {
    fn read(&mut self, path: &std::path::Path) -> Result<(), DataError> {
        let text = |name| Wanted { name, kind: Kind::Text };
        let label = Wanted { name: "label", kind: Kind::Integer };
        let mut shard = Shard::open(path, &[text("premise"), text("hypothesis"), label])?;
        while let Some(block) = shard.next_block(ROWS_AT_ONCE)? {
            self.premises.extend(block.texts(0)?.into_iter().map(str::to_owned));
            self.hypotheses.extend(block.texts(1)?.into_iter().map(str::to_owned));
            self.labels.extend(block.labels(2, CLASSES.len())?);
        }
        Ok(())
    }

    fn shared_out(self, seed: u64) -> Result<MultiNli, DataError> {
        let mut rows: Vec<usize> = (0..self.labels.len()).collect();
        rows.shuffle(&mut stream(seed, "multi-nli split", 0));
        let sizes = largest_remainders(&PARTS, rows.len());
        let mut part = |size: usize| -> Result<SentencePairs, DataError> {
            let mut chosen: Vec<usize> = rows.drain(..size).collect();
            chosen.sort_unstable();
            let of = |texts: &[String]| chosen.iter().map(|&row| texts[row].clone()).collect::<Vec<_>>();
            let hypotheses = of(&self.hypotheses);
            let attributes = hypotheses.iter().map(|hypothesis| u32::from(has_negation(hypothesis))).collect();
            let labels = chosen.iter().map(|&row| self.labels[row]).collect();
            let groups = Groups::new(CLASSES, ATTRIBUTES, labels, attributes)?;
            Ok(SentencePairs { premises: of(&self.premises), hypotheses, groups })
        };
        Ok(MultiNli { train: part(sizes[0])?, validation: part(sizes[1])?, test: part(sizes[2])? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negation_words_stand_alone() {
        for text in ["no", "NO!", "there is nothing.", "never, ever", "nobody"] {
            assert!(has_negation(text), "{text}");
        }
        for text in ["", "not", "know", "none", "another", "n't", "no-one", "no\tway"] {
            assert!(!has_negation(text), "{text}");
        }
    }

    #[test]
    fn pairs_are_shared_out_whole_and_by_seed() {
        let count = 107;
        let text = |kind: &str| (0..count).map(|i| format!("{kind} {i}{}", if i % 5 == 0 { " never" } else { "" })).collect();
        let pairs = |seed| {
            let labels = (0..count).map(|i| u32::try_from(i % 3).unwrap()).collect();
            Pairs { premises: text("p"), hypotheses: text("h"), labels }.shared_out(seed).unwrap()
        };
        let set = pairs(1);
        let parts = [&set.train, &set.validation, &set.test];
        assert_eq!(parts.map(|part| part.groups.len()), [54, 21, 32]);
        let mut all: Vec<&String> = parts.iter().flat_map(|part| &part.hypotheses).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
        for part in parts {
            for (row, (premise, hypothesis)) in part.premises.iter().zip(&part.hypotheses).enumerate() {
                assert_eq!(premise[1..], hypothesis[1..]);
                let number: usize = hypothesis.split(' ').nth(1).unwrap().parse().unwrap();
                assert_eq!(part.groups.labels()[row] as usize, number % 3);
                assert_eq!(part.groups.attributes()[row] == 1, number.is_multiple_of(5));
            }
        }
        assert_eq!(set, pairs(1));
        assert_ne!(set.train, pairs(2).train);
        assert_eq!(MULTI_NLI_TRAIN_GROUPS.iter().sum::<usize>(), 206_175);
    }
}
