//! Layer normalization.

use candle_core::{D, Result, Tensor};

/// γ (x − m)/√(v + ε) + β with mean m and biased variance v over the last dimension of x [..., d], γ and β [d].
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centered.sqr()?.mean_keepdim(D::Minus1)?;
    centered.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(gamma)?.broadcast_add(beta)
}
