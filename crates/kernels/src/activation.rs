//! max(0, x) with its gradient in one pass on the CPU; the same bits as candle's.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Storage, Tensor, bail};

use crate::graph::apply1;

/// max(0, x), with the gradient of x at and above 0.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous() { apply1(x, Relu) } else { x.relu() }
}

/// max(0, x + y), the end of a residual block.
pub fn add_relu(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    relu(&(x + y)?)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (CpuStorage::F32(x), Some((start, end))) = (x, layout.contiguous_offsets()) else {
            bail!("relu needs contiguous f32 values");
        };
        Ok((CpuStorage::F32(x[start..end].iter().map(|x| x.max(0.0)).collect()), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let values: Vec<f32> = {
            let ((x, x_layout), (g, g_layout)) = (x.storage_and_layout(), grad.storage_and_layout());
            let (Storage::Cpu(CpuStorage::F32(x)), Storage::Cpu(CpuStorage::F32(g))) = (&*x, &*g) else {
                bail!("relu needs f32 values on the CPU");
            };
            let (Some((x_start, x_end)), Some((g_start, g_end))) = (x_layout.contiguous_offsets(), g_layout.contiguous_offsets())
            else {
                bail!("relu needs contiguous values");
            };
            // A product, so that a gradient that is not a number stays one.
            x[x_start..x_end].iter().zip(&g[g_start..g_end]).map(|(&x, g)| g * f32::from(u8::from(x >= 0.0))).collect()
        };
        Ok(Some(Tensor::from_vec(values, x.shape(), x.device())?))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn same_bits_as_candle() {
        let special = [0.0, -0.0, 1.5, -1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, -1e-45];
        // Every value meets every gradient.
        let n = special.len();
        let x = Var::from_vec((0..n * n).map(|i| special[i / n]).collect::<Vec<f32>>(), (n, n), &Device::Cpu).unwrap();
        let g = Tensor::from_vec((0..n * n).map(|i| special[i % n]).collect::<Vec<f32>>(), (n, n), &Device::Cpu).unwrap();
        let bits = |tensor: &Tensor| -> Vec<u32> {
            tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
        };
        let both = |y: Tensor| {
            let grads = (&y * &g).unwrap().sum_all().unwrap().backward().unwrap();
            (bits(&y), bits(grads.get(&x).unwrap()))
        };
        assert_eq!(both(relu(&x).unwrap()), both(x.relu().unwrap()));
        // A view that is not contiguous goes candle's way.
        assert_eq!(bits(&relu(&x.t().unwrap()).unwrap().contiguous().unwrap()), bits(&x.t().unwrap().relu().unwrap()));
    }
}
