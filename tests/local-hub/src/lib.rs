//! A hub on this machine for tests, with faults to switch on.
//!
//! [`LocalHub`] speaks the protocol of the Hugging Face hub on 127.0.0.1, as far as downloads need it: what a repository
//! is, its tree in pages, its files by `HEAD` and `GET`, names of commits, tokens. As on the hub, a file in large file
//! storage is listed by its SHA-256 and comes from a second address, whose `ETag` is *not* the SHA-256 and which must not
//! see the token; a small file comes after a relative redirect, and its `ETag` is the name of the object in git.
//!
//! ```
//! use isorate_local_hub::{Commit, Fault, LocalHub, Repository};
//! let commit = Commit::new().file("README.md", "# Digits").file("data/train.parquet", vec![1, 2, 3]);
//! let hub = LocalHub::start(vec![Repository::dataset("someone/digits").commit(commit)]);
//! hub.fault(Fault::altered_body().path("train").times(1));
//! // … let the program fetch from hub.url(), then look at what it asked for:
//! assert!(hub.downloads().is_empty());
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod fault;
mod http;
mod listing;
mod repository;
mod routes;
mod server;
mod sha1;

pub use fault::{Fault, Stage};
pub use repository::{Commit, Kind, Repository};
pub use server::{LocalHub, Request};
