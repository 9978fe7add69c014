//! How long operations and whole training steps take, as milliseconds and as fractions of the matrix product's rate.
//!
//! A [`Work`] is measured in rounds: in each, one 1024×1024×1024 product in f32 is timed by candle, then the work, repeated
//! where it is short. Both times are medians over the same rounds, so what else the machine does falls on both, and their
//! ratio, [`Measurement::fraction_of_matmul`], says more than the milliseconds. The first calls do not count.
//!
//! [`works`] lists what there is. An iteration of five Newton–Schulz steps on a matrix [r, c], r ≤ c, counts as
//! 5·(4r²c + 2r³) floating-point operations: the products XXᵀ, A² and PX, each formed in full. An implementation that uses
//! their symmetry can pass the rate of the matrix product.
//!
//! `pytorch.py` beside this crate measures the same works in PyTorch, in turn with these, and prints the ratios.
//!
//! ```
//! use isorate_bench::{Effort, measure, select};
//!
//! let works = select(&["optimizer/sgd".to_owned()])?;
//! let measured = measure(&works, &Effort::SHORTEST, |_| ())?;
//! assert_eq!(measured[0].work, "optimizer/sgd");
//! assert!(measured[0].milliseconds > 0.0 && measured[0].gflops.is_none());
//! # Ok::<(), isorate_bench::Error>(())
//! ```
#![allow(clippy::doc_markdown, reason = "formulas and names such as PyTorch are not code")]

mod error;
mod inputs;
mod measurement;
mod memory;
mod networks;
mod operations;
mod select;
mod work;
mod works;

pub use error::{Error, Result};
pub use measurement::{Effort, Measurement, measure, repeat};
pub use memory::peak_mib;
pub use select::select;
pub use work::Work;
pub use works::works;
