//! Reductions of a whole tensor to a number, and its values as f64.
//!
//! Sums are formed within pieces of fixed size and the pieces added in order, so a result does not depend on the number
//! of threads.

use candle_core::{CpuStorage, D, DType, Device, Storage, Tensor};
use rayon::prelude::*;

use crate::Result;
use crate::elementwise::{PIECE, Real, contiguous};

/// Whether every element of a contiguous tensor is finite: one pass.
pub(crate) fn all_finite(tensor: &Tensor) -> Result<bool> {
    Ok(first_not_finite([tensor])?.is_none())
}

/// The index of the first contiguous tensor that holds a NaN or an infinity: one pass over all of them.
///
/// Reading one number from a device waits until all work there is done. So tensors on a device are judged there, and the
/// verdicts of all of them are read together.
pub(crate) fn first_not_finite<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Option<usize>> {
    let mut elsewhere: Vec<(Device, Vec<usize>, Vec<Tensor>)> = Vec::new();
    let mut here = Vec::new();
    for (index, tensor) in tensors.into_iter().enumerate() {
        let device = tensor.device();
        if device.is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64) {
            here.push((index, tensor.storage_and_layout()));
        } else {
            let place = elsewhere.iter().position(|(other, ..)| other.same_device(device)).unwrap_or_else(|| {
                elsewhere.push((device.clone(), Vec::new(), Vec::new()));
                elsewhere.len() - 1
            });
            elsewhere[place].1.push(index);
            elsewhere[place].2.push(zero_if_finite(tensor)?);
        }
    }
    let mut all = Vec::new();
    for (index, (storage, layout)) in &here {
        match &**storage {
            Storage::Cpu(CpuStorage::F32(data)) => {
                all.extend(contiguous(data, layout)?.chunks(PIECE).map(|data| (*index, Piece::F32(data))));
            }
            Storage::Cpu(CpuStorage::F64(data)) => {
                all.extend(contiguous(data, layout)?.chunks(PIECE).map(|data| (*index, Piece::F64(data))));
            }
            _ => {}
        }
    }
    let bad = |(index, piece): &(usize, Piece<'_>)| (!piece.is_finite()).then_some(*index);
    let mut first = all.par_iter().filter_map(bad).min();
    for (_, indices, verdicts) in elsewhere {
        let verdicts = Tensor::stack(&verdicts, 0)?.to_vec1::<f32>()?;
        let bad = indices.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict != 0.0).map(|(index, _)| index);
        first = bad.chain(first).min();
    }
    Ok(first)
}

/// Some elements of a tensor on the CPU.
enum Piece<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl Piece<'_> {
    fn is_finite(&self) -> bool {
        // `&`, not `&&`: without the early exit the loop runs in vector registers.
        fn all<T: Real>(data: &[T]) -> bool {
            data.iter().fold(true, |finite, x| finite & x.finite())
        }
        match self {
            Self::F32(data) => all(data),
            Self::F64(data) => all(data),
        }
    }
}

/// A number on the tensor's device, f32: 0 where every element is finite, otherwise NaN.
fn zero_if_finite(tensor: &Tensor) -> Result<Tensor> {
    // 0·x is 0 for a finite x and NaN otherwise, so the sum cannot overflow.
    Ok(total(&(tensor * 0.0)?)?.to_dtype(DType::F32)?)
}

/// The sum of all elements of a contiguous tensor, on its device.
///
/// Rows first: candle's reductions use one block of a GPU for each number that comes out.
pub(crate) fn total(tensor: &Tensor) -> Result<Tensor> {
    Ok(if tensor.rank() > 1 { tensor.flatten_from(1)?.sum(D::Minus1)?.sum_all()? } else { tensor.sum_all()? })
}

/// The direction of a contiguous tensor with finite elements, at a given length: length·X/‖X‖_F, from candle's operations
/// and without reading a number from the device. Zero where X is zero, or so small that length/‖X‖_F overflows.
pub(crate) fn with_length(x: &Tensor, length: f64) -> Result<Tensor> {
    let rows = x.abs()?;
    let largest = if x.rank() > 1 { rows.flatten_from(1)?.max(D::Minus1)? } else { rows };
    let largest = largest.flatten_all()?.max(0)?;
    // Squares of numbers up to 1 neither overflow nor vanish together.
    let divisor = largest.eq(0.0)?.where_cond(&largest.ones_like()?, &largest)?;
    let scaled = x.broadcast_div(&divisor)?;
    let norm = total(&scaled.sqr()?)?.sqrt()?;
    let quotient = ((&norm * &divisor)?.recip()? * length)?;
    let factor = quotient.abs()?.lt(f64::INFINITY)?.where_cond(&(norm.recip()? * length)?, &norm.zeros_like()?)?;
    Ok(scaled.broadcast_mul(&factor)?)
}

/// Largest absolute value of a tensor with finite elements.
pub(crate) fn max_abs(tensor: &Tensor) -> Result<f64> {
    scalar(&tensor.abs()?.flatten_all()?.max(0)?)
}

/// ‖X‖_F of a contiguous tensor with finite elements, in f64.
///
/// Elements whose squares leave the range of the arithmetic are scaled by the largest of them first.
pub(crate) fn frobenius_norm(tensor: &Tensor) -> Result<f64> {
    let square = sum_of_squares(tensor)?;
    if square.is_finite() && square > SAFE_SQUARE {
        return Ok(square.sqrt());
    }
    let largest = max_abs(tensor)?;
    if largest == 0.0 || largest < f64::MIN_POSITIVE {
        return Ok(largest);
    }
    let scaled = (tensor / largest)?;
    Ok(largest * sum_of_squares(&scaled)?.sqrt())
}

/// [`frobenius_norm`] of each tensor; those of f32 tensors on a device are read together.
pub(crate) fn frobenius_norms<'a>(tensors: impl IntoIterator<Item = &'a Tensor> + Clone) -> Result<Vec<f64>> {
    let mut all = tensors.clone().into_iter();
    let first = all.next();
    let together = |tensor: &Tensor| {
        !tensor.device().is_cpu()
            && tensor.dtype() == DType::F32
            && first.is_some_and(|first| tensor.device().same_device(first.device()))
    };
    if !first.into_iter().chain(all).all(together) {
        return tensors.into_iter().map(frobenius_norm).collect();
    }
    let squares: Vec<Tensor> = tensors.clone().into_iter().map(|t| total(&t.sqr()?)).collect::<Result<_>>()?;
    let squares = if squares.is_empty() { Vec::new() } else { Tensor::stack(&squares, 0)?.to_vec1::<f32>()? };
    let norm = |(tensor, square): (&Tensor, f32)| match f64::from(square) {
        square if square.is_finite() && square > SAFE_SQUARE => Ok(square.sqrt()),
        _ => frobenius_norm(tensor),
    };
    tensors.into_iter().zip(squares).map(norm).collect()
}

/// Below this the squares of f32 elements on a device may have been flushed to zero.
const SAFE_SQUARE: f64 = 1e-30;

fn sum_of_squares(tensor: &Tensor) -> Result<f64> {
    {
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(data)) => return Ok(slice_sum_of_squares(contiguous(data, layout)?)),
            Storage::Cpu(CpuStorage::F64(data)) => return Ok(slice_sum_of_squares(contiguous(data, layout)?)),
            _ => {}
        }
    }
    scalar(&total(&tensor.sqr()?)?)
}

/// Σx², in f64.
pub(crate) fn slice_sum_of_squares<T: Real>(data: &[T]) -> f64 {
    fn piece_sum<T: Real>(piece: &[T]) -> f64 {
        // Eight running sums keep the additions independent, in a fixed order.
        let mut sums = [0.0_f64; 8];
        let (blocks, rest) = piece.as_chunks::<8>();
        for block in blocks {
            for (sum, x) in sums.iter_mut().zip(block) {
                let x = x.to_f64();
                *sum += x * x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            let x = x.to_f64();
            *sum += x * x;
        }
        sums.iter().sum()
    }
    let pieces: Vec<f64> = data.par_chunks(PIECE).map(piece_sum).collect();
    pieces.iter().sum()
}

/// A tensor of one element as f64. The conversion is done on the CPU, since not every device has f64.
fn scalar(tensor: &Tensor) -> Result<f64> {
    let value = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(value.to_scalar::<f64>()?)
}

/// The elements of a contiguous tensor, row by row, as f64 on the CPU.
pub(crate) fn f64_values(tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = tensor.to_device(&Device::Cpu)?;
    {
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(data)) => {
                return Ok(contiguous(data, layout)?.iter().map(|&x| f64::from(x)).collect());
            }
            Storage::Cpu(CpuStorage::F64(data)) => return Ok(contiguous(data, layout)?.to_vec()),
            _ => {}
        }
    }
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "zero is exact")]
mod tests {
    use super::*;

    /// A length that is no multiple of a piece.
    fn sample() -> Vec<f64> {
        (0..2 * PIECE + 13).map(|i| (i as f64 * 0.37).sin()).collect()
    }

    #[test]
    fn one_bad_element_is_found_wherever_it_is() {
        for dtype in [DType::F32, DType::F64] {
            let good = Tensor::new(sample(), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            assert!(all_finite(&good).unwrap());
            for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                for index in [0, PIECE - 1, PIECE, 2 * PIECE + 12] {
                    let mut values = sample();
                    values[index] = bad;
                    let tensor = Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                    assert!(!all_finite(&tensor).unwrap());
                }
            }
        }
        let largest = Tensor::new(&[f32::MAX, f32::MAX], &Device::Cpu).unwrap();
        assert!(all_finite(&largest).unwrap());
    }

    #[test]
    fn the_first_bad_tensor_is_named_and_devices_judge_alike() {
        let good = Tensor::new(&[[1.0_f32, f32::MAX], [-f32::MAX, 0.0]], &Device::Cpu).unwrap();
        let bad = Tensor::new(&[[1.0_f64, 2.0], [f64::NEG_INFINITY, f64::NAN]], &Device::Cpu).unwrap();
        assert_eq!(first_not_finite([]).unwrap(), None);
        assert_eq!(first_not_finite([&good, &good]).unwrap(), None);
        assert_eq!(first_not_finite([&good, &bad, &good, &bad]).unwrap(), Some(1));
        // What other devices compute, computed here.
        assert_eq!(zero_if_finite(&good).unwrap().to_scalar::<f32>().unwrap(), 0.0);
        for bad in [bad, Tensor::new(&[0.0_f32, f32::INFINITY], &Device::Cpu).unwrap()] {
            assert!(zero_if_finite(&bad).unwrap().to_scalar::<f32>().unwrap().is_nan());
        }
    }

    #[test]
    fn the_length_on_a_device_is_that_of_the_norm() {
        let check = |x: &Tensor, length: f64, tolerance: f64| {
            let y = with_length(x, length).unwrap();
            assert_eq!((y.dtype(), y.shape()), (x.dtype(), x.shape()));
            let expected = (x / frobenius_norm(x).unwrap()).unwrap().to_dtype(DType::F64).unwrap();
            let difference = (y.to_dtype(DType::F64).unwrap() - (expected * length).unwrap()).unwrap();
            assert!(max_abs(&difference).unwrap() <= tolerance * length.abs(), "{x} {y}");
        };
        for shape in [&[60][..], &[12, 5], &[5, 2, 3, 2], &[1, 60], &[60, 1]] {
            let x = Tensor::from_vec(sample()[..60].to_vec(), shape, &Device::Cpu).unwrap();
            for scale in [1e-300, 1e-160, 1.0, 1e160, 1e300] {
                check(&(&x * scale).unwrap(), -0.3, 1e-14);
            }
            for scale in [1e-36, 1e-20, 1.0, 1e20, 1e37] {
                check(&(&x * scale).unwrap().to_dtype(DType::F32).unwrap(), 0.1, 1e-6);
            }
        }
        // Zero, and a norm so small that the quotient overflows, give zero.
        for (x, dtype) in [(0.0, DType::F32), (0.0, DType::F64), (1e-40, DType::F32), (1e-310, DType::F64)] {
            let x = Tensor::new(&[[x, 0.0], [0.0, 0.0]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            assert_eq!(max_abs(&with_length(&x, -0.5).unwrap()).unwrap(), 0.0, "{x}");
        }
    }

    #[test]
    fn norm_survives_the_extremes() {
        for scale in [1e-300, 1e-200, 1e-20, 1.0, 1e20, 1e200, 1e300] {
            let x = Tensor::new(&[3.0 * scale, -4.0 * scale], &Device::Cpu).unwrap();
            assert!((frobenius_norm(&x).unwrap() / scale - 5.0).abs() < 1e-12, "scale {scale}");
        }
        let x = Tensor::new(&[3e38_f32, 3e38], &Device::Cpu).unwrap();
        assert!((frobenius_norm(&x).unwrap() / (3e38 * 2.0_f64.sqrt()) - 1.0).abs() < 1e-6);
        let zero = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        assert!(frobenius_norm(&zero).unwrap() == 0.0);
    }
}
