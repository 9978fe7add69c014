//! Small candle models with seeded initialization.
//!
//! candle's CPU generator cannot be seeded, so every initial weight is drawn from a generator that the caller gives and the
//! tensor is built from the numbers: the same generator state gives the same weights, bit for bit, on every machine.
//! Parameters are handed out by name in a fixed order, under the names that PyTorch would use.

mod bert;
mod error;
mod gpt;
mod init;
mod layer_norm;
mod linear;
mod mlp;
mod model;
mod resnet;
mod weights;

pub use bert::{Bert, BertConfig};
pub use error::{Error, FileProblem, Result};
pub use gpt::{Gpt, GptConfig};
pub use linear::Linear;
pub use mlp::{Activation, Mlp};
pub use model::{Mode, Model, Parameter, ParameterKind};
pub use resnet::{ResNet, ResNetConfig, ResNetDepth, Stem};
pub use weights::{HeadWeights, load_weights, save_weights};
