//! Derivations of the formulas and bounds that go beyond the paper.
//!
//! Each page is a file of `docs/`, written in Markdown with LaTeX formulas, which the build turns into MathML.

#[doc = include_str!(concat!(env!("OUT_DIR"), "/lemma.md"))]
pub mod lemma {}

#[doc = include_str!(concat!(env!("OUT_DIR"), "/diagnosis.md"))]
pub mod diagnosis {}
