//! Files of the Hugging Face hub at pinned revisions, verified to the byte before use.

#![allow(clippy::doc_markdown, reason = "names of products and environment variables are set as people write them")]

mod builder;
mod cache;
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
