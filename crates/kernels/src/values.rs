//! The numbers of tensors, as slices.

use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{CpuStorage, DType, Layout, Result, Storage, StorageRef, Tensor, bail};

/// Whether every operation is composed of candle's own, wherever its tensors are.
static COMPOSED: AtomicBool = AtomicBool::new(false);

/// Composes every operation of this crate of candle's own from now on, as is done for other devices and types, or ends that: to
/// compare the two, in numbers or in time. It is for the whole program; operations that were recorded before stay what they are.
pub fn compose(on: bool) {
    COMPOSED.store(on, Ordering::Relaxed);
}

/// Whether the fast way can be taken: all are f32 on the CPU.
pub(crate) fn on_cpu(tensors: &[&Tensor]) -> bool {
    !COMPOSED.load(Ordering::Relaxed) && tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32)
}

/// The numbers of a contiguous f32 tensor.
pub(crate) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("contiguous f32 values were expected, not {:?} with strides {:?}", layout.shape(), layout.stride()),
    }
}

/// The numbers of a contiguous f32 tensor on the CPU, which cannot be changed while this lives.
pub(crate) struct Values<'a> {
    storage: StorageRef<'a>,
    range: Range<usize>,
}

impl<'a> Values<'a> {
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Self { storage, range: start..end }),
            _ => bail!("contiguous f32 values on the CPU were expected, not {tensor:?}"),
        }
    }
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.clone()],
            _ => unreachable!("the only constructor has looked"),
        }
    }
}
