//! Results and gradients against those of PyTorch; pytorch/make.py makes the numbers.
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

use std::collections::{BTreeMap, HashMap};

use candle_core::{Device, Result, Tensor, Var, safetensors};
use isorate_kernels::{add_relu, avg_pool2d, batch_norm, batch_norm_with, cross_entropy, global_avg_pool, max_pool2d};

/// The tensors of a case, by name.
struct Case {
    name: String,
    tensors: HashMap<String, Tensor>,
}

impl Case {
    /// All whose name begins with the given word.
    fn all(word: &str) -> Vec<Self> {
        let file = include_bytes!("pytorch/around_convolutions.safetensors");
        let tensors = safetensors::load_buffer(file, &Device::Cpu).unwrap();
        let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
        let mut cases: BTreeMap<String, Self> = BTreeMap::new();
        for (name, tensor) in tensors {
            let (case, name) = name.split_once('/').unwrap();
            if case.split(' ').next() == Some(word) {
                let new = || Self { name: case.to_owned(), tensors: HashMap::new() };
                cases.entry(case.to_owned()).or_insert_with(new).tensors.insert(name.to_owned(), tensor);
            }
        }
        assert!(!cases.is_empty(), "{word}");
        cases.into_values().collect()
    }

    fn get(&self, name: &str) -> &Tensor {
        &self.tensors[name]
    }

    /// The numbers in the name.
    fn numbers<const N: usize>(&self) -> [usize; N] {
        let numbers: Vec<usize> = self.name.split(' ').filter_map(|word| word.parse().ok()).collect();
        numbers.try_into().unwrap()
    }

    /// Compares the result y and the gradients of `inputs`.
    fn check(&self, inputs: &[&str], op: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let vars: Vec<Var> = inputs.iter().map(|name| Var::from_tensor(self.get(name)).unwrap()).collect();
        let y = op(&vars.iter().map(|var| var.as_tensor().clone()).collect::<Vec<_>>()).unwrap();
        self.near("y", &y);
        let gradients = (y * self.get("g")).unwrap().sum_all().unwrap().backward().unwrap();
        for (name, var) in inputs.iter().zip(&vars) {
            self.near(&format!("d{name}"), gradients.get(var).unwrap());
        }
    }

    fn near(&self, name: &str, ours: &Tensor) {
        let expected = self.get(name);
        assert_eq!(ours.dims(), expected.dims(), "{} of {}", name, self.name);
        let numbers = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, (x, y)) in numbers(ours).into_iter().zip(numbers(expected)).enumerate() {
            let same = x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()) || (x - y).abs() <= 2e-6 * y.abs().max(1.0);
            assert!(same, "{} of {}: {x} instead of {y} at {i}", name, self.name);
        }
    }
}

#[test]
fn pooling() {
    for case in Case::all("max_pool") {
        let [kernel, stride, padding] = case.numbers();
        case.check(&["x"], |t| max_pool2d(&t[0], kernel, stride, padding));
    }
    for case in Case::all("avg_pool") {
        let [kernel, stride] = case.numbers();
        case.check(&["x"], |t| avg_pool2d(&t[0], kernel, stride));
    }
    for case in Case::all("global_avg_pool") {
        case.check(&["x"], |t| global_avg_pool(&t[0]));
    }
}

#[test]
fn batch_normalization() {
    let vars = ["x", "gamma", "beta"];
    for case in Case::all("batch_norm") {
        let [relu] = case.numbers();
        case.check(&vars, |t| {
            let normed = batch_norm(&t[0], &t[1], &t[2], 1e-5, relu == 1)?;
            case.near("mean", &normed.mean);
            case.near("variance", &normed.variance);
            Ok(normed.y)
        });
    }
    for case in Case::all("batch_norm_with") {
        let [relu] = case.numbers();
        let (mean, variance) = (case.get("mean"), case.get("variance"));
        case.check(&vars, |t| batch_norm_with(&t[0], &t[1], &t[2], mean, variance, 1e-5, relu == 1));
    }
}

/// Also where the sum is exactly 0.
#[test]
fn sum_and_relu() {
    for case in Case::all("add_relu") {
        case.check(&["a", "b"], |t| add_relu(&t[0], &t[1]));
    }
}

#[test]
fn softmax_cross_entropy() {
    for case in Case::all("cross_entropy") {
        case.check(&["z"], |t| cross_entropy(&t[0], case.get("labels")));
    }
}
