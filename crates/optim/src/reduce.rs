//! Reductions of a whole tensor to a number, and its values as f64.
//!
//! Sums are formed within pieces of fixed size and the pieces added in order, so a result does not depend on the number
//! of threads.

use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

use crate::Result;
use crate::elementwise::{PIECE, Real, contiguous};

/// Whether every element of a contiguous tensor is finite: one pass.
pub(crate) fn all_finite(tensor: &Tensor) -> Result<bool> {
    fn slice_is_finite<T: Real>(data: &[T]) -> bool {
        // `&`, not `&&`: without the early exit the loop runs in vector registers.
        data.par_chunks(PIECE).all(|piece| piece.iter().fold(true, |finite, x| finite & x.finite()))
    }
    {
        let (storage, layout) = tensor.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(data)) => {
                return Ok(slice_is_finite(contiguous(data, layout)?));
            }
            Storage::Cpu(CpuStorage::F64(data)) => {
                return Ok(slice_is_finite(contiguous(data, layout)?));
            }
            _ => {}
        }
    }
    // 0·x is 0 for a finite x and NaN otherwise, so the sum cannot overflow.
    Ok(scalar(&(tensor * 0.0)?.sum_all()?)? == 0.0)
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
    scalar(&tensor.sqr()?.sum_all()?)
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
    let value = tensor.to_device(&candle_core::Device::Cpu)?.to_dtype(candle_core::DType::F64)?;
    Ok(value.to_scalar::<f64>()?)
}

/// The elements of a contiguous tensor, row by row, as f64 on the CPU.
pub(crate) fn f64_values(tensor: &Tensor) -> Result<Vec<f64>> {
    let tensor = tensor.to_device(&candle_core::Device::Cpu)?;
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
    Ok(tensor.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

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
