//! Image sets in parquet files that need not fit into memory.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::block::Block;
use crate::decode::{ROWS_AT_ONCE, decode};
use crate::encoded::{Collector, Encoded};
use crate::examples::{check_read, to_unit};
use crate::image_set::{ImageSet, Published, Variable};
use crate::pixel_cache::PixelCache;
use crate::shards::{Kind, Shard, Wanted};
use crate::{DataError, Examples, Groups, Images};

/// How much of an image set is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Image files (PNG, JPEG) of together more bytes than this are written to a temporary file, which has no name and vanishes with the
    /// process. It is put beside the parquet files or, where that folder cannot be written, where the system has such files.
    pub encoded: usize,
    /// At most as many bytes of decoded pixels are kept, so that they are not decoded again.
    pub decoded: usize,
}

impl Default for Memory {
    /// 64 MiB of image files, which is all of CIFAR or MNIST, and 64 MiB of pixels.
    fn default() -> Self {
        Self { encoded: 64 << 20, decoded: 64 << 20 }
    }
}

/// An image set in the hub's schema, read from one or more parquet files. Classes and attributes of all rows are in memory; images
/// are decoded and brought to one size when they are asked for, in parallel.
///
/// The files are read once, when the set is opened, a page at a time: [`Memory`] bounds what is held beside labels and attributes
/// (4 bytes for each row and column). What is read does not depend on the number of threads nor on [`Memory`].
pub struct ShardedImages {
    set: &'static ImageSet,
    /// The files in order, and the first row of each.
    files: Vec<(String, usize)>,
    shape: [usize; 3],
    labels: Labels,
    /// The values of `set.others`.
    others: Vec<Vec<u32>>,
    encoded: Encoded,
    cache: PixelCache,
}

/// What is learned, with the attribute where the set has one.
enum Labels {
    Classes(Vec<u32>),
    Groups(Groups),
}

impl ShardedImages {
    /// Opens the files of one split, in the order in which their rows follow each other.
    ///
    /// # Errors
    /// Every way in which a file can differ from the schema has its own variant of [`DataError`]; the message names file, row and
    /// column, and [`DataError::mismatch`] what was expected and what was found. Images are not decoded yet, except for the first
    /// one. [`DataError::Io`] when a file cannot be read, or the temporary file not be written.
    pub fn open(set: &'static ImageSet, paths: &[PathBuf], memory: Memory) -> Result<Self, DataError> {
        let folder = paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("."));
        let mut wanted = vec![Wanted { name: set.image, kind: Kind::Image }];
        wanted.extend(set.variables().map(Variable::wanted));
        let mut values = vec![Vec::new(); wanted.len() - 1];
        let mut collector = Collector::new(memory.encoded, folder);
        let mut files = Vec::new();
        for path in paths {
            let mut shard = Shard::open(path, &wanted)?;
            files.push((path.display().to_string(), values[0].len()));
            while let Some(block) = shard.next_block(ROWS_AT_ONCE)? {
                append(set, &block, &mut values)?;
                for image in block.images(0)? {
                    collector.push(image)?;
                }
            }
        }
        let mut values = values.into_iter();
        let labels = values.next().unwrap_or_default();
        if labels.is_empty() {
            let names: Vec<String> = files.into_iter().map(|(name, _)| name).collect();
            return Err(DataError::Empty { name: if names.is_empty() { set.name.to_owned() } else { names.join(", ") } });
        }
        let rows = labels.len();
        let labels = match set.attribute {
            None => Labels::Classes(labels),
            Some(attribute) => Labels::Groups(Groups::new(
                set.class.names.iter().copied(),
                attribute.names.iter().copied(),
                labels,
                values.next().unwrap_or_default(),
            )?),
        };
        let mut images = Self {
            set,
            files,
            shape: [0; 3],
            labels,
            others: values.collect(),
            encoded: collector.finish()?,
            cache: PixelCache::new(rows, memory.decoded),
        };
        images.shape = match set.shape() {
            Some(shape) => shape,
            None => images.decode(0, &images.encoded.read(&[0])?[0])?.0,
        };
        Ok(images)
    }

    /// Which set this is.
    pub fn set(&self) -> &'static ImageSet {
        self.set
    }

    /// The values of one of the set's further columns, by its name: `coarse_label` of CIFAR-100, `Smiling` of CelebA.
    pub fn column(&self, name: &str) -> Option<&[u32]> {
        self.set
            .others
            .iter()
            .zip(&self.others)
            .find(|(variable, _)| variable.column == name)
            .map(|(_, values)| values.as_slice())
    }

    /// The number of rows in each group; of a set without an attribute, in each class.
    pub fn counts(&self) -> Vec<usize> {
        match &self.labels {
            Labels::Classes(labels) => crate::images::count_classes(labels, self.set.class.count),
            Labels::Groups(groups) => groups.counts(),
        }
    }

    /// How [`counts`](Self::counts) compare with the published ones of `split`.
    pub fn published(&self, split: &str) -> Published {
        let counts = self.counts();
        match self.set.published(split) {
            None => Published::Unknown,
            Some(published) if published == counts => Published::Agree,
            Some(published) if published.iter().sum::<usize>() == self.len() => Published::Differ { published },
            Some(published) => Published::OtherSize { rows: self.len(), published: published.iter().sum() },
        }
    }

    /// All images decoded: for a set that fits into memory.
    ///
    /// # Errors
    /// As [`Examples::read`].
    pub fn to_images(&self) -> Result<Images, DataError> {
        let mut pixels = vec![0; self.len() * self.dim()];
        let rows: Vec<usize> = (0..self.len()).collect();
        self.read_with(&rows, &mut pixels, <[u8]>::copy_from_slice)?;
        Images::new(self.shape, self.set.class.count, pixels, self.labels().to_vec())
    }

    /// The file that holds `row`, and the row in it.
    fn place(&self, row: usize) -> (String, usize) {
        let file = self.files.partition_point(|(_, first)| *first <= row) - 1;
        let (name, first) = &self.files[file];
        (name.clone(), row - first)
    }

    /// Decodes an image file and brings it to size.
    fn decode(&self, row: usize, file: &[u8]) -> Result<([usize; 3], Vec<u8>), DataError> {
        let undecodable = |reason| {
            let (name, row) = self.place(row);
            DataError::Image { name, row, column: self.set.image.to_owned(), reason }
        };
        let (found, pixels) = decode(file).map_err(undecodable)?;
        if let Some(expected) = self.set.stored.filter(|&expected| expected != found) {
            let (name, row) = self.place(row);
            let like = format!("all of {}", self.set.name).into();
            return Err(DataError::ImageShape { name, row, column: self.set.image.into(), expected, found, like });
        }
        let mut image = (found, pixels);
        if !self.set.steps.is_empty() && found[0] == 1 {
            image = ([3, found[1], found[2]], image.1.repeat(3));
        }
        self.set.steps.iter().try_fold(image, |image, step| step.apply(image)).map_err(undecodable)
    }

    /// Reads images into `out`, `convert` turning the pixels of each into values.
    fn read_with<T: Send>(
        &self,
        rows: &[usize],
        out: &mut [T],
        convert: impl Fn(&mut [T], &[u8]) + Sync,
    ) -> Result<(), DataError> {
        let dim = self.dim();
        for (rows, out) in rows.chunks(ROWS_AT_ONCE).zip(out.chunks_mut(ROWS_AT_ONCE * dim)) {
            let missing: Vec<usize> = rows.iter().copied().filter(|&row| self.cache.get(row).is_none()).collect();
            let mut files = self.encoded.read(&missing)?.into_iter();
            // What another thread has decoded meanwhile is in the cache as well as here.
            let mut missing = missing.into_iter().peekable();
            let work: Vec<(usize, Option<Vec<u8>>)> =
                rows.iter().map(|&row| (row, missing.next_if_eq(&row).and_then(|_| files.next()))).collect();
            let errors: Vec<DataError> = work
                .into_par_iter()
                .zip(out.par_chunks_exact_mut(dim))
                .filter_map(|((row, file), out)| match (file, self.cache.get(row)) {
                    (_, Some(pixels)) => {
                        convert(out, pixels);
                        None
                    }
                    (file, None) => match self.decode(row, &file.unwrap_or_default()) {
                        Ok((_, pixels)) => {
                            convert(out, &pixels);
                            self.cache.offer(row, pixels);
                            None
                        }
                        Err(error) => Some(error),
                    },
                })
                .collect();
            // Not the first error to happen but the first row that has one, so that the message is the same every time.
            if let Some(error) = errors.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Examples for ShardedImages {
    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn classes(&self) -> usize {
        self.set.class.count
    }

    fn labels(&self) -> &[u32] {
        match &self.labels {
            Labels::Classes(labels) => labels,
            Labels::Groups(groups) => groups.labels(),
        }
    }

    fn groups(&self) -> Option<&Groups> {
        match &self.labels {
            Labels::Classes(_) => None,
            Labels::Groups(groups) => Some(groups),
        }
    }

    /// # Errors
    /// Besides those of every set: [`DataError::Image`] for an image that cannot be decoded, [`DataError::ImageShape`] for one of
    /// another size than all of the set have, [`DataError::Io`] should the temporary file be unreadable.
    fn read(&self, rows: &[usize], out: &mut [f32]) -> Result<(), DataError> {
        check_read(self, rows, out)?;
        self.read_with(rows, out, |out, pixels| to_unit(pixels, out))
    }
}

/// The block's values of every variable of the set, checked.
fn append(set: &ImageSet, block: &Block, values: &mut [Vec<u32>]) -> Result<(), DataError> {
    for (i, (variable, values)) in set.variables().zip(values).enumerate() {
        values.extend(if variable.is_flag { block.flags(i + 1)? } else { block.labels(i + 1, variable.count)? });
    }
    Ok(())
}
