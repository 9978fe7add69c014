//! What a probe hands over.

use serde::{Deserialize, Serialize};

use super::Spectrum;

/// What a [`SpectralProbe`](crate::SpectralProbe) saw in one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// The number of the step, as given to `before`.
    pub step: u64,
    /// Wall time in seconds that this record took, before and after the step together.
    pub seconds: f64,
    /// One record for each parameter, in the order given to the probe.
    pub params: Vec<ParamRecord>,
}

/// What a probe saw of one parameter in one step. Spectra are those of matrices; None where the configuration leaves
/// them out, and for vectors and scalars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ParamRecord {
    /// The parameter.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The weight W before the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Spectrum>,
    /// The gradient given to `before`. None also where the parameter has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradient: Option<Spectrum>,
    /// The update ΔW = W_after − W.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Spectrum>,
    /// The update relative to the weight.
    pub ratio: UpdateRatio,
}

/// The size of an update ΔW relative to the weight W before it. None (`null` in JSON) for a zero W.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpdateRatio {
    /// ‖ΔW‖_F/‖W‖_F, of tensors of any shape.
    pub frobenius: Option<f64>,
    /// ‖ΔW‖₂/‖W‖₂, of matrices whose weight and update spectra are recorded.
    pub spectral: Option<f64>,
}
