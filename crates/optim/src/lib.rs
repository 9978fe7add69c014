//! Spectral optimizers for candle, and the ones they are compared with.
//!
//! An [`Optimizer`] takes named parameters ([`NamedParam`]) in four groups ([`Role`]) and updates each group by its own
//! rule ([`GroupRules`]):
//!
//! | `rule` | update of a parameter W with gradient g, M an average or sum of gradients |
//! |---|---|
//! | [`sgd`](Sgd) | W − η·M |
//! | [`adam`](Adam), [`adamw`](AdamW) | W − η·m̂/(√v̂ + ε) |
//! | [`nmd`](Nmd), `ngd` | W − η·M/‖M‖_F |
//! | [`signum`](Signum), `signgd` | W − η·sign(M) |
//! | [`specgd`](SpecGd) | W − η·UVᵀ, g = U diag(σ) Vᵀ |
//! | [`muon`](Muon) | W − η·s·orthogonalize(M) |
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
//! Everything stays on the device of the parameters, except the exact polar factor ([`Orthogonalizer::Exact`]), which
//! is computed on the CPU. Results on the CPU do not depend on the number of threads.
//!
//! [`replay`] compares a rule with a trajectory made by another implementation.
#![allow(clippy::doc_markdown, reason = "formulas such as UVᵀ and σ_max, and names such as AdamW, are not code")]

mod config;
#[allow(dead_code)]
mod decompose;
mod device;
mod elementwise;
mod error;
mod groups;
mod optimizer;
mod orthogonalize;
mod probe;
mod reduce;
mod replay;
mod rules;
mod state;

pub use config::RuleConfig;
pub use device::{DeviceChoice, OpenDevice};
pub use error::{Error, Result};
pub use groups::{GroupRules, NamedParam, Role};
pub use optimizer::{Assignment, Optimizer};
pub use orthogonalize::{
    ExactPolar, IterationDtype, JORDAN_COEFFICIENTS, NewtonSchulz, OddPolynomial, Orthogonalize, Orthogonalizer, Schedule,
};
pub use probe::{
    Alignment, Bases, ParamRecord, ProbeConfig, ProbeProblem, ProbeRecord, Side, SpectralProbe, Spectrum, UpdateRatio,
};
pub use replay::{Case, Replay, ReplayProblem, replay, replay_on};
pub use rules::{Adam, AdamW, Muon, Nmd, Scale, Sgd, Signum, SpecGd};
pub use state::StateProblem;
