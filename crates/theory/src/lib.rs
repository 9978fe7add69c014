//! The theory of spectral gradient descent on Gaussian mixtures with imbalanced classes, in double precision.
//!
//! A [`Mixture`] is the data model of arXiv 2510.22980 ("How Muon's Spectral Design Benefits Generalization: A Study on Imbalanced
//! Data"). Its population square loss decouples into [`Components`] α_c = \[Uᵀ W V\]_cc, and for each [`Rule`] this crate has three
//! descriptions of α_c(t), which are checked against each other:
//!
//! - the continuous-time closed form ([`trajectory`] with [`Source::ClosedForm`]),
//! - the exact discrete-time form in the components ([`discrete`]),
//! - a [`Simulation`] with real matrices in random orthonormal bases and real singular value decompositions.
//!
//! [`losses`] gives the losses by class, [`gap_curves`] the gaps of Theorems 1 and 2, and [`verify`] runs every check.
//!
//! ```
//! use isorate_theory::{Mixture, MixtureConfig, gap_curves};
//!
//! let mixture = Mixture::new(MixtureConfig {
//!     priors: vec![0.56, 0.4, 0.04],
//!     mean_norm: 1.0,
//!     noise_std: 1.0,
//!     dim: None,
//!     seed: 0,
//! })?;
//! assert!(mixture.violated_conditions().is_empty());
//! let row = &gap_curves(&mixture, &[0.5 * mixture.horizon()])?[0];
//! let bounds = row.bounds.expect("the theorems apply up to the horizon");
//! assert!(row.gf_minority_gap() > bounds.gf_minority);
//! # Ok::<(), isorate_theory::Error>(())
//! ```

#![allow(clippy::doc_markdown, reason = "formulas such as s_xx,c are set as in the paper")]

mod checks;
mod components;
mod condition1;
pub mod derivations;
mod diagnose;
mod discrete;
mod error;
mod finite_sample;
mod gaps;
mod gaussian_mixture;
mod growth;
mod idealization;
mod incomplete_beta;
mod initialization;
mod linalg;
mod losses;
mod mixture;
mod model;
mod moments;
mod momentum;
mod movement;
mod network;
mod newton_schulz;
mod ode;
mod ode_system;
mod part;
mod perturbation;
mod power_order;
mod quadrature;
mod random;
mod ratios;
mod rules;
mod sample_error;
mod sampling;
mod shampoo;
mod sharp;
mod simulation;
mod softmax;
mod stopping;
mod summation;
mod trajectory;

pub use checks::{Check, VerifyConfig, heading, statement, verify};
pub use components::Components;
pub use condition1::{CONDITION_1, Condition1, Matched};
pub use diagnose::{LabelledMoments, LossRow, Match, Measure, Plan, Prediction, Trust, Window, follow, largest_error, trust};
pub use discrete::discrete;
pub use error::{Error, Result};
pub use finite_sample::{ComponentPath, PowerLaw, SampleStart};
pub use gaps::{GF_BALANCED, GF_MINORITY, GapBounds, GapRow, NGF_BALANCED, NGF_MINORITY, bilinear_gap_curves, gap_curves};
pub use gaussian_mixture::{GaussianMixture, ORTHOGONAL};
pub use growth::growth_times;
pub use idealization::{Deviation, Start, alternation, delta_deviation, euler_error, specgd_deviation};
pub use linalg::polar_factor;
pub use losses::{Losses, losses, matrix_losses};
pub use mixture::{Mixture, MixtureConfig};
pub use model::Model;
pub use moments::MatrixMoments;
pub use momentum::{
    muon_cycle_offset, muon_least_swing, muon_longest_run, muon_overshoot, muon_step_size, muon_swing, nesterov_overshoot,
};
pub use movement::{Movement, movement, perturbed};
pub use network::Network;
pub use newton_schulz::NewtonSchulz;
pub use perturbation::Perturbation;
pub use power_order::{
    power_cycle_residual, power_flip_exponent, power_order_range, power_saturation_spread, power_saturation_times,
};
pub use rules::Rule;
pub use sample_error::{gd_sampling_deviation, specgd_rate_loss, specgd_rate_share};
pub use sampling::{Sample, SampleMoments, Sampler};
pub use shampoo::{Accumulation, Shampoo, Sides, shampoo_average, shampoo_sum};
pub use sharp::{
    Gap, Infimum, SharpConstant, SharpSearch, infimum_without_prior_condition, lead_end, proved_bound, search_infimum,
    sharp_constants, smallest_failing_prior,
};
pub use simulation::Simulation;
pub use softmax::{PopulationLoss, SampleLoss};
pub use stopping::{DescentConfig, PathPoint, Score, Scores, StoppingPoint, TestSet, TrainingData, best_stopping_point, descend};
pub use trajectory::{Source, TrajectoryConfig, TrajectoryRow, trajectory};
