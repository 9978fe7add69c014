//! Batches for training and evaluation.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use crate::row_order::{self, Order};
use crate::{DataError, Examples, Normalization};

/// What becomes of the rows left at the end of an epoch that do not fill a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastBatch {
    /// They are a smaller batch.
    Keep,
    /// They are left out of this epoch.
    Drop,
}

/// How batches are made.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchOptions {
    /// Rows in a batch, at least 1.
    pub size: usize,
    /// Which rows, in which order.
    pub order: Order,
    /// What becomes of an incomplete batch at the end.
    pub last: LastBatch,
    /// The seed of shuffled and balanced orders.
    pub seed: u64,
    /// Applied to the values in [0, 1], or `None` to leave them so.
    pub normalization: Option<Normalization>,
}

impl BatchOptions {
    /// For training: each row once, shuffled by seed and epoch, the last batch kept, values in [0, 1].
    pub fn shuffled(size: usize, seed: u64) -> Self {
        Self { size, order: Order::Shuffled, last: LastBatch::Keep, seed, normalization: None }
    }

    /// For evaluation: each row once, in order, values in [0, 1].
    pub fn sequential(size: usize) -> Self {
        Self { order: Order::Sequential, ..Self::shuffled(size, 0) }
    }
}

/// Some examples, together.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// `n × channels × height × width` values, in [0, 1] or normalized.
    pub pixels: Vec<f32>,
    /// The class of each of the `n` images.
    pub labels: Vec<u32>,
    /// The group of each of the `n` images, `y · n_attributes + a`; empty for a set without groups.
    pub groups: Vec<u32>,
    /// Which row of the set each image is.
    pub rows: Vec<usize>,
}

impl Batch {
    /// The number of images.
    #[allow(clippy::len_without_is_empty, reason = "there is always at least one image")]
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}

/// The batches of a set, epoch after epoch.
///
/// A batch is a function of the set, the options, the epoch and its place in the epoch; neither threads nor prefetching change a bit of it.
///
/// ```
/// use isorate_data::{BatchOptions, Batches, Split, mnist};
/// let images = mnist().load(Split::Test)?;
/// let batches = Batches::new(&images, BatchOptions::shuffled(128, 1))?;
/// assert_eq!(batches.per_epoch(), 32);
/// // The next two batches are made in the background while one is used.
/// let seen = std::thread::scope(|scope| {
///     let mut seen = 0;
///     for batch in batches.prefetch(scope, 0, 2)? {
///         seen += batch?.len();
///     }
///     Ok::<_, isorate_data::DataError>(seen)
/// })?;
/// assert_eq!(seen, 4_000);
/// # Ok::<(), isorate_data::DataError>(())
/// ```
pub struct Batches<'a, E: ?Sized> {
    examples: &'a E,
    options: BatchOptions,
}

impl<'a, E: Examples + ?Sized> Batches<'a, E> {
    /// # Errors
    /// [`DataError::Setting`] for a size of 0, an order that needs groups where there are none, or a normalization that has not one finite mean and
    /// one finite positive standard deviation for each channel.
    pub fn new(examples: &'a E, options: BatchOptions) -> Result<Self, DataError> {
        if options.size == 0 {
            return Err(DataError::setting("batch size", options.size, "must be at least 1"));
        }
        if let Some(Normalization { mean, std }) = &options.normalization {
            let channels = examples.shape()[0];
            if mean.len() != channels || !mean.iter().all(|mean| mean.is_finite()) {
                return Err(DataError::setting("mean", mean, format!("must be {channels} finite numbers, one for each channel")));
            }
            if std.len() != channels || !std.iter().all(|&std| std > 0.0 && std.is_finite()) {
                return Err(DataError::setting("std", std, format!("must be {channels} positive numbers, one for each channel")));
            }
        }
        let batches = Self { examples, options };
        if batches.options.order == Order::GroupBalanced {
            batches.rows(0)?;
        }
        Ok(batches)
    }

    /// The number of batches in an epoch: 0 when an incomplete batch is dropped and there are fewer rows than in a batch.
    pub fn per_epoch(&self) -> usize {
        match self.options.last {
            LastBatch::Keep => self.examples.len().div_ceil(self.options.size),
            LastBatch::Drop => self.examples.len() / self.options.size,
        }
    }

    /// The rows of an epoch in the order in which its batches show them.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn rows(&self, epoch: u64) -> Result<Vec<usize>, DataError> {
        let mut rows = row_order::rows(self.examples, self.options.order, self.options.seed, epoch)?;
        if self.options.last == LastBatch::Drop {
            rows.truncate(self.per_epoch() * self.options.size);
        }
        Ok(rows)
    }

    /// The batches of an epoch, each made when it is asked for. After an error the epoch goes on with the next batch.
    ///
    /// # Errors
    /// As [`Self::new`]; a batch is an error where [`Examples::read`] is.
    pub fn epoch(&self, epoch: u64) -> Result<impl Iterator<Item = Result<Batch, DataError>> + use<'_, 'a, E>, DataError> {
        let rows = self.rows(epoch)?;
        let size = self.options.size;
        Ok((0..rows.len().div_ceil(size)).map(move |i| self.batch(&rows[i * size..rows.len().min((i + 1) * size)])))
    }

    /// The same batches as [`Self::epoch`], made by a thread of `scope` that is at most `ahead` complete batches (and the one it makes)
    /// ahead. The thread ends with the epoch, or at its next batch after the iterator is dropped.
    ///
    /// # Errors
    /// As [`Self::epoch`]; errors come in the place of their batch.
    ///
    /// # Panics
    /// Where [`Examples::read`] panics: the panic reaches the end of `scope`.
    pub fn prefetch<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        epoch: u64,
        ahead: usize,
    ) -> Result<Prefetched, DataError> {
        let batches = self.epoch(epoch)?;
        let (sender, receiver) = sync_channel(ahead);
        scope.spawn(move || {
            for batch in batches {
                if sender.send(batch).is_err() {
                    break;
                }
            }
        });
        Ok(Prefetched { receiver })
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, DataError> {
        let [_, height, width] = self.examples.shape();
        let mut pixels = vec![0.0; rows.len() * self.examples.dim()];
        self.examples.read(rows, &mut pixels)?;
        if let Some(normalization) = &self.options.normalization {
            normalization.apply(height * width, &mut pixels);
        }
        let labels = self.examples.labels();
        #[expect(clippy::cast_possible_truncation, reason = "labels and attributes are few")]
        let groups = self.examples.groups().map(|groups| rows.iter().map(|&row| groups.group(row) as u32).collect());
        Ok(Batch {
            pixels,
            labels: rows.iter().map(|&row| labels[row]).collect(),
            groups: groups.unwrap_or_default(),
            rows: rows.to_vec(),
        })
    }
}

/// The batches of an epoch, made in the background: see [`Batches::prefetch`].
#[derive(Debug)]
pub struct Prefetched {
    receiver: Receiver<Result<Batch, DataError>>,
}

impl Iterator for Prefetched {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.receiver.recv().ok()
    }
}
