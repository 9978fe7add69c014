use candle_core::{Device, Result, Tensor, Var};
use isorate_kernels::layer_norm;

use crate::init::constant;
use crate::{Mode, Parameter, ParameterKind};

/// Layer normalization with a gain and a bias.
#[derive(Clone, Debug)]
pub(crate) struct LayerNorm {
    gamma: Var,
    beta: Var,
    eps: f64,
}

impl LayerNorm {
    /// Gains of 1 and biases of 0.
    pub fn new(width: usize, eps: f64, device: &Device) -> Result<Self> {
        Ok(Self { gamma: constant(1.0, width, device)?, beta: constant(0.0, width, device)?, eps })
    }

    pub fn forward(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        layer_norm(x, &mode.of(&self.gamma), &mode.of(&self.beta), self.eps)
    }

    /// Gain and bias under their names in the layer called `layer`.
    pub fn parameters(&self, layer: &str) -> [Parameter; 2] {
        [("weight", &self.gamma), ("bias", &self.beta)]
            .map(|(name, var)| Parameter::new(format!("{layer}.{name}"), ParameterKind::Vector, var))
    }
}
