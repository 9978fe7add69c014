#![doc = include_str!("../README.md")]
//!
//! # Where to find what
//! Start at [`Optimizer`]. Its parameters are [`NamedParam`]s; a [`Routing`] of [`Group`]s, or [`GroupRules`] by [`Role`],
//! gives each a [`RuleConfig`]: [`Sgd`], [`Adam`], [`AdamW`], [`Nmd`], [`Signum`], [`SpecGd`], [`Power`], [`Muon`],
//! [`Shampoo`], [`Soap`], [`Dion`] or [`Scion`]. [`Orthogonalizer`] is also of use by itself. Around a step:
//! [`Schedule`], [`clip_grad_norm`], [`clip_grad_value`], [`Accumulator`], [`WeightEma`], [`SpectralProbe`]. Between runs:
//! [`Checkpoint`]. [`DeviceChoice`] opens devices by name, and [`replay`] compares a rule with a trajectory made by
//! another implementation. [`from_pytorch`] has PyTorch's names.
#![allow(clippy::doc_markdown, reason = "formulas such as UVᵀ and σ_max, and names such as AdamW, are not code")]

mod accumulator;
mod checkpoint;
mod clip;
mod config;
mod decompose;
mod device;
mod elementwise;
mod error;
mod factorize;
mod gradients;
mod groups;
mod half;
mod optimizer;
mod orthogonalize;
mod orthonormal;
mod probe;
mod reduce;
mod replay;
mod rules;
mod schedule;
mod several;
mod state;
mod state_file;
mod unit;
mod weight_ema;

#[doc = include_str!("../docs/from-pytorch.md")]
pub mod from_pytorch {}

pub use accumulator::Accumulator;
pub use checkpoint::Checkpoint;
pub use clip::{clip_grad_norm, clip_grad_value};
pub use config::RuleConfig;
pub use device::{DeviceChoice, OpenDevice};
pub use error::{Error, Result};
pub use groups::{Group, GroupRules, NamedParam, Role, Routing, RoutingProblem, ShapeClass};
pub use optimizer::{Assignment, Optimizer};
pub use orthogonalize::{
    ExactPolar, IterationDtype, JORDAN_COEFFICIENTS, NewtonSchulz, OddPolynomial, Orthogonalize, Orthogonalizer,
    PolynomialSchedule,
};
pub use probe::{
    Alignment, Bases, ParamRecord, ProbeConfig, ProbeProblem, ProbeRecord, Side, SpectralProbe, Spectrum, UpdateRatio,
};
pub use replay::{Case, Replay, ReplayProblem, replay, replay_on};
pub use rules::{Adam, AdamW, Dion, Graft, Muon, Nmd, Power, Rank, Scale, Scion, ScionNorm, Sgd, Shampoo, Signum, Soap, SpecGd};
pub use schedule::{Decay, Schedule};
pub use state::StateProblem;
pub use state_file::StateFileProblem;
pub use weight_ema::WeightEma;
