//! A block of the transformer.

use candle_core::{Device, Result, Tensor, Var};
use isorate_kernels::{affine, causal_attention, gelu_tanh, layer_norm};
use rand::Rng;

use super::{GptConfig, STD};
use crate::init::{constant, normal};
use crate::{Mode, Parameter, ParameterKind};

/// x ↦ y = x + attention(LN(x)), y ↦ y + MLP(LN(y)).
#[derive(Clone, Debug)]
pub(super) struct Block {
    heads: usize,
    norm_1: Norm,
    attention: Map,
    attention_out: Map,
    norm_2: Norm,
    hidden: Map,
    hidden_out: Map,
}

impl Block {
    pub fn new(config: &GptConfig, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let (width, hidden) = (config.width, config.mlp_ratio * config.width);
        let to_sum = STD / (2.0 * config.layers as f64).sqrt();
        Ok(Self {
            heads: config.heads,
            norm_1: Norm::new(width, device)?,
            attention: Map::new((3 * width, width), STD, rng, device)?,
            attention_out: Map::new((width, width), to_sum, rng, device)?,
            norm_2: Norm::new(width, device)?,
            hidden: Map::new((hidden, width), STD, rng, device)?,
            hidden_out: Map::new((width, hidden), to_sum, rng, device)?,
        })
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let heads = causal_attention(&self.attention.forward(&self.norm_1.forward(x, mode)?, mode)?, self.heads)?;
        let x = (x + self.attention_out.forward(&heads, mode)?)?;
        let hidden = gelu_tanh(&self.hidden.forward(&self.norm_2.forward(&x, mode)?, mode)?)?;
        x + self.hidden_out.forward(&hidden, mode)?
    }

    pub fn parameters(&self, block: &str) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        parameters.extend(self.norm_1.parameters(&format!("{block}.ln_1")));
        parameters.extend(self.attention.parameters(&format!("{block}.attn.c_attn")));
        parameters.extend(self.attention_out.parameters(&format!("{block}.attn.c_proj")));
        parameters.extend(self.norm_2.parameters(&format!("{block}.ln_2")));
        parameters.extend(self.hidden.parameters(&format!("{block}.mlp.c_fc")));
        parameters.extend(self.hidden_out.parameters(&format!("{block}.mlp.c_proj")));
        parameters
    }
}

/// An affine map with GPT-2's initial values.
#[derive(Clone, Debug)]
struct Map {
    weight: Var,
    bias: Var,
}

impl Map {
    /// \[out, in\].
    fn new(shape: (usize, usize), std: f64, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        Ok(Self { weight: normal(shape, std, rng, device)?, bias: constant(0.0, shape.0, device)? })
    }

    fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        affine(x, &mode.of(&self.weight), Some(&mode.of(&self.bias)))
    }

    fn parameters(&self, layer: &str) -> [Parameter; 2] {
        [
            Parameter::new(format!("{layer}.weight"), ParameterKind::Matrix, &self.weight),
            Parameter::new(format!("{layer}.bias"), ParameterKind::Vector, &self.bias),
        ]
    }
}

/// A layer norm.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    gains: Var,
    biases: Var,
}

impl Norm {
    pub fn new(width: usize, device: &Device) -> Result<Self> {
        Ok(Self { gains: constant(1.0, width, device)?, biases: constant(0.0, width, device)? })
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        layer_norm(x, &mode.of(&self.gains), &mode.of(&self.biases), 1e-5)
    }

    pub fn parameters(&self, layer: &str) -> [Parameter; 2] {
        [
            Parameter::new(format!("{layer}.weight"), ParameterKind::Vector, &self.gains),
            Parameter::new(format!("{layer}.bias"), ParameterKind::Vector, &self.biases),
        ]
    }
}
