use candle_core::{DType, Device, Tensor, Var};
use proptest::prelude::*;

use super::*;
use crate::add_relu;
use crate::testing::{assert_near, numbers, pass, reference, same_on_any_threads, uniform};

const EPS: f64 = 0.01;

/// Inputs x, γ, β and a gradient of the result.
fn inputs(shape: [usize; 4], seed: u64) -> [Tensor; 4] {
    let c = [shape[1]];
    [uniform(&shape, seed), uniform(&c, seed + 1), uniform(&c, seed + 2), uniform(&shape, seed + 3)]
}

/// Some statistics of c channels.
fn given_statistics(c: usize) -> [Tensor; 2] {
    [uniform(&[c], 100), (uniform(&[c], 101).sqr().unwrap() + 0.3).unwrap()]
}

/// The definition, in f64; `given` statistics or those of x. What stands before max(0, ·) if `relu` is false.
fn defined(x: &[f64], gamma: &[f64], beta: &[f64], given: Option<&[Vec<f64>; 2]>, plane: usize, relu: bool) -> Vec<f64> {
    let c = gamma.len();
    let mut y = vec![0.0; x.len()];
    for channel in 0..c {
        let places: Vec<usize> = (0..x.len()).filter(|i| i / plane % c == channel).collect();
        let mean_of = |f: &dyn Fn(f64) -> f64| places.iter().map(|&i| f(x[i])).sum::<f64>() / places.len() as f64;
        let mean = given.map_or_else(|| mean_of(&|x| x), |given| given[0][channel]);
        let variance = given.map_or_else(|| mean_of(&|x| (x - mean).powi(2)), |given| given[1][channel]);
        for i in places {
            let normalized = gamma[channel] * (x[i] - mean) / (variance + EPS).sqrt() + beta[channel];
            y[i] = if relu { normalized.max(0.0) } else { normalized };
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn as_defined(
        shape in [1..5_usize, 1..4_usize, 1..6_usize, 1..7_usize], seed in 0..1000_u64, relu: bool, given: bool,
    ) {
        let [x, gamma, beta, g] = inputs(shape, seed);
        let [mean, variance] = given_statistics(shape[1]);
        let wide = |t: &Tensor| -> Vec<f64> { numbers(t).into_iter().map(f64::from).collect() };
        let of_definition = given.then(|| [wide(&mean), wide(&variance)]);
        let plane = shape[2] * shape[3];
        let define = |inputs: &[Vec<f64>], relu| {
            defined(&inputs[0], &inputs[1], &inputs[2], of_definition.as_ref(), plane, relu)
        };
        // Differences are no slopes where max(0, ·) bends.
        let before = define(&[wide(&x), wide(&gamma), wide(&beta)], false);
        prop_assume!(!relu || before.iter().all(|y| y.abs() > 1e-3));
        let vars = [&x, &gamma, &beta];
        let ours = pass(&vars, &g, |t| {
            if given {
                batch_norm_with(&t[0], &t[1], &t[2], &mean, &variance, EPS, relu)
            } else {
                Ok(batch_norm(&t[0], &t[1], &t[2], EPS, relu)?.y)
            }
        });
        ours.assert_near(&reference(&vars, &g, |inputs| define(inputs, relu)), 2e-5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn with_a_shortcut_as_defined(shape in [1..5_usize, 1..4_usize, 1..6_usize, 1..7_usize], seed in 0..1000_u64) {
        let [x, gamma, beta, g] = inputs(shape, seed);
        let shortcut = uniform(&shape, seed + 4);
        let define = |inputs: &[Vec<f64>]| -> Vec<f64> {
            let y = defined(&inputs[0], &inputs[1], &inputs[2], None, shape[2] * shape[3], false);
            y.iter().zip(&inputs[3]).map(|(y, s)| y + s).collect()
        };
        let vars = [&x, &gamma, &beta, &shortcut];
        let before = reference(&vars, &g, define).y;
        prop_assume!(before.iter().all(|y| y.abs() > 1e-3));
        let theirs = reference(&vars, &g, |inputs| define(inputs).into_iter().map(|y| y.max(0.0)).collect());
        let ours = pass(&vars, &g, |t| Ok(batch_norm_add_relu(&t[0], &t[1], &t[2], &t[3], EPS)?.y));
        ours.assert_near(&theirs, 2e-5);
    }
}

/// Sizes that take several parts, several blocks of sums, and planes that no vector divides.
#[test]
fn as_composed_on_larger_images() {
    for shape in [[3, 5, 67, 33], [2, 3, 131, 130], [40, 48, 4, 4], [70, 300, 1, 1]] {
        for relu in [false, true] {
            let [x, gamma, beta, g] = inputs(shape, 7);
            let vars = [&x, &gamma, &beta];
            let ours = pass(&vars, &g, |t| Ok(batch_norm(&t[0], &t[1], &t[2], EPS, relu)?.y));
            ours.assert_near(&pass(&vars, &g, |t| Ok(composed(&t[0], &t[1], &t[2], EPS, relu)?.y)), 2e-4);
            let (ours, theirs) = (batch_norm(&x, &gamma, &beta, EPS, relu), composed(&x, &gamma, &beta, EPS, relu));
            let (ours, theirs) = (ours.unwrap(), theirs.unwrap());
            assert_near(&numbers(&ours.mean), &numbers(&theirs.mean), 1e-6);
            assert_near(&numbers(&ours.variance), &numbers(&theirs.variance), 1e-5);

            let [mean, variance] = given_statistics(shape[1]);
            let ours = pass(&vars, &g, |t| batch_norm_with(&t[0], &t[1], &t[2], &mean, &variance, EPS, relu));
            let theirs = pass(&vars, &g, |t| composed_with(&t[0], &t[1], &t[2], &mean, &variance, EPS, relu));
            ours.assert_near(&theirs, 2e-4);
        }
        let [x, gamma, beta, g] = inputs(shape, 7);
        let shortcut = uniform(&shape, 11);
        let vars = [&x, &gamma, &beta, &shortcut];
        let ours = pass(&vars, &g, |t| Ok(batch_norm_add_relu(&t[0], &t[1], &t[2], &t[3], EPS)?.y));
        let theirs = pass(&vars, &g, |t| add_relu(&composed(&t[0], &t[1], &t[2], EPS, false)?.y, &t[3]));
        ours.assert_near(&theirs, 2e-4);
    }
}

#[test]
fn accurate_far_from_zero() {
    let shape = [6, 2, 30, 31];
    let x = (uniform(&shape, 1) + 1000.0).unwrap();
    let (gamma, beta) = (uniform(&[2], 2), uniform(&[2], 3));
    let wide = |t: &Tensor| -> Vec<f64> { numbers(t).into_iter().map(f64::from).collect() };
    let ours = batch_norm(&x, &gamma, &beta, EPS, false).unwrap();
    assert_near(&numbers(&ours.y), &defined(&wide(&x), &wide(&gamma), &wide(&beta), None, 30 * 31, false), 2e-6);
    for (channel, variance) in numbers(&ours.variance).into_iter().enumerate() {
        let values = wide(&x.narrow(1, channel, 1).unwrap());
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let exact = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!((f64::from(variance) / exact - 1.0).abs() < 1e-6, "{variance} instead of {exact}");
    }
}

#[test]
fn the_same_on_any_number_of_threads() {
    let [x, gamma, beta, g] = inputs([5, 7, 41, 43], 3);
    let [mean, variance] = given_statistics(7);
    same_on_any_threads(|| {
        let batch = batch_norm(&x, &gamma, &beta, EPS, true).unwrap();
        let vars = [&x, &gamma, &beta];
        let given = pass(&vars, &g, |t| batch_norm_with(&t[0], &t[1], &t[2], &mean, &variance, EPS, true));
        let pass = pass(&vars, &g, |t| Ok(batch_norm(&t[0], &t[1], &t[2], EPS, true)?.y));
        let shortcut = [&x, &gamma, &beta, &g];
        let add_relu = crate::testing::pass(&shortcut, &g, |t| Ok(batch_norm_add_relu(&t[0], &t[1], &t[2], &t[3], EPS)?.y));
        (pass, given, add_relu, numbers(&batch.mean), numbers(&batch.variance))
    });
}

/// What is not a number stays in its channel, and is found again where candle has it.
#[test]
fn nan_and_infinity_pass_through() {
    let shape = [2, 3, 3, 3];
    for (special, where_special) in [(f32::NAN, 0), (f32::INFINITY, 20), (f32::NEG_INFINITY, 44)] {
        let [x, gamma, beta, g] = inputs(shape, 5);
        let with = |t: &Tensor| {
            let mut values = numbers(t);
            values[where_special] = special;
            Tensor::from_vec(values, t.shape(), t.device()).unwrap()
        };
        for (x, g) in [(with(&x), g.clone()), (x.clone(), with(&g))] {
            let vars = [&x, &gamma, &beta];
            for relu in [false, true] {
                let of_batch = [
                    pass(&vars, &g, |t| Ok(batch_norm(&t[0], &t[1], &t[2], EPS, relu)?.y)),
                    pass(&vars, &g, |t| Ok(composed(&t[0], &t[1], &t[2], EPS, relu)?.y)),
                ];
                let [mean, variance] = given_statistics(3);
                let given = [
                    pass(&vars, &g, |t| batch_norm_with(&t[0], &t[1], &t[2], &mean, &variance, EPS, relu)),
                    pass(&vars, &g, |t| composed_with(&t[0], &t[1], &t[2], &mean, &variance, EPS, relu)),
                ];
                for [ours, theirs] in [of_batch, given] {
                    let same =
                        |(x, y): (&f32, &f32)| x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan() || (x - y).abs() < 1e-5;
                    assert!(ours.y.iter().zip(&theirs.y).all(same), "{special}, relu {relu}");
                    // Sums of several infinite terms are infinite or not a number, by their order.
                    let same = |pair| same(pair) || !pair.0.is_finite() && !pair.1.is_finite();
                    let (ours, theirs) = (ours.gradients.concat(), theirs.gradients.concat());
                    assert!(ours.iter().zip(&theirs).all(same), "{special}, relu {relu}: {ours:?} instead of {theirs:?}");
                    assert!(ours.iter().any(|x| !x.is_finite()));
                }
            }
        }
    }
}

#[test]
fn nothing_passes_where_the_result_is_zero() {
    let x = uniform(&[2, 1, 3, 3], 1);
    let (gamma, beta) = (uniform(&[1], 2), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
    let zero = gamma.zeros_like().unwrap();
    let pass = pass(&[&x, &zero, &beta], &x.ones_like().unwrap(), |t| Ok(batch_norm(&t[0], &t[1], &t[2], EPS, true)?.y));
    assert!(pass.gradients.concat().iter().all(|&g| g == 0.0));
    let vars = [&x, &zero, &beta, &x.zeros_like().unwrap()];
    let pass =
        crate::testing::pass(&vars, &x.ones_like().unwrap(), |t| Ok(batch_norm_add_relu(&t[0], &t[1], &t[2], &t[3], EPS)?.y));
    assert!(pass.gradients.concat().iter().all(|&g| g == 0.0));
}

#[test]
fn constants_get_no_gradient() {
    let [x, gamma, beta, _] = inputs([2, 3, 4, 4], 1);
    let [mean, variance] = given_statistics(3).map(|t| Var::from_tensor(&t).unwrap());
    for tracked in 0..3 {
        let var = Var::from_tensor([&x, &gamma, &beta][tracked]).unwrap();
        let t: Vec<&Tensor> =
            [&x, &gamma, &beta].into_iter().enumerate().map(|(i, t)| if i == tracked { &var } else { t }).collect();
        let of_batch = batch_norm(t[0], t[1], t[2], EPS, true).unwrap();
        assert!(!of_batch.mean.track_op() && !of_batch.variance.track_op());
        let given = batch_norm_with(t[0], t[1], t[2], &mean, &variance, EPS, true).unwrap();
        for y in [of_batch.y, given] {
            let gradients = y.sum_all().unwrap().backward().unwrap();
            let got: Vec<bool> = t.iter().map(|t| gradients.get(t).is_some()).collect();
            assert_eq!(got, (0..3).map(|i| i == tracked).collect::<Vec<_>>());
            assert!(gradients.get(&mean).is_none() && gradients.get(&variance).is_none());
        }
    }
}

#[test]
fn constants_get_no_gradient_beside_a_shortcut() {
    let [x, gamma, beta, shortcut] = inputs([2, 3, 4, 4], 1);
    for tracked in 0..4 {
        let var = Var::from_tensor([&x, &gamma, &beta, &shortcut][tracked]).unwrap();
        let pick = |i: usize, t: &Tensor| if i == tracked { var.as_tensor().clone() } else { t.clone() };
        let t: Vec<Tensor> = [&x, &gamma, &beta, &shortcut].into_iter().enumerate().map(|(i, t)| pick(i, t)).collect();
        let y = batch_norm_add_relu(&t[0], &t[1], &t[2], &t[3], EPS).unwrap().y;
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let got: Vec<bool> = t.iter().map(|t| gradients.get(t).is_some()).collect();
        assert_eq!(got, (0..4).map(|i| i == tracked).collect::<Vec<_>>());
    }
}

/// Other types and layouts are composed of candle's operations.
#[test]
fn other_types_and_layouts() {
    let [x, gamma, beta, _] = inputs([3, 2, 4, 5], 1);
    let ours = numbers(&batch_norm(&x, &gamma, &beta, EPS, false).unwrap().y);
    let double = [&x, &gamma, &beta].map(|t| t.to_dtype(DType::F64).unwrap());
    let y = batch_norm(&double[0], &double[1], &double[2], EPS, false).unwrap().y.to_dtype(DType::F32).unwrap();
    assert_near(&ours, &numbers(&y), 1e-5);
    let turned = x.transpose(0, 2).unwrap().contiguous().unwrap().transpose(0, 2).unwrap();
    assert_near(&ours, &numbers(&batch_norm(&turned, &gamma, &beta, EPS, false).unwrap().y), 1e-5);
}

#[test]
fn shapes_that_do_not_fit_are_errors() {
    let [x, gamma, beta, _] = inputs([2, 3, 4, 4], 1);
    let [short, _, _, _] = inputs([1, 1, 1, 2], 1);
    let short = short.flatten_all().unwrap();
    let error = |result: Result<Tensor>| result.unwrap_err().to_string();
    let of = |x: &Tensor, gamma: &Tensor, beta: &Tensor| batch_norm(x, gamma, beta, EPS, true).map(|normed| normed.y);
    assert!(error(of(&short, &gamma, &beta)).contains("not [2]"));
    for message in [error(of(&x, &short, &beta)), error(batch_norm_with(&x, &short, &beta, &gamma, &gamma, EPS, true))] {
        assert!(message.contains("[2, 3, 4, 4] needs 3 numbers as gamma") && message.contains("not [2]"), "{message}");
    }
    assert!(error(of(&x, &gamma, &short)).contains("as beta"));
    assert!(error(batch_norm_with(&x, &gamma, &beta, &short, &gamma, EPS, true)).contains("as mean"));
    assert!(error(batch_norm_with(&x, &gamma, &beta, &gamma, &short, EPS, true)).contains("as variance"));
    let message = error(batch_norm_add_relu(&x, &gamma, &beta, &gamma, EPS).map(|normed| normed.y));
    assert!(message.contains("[3] cannot be added to a normalized [2, 3, 4, 4]"), "{message}");
    // Nothing to normalize is no reason to panic.
    let nothing = Tensor::zeros((0, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let _ = of(&nothing, &gamma, &beta);
}
