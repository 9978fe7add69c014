//! The Gaussian error linear unit.

use candle_core::{Result, Tensor};

/// x Φ(x), as BERT has it.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}

/// ½ x (1 + tanh(√(2/π)(x + 0.044715 x³))), as GPT-2 has it.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    x.gelu()
}
