use crate::error::{Error, Result};

/// The spectral components of jointly diagonalizable moments (Condition 1 of arXiv 2510.22980).
///
/// With Σ_yx = E\[y xᵀ\] = U S_yx Vᵀ and Σ_xx = E\[x xᵀ\] = V S_xx Vᵀ, component c has the pair (s_yx,c, s_xx,c). The
/// population square loss then decouples in α_c = \[Uᵀ W V\]_cc: its gradient is s_xx,c α_c − s_yx,c, and every rule that
/// converges has the limit a_c* = s_yx,c / s_xx,c.
#[derive(Debug, Clone, PartialEq)]
pub struct Components {
    cross: Vec<f64>,
    second: Vec<f64>,
    dim: usize,
}

impl Components {
    /// The components (s_yx,c, s_xx,c) of a k×`dim` linear model; all values positive and finite, both lists of the same
    /// length k ≤ `dim`.
    pub fn new(s_yx: Vec<f64>, s_xx: Vec<f64>, dim: usize) -> Result<Self> {
        if s_yx.is_empty() || s_yx.len() != s_xx.len() {
            return Err(Error::setting(
                "s_xx",
                s_xx.len(),
                format!("must have as many entries as s_yx ({}), and at least one", s_yx.len()),
                "give one pair (s_yx, s_xx) for each component",
            ));
        }
        if dim < s_yx.len() {
            return Err(Error::setting(
                "dim",
                dim,
                format!("must be at least the number of components ({})", s_yx.len()),
                "raise dim",
            ));
        }
        for (name, values) in [("s_yx", &s_yx), ("s_xx", &s_xx)] {
            if let Some((index, value)) = values.iter().enumerate().find(|(_, v)| !(v.is_finite() && **v > 0.0)) {
                return Err(Error::setting(
                    format!("{name}[{index}]"),
                    value,
                    "must be positive and finite",
                    "drop components without signal",
                ));
            }
        }
        Ok(Self { cross: s_yx, second: s_xx, dim })
    }

    /// The same of lists that are known to be valid.
    pub(crate) fn of_valid(s_yx: Vec<f64>, s_xx: Vec<f64>, dim: usize) -> Self {
        Self { cross: s_yx, second: s_xx, dim }
    }

    /// The number k of components.
    pub fn len(&self) -> usize {
        self.cross.len()
    }

    /// Always false: there is at least one component.
    pub fn is_empty(&self) -> bool {
        self.cross.is_empty()
    }

    /// The ambient dimension d ≥ k of the inputs.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// s_yx,c, the singular values of Σ_yx.
    pub fn s_yx(&self) -> &[f64] {
        &self.cross
    }

    /// s_xx,c, the eigenvalues of Σ_xx that belong to the components.
    pub fn s_xx(&self) -> &[f64] {
        &self.second
    }

    /// The common limits a_c* = s_yx,c / s_xx,c.
    pub fn limits(&self) -> Vec<f64> {
        self.pairs().map(|(yx, xx)| yx / xx).collect()
    }

    /// The pairs (s_yx,c, s_xx,c) in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.cross.iter().copied().zip(self.second.iter().copied())
    }

    /// ‖Σ_yx‖₂.
    pub(crate) fn largest_cross(&self) -> f64 {
        self.cross.iter().copied().fold(0.0, f64::max)
    }

    /// The smallest s_yx,c.
    pub(crate) fn smallest_cross(&self) -> f64 {
        self.cross.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest s_xx,c, which is ‖Σ_xx‖₂ for the mixture.
    pub(crate) fn largest_second(&self) -> f64 {
        self.second.iter().copied().fold(0.0, f64::max)
    }

    /// The magnitude below which a gradient W Σ_xx − Σ_yx with ‖W‖_F = `norm` is only the rounding error of its own
    /// subtraction, so that its singular values carry no direction: 4 max(k, d) ε (‖Σ_yx‖₂ + ‖W‖_F ‖Σ_xx‖₂).
    ///
    /// A floor relative to the gradient itself, max(k, d) ε σ_max, is not enough: at the optimum the whole gradient is
    /// rounding noise and so is σ_max. Both descriptions of a trajectory (matrices and components) use this floor, so a
    /// component that hits a_c* stays there in both.
    pub(crate) fn residual_floor(&self, norm: f64) -> f64 {
        let size = self.len().max(self.dim) as f64;
        4.0 * size * f64::EPSILON * (self.largest_cross() + norm * self.largest_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_bad_components() {
        for (yx, xx, dim) in [
            (vec![], vec![], 0),
            (vec![1.0], vec![1.0, 2.0], 2),
            (vec![1.0, 0.0], vec![1.0, 1.0], 2),
            (vec![1.0], vec![f64::NAN], 1),
            (vec![1.0, 1.0], vec![1.0, 1.0], 1),
        ] {
            let error = Components::new(yx, xx, dim).expect_err("must be rejected").to_string();
            assert!(error.contains("\nhint: "), "{error}");
        }
    }
}
