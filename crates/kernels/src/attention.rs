//! Scaled dot-product attention.

use candle_core::{D, DType, Result, Tensor};

/// Causal self-attention of all heads, [b, t, h·d], from queries, keys and values side by side: `qkv` [b, t, 3·h·d].
///
/// softmax(QKᵀ/√d + M) V for each head, with M = 0 where the key is not after the query and −∞ elsewhere.
pub fn causal_attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, t, width) = qkv.dims3()?;
    let d = width / (3 * heads);
    let part =
        |index: usize| qkv.narrow(2, index * heads * d, heads * d)?.reshape((b, t, heads, d))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let scores = (q.matmul(&k.t()?.contiguous()?)? / (d as f64).sqrt())?;
    let future: Vec<u8> = (0..t).flat_map(|i| (0..t).map(move |j| u8::from(j > i))).collect();
    let future = Tensor::from_vec(future, (t, t), qkv.device())?.broadcast_as(scores.shape())?;
    let never = Tensor::new(f32::NEG_INFINITY, qkv.device())?
        .to_dtype(DType::F32)?
        .to_dtype(scores.dtype())?
        .broadcast_as(scores.shape())?;
    let scores = future.where_cond(&never, &scores)?;
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((b, t, heads * d))
}
