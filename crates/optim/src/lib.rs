//! Spectral optimizers for candle, and the ones they are compared with.
//!
//! An [`Optimizer`] takes named parameters ([`NamedParam`]), divides them into groups by name, shape and [`Role`]
//! ([`Routing`]), and updates each group by its own rule:
//!
//! | `rule` | update of a parameter W with gradient g, M an average or sum of gradients |
//! |---|---|
//! | [`sgd`](Sgd) | W − η·M |
//! | [`adam`](Adam), [`adamw`](AdamW) | W − η·m̂/(√v̂ + ε) |
//! | [`nmd`](Nmd), `ngd` | W − η·M/‖M‖_F |
//! | [`signum`](Signum), `signgd` | W − η·sign(M) |
//! | [`specgd`](SpecGd) | W − η·UVᵀ, g = U diag(σ) Vᵀ |
//! | [`muon`](Muon) | W − η·s·orthogonalize(M) |
//! | [`shampoo`](Shampoo) | W − η·L^(−1/4) m̂ R^(−1/4), L = Σ ggᵀ, R = Σ gᵀg |
//! | [`soap`](Soap) | the step of Adam in the eigenbases of L and R |
//! | [`dion`](Dion) | W − η·√(r/c)·PQᵀ, PQᵀ of rank k from one step of power iteration on M |
//! | [`scion`](Scion) | (1 − η)W − η·ρ·(steepest direction of M in the norm of the layer) |
//! | [`power`](Power) | W − η·U diag(σᵖ) Vᵀ, M = U diag(σ) Vᵀ |
//!
//! ```
//! use candle_core::{Device, Var};
//! use isorate_optim::{GroupRules, Muon, NamedParam, Optimizer, Role, RuleConfig};
//!
//! let weight = Var::new(&[[1.0_f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
//! let params = vec![NamedParam::new("weight", Role::Matrix, weight.clone())];
//! let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Muon(Muon::new(0.02))))?;
//! let loss = weight.sqr()?.mean_all()?;
//! optimizer.step(&loss.backward()?)?;
//! # Ok::<(), isorate_optim::Error>(())
//! ```
//!
//! # Devices
//! Everything stays on the device of the parameters, except the exact polar factor ([`Orthogonalizer::Exact`]) and the
//! decompositions of [`Shampoo`], [`Soap`] and others, which are computed on the CPU. A step reads from a device once, to learn whether all
//! gradients are finite, and each decomposition copies its matrix there and back. Results on the CPU do not depend on the
//! number of threads.
//!
//! The features `cuda`, `cudnn`, `metal`, `accelerate` and `mkl` are candle's; [`DeviceChoice`] opens a device by name.
//! f32, bf16 and f16 work on all of them, f64 on all but Metal's. A test compares every rule on a device with the CPU;
//! Metal is only type-checked.
//!
//! Around the step: [`Schedule`] of the learning rate, [`clip_grad_norm`] and [`clip_grad_value`], [`Accumulator`] for
//! micro-batches, [`WeightEma`], and [`Checkpoint`], whose page shows all of them in a training that is stopped and
//! resumed bit for bit.
//!
//! [`replay`] compares a rule with a trajectory made by another implementation.
#![allow(clippy::doc_markdown, reason = "formulas such as UVᵀ and σ_max, and names such as AdamW, are not code")]

mod accumulator;
mod checkpoint;
mod clip;
mod config;
mod decompose;
mod device;
mod elementwise;
mod error;
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
mod state;
mod state_file;
mod unit;
mod weight_ema;

pub use accumulator::Accumulator;
pub use checkpoint::Checkpoint;
pub use clip::{clip_grad_norm, clip_grad_value};
pub use config::RuleConfig;
pub use device::{DeviceChoice, OpenDevice};
pub use error::{Error, Result};
pub use groups::{Group, GroupRules, NamedParam, Role, Routing, RoutingProblem, ShapeClass};
pub use optimizer::{Assignment, Optimizer};
pub use orthogonalize::{IterationDtype, JORDAN_COEFFICIENTS, NewtonSchulz, Orthogonalizer};
pub use probe::{
    Alignment, Bases, ParamRecord, ProbeConfig, ProbeProblem, ProbeRecord, Side, SpectralProbe, Spectrum, UpdateRatio,
};
pub use replay::{Case, Replay, ReplayProblem, replay, replay_on};
pub use rules::{Adam, AdamW, Dion, Graft, Muon, Nmd, Power, Rank, Scale, Scion, ScionNorm, Sgd, Shampoo, Signum, Soap, SpecGd};
pub use schedule::{Decay, Schedule};
pub use state::StateProblem;
pub use state_file::StateFileProblem;
pub use weight_ema::WeightEma;
