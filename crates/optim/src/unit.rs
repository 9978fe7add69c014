//! Vectors of length 1, on the device of the tensor.

use candle_core::{CpuStorage, Device, Storage, Tensor};

use crate::Result;
use crate::elementwise::{Real, contiguous};

/// The vectors along dimension `dim` of a contiguous matrix, divided by their ℓ2 norms, and those norms (that dimension
/// being 1).
///
/// Zero vectors stay zero. Each vector is divided by its largest element first, so that no square leaves the range of
/// the arithmetic.
pub(crate) fn unit_vectors(x: &Tensor, dim: usize) -> Result<(Tensor, Tensor)> {
    let shape = x.dims2()?;
    {
        let (storage, layout) = x.storage_and_layout();
        match &*storage {
            Storage::Cpu(CpuStorage::F32(data)) => return fused(contiguous(data, layout)?, shape, dim),
            Storage::Cpu(CpuStorage::F64(data)) => return fused(contiguous(data, layout)?, shape, dim),
            _ => {}
        }
    }
    composed(x, dim)
}

/// In f64 on the CPU, row by row whatever `dim` is: in the order of the memory.
fn fused<T: Real>(x: &[T], (rows, columns): (usize, usize), dim: usize) -> Result<(Tensor, Tensor)> {
    let (count, norms) = if dim == 0 { (columns, (1, columns)) } else { (rows, (rows, 1)) };
    let mut largest = vec![0.0_f64; count];
    let mut squares = vec![0.0_f64; count];
    let each = |f: &mut dyn FnMut(usize, &[T])| x.chunks(columns).enumerate().for_each(|(i, row)| f(i, row));
    if dim == 0 {
        each(&mut |_, row| {
            for (largest, x) in largest.iter_mut().zip(row) {
                *largest = largest.max(x.to_f64().abs());
            }
        });
        largest.iter_mut().for_each(one_for_zero);
        each(&mut |_, row| {
            for ((sum, largest), x) in squares.iter_mut().zip(&largest).zip(row) {
                let x = x.to_f64() / largest;
                *sum += x * x;
            }
        });
    } else {
        each(&mut |i, row| {
            largest[i] = row.iter().fold(0.0, |largest, x| largest.max(x.to_f64().abs()));
            one_for_zero(&mut largest[i]);
            squares[i] = row.iter().map(|x| (x.to_f64() / largest[i]).powi(2)).sum();
        });
    }
    // 0 for a zero vector, and at least 1 for any other.
    let lengths: Vec<f64> = squares.iter().map(|sum| sum.sqrt()).collect();
    let mut unit = Vec::with_capacity(x.len());
    each(&mut |i, row| {
        unit.extend(row.iter().enumerate().map(|(j, x)| {
            let vector = if dim == 0 { j } else { i };
            T::from_f64(x.to_f64() / largest[vector] / lengths[vector].max(1.0))
        }));
    });
    let norm: Vec<T> = lengths.iter().zip(&largest).map(|(length, largest)| T::from_f64(length * largest)).collect();
    Ok((Tensor::from_vec(unit, (rows, columns), &Device::Cpu)?, Tensor::from_vec(norm, norms, &Device::Cpu)?))
}

fn one_for_zero(x: &mut f64) {
    if *x == 0.0 {
        *x = 1.0;
    }
}

/// From candle's operations, in the type of the tensor.
fn composed(x: &Tensor, dim: usize) -> Result<(Tensor, Tensor)> {
    let largest = x.abs()?.max_keepdim(dim)?;
    let divisor = (&largest + largest.eq(0.0)?.to_dtype(x.dtype())?)?;
    let scaled = x.broadcast_div(&divisor)?;
    let length = scaled.sqr()?.sum_keepdim(dim)?.sqrt()?;
    Ok((scaled.broadcast_div(&length.maximum(1.0)?)?, (length * divisor)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    fn values(x: &Tensor) -> Vec<f64> {
        x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn lengths_are_one_at_every_scale() {
        for (dtype, scales, tolerance) in [(DType::F64, [1e-300, 1.0, 1e300], 1e-14), (DType::F32, [1e-37, 1.0, 1e37], 1e-6)] {
            for scale in scales {
                let x = Tensor::new(&[[3.0 * scale, 0.0], [-4.0 * scale, 0.0]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                for (unit, norm) in [unit_vectors(&x, 0).unwrap(), composed(&x, 0).unwrap()] {
                    assert_eq!((unit.dtype(), unit.dims(), norm.dims()), (dtype, &[2, 2][..], &[1, 2][..]));
                    let expected = [0.6, 0.0, -0.8, 0.0];
                    assert!(values(&unit).iter().zip(expected).all(|(a, b)| (a - b).abs() < tolerance), "{scale:e}");
                    let norm = values(&norm);
                    assert!((norm[0] / (5.0 * scale) - 1.0).abs() < tolerance && norm[1].abs() == 0.0, "{scale:e}");
                }
            }
        }
    }

    #[test]
    fn both_forms_agree_along_both_dimensions() {
        let numbers: Vec<f64> = (0..35).map(|i| if i % 7 == 3 || i / 7 == 2 { 0.0 } else { f64::from(i * i).sin() }).collect();
        for dtype in [DType::F32, DType::F64] {
            let x = Tensor::from_vec(numbers.clone(), (5, 7), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            for dim in [0, 1] {
                let ((unit, norm), (other, norms)) = (unit_vectors(&x, dim).unwrap(), composed(&x, dim).unwrap());
                assert_eq!((unit.shape(), norm.shape()), (other.shape(), norms.shape()));
                for (a, b) in [(unit, other), (norm, norms)] {
                    let tolerance = if dtype == DType::F32 { 1e-6 } else { 1e-15 };
                    assert!(values(&a).iter().zip(values(&b)).all(|(a, b)| (a - b).abs() <= tolerance), "{dim}");
                }
            }
        }
    }
}
