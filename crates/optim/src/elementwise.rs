//! In-place elementwise updates.
//!
//! A rule written with candle's tensor operations makes one pass and one allocation for each operation. On the CPU an
//! update here is one pass over the elements without allocation, in the arithmetic of the tensor's own type. On other
//! devices the same formula is composed of candle's operations; each update states both forms side by side, and a test
//! holds them together.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor, Var, WithDType, bail};
use rayon::prelude::*;

use crate::Result;

/// Elements that one thread takes at a time.
pub(crate) const PIECE: usize = 1 << 14;

/// The arithmetic of f32 and f64.
pub(crate) trait Real: WithDType {
    fn square_root(self) -> Self;
    fn finite(self) -> bool;
    /// The numbers of a storage of this type.
    fn numbers(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Real for f32 {
    fn square_root(self) -> Self {
        self.sqrt()
    }
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn numbers(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        if let CpuStorage::F32(numbers) = storage { Some(numbers) } else { None }
    }
}

impl Real for f64 {
    fn square_root(self) -> Self {
        self.sqrt()
    }
    fn finite(self) -> bool {
        self.is_finite()
    }
    fn numbers(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        if let CpuStorage::F64(numbers) = storage { Some(numbers) } else { None }
    }
}

/// An update y ← f(y, x).
pub(crate) trait Update2: Sync {
    /// One element. The coefficients are converted to `T` here; the compiler moves that out of the loop.
    fn element<T: Real>(&self, y: T, x: T) -> T;
    /// The whole tensor, from candle's operations.
    fn composed(&self, y: &Tensor, x: &Tensor) -> candle_core::Result<Tensor>;
}

/// An update y ← f(y, x₁, x₂).
pub(crate) trait Update3: Sync {
    /// One element.
    fn element<T: Real>(&self, y: T, x1: T, x2: T) -> T;
    /// The whole tensor, from candle's operations.
    fn composed(&self, y: &Tensor, x1: &Tensor, x2: &Tensor) -> candle_core::Result<Tensor>;
}

/// y ← keep·y + scale·x
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledAdd {
    pub keep: f64,
    pub scale: f64,
}

impl Update2 for ScaledAdd {
    fn element<T: Real>(&self, y: T, x: T) -> T {
        T::from_f64(self.keep) * y + T::from_f64(self.scale) * x
    }
    fn composed(&self, y: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        times(y, self.keep)? + times(x, self.scale)?
    }
}

/// y ← keep·y + scale₁·x₁ + scale₂·x₂
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledAdd2 {
    pub keep: f64,
    pub scale1: f64,
    pub scale2: f64,
}

impl Update3 for ScaledAdd2 {
    fn element<T: Real>(&self, y: T, x1: T, x2: T) -> T {
        T::from_f64(self.keep) * y + (T::from_f64(self.scale1) * x1 + T::from_f64(self.scale2) * x2)
    }
    fn composed(&self, y: &Tensor, x1: &Tensor, x2: &Tensor) -> candle_core::Result<Tensor> {
        times(y, self.keep)? + (times(x1, self.scale1)? + times(x2, self.scale2)?)?
    }
}

/// y ← keep·y + (1 − keep)·x²
#[derive(Clone, Copy, Debug)]
pub(crate) struct AverageSquare {
    pub keep: f64,
}

impl Update2 for AverageSquare {
    fn element<T: Real>(&self, y: T, x: T) -> T {
        T::from_f64(self.keep) * y + T::from_f64(1.0 - self.keep) * x * x
    }
    fn composed(&self, y: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        (y * self.keep)? + ((x * (1.0 - self.keep))? * x)?
    }
}

/// y ← keep·y − step·sign(x), with sign(0) = 0
#[derive(Clone, Copy, Debug)]
pub(crate) struct SignStep {
    pub keep: f64,
    pub step: f64,
}

impl Update2 for SignStep {
    fn element<T: Real>(&self, y: T, x: T) -> T {
        let step = T::from_f64(self.step);
        let zero = T::zero();
        let up = if x > zero { step } else { zero };
        let down = if x < zero { step } else { zero };
        T::from_f64(self.keep) * y - (up - down)
    }
    fn composed(&self, y: &Tensor, x: &Tensor) -> candle_core::Result<Tensor> {
        (y * self.keep)? - (x.sign()? * self.step)?
    }
}

/// y ← keep·y − step·x₁ / (√x₂/root + eps)
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdamStep {
    pub keep: f64,
    pub step: f64,
    pub root: f64,
    pub eps: f64,
}

impl Update3 for AdamStep {
    fn element<T: Real>(&self, y: T, x1: T, x2: T) -> T {
        let denominator = x2.square_root() / T::from_f64(self.root) + T::from_f64(self.eps);
        // A zero first moment gives no step, also where eps = 0 makes the quotient 0/0.
        let quotient = if x1 == T::zero() { x1 } else { x1 / denominator };
        T::from_f64(self.keep) * y - T::from_f64(self.step) * quotient
    }
    fn composed(&self, y: &Tensor, x1: &Tensor, x2: &Tensor) -> candle_core::Result<Tensor> {
        let denominator = x2.sqrt()?.affine(1.0 / self.root, self.eps)?;
        let mut quotient = (x1 / denominator)?;
        if self.eps < f64::from(f32::MIN_POSITIVE) {
            quotient = x1.eq(0.0)?.where_cond(&x1.zeros_like()?, &quotient)?;
        }
        times(y, self.keep)? - (quotient * self.step)?
    }
}

/// factor·x; for a factor of 1, x itself.
#[allow(clippy::float_cmp, reason = "exactly 1 needs no product; anything else does")]
fn times(x: &Tensor, factor: f64) -> candle_core::Result<Tensor> {
    if factor == 1.0 { Ok(x.clone()) } else { x * factor }
}

/// Applies `update` to `y` in place.
pub(crate) fn update2<U: Update2>(update: &U, y: &Var, x: &Tensor) -> Result<()> {
    if y.device().is_cpu() {
        y.inplace_op2(x, &Fused(update))?;
    } else {
        y.set(&update.composed(y, x)?)?;
    }
    Ok(())
}

/// The value of `update` in a new tensor; `y` stays as it is.
pub(crate) fn updated2<U: Update2>(update: &U, y: &Tensor, x: &Tensor) -> Result<Tensor> {
    if y.device().is_cpu() {
        let out = y.detach().copy()?;
        out.inplace_op2(x, &Fused(update))?;
        Ok(out)
    } else {
        Ok(update.composed(y, x)?)
    }
}

/// The value of `update`, written over `y` where the device allows it.
pub(crate) fn overwritten2<U: Update2>(update: &U, y: Tensor, x: &Tensor) -> Result<Tensor> {
    if y.device().is_cpu() && is_real(&y) {
        y.inplace_op2(x, &Fused(update))?;
        Ok(y)
    } else {
        Ok(update.composed(&y, x)?)
    }
}

/// The value of `update`, written over `y` where the device allows it.
pub(crate) fn overwritten3<U: Update3>(update: &U, y: Tensor, x1: &Tensor, x2: &Tensor) -> Result<Tensor> {
    if y.device().is_cpu() && is_real(&y) {
        y.inplace_op3(x1, x2, &Fused(update))?;
        Ok(y)
    } else {
        Ok(update.composed(&y, x1, x2)?)
    }
}

fn is_real(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), candle_core::DType::F32 | candle_core::DType::F64)
}

struct Fused<'a, U>(&'a U);

impl<U: Update2> InplaceOp2 for Fused<'_, U> {
    fn name(&self) -> &'static str {
        "optimizer update"
    }

    fn cpu_fwd(&self, y: &mut CpuStorage, y_layout: &Layout, x: &CpuStorage, x_layout: &Layout) -> candle_core::Result<()> {
        match (y, x) {
            (CpuStorage::F32(y), CpuStorage::F32(x)) => {
                zip2(self.0, contiguous_mut(y, y_layout)?, contiguous(x, x_layout)?);
            }
            (CpuStorage::F64(y), CpuStorage::F64(x)) => {
                zip2(self.0, contiguous_mut(y, y_layout)?, contiguous(x, x_layout)?);
            }
            _ => bail!("an optimizer update needs f32 or f64 throughout"),
        }
        Ok(())
    }
}

impl<U: Update3> InplaceOp3 for Fused<'_, U> {
    fn name(&self) -> &'static str {
        "optimizer update"
    }

    fn cpu_fwd(
        &self,
        y: &mut CpuStorage,
        y_layout: &Layout,
        x1: &CpuStorage,
        x1_layout: &Layout,
        x2: &CpuStorage,
        x2_layout: &Layout,
    ) -> candle_core::Result<()> {
        match (y, x1, x2) {
            (CpuStorage::F32(y), CpuStorage::F32(x1), CpuStorage::F32(x2)) => {
                zip3(self.0, contiguous_mut(y, y_layout)?, contiguous(x1, x1_layout)?, contiguous(x2, x2_layout)?);
            }
            (CpuStorage::F64(y), CpuStorage::F64(x1), CpuStorage::F64(x2)) => {
                zip3(self.0, contiguous_mut(y, y_layout)?, contiguous(x1, x1_layout)?, contiguous(x2, x2_layout)?);
            }
            _ => bail!("an optimizer update needs f32 or f64 throughout"),
        }
        Ok(())
    }
}

fn zip2<T: Real, U: Update2>(update: &U, y: &mut [T], x: &[T]) {
    let piece = |(y, x): (&mut [T], &[T])| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = update.element(*y, x);
        }
    };
    if y.len() <= PIECE {
        piece((y, x));
    } else {
        y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(piece);
    }
}

fn zip3<T: Real, U: Update3>(update: &U, y: &mut [T], x1: &[T], x2: &[T]) {
    let piece = |((y, x1), x2): ((&mut [T], &[T]), &[T])| {
        for ((y, &x1), &x2) in y.iter_mut().zip(x1).zip(x2) {
            *y = update.element(*y, x1, x2);
        }
    };
    if y.len() <= PIECE {
        piece(((y, x1), x2));
    } else {
        y.par_chunks_mut(PIECE).zip(x1.par_chunks(PIECE)).zip(x2.par_chunks(PIECE)).for_each(piece);
    }
}

pub(crate) fn contiguous<'a, T>(data: &'a [T], layout: &Layout) -> candle_core::Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => bail!("an optimizer update needs contiguous tensors"),
    }
}

fn contiguous_mut<'a, T>(data: &'a mut [T], layout: &Layout) -> candle_core::Result<&'a mut [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&mut data[start..end]),
        None => bail!("an optimizer update needs contiguous tensors"),
    }
}

/// Whether two tensors live in one allocation, so that writing one changes the other.
pub(crate) fn shares_storage(a: &Tensor, b: &Tensor) -> bool {
    fn address(tensor: &Tensor) -> usize {
        std::ptr::from_ref(&*tensor.storage_and_layout().0).addr()
    }
    address(a) == address(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reduce::max_abs;
    use candle_core::Device;

    /// Values with zeros, signs and a length that is no multiple of a piece.
    fn sample(offset: f64) -> Tensor {
        let n = 2 * PIECE + 13;
        let values: Vec<f64> = (0..n).map(|i| if i % 7 == 0 { 0.0 } else { ((i as f64) * 0.37 + offset).sin() }).collect();
        Tensor::from_vec(values, n, &Device::Cpu).unwrap()
    }

    fn difference(a: &Tensor, b: &Tensor) -> f64 {
        max_abs(&(a - b).unwrap()).unwrap()
    }

    fn check2<U: Update2>(update: &U, x: &Tensor) {
        let y = Var::from_tensor(&sample(1.0)).unwrap();
        let expected = update.composed(&y, x).unwrap();
        let fresh = updated2(update, &y, x).unwrap();
        let over = overwritten2(update, y.as_detached_tensor().copy().unwrap(), x).unwrap();
        update2(update, &y, x).unwrap();
        assert!(difference(&expected, &y) < 1e-15);
        assert!(difference(&fresh, &y) == 0.0);
        assert!(difference(&over, &y) == 0.0);
    }

    fn check3<U: Update3>(update: &U, x1: &Tensor, x2: &Tensor) {
        let y = Var::from_tensor(&sample(1.0)).unwrap();
        let expected = update.composed(&y, x1, x2).unwrap();
        let over = overwritten3(update, y.as_detached_tensor().copy().unwrap(), x1, x2).unwrap();
        assert!(difference(&expected, &over) < 1e-15);
    }

    #[test]
    fn fused_and_composed_updates_agree() {
        let (x, z) = (sample(2.0), sample(3.0));
        check2(&ScaledAdd { keep: 0.9, scale: -0.3 }, &x);
        check2(&AverageSquare { keep: 0.99 }, &x);
        check2(&SignStep { keep: 0.97, step: 0.1 }, &x);
        check3(&ScaledAdd2 { keep: 0.9, scale1: 0.2, scale2: -0.7 }, &x, &z);
        check3(&AdamStep { keep: 0.99, step: 0.01, root: 0.3, eps: 1e-8 }, &x, &z.sqr().unwrap());
    }

    #[test]
    fn adam_step_of_a_zero_moment_is_zero_even_without_eps() {
        let update = AdamStep { keep: 1.0, step: 0.1, root: 1.0, eps: 0.0 };
        let y = Var::new(&[2.0_f64, 3.0], &Device::Cpu).unwrap();
        let zero = y.zeros_like().unwrap();
        let composed = update.composed(&y, &zero, &zero).unwrap();
        let fused = overwritten3(&update, y.as_detached_tensor().copy().unwrap(), &zero, &zero).unwrap();
        assert_eq!(fused.to_vec1::<f64>().unwrap(), [2.0, 3.0]);
        assert_eq!(composed.to_vec1::<f64>().unwrap(), [2.0, 3.0]);
    }
}
