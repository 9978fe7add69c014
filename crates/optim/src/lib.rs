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
//! Everything stays on the device of the parameters, except the exact polar factor ([`Orthogonalizer::Exact`]) and the
//! decompositions of [`Shampoo`] and [`Soap`], which are computed on the CPU. Results on the CPU do not depend on the number of threads.
//!
//! [`replay`] compares a rule with a trajectory made by another implementation.
#![allow(clippy::doc_markdown, reason = "formulas such as UVᵀ and σ_max, and names such as AdamW, are not code")]

mod config;
mod decompose;
mod device;
mod elementwise;
mod error;
mod groups;
mod half;
mod optimizer;
mod orthogonalize;
mod orthonormal;
mod probe;
mod reduce;
mod replay;
mod rules;
mod state;
mod unit;

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
pub use state::StateProblem;
