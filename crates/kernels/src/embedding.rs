//! Rows of a table.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::graph;
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
        graph::apply1(&table.contiguous()?, Embedding { ids: flat, shape })
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

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{pass, reference, same_on_any_threads, uniform};

    fn ids(count: usize, n: usize, seed: usize) -> Vec<u32> {
        // Some often and others never.
        (0..count).map(|i| u32::try_from((i * i + 3 * i + seed) % n).unwrap()).collect()
    }

    fn agrees(n: usize, width: usize, count: usize, seed: usize) {
        let (table, g) = (uniform(&[n, width], seed as u64), uniform(&[count, width], seed as u64 + 1));
        let rows = ids(count, n, seed);
        let chosen = Tensor::new(rows.as_slice(), &Device::Cpu).unwrap();
        let ours = same_on_any_threads(|| pass(&[&table], &g, |x| embedding(&x[0], &chosen)));
        ours.assert_near(&pass(&[&table], &g, |x| x[0].index_select(&chosen, 0)), 1e-5);
        if n * width * count < 2000 {
            let plain = |x: &[Vec<f64>]| rows.iter().flat_map(|&id| x[0][id as usize * width..][..width].to_vec()).collect();
            ours.assert_near(&reference(&[&table], &g, plain), 1e-6);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn is_the_row(n in 1..20_usize, width in 1..20_usize, count in 1..30_usize, seed in 0..1000_usize) {
            agrees(n, width, count, seed);
        }
    }

    #[test]
    fn several_blocks() {
        agrees(2 * ROWS + 3, 5, 3 * ROWS + 1, 1);
    }

    #[test]
    fn shapes_and_wrong_ids() {
        let table = uniform(&[4, 3], 2);
        let ids = |ids: &[u32]| Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu).unwrap();
        assert_eq!(embedding(&table, &ids(&[3, 0])).unwrap().dims(), [1, 2, 3]);
        let double = table.to_dtype(DType::F64).unwrap();
        assert_eq!(embedding(&double, &ids(&[3, 0])).unwrap().dims(), [1, 2, 3]);
        let error = embedding(&table, &ids(&[3, 4])).unwrap_err().to_string();
        assert!(error.contains("[4, 3]") && error.contains("row 4"), "{error}");
        let error = embedding(&table, &ids(&[1]).to_dtype(DType::F32).unwrap()).unwrap_err().to_string();
        assert!(error.contains("u32"), "{error}");
    }
}
