//! max(0, x), alone and after a sum, with gradients in one pass on the CPU.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use crate::elementwise::{map, map2};
use crate::graph::{apply1, apply2};
use crate::values::{Values, on_cpu, values};

/// max(0, x), with the gradient of x at and above 0; the same bits as candle's.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    if on_cpu(&[x]) && x.is_contiguous() { apply1(x, Relu) } else { x.relu() }
}

/// max(0, x + y), the end of a residual block, for x and y of one shape.
///
/// On the CPU the gradient is that of PyTorch, 0 where the sum is 0: it can be read off the result.
pub fn add_relu(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let fused = on_cpu(&[x, y]) && x.is_contiguous() && y.is_contiguous() && x.shape() == y.shape();
    if fused { apply2(x, y, AddRelu) } else { relu(&(x + y)?) }
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(map(values(x, layout)?, |x| x.max(0.0))), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        passed_on(grad, x, |x| x >= 0.0).map(Some)
    }
}

struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add_relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, x_layout: &Layout, y: &CpuStorage, y_layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sum = map2(values(x, x_layout)?, values(y, y_layout)?, |x, y| (x + y).max(0.0));
        Ok((CpuStorage::F32(sum), x_layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, result: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        // One tensor for both.
        let of_sum = passed_on(grad, result, |result| result > 0.0)?;
        Ok((x.track_op().then(|| of_sum.clone()), y.track_op().then_some(of_sum)))
    }
}

/// The gradient where `passes` holds for the element of `x`.
pub(crate) fn passed_on(grad: &Tensor, x: &Tensor, passes: impl Fn(f32) -> bool + Copy + Sync) -> Result<Tensor> {
    let grad = grad.contiguous()?;
    // A product, so that a gradient that is not a number stays one.
    let passed = map2(&Values::of(&grad)?, &Values::of(x)?, |g, x| g * f32::from(u8::from(passes(x))));
    Tensor::from_vec(passed, x.shape(), x.device())
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;
    use crate::testing::{assert_near, numbers, pass, reference, same_on_any_threads, uniform};

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

    #[test]
    fn sum_and_relu_as_defined() {
        let define = |inputs: &[Vec<f64>]| inputs[0].iter().zip(&inputs[1]).map(|(x, y)| (x + y).max(0.0)).collect();
        for shape in [&[1][..], &[3, 5], &[2, 3, 4, 5]] {
            let (x, y, g) = (uniform(shape, 1), uniform(shape, 2), uniform(shape, 3));
            let ours = pass(&[&x, &y], &g, |t| add_relu(&t[0], &t[1]));
            ours.assert_near(&reference(&[&x, &y], &g, define), 1e-6);
        }
        // Several parts.
        let [x, y, g] = [1, 2, 3].map(|seed| uniform(&[5, 9_000], seed));
        let ours = same_on_any_threads(|| pass(&[&x, &y], &g, |t| add_relu(&t[0], &t[1])));
        assert_eq!(ours, pass(&[&x, &y], &g, |t| (&t[0] + &t[1])?.relu()));
        same_on_any_threads(|| pass(&[&x], &g, |t| relu(&t[0])));
    }

    #[test]
    fn sum_and_relu_of_special_numbers() {
        let special = [0.0, -0.0, 1.5, -1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e-45];
        let n = special.len();
        let tensor = |f: &dyn Fn(usize) -> f32| Tensor::from_vec((0..n * n).map(f).collect(), (n, n), &Device::Cpu).unwrap();
        let (x, y) = (tensor(&|i| special[i / n]), tensor(&|i| special[i % n]));
        let bits = |tensor: &Tensor| -> Vec<u32> { numbers(tensor).into_iter().map(f32::to_bits).collect() };
        assert_eq!(bits(&add_relu(&x, &y).unwrap()), bits(&(&x + &y).unwrap().relu().unwrap()));
        // Every gradient at a positive and at a negative sum, and at 0, where nothing passes.
        for (sum, passes) in [(1.0, 1.0), (-1.0, 0.0), (0.0, 0.0)] {
            let ours = pass(&[&x.zeros_like().unwrap(), &tensor(&|_| sum)], &y, |t| add_relu(&t[0], &t[1]));
            for (ours, g) in ours.gradients.concat().iter().zip(numbers(&y).into_iter().cycle()) {
                let expected = g * passes;
                // 0 and −0 are one here.
                let same = ours.to_bits() == expected.to_bits() || (ours - expected).abs() < f32::MIN_POSITIVE;
                assert!(same || ours.is_nan() && expected.is_nan(), "{ours} for {g} at {sum}");
            }
        }
    }

    #[test]
    fn sums_of_other_types_layouts_and_shapes() {
        let (x, y) = (uniform(&[4, 4], 1), uniform(&[4, 4], 2));
        let ours = numbers(&add_relu(&x, &y).unwrap());
        let turned = y.t().unwrap().contiguous().unwrap().t().unwrap();
        assert_near(&ours, &numbers(&add_relu(&x, &turned).unwrap()), 0.0);
        let double = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        assert_near(&ours, &numbers(&add_relu(&double(&x), &double(&y)).unwrap().to_dtype(DType::F32).unwrap()), 1e-6);
        let error = add_relu(&x, &uniform(&[4, 5], 1)).unwrap_err().to_string();
        assert!(error.contains("[4, 4]") && error.contains("[4, 5]"), "{error}");
    }
}
