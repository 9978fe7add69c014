//! One matrix or many at once.
//!
//! On the CPU the bits of a result do not depend on what else is orthogonalized: small matrices are shared out among the
//! threads, large ones come one after another with their products shared out.

use candle_core::{DType, Device, Tensor};
use isorate_kernels::Threads;
use rayon::prelude::*;

use super::schedule::Iteration;
use super::{bfloat16, device_name, exact, slices, tensors};
use crate::{Error, Result};

/// How to orthogonalize.
pub(super) enum Method<'a> {
    Exact,
    Iteration(Iteration<'a>),
}

/// Bytes of the matrices that are stacked for one call of a device.
const STACK: usize = 64 << 20;

/// From this smaller side on, the products of one matrix keep many threads busy.
const LARGE: usize = 256;

/// What is to be done for one matrix.
enum Job {
    /// On the CPU, for a matrix there.
    Cpu(Tensor),
    /// Stacked with others, in this type.
    Stack(Tensor, DType),
}

impl Method<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Iteration(iteration) => iteration.name,
        }
    }

    pub fn one(&self, matrix: &Tensor) -> Result<Tensor> {
        self.all(std::slice::from_ref(matrix)).pop().unwrap_or(Err(Error::NonFiniteMatrix))
    }

    /// The results in the order of the matrices.
    pub fn all(&self, matrices: &[Tensor]) -> Vec<Result<Tensor>> {
        let jobs: Vec<Result<Job>> = matrices.iter().map(|matrix| self.job(matrix)).collect();
        let mut results: Vec<Option<Result<Tensor>>> = matrices.iter().map(|_| None).collect();

        let (mut small, mut large, mut stacks) = (Vec::new(), Vec::new(), Vec::new());
        for (index, job) in jobs.into_iter().enumerate() {
            match job {
                Err(problem) => results[index] = Some(Err(problem)),
                Ok(Job::Cpu(matrix)) if self.is_small(&matrix) => small.push((index, matrix)),
                Ok(Job::Cpu(matrix)) => large.push((index, matrix)),
                Ok(Job::Stack(matrix, dtype)) => push(&mut stacks, index, matrix, dtype),
            }
        }
        if small.len() < self.worth_sharing() {
            large.append(&mut small);
        }
        let done: Vec<(usize, Result<Tensor>)> =
            small.into_par_iter().map(|(index, matrix)| (index, self.on_cpu(&matrix, Threads::One))).collect();
        let done = done.into_iter().chain(large.into_iter().map(|(index, matrix)| (index, self.on_cpu(&matrix, Threads::All))));
        for (index, result) in done {
            // A device's work stays on this thread.
            results[index] = Some(result.and_then(|x| Ok(x.to_device(matrices[index].device())?)));
        }
        for stack in stacks {
            match self.stacked(&stack) {
                Ok(stacked) => {
                    for (place, &index) in stack.indices.iter().enumerate() {
                        results[index] = Some(stacked.get(place).map_err(Error::from));
                    }
                }
                // Alone, each has its own result or problem.
                Err(_) if stack.indices.len() > 1 => {
                    for &index in &stack.indices {
                        results[index] = Some(self.one(&matrices[index]));
                    }
                }
                Err(problem) => results[stack.indices[0]] = Some(Err(problem)),
            }
        }
        results.into_iter().map(|result| result.expect("every matrix has a job, and every job a result")).collect()
    }

    fn job(&self, matrix: &Tensor) -> Result<Job> {
        if matrix.rank() != 2 || matrix.elem_count() == 0 {
            return Err(Error::MatrixShape { shape: matrix.dims().to_vec() });
        }
        if !matches!(matrix.dtype(), DType::F32 | DType::F64) {
            return Err(Error::MatrixDtype {
                orthogonalizer: self.name(),
                dtype: matrix.dtype(),
                device: device_name(matrix.device()),
                accepted: "f32 and f64",
                hint: "convert the matrix first; the type in which an iteration computes is a setting of its own",
            });
        }
        // Without `detach` the result would keep every intermediate tensor alive for backpropagation.
        let matrix = matrix.detach().contiguous()?;
        Ok(match self {
            Self::Exact => Job::Cpu(matrix.to_device(&Device::Cpu)?),
            Self::Iteration(iteration) => {
                let dtype = iteration.dtype(&matrix)?;
                let here = dtype == DType::BF16 || slices::handles(dtype);
                if matrix.device().is_cpu() && here { Job::Cpu(matrix) } else { Job::Stack(matrix, dtype) }
            }
        })
    }

    /// Decompositions run on one thread each, whatever their size.
    fn is_small(&self, matrix: &Tensor) -> bool {
        matches!(self, Self::Exact) || matrix.dims().iter().any(|&side| side < LARGE)
    }

    /// The number of small matrices from which on they are shared out.
    fn worth_sharing(&self) -> usize {
        match self {
            Self::Exact => 2,
            Self::Iteration(_) => rayon::current_num_threads(),
        }
    }

    fn on_cpu(&self, matrix: &Tensor, threads: Threads) -> Result<Tensor> {
        match self {
            Self::Exact => exact::polar_factor(matrix, threads),
            Self::Iteration(iteration) => match iteration.dtype(matrix)? {
                DType::BF16 => bfloat16::apply(iteration, matrix, threads),
                dtype => slices::apply(iteration, matrix, dtype, threads),
            },
        }
    }

    fn stacked(&self, stack: &Stack) -> Result<Tensor> {
        match self {
            Self::Iteration(iteration) => tensors::apply(iteration, &Tensor::stack(&stack.matrices, 0)?, stack.dtype),
            Self::Exact => unreachable!("decompositions are computed on the CPU"),
        }
    }
}

/// Matrices of equal shape and type on one device.
struct Stack {
    indices: Vec<usize>,
    matrices: Vec<Tensor>,
    dtype: DType,
}

/// Puts a matrix on the last stack that it fits, or on a new one.
fn push(stacks: &mut Vec<Stack>, index: usize, matrix: Tensor, dtype: DType) {
    let bytes = matrix.elem_count() * matrix.dtype().size_in_bytes();
    let fits = |stack: &&mut Stack| {
        let like = &stack.matrices[0];
        like.dims() == matrix.dims()
            && like.dtype() == matrix.dtype()
            && like.device().same_device(matrix.device())
            && (stack.matrices.len() + 1) * bytes <= STACK
    };
    match stacks.iter_mut().rev().find(fits) {
        Some(stack) => {
            stack.indices.push(index);
            stack.matrices.push(matrix);
        }
        None => stacks.push(Stack { indices: vec![index], matrices: vec![matrix], dtype }),
    }
}
