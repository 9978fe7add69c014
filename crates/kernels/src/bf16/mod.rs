//! Products of bfloat16 matrices with sums in f32.
//!
//! A factor is laid out as [`Panels`] once and used in as many products as there are: [`product`], and [`lower_product`]
//! for half of the work where the result is symmetric. Results depend on the factors alone: not on the number of threads,
//! and not on the processor.

mod arithmetic;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod panels;
mod portable;
mod product;
#[cfg(test)]
mod tests;

pub use panels::Panels;
pub use product::{Scale, lower_product, product};
