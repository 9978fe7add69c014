//! `x Wᵀ + b` and max(0, x Wᵀ + b) as one operation on the CPU, with its own gradients.
//!
//! Composed of candle's operations, the gradient of W is formed as \[in, out\] and turned around element by element, the
//! gradient of the network's input is computed although nobody reads it, and biases are summed with two integer divisions for
//! each element. Here every product is the one that candle makes, element for element in the same order, so a network gives
//! the same bits either way; a test holds that.

use candle_core::backend::BackendStorage as _;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Storage, Tensor, bail};

use crate::Threads;
use crate::activation::{passed_on, relu};
use crate::graph::{apply2, apply3};
use crate::values::on_cpu;

/// `x Wᵀ + b` for x \[…, in\], W \[out, in\] and b \[out\]: \[…, out\].
///
/// # Errors
/// Shapes that do not fit.
pub fn affine(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    apply(x, weight, bias, Affine { relu: false })
}

/// max(0, x Wᵀ + b), a hidden layer, for the shapes of [`affine`]. What went into the maximum is not kept.
///
/// On the CPU in f32 the gradient is that of PyTorch, 0 where the sum is 0: it can be read off the result.
///
/// # Errors
/// Shapes that do not fit.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_kernels::affine_relu;
///
/// let x = Tensor::new(&[[3.0_f32, 4.0]], &Device::Cpu)?;
/// let w = Tensor::new(&[[1.0_f32, 2.0], [1.0, -2.0]], &Device::Cpu)?;
/// let b = Tensor::new(&[0.5_f32, 0.5], &Device::Cpu)?;
/// assert_eq!(affine_relu(&x, &w, Some(&b))?.to_vec2::<f32>()?, [[11.5, 0.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn affine_relu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    apply(x, weight, bias, Affine { relu: true })
}

fn apply(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, map: Affine) -> Result<Tensor> {
    let fused = (x.rank() == 2 || x.is_contiguous()) && on_cpu(&[x, weight]) && bias.is_none_or(|bias| on_cpu(&[bias]));
    match bias {
        Some(bias) if fused => apply3(x, weight, bias, map),
        None if fused => apply2(x, weight, map),
        _ if map.relu => relu(&composed(x, weight, bias)?),
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

#[derive(Clone, Copy)]
struct Affine {
    /// Whether the maximum with 0 is taken.
    relu: bool,
}

impl Affine {
    /// The result, \[…, out\], for a contiguous bias or none.
    fn forward(
        self,
        (x, x_layout): (&CpuStorage, &Layout),
        (w, w_layout): (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let (outputs, columns) = w_layout.shape().dims2()?;
        let Some((&inputs, leading)) = x_layout.dims().split_last().filter(|&(&inputs, _)| inputs == columns) else {
            bail!("an affine map with weights [{outputs}, {columns}] takes {columns} inputs, not {:?}", x_layout.shape());
        };
        let bias = match bias.map(|(b, layout)| (b, layout, layout.contiguous_offsets())) {
            Some((CpuStorage::F32(b), _, Some((start, end)))) if end - start == outputs => Some(&b[start..end]),
            Some((_, layout, _)) => {
                bail!("an affine map to {outputs} outputs needs a contiguous bias of that length, not {:?}", layout.shape())
            }
            None => None,
        };
        let batch = leading.iter().product();
        let matrix = match leading {
            [_] => x_layout.clone(),
            _ => Layout::contiguous_with_offset((batch, inputs), x_layout.start_offset()),
        };
        let mut y = x.matmul(w, (1, batch, outputs, inputs), &matrix, &w_layout.transpose(0, 1)?)?;
        if let CpuStorage::F32(y) = &mut y {
            match (bias, self.relu) {
                (Some(bias), true) => each_row(y, bias, |y, b| (y + b).max(0.0)),
                (Some(bias), false) => each_row(y, bias, |y, b| y + b),
                (None, true) => each_row(y, &vec![0.0; outputs], |y, _| y.max(0.0)),
                (None, false) => {}
            }
        }
        Ok((y, [leading, &[outputs]].concat().into()))
    }

    /// G, the gradient of `x Wᵀ + b` as a matrix with a row for each place, from that of the result.
    fn of_sum(self, result: &Tensor, grad: &Tensor) -> Result<Tensor> {
        // Detached, what is computed from it keeps no graph alive.
        rows(&if self.relu { passed_on(grad, result, |y| y > 0.0)? } else { grad.detach() })
    }

    /// The gradients of x and W: `G W` and `Gᵀ x`. Data lead to no variable: their gradient would be thrown away.
    fn of_factors(x: &Tensor, weight: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
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
        self.forward((x, x_layout), (w, w_layout), None)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, result: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Self::of_factors(x, weight, &self.of_sum(result, grad)?)
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
        self.forward((x, x_layout), (w, w_layout), Some((b, b_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        result: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = self.of_sum(result, grad)?;
        let (of_x, of_weight) = Self::of_factors(x, weight, &grad)?;
        Ok((of_x, of_weight, if bias.track_op() { Some(column_sums(&grad)?) } else { None }))
    }
}

/// Numbers that are worth a thread of their own.
const PART: usize = 1 << 14;

/// `y ← f(y, b)` for each row of a matrix, y in it and b in `bias`.
fn each_row(matrix: &mut [f32], bias: &[f32], f: impl Fn(f32, f32) -> f32 + Copy + Sync) {
    let columns = bias.len().max(1);
    let threads = if matrix.len() > 2 * PART { Threads::All } else { Threads::One };
    threads.chunks(matrix, (PART / columns).max(1) * columns, |_, rows| {
        for row in rows.chunks_exact_mut(columns) {
            for (y, &b) in row.iter_mut().zip(bias) {
                *y = f(*y, b);
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
mod tests;
