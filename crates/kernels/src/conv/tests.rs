//! Convolutions and their gradients against plain sums in f64, finite differences, and candle's own.

use candle_core::{DType, Device, Result, Tensor, Var};
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{Conv2d, composed, conv2d};
use crate::conv::correlation::Correlation;
use crate::conv::direct::Direct;
use crate::conv::sizes::Sizes;
use crate::simd::{Form, HALF, LANES};

fn uniform(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// A convolution with numbers for x, w and the gradient of the result.
#[derive(Debug)]
struct Case {
    sizes: Sizes,
    x: Vec<f32>,
    weight: Vec<f32>,
    grad: Vec<f32>,
}

/// y, x' and w'.
type Three<T> = [Vec<T>; 3];

impl Case {
    fn new(x: [usize; 4], weight: [usize; 4], conv: Conv2d, seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let sizes = Sizes::new(&(&x).into(), &(&weight).into(), conv)?;
        let mut numbers = |shape: [usize; 4]| uniform(shape.iter().product(), &mut rng);
        Ok(Self { x: numbers(x), weight: numbers(weight), grad: numbers(sizes.result()), sizes })
    }

    /// y, x' and w' by the formula in f64, for numbers and with the absolute values of all terms.
    fn by_definition(&self) -> (Three<f64>, Three<f64>) {
        let zeros = || [vec![0.0; self.grad.len()], vec![0.0; self.x.len()], vec![0.0; self.weight.len()]];
        let (mut sums, mut magnitudes) = (zeros(), zeros());
        self.terms(|y, x, w| {
            let [of_y, of_x, of_w] = [f64::from(self.grad[y]), f64::from(self.x[x]), f64::from(self.weight[w])];
            for (array, index, term) in [(0, y, of_x * of_w), (1, x, of_y * of_w), (2, w, of_y * of_x)] {
                sums[array][index] += term;
                magnitudes[array][index] += term.abs();
            }
        });
        (sums, magnitudes)
    }

    /// The indices into y, x and w of each product in the sums.
    fn terms(&self, mut term: impl FnMut(usize, usize, usize)) {
        let Sizes { images, inputs, outputs, groups, input: [h, w], output: [oh, ow], kernel: [kh, kw], stride, padding } =
            self.sizes;
        for n in 0..images {
            for (o, c) in (0..groups * outputs).flat_map(|o| (0..inputs).map(move |c| (o, c))) {
                let channel = o / outputs * inputs + c;
                for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                    for (a, b) in (0..kh).flat_map(|a| (0..kw).map(move |b| (a, b))) {
                        let (y, z) = (i * stride + a, j * stride + b);
                        if (padding..h + padding).contains(&y) && (padding..w + padding).contains(&z) {
                            let y_index = ((n * groups * outputs + o) * oh + i) * ow + j;
                            let x_index = ((n * groups * inputs + channel) * h + y - padding) * w + z - padding;
                            term(y_index, x_index, ((o * inputs + c) * kh + a) * kw + b);
                        }
                    }
                }
            }
        }
    }

    fn ours(&self, form: Form) -> Three<f32> {
        [
            self.sizes.convolve(&self.x, &self.weight, form),
            self.sizes.input_gradients(&self.grad, &self.weight, form),
            self.sizes.weight_gradients(&self.x, &self.grad, form),
        ]
    }

    fn check(&self) {
        let (expected, magnitudes) = self.by_definition();
        for form in Form::ALL {
            for (name, (ours, (expected, magnitudes))) in
                ["y", "x'", "w'"].iter().zip(self.ours(form).iter().zip(expected.iter().zip(&magnitudes)))
            {
                assert_eq!(ours.len(), expected.len());
                for (index, ((ours, expected), magnitude)) in ours.iter().zip(expected).zip(magnitudes).enumerate() {
                    let error = (f64::from(*ours) - expected).abs();
                    let allowed = 1e-6 * magnitude + 1e-30;
                    assert!(error <= allowed, "{name}[{index}] is {ours}, not {expected}, with {form:?} for {:?}", self.sizes);
                }
            }
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let kernel = prop::sample::select(vec![1_usize, 2, 3, 5, 7]);
    let channels = prop::sample::select(vec![1_usize, 2, 3, 7, 8, 12, 16, 17, 35]);
    let outputs = prop::sample::select(vec![1_usize, 4, 5, 8, 16, 18, 33, 50, 66]);
    (
        (1_usize..5, channels, outputs, 1_usize..12, 1_usize..20),
        (kernel.clone(), kernel, 1_usize..4, 0_usize..4, 1_usize..4, any::<u64>()),
    )
        .prop_filter_map("a kernel fits", |((n, c, o, h, w), (kh, kw, stride, padding, groups, seed))| {
            let groups = if c * o > 300 { 1 } else { groups };
            let conv = Conv2d { stride, padding, groups };
            Case::new([n, c * groups, h, w], [o * groups, c, kh, kw], conv, seed).ok()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn all_three_are_the_sums_of_the_formula(case in cases()) {
        case.check();
    }

    /// The ways for few channels and for many have the same products in the same order.
    #[test]
    fn ways_agree_to_the_bit(case in cases()) {
        let Case { sizes, x, weight, grad } = &case;
        let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        for (group, form) in (0..sizes.groups).flat_map(|group| Form::ALL.map(|form| (group, form))) {
            let weight = sizes.weights_of(weight, group);
            for (geometry, from, to) in [(sizes.forward(group), x, grad.len()), (sizes.input_gradient(group), grad, x.len())] {
                let (mut few, mut many) = (vec![0.0; to], vec![0.0; to]);
                Direct::new(&geometry, weight).run(from, &mut few, form);
                Correlation::new(&geometry, weight).run(from, &mut many, form);
                prop_assert_eq!(bits(few), bits(many));
            }
            let (mut few, mut many) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
            sizes.weight_gradient::<HALF>(x, grad, group, &mut few, form);
            sizes.weight_gradient::<LANES>(x, grad, group, &mut many, form);
            prop_assert_eq!(bits(few), bits(many));
        }
    }

    /// Where Winograd's way is taken, with sizes that are not made of whole tiles.
    #[test]
    fn three_by_three_at_stride_one(
        n in 1_usize..4, c in 32_usize..40, o in 32_usize..36, h in 1_usize..12, w in 1_usize..12, padding in 0_usize..4, seed: u64,
    ) {
        let conv = Conv2d { stride: 1, padding, groups: 1 };
        if let Ok(case) = Case::new([n, c, h, w], [o, c, 3, 3], conv, seed) {
            case.check();
        }
    }
}

/// Sizes of the networks: several blocks of the inner dimension, several tasks, several images and parts of one in a task.
#[test]
fn sizes_of_networks() {
    let conv = |stride, padding| Conv2d { stride, padding, groups: 1 };
    for (x, weight, conv) in [
        ([3, 64, 17, 16], [64, 64, 3, 3], conv(1, 1)),
        ([20, 70, 4, 4], [130, 70, 3, 3], conv(1, 1)),
        ([9, 32, 15, 14], [64, 32, 1, 1], conv(2, 0)),
        ([9, 32, 15, 14], [48, 32, 3, 3], conv(2, 1)),
        ([2, 3, 50, 41], [64, 3, 7, 7], conv(2, 3)),
        ([33, 1, 9, 9], [16, 1, 3, 3], conv(1, 1)),
        ([2, 200, 3, 3], [20, 200, 3, 3], conv(1, 1)),
    ] {
        Case::new(x, weight, conv, 3).unwrap().check();
    }
}

/// A convolution is linear in x and in w, so a difference over any step is the derivative.
#[test]
fn gradients_are_finite_differences() {
    let conv = Conv2d { stride: 2, padding: 1, groups: 2 };
    let mut case = Case::new([2, 6, 7, 6], [4, 3, 3, 3], conv, 9).unwrap();
    let [_, of_x, of_weight] = case.ours(Form::Best);
    let loss = |case: &Case| {
        let mut sum = 0.0;
        case.terms(|y, x, w| sum += f64::from(case.grad[y]) * f64::from(case.x[x]) * f64::from(case.weight[w]));
        sum
    };
    for (index, of_x) in of_x.into_iter().enumerate() {
        let x = case.x[index];
        case.x[index] = x + 0.5;
        let above = loss(&case);
        case.x[index] = x - 0.5;
        let difference = (above - loss(&case)) / (f64::from(x + 0.5) - f64::from(x - 0.5));
        case.x[index] = x;
        assert!((difference - f64::from(of_x)).abs() < 1e-5, "x'[{index}]: {difference}, {of_x}");
    }
    for (index, of_weight) in of_weight.into_iter().enumerate() {
        let w = case.weight[index];
        case.weight[index] = w + 0.5;
        let above = loss(&case);
        case.weight[index] = w - 0.5;
        let difference = (above - loss(&case)) / (f64::from(w + 0.5) - f64::from(w - 0.5));
        case.weight[index] = w;
        assert!((difference - f64::from(of_weight)).abs() < 1e-5, "w'[{index}]: {difference}, {of_weight}");
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (x, weight, stride) in
        [([20, 33, 9, 7], [80, 33, 3, 3], 1), ([20, 16, 9, 7], [80, 16, 3, 3], 1), ([5, 18, 13, 13], [20, 18, 3, 3], 2)]
    {
        let case = Case::new(x, weight, Conv2d { stride, padding: 1, groups: 1 }, 4).unwrap();
        let of_threads = |count: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
            pool.install(|| case.ours(Form::Best)).map(|numbers| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let one = of_threads(1);
        for count in [2, 3, 7] {
            assert!(of_threads(count) == one, "{count} threads, {x:?}");
        }
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn tensor(shape: [usize; 4], rng: &mut ChaCha8Rng) -> Tensor {
    Tensor::from_vec(uniform(shape.iter().product(), rng), &shape, &Device::Cpu).unwrap()
}

fn assert_close(name: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.dims(), theirs.dims(), "{name}");
    for (a, b) in values(ours).iter().zip(values(theirs)) {
        assert!((a - b).abs() < 2e-5 || (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits(), "{name}: {a}, {b}");
    }
}

/// Where candle has the gradients: without groups.
#[test]
fn tensors_have_the_results_and_gradients_of_candle() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for (x, weight, stride, padding) in [
        ([3, 5, 9, 8], [7, 5, 3, 3], 1, 1),
        ([3, 5, 9, 9], [7, 5, 3, 3], 2, 1),
        ([2, 4, 8, 8], [6, 4, 1, 1], 1, 0),
        ([2, 4, 9, 9], [6, 4, 1, 1], 2, 0),
        ([2, 3, 12, 10], [6, 3, 5, 5], 1, 2),
    ] {
        let (x, weight) = (Var::from_tensor(&tensor(x, &mut rng)).unwrap(), Var::from_tensor(&tensor(weight, &mut rng)).unwrap());
        let conv = Conv2d { stride, padding, groups: 1 };
        let both = [conv2d, composed].map(|way| {
            let y = way(&x, &weight, conv).unwrap();
            // A gradient that is not contiguous.
            let y = y.transpose(1, 3).unwrap();
            let factors = tensor(<[usize; 4]>::try_from(y.dims()).unwrap(), &mut ChaCha8Rng::seed_from_u64(8));
            let grads = (&y * factors).unwrap().sum_all().unwrap().backward().unwrap();
            [y, grads.get(&x).unwrap().clone(), grads.get(&weight).unwrap().clone()]
        });
        for (name, (ours, theirs)) in ["y", "x'", "w'"].iter().zip(both[0].iter().zip(&both[1])) {
            assert_close(name, ours, theirs);
        }
    }
}

#[test]
fn other_layouts_types_and_no_images_work() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (x, weight) = (tensor([9, 2, 6, 5], &mut rng), tensor([3, 3, 5, 4], &mut rng));
    let (x, weight) = (x.transpose(0, 2).unwrap(), weight.transpose(1, 3).unwrap());
    let weight = weight.narrow(1, 1, 2).unwrap();
    let conv = Conv2d { stride: 1, padding: 2, groups: 1 };
    assert_close("layouts", &conv2d(&x, &weight, conv).unwrap(), &composed(&x, &weight, conv).unwrap());
    let double = |tensor: &Tensor| tensor.to_dtype(DType::F64).unwrap().contiguous().unwrap();
    let y = conv2d(&double(&x), &double(&weight), conv).unwrap();
    assert_close("f64", &conv2d(&x, &weight, conv).unwrap(), &y.to_dtype(DType::F32).unwrap());
    let none = Tensor::zeros((0, 2, 9, 5), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(conv2d(&none, &weight, conv).unwrap().dims(), [0, 3, 9, 7]);
}

#[test]
fn only_variables_get_gradients() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let (x, weight) = (tensor([2, 3, 5, 5], &mut rng), tensor([4, 3, 3, 3], &mut rng));
    let var = |tensor: &Tensor| Var::from_tensor(tensor).unwrap();
    let grads =
        |x: &Tensor, weight: &Tensor| conv2d(x, weight, Conv2d::default()).unwrap().sum_all().unwrap().backward().unwrap();
    let w = var(&weight);
    let of_weight = grads(&x, &w);
    assert!(of_weight.get(&x).is_none() && of_weight.get(&w).is_some());
    let v = var(&x);
    let of_x = grads(&v, &weight);
    assert!(of_x.get(&v).is_some() && of_x.get(&weight).is_none());
}

/// An infinite pixel, and one that is no number, reach the windows that hold them and no others.
#[test]
fn what_is_not_finite_passes_through() {
    for special in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        let mut case = Case::new([2, 40, 8, 9], [34, 40, 3, 3], Conv2d { stride: 1, padding: 1, groups: 1 }, 5).unwrap();
        // Away from the edges: infinity times the zeros around an image is no number, in candle too.
        let (x, grad) = (case.x.len() / 2 + 13, 12 * 72 + 2 * 9 + 4);
        case.x[x] = special;
        case.grad[grad] = special;
        let (expected, _) = case.by_definition();
        for form in Form::ALL {
            for (ours, expected) in case.ours(form).iter().zip(&expected) {
                let mut count = 0;
                for (index, (&ours, &expected)) in ours.iter().zip(expected).enumerate() {
                    // The same infinity, or no number.
                    let kind = |x: f64| (x.is_finite(), x.is_nan(), x > 0.0);
                    if !(ours.is_finite() && expected.is_finite()) {
                        assert_eq!(kind(f64::from(ours)), kind(expected), "{index}: {ours}, {expected}");
                        count += 1;
                    }
                }
                assert!(count > 0 && count < ours.len());
            }
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let error = |x: &[usize], weight: &[usize], conv: Conv2d| conv2d(&zeros(x), &zeros(weight), conv).unwrap_err().to_string();
    let default = Conv2d::default();
    for (x, weight, conv, expected) in [
        (&[3, 4, 5][..], &[1, 4, 3, 3][..], default, "[3, 4, 5] and [1, 4, 3, 3]"),
        (&[1, 4, 5, 5], &[2, 3, 3, 3], default, "weights [2, 3, 3, 3] do not fit images [1, 4, 5, 5]"),
        (&[1, 4, 5, 5], &[3, 2, 3, 3], Conv2d { groups: 2, ..default }, "with 2 groups"),
        (&[1, 4, 5, 5], &[3, 4, 3, 3], Conv2d { stride: 0, ..default }, "stride 0"),
        (&[1, 4, 5, 5], &[3, 4, 3, 3], Conv2d { groups: 0, ..default }, "0 groups"),
        (&[1, 4, 5, 2], &[3, 4, 3, 3], default, "do not fit into images [1, 4, 5, 2]"),
        (&[1, 4, 5, 2], &[3, 4, 3, 0], default, "do not fit into images"),
        (&[1, 4, 5, 5], &[3, 4, 3, 3], Conv2d { padding: usize::MAX, ..default }, "do not fit into images"),
    ] {
        let error = error(x, weight, conv);
        assert!(error.contains(expected), "{error}");
    }
}
