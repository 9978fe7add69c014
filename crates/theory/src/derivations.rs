//! Derivations of the formulas and bounds that go beyond the paper.
//!
//! Each page is a file of `docs/`, written in Markdown with LaTeX formulas, which the build turns into MathML.

#[doc = include_str!(concat!(env!("OUT_DIR"), "/depth.md"))]
pub mod depth {}
#[doc = include_str!(concat!(env!("OUT_DIR"), "/lemma.md"))]
pub mod lemma {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/finite-samples.md"))]
pub mod finite_samples {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/population-softmax.md"))]
pub mod population_softmax {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/newton-schulz.md"))]
pub mod newton_schulz {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/shampoo.md"))]
pub mod shampoo {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/condition-1.md"))]
pub mod condition_1 {}
#[doc = include_str!(concat!(env!("OUT_DIR"), "/spectral-power.md"))]
pub mod spectral_power {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/momentum.md"))]
pub mod momentum {}
#[doc = include_str!(concat!(env!("OUT_DIR"), "/sharp-constants.md"))]
pub mod sharp_constants {}
#[doc = include_str!(concat!(env!("OUT_DIR"), "/diagnosis.md"))]
pub mod diagnosis {}
