//! The iteration on the CPU in bfloat16, as `torch.optim.Muon` has it: on slices, in buffers that are used again.
//!
//! X, A = XXᵀ and B = bA + cA² are kept in bfloat16, and a step is X ← aX + BX. Sums are in f32, and each of A, B and X is
//! rounded once, after its products, coefficients and additions in f32. Only the start differs from `torch.optim.Muon`: X is
//! divided by its norm in f64 and then rounded, where that rounds before and after the norm and the division.

use candle_core::{CpuStorage, Device, Storage, Tensor};
use half::bf16;
use isorate_kernels::Threads;
use isorate_kernels::bf16::{Panels, Scale, lower_product, product};

use super::schedule::Iteration;
use super::shelf::Shelf;
use super::slices::scale;
use crate::Result;
use crate::elementwise::{PIECE, Real, contiguous};

/// The result for a contiguous f32 or f64 matrix on the CPU, in its type.
pub(super) fn apply(iteration: &Iteration<'_>, matrix: &Tensor, threads: Threads) -> Result<Tensor> {
    let shape = matrix.dims2()?;
    let (storage, layout) = matrix.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(x)) => run(iteration, contiguous(x, layout)?, shape, threads),
        Storage::Cpu(CpuStorage::F64(x)) => run(iteration, contiguous(x, layout)?, shape, threads),
        _ => Err(candle_core::Error::Msg("a matrix on the CPU in f32 or f64 was expected".into()).into()),
    }
}

/// From a row-major matrix to the result, row-major.
fn run<T: Real>(iteration: &Iteration<'_>, matrix: &[T], shape: (usize, usize), threads: Threads) -> Result<Tensor> {
    let mut out = vec![T::zero(); matrix.len()];
    if let Some(factors) = scale(iteration, matrix)? {
        SHELF.with(|scratch| {
            scratch.x.resize(matrix.len(), bf16::ZERO);
            threads.chunks(&mut scratch.x, PIECE, |index, chunk| {
                for (y, x) in chunk.iter_mut().zip(&matrix[index * PIECE..]) {
                    *y = bf16::from_f64(x.to_f64() * factors.0 * factors.1);
                }
            });
            for coefficients in iteration.steps.iter() {
                #[allow(clippy::cast_possible_truncation, reason = "the arithmetic of a step is in f32")]
                scratch.step(coefficients.map(|c| c as f32), shape, threads);
            }
            let x = &scratch.x;
            threads.chunks(&mut out, PIECE, |index, chunk| {
                for (y, x) in chunk.iter_mut().zip(&x[index * PIECE..]) {
                    *y = T::from_f64(x.to_f64());
                }
            });
        });
    }
    Ok(Tensor::from_vec(out, shape, &Device::Cpu)?)
}

static SHELF: Shelf<Scratch> = Shelf::new();

/// Buffers that keep the size of the largest matrix so far, in bfloat16: for [r, c] with n = min(r, c), three of r·c
/// elements and two of n².
#[derive(Debug, Default)]
struct Scratch {
    x: Vec<bf16>,
    gram: Vec<bf16>,
    short: Panels,
    long: Panels,
    symmetric: Panels,
}

impl Scratch {
    /// X ← aX + (bA + cA²)X with A = XXᵀ for a row-major X, [r, c], with r ≤ c; otherwise X ← aX + X(bA + cA²) with A = XᵀX.
    fn step(&mut self, [a, b, c]: [f32; 3], (rows, columns): (usize, usize), threads: Threads) {
        let Self { x, gram, short, long, symmetric } = self;
        let (shape, n) = ((rows, columns), rows.min(columns));
        gram.resize(n * n, bf16::ZERO);
        let wide = rows <= columns;
        if wide {
            short.set_rows(x, shape, threads);
        } else {
            short.set_columns(x, shape, threads);
        }
        lower_product(gram, short, Scale { product: 1.0, before: 0.0 }, threads);
        symmetric.set_symmetric(gram, n, threads);
        lower_product(gram, symmetric, Scale { product: c, before: b }, threads);
        symmetric.set_symmetric(gram, n, threads);
        let scale = Scale { product: 1.0, before: a };
        if wide {
            long.set_columns(x, shape, threads);
            product(x, symmetric, long, scale, threads);
        } else {
            long.set_rows(x, shape, threads);
            product(x, long, symmetric, scale, threads);
        }
    }
}
