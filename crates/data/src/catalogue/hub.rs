//! Sets that only the hub has.

use isorate_hub::{Fetched, Hub, source};

use super::open::{domino_parts, examples, images};
use super::{Entry, FileFacts, Form, OpenOptions, Opened, OpenedSplit};
use crate::multi_nli::multi_nli_of;
use crate::{
    DataError, DominoClasses, HubImages, HubTexts, ImageSource, Images, MULTI_NLI_TRAIN_GROUPS, Memory, MultiNli, SentencePairs,
    Split,
};

pub(super) fn open<'h>(entry: &Entry, hub: &'h Hub, options: &OpenOptions) -> Result<Opened<'h>, DataError> {
    if entry.name == "dominoes-cifar" {
        return dominoes(hub, options);
    }
    let fetched = hub.cached(source(entry.name)?, &())?;
    let source = hub.source(source(entry.name)?);
    let splits: Vec<OpenedSplit> = match entry.form {
        Form::Images => splits(&fetched).into_iter().map(|split| image_split(hub, &fetched, split)).collect::<Result<_, _>>()?,
        Form::Text if entry.name == "multi-nli" => pairs(hub, &fetched, options.seed)?,
        Form::Text => splits(&fetched).into_iter().map(|split| texts(hub, &fetched, split)).collect::<Result<_, _>>()?,
        Form::Numbers | Form::Weights => Vec::new(),
    };
    Ok(Opened {
        origin: label(hub, &fetched)?,
        licence: source.licence.clone(),
        citation: source.citation.clone(),
        files: fetched.files.iter().map(FileFacts::of).collect(),
        splits,
    })
}

/// Repository and commit.
pub(crate) fn label(hub: &Hub, fetched: &Fetched) -> Result<String, DataError> {
    Ok(format!("hub {}@{}", hub.source(source(&fetched.name)?).id, fetched.commit))
}

/// The splits of a source: the one to train on first.
fn splits(fetched: &Fetched) -> Vec<&str> {
    let mut splits: Vec<&str> = Vec::new();
    for file in &fetched.files {
        if !splits.contains(&file.split.as_str()) {
            splits.push(&file.split);
        }
    }
    splits.sort_by_key(|split| *split != "train");
    splits
}

fn image_split<'h>(hub: &'h Hub, fetched: &Fetched, split: &str) -> Result<OpenedSplit<'h>, DataError> {
    let set = HubImages::of(hub, fetched.clone(), split, Memory::default())?;
    let kind = set.images().set();
    let published_groups = kind.published(split).filter(|_| kind.attribute.is_some()).map(<[usize]>::to_vec);
    let names: Vec<String> = kind.class.names.iter().map(|&name| name.to_owned()).collect();
    let opened = if kind.attribute.is_some() || names.is_empty() { examples(set) } else { images(set, &names) };
    Ok(OpenedSplit { name: split.to_owned(), published_groups, ..opened })
}

/// Texts that are shown as examples.
const SHOWN: usize = 3;

fn texts(hub: &Hub, fetched: &Fetched, split: &str) -> Result<OpenedSplit<'static>, DataError> {
    let set = HubTexts::of(hub, fetched.clone(), split)?;
    Ok(OpenedSplit { name: split.to_owned(), rows: set.rows(), texts: set.first(SHOWN)?, ..OpenedSplit::default() })
}

/// The pooled pairs, shared out.
fn pairs(hub: &Hub, fetched: &Fetched, seed: u64) -> Result<Vec<OpenedSplit<'static>>, DataError> {
    let MultiNli { train, validation, test } = multi_nli_of(hub, fetched, seed)?;
    let part = |(name, pairs): (&str, SentencePairs)| OpenedSplit {
        name: name.to_owned(),
        rows: pairs.groups.len(),
        class_names: pairs.groups.class_names().to_vec(),
        labels: pairs.groups.labels().to_vec(),
        texts: pairs.premises.iter().zip(&pairs.hypotheses).take(SHOWN).map(|(p, h)| format!("{p} → {h}")).collect(),
        published_groups: (name == "train").then(|| MULTI_NLI_TRAIN_GROUPS.to_vec()),
        groups: Some(pairs.groups),
        ..OpenedSplit::default()
    };
    Ok([("train", train), ("validation", validation), ("test", test)].map(part).into())
}

fn dominoes<'h>(hub: &'h Hub, options: &OpenOptions) -> Result<Opened<'h>, DataError> {
    let digits = ImageSource::find("mnist", &options.origin)?;
    let fetched = hub.cached(source("cifar-10")?, &())?;
    let photographs = |split: Split| -> Result<Images, DataError> {
        HubImages::of(hub, fetched.clone(), split.name(), Memory::default())?.to_images()
    };
    let bottom = [photographs(Split::Train)?, photographs(Split::Test)?];
    let top = [digits.load(Split::Train)?, digits.load(Split::Test)?];
    let mut opened = domino_parts(&[digits], &top, &bottom, DominoClasses::MNIST_CIFAR, options.seed)?;
    let source = hub.source(source("cifar-10")?);
    for (text, more) in [
        (&mut opened.origin, label(hub, &fetched)?),
        (&mut opened.licence, source.licence.clone()),
        (&mut opened.citation, source.citation.clone()),
    ] {
        *text = format!("{text}; {more}");
    }
    opened.files.extend(fetched.files.iter().map(FileFacts::of));
    Ok(opened)
}
