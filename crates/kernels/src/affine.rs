//! `x Wᵀ + b` as one operation on the CPU, with its own gradients.
//!
//! Composed of candle's operations, the gradient of W is formed as \[in, out\] and turned around element by element, the
//! gradient of the network's input is computed although nobody reads it, and biases are summed with two integer divisions for
//! each element. Here every product is the one that candle makes, element for element in the same order, so a network gives
//! the same bits either way; a test holds that.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

/// `x Wᵀ + b` for x \[batch, in\], W \[out, in\] and b \[out\].
pub fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let single = |tensor: &Tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32;
    let fused = x.rank() == 2 && single(x) && single(weight) && bias.is_none_or(single);
    match bias {
        Some(bias) if fused => x.apply_op3(weight, bias, Affine),
        None if fused => x.apply_op2(weight, Affine),
        _ => composed(x, weight, bias),
    }
}

fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&weight.t()?)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}

struct Affine;

impl Affine {
    /// `x Wᵀ`, \[batch, out\].
    fn product(x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((batch, inputs), (outputs, columns)) = (x_layout.shape().dims2()?, w_layout.shape().dims2()?);
        if inputs != columns {
            bail!("an affine map with weights [{outputs}, {columns}] takes {columns} inputs, not {inputs}");
        }
        let y = x.matmul(w, (1, batch, outputs, inputs), x_layout, &w_layout.transpose(0, 1)?)?;
        Ok((y, (batch, outputs).into()))
    }

    /// The gradients of x and W, where G \[batch, out\] is that of the result: `G W` and `Gᵀ x`.
    fn gradients(x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // Data lead to no variable: their gradient would be thrown away. Detached, the results keep no graph alive.
        let of_x = if x.track_op() { Some(grad.matmul(&weight.detach())?) } else { None };
        Ok((of_x, Some(grad.t()?.matmul(&x.detach())?)))
    }
}

impl CustomOp2 for Affine {
    fn name(&self) -> &'static str {
        "affine map"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Self::product(x, x_layout, w, w_layout)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Self::gradients(x, weight, grad)
    }
}

impl CustomOp3 for Affine {
    fn name(&self) -> &'static str {
        "affine map"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut y, shape) = Self::product(x, x_layout, w, w_layout)?;
        let outputs = shape.dims()[1];
        match (&mut y, b, b_layout.contiguous_offsets()) {
            (CpuStorage::F32(y), CpuStorage::F32(b), Some((start, end))) if end - start == outputs => {
                for row in y.chunks_exact_mut(outputs) {
                    for (y, b) in row.iter_mut().zip(&b[start..end]) {
                        *y += b;
                    }
                }
            }
            _ => bail!("an affine map to {outputs} outputs needs a contiguous bias of that length, not {:?}", b_layout.shape()),
        }
        Ok((y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight) = Self::gradients(x, weight, grad)?;
        Ok((of_x, of_weight, Some(column_sums(grad)?)))
    }
}

/// The sum of the rows of a matrix, one after the other.
fn column_sums(matrix: &Tensor) -> Result<Tensor> {
    let (_, columns) = matrix.dims2()?;
    let mut sums = vec![0.0_f32; columns];
    {
        let (storage, layout) = matrix.storage_and_layout();
        let (CpuStorage::F32(values), Some((start, end))) = (storage_on_cpu(&storage)?, layout.contiguous_offsets()) else {
            return matrix.sum(0);
        };
        for row in values[start..end].chunks_exact(columns) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    }
    Tensor::from_vec(sums, columns, matrix.device())
}

fn storage_on_cpu(storage: &candle_core::Storage) -> Result<&CpuStorage> {
    match storage {
        candle_core::Storage::Cpu(storage) => Ok(storage),
        _ => bail!("an affine map on the CPU got a gradient from another device"),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use rand::{Rng as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn uniform(shape: &[usize], rng: &mut ChaCha8Rng) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn bits(tensor: &Tensor) -> Vec<u32> {
        let values = tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// The result and the gradients of x, W and b of the sum of y·G, for a dense G.
    fn all(
        way: impl Fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>,
        sizes: [usize; 3],
        with_bias: bool,
    ) -> Vec<Vec<u32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let [batch, inputs, outputs] = sizes;
        let mut var = |shape: &[usize]| Var::from_tensor(&uniform(shape, &mut rng)).unwrap();
        let (x, w, b) = (var(&[batch, inputs]), var(&[outputs, inputs]), var(&[outputs]));
        let weights = var(&[batch, outputs]);
        let y = way(&x, &w, with_bias.then_some(b.as_tensor())).unwrap();
        let grads = (&y * weights.as_detached_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = vec![bits(&y), bits(grads.get(&x).unwrap()), bits(grads.get(&w).unwrap())];
        if with_bias {
            all.push(bits(grads.get(&b).unwrap()));
        }
        all
    }

    /// Sizes that the matrix product takes in its different ways: tiny, skinny, not multiples of a register, several
    /// blocks of the inner dimension.
    #[test]
    fn same_bits_as_the_composed_operations() {
        for sizes in
            [[1, 1, 1], [2, 3, 1], [1, 70, 33], [5, 7, 10], [128, 784, 200], [128, 200, 10], [37, 1031, 129], [700, 65, 17]]
        {
            for with_bias in [false, true] {
                assert!(all(affine, sizes, with_bias) == all(composed, sizes, with_bias), "{sizes:?}, bias: {with_bias}");
            }
        }
    }

    #[test]
    fn data_get_no_gradient_and_other_layouts_work() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let x = uniform(&[7, 4], &mut rng).t().unwrap();
        let w = Var::from_tensor(&uniform(&[3, 7], &mut rng)).unwrap();
        let b = Var::from_tensor(&uniform(&[3], &mut rng)).unwrap();
        let (one, two) = (affine(&x, &w, Some(&b)).unwrap(), composed(&x, &w, Some(&b)).unwrap());
        assert_eq!(bits(&one), bits(&two));
        // The gradient of a sum is one number at every place.
        let (one, two) = (one.sum_all().unwrap().backward().unwrap(), two.sum_all().unwrap().backward().unwrap());
        assert!(one.get(&x).is_none());
        for var in [&w, &b] {
            assert_eq!(bits(one.get(var).unwrap()), bits(two.get(var).unwrap()));
        }
    }

    #[test]
    fn sizes_that_do_not_fit_are_errors() {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        for bias in [None, Some(zeros(&[3]))] {
            let error = affine(&zeros(&[2, 5]), &zeros(&[3, 4]), bias.as_ref()).unwrap_err().to_string();
            assert!(error.contains("takes 4 inputs, not 5"), "{error}");
        }
        let error = affine(&zeros(&[2, 4]), &zeros(&[3, 4]), Some(&zeros(&[2]))).unwrap_err().to_string();
        assert!(error.contains("bias"), "{error}");
    }
}
