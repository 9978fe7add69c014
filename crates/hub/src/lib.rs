//! Files of the Hugging Face hub at pinned revisions, verified to the byte before use.

#![allow(clippy::doc_markdown, reason = "names of products and environment variables are set as people write them")]

mod error;
mod files;
mod manifest;

pub use error::HubError;
pub use files::{Fetched, FileState, Plan, PlannedFile, VerifiedFile};
pub use manifest::{FileRule, KnownFile, RepoKind, Source, source, sources};
