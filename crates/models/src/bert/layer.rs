//! A layer of BERT.

use candle_core::{Device, Result, Tensor};
use isorate_kernels::{add, gelu, masked_attention};
use rand::Rng;

use super::{BertConfig, STD};
use crate::layer_norm::LayerNorm;
use crate::{Linear, Mode, Parameter, ParameterKind};

/// Attention, then two maps with a GELU between them; each with a sum and a normalization after it.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attended: Linear,
    attended_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    heads: usize,
}

impl Layer {
    pub(super) fn new(config: &BertConfig, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut linear = |inputs, outputs| Linear::normal(inputs, outputs, STD, rng, device);
        Ok(Self {
            query: linear(width, width)?,
            key: linear(width, width)?,
            value: linear(width, width)?,
            attended: linear(width, width)?,
            attended_norm: LayerNorm::new(width, config.layer_norm_eps, device)?,
            intermediate: linear(width, inner)?,
            output: linear(inner, width)?,
            output_norm: LayerNorm::new(width, config.layer_norm_eps, device)?,
            heads: config.num_attention_heads,
        })
    }

    /// x \[n, t, width\]; `mask` \[n, t\] is 1 for tokens, 0 for padding.
    pub(super) fn forward(&self, x: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let [query, key, value] = [&self.query, &self.key, &self.value].map(|map| map.forward_in(x, mode));
        let heads = masked_attention(&Tensor::cat(&[query?, key?, value?], 2)?, self.heads, mask)?;
        let x = self.attended_norm.forward(&add(&self.attended.forward_in(&heads, mode)?, x)?, mode)?;
        let inner = gelu(&self.intermediate.forward_in(&x, mode)?)?;
        self.output_norm.forward(&add(&self.output.forward_in(&inner, mode)?, &x)?, mode)
    }

    pub(super) fn parameters(&self, layer: &str) -> Vec<Parameter> {
        let of_map = |map: &Linear, name: &str| map.parameters(&format!("{layer}.{name}"), ParameterKind::Matrix);
        let of_norm = |norm: &LayerNorm, name: &str| norm.parameters(&format!("{layer}.{name}.LayerNorm"));
        let mut parameters = Vec::new();
        for (map, name) in [(&self.query, "query"), (&self.key, "key"), (&self.value, "value")] {
            parameters.extend(of_map(map, &format!("attention.self.{name}")));
        }
        parameters.extend(of_map(&self.attended, "attention.output.dense"));
        parameters.extend(of_norm(&self.attended_norm, "attention.output"));
        parameters.extend(of_map(&self.intermediate, "intermediate.dense"));
        parameters.extend(of_map(&self.output, "output.dense"));
        parameters.extend(of_norm(&self.output_norm, "output"));
        parameters
    }
}
