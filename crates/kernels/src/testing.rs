//! What the tests of operations share.

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Uniform numbers between −1 and 1.
pub(crate) fn uniform(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

pub(crate) fn numbers(tensor: &Tensor) -> Vec<f32> {
    tensor.contiguous().unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub(crate) fn bits(tensor: &Tensor) -> Vec<u32> {
    numbers(tensor).into_iter().map(f32::to_bits).collect()
}

/// A result, and the gradients of the inputs for a given gradient of the result.
#[derive(Debug, PartialEq)]
pub(crate) struct Pass<T> {
    pub y: Vec<T>,
    pub gradients: Vec<Vec<T>>,
}

/// What `op` and its backward give for `inputs`, and for `g` as the gradient of the result.
pub(crate) fn pass(inputs: &[&Tensor], g: &Tensor, op: impl Fn(&[Tensor]) -> Result<Tensor>) -> Pass<f32> {
    let vars: Vec<Var> = inputs.iter().map(|input| Var::from_tensor(input).unwrap()).collect();
    let y = op(&vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>()).unwrap();
    let gradients = (&y * g).unwrap().sum_all().unwrap().backward().unwrap();
    Pass { y: numbers(&y), gradients: vars.iter().map(|var| numbers(gradients.get(var).unwrap())).collect() }
}

/// The same from `reference` in f64, with gradients from central differences.
pub(crate) fn reference(inputs: &[&Tensor], g: &Tensor, reference: impl Fn(&[Vec<f64>]) -> Vec<f64>) -> Pass<f64> {
    const STEP: f64 = 1e-5;
    let wide = |tensor: &Tensor| -> Vec<f64> { numbers(tensor).into_iter().map(f64::from).collect() };
    let (mut inputs, g): (Vec<_>, _) = (inputs.iter().map(|input| wide(input)).collect(), wide(g));
    let y = reference(&inputs);
    assert_eq!(y.len(), g.len());
    let mut gradients = Vec::new();
    for input in 0..inputs.len() {
        let mut gradient = Vec::new();
        for i in 0..inputs[input].len() {
            let x = inputs[input][i];
            let mut value = |x: f64| {
                inputs[input][i] = x;
                reference(&inputs).iter().zip(&g).map(|(y, g)| y * g).sum::<f64>()
            };
            gradient.push((value(x + STEP) - value(x - STEP)) / (2.0 * STEP));
            value(x);
        }
        gradients.push(gradient);
    }
    Pass { y, gradients }
}

impl Pass<f32> {
    /// Whether everything differs from `other` by at most `tolerance` times the largest number of its kind, or of 1.
    #[track_caller]
    pub fn assert_near<T: Copy + Into<f64>>(&self, other: &Pass<T>, tolerance: f64) {
        assert_near(&self.y, &other.y, tolerance);
        assert_eq!(self.gradients.len(), other.gradients.len());
        self.gradients.iter().zip(&other.gradients).for_each(|(ours, theirs)| assert_near(ours, theirs, tolerance));
    }
}

#[track_caller]
pub(crate) fn assert_near<T: Copy + Into<f64>>(ours: &[f32], theirs: &[T], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len());
    let theirs: Vec<f64> = theirs.iter().map(|&x| x.into()).collect();
    let largest = theirs.iter().fold(1.0, |largest: f64, x| largest.max(x.abs()));
    for (i, (&x, y)) in ours.iter().zip(&theirs).enumerate() {
        assert!((f64::from(x) - y).abs() <= tolerance * largest, "{x} instead of {y} at {i}, beside numbers up to {largest}");
    }
}

/// What `f` gives, the same for any number of threads.
#[track_caller]
pub(crate) fn same_on_any_threads<T: PartialEq + Send>(f: impl Fn() -> T + Sync) -> T {
    let on = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(&f);
    let one = on(1);
    for threads in [2, 3, 7] {
        assert!(on(threads) == one, "{threads} threads");
    }
    one
}
