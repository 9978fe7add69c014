//! Labelled data sets with an exact origin, and the imbalanced data sets that are built from them.
//!
//! The way of the data through this crate:
//!
//! 1. A parquet file in the schema of the Hugging Face hub (`image: struct{bytes, path}` holding PNG, `label: i64`) becomes
//!    [`Images`] through [`read_parquet`] or [`read_parquet_file`]. Embedded files ([`mnist`]) and files on disk take the same way.
//! 2. [`hold_out`] draws a validation set from the training images. The constructions make them imbalanced: [`ClassImbalance`] and
//!    [`step_imbalance`] by class; [`colorize`] (Colored-MNIST), [`colorize_background`] (Biased-MNIST), [`two_colors`] (IRM),
//!    [`dominoes`] and [`group_task`] by [`Groups`] of class and attribute. [`GaussianMixture`] draws the data of the theory.
//! 3. [`Moments`] measures what the theory needs to know of a data set: the singular values of `Σ_yx`, the spectrum of `Σ_xx`
//!    and how far Condition 1 is from holding. [`variance_shares`] tells which of those components read an attribute such as
//!    the colour instead of the class.
//! 4. A CSV or parquet file of numbers with a label column, or an image file, becomes a [`Table`] through [`read_table_file`];
//!    [`Treatment`] centres or standardizes it, [`ClassMoments`] measures what a diagnosis needs, [`step_imbalance`] makes it imbalanced.
//!
//! 5. An [`ImageSet`] of the hub is opened as [`ShardedImages`] from files, or as [`HubImages`] from the cache of verified files; images
//!    are decoded when they are asked for. [`Batches`] iterate these and every other set of [`Examples`], shuffled or balanced by group.
//! 6. Text: [`state_of_the_union`] is in the program, [`HubTexts`] and [`multi_nli`] come from the hub. [`Bpe`] makes a [`TokenStream`] of
//!    documents, [`TokenWindows`] cut it into sequences, [`TokenBins`] group the types by frequency; [`WordPiece`] encodes pairs of sentences
//!    for BERT.
//!
//! Every random choice comes from a [`stream`] of its own, derived from one seed, so the same call gives the same bytes.
//!
//! ```
//! use isorate_data::{ColorLaw, Sampling, Split, colorize, hold_out, mnist};
//!
//! let images = mnist().load(Split::Train)?;
//! assert_eq!((images.len(), images.shape()), (12_000, [1, 28, 28]));
//!
//! // 2,000 validation images with the class proportions of the training set.
//! let parts = hold_out(images.labels(), images.classes(), 2_000, Sampling::Stratified, 1)?;
//! let train = images.select(&parts.train)?;
//!
//! // 99% of every class in its own colour.
//! let train = colorize(&train, &ColorLaw::correlated(0.99), 1, "train")?;
//! assert_eq!(train.shape(), [3, 28, 28]);
//! let minority = train.groups().iter().filter(|g| g.is_minority()).count();
//! assert_eq!(minority, 100);
//! # Ok::<(), isorate_data::DataError>(())
//! ```

#![allow(clippy::doc_markdown, reason = "formulas such as Σ_xx are set as in the paper")]

mod background;
mod batches;
mod block;
mod bpe;
mod catalogue;
mod class_moments;
mod colored;
mod csv_table;
mod decode;
mod dominoes;
mod embedded;
mod embedded_text;
mod encoded;
mod error;
mod examples;
mod footer;
mod geometry;
mod group_task;
mod grouped;
mod groups;
mod hub_images;
mod hub_texts;
mod idx;
mod idx_folder;
mod image_set;
mod images;
mod imbalance;
mod labelled;
mod mixture;
mod moments;
mod multi_nli;
mod origin;
mod pages;
mod parquet;
mod parquet_table;
mod pixel_cache;
mod png;
mod row_order;
mod sharded_images;
mod shards;
mod shares;
mod split;
mod stream;
mod table;
mod text;
mod thrift;
mod token_bins;
mod token_stream;
mod token_windows;
mod treatment;
mod two_colors;
mod word_piece;

pub use background::{REBIAS_PALETTE, colorize_background};
pub use batches::{Batch, BatchOptions, Batches, LastBatch, Prefetched};
pub use bpe::Bpe;
pub use catalogue::{Entry, FileFacts, Form, OpenOptions, Opened, OpenedSplit, catalogue, entry_named};
pub use class_moments::{ClassLoss, ClassMoments, class_losses};
pub use colored::{ColorLaw, ColoredImages, Group, LFF_JITTER_STD, LFF_PALETTE, colorize};
pub use csv_table::read_csv;
pub use dominoes::{DominoClasses, DominoSet, DominoSettings, DominoSource, Dominoes, dominoes};
pub use embedded::{EmbeddedDataset, Split, fashion_mnist, mnist, wine_quality, wine_quality_checksum};
pub use embedded_text::{TextDataset, state_of_the_union};
pub use error::{DataError, Mismatch};
pub use examples::Examples;
pub use geometry::{Normalization, Step};
pub use group_task::{CELEBA_TRAIN_GROUPS, GroupTask, GroupTaskSizes, group_task};
pub use grouped::GroupedImages;
pub use groups::Groups;
pub use hub_images::{HubImages, set_aside};
pub use hub_texts::HubTexts;
pub use idx::{parse_idx_images, parse_idx_labels};
pub use idx_folder::idx_folder;
pub use image_set::{IMAGE_SETS, ImageSet, Published, Variable};
pub use images::Images;
pub use imbalance::{ClassImbalance, imbalance_ratio, step_imbalance};
pub use labelled::LabelledFeatures;
pub use mixture::GaussianMixture;
pub use moments::{Centering, Moments};
pub use multi_nli::{MULTI_NLI_TRAIN_GROUPS, MultiNli, SentencePairs, has_negation, multi_nli};
pub use origin::{ImageSource, ImageSources, Origin};
pub use parquet::{read_parquet, read_parquet_file, write_parquet};
pub use row_order::Order;
pub use sharded_images::{Memory, ShardedImages};
pub use shares::{VarianceShares, variance_shares};
pub use split::{HoldOut, Sampling, draw, hold_out};
pub use stream::stream;
pub use table::{Table, TableOptions, read_table_file};
pub use text::{Documents, read_text, write_text};
pub use token_bins::TokenBins;
pub use token_stream::TokenStream;
pub use token_windows::TokenWindows;
pub use treatment::{Treated, Treatment};
pub use two_colors::{IRM_TEST_FLIP, IRM_TRAIN_FLIPS, TwoColorLaw, two_colors};
pub use word_piece::{EncodedPairs, Padding, WordPiece};
