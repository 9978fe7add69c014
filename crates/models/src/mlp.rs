use candle_core::{Device, Result, Tensor, Var};
use rand::Rng;

use crate::{Linear, Mode, Model, Parameter, ParameterKind};

/// What stands between the layers of an [`Mlp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// x: a deep linear network.
    Identity,
}

/// A multilayer perceptron: `x ↦ W_L φ(⋯ φ(W_1 x + b_1) ⋯) + b_L`.
///
/// Its parameters are called `layers.0.weight`, `layers.0.bias`, …; the last layer is the head.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use isorate_models::{Activation, Mlp};
/// use rand::SeedableRng as _;
///
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let mlp = Mlp::new(&[784, 200, 10], Activation::Relu, true, &mut rng, &Device::Cpu)?;
/// let logits = mlp.forward(&Tensor::zeros((32, 784), DType::F32, &Device::Cpu)?)?;
/// assert_eq!(logits.dims(), [32, 10]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mlp {
    layers: Vec<Linear>,
    activation: Activation,
}

impl Mlp {
    /// A network with `widths.len() − 1` layers that maps `widths[0]` inputs to the last width's outputs; initialized
    /// layer by layer, from the input on, as [`Linear::new`] does.
    ///
    /// # Errors
    /// Fewer than two widths, or a width of 0.
    pub fn new(widths: &[usize], activation: Activation, bias: bool, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        if widths.len() < 2 || widths.contains(&0) {
            candle_core::bail!("an MLP needs at least two widths, all positive; got {widths:?}");
        }
        let layers =
            widths.windows(2).map(|pair| Linear::new(pair[0], pair[1], bias, rng, device)).collect::<Result<Vec<_>>>()?;
        Ok(Self { layers, activation })
    }

    /// Logits \[batch, classes\] for inputs \[batch, `widths[0]`\].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.logits(x, Mode::Train)
    }

    /// The layers, from the input on.
    pub fn layers(&self) -> &[Linear] {
        &self.layers
    }

    /// All parameters with their names, from the input on.
    pub fn named_parameters(&self) -> Vec<(String, Var)> {
        self.parameters().into_iter().map(|parameter| (parameter.name, parameter.var)).collect()
    }
}

impl Model for Mlp {
    fn logits(&self, inputs: &Tensor, mode: Mode) -> Result<Tensor> {
        let last = self.layers.len() - 1;
        let mut x = inputs.clone();
        for layer in &self.layers[..last] {
            x = match self.activation {
                Activation::Relu => layer.forward_relu_in(&x, mode)?,
                Activation::Identity => layer.forward_in(&x, mode)?,
            };
        }
        self.layers[last].forward_in(&x, mode)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let last = self.layers.len() - 1;
        let of_layer = |(i, layer): (usize, &Linear)| {
            let kind = if i == last { ParameterKind::Head } else { ParameterKind::Matrix };
            layer.parameters(&format!("layers.{i}"), kind)
        };
        self.layers.iter().enumerate().flat_map(of_layer).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn mlp(seed: u64, activation: Activation) -> Mlp {
        Mlp::new(&[3, 5, 4, 2], activation, true, &mut ChaCha8Rng::seed_from_u64(seed), &Device::Cpu).unwrap()
    }

    fn values(mlp: &Mlp) -> Vec<(String, Vec<f32>)> {
        let flat = |var: &Var| var.flatten_all().unwrap().to_vec1().unwrap();
        mlp.named_parameters().into_iter().map(|(name, var)| (name, flat(&var))).collect()
    }

    #[test]
    fn the_seed_decides_every_weight() {
        assert_eq!(values(&mlp(1, Activation::Relu)), values(&mlp(1, Activation::Relu)));
        assert_ne!(values(&mlp(1, Activation::Relu)), values(&mlp(2, Activation::Relu)));
    }

    #[test]
    fn names_and_limits_are_those_of_pytorch() {
        let named = values(&mlp(3, Activation::Relu));
        let names: Vec<_> = named.iter().map(|(name, _)| name.as_str()).collect();
        let expected =
            ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.2.weight", "layers.2.bias"];
        assert_eq!(names, expected);
        for (inputs, (name, values)) in [3f32, 3.0, 5.0, 5.0, 4.0, 4.0].into_iter().zip(&named) {
            let limit = 1.0 / inputs.sqrt();
            assert!(values.iter().all(|value| value.abs() <= limit), "{name}");
            assert!(values.iter().any(|value| value.abs() > 0.3 * limit), "{name}");
        }
    }

    /// The forward pass against the same sums written out in f64.
    #[test]
    fn forward_is_the_formula() {
        for activation in [Activation::Relu, Activation::Identity] {
            let mlp = mlp(4, activation);
            let x = [[0.3f32, -1.2, 2.0], [1.0, 0.1, -0.7]];
            let logits: Vec<Vec<f32>> = mlp.forward(&Tensor::new(&x, &Device::Cpu).unwrap()).unwrap().to_vec2().unwrap();
            for (row, logits) in x.iter().zip(&logits) {
                let mut h: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
                for (i, layer) in mlp.layers().iter().enumerate() {
                    let w: Vec<Vec<f32>> = layer.weight().to_vec2().unwrap();
                    let b: Vec<f32> = layer.bias().unwrap().to_vec1().unwrap();
                    if i > 0 && activation == Activation::Relu {
                        for v in &mut h {
                            *v = v.max(0.0);
                        }
                    }
                    h = w
                        .iter()
                        .zip(&b)
                        .map(|(w, &b)| w.iter().zip(&h).map(|(&w, h)| f64::from(w) * h).sum::<f64>() + f64::from(b))
                        .collect();
                }
                for (a, b) in logits.iter().zip(&h) {
                    assert!((f64::from(*a) - b).abs() < 1e-6, "{a} against {b}");
                }
            }
        }
    }

    #[test]
    fn impossible_widths_are_refused() {
        for widths in [&[3][..], &[], &[3, 0, 2]] {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let error = Mlp::new(widths, Activation::Relu, true, &mut rng, &Device::Cpu).unwrap_err();
            assert!(error.to_string().contains("at least two widths"));
        }
    }
}
