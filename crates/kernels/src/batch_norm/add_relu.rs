//! Batch normalization at the end of a residual block.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};

use super::operation::BatchNorm;
use super::passes::moments;
use super::{BatchNormed, check, composed, fits, statistics};
use crate::activation::passed_on;
use crate::add_relu;
use crate::graph::{apply2, apply3};
use crate::values::{Values, values};

/// max(0, y + s) with y of [`batch_norm`](crate::batch_norm) of x, and s of the shape of x: without y in memory.
///
/// On the CPU the gradient is 0 where the result is 0, as in PyTorch.
pub fn batch_norm_add_relu(x: &Tensor, gamma: &Tensor, beta: &Tensor, shortcut: &Tensor, eps: f64) -> Result<BatchNormed> {
    let shape = check(x, &[("gamma", gamma), ("beta", beta)])?;
    if shortcut.shape() != x.shape() {
        bail!("a shortcut {:?} cannot be added to a normalized {:?}", shortcut.shape(), x.shape());
    }
    if !fits(&[x, gamma, beta, shortcut]) {
        let normed = composed(x, gamma, beta, eps, false)?;
        return Ok(BatchNormed { y: add_relu(&normed.y, shortcut)?, ..normed });
    }
    let channels = moments(&Values::of(x)?, shape);
    let [mean, variance] = statistics(&channels, x)?;
    // The graph has operations of at most three tensors.
    let affine = apply2(gamma, beta, Pair)?;
    let norm = BatchNorm { channels, eps, relu: false, of_batch: true };
    let y = apply3(x, &affine, shortcut, BatchNormAddRelu(norm))?;
    Ok(BatchNormed { y, mean, variance })
}

/// γ and β as [2, C].
struct Pair;

impl CustomOp2 for Pair {
    fn name(&self) -> &'static str {
        "pair"
    }

    fn cpu_fwd(&self, a: &CpuStorage, a_layout: &Layout, b: &CpuStorage, b_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (a, b) = (values(a, a_layout)?, values(b, b_layout)?);
        Ok((CpuStorage::F32([a, b].concat()), (2, a.len()).into()))
    }

    fn bwd(&self, a: &Tensor, b: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let row = |of: &Tensor, index| if of.track_op() { grad.get(index).map(Some) } else { Ok(None) };
        Ok((row(a, 0)?, row(b, 1)?))
    }
}

struct BatchNormAddRelu(BatchNorm);

impl CustomOp3 for BatchNormAddRelu {
    fn name(&self) -> &'static str {
        "batch norm, sum and relu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
        shortcut: &CpuStorage,
        shortcut_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let affine = values(affine, affine_layout)?;
        let (gamma, beta) = affine.split_at(affine.len() / 2);
        let normalization = self.0.normalization(values(x, x_layout)?, x_layout.shape(), gamma, beta)?;
        let y = normalization.forward(Some(values(shortcut, shortcut_layout)?));
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        shortcut: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = passed_on(grad, y, |y| y > 0.0)?;
        let values = Values::of(affine)?;
        let (of_x, sums) = self.0.gradients(x, values.split_at(values.len() / 2), &Values::of(&grad)?, affine.track_op())?;
        #[allow(clippy::cast_possible_truncation, reason = "results are f32")]
        let of_affine = || {
            let gradients = sums.iter().map(|sums| sums.with_normalized).chain(sums.iter().map(|sums| sums.alone));
            Tensor::from_iter(gradients.map(|g| g as f32), affine.device())?.reshape(affine.shape())
        };
        let of_affine = if affine.track_op() { Some(of_affine()?) } else { None };
        Ok((of_x, of_affine, shortcut.track_op().then_some(grad)))
    }
}
