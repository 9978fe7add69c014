//! Checked experiment specifications, and the runs they describe.
//!
//! The way of the data: a specification file ([`Experiment`]) is planned at a [`Scale`] into [`Task`]s, each with an identity
//! that says everything its numbers depend on; the [`Runner`] takes from the store what is finished and computes the rest.
//! Figures see only what is in the store.

#![allow(clippy::doc_markdown, reason = "formulas such as Σ_yx are set as in the paper")]

mod decode;
mod diagnosis;
mod error;
mod evaluate;
mod inputs;
mod learned;
mod logistic;
mod mechanism;
mod memory;
mod moments;
mod network;
mod plan;
mod pretraining;
mod runner;
mod saved;
mod sets;
mod source;
mod spec;
mod theory;
mod training;
mod tuning;

pub use diagnosis::{DiagnosisConfig, DiagnosisReport, EqualLoss, GapReport, Source, diagnose};
pub use error::{Error, Stop};
pub use plan::{Task, plan, plan_tuning};
pub use runner::{Event, Runner, State};
pub use spec::{Experiment, Kind, Scale, Training, unknown};
pub use theory::{Theory, check_run};
pub use tuning::{Choice, Grids, Tuned, choose};
