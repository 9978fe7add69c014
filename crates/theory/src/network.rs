use crate::error::{Error, Result};

const DEEPEST: usize = 32;
const LARGEST_DELTA: f64 = 100.0;

/// A linear network W = W_L ⋯ W_1 with a balanced, aligned initialization: in the shared bases each layer is
/// w₀ times the identity, w₀ = e^{−δ}, so that α_c(0) = w₀^L (arXiv 2510.22980, the section on deep linear models).
///
/// Without δ it is the limit δ → ∞: every component starts at 0. For L = 1 that is the linear model with W(0) = 0. L = 2 is the
/// bilinear model, also known as the unconstrained-features model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    depth: usize,
    delta: Option<f64>,
}

impl Network {
    /// The linear model from W(0) = 0.
    pub const LINEAR: Self = Self { depth: 1, delta: None };

    /// L layers with initial values e^{−δ}, or the limit δ → ∞ if `delta` is `None`. L from 1 to 32, δ from 0 to 100.
    pub fn new(depth: usize, delta: Option<f64>) -> Result<Self> {
        if !(1..=DEEPEST).contains(&depth) {
            return Err(Error::setting(
                "depth",
                depth,
                format!("must be from 1 to {DEEPEST}"),
                "1 is the linear model, 2 the bilinear one",
            ));
        }
        if let Some(delta) = delta
            && !(0.0..=LARGEST_DELTA).contains(&delta)
        {
            return Err(Error::setting(
                "delta",
                delta,
                format!("must be from 0 to {LARGEST_DELTA} (layers start at exp(-delta))"),
                "leave delta out for the limit of a vanishing initialization",
            ));
        }
        Ok(Self { depth, delta })
    }

    /// The number L of layers.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// δ, or `None` in the limit δ → ∞.
    pub fn delta(&self) -> Option<f64> {
        self.delta
    }

    /// w₀ = e^{−δ}; 0 in the limit.
    pub fn layer_start(&self) -> f64 {
        self.delta.map_or(0.0, |delta| (-delta).exp())
    }

    /// L as an exponent.
    pub(crate) fn exponent(&self) -> i32 {
        i32::try_from(self.depth).expect("the depth is at most 32")
    }

    /// α(0) = w₀^L.
    pub(crate) fn start(&self) -> f64 {
        self.layer_start().powi(self.exponent())
    }

    /// Fails for two or more layers in the limit δ → ∞, where `rule` has no path away from the saddle at 0.
    pub(crate) fn require_delta(&self, rule: &'static str, reason: &str) -> Result<()> {
        if self.depth > 1 && self.delta.is_none() {
            return Err(Error::setting(
                "delta",
                format_args!("infinity"),
                format!("{rule} with depth = {} {reason}", self.depth),
                "give a finite initialization with --delta, such as --delta 5",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        assert!(Network::new(0, None).is_err());
        assert!(Network::new(33, None).is_err());
        assert!(Network::new(2, Some(-1.0)).is_err());
        assert!(Network::new(2, Some(f64::NAN)).is_err());
        let network = Network::new(3, Some(2.0)).expect("valid");
        assert!((network.start() - (-6.0_f64).exp()).abs() < 1e-16);
    }
}
