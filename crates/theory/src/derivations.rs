//! Derivations of the formulas and bounds that go beyond the paper.
//!
//! Each page is a file of `docs/`, written in Markdown with LaTeX formulas, which the build turns into MathML.

#[doc = include_str!(concat!(env!("OUT_DIR"), "/lemma.md"))]
pub mod lemma {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/finite-samples.md"))]
pub mod finite_samples {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/population-softmax.md"))]
pub mod population_softmax {}
