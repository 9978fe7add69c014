//! Windows of text.

use std::sync::Arc;

use isorate_data::{Bpe, HubTexts, Split, TokenBins, TokenStream, TokenWindows, state_of_the_union, stream};
use rand::seq::SliceRandom as _;

use super::{HeldOut, Outputs, Parts, Sets};
use crate::Error;
use crate::inputs::Inputs;
use crate::source::{Source, hub};
use crate::spec::data;

/// Bins of token types by frequency.
const BINS: usize = 10;
/// Of so many successive training documents one is held out for validation.
const HELD_OUT: usize = 20;

/// Windows of each part, drawn by the seed; types are binned by how often they are in all of the training documents that are not
/// held out.
pub(super) fn windows(data: &data::Text, source: &Source, seed: u64) -> Result<Sets, Error> {
    let sets = if let Source::Hub(fetched) = source {
        let texts = |split| HubTexts::of(hub()?, fetched.clone(), split).map_err(Error::from);
        let (train, test) = (texts("train")?, texts("validation")?);
        let bpe = Bpe::train(part(train.iter(), Part::Train), data.vocabulary)?;
        Cut {
            train: TokenStream::in_memory(&bpe, part(train.iter(), Part::Train))?,
            validation: TokenStream::in_memory(&bpe, part(train.iter(), Part::Validation))?,
            test: TokenStream::in_memory(&bpe, test.iter())?,
        }
    } else {
        let (text, bpe) = (state_of_the_union(), Bpe::embedded()?);
        let train = text.load(Split::Train)?;
        let documents = || train.iter().map(|document| Ok(document.clone()));
        Cut {
            train: TokenStream::in_memory(&bpe, part(documents(), Part::Train))?,
            validation: TokenStream::in_memory(&bpe, part(documents(), Part::Validation))?,
            test: TokenStream::in_memory(&bpe, text.load(Split::Test)?.into_iter().map(Ok))?,
        }
    };
    let bins = TokenBins::new(sets.train.counts(), BINS)?;
    let vocabulary = sets.train.vocabulary();
    let windows = |tokens, count, split| some(TokenWindows::new(tokens, data.context)?, count, split, seed);
    let held_out = |split, tokens, count| -> Result<HeldOut, Error> {
        Ok(HeldOut { split, inputs: windows(tokens, count, split)?, parts: Parts::Tokens(bins.clone()) })
    };
    Ok(Sets {
        outputs: Outputs::Tokens { vocabulary, context: data.context },
        held_out: vec![held_out("validation", sets.validation, data.validation)?, held_out("test", sets.test, data.test)?],
        train: windows(sets.train, data.train, "train")?,
        decode: None,
    })
}

/// The tokens of each part.
struct Cut {
    train: TokenStream,
    validation: TokenStream,
    test: TokenStream,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Train,
    Validation,
}

/// Training documents, or those that are held out: every so many, so that both span the whole set.
fn part<T>(documents: impl Iterator<Item = T> + Send, part: Part) -> impl Iterator<Item = T> + Send {
    let is = move |i: usize| if i % HELD_OUT == HELD_OUT / 2 { Part::Validation } else { Part::Train };
    documents.enumerate().filter(move |(i, _)| is(*i) == part).map(|(_, document)| document)
}

/// Some of the windows, in their order.
fn some(windows: TokenWindows, count: usize, split: &'static str, seed: u64) -> Result<Inputs, Error> {
    if count > windows.len() {
        let (there, context) = (windows.len(), windows.context());
        return Err(Error::Run(format!(
            "{split} = {count} windows must be at most {there}: there are no more of {context} tokens"
        )));
    }
    let mut rows: Vec<usize> = (0..windows.len()).collect();
    let (chosen, _) = rows.partial_shuffle(&mut stream(seed, split, 0), count);
    let mut chosen = chosen.to_vec();
    chosen.sort_unstable();
    Ok(Inputs::Windows { windows: Arc::new(windows), rows: chosen.into() })
}
