//! The factors L and R of one block, and their roots.

use candle_core::{DType, Tensor, Var};
use faer::Mat;
use rayon::prelude::*;

use crate::decompose::{eigh, to_mat, to_tensor};
use crate::elementwise::{ScaledAdd, overwritten2};
use crate::state::State;
use crate::{Error, Result};

/// L and R of a matrix, or L alone of a vector.
#[derive(Debug)]
pub(super) struct Factors {
    left: Factor,
    right: Option<Factor>,
}

/// A sum or average of products of gradients, [k, k], and its last root. Tensors are replaced, never written to.
#[derive(Debug)]
struct Factor {
    sum: Tensor,
    root: Option<Tensor>,
}

impl Factors {
    /// Those of a block before the first gradient, in the type and on the device of `like`.
    pub fn new((rows, columns): (usize, usize), vector: bool, like: &Var) -> Result<Self> {
        let zeros = |size| -> Result<Factor> {
            Ok(Factor { sum: Tensor::zeros((size, size), like.dtype(), like.device())?, root: None })
        };
        let right = if vector { None } else { Some(zeros(columns)?) };
        Ok(Self { left: zeros(rows)?, right })
    }

    /// The factors after a gradient [r, c], with the roots as they are.
    pub fn after(&self, gradient: &Tensor, beta2: f64) -> Result<Self> {
        let transposed = gradient.t()?;
        let left = self.left.after(gradient.matmul(&transposed)?, beta2)?;
        let right = self.right.as_ref().map(|right| right.after(transposed.matmul(gradient)?, beta2)).transpose()?;
        Ok(Self { left, right })
    }

    /// Each factor with p: the exponents −1/4 on both sides of a matrix make up the −1/2 of a vector.
    fn sides(&mut self) -> impl Iterator<Item = (&mut Factor, f64)> {
        let p = if self.right.is_some() { 4.0 } else { 2.0 };
        std::iter::once(&mut self.left).chain(&mut self.right).map(move |factor| (factor, p))
    }

    /// L^(−1/4) x R^(−1/4), or L^(−1/2) x of a vector. A side without roots leaves x as it is.
    pub fn precondition(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.clone();
        if let Some(root) = &self.left.root {
            x = root.matmul(&x)?;
        }
        if let Some(root) = self.right.as_ref().and_then(|factor| factor.root.as_ref()) {
            x = x.matmul(root)?;
        }
        Ok(x)
    }

    /// Adds the factors of the block with this number to a state.
    pub fn write(&self, mut state: State, block: usize) -> State {
        state = self.left.write(state, "left", block);
        match &self.right {
            None => state,
            Some(right) => right.write(state, "right", block),
        }
    }

    pub fn restored(&self, state: &mut State, block: usize, with_roots: bool) -> Result<Self> {
        let right = self.right.as_ref().map(|right| right.restored(state, "right", block, with_roots)).transpose()?;
        Ok(Self { left: self.left.restored(state, "left", block, with_roots)?, right })
    }
}

impl Factor {
    fn after(&self, product: Tensor, beta2: f64) -> Result<Self> {
        // β₂ = 1 is the sum.
        let weight = if beta2 < 1.0 { 1.0 - beta2 } else { 1.0 };
        let sum = overwritten2(&ScaledAdd { keep: weight, scale: beta2 }, product, &self.sum)?;
        Ok(Self { sum, root: self.root.clone() })
    }

    fn write(&self, state: State, side: &str, block: usize) -> State {
        state.tensor(format!("{side}.{block}"), &self.sum).tensor_if_any(&format!("{side}_root.{block}"), self.root.as_ref())
    }

    fn restored(&self, state: &mut State, side: &str, block: usize, with_roots: bool) -> Result<Self> {
        let mut take = |name: String| Ok::<_, Error>(state.take_like(&name, &self.sum)?.into_inner());
        let sum = take(format!("{side}.{block}"))?;
        let root = if with_roots { Some(take(format!("{side}_root.{block}"))?) } else { None };
        Ok(Self { sum, root })
    }
}

/// Computes the roots (A/correction + εI)^(−1/p) of all factors A, in parallel; `correction` is 1 − β₂ᵗ.
pub(super) fn compute_roots(blocks: &mut [Factors], eps: f64, correction: f64) -> Result<()> {
    let mut due: Vec<(&mut Factor, f64)> = blocks.iter_mut().flat_map(Factors::sides).collect();
    // Tensors on a device are read and made on this thread: candle's CUDA devices have a stream for each.
    let matrices = due.iter().map(|(factor, p)| Ok((to_mat(&factor.sum)?, *p))).collect::<Result<Vec<_>>>()?;
    let root = |(mut matrix, p): (Mat<f64>, f64)| {
        matrix *= faer::Scale(1.0 / correction);
        Ok(eigh(matrix.as_ref())?.inverse_root(p, eps))
    };
    let roots = matrices.into_par_iter().map(root).collect::<Result<Vec<_>>>()?;
    for ((factor, _), root) in due.iter_mut().zip(&roots) {
        // A tiny ε gives roots beyond the range of f32.
        let largest = if factor.sum.dtype() == DType::F32 { f64::from(f32::MAX) } else { f64::MAX };
        if root.norm_max() > largest {
            return Err(Error::NonFiniteFactor { size: root.nrows() });
        }
        factor.root = Some(to_tensor(root, &factor.sum)?);
    }
    Ok(())
}
