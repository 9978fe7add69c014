//! The implementations of the iteration against its definition and against each other: slices and candle's operations,
//! plain and Gram form.

use candle_core::{DType, Device, Tensor};
use isorate_kernels::Threads;

use super::schedule::{Iteration, Normalization};
use super::testing::{norm, normal, with_condition};
use super::{NewtonSchulz, OddPolynomial, slices, tensors};

fn values(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// ‖a − b‖_F/‖b‖_F
fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (values(a), values(b));
    let difference: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(&b)
}

fn by_slices(iteration: &Iteration<'_>, x: &Tensor) -> Tensor {
    slices::apply(iteration, x, x.dtype(), Threads::One).unwrap()
}

fn by_tensors(iteration: &Iteration<'_>, x: &Tensor) -> Tensor {
    tensors::apply(iteration, &x.unsqueeze(0).unwrap(), x.dtype()).unwrap().squeeze(0).unwrap()
}

/// The definition, step by step, for a matrix whose normalization divides by `divisor`.
fn by_definition(iteration: &Iteration<'_>, x: &Tensor, divisor: f64) -> Tensor {
    let mut x = (x.to_dtype(DType::F64).unwrap() / divisor).unwrap();
    for [a, b, c] in iteration.steps.iter() {
        let gram = x.matmul(&x.t().unwrap()).unwrap();
        let polynomial = ((&gram * *b).unwrap() + (gram.matmul(&gram).unwrap() * *c).unwrap()).unwrap();
        x = ((&x * *a).unwrap() + polynomial.matmul(&x).unwrap()).unwrap();
    }
    x
}

#[test]
fn singular_values_go_through_the_known_maps() {
    // σ after normalization, and its image under Jordan ×5, You, Polar Express, Jordan ×3; from the coefficients alone, in
    // float64.
    let table = [
        (1.0, [0.696_436, 0.978_346, 0.859_129, 0.720_706]),
        (0.5, [0.765_439, 0.985_869, 0.910_611, 0.824_367]),
        (0.1, [0.712_120, 1.019_050, 1.059_161, 0.707_080]),
        (0.01, [0.698_917, 1.018_025, 1.027_110, 0.400_062]),
        (0.001, [0.470_544, 0.474_982, 0.858_873, 0.040_859]),
    ];
    let (you, polar) = (OddPolynomial::you(), OddPolynomial::polar_express());
    let (five, three) = (NewtonSchulz::jordan(5).iteration(), NewtonSchulz::jordan(3).iteration());
    for (column, iteration) in [five, you.iteration(), polar.iteration(), three].into_iter().enumerate() {
        // The table is about σ as it enters the first polynomial.
        let mut iteration = iteration;
        iteration.normalization = Normalization { factor: 0.0, added: 1.0 };
        for (sigma, images) in table {
            // A diagonal matrix goes through the same products as any other. The square one takes the plain form, the
            // others the Gram form.
            for shape in [[2, 2], [2, 3], [3, 2]] {
                let mut x = vec![0.0; shape[0] * shape[1]];
                (x[0], x[shape[1] + 1]) = (sigma, 0.3);
                let x = Tensor::from_vec(x, &shape, &Device::Cpu).unwrap();
                for (dtype, tolerance) in [(DType::F64, 6e-7), (DType::F32, 1e-5)] {
                    let x = x.to_dtype(dtype).unwrap();
                    for image in [by_slices(&iteration, &x), by_tensors(&iteration, &x)] {
                        let image = values(&image)[0];
                        assert!((image - images[column]).abs() < tolerance, "{} of {sigma}: {image}", iteration.name);
                    }
                }
            }
        }
    }
}

#[test]
fn ranges_are_those_documented() {
    fn image(steps: &[[f64; 3]], sigma: f64) -> f64 {
        steps.iter().fold(sigma, |x, [a, b, c]| a * x + b * x.powi(3) + c * x.powi(5))
    }
    let (you, polar) = (OddPolynomial::you(), OddPolynomial::polar_express());
    let five = NewtonSchulz::jordan(5).iteration();
    for (steps, smallest, range) in [
        (&five.steps[..], 0.01, (0.682, 1.134)),
        (you.coefficients(), 0.01, (0.978, 1.032)),
        (polar.coefficients(), 0.001, (0.859, 1.141)),
    ] {
        let mut found = (f64::INFINITY, 0.0_f64);
        for i in 0..=100_000 {
            let y = image(steps, smallest + (1.0 - smallest) * f64::from(i) / 1e5);
            found = (found.0.min(y), found.1.max(y));
        }
        // The documentation rounds to three digits.
        assert!((found.0 - range.0).abs() < 6e-4 && (found.1 - range.1).abs() < 6e-4, "{found:?}");
    }
}

#[test]
fn every_path_follows_the_definition() {
    let custom = OddPolynomial::custom(vec![[1.5, -0.5, 0.0], [3.0, -3.2, 1.2], [1.875, -1.25, 0.375]]);
    let (you, polar) = (OddPolynomial::you(), OddPolynomial::polar_express());
    let iterations = [1, 2, 5, 6, 11].map(|steps| NewtonSchulz::jordan(steps).iteration());
    for iteration in iterations.into_iter().chain([you.iteration(), polar.iteration(), custom.iteration()]) {
        for shape in [(1, 1), (1, 7), (7, 1), (5, 5), (6, 40), (40, 6), (130, 131), (131, 130), (70, 70)] {
            let x = with_condition(shape, 30.0, 5);
            let divisor = iteration.normalization.divisor(norm(&values(&x)));
            let defined = by_definition(&iteration, &x, divisor);
            for (name, result) in [("slices", by_slices(&iteration, &x)), ("tensors", by_tensors(&iteration, &x))] {
                let error = relative(&result, &defined);
                assert!(error < 1e-10, "{name}, {}, {shape:?}: {error:e}", iteration.name);
            }
            let single = x.to_dtype(DType::F32).unwrap();
            for (name, result) in [("slices", by_slices(&iteration, &single)), ("tensors", by_tensors(&iteration, &single))] {
                let error = relative(&result, &defined);
                assert!(error < 1e-3, "{name} in f32, {}, {shape:?}: {error:e}", iteration.name);
            }
        }
    }
}

#[test]
fn both_paths_normalize_alike() {
    for iteration in [NewtonSchulz::jordan(1).iteration(), OddPolynomial::polar_express().iteration()] {
        for shape in [(3, 3), (3, 5), (5, 3)] {
            // Below 1e-7 the norm is not brought to 1, and in the extremes squares leave the range of the type.
            for scale in [0.0, 1e-300, 1e-170, 1e-20, 1e-9, 1e-8, 1e-7, 1.0, 1e20, 1e170, 1e300, 1e307] {
                let x = (normal(shape, 3) * scale).unwrap();
                let (a, b) = (by_slices(&iteration, &x), by_tensors(&iteration, &x));
                assert!(values(&a).iter().all(|x| x.is_finite()));
                if scale < 1e-100 {
                    assert!(norm(&values(&a)) < 1e-90 && norm(&values(&b)) < 1e-90);
                } else {
                    assert!(relative(&a, &b) < 1e-12, "{shape:?} {scale:e}");
                }
            }
            for scale in [0.0_f64, 1e-40, 1e-30, 1e-8, 1.0, 1e20, 1e37] {
                let x = (normal(shape, 3) * scale).unwrap().to_dtype(DType::F32).unwrap();
                let (a, b) = (by_slices(&iteration, &x), by_tensors(&iteration, &x));
                assert!(values(&a).iter().chain(&values(&b)).all(|x| x.is_finite()));
                if scale > 1e-37 {
                    assert!(relative(&a, &b) < 1e-5, "{shape:?} {scale:e}");
                }
            }
        }
    }
}

#[test]
fn a_stack_has_the_bits_of_its_matrices() {
    for iteration in [NewtonSchulz::default().iteration(), OddPolynomial::polar_express().iteration()] {
        for shape in [(6, 6), (4, 9), (9, 4)] {
            let mut matrices: Vec<Tensor> = (0..4).map(|seed| normal(shape, seed)).collect();
            matrices[2] = matrices[2].zeros_like().unwrap();
            for dtype in [DType::F16, DType::F32, DType::F64] {
                let stack = tensors::apply(&iteration, &Tensor::stack(&matrices, 0).unwrap(), dtype).unwrap();
                for (i, matrix) in matrices.iter().enumerate() {
                    let alone = tensors::apply(&iteration, &matrix.unsqueeze(0).unwrap(), dtype).unwrap();
                    assert_eq!(values(&stack.get(i).unwrap()), values(&alone));
                }
                assert!(values(&stack.get(2).unwrap()).iter().all(|&x| x == 0.0));
            }
        }
    }
}
