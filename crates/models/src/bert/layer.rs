//! A layer of BERT.

use candle_core::{D, Device, Result, Tensor};
use isorate_kernels::{add, gelu};
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

    /// x \[n, t, width\]; `mask` \[n, 1, 1, t\] is added to the scores of the keys.
    pub(super) fn forward(&self, x: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let (n, t, width) = x.dims3()?;
        let x = x.reshape((n * t, width))?;
        let attended = self.attended.forward_in(&self.attention(&x, mask, (n, t), mode)?, mode)?;
        let x = self.attended_norm.forward(&add(&attended, &x)?, mode)?;
        let inner = gelu(&self.intermediate.forward_in(&x, mode)?)?;
        let x = self.output_norm.forward(&add(&self.output.forward_in(&inner, mode)?, &x)?, mode)?;
        x.reshape((n, t, width))
    }

    /// softmax(QKᵀ/√d + mask) V of each head, side by side, \[n·t, width\].
    fn attention(&self, x: &Tensor, mask: &Tensor, (n, t): (usize, usize), mode: Mode) -> Result<Tensor> {
        let width = x.dim(1)?;
        let d = width / self.heads;
        let of_heads = |map: &Linear| map.forward_in(x, mode)?.reshape((n, t, self.heads, d))?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (of_heads(&self.query)?, of_heads(&self.key)?, of_heads(&self.value)?);
        let scores = (q / (d as f64).sqrt())?.matmul(&k.t()?)?.broadcast_add(mask)?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        weights.matmul(&v)?.transpose(1, 2)?.reshape((n * t, width))
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
