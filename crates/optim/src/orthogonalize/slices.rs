//! The iteration on the CPU in f32 and f64: on slices, in buffers that are used again.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use faer::traits::ComplexField;
use faer::{MatMut, MatRef};
use isorate_kernels::Threads;

use super::products::{lower_product, mirrored, polynomial, product};
use super::schedule::Iteration;
use super::shelf::Shelf;
use crate::elementwise::{PIECE, Real, contiguous};
use crate::reduce::slice_sum_of_squares;
use crate::{Error, Result};

/// Whether matrices on the CPU are iterated here in this type. Apple's Accelerate, which candle can use for its
/// products, has matrix hardware that these products do not reach.
pub(super) fn handles(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64) && !cfg!(feature = "accelerate")
}

/// The result for a contiguous f32 or f64 matrix on the CPU, computed in `dtype`, f32 or f64.
pub(super) fn apply(iteration: &Iteration<'_>, matrix: &Tensor, dtype: DType, threads: Threads) -> Result<Tensor> {
    let shape = matrix.dims2()?;
    let (storage, layout) = matrix.storage_and_layout();
    let result = match (&*storage, dtype) {
        (Storage::Cpu(CpuStorage::F32(x)), DType::F64) => run::<_, f64>(iteration, contiguous(x, layout)?, shape, threads)?,
        (Storage::Cpu(CpuStorage::F32(x)), _) => run::<_, f32>(iteration, contiguous(x, layout)?, shape, threads)?,
        (Storage::Cpu(CpuStorage::F64(x)), DType::F32) => run::<_, f32>(iteration, contiguous(x, layout)?, shape, threads)?,
        (Storage::Cpu(CpuStorage::F64(x)), _) => run::<_, f64>(iteration, contiguous(x, layout)?, shape, threads)?,
        _ => return Err(candle_core::Error::Msg("a matrix on the CPU in f32 or f64 was expected".into()).into()),
    };
    Ok(result.to_dtype(matrix.dtype())?)
}

/// From a row-major matrix to the result, row-major, computed in `T`.
fn run<S: Real, T: Element>(
    iteration: &Iteration<'_>,
    matrix: &[S],
    (rows, columns): (usize, usize),
    threads: Threads,
) -> Result<Tensor> {
    let mut out = vec![T::from_f64(0.0); matrix.len()];
    if let Some(scale) = scale(iteration, matrix)? {
        T::scratch().with(|scratch| {
            let start = sized(&mut scratch.start, matrix.len());
            threads.chunks(start, PIECE, |index, chunk| {
                for (y, x) in chunk.iter_mut().zip(&matrix[index * PIECE..]) {
                    *y = T::from_f64(x.to_f64() * scale.0 * scale.1);
                }
            });
            iterate(iteration, scratch, &mut out, (rows, columns), threads);
        });
    }
    Ok(Tensor::from_vec(out, (rows, columns), &Device::Cpu)?)
}

/// The two factors that together divide a matrix by the divisor of its normalization; None for a zero matrix.
pub(super) fn scale<S: Real>(iteration: &Iteration<'_>, matrix: &[S]) -> Result<Option<(f64, f64)>> {
    let norm = slice_sum_of_squares(matrix).sqrt();
    if norm.is_finite() {
        // Squares that vanish belong to elements far below the norm that is still brought to 1.
        let zero = norm == 0.0 && matrix.iter().all(|x| x.to_f64() == 0.0);
        return Ok((!zero).then(|| (1.0, 1.0 / iteration.normalization.divisor(norm))));
    }
    let mut largest = 0.0_f64;
    for x in matrix {
        let x = x.to_f64().abs();
        if !x.is_finite() {
            return Err(Error::NonFiniteMatrix);
        }
        largest = largest.max(x);
    }
    let norm = matrix.iter().map(|x| (x.to_f64() / largest).powi(2)).sum::<f64>().sqrt();
    // What is added to the norm is nothing beside one of this size.
    Ok(Some((1.0 / largest, 1.0 / (iteration.normalization.factor * norm))))
}

/// f32 or f64, with the buffers of the type.
trait Element: Real + ComplexField {
    fn scratch() -> &'static Shelf<Scratch<Self>>;
}

impl Element for f32 {
    fn scratch() -> &'static Shelf<Scratch<Self>> {
        static SHELF: Shelf<Scratch<f32>> = Shelf::new();
        &SHELF
    }
}

impl Element for f64 {
    fn scratch() -> &'static Shelf<Scratch<Self>> {
        static SHELF: Shelf<Scratch<f64>> = Shelf::new();
        &SHELF
    }
}

/// Buffers that keep the size of the largest matrix so far: for [r, c] with n = min(r, c), two of r·c elements (the
/// second only when an iteration has more than one run) and five of n².
#[derive(Debug)]
struct Scratch<T> {
    start: Vec<T>,
    next: Vec<T>,
    lower: Vec<T>,
    gram: Vec<T>,
    factor: Vec<T>,
    partial: Vec<T>,
    total: Vec<T>,
}

impl<T> Default for Scratch<T> {
    fn default() -> Self {
        Self {
            start: Vec::new(),
            next: Vec::new(),
            lower: Vec::new(),
            gram: Vec::new(),
            factor: Vec::new(),
            partial: Vec::new(),
            total: Vec::new(),
        }
    }
}

fn sized<T: Real>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::zero());
    }
    &mut buffer[..length]
}

/// The iteration from `scratch.start` to `out`.
///
/// It is written for X with n rows and m ≥ n columns. A row-major [r, c] slice with r ≥ c is the column-major matrix
/// [c, r], so nothing is transposed in memory.
fn iterate<T: Element>(
    iteration: &Iteration<'_>,
    scratch: &mut Scratch<T>,
    out: &mut [T],
    (rows, columns): (usize, usize),
    threads: Threads,
) {
    let shape = Shape { n: rows.min(columns), m: rows.max(columns), row_major: rows < columns };
    let mut runs: Vec<&[[f64; 3]]> = iteration.runs(T::DTYPE, rows, columns).collect();
    let last = runs.pop();
    for run in runs {
        let mut next = std::mem::take(&mut scratch.next);
        gram_run(run, scratch, sized(&mut next, rows * columns), shape, threads);
        scratch.next = std::mem::replace(&mut scratch.start, next);
    }
    match last {
        Some(run) => gram_run(run, scratch, out, shape, threads),
        None => out.copy_from_slice(&scratch.start[..rows * columns]),
    }
}

/// How X lies in its slice.
#[derive(Clone, Copy)]
struct Shape {
    n: usize,
    m: usize,
    row_major: bool,
}

impl Shape {
    fn view<T>(self, x: &[T]) -> MatRef<'_, T> {
        if self.row_major {
            MatRef::from_row_major_slice(x, self.n, self.m)
        } else {
            MatRef::from_column_major_slice(x, self.n, self.m)
        }
    }
}

/// The steps of `run` with one Gram matrix R = XXᵀ: out ← QX, where Q is the product of the factors P = aI + bR + cR² of
/// all steps. P is a polynomial in R, so it commutes with R, and the next Gram matrix PXXᵀPᵀ is P(PR). Every product but
/// QX is symmetric, and half of it is enough.
///
/// With multiplications of n×n by n×n matrices as the unit, a run of one step takes 1/2 + 3/2·m/n, and a run of k steps
/// 2k − 3/2 + 3/2·m/n.
fn gram_run<T: Element>(run: &[[f64; 3]], scratch: &mut Scratch<T>, out: &mut [T], shape: Shape, threads: Threads) {
    let Shape { n, m, .. } = shape;
    let x = shape.view(&scratch.start[..n * m]);
    let lower = sized(&mut scratch.lower, n * n);
    let gram = sized(&mut scratch.gram, n * n);
    let factor = sized(&mut scratch.factor, n * n);
    let partial = sized(&mut scratch.partial, if run.len() > 1 { n * n } else { 0 });
    let total = sized(&mut scratch.total, n * n);
    let symmetric = |lower: &mut [T], a: &[T], b: &[T]| {
        let [a, b] = [a, b].map(|x| MatRef::from_column_major_slice(x, n, n));
        lower_product(MatMut::from_column_major_slice_mut(lower, n, n), a, b, threads);
    };
    lower_product(MatMut::from_column_major_slice_mut(lower, n, n), x, x.transpose(), threads);
    mirrored(gram, lower, n, threads);
    for (step, &coefficients) in run.iter().enumerate() {
        symmetric(lower, gram, gram);
        if step == 0 {
            polynomial(total, coefficients, gram, lower, n, threads);
            if run.len() > 1 {
                factor.copy_from_slice(total);
            }
        } else {
            polynomial(factor, coefficients, gram, lower, n, threads);
            symmetric(lower, factor, total);
            mirrored(total, lower, n, threads);
        }
        if step + 1 < run.len() {
            symmetric(lower, factor, gram);
            mirrored(partial, lower, n, threads);
            symmetric(lower, factor, partial);
            mirrored(gram, lower, n, threads);
        }
    }
    let q = MatRef::from_column_major_slice(total, n, n);
    if shape.row_major {
        // Column-major, the transposed product.
        product(MatMut::from_column_major_slice_mut(out, m, n), x.transpose(), q, threads);
    } else {
        product(MatMut::from_column_major_slice_mut(out, n, m), q, x, threads);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orthogonalize::testing::{norm, with_condition};
    use crate::{NewtonSchulz, OddPolynomial};

    /// The iteration in runs of `length` steps, without restarts in between.
    fn in_runs<T: Element>(iteration: &Iteration<'_>, x: &[f32], (n, m): (usize, usize), length: usize) -> Vec<f64> {
        let factor = scale(iteration, x).unwrap().unwrap().1;
        let start = x.iter().map(|&x| T::from_f64(f64::from(x) * factor)).collect();
        let mut scratch = Scratch::<T> { start, ..Scratch::default() };
        let mut out = vec![T::zero(); x.len()];
        for run in iteration.steps.chunks(length) {
            gram_run(run, &mut scratch, &mut out, Shape { n, m, row_major: true }, Threads::One);
            scratch.start.copy_from_slice(&out);
        }
        out.into_iter().map(candle_core::WithDType::to_f64).collect()
    }

    #[test]
    fn five_steps_on_one_gram_matrix_are_accurate_and_ten_are_not() {
        let jordan = |steps| NewtonSchulz::jordan(steps).iteration();
        let (you, polar) = (OddPolynomial::you(), OddPolynomial::polar_express());
        for condition in [1e2, 1e4, 1e10, f64::INFINITY] {
            let shape = (64, 256);
            let x: Vec<f32> =
                with_condition(shape, condition, 1).to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
            let error = |iteration: &Iteration<'_>, length| {
                let plain = in_runs::<f64>(iteration, &x, shape, 1);
                let single = in_runs::<f32>(iteration, &x, shape, length);
                let difference: Vec<f64> = single.iter().zip(&plain).map(|(a, b)| a - b).collect();
                norm(&difference) / norm(&plain)
            };
            assert!(error(&jordan(5), 5) < 1e-3 && error(&you.iteration(), 5) < 1e-3);
            assert!(error(&polar.iteration(), 5) < 4e-3);
            assert!(error(&jordan(10), 5) < 1e-2);
            if condition > 1e4 {
                assert!(error(&jordan(10), 10) > 1.0, "a restart would not be needed");
            }
        }
    }
}
