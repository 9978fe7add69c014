//! The sum of two tensors, in parallel.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use crate::Threads;
use crate::graph::apply2;

/// x + y for tensors of one shape, such as a block's input and its output.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let fused = [x, y].iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32 && t.is_contiguous());
    if fused { apply2(x, y, Add) } else { x + y }
}

struct Add;

/// Numbers that are worth a thread of their own.
const PART: usize = 1 << 14;

impl CustomOp2 for Add {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, y: &CpuStorage, y_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        if x_layout.shape() != y_layout.shape() {
            bail!("a sum needs tensors of one shape, not {:?} and {:?}", x_layout.shape(), y_layout.shape());
        }
        let (CpuStorage::F32(x), CpuStorage::F32(y), Some((x_start, x_end)), Some((y_start, y_end))) =
            (x, y, x_layout.contiguous_offsets(), y_layout.contiguous_offsets())
        else {
            bail!("a sum needs contiguous f32 values");
        };
        let (mut sum, y) = (x[x_start..x_end].to_vec(), &y[y_start..y_end]);
        Threads::All.chunks(&mut sum, PART, |index, sum| {
            for (sum, y) in sum.iter_mut().zip(&y[index * PART..]) {
                *sum += y;
            }
        });
        Ok((CpuStorage::F32(sum), x_layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(grad.clone()), Some(grad.clone())))
    }
}
