//! `x Wᵀ + b` as one operation on the CPU, with its own gradients.
//!
//! Composed of candle's operations, the gradient of W is formed as \[in, out\] and turned around element by element, the
//! gradient of the network's input is computed although nobody reads it, and biases are summed with two integer divisions for
//! each element. Here every product is the one that candle makes, element for element in the same order, so a network gives
//! the same bits either way; a test holds that.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, DType, Layout, Result, Shape, Storage, Tensor, bail};

use crate::Threads;
use crate::graph::{apply2, apply3};

/// `x Wᵀ + b` for x \[…, in\], W \[out, in\] and b \[out\]: \[…, out\].
pub fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let single = |tensor: &Tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32;
    let fused = (x.rank() == 2 || x.is_contiguous()) && single(x) && single(weight) && bias.is_none_or(single);
    match bias {
        Some(bias) if fused => apply3(x, weight, bias, Affine),
        None if fused => apply2(x, weight, Affine),
        _ => composed(x, weight, bias),
    }
}

fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = rows(x)?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    let mut shape = x.dims().to_vec();
    *shape.last_mut().unwrap_or(&mut 0) = y.dim(D::Minus1)?;
    y.reshape(shape)
}

/// \[…, n\] as a matrix with n columns.
fn rows(tensor: &Tensor) -> Result<Tensor> {
    if tensor.rank() == 2 { Ok(tensor.clone()) } else { tensor.reshape(((), tensor.dim(D::Minus1)?)) }
}

struct Affine;

impl Affine {
    /// `x Wᵀ`, \[…, out\], and the number of outputs.
    fn product(x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Result<(CpuStorage, Shape, usize)> {
        let (outputs, columns) = w_layout.shape().dims2()?;
        let Some((&inputs, leading)) = x_layout.dims().split_last().filter(|&(&inputs, _)| inputs == columns) else {
            bail!("an affine map with weights [{outputs}, {columns}] takes {columns} inputs, not {:?}", x_layout.shape());
        };
        let batch = leading.iter().product();
        let matrix = match leading {
            [_] => x_layout.clone(),
            _ => Layout::contiguous_with_offset((batch, inputs), x_layout.start_offset()),
        };
        let y = x.matmul(w, (1, batch, outputs, inputs), &matrix, &w_layout.transpose(0, 1)?)?;
        Ok((y, [leading, &[outputs]].concat().into(), outputs))
    }

    /// The gradients of x and W, where G \[…, out\] is that of the result: `G W` and `Gᵀ x`.
    fn gradients(x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // Data lead to no variable: their gradient would be thrown away. Detached, the results keep no graph alive.
        let grad = rows(&grad.detach())?;
        let of_x = if x.track_op() { Some(grad.matmul(&weight.detach())?.reshape(x.shape())?) } else { None };
        let of_weight = if weight.track_op() { Some(grad.t()?.matmul(&rows(&x.detach())?)?) } else { None };
        Ok((of_x, of_weight))
    }
}

impl CustomOp2 for Affine {
    fn name(&self) -> &'static str {
        "affine map"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, w: &CpuStorage, w_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, shape, _) = Self::product(x, x_layout, w, w_layout)?;
        Ok((y, shape))
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
        let (mut y, shape, outputs) = Self::product(x, x_layout, w, w_layout)?;
        match (&mut y, b, b_layout.contiguous_offsets()) {
            (CpuStorage::F32(y), CpuStorage::F32(b), Some((start, end))) if end - start == outputs => {
                add_to_rows(y, &b[start..end]);
            }
            _ => bail!("an affine map to {outputs} outputs needs a contiguous bias of that length, not {:?}", b_layout.shape()),
        }
        Ok((y, shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (of_x, of_weight) = Self::gradients(x, weight, grad)?;
        Ok((of_x, of_weight, if bias.track_op() { Some(column_sums(&rows(&grad.detach())?)?) } else { None }))
    }
}

/// Numbers that are worth a thread of their own.
const PART: usize = 1 << 14;

/// Adds `bias` to each row of a matrix.
fn add_to_rows(matrix: &mut [f32], bias: &[f32]) {
    let columns = bias.len().max(1);
    let threads = if matrix.len() > 2 * PART { Threads::All } else { Threads::One };
    threads.chunks(matrix, (PART / columns).max(1) * columns, |_, rows| {
        for row in rows.chunks_exact_mut(columns) {
            for (y, b) in row.iter_mut().zip(bias) {
                *y += b;
            }
        }
    });
}

/// The sum of the rows of a matrix, one after the other.
fn column_sums(matrix: &Tensor) -> Result<Tensor> {
    let (height, columns) = matrix.dims2()?;
    let mut sums = vec![0.0_f32; columns];
    {
        let (storage, layout) = matrix.storage_and_layout();
        let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) = (&*storage, layout.contiguous_offsets()) else {
            return matrix.sum(0);
        };
        let values = &values[start..end];
        // Each thread has columns of its own, so a sum is the same for any number of them.
        let (threads, width) =
            if values.len() > 2 * PART { (Threads::All, (PART / height).next_multiple_of(16)) } else { (Threads::One, columns) };
        threads.chunks(&mut sums, width.max(1), |index, sums| {
            for row in values.chunks_exact(columns) {
                for (sum, value) in sums.iter_mut().zip(&row[index * width..]) {
                    *sum += value;
                }
            }
        });
    }
    Tensor::from_vec(sums, columns, matrix.device())
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
            assert!(error.contains("takes 4 inputs, not [2, 5]"), "{error}");
        }
        let error = affine(&zeros(&[2, 4]), &zeros(&[3, 4]), Some(&zeros(&[2]))).unwrap_err().to_string();
        assert!(error.contains("bias"), "{error}");
    }
}
