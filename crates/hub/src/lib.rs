//! Files of the Hugging Face hub at pinned revisions, verified to the byte before use.
//!
//! The manifest ([`sources`]) names the repositories, each at a commit, and which of their files belong to which split. A
//! [`Hub`] with its cache
//!
//! 1. lists a repository's files at the commit, and compares the listing with what the manifest knows,
//! 2. downloads what is missing into a folder of its own,
//! 3. reads it: size, SHA-256, and the object id that git gives it must be those of the manifest, the lock file and the listing,
//! 4. and only then renames it to where it is found: `snapshots/COMMIT/PATH`, in the layout of huggingface_hub, so that caches
//!    are shared.
//!
//! What a file must be is written down in a lock file in the cache at the first fetch and enforced from then on. Every file is
//! read again before each use ([`Hub::fetch`], [`Hub::cached`]): other programs write into the cache as well, and disks fail. A
//! file that is not what it must be is moved aside and named; the next fetch takes it again.
//!
//! ```
//! use isorate_hub::{Hub, HubError, source};
//!
//! let folder = tempfile::tempdir()?;
//! let hub = Hub::builder().cache_dir(folder.path()).offline(true).build()?;
//! let error = hub.cached(source("cifar-10")?, &()).unwrap_err();
//! assert!(matches!(error, HubError::Missing { .. }));
//! assert!(error.to_string().ends_with("hint: fetch it with `isorate fetch cifar-10`"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! With the network, `hub.fetch(source, &())?.of("train")` gives the shards of the training set.
//!
//! # hf-hub
//!
//! The client is hf-hub 1.0, used around what it lacks: it stores the page of a 403 or 500 that answers the `GET` after a good
//! `HEAD` as the file when it downloads into its cache (not when it downloads into a folder, which is what happens here); it
//! checks neither size nor hash; it sets no time-out, does not obey `Retry-After` and does not repeat after a failure within a
//! body; `HF_HUB_OFFLINE` is unknown to it; and it drops the SHA-256 of the tree listing (`lfs.oid`; its field is called
//! `sha256`). The listing's object id takes its place: for a file in LFS it is the id of a pointer that consists of size and
//! SHA-256. Where the hub offers chunked storage (Xet) and hf-hub takes that way, the same checks follow.
//!
//! # Why not candle-datasets
//!
//! candle-datasets 0.11.1 was read and is not used. Its loaders of CIFAR, MNIST and Fashion-MNIST make their own client and
//! read the branch `refs/convert/parquet`, which moves; only `hub::from_hub` takes a client, and it reads that branch as well.
//! Nothing checks size or hash. The CIFAR loader from parquet turns (N, H, W, C) around with `permute((0, 3, 2, 1))`, which gives (N, C, W, H): each
//! image is transposed. Its TinyStories reader wants files of tokens that were made elsewhere; there is no CelebA, Waterbirds or
//! MultiNLI. And it brings a second reader of parquet beside polars.

#![allow(clippy::doc_markdown, reason = "names of products and environment variables are set as people write them")]

mod builder;
mod cache;
mod check;
mod client;
mod digest;
mod error;
mod failure;
mod fetch;
mod files;
mod hub;
mod listing;
mod lock_file;
mod manifest;
mod progress;
mod settings;

pub use builder::HubBuilder;
pub use error::HubError;
pub use files::{Fetched, FileState, Plan, PlannedFile, VerifiedFile};
pub use hub::Hub;
pub use manifest::{FileRule, KnownFile, RepoKind, Source, source, sources};
pub use progress::{Event, Progress};
pub use settings::Patience;
