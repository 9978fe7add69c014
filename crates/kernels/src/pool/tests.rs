use candle_core::{DType, Device};
use proptest::prelude::*;

use super::*;
use crate::testing::{assert_near, bits, numbers, pass, reference, same_on_any_threads, uniform};

/// The windows in a plane [h, w], each with the places of its pixels in the plane.
fn places([h, w]: [usize; 2], kernel: usize, stride: usize, padding: usize) -> Vec<Vec<usize>> {
    let starts = |size: usize| (0..).map(move |i| i * stride).take_while(move |start| start + kernel <= size + 2 * padding);
    let inside = |start: usize, size: usize| {
        (start..start + kernel).filter_map(move |i| i.checked_sub(padding)).filter(move |&i| i < size)
    };
    let window = |top, left| inside(top, h).flat_map(|i| inside(left, w).map(move |j| i * w + j)).collect();
    starts(h).flat_map(|top| starts(w).map(move |left| (top, left))).map(|(top, left)| window(top, left)).collect()
}

fn defined(x: &[f64], plane: [usize; 2], windows: &[Vec<usize>], f: impl Fn(&mut dyn Iterator<Item = f64>) -> f64) -> Vec<f64> {
    let planes = x.chunks(plane[0] * plane[1]);
    planes.flat_map(|x| windows.iter().map(|window| f(&mut window.iter().map(|&i| x[i]))).collect::<Vec<_>>()).collect()
}

fn output(shape: [usize; 4], kernel: usize, stride: usize, padding: usize) -> [usize; 4] {
    let size = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    [shape[0], shape[1], size(shape[2]), size(shape[3])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn as_defined(
        shape in [1..3_usize, 1..4_usize, 1..9_usize, 1..8_usize],
        kernel in 1..5_usize, stride in 1..5_usize, padding in 0..3_usize, seed in 0..1000_u64,
    ) {
        let padding = padding.min(kernel / 2);
        prop_assume!(kernel - 2 * padding <= shape[2].min(shape[3]));
        let x = uniform(&shape, seed);
        let plane = [shape[2], shape[3]];
        // Differences are no slopes where two pixels are as good as equal.
        let mut sorted = numbers(&x);
        sorted.sort_by(f32::total_cmp);
        prop_assume!(sorted.windows(2).all(|pair| pair[1] - pair[0] > 1e-4));

        let g = uniform(&output(shape, kernel, stride, padding), seed + 1);
        let windows = places(plane, kernel, stride, padding);
        let ours = pass(&[&x], &g, |t| max_pool2d(&t[0], kernel, stride, padding));
        let max = |pixels: &mut dyn Iterator<Item = f64>| pixels.fold(f64::NEG_INFINITY, f64::max);
        ours.assert_near(&reference(&[&x], &g, |inputs| defined(&inputs[0], plane, &windows, max)), 1e-6);
        prop_assert_eq!(
            numbers(&padded(&x, padding).unwrap().max_pool2d_with_stride(kernel, stride).unwrap()),
            ours.y
        );

        prop_assume!(kernel <= shape[2].min(shape[3]));
        let g = uniform(&output(shape, kernel, stride, 0), seed + 2);
        let windows = places(plane, kernel, stride, 0);
        let mean = |pixels: &mut dyn Iterator<Item = f64>| pixels.sum::<f64>() / (kernel * kernel) as f64;
        let ours = pass(&[&x], &g, |t| avg_pool2d(&t[0], kernel, stride));
        ours.assert_near(&reference(&[&x], &g, |inputs| defined(&inputs[0], plane, &windows, mean)), 1e-6);
        assert_near(&ours.y, &numbers(&x.avg_pool2d_with_stride(kernel, stride).unwrap()), 1e-6);

        let g = uniform(&shape[..2], seed + 3);
        let windows = [(0..plane[0] * plane[1]).collect()];
        let mean = |pixels: &mut dyn Iterator<Item = f64>| pixels.sum::<f64>() / (plane[0] * plane[1]) as f64;
        let ours = pass(&[&x], &g, |t| global_avg_pool(&t[0]));
        ours.assert_near(&reference(&[&x], &g, |inputs| defined(&inputs[0], plane, &windows, mean)), 1e-6);
        assert_near(&ours.y, &numbers(&x.flatten_from(2).unwrap().mean(2).unwrap()), 1e-6);
    }
}

/// Several parts, planes larger than a part, and windows that have gradients in candle.
#[test]
fn as_candle_on_larger_images() {
    for shape in [[3, 5, 66, 64], [1, 2, 130, 132], [30, 40, 8, 8]] {
        let x = uniform(&shape, 1);
        for kernel in [1, 2] {
            let g = uniform(&output(shape, kernel, kernel, 0), 2);
            let ours = pass(&[&x], &g, |t| avg_pool2d(&t[0], kernel, kernel));
            ours.assert_near(&pass(&[&x], &g, |t| t[0].avg_pool2d_with_stride(kernel, kernel)), 1e-6);
            let mut ours = pass(&[&x], &g, |t| max_pool2d(&t[0], kernel, kernel, 0));
            // candle divides the gradient by the number of pixels in the window.
            let pixels = (kernel * kernel) as f32;
            ours.gradients[0].iter_mut().for_each(|g| *g /= pixels);
            ours.assert_near(&pass(&[&x], &g, |t| t[0].max_pool2d_with_stride(kernel, kernel)), 1e-6);
        }
        let g = uniform(&shape[..2], 3);
        let ours = pass(&[&x], &g, |t| global_avg_pool(&t[0]));
        ours.assert_near(&pass(&[&x], &g, |t| t[0].flatten_from(2)?.mean(2)), 1e-6);
    }
}

#[test]
fn the_same_on_any_number_of_threads() {
    let x = uniform(&[5, 7, 41, 43], 3);
    let (of_max, of_mean) = (uniform(&output([5, 7, 41, 43], 3, 2, 1), 4), uniform(&output([5, 7, 41, 43], 3, 1, 0), 5));
    same_on_any_threads(|| {
        [
            pass(&[&x], &of_max, |t| max_pool2d(&t[0], 3, 2, 1)),
            pass(&[&x], &of_mean, |t| avg_pool2d(&t[0], 3, 1)),
            pass(&[&x], &uniform(&[5, 7], 6), |t| global_avg_pool(&t[0])),
        ]
    });
}

#[test]
fn other_types_and_layouts() {
    let x = uniform(&[2, 3, 6, 6], 1);
    let turned = x.transpose(0, 3).unwrap().contiguous().unwrap().transpose(0, 3).unwrap();
    let double = x.to_dtype(DType::F64).unwrap();
    let ops: [fn(&Tensor) -> Result<Tensor>; 3] = [|x| max_pool2d(x, 3, 2, 1), |x| avg_pool2d(x, 2, 2), global_avg_pool];
    for op in ops {
        let ours = numbers(&op(&x).unwrap());
        assert_near(&ours, &numbers(&op(&turned).unwrap()), 1e-6);
        assert_near(&ours, &numbers(&op(&double).unwrap().to_dtype(DType::F32).unwrap()), 1e-6);
    }
    // A gradient that is one number at every place.
    let var = candle_core::Var::from_tensor(&x).unwrap();
    let gradients = global_avg_pool(&var).unwrap().sum_all().unwrap().backward().unwrap();
    assert_eq!(bits(gradients.get(&var).unwrap()), vec![(1.0_f32 / 36.0).to_bits(); 216]);
}

#[test]
fn windows_that_do_not_fit_are_errors() {
    let x = Tensor::zeros((2, 3, 4, 5), DType::F32, &Device::Cpu).unwrap();
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    for message in [error(max_pool2d(&x, 5, 1, 0)), error(avg_pool2d(&x, 5, 1)), error(max_pool2d(&x, usize::MAX, 1, 0))] {
        assert!(message.contains("do not fit in [2, 3, 4, 5]"), "{message}");
    }
    for message in [error(max_pool2d(&x, 2, 0, 0)), error(max_pool2d(&x, 0, 1, 0)), error(avg_pool2d(&x, 0, 1))] {
        assert!(message.contains("do not fit"), "{message}");
    }
    assert!(error(max_pool2d(&x, 3, 1, 2)).contains("at most half of that, not 2"));
    for op in [max_pool2d(&x.flatten_all().unwrap(), 1, 1, 0), global_avg_pool(&x.flatten_all().unwrap())] {
        error(op);
    }
}
