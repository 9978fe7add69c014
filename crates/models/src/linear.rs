use candle_core::{Device, Result, Tensor, Var};
use isorate_kernels::{affine, affine_relu};
use rand::Rng;

use crate::init::{constant, normal};
use crate::{Mode, Parameter, ParameterKind};

/// An affine map `y = x Wᵀ + b`, W: \[out, in\], b: \[out\], x: \[batch, in\], all `f32`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Var,
    bias: Option<Var>,
}

impl Linear {
    /// Draws weights, then biases, from U(−1/√in, 1/√in): the default of PyTorch's `nn.Linear`.
    pub fn new(inputs: usize, outputs: usize, bias: bool, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let limit = 1.0 / (inputs.max(1) as f32).sqrt();
        let mut draw = |count: usize| (0..count).map(|_| rng.random_range(-limit..limit)).collect::<Vec<f32>>();
        let weight = Var::from_vec(draw(outputs * inputs), (outputs, inputs), device)?;
        let bias = if bias { Some(Var::from_vec(draw(outputs), outputs, device)?) } else { None };
        Ok(Self { weight, bias })
    }

    /// Draws weights from N(0, `std`²); biases are 0.
    pub(crate) fn normal(inputs: usize, outputs: usize, std: f64, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let weight = normal((outputs, inputs), std, rng, device)?;
        Ok(Self { weight, bias: Some(constant(0.0, outputs, device)?) })
    }

    /// `x Wᵀ + b`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_in(x, Mode::Train)
    }

    /// The same, without a way back to W and b when evaluating.
    pub fn forward_in(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        affine(x, &mode.of(&self.weight), self.bias_in(mode).as_ref())
    }

    /// max(0, x Wᵀ + b).
    pub(crate) fn forward_relu_in(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        affine_relu(x, &mode.of(&self.weight), self.bias_in(mode).as_ref())
    }

    fn bias_in(&self, mode: Mode) -> Option<Tensor> {
        self.bias.as_ref().map(|bias| mode.of(bias))
    }

    /// W, \[out, in\].
    pub fn weight(&self) -> &Var {
        &self.weight
    }

    /// b, \[out\], if the map has one.
    pub fn bias(&self) -> Option<&Var> {
        self.bias.as_ref()
    }

    /// W and b under their names in the layer called `layer`.
    pub(crate) fn parameters(&self, layer: &str, kind: ParameterKind) -> Vec<Parameter> {
        let weight = Parameter::new(format!("{layer}.weight"), kind, &self.weight);
        let bias = self.bias.as_ref().map(|bias| Parameter::new(format!("{layer}.bias"), ParameterKind::Vector, bias));
        std::iter::once(weight).chain(bias).collect()
    }
}
