//! Pairs of sentences.

use std::sync::Arc;

use isorate_data::{DataError, EncodedPairs, Padding, SentencePairs, WordPiece};

use super::images::rare_groups;
use super::{HeldOut, Outputs, Parts, RowParts, Sets};
use crate::Error;
use crate::inputs::Inputs;
use crate::source::{Source, hub};
use crate::spec::data;

/// MultiNLI with the tokenizer of the network that reads it.
pub(super) fn multi_nli(data: &data::MultiNli, tokenizer: &Source, seed: u64) -> Result<Sets, Error> {
    let sets = isorate_data::multi_nli(hub()?, seed, &())?;
    let pieces = WordPiece::open(&tokenizer.file("vocabulary")?, data.length)?;
    let rare = rare_groups(&sets.train.groups);
    let inputs = |pairs: &SentencePairs| -> Result<Inputs, Error> {
        let labels = pairs.groups.labels().into();
        Ok(Inputs::Pairs { pairs: Arc::new(encoded(&pieces, pairs)?), labels })
    };
    let mut held_out = Vec::new();
    for (split, pairs) in [("validation", &sets.validation), ("test", &sets.test)] {
        let groups = &pairs.groups;
        let of: Vec<usize> = (0..groups.len()).map(|row| groups.group(row)).collect();
        let parts = RowParts {
            labels: groups.labels().to_vec(),
            classes: groups.class_names().len(),
            minority: of.iter().map(|&group| rare[group]).collect(),
            groups: Some((of, groups.count())),
        };
        held_out.push(HeldOut { split, inputs: inputs(pairs)?, parts: Parts::Rows(parts) });
    }
    Ok(Sets {
        train: inputs(&sets.train)?,
        outputs: Outputs::Classes(sets.train.groups.class_names().len()),
        held_out,
        decode: None,
    })
}

fn encoded(pieces: &WordPiece, pairs: &SentencePairs) -> Result<EncodedPairs, DataError> {
    let texts: Vec<(&str, &str)> = pairs
        .premises
        .iter()
        .zip(&pairs.hypotheses)
        .map(|(premise, hypothesis)| (premise.as_str(), hypothesis.as_str()))
        .collect();
    pieces.encode_pairs(&texts, Padding::Fixed)
}
