//! Scaled dot-product attention.

mod head;

use std::cell::Cell;

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::graph;
use crate::simd;
use crate::values::{Values, on_cpu, values};
use head::{Backward, Forward, Scratch, Sizes};

/// Causal self-attention of all heads, [b, t, h·d], from queries, keys and values side by side: `qkv` [b, t, 3·h·d].
///
/// softmax(QKᵀ/√d + M) V for each head, with M = 0 where the key is not after the query and −∞ elsewhere.
///
/// On the CPU in f32 the probabilities are never kept: the gradient takes them anew, some queries at a time, so that the
/// memory grows with t and not with t².
pub fn causal_attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (_, _, width) = qkv.dims3()?;
    if heads == 0 || width == 0 || !width.is_multiple_of(3 * heads) {
        bail!("{heads} heads cannot share queries, keys and values of shape {:?}", qkv.shape());
    }
    if on_cpu(&[qkv]) { graph::apply1(&qkv.contiguous()?, Attention { heads }) } else { composed(qkv, heads) }
}

fn composed(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (b, t, width) = qkv.dims3()?;
    let d = width / (3 * heads);
    let part =
        |index: usize| qkv.narrow(2, index * heads * d, heads * d)?.reshape((b, t, heads, d))?.transpose(1, 2)?.contiguous();
    let (q, k, v) = (part(0)?, part(1)?, part(2)?);
    let scores = (q.matmul(&k.t()?.contiguous()?)? / (d as f64).sqrt())?;
    let future: Vec<u8> = (0..t).flat_map(|i| (0..t).map(move |j| u8::from(j > i))).collect();
    let future = Tensor::from_vec(future, (t, t), qkv.device())?.broadcast_as(scores.shape())?;
    let never = Tensor::new(f32::NEG_INFINITY, qkv.device())?.to_dtype(scores.dtype())?.broadcast_as(scores.shape())?;
    let scores = future.where_cond(&never, &scores)?;
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    weights.matmul(&v)?.transpose(1, 2)?.reshape((b, t, heads * d))
}

struct Attention {
    heads: usize,
}

impl Attention {
    fn sizes(&self, shape: &Shape) -> Result<Sizes> {
        let (_, length, width) = shape.dims3()?;
        Ok(Sizes { length, heads: self.heads, width: width / (3 * self.heads) })
    }
}

thread_local! {
    /// Taken out while it is used.
    static SCRATCH: Cell<Scratch> = const { Cell::new(Scratch::new()) };
}

/// Runs on this thread's scratch memory.
fn with_scratch(run: impl FnOnce(&mut Scratch)) {
    let mut scratch = SCRATCH.take();
    run(&mut scratch);
    SCRATCH.set(scratch);
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "causal attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, t, width) = layout.shape().dims3()?;
        let (qkv, sizes) = (values(qkv, layout)?, self.sizes(layout.shape())?);
        let mut out = vec![0.0; qkv.len() / 3];
        if !out.is_empty() {
            let sequences = out.par_chunks_mut(t * width / 3).zip(qkv.par_chunks(t * width)).with_max_len(1);
            sequences.for_each(|(out, qkv)| with_scratch(|scratch| simd::run(Forward { sizes, qkv, out, scratch })));
        }
        Ok((CpuStorage::F32(out), (b, t, width / 3).into()))
    }

    fn bwd(&self, qkv: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (_, t, width) = qkv.dims3()?;
        let sizes = self.sizes(qkv.shape())?;
        let mut of_qkv = vec![0.0; qkv.elem_count()];
        if !of_qkv.is_empty() {
            let (qkv, grad) = (Values::of(qkv)?, Values::of(&grad)?);
            let inputs = qkv.par_chunks(t * width).zip(grad.par_chunks(t * width / 3));
            of_qkv.par_chunks_mut(t * width).zip(inputs).with_max_len(1).for_each(|(of_qkv, (qkv, grad))| {
                with_scratch(|scratch| simd::run(Backward { sizes, qkv, grad, of_qkv, scratch }));
            });
        }
        Ok(Some(Tensor::from_vec(of_qkv, qkv.shape(), qkv.device())?))
    }
}

#[cfg(test)]
mod tests;
