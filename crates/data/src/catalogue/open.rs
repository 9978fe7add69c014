//! Finding and reading a data set by its name.

use isorate_hub::Hub;

use super::{Entry, FileFacts, Opened, OpenedSplit};
use crate::{
    Bpe, ClassImbalance, ColorLaw, DataError, DominoClasses, DominoSettings, DominoSource, Dominoes, Examples, GaussianMixture,
    GroupTask, GroupTaskSizes, Groups, IRM_TEST_FLIP, IRM_TRAIN_FLIPS, ImageSource, Images, Origin, Split, Table, TokenBins,
    TokenStream, TwoColorLaw, colorize, colorize_background, dominoes, group_task, state_of_the_union, two_colors, wine_quality,
    wine_quality_checksum,
};

/// The correlation of the constructions in the catalogue; the balanced test sets have none.
const COLOR_CORRELATION: f64 = 0.99;
const DOMINO_CORRELATION: f64 = 0.95;
/// Training images of each group that the balanced hold-out of the dominoes takes.
const DOMINO_HELD_OUT: usize = 100;
const MIXTURE_ROWS: usize = 10_000;

/// How a data set is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Where MNIST and Fashion-MNIST come from. A set that only the hub has comes from there in any case.
    pub origin: Origin,
    /// The seed of the constructions.
    pub seed: u64,
    /// Makes the training part of a set of images imbalanced by class.
    pub imbalance: Option<ClassImbalance>,
}

impl Entry {
    /// Finds the set and reads what can be read without decoding everything. Nothing is downloaded.
    ///
    /// # Errors
    /// [`DataError::Hub`] for a set that is not in the cache; what reading and building can raise; [`DataError::Setting`] when an
    /// imbalance is asked for that this set does not have.
    pub fn open<'h>(&self, hub: &'h Hub, options: &OpenOptions) -> Result<Opened<'h>, DataError> {
        let mut opened = self.read(hub, options)?;
        if let Some(imbalance) = options.imbalance {
            opened.splits = imbalanced(self, opened.splits, imbalance, options.seed)?;
        }
        Ok(opened)
    }

    fn read<'h>(&self, hub: &'h Hub, options: &OpenOptions) -> Result<Opened<'h>, DataError> {
        let sources =
            |names: &[&str]| names.iter().map(|name| ImageSource::find(name, &options.origin)).collect::<Result<Vec<_>, _>>();
        let seed = options.seed;
        match self.name {
            "mnist" | "fashion-mnist" => {
                let sources = sources(&[self.name])?;
                let names: Vec<String> = sources[0].class_names().iter().map(|&name| name.to_owned()).collect();
                opened(&sources, Split::ALL.map(|split| Ok((split.name(), images(sources[0].load(split)?, &names)))))
            }
            "colored-mnist" => {
                let sources = sources(self.made_of)?;
                let part = |split: Split, law: ColorLaw| -> Result<_, DataError> {
                    Ok((split.name(), examples(colorize(&sources[0].load(split)?, &law, seed, split.name())?)))
                };
                opened(
                    &sources,
                    [part(Split::Train, ColorLaw::correlated(COLOR_CORRELATION)), part(Split::Test, ColorLaw::UNIFORM)],
                )
            }
            "biased-mnist" => {
                let sources = sources(self.made_of)?;
                let part = |split: Split, correlation| -> Result<_, DataError> {
                    let set = colorize_background(&sources[0].load(split)?, correlation, seed, split.name())?;
                    Ok((split.name(), examples(set)))
                };
                opened(&sources, [part(Split::Train, COLOR_CORRELATION), part(Split::Test, ColorLaw::UNIFORM.correlation)])
            }
            "two-colored-mnist" => two_colored(&sources(self.made_of)?, seed),
            "dominoes-fashion" => {
                let sources = sources(self.made_of)?;
                let [top, bottom] = [both(&sources[0])?, both(&sources[1])?];
                domino_parts(&sources, &top, &bottom, DominoClasses::MNIST_FASHION, seed)
            }
            "clothing" => {
                let sources = sources(self.made_of)?;
                let [train, test] = both(&sources[0])?;
                let GroupTask { train, validation, test } = group_task(&train, &test, GroupTaskSizes::EMBEDDED, seed)?;
                opened(
                    &sources,
                    [("train", train), ("validation", validation), ("test", test)].map(|(name, set)| Ok((name, examples(set)))),
                )
            }
            "wine-quality" => Ok(Opened {
                origin: "embedded".into(),
                licence: "CC BY 4.0".into(),
                citation: "P. Cortez, A. Cerdeira, F. Almeida, T. Matos, J. Reis: Modeling wine preferences by data mining from \
                           physicochemical properties, Decision Support Systems 47(4), 2009"
                    .into(),
                files: vec![FileFacts {
                    name: "winequality-red.csv".into(),
                    path: None,
                    bytes: crate::embedded::wine_quality_bytes(),
                    checksum: format!("blake3:{}", wine_quality_checksum()),
                }],
                splits: vec![table("all", &wine_quality()?)],
            }),
            "sotu" => speeches(),
            "mixture" => {
                let mixture = GaussianMixture { priors: vec![0.6, 0.3, 0.1], mean_norm: 1.0, noise_std: 1.0, dim: None };
                Ok(Opened {
                    origin: "made from the seed".into(),
                    licence: "none needed".into(),
                    citation: "the data model of arXiv 2510.22980".into(),
                    files: Vec::new(),
                    splits: vec![table("train", &mixture.sample(MIXTURE_ROWS, seed)?)],
                })
            }
            _ => super::hub::open(self, hub, options),
        }
    }
}

/// Beginnings of speeches that are shown as examples, and characters of each.
const SHOWN: (usize, usize) = (3, 200);

fn speeches<'h>() -> Result<Opened<'h>, DataError> {
    let set = state_of_the_union();
    let file = |split: Split| FileFacts {
        name: format!("{}/{}-00000-of-00001.parquet", set.name, set.split_name(split)),
        path: None,
        bytes: set.bytes(split).len() as u64,
        checksum: format!("blake3:{}", set.checksum(split)),
    };
    let bpe = Bpe::embedded()?;
    let speeches = [set.load(Split::Train)?, set.load(Split::Test)?];
    let mut counts = Vec::new();
    for part in &speeches {
        counts.push(TokenStream::in_memory(&bpe, part.iter().cloned().map(Ok))?.counts().to_vec());
    }
    let bins = TokenBins::new(&counts[0], TOKEN_BINS)?;
    let names = bin_names(&bpe, &bins, &counts[0])?;
    let part = |split: Split| {
        let (speeches, counts) = (&speeches[split as usize], &counts[split as usize]);
        OpenedSplit {
            name: set.split_name(split).to_owned(),
            rows: speeches.len(),
            texts: speeches.iter().take(SHOWN.0).map(|speech| speech.chars().take(SHOWN.1).collect()).collect(),
            token_bins: names.iter().cloned().zip(bins.tokens_of(counts)).collect(),
            ..OpenedSplit::default()
        }
    };
    Ok(Opened {
        origin: "embedded".to_owned(),
        licence: set.licence.to_owned(),
        citation: set.citation.to_owned(),
        files: Split::ALL.map(file).into(),
        splits: Split::ALL.map(part).into(),
    })
}

/// The tenths by frequency of the literature.
const TOKEN_BINS: usize = 10;

/// The number of types of each bin, and its most frequent one.
fn bin_names(bpe: &Bpe, bins: &TokenBins, counts: &[u64]) -> Result<Vec<String>, DataError> {
    let mut first: Vec<Option<u32>> = vec![None; bins.len()];
    for id in (0..).take(counts.len()) {
        let first = &mut first[bins.bin(id)];
        if first.is_none_or(|first| counts[id as usize] > counts[first as usize]) {
            *first = Some(id);
        }
    }
    let name = |(types, first): (usize, Option<u32>)| match first {
        Some(id) => Ok(format!("{types} types: {:?} …", bpe.decode(&[id])?)),
        None => Ok("no type".to_owned()),
    };
    bins.types().into_iter().zip(first).map(name).collect()
}

fn both(source: &ImageSource) -> Result<[Images; 2], DataError> {
    Ok([source.load(Split::Train)?, source.load(Split::Test)?])
}

fn two_colored<'h>(sources: &[ImageSource], seed: u64) -> Result<Opened<'h>, DataError> {
    let [train, test] = both(&sources[0])?;
    // As the authors deal them: alternately to the two training environments.
    let half = |first: usize| train.select(&(first..train.len()).step_by(2).collect::<Vec<_>>());
    let part = |name: &'static str, images: &Images, flip| -> Result<_, DataError> {
        let law = TwoColorLaw::environment(flip);
        Ok((name, examples(two_colors(images, &law, seed, name)?)))
    };
    let [first, second] = IRM_TRAIN_FLIPS;
    opened(
        sources,
        [part("train-80%", &half(0)?, first), part("train-90%", &half(1)?, second), part("test", &test, IRM_TEST_FLIP)],
    )
}

/// Training set, balanced hold-out, and the test set as it is and with the upper half black.
pub(super) fn domino_parts<'h>(
    sources: &[ImageSource],
    top: &[Images; 2],
    bottom: &[Images; 2],
    classes: DominoClasses,
    seed: u64,
) -> Result<Opened<'h>, DataError> {
    fn of([train, test]: &[Images; 2]) -> DominoSource<'_> {
        DominoSource { train, test }
    }
    let settings = DominoSettings { classes, correlation: DOMINO_CORRELATION, held_out: DOMINO_HELD_OUT };
    let Dominoes { train, balanced, test } = dominoes(of(top), of(bottom), &settings, seed)?;
    let core_only = test.core_only()?;
    opened(
        sources,
        [("train", train.images), ("balanced", balanced.images), ("test", test.images), ("core-only", core_only)]
            .map(|(name, set)| Ok((name, examples(set)))),
    )
}

/// Licence, citation and files of the sources, with the parts.
fn opened<'h, const N: usize>(
    sources: &[ImageSource],
    parts: [Result<(&'static str, OpenedSplit<'h>), DataError>; N],
) -> Result<Opened<'h>, DataError> {
    let joined = |of: fn(&ImageSource) -> String| {
        let mut each: Vec<String> = sources.iter().map(of).collect();
        each.dedup();
        each.join("; ")
    };
    let named = |(name, split): (&str, OpenedSplit<'h>)| OpenedSplit { name: name.to_owned(), ..split };
    Ok(Opened {
        origin: joined(|source| source.label().to_owned()),
        licence: joined(|source| source.licence().to_owned()),
        citation: joined(|source| source.citation().to_owned()),
        files: sources.iter().flat_map(ImageSource::files).collect(),
        splits: parts.into_iter().map(|part| part.map(named)).collect::<Result<_, _>>()?,
    })
}

/// A split of images whose classes have names.
pub(super) fn images<'h>(images: impl Examples + 'h, class_names: &[String]) -> OpenedSplit<'h> {
    OpenedSplit { class_names: class_names.to_vec(), ..examples(images) }
}

/// A split of images with groups, whose classes have the groups' names; without groups, their numbers.
pub(super) fn examples<'h>(images: impl Examples + 'h) -> OpenedSplit<'h> {
    let groups = images.groups().cloned();
    let class_names = match &groups {
        Some(groups) => groups.class_names().to_vec(),
        None => (0..images.classes()).map(|class| class.to_string()).collect(),
    };
    OpenedSplit {
        rows: images.len(),
        class_names,
        labels: images.labels().to_vec(),
        groups,
        images: Some(Box::new(images)),
        ..OpenedSplit::default()
    }
}

fn table(name: &str, table: &Table) -> OpenedSplit<'static> {
    OpenedSplit {
        name: name.to_owned(),
        rows: table.len(),
        class_names: table.class_names().to_vec(),
        labels: table.labels().to_vec(),
        ..OpenedSplit::default()
    }
}

/// The training part with fewer rows in some classes.
fn imbalanced<'h>(
    entry: &Entry,
    splits: Vec<OpenedSplit<'h>>,
    imbalance: ClassImbalance,
    seed: u64,
) -> Result<Vec<OpenedSplit<'h>>, DataError> {
    if splits.iter().all(|split| split.name != "train" || split.images.is_none()) {
        let rule = "only sets of images with a part `train` can be made imbalanced here";
        return Err(DataError::setting("imbalance", entry.name, rule));
    }
    let one = |split: OpenedSplit<'h>| -> Result<OpenedSplit<'h>, DataError> {
        let Some(images) = split.images else { return Ok(split) };
        if split.name != "train" {
            return Ok(OpenedSplit { images: Some(images), ..split });
        }
        let rows = imbalance.subset(&split.labels, split.class_names.len(), seed)?;
        let labels = rows.iter().map(|&row| split.labels[row]).collect();
        let groups = split.groups.as_ref().map(|groups| groups.select(&rows)).transpose()?;
        let images: Box<dyn Examples + 'h> = Box::new(Subset { images, labels, groups: groups.clone(), rows });
        let labels = images.labels().to_vec();
        Ok(OpenedSplit { rows: labels.len(), labels, groups, images: Some(images), published_groups: None, ..split })
    };
    splits.into_iter().map(one).collect()
}

/// Some rows of a set.
struct Subset<'h> {
    images: Box<dyn Examples + 'h>,
    rows: Vec<usize>,
    labels: Vec<u32>,
    groups: Option<Groups>,
}

impl Examples for Subset<'_> {
    fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    fn classes(&self) -> usize {
        self.images.classes()
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        crate::examples::check_read(self, rows, out)?;
        let rows: Vec<usize> = rows.iter().map(|&row| self.rows[row]).collect();
        self.images.read(&rows, out)
    }
}
