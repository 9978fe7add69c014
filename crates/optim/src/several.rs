//! Updates in place of several tensors in one pass: what a rule remembers, and the weight that follows from it.
//!
//! A pass for each of them would read every number from memory two or three times.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, Layout, Storage, Tensor, Var, bail};
use rayon::prelude::*;

use crate::Result;
use crate::elementwise::{AdamStep, AverageSquare, PIECE, Real, ScaledAdd, ScaledAdd2, Update2 as _, Update3 as _, contiguous};

/// An update (y₁, …, y_N) ← f(y₁, …, y_N, x).
pub(crate) trait UpdateAll<const N: usize>: Sync {
    /// One element.
    fn element<T: Real>(&self, ys: [T; N], x: T) -> [T; N];
    /// The whole tensors, from candle's operations.
    fn composed(&self, ys: [&Tensor; N], x: &Tensor) -> candle_core::Result<[Tensor; N]>;
}

/// A weight with its two moments, (y, m, v): m and v take the gradient in, then y makes its step with them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamUpdate {
    pub first: ScaledAdd,
    pub second: AverageSquare,
    pub step: AdamStep,
}

impl UpdateAll<3> for AdamUpdate {
    fn element<T: Real>(&self, [y, m, v]: [T; 3], x: T) -> [T; 3] {
        let (m, v) = (self.first.element(m, x), self.second.element(v, x));
        [self.step.element(y, m, v), m, v]
    }
    fn composed(&self, [y, m, v]: [&Tensor; 3], x: &Tensor) -> candle_core::Result<[Tensor; 3]> {
        let (m, v) = (self.first.composed(m, x)?, self.second.composed(v, x)?);
        Ok([self.step.composed(y, &m, &v)?, m, v])
    }
}

/// A weight with its momentum, (y, m): m ← momentum·m + (x + decay·y), then y ← y − lr·m, or, looking ahead,
/// y − lr·(x + decay·y) − lr·momentum·m.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SgdUpdate {
    pub lr: f64,
    pub momentum: f64,
    pub nesterov: bool,
    pub decay: f64,
}

impl SgdUpdate {
    fn taken_in(&self) -> ScaledAdd {
        ScaledAdd { keep: self.momentum, scale: 1.0 }
    }
    fn taken_in_with_decay(&self) -> ScaledAdd2 {
        ScaledAdd2 { keep: self.momentum, scale1: 1.0, scale2: self.decay }
    }
    fn step(&self) -> ScaledAdd {
        ScaledAdd { keep: 1.0, scale: -self.lr }
    }
    fn step_ahead(&self) -> ScaledAdd2 {
        ScaledAdd2 { keep: 1.0 - self.lr * self.decay, scale1: -self.lr, scale2: -self.lr * self.momentum }
    }
}

impl UpdateAll<2> for SgdUpdate {
    fn element<T: Real>(&self, [y, m]: [T; 2], x: T) -> [T; 2] {
        let m = if self.decay == 0.0 { self.taken_in().element(m, x) } else { self.taken_in_with_decay().element(m, x, y) };
        [if self.nesterov { self.step_ahead().element(y, x, m) } else { self.step().element(y, m) }, m]
    }
    fn composed(&self, [y, m]: [&Tensor; 2], x: &Tensor) -> candle_core::Result<[Tensor; 2]> {
        let m = if self.decay == 0.0 { self.taken_in().composed(m, x)? } else { self.taken_in_with_decay().composed(m, x, y)? };
        Ok([if self.nesterov { self.step_ahead().composed(y, x, &m) } else { self.step().composed(y, &m) }?, m])
    }
}

/// A momentum with the direction that looks ahead along it, (m, u), both by the same average: m takes x in, and u is what m
/// would be if it took x in once more. What u was has no meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NesterovUpdate(pub ScaledAdd);

impl UpdateAll<2> for NesterovUpdate {
    fn element<T: Real>(&self, [m, _]: [T; 2], x: T) -> [T; 2] {
        let m = self.0.element(m, x);
        [m, self.0.element(m, x)]
    }
    fn composed(&self, [m, _]: [&Tensor; 2], x: &Tensor) -> candle_core::Result<[Tensor; 2]> {
        let m = self.0.composed(m, x)?;
        let ahead = self.0.composed(&m, x)?;
        Ok([m, ahead])
    }
}

/// Applies `update` to all of `ys` in place: of one shape and type with `x`, contiguous, none in the memory of another.
pub(crate) fn update_all<const N: usize, U: UpdateAll<N>>(update: &U, ys: [&Var; N], x: &Tensor) -> Result<()> {
    if x.device().is_cpu() {
        let (storage, layout) = x.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(x)) => {
                with_numbers(&ys, Vec::new(), &mut |ys| pass(update, ys, contiguous(x, layout)?))?;
            }
            Storage::Cpu(CpuStorage::F64(x)) => {
                with_numbers(&ys, Vec::new(), &mut |ys| pass(update, ys, contiguous(x, layout)?))?;
            }
            _ => return Err(candle_core::Error::Msg(TYPES.into()).into()),
        }
    } else {
        for (y, new) in ys.into_iter().zip(update.composed(ys.map(Var::as_tensor), x)?) {
            y.set(&new)?;
        }
    }
    Ok(())
}

const TYPES: &str = "an optimizer update needs f32 or f64 throughout";

/// Calls `then` with the numbers of all variables at once. candle lends those of one, to an operation: inside of it the next
/// is borrowed.
fn with_numbers<T: Real>(
    vars: &[&Var],
    numbers: Vec<&mut [T]>,
    then: &mut dyn FnMut(Vec<&mut [T]>) -> candle_core::Result<()>,
) -> candle_core::Result<()> {
    let Some((first, rest)) = vars.split_first() else {
        return then(numbers);
    };
    first.inplace_op1(&Lent(Cell::new(Some(|storage: &mut CpuStorage, layout: &Layout| {
        let (Some(all), Some((start, end))) = (T::numbers(storage), layout.contiguous_offsets()) else {
            bail!("{TYPES}, and contiguous tensors");
        };
        let mut numbers: Vec<&mut [T]> = numbers;
        numbers.push(&mut all[start..end]);
        with_numbers(rest, numbers, then)
    }))))
}

struct Lent<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut CpuStorage, &Layout) -> candle_core::Result<()>> InplaceOp1 for Lent<F> {
    fn name(&self) -> &'static str {
        "optimizer update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        self.0.take().map_or(Ok(()), |then| then(storage, layout))
    }
}

/// One pass over all elements; pieces go to different threads.
fn pass<T: Real, const N: usize, U: UpdateAll<N>>(update: &U, ys: Vec<&mut [T]>, x: &[T]) -> candle_core::Result<()> {
    if ys.len() != N || ys.iter().any(|y| y.len() != x.len()) {
        bail!("an optimizer update needs tensors of one shape");
    }
    let mut ys: Vec<_> = ys.into_iter().map(|y| y.chunks_mut(PIECE)).collect();
    let pieces: Vec<(Vec<&mut [T]>, &[T])> =
        x.chunks(PIECE).map(|x| (ys.iter_mut().filter_map(Iterator::next).collect(), x)).collect();
    pieces.into_par_iter().for_each(|(mut ys, x)| {
        // Blocks of known size: without checks of bounds the loop runs in vector registers.
        let (blocks, rest) = x.as_chunks::<BLOCK>();
        for (index, x) in blocks.iter().enumerate() {
            one_block(update, &mut ys, index * BLOCK, *x);
        }
        for (index, &x) in (blocks.len() * BLOCK..).zip(rest) {
            one_block(update, &mut ys, index, [x]);
        }
    });
    Ok(())
}

const BLOCK: usize = 16;

/// B elements from `first` on.
fn one_block<T: Real, const N: usize, const B: usize>(update: &impl UpdateAll<N>, ys: &mut [&mut [T]], first: usize, x: [T; B]) {
    let mut block = [[T::zero(); B]; N];
    for (block, y) in block.iter_mut().zip(&*ys) {
        block.copy_from_slice(&y[first..first + B]);
    }
    for (lane, x) in x.into_iter().enumerate() {
        let new = update.element(block.each_ref().map(|y| y[lane]), x);
        for (y, new) in block.iter_mut().zip(new) {
            y[lane] = new;
        }
    }
    for (block, y) in block.iter().zip(ys) {
        y[first..first + B].copy_from_slice(block);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::elementwise::{overwritten3, update2, updated2};
    use crate::reduce::{f64_values, max_abs};

    fn sample(offset: f64, dtype: DType) -> Tensor {
        let values: Vec<f64> = (0..2 * PIECE + 13).map(|i| ((i as f64) * 0.37 + offset).sin()).collect();
        Tensor::from_vec(values, 2 * PIECE + 13, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
    }

    fn bits(tensor: &Tensor) -> Vec<u64> {
        f64_values(tensor).unwrap().into_iter().map(f64::to_bits).collect()
    }

    fn check(fused: &[Var], apart: &[Var], composed: &[Tensor]) {
        for ((fused, apart), composed) in fused.iter().zip(apart).zip(composed) {
            assert!(bits(fused) == bits(apart));
            assert!(max_abs(&(fused.as_tensor() - composed).unwrap()).unwrap() < 1e-6);
        }
    }

    /// One pass gives the bits of the passes one after the other, and the numbers of the composed form.
    #[test]
    fn one_pass_is_the_passes_one_after_the_other() {
        for dtype in [DType::F32, DType::F64] {
            let x = sample(2.0, dtype);
            let vars = || [0.0, 1.0, 3.0].map(|offset| Var::from_tensor(&sample(offset, dtype).sqr().unwrap()).unwrap());
            let (fused, apart) = (vars(), vars());
            let [y, m, v] = &fused;
            let set3 = |update: &dyn Fn(Tensor) -> Result<Tensor>, y: &Var| {
                y.set(&update(y.as_detached_tensor().copy().unwrap()).unwrap()).unwrap();
            };
            let first = ScaledAdd { keep: 0.9, scale: 0.1 };
            let second = AverageSquare { keep: 0.99 };
            let step = AdamStep { keep: 0.999, step: 0.01, root: 0.3, eps: 1e-8 };
            let adam = AdamUpdate { first, second, step };
            let composed = adam.composed([y, m, v].map(Var::as_tensor), &x).unwrap();
            update_all(&adam, [y, m, v], &x).unwrap();
            update2(&first, &apart[1], &x).unwrap();
            update2(&second, &apart[2], &x).unwrap();
            set3(&|y| overwritten3(&step, y, &apart[1], &apart[2]), &apart[0]);
            check(&fused, &apart, &composed);
            let nesterov = NesterovUpdate(first);
            let composed = nesterov.composed([m, v].map(Var::as_tensor), &x).unwrap();
            update_all(&nesterov, [m, v], &x).unwrap();
            update2(&first, &apart[1], &x).unwrap();
            apart[2].set(&updated2(&first, &apart[1], &x).unwrap()).unwrap();
            check(&fused[1..], &apart[1..], &composed);
            for (nesterov, decay) in [(false, 0.0), (true, 0.0), (false, 0.01), (true, 0.01)] {
                let sgd = SgdUpdate { lr: 0.1, momentum: 0.9, nesterov, decay };
                let composed = sgd.composed([y, m].map(Var::as_tensor), &x).unwrap();
                update_all(&sgd, [y, m], &x).unwrap();
                set3(&|m| overwritten3(&sgd.taken_in_with_decay(), m, &x, &apart[0]), &apart[1]);
                if nesterov {
                    set3(&|y| overwritten3(&sgd.step_ahead(), y, &x, &apart[1]), &apart[0]);
                } else {
                    update2(&sgd.step(), &apart[0], &apart[1]).unwrap();
                }
                check(&fused[..2], &apart, &composed);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let update = SgdUpdate { lr: 0.1, momentum: 0.9, nesterov: false, decay: 0.0 };
        let var = |n: usize, dtype| Var::zeros(n, dtype, &Device::Cpu).unwrap();
        for (y, m) in [(var(3, DType::F32), var(4, DType::F32)), (var(3, DType::F32), var(3, DType::F64))] {
            let x = Tensor::ones(3, DType::F32, &Device::Cpu).unwrap();
            assert!(update_all(&update, [&y, &m], &x).is_err());
            assert!(f64_values(&y).unwrap().iter().all(|y| *y == 0.0));
        }
    }
}
