//! Vectors of length 1, on the device of the tensor.

use candle_core::Tensor;

use crate::Result;

/// The vectors along dimension `dim` of a matrix, divided by their ℓ2 norms, and those norms (that dimension being 1).
///
/// Zero vectors stay zero. Each vector is divided by its largest element first, so that no square leaves the range of
/// the arithmetic.
pub(crate) fn unit_vectors(x: &Tensor, dim: usize) -> Result<(Tensor, Tensor)> {
    // candle reduces rows many times faster than columns.
    let rows = if dim == 0 { x.t()?.contiguous()? } else { x.clone() };
    let turned = |column: Tensor| if dim == 0 { column.t() } else { Ok(column) };
    let largest = rows.abs()?.max_keepdim(1)?;
    let divisor = (&largest + largest.eq(0.0)?.to_dtype(x.dtype())?)?;
    // 0 for a zero vector, and at least 1 for any other.
    let length = rows.broadcast_div(&divisor)?.sqr()?.sum_keepdim(1)?.sqrt()?;
    let unit = x.broadcast_div(&turned(divisor.clone())?)?.broadcast_div(&turned(length.maximum(1.0)?)?)?;
    Ok((unit, turned((length * divisor)?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn lengths_are_one_at_every_scale() {
        for (dtype, scales, tolerance) in [(DType::F64, [1e-300, 1.0, 1e300], 1e-14), (DType::F32, [1e-37, 1.0, 1e37], 1e-6)] {
            for scale in scales {
                let x = Tensor::new(&[[3.0 * scale, 0.0], [-4.0 * scale, 0.0]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                let (unit, norm) = unit_vectors(&x, 0).unwrap();
                let unit = unit.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
                assert!((unit[0][0] - 0.6).abs() < tolerance && (unit[1][0] + 0.8).abs() < tolerance, "{scale:e}");
                assert_eq!((unit[0][1], unit[1][1]), (0.0, 0.0));
                let norm = norm.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
                assert!((norm[0][0] / (5.0 * scale) - 1.0).abs() < tolerance, "{scale:e}");
                assert!(norm[0][1].abs() == 0.0);
            }
        }
    }
}
