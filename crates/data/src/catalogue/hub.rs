//! Sets that only the hub has.

use isorate_hub::{Hub, source};

use super::open::{domino_parts, examples, images};
use super::{Entry, FileFacts, Form, OpenOptions, Opened, OpenedSplit};
use crate::hub_files::{cached, label, splits};
use crate::{DataError, DominoClasses, ImageSource, Images, Memory, Split, open_images};

pub(super) fn open(entry: &Entry, options: &OpenOptions) -> Result<Opened, DataError> {
    if entry.name == "dominoes-cifar" {
        return dominoes(entry, options);
    }
    let (hub, fetched) = cached(entry.name)?;
    let source = hub.source(source(entry.name)?);
    let splits: Vec<OpenedSplit> = match entry.form {
        Form::Images => splits(&fetched).into_iter().map(|split| image_split(entry.name, split)).collect::<Result<_, _>>()?,
        Form::Text => Vec::new(),
        Form::Numbers | Form::Weights => Vec::new(),
    };
    Ok(Opened {
        origin: label(&hub, &fetched)?,
        licence: source.licence.clone(),
        citation: source.citation.clone(),
        files: fetched.files.iter().map(FileFacts::of).collect(),
        splits,
    })
}

fn image_split(name: &str, split: &str) -> Result<OpenedSplit, DataError> {
    let set = open_images(Hub::from_env()?, name, split, Memory::default())?;
    let kind = set.images().set();
    let published_groups = kind.published(split).map(<[usize]>::to_vec);
    let names: Vec<String> = kind.class.names.iter().map(|&name| name.to_owned()).collect();
    let grouped = kind.attribute.is_some();
    let opened = if grouped || names.is_empty() { examples(set) } else { images(set, &names) };
    let published_groups = published_groups.filter(|_| grouped);
    Ok(OpenedSplit { name: split.to_owned(), published_groups, ..opened })
}

fn dominoes(entry: &Entry, options: &OpenOptions) -> Result<Opened, DataError> {
    let digits = ImageSource::find("mnist", &options.origin)?;
    let (hub, fetched) = cached("cifar-10")?;
    let photographs = |split: Split| -> Result<Images, DataError> {
        open_images(Hub::from_env()?, "cifar-10", split.name(), Memory::default())?.to_images()
    };
    let bottom = [photographs(Split::Train)?, photographs(Split::Test)?];
    let top = [digits.load(Split::Train)?, digits.load(Split::Test)?];
    let mut opened = domino_parts(&[digits], &top, &bottom, DominoClasses::MNIST_CIFAR, options.seed)?;
    let source = hub.source(source("cifar-10")?);
    for (text, more) in [
        (&mut opened.origin, label(&hub, &fetched)?),
        (&mut opened.licence, source.licence.clone()),
        (&mut opened.citation, source.citation.clone()),
    ] {
        *text = format!("{text}; {more}");
    }
    opened.files.extend(fetched.files.iter().map(FileFacts::of));
    debug_assert_eq!(entry.made_of, ["mnist", "cifar-10"]);
    Ok(opened)
}
