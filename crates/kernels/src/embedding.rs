//! Rows of a table.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::values::{Values, on_cpu, values};

/// Rows of the result or of the table that one thread takes at a time.
const ROWS: usize = 256;

/// The rows `table[ids]`, [..., d], for a table [n, d] and ids [...] of type u32.
///
/// An id that is no row of the table is an error that names it.
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let (n, width) = table.dims2()?;
    if ids.dtype() != DType::U32 {
        bail!("rows of a table are chosen by ids of type u32, not {:?}", ids.dtype());
    }
    let flat = ids.flatten_all()?.to_vec1::<u32>()?;
    if let Some(id) = flat.iter().find(|&&id| id as usize >= n) {
        bail!("a table of shape {:?} has no row {id}", table.shape());
    }
    let shape = Shape::from([ids.dims(), &[width]].concat());
    if on_cpu(&[table]) {
        table.contiguous()?.apply_op1(Embedding { ids: flat, shape })
    } else {
        table.index_select(&ids.flatten_all()?, 0)?.reshape(shape)
    }
}

struct Embedding {
    ids: Vec<u32>,
    shape: Shape,
}

impl CustomOp1 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (table, (_, width)) = (values(table, layout)?, layout.shape().dims2()?);
        let mut rows = vec![0.0; self.ids.len() * width];
        if width > 0 {
            rows.par_chunks_mut(ROWS * width).zip(self.ids.par_chunks(ROWS)).for_each(|(rows, ids)| {
                for (row, &id) in rows.chunks_exact_mut(width).zip(ids) {
                    row.copy_from_slice(&table[id as usize * width..][..width]);
                }
            });
        }
        Ok((CpuStorage::F32(rows), self.shape.clone()))
    }

    /// Each row of the table gets the gradients of its places, from the first place on.
    fn bwd(&self, table: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (_, width) = table.dims2()?;
        let mut sums = vec![0.0_f32; table.elem_count()];
        if width > 0 {
            let grad = Values::of(&grad)?;
            let grad = &*grad;
            sums.par_chunks_mut(ROWS * width).enumerate().for_each(|(index, sums)| {
                let rows = index * ROWS..(index + 1) * ROWS;
                for (&id, grad) in self.ids.iter().zip(grad.chunks_exact(width)) {
                    if rows.contains(&(id as usize)) {
                        let sums = &mut sums[(id as usize - rows.start) * width..][..width];
                        sums.iter_mut().zip(grad).for_each(|(sum, g)| *sum += g);
                    }
                }
            });
        }
        Ok(Some(Tensor::from_vec(sums, table.shape(), table.device())?))
    }
}
