//! A block of the transformer.

use candle_core::{Device, Result, Tensor};
use isorate_kernels::{add, causal_attention, gelu_tanh};
use rand::Rng;

use super::{EPS, GptConfig, STD};
use crate::layer_norm::LayerNorm;
use crate::{Linear, Mode, Parameter, ParameterKind};

/// x ↦ y = x + attention(LN(x)), y ↦ y + MLP(LN(y)).
#[derive(Clone, Debug)]
pub(super) struct Block {
    heads: usize,
    norm_1: LayerNorm,
    attention: Linear,
    attention_out: Linear,
    norm_2: LayerNorm,
    hidden: Linear,
    hidden_out: Linear,
}

impl Block {
    pub fn new(config: &GptConfig, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let (width, hidden) = (config.width, config.mlp_ratio * config.width);
        let to_sum = STD / (2.0 * config.layers as f64).sqrt();
        Ok(Self {
            heads: config.heads,
            norm_1: LayerNorm::new(width, EPS, device)?,
            attention: Linear::normal(width, 3 * width, STD, rng, device)?,
            attention_out: Linear::normal(width, width, to_sum, rng, device)?,
            norm_2: LayerNorm::new(width, EPS, device)?,
            hidden: Linear::normal(width, hidden, STD, rng, device)?,
            hidden_out: Linear::normal(hidden, width, to_sum, rng, device)?,
        })
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let heads = causal_attention(&self.attention.forward_in(&self.norm_1.forward(x, mode)?, mode)?, self.heads)?;
        let x = add(x, &self.attention_out.forward_in(&heads, mode)?)?;
        let hidden = gelu_tanh(&self.hidden.forward_in(&self.norm_2.forward(&x, mode)?, mode)?)?;
        add(&x, &self.hidden_out.forward_in(&hidden, mode)?)
    }

    pub fn parameters(&self, block: &str) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        parameters.extend(self.norm_1.parameters(&format!("{block}.ln_1")));
        parameters.extend(self.attention.parameters(&format!("{block}.attn.c_attn"), ParameterKind::Matrix));
        parameters.extend(self.attention_out.parameters(&format!("{block}.attn.c_proj"), ParameterKind::Matrix));
        parameters.extend(self.norm_2.parameters(&format!("{block}.ln_2")));
        parameters.extend(self.hidden.parameters(&format!("{block}.mlp.c_fc"), ParameterKind::Matrix));
        parameters.extend(self.hidden_out.parameters(&format!("{block}.mlp.c_proj"), ParameterKind::Matrix));
        parameters
    }
}
