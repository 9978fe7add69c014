//! The factors L and R of one block, and their roots.

use candle_core::{Tensor, Var};
use rayon::join;

use crate::decompose::{eigh, to_mat, to_tensor};
use crate::elementwise::{ScaledAdd, overwritten2};
use crate::reduce::all_finite;
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

/// How to compute roots.
#[derive(Clone, Copy, Debug)]
pub(super) struct Roots {
    pub eps: f64,
    /// 1 − β₂ᵗ, by which the factors are divided.
    pub correction: f64,
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

    /// The factors after a gradient [r, c], with new roots if they are due.
    pub fn updated(&self, gradient: &Tensor, beta2: f64, roots: Option<Roots>) -> Result<Self> {
        let transposed = gradient.t()?;
        // The exponents −1/4 on both sides of a matrix make up the −1/2 of a vector.
        let p = if self.right.is_some() { 4.0 } else { 2.0 };
        let left = || self.left.updated(gradient.matmul(&transposed)?, beta2, roots, p);
        let right =
            || self.right.as_ref().map(|factor| factor.updated(transposed.matmul(gradient)?, beta2, roots, p)).transpose();
        let (left, right) = join(left, right);
        Ok(Self { left: left?, right: right? })
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
    fn updated(&self, product: Tensor, beta2: f64, roots: Option<Roots>, p: f64) -> Result<Self> {
        let weight = if beta2 == 1.0 { 1.0 } else { 1.0 - beta2 };
        let sum = overwritten2(&ScaledAdd { keep: weight, scale: beta2 }, product, &self.sum)?;
        let root = match roots {
            None => self.root.clone(),
            Some(roots) => Some(root(&sum, roots, p)?),
        };
        Ok(Self { sum, root })
    }

    fn write(&self, state: State, side: &str, block: usize) -> State {
        let state = state.tensor(format!("{side}.{block}"), &self.sum);
        match &self.root {
            None => state,
            Some(root) => state.tensor(format!("{side}_root.{block}"), root),
        }
    }

    fn restored(&self, state: &mut State, side: &str, block: usize, with_roots: bool) -> Result<Self> {
        let mut take = |name: String| Ok::<_, Error>(state.take_like(&name, &self.sum)?.into_inner());
        let sum = take(format!("{side}.{block}"))?;
        let root = if with_roots { Some(take(format!("{side}_root.{block}"))?) } else { None };
        Ok(Self { sum, root })
    }
}

/// (A/correction + εI)^(−1/p)
fn root(factor: &Tensor, roots: Roots, p: f64) -> Result<Tensor> {
    let mut matrix = to_mat(factor)?;
    let size = matrix.nrows();
    matrix *= faer::Scale(1.0 / roots.correction);
    let root = to_tensor(&eigh(matrix.as_ref())?.inverse_root(p, roots.eps), factor)?;
    // A tiny ε gives roots beyond the range of f32.
    if all_finite(&root)? { Ok(root) } else { Err(Error::NonFiniteFactor { size }) }
}
