//! Which bytes stand behind the name of an image set: the subsets in the program, the complete set from the hub, or IDX files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use isorate_hub::Hub;

use crate::catalogue::label;
use crate::idx_folder::idx_split;
use crate::{DataError, EmbeddedDataset, FileFacts, HubImages, Images, Memory, Split, fashion_mnist, idx_folder, mnist};

/// Where the images of MNIST and Fashion-MNIST come from. As text: `embedded`, `hub`, or `idx:FOLDER`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// The subsets that are part of the program.
    #[default]
    Embedded,
    /// The complete sets in the cache of the Hugging Face hub, verified.
    Hub,
    /// The complete set in a folder of IDX files, raw or `.gz`.
    Idx(PathBuf),
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("idx", folder)) if !folder.is_empty() => Ok(Self::Idx(folder.into())),
            None if text == "embedded" => Ok(Self::Embedded),
            None if text == "hub" => Ok(Self::Hub),
            _ => Err("must be embedded, hub, or idx:FOLDER with a folder of IDX files".into()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Hub => f.write_str("hub"),
            Self::Idx(folder) => write!(f, "idx:{}", folder.display()),
        }
    }
}

/// An image set whose bytes are known: what a run is made from, and what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSource {
    dataset: &'static EmbeddedDataset,
    origin: Origin,
    label: String,
    /// By name and split, as `mnist/train`.
    checksums: BTreeMap<String, String>,
    files: Vec<FileFacts>,
}

impl ImageSource {
    /// Finds the image set `name`, `mnist` or `fashion-mnist`, and takes the checksums of its files. Nothing is downloaded.
    ///
    /// # Errors
    /// [`DataError::Setting`] for another name. From the hub, [`DataError::Hub`] when the set is not in the cache or its files are
    /// not what was recorded. From a folder, what [`idx_folder`] can raise.
    pub fn find(name: &str, origin: &Origin) -> Result<Self, DataError> {
        let dataset = [mnist(), fashion_mnist()].into_iter().find(|dataset| dataset.name == name);
        let dataset = dataset.ok_or_else(|| DataError::setting("image set", name, "must be mnist or fashion-mnist"))?;
        let key = |split: &str| format!("{name}/{split}");
        let (mut checksums, mut files) = (BTreeMap::new(), Vec::new());
        let label = match origin {
            Origin::Embedded => {
                for split in Split::ALL {
                    let checksum = dataset.checksum(split);
                    files.push(FileFacts {
                        name: format!("{}/{}-00000-of-00001.parquet", name, split.name()),
                        path: None,
                        bytes: dataset.bytes(split).len() as u64,
                        checksum: format!("blake3:{checksum}"),
                    });
                    checksums.insert(key(split.name()), checksum);
                }
                "embedded".to_owned()
            }
            Origin::Hub => {
                let hub = Hub::from_env()?;
                let fetched = hub.cached(isorate_hub::source(name)?, &())?;
                checksums.extend(fetched.files.iter().map(|file| (key(&file.split), file.sha256.clone())));
                files.extend(fetched.files.iter().map(FileFacts::of));
                label(&hub, &fetched)?
            }
            Origin::Idx(folder) => {
                for (split, images) in Split::ALL.into_iter().zip(idx_folder(folder, dataset.classes())?) {
                    let checksum = images.checksum();
                    files.push(FileFacts {
                        name: format!("{} images and labels", split.name()),
                        path: Some(folder.clone()),
                        bytes: (images.pixels().len() + images.len()) as u64,
                        checksum: format!("blake3:{checksum}"),
                    });
                    checksums.insert(key(split.name()), checksum);
                }
                "idx".to_owned()
            }
        };
        Ok(Self { dataset, origin: origin.clone(), label, checksums, files })
    }

    /// The name of the set.
    pub fn name(&self) -> &'static str {
        self.dataset.name
    }

    /// What each label stands for.
    pub fn class_names(&self) -> &'static [&'static str] {
        self.dataset.class_names
    }

    /// The terms of the data.
    pub fn licence(&self) -> &'static str {
        self.dataset.licence
    }

    /// What to cite.
    pub fn citation(&self) -> &'static str {
        self.dataset.citation
    }

    /// Its files, one for each split; IDX files are two for each, which count as one.
    pub fn files(&self) -> Vec<FileFacts> {
        self.files.clone()
    }

    /// Where it was found.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// `embedded`, `idx`, or `hub` with repository and commit: where the bytes are from, without a place on this machine.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Checksums in hexadecimal by name and split, such as `mnist/train`: BLAKE3 of the embedded files, SHA-256 of the hub's, and
    /// BLAKE3 of pixels and labels of IDX files.
    pub fn checksums(&self) -> &BTreeMap<String, String> {
        &self.checksums
    }

    /// Those of [`Self::checksums`] that belong to one split.
    pub fn checksums_of(&self, split: Split) -> BTreeMap<String, String> {
        let key = format!("{}/{}", self.name(), split.name());
        self.checksums.iter().filter(|(name, _)| **name == key).map(|(name, sum)| (name.clone(), sum.clone())).collect()
    }

    /// The images of one split, all in memory: 47 MB for the largest.
    ///
    /// # Errors
    /// As [`Self::find`], and what reading the file can raise. A file of the hub that cannot be used is set aside, and the next
    /// fetch takes it anew.
    pub fn load(&self, split: Split) -> Result<Images, DataError> {
        match &self.origin {
            Origin::Embedded => self.dataset.load(split),
            Origin::Hub => HubImages::open(&Hub::from_env()?, self.name(), split.name(), Memory::default(), &())?.to_images(),
            Origin::Idx(folder) => idx_split(folder, split, self.dataset.classes()),
        }
    }
}

/// The image sets that a computation may ask for, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSources(Vec<ImageSource>);

impl ImageSources {
    /// Finds each of them.
    ///
    /// # Errors
    /// As [`ImageSource::find`].
    pub fn find(names: &[&str], origin: &Origin) -> Result<Self, DataError> {
        names.iter().map(|name| ImageSource::find(name, origin)).collect::<Result<_, _>>().map(Self)
    }

    /// The set of this name, if it was asked for.
    pub fn get(&self, name: &str) -> Option<&ImageSource> {
        self.0.iter().find(|source| source.name() == name)
    }

    /// All, in the order asked for.
    pub fn iter(&self) -> impl Iterator<Item = &ImageSource> {
        self.0.iter()
    }

    /// The checksums of all.
    pub fn checksums(&self) -> BTreeMap<String, String> {
        self.0.iter().flat_map(|source| source.checksums().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_they_are_read() {
        for text in ["embedded", "hub", "idx:a/b", "idx:C:/x"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        for text in ["", "Hub", "idx:", "idx", "hub:x", "/data"] {
            let error = text.parse::<Origin>().unwrap_err();
            assert_eq!(error, "must be embedded, hub, or idx:FOLDER with a folder of IDX files");
        }
    }

    #[test]
    fn embedded_sets_are_identified_by_their_files() {
        let source = ImageSource::find("mnist", &Origin::Embedded).unwrap();
        assert_eq!((source.label(), source.checksums().len()), ("embedded", 2));
        assert_eq!(source.checksums()["mnist/test"], mnist().checksum(Split::Test));
        assert_eq!(source.checksums_of(Split::Train).len(), 1);
        assert_eq!(source.load(Split::Test).unwrap(), mnist().load(Split::Test).unwrap());
        let error = ImageSource::find("mnist2", &Origin::Embedded).unwrap_err();
        insta::assert_snapshot!(error, @r#"image set = "mnist2": must be mnist or fashion-mnist"#);
        let both = ImageSources::find(&["fashion-mnist", "mnist"], &Origin::Embedded).unwrap();
        assert_eq!((both.checksums().len(), both.get("mnist")), (4, Some(&source)));
        assert!(ImageSources::default().get("mnist").is_none());
    }
}
