use candle_core::{DType, Device, Var};
use proptest::prelude::*;

use super::*;
use crate::testing::{Pass, bits, numbers, pass, reference, same_on_any_threads, uniform};

type Way = fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>;

/// Each map and the operations that it stands for.
const BOTH: [(Way, Way); 2] = [(affine, composed), (affine_relu, |x, w, b| composed(x, w, b)?.relu())];

/// x, W and b, if there is one.
fn inputs([batch, inputs, outputs]: [usize; 3], with_bias: bool, seed: u64) -> Vec<Tensor> {
    let mut tensors = vec![uniform(&[batch, inputs], seed), uniform(&[outputs, inputs], seed + 1)];
    tensors.extend(with_bias.then(|| uniform(&[outputs], seed + 2)));
    tensors
}

fn pass_of(way: Way, inputs: &[Tensor], g: &Tensor) -> Pass<f32> {
    pass(&inputs.iter().collect::<Vec<_>>(), g, |x| way(&x[0], &x[1], x.get(2)))
}

/// Sizes that the matrix product takes in its different ways: tiny, skinny, not multiples of a register, several
/// blocks of the inner dimension.
#[test]
fn same_bits_as_the_composed_operations() {
    for sizes in [[1, 1, 1], [2, 3, 1], [1, 70, 33], [5, 7, 10], [128, 784, 200], [128, 200, 10], [37, 1031, 129], [700, 65, 17]]
    {
        for with_bias in [false, true] {
            let (inputs, g) = (inputs(sizes, with_bias, 5), uniform(&[sizes[0], sizes[2]], 8));
            for (ours, theirs) in BOTH {
                let ours = same_on_any_threads(|| pass_of(ours, &inputs, &g));
                assert!(ours == pass_of(theirs, &inputs, &g), "{sizes:?}, bias: {with_bias}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn is_the_formula(batch in 1..6_usize, width in 1..8_usize, outputs in 1..9_usize, with_bias: bool, relu: bool, seed in 0..1000_u64) {
        let (inputs, g) = (inputs([batch, width, outputs], with_bias, seed), uniform(&[batch, outputs], seed + 3));
        let sums = |x: &[Vec<f64>]| -> Vec<f64> {
            let sum = |x_row: &[f64], o: usize, w: &[f64], b: Option<&Vec<f64>>| {
                x_row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + b.map_or(0.0, |b| b[o])
            };
            let of_row = |row| x[1].chunks(width).enumerate().map(move |(o, w)| sum(row, o, w, x.get(2)));
            x[0].chunks(width).flat_map(of_row).collect()
        };
        let tensors: Vec<&Tensor> = inputs.iter().collect();
        // A difference across the kink is no derivative.
        let values: Vec<Vec<f64>> = tensors.iter().map(|x| numbers(x).into_iter().map(f64::from).collect()).collect();
        prop_assume!(!relu || sums(&values).iter().all(|sum| sum.abs() > 1e-4));
        let plain = |x: &[Vec<f64>]| sums(x).into_iter().map(|sum| if relu { sum.max(0.0) } else { sum }).collect();
        pass_of(BOTH[usize::from(relu)].0, &inputs, &g).assert_near(&reference(&tensors, &g, plain), 1e-6);
    }
}

/// Sums of every kind under gradients of every kind.
#[test]
fn relu_of_special_numbers() {
    let special = [0.0, -0.0, 1.5, -1.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1e-45];
    let n = special.len();
    // One product of x and 1 in each sum.
    let x = Tensor::from_slice(&special, (n, 1), &Device::Cpu).unwrap();
    let g = Tensor::from_vec((0..n * n).map(|i| special[i % n]).collect::<Vec<_>>(), (n, n), &Device::Cpu).unwrap();
    let (ones, zeros) =
        (Tensor::ones((n, 1), DType::F32, &Device::Cpu).unwrap(), Tensor::zeros(n, DType::F32, &Device::Cpu).unwrap());
    for bias in [None, Some(&zeros)] {
        let y = affine_relu(&x, &ones, bias).unwrap();
        assert_eq!(bits(&y), bits(&composed(&x, &ones, bias).unwrap().relu().unwrap()));
        let ours = Affine { relu: true }.of_sum(&y, &g).unwrap();
        for ((i, ours), g) in numbers(&ours).into_iter().enumerate().zip(numbers(&g)) {
            // As candle has it, but for 0, where nothing passes.
            let expected = g * f32::from(u8::from(special[i / n] > 0.0));
            assert!(ours.to_bits() == expected.to_bits() || (ours.is_nan() && expected.is_nan()), "{ours}, not {expected}");
        }
    }
}

#[test]
fn data_get_no_gradient_and_other_layouts_work() {
    let x = uniform(&[7, 4], 6).t().unwrap();
    let [w, b] = [uniform(&[3, 7], 7), uniform(&[3], 8)].map(|tensor| Var::from_tensor(&tensor).unwrap());
    for (ours, theirs) in BOTH {
        let (one, two) = (ours(&x, &w, Some(&b)).unwrap(), theirs(&x, &w, Some(&b)).unwrap());
        assert_eq!(bits(&one), bits(&two));
        // The gradient of a sum is one number at every place.
        let (one, two) = (one.sum_all().unwrap().backward().unwrap(), two.sum_all().unwrap().backward().unwrap());
        assert!(one.get(&x).is_none());
        for var in [&w, &b] {
            assert_eq!(bits(one.get(var).unwrap()), bits(two.get(var).unwrap()));
        }
    }
}

#[test]
fn more_dimensions_and_other_types() {
    let (x, w, b) = (uniform(&[2, 3, 4], 1), uniform(&[5, 4], 2), uniform(&[5], 3));
    let double = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap();
    for (ours, _) in BOTH {
        let y = ours(&x, &w, Some(&b)).unwrap();
        assert_eq!(y.dims(), [2, 3, 5]);
        let flat = ours(&x.reshape((6, 4)).unwrap(), &w, Some(&b)).unwrap();
        assert_eq!(bits(&y), bits(&flat));
        let wide = ours(&double(&x), &double(&w), Some(&double(&b))).unwrap();
        assert_eq!(wide.dims(), [2, 3, 5]);
        crate::testing::assert_near(&numbers(&y), &wide.flatten_all().unwrap().to_vec1::<f64>().unwrap(), 1e-6);
    }
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    for (ours, _) in BOTH {
        for bias in [None, Some(zeros(&[3]))] {
            let error = ours(&zeros(&[2, 5]), &zeros(&[3, 4]), bias.as_ref()).unwrap_err().to_string();
            assert!(error.contains("takes 4 inputs, not [2, 5]"), "{error}");
        }
        let error = ours(&zeros(&[2, 4]), &zeros(&[3, 4]), Some(&zeros(&[2]))).unwrap_err().to_string();
        assert!(error.contains("bias"), "{error}");
    }
}
