//! Operations of neural networks on the CPU, each with its own gradient: what candle composes of several passes, or
//! computes far below the rate of the processor, is one pass here.
//!
//! Each function on tensors says its formula and shapes. It takes the fast way for contiguous f32 tensors on the CPU, and
//! is composed of candle's own operations for other types and devices. Results do not depend on the number of threads.
//!
//! [`bf16`] has products of bfloat16 matrices, on slices.
#![allow(clippy::inline_always, reason = "code that is inlined is compiled for the instructions of its caller")]

mod activation;
mod add;
mod affine;
mod attention;
mod batch_norm;
pub mod bf16;
mod conv;
mod cross_entropy;
mod elementwise;
mod embedding;
mod fresh;
mod gelu;
mod graph;
mod layer_norm;
mod linear_cross_entropy;
mod matmul;
mod pool;
mod product;
mod simd;
#[cfg(test)]
mod testing;
mod threads;
mod values;

pub use activation::{add_relu, relu};
pub use add::add;
pub use affine::{affine, affine_relu};
pub use attention::{causal_attention, masked_attention};
pub use batch_norm::{BatchNormed, batch_norm, batch_norm_add_relu, batch_norm_with};
pub use conv::{Conv2d, conv2d};
pub use cross_entropy::cross_entropy;
pub use embedding::embedding;
pub use gelu::{gelu, gelu_tanh};
pub use graph::backward;
pub use layer_norm::layer_norm;
pub use linear_cross_entropy::linear_cross_entropy;
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d};
pub use threads::Threads;
pub use values::compose;
