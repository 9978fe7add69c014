//! Scaled dot-product attention.

mod head;

use std::cell::Cell;

use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::graph;
use crate::simd;
use crate::values::{Values, on_cpu, values};
use head::{Backward, Forward, Mask, Scratch, Sizes};

/// Causal self-attention of all heads, \[b, t, h·d\], from queries, keys and values side by side: `qkv` \[b, t, 3·h·d\].
///
/// softmax(QKᵀ/√d + M) V for each head, with M = 0 where the key is not after the query and −∞ elsewhere.
///
/// On the CPU in f32 the probabilities are never kept: the gradient takes them anew, some queries at a time, so that the
/// memory grows with t and not with t².
///
/// # Errors
/// A width that is no multiple of 3·`heads`.
pub fn causal_attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    attention(qkv, heads, None)
}

/// Self-attention of all heads to the keys that `mask` \[b, t\] of type u32 marks: 1 for tokens, 0 for padding. Shapes as in
/// [`causal_attention`].
///
/// softmax(QKᵀ/√d + M) V for each head, with M = 0 where the key is marked and −∞ elsewhere. Queries at padding attend too.
///
/// # Errors
/// A width that is no multiple of 3·`heads`, a mask of another shape or type, or one without any mark for a sequence.
pub fn masked_attention(qkv: &Tensor, heads: usize, mask: &Tensor) -> Result<Tensor> {
    let (b, t, _) = qkv.dims3()?;
    if mask.dims() != [b, t] || mask.dtype() != DType::U32 {
        let (shape, dtype) = (mask.shape(), mask.dtype());
        bail!("attention in {:?} needs a mask of shape [{b}, {t}] and type u32, not {shape:?} and {dtype:?}", qkv.shape());
    }
    let marked: Vec<bool> = mask.flatten_all()?.to_vec1::<u32>()?.into_iter().map(|mark| mark != 0).collect();
    if let Some(empty) = marked.chunks(t.max(1)).position(|marked| !marked.contains(&true)) {
        bail!("the attention mask marks no token of sequence {empty}");
    }
    attention(qkv, heads, Some(marked))
}

/// Without `marked` \[b·t\] it is causal.
fn attention(qkv: &Tensor, heads: usize, marked: Option<Vec<bool>>) -> Result<Tensor> {
    let (_, _, width) = qkv.dims3()?;
    if heads == 0 || width == 0 || !width.is_multiple_of(3 * heads) {
        bail!("{heads} heads cannot share queries, keys and values of shape {:?}", qkv.shape());
    }
    let op = Attention { heads, marked };
    if on_cpu(&[qkv]) { graph::apply1(&qkv.contiguous()?, op) } else { op.composed(qkv) }
}

struct Attention {
    heads: usize,
    marked: Option<Vec<bool>>,
}

impl Attention {
    fn composed(&self, qkv: &Tensor) -> Result<Tensor> {
        let (b, t, width) = qkv.dims3()?;
        let (h, d) = (self.heads, width / (3 * self.heads));
        let part = |index: usize| qkv.narrow(2, index * h * d, h * d)?.reshape((b, t, h, d))?.transpose(1, 2)?.contiguous();
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = (q.matmul(&k.t()?.contiguous()?)? / (d as f64).sqrt())?;
        let hidden = match &self.marked {
            None => {
                Tensor::from_iter((0..t).flat_map(|i| (0..t).map(move |j| u8::from(j > i))), qkv.device())?.reshape((t, t))?
            }
            Some(marked) => {
                Tensor::from_iter(marked.iter().map(|&marked| u8::from(!marked)), qkv.device())?.reshape((b, 1, 1, t))?
            }
        };
        let never = Tensor::new(f32::NEG_INFINITY, qkv.device())?.to_dtype(scores.dtype())?.broadcast_as(scores.shape())?;
        let scores = hidden.broadcast_as(scores.shape())?.where_cond(&never, &scores)?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let weights = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        weights.matmul(&v)?.transpose(1, 2)?.reshape((b, t, h * d))
    }

    fn sizes(&self, shape: &Shape) -> Result<Sizes> {
        let (_, length, width) = shape.dims3()?;
        Ok(Sizes { length, heads: self.heads, width: width / (3 * self.heads) })
    }

    /// What the queries of a sequence see.
    fn mask(&self, sequence: usize, length: usize) -> Mask<'_> {
        self.marked.as_ref().map_or(Mask::Causal, |marked| Mask::Keys(&marked[sequence * length..][..length]))
    }
}

thread_local! {
    /// Taken out while it is used.
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// Runs on this thread's scratch memory.
fn with_scratch(run: impl FnOnce(&mut Scratch)) {
    let mut scratch = SCRATCH.take();
    run(&mut scratch);
    SCRATCH.set(scratch);
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (b, t, width) = layout.shape().dims3()?;
        let (qkv, sizes) = (values(qkv, layout)?, self.sizes(layout.shape())?);
        let mut out = vec![0.0; qkv.len() / 3];
        if !out.is_empty() {
            let sequences = out.par_chunks_mut(t * width / 3).zip(qkv.par_chunks(t * width)).with_max_len(1);
            sequences.enumerate().for_each(|(index, (out, qkv))| {
                let mask = self.mask(index, t);
                with_scratch(|scratch| simd::run(Forward { sizes, mask, qkv, out, scratch }));
            });
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
            of_qkv.par_chunks_mut(t * width).zip(inputs).with_max_len(1).enumerate().for_each(
                |(index, (of_qkv, (qkv, grad)))| {
                    let mask = self.mask(index, t);
                    with_scratch(|scratch| simd::run(Backward { sizes, mask, qkv, grad, of_qkv, scratch }));
                },
            );
        }
        Ok(Some(Tensor::from_vec(of_qkv, qkv.shape(), qkv.device())?))
    }
}

#[cfg(test)]
mod tests;
