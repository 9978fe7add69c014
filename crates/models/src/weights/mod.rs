//! Weights from and to safetensors files.

mod read;
mod write;

pub(crate) use read::read;
pub use read::{HeadWeights, load_weights};
pub use write::save_weights;
