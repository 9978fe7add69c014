//! Training runs over seeds: what curves draw, tables hold and claims compare.
//!
//! The runs of an experiment fall into [cases](Case) (one data set with one network); those of a case into [rules](Rule), one run for each
//! seed. How a rule's step size was chosen is a [`Choice`].

mod case;
mod describe;
mod rule;
mod spread;

pub(crate) use case::Case;
pub use case::Choice;
pub(crate) use describe::{caption, case_name, count_epochs, thousands};
pub(crate) use rule::{Measure, Rule, epochs, nearest, value_at, values};
pub(crate) use spread::Spread;
