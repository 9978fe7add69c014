//! The files behind a run: where they are, and what they must be.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use isorate_data::{DataError, HubImages, ImageSource, Images, Memory, Origin, Split, state_of_the_union};
use isorate_hub::{Fetched, Hub};

use crate::Error;

/// Files that are found and whose checksums are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// MNIST or Fashion-MNIST.
    Images(ImageSource),
    /// A data set or weights from the cache of the hub, verified.
    Hub(Fetched),
    /// The text in the program.
    EmbeddedText,
}

/// The hub of the environment; sets that are read while a run goes on borrow it.
pub(crate) fn hub() -> Result<&'static Hub, Error> {
    static HUB: OnceLock<Hub> = OnceLock::new();
    if let Some(hub) = HUB.get() {
        return Ok(hub);
    }
    let opened = Hub::from_env().map_err(DataError::from)?;
    Ok(HUB.get_or_init(|| opened))
}

impl Source {
    /// An image set; those that are not in the program come from the hub whatever the origin.
    pub(crate) fn images(name: &str, origin: &Origin) -> Result<Self, Error> {
        match name {
            "mnist" | "fashion-mnist" => Ok(Self::Images(ImageSource::find(name, origin)?)),
            _ => Self::hub(name),
        }
    }

    /// Files that were fetched from the hub.
    pub(crate) fn hub(name: &str) -> Result<Self, Error> {
        let source = isorate_hub::source(name).map_err(DataError::from)?;
        Ok(Self::Hub(hub()?.cached(source, &()).map_err(DataError::from)?))
    }

    /// Where the bytes are from, without a place on this machine.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Images(source) => source.label().to_owned(),
            Self::Hub(fetched) => format!("hub {} at {}", fetched.name, fetched.commit),
            Self::EmbeddedText => "embedded".into(),
        }
    }

    /// Checksums by name and part.
    pub(crate) fn checksums(&self) -> BTreeMap<String, String> {
        match self {
            Self::Images(source) => source.checksums().clone(),
            Self::Hub(fetched) => {
                fetched.files.iter().map(|file| (format!("{}/{}", fetched.name, file.name), file.sha256.clone())).collect()
            }
            Self::EmbeddedText => {
                let text = state_of_the_union();
                let key = |split| format!("{}/{}", text.name, text.split_name(split));
                Split::ALL.into_iter().map(|split| (key(split), text.checksum(split))).collect()
            }
        }
    }

    /// All images of a part.
    pub(crate) fn load(&self, split: Split) -> Result<Images, Error> {
        match self {
            Self::Images(source) => Ok(source.load(split)?),
            Self::Hub(fetched) => Ok(self.open(fetched, split.name())?.to_images()?),
            Self::EmbeddedText => Err(Error::Run("the embedded text has no images".into())),
        }
    }

    /// A part of an image set of the hub, whose images are decoded when they are asked for.
    pub(crate) fn on_demand(&self, split: &str) -> Result<HubImages<'static>, Error> {
        match self {
            Self::Hub(fetched) => self.open(fetched, split),
            _ => Err(Error::Run(format!("{} is not a set of the hub", self.label()))),
        }
    }

    #[allow(clippy::unused_self, reason = "a part of `self`, which the caller has already taken out")]
    fn open(&self, fetched: &Fetched, split: &str) -> Result<HubImages<'static>, Error> {
        Ok(HubImages::of(hub()?, fetched.clone(), split, Memory::default())?)
    }

    /// The one file of a part, such as `weights` or `vocabulary`.
    pub(crate) fn file(&self, part: &str) -> Result<PathBuf, Error> {
        let Self::Hub(fetched) = self else {
            return Err(Error::Run(format!("{} has no files of the hub", self.label())));
        };
        match fetched.of(part).next() {
            Some(file) => Ok(file.path.clone()),
            None => Err(Error::Run(format!("`{}` of the hub has no file for `{part}`", fetched.name))),
        }
    }
}

/// What several sources are called together, for a run's identity.
pub(crate) fn labels(sources: &[Source]) -> String {
    let mut labels: Vec<String> = sources.iter().map(Source::label).collect();
    labels.dedup();
    labels.join(", ")
}

/// The checksums of several sources.
pub(crate) fn checksums(sources: &[Source]) -> BTreeMap<String, String> {
    sources.iter().flat_map(Source::checksums).collect()
}
