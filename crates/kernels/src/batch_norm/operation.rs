//! The operation in the graph.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::passes::{Channel, Normalization, Sums};
use crate::values::{Values, values};

/// Normalization of x by statistics that are there already, with γ and β.
pub(super) struct BatchNorm {
    pub channels: Vec<Channel>,
    pub eps: f64,
    pub relu: bool,
    /// Whether the statistics are those of x, and change with it.
    pub of_batch: bool,
}

impl BatchNorm {
    pub fn normalization<'a>(&self, x: &'a [f32], shape: &Shape, gamma: &[f32], beta: &[f32]) -> Result<Normalization<'a>> {
        let (_, _, h, w) = shape.dims4()?;
        Ok(Normalization::new(x, h * w, &self.channels, self.eps, (gamma, beta), self.relu))
    }

    /// The gradient of x if it leads to a variable, and the sums that make those of γ and β if `of_channels`.
    pub fn gradients(
        &self,
        x: &Tensor,
        (gamma, beta): (&[f32], &[f32]),
        g: &[f32],
        of_channels: bool,
    ) -> Result<(Option<Tensor>, Vec<Sums>)> {
        let values = Values::of(x)?;
        let normalization = self.normalization(&values, x.shape(), gamma, beta)?;
        let of_statistics = self.of_batch && x.track_op();
        let sums = if of_statistics || of_channels { normalization.sums(g) } else { Vec::new() };
        if !x.track_op() {
            return Ok((None, sums));
        }
        let of_x = normalization.gradient(g, if self.of_batch { Some(&sums) } else { None });
        Ok((Some(Tensor::from_vec(of_x, x.shape(), x.device())?), sums))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gamma, beta) = (values(gamma, gamma_layout)?, values(beta, beta_layout)?);
        let normalization = self.normalization(values(x, x_layout)?, x_layout.shape(), gamma, beta)?;
        Ok((CpuStorage::F32(normalization.forward(None)), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let affine = (&*Values::of(gamma)?, &*Values::of(beta)?);
        let (of_x, sums) = self.gradients(x, affine, &Values::of(&grad)?, gamma.track_op() || beta.track_op())?;
        #[allow(clippy::cast_possible_truncation, reason = "results are f32")]
        let of_channels = |var: &Tensor, f: fn(&Sums) -> f64| -> Result<Option<Tensor>> {
            let gradient = || Tensor::from_iter(sums.iter().map(|sums| f(sums) as f32), var.device());
            if var.track_op() { gradient().map(Some) } else { Ok(None) }
        };
        Ok((of_x, of_channels(gamma, |sums| sums.with_normalized)?, of_channels(beta, |sums| sums.alone)?))
    }
}
