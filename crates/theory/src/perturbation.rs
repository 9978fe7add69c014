use faer::{Mat, Side};

use crate::components::Components;
use crate::error::{Error, Result};
use crate::linalg::frobenius;
use crate::moments::MatrixMoments;
use crate::part::{Part, part};
use crate::rules::ngd;

/// Moments that satisfy Condition 1 up to a residual B, and what B does to the trajectories of the linear model.
///
/// In the bases U and V̄ = \[V, V⊥\] (V⊥ diagonalizes V⊥ᵀ Σ_xx V⊥), Σ_yx = \[S_yx, 0\] and Σ_xx = S + B with S diagonal and B symmetric
/// with a zero diagonal; B = 0 is Condition 1. The movements are matrices δ = Uᵀ (W_B(t) − W_0(t)) V̄, r×d, to first order in B. They
/// are derived in [`crate::derivations::condition_1`]:
///
/// - **GD**: δ_ij = −s_yx,i B_ij J(s_i, s_j; t), J the integral of Duhamel's formula. Nothing on the diagonal: the components α_c
///   move only at second order, and upwards.
/// - **NGD**: GD's δ at the same re-timed instant τ(t): the clock does not move at first order.
/// - **`SpecGD`**, until the first component saturates: nothing at all among the components, whatever B is there (not only to first
///   order), because the gradient stays symmetric and positive and its polar factor I; towards V⊥,
///   δ_ij = −B_ij a_i*/s_i · h(s_j/s_i, t/a_i*).
#[derive(Debug, Clone)]
pub struct Perturbation {
    components: Components,
    /// S: the components first, then the complement.
    diagonal: Vec<f64>,
    /// B, d×d.
    residual: Mat<f64>,
    /// V̄, d×d.
    basis: Mat<f64>,
    /// The smallest eigenvalue of S + B.
    smallest: f64,
}

impl Perturbation {
    /// Splits Σ_xx of the moments into S + B. Fails if an eigenvalue decomposition does not converge.
    pub fn of(moments: &MatrixMoments) -> Result<Self> {
        let (right, second) = (moments.right(), moments.sigma_xx());
        let (d, r) = right.shape();
        let broken = |_| Error::Svd { rows: d, cols: d };
        // (I − P) Σ (I − P) − s P with P = V Vᵀ and s above every eigenvalue: V⊥ belongs to all but the r lowest eigenvalues.
        let projector: Mat<f64> = right * right.transpose();
        let rest = Mat::from_fn(d, d, |i, j| f64::from(u8::from(i == j)) - projector[(i, j)]);
        let shift = 2.0 * moments.largest_eigenvalue();
        let split: Mat<f64> = &rest * second * &rest - faer::Scale(shift) * projector;
        let eigen = split.self_adjoint_eigen(Side::Lower).map_err(broken)?;
        let basis = Mat::from_fn(d, d, |i, j| if j < r { right[(i, j)] } else { eigen.U()[(i, j)] });
        let mut residual: Mat<f64> = basis.transpose() * second * &basis;
        let smallest = residual.self_adjoint_eigenvalues(Side::Lower).map_err(broken)?[0].max(0.0);
        let diagonal: Vec<f64> = (0..d).map(|i| residual[(i, i)].max(0.0)).collect();
        for i in 0..d {
            residual[(i, i)] = 0.0;
            for j in 0..i {
                // Exactly 0 among the complement, whose basis diagonalizes it.
                let value = if j >= r { 0.0 } else { 0.5 * (residual[(i, j)] + residual[(j, i)]) };
                residual[(i, j)] = value;
                residual[(j, i)] = value;
            }
        }
        Ok(Self { components: moments.components().clone(), diagonal, residual, basis, smallest })
    }

    /// ‖B‖_F.
    pub fn absolute(&self) -> f64 {
        frobenius(self.residual.as_ref())
    }

    /// ‖B‖_F/‖S‖_F.
    pub fn relative(&self) -> f64 {
        self.absolute() / self.diagonal.iter().map(|s| s * s).sum::<f64>().sqrt()
    }

    /// V̄, d×d orthogonal: the columns of δ are in its directions.
    pub fn basis(&self) -> faer::MatRef<'_, f64> {
        self.basis.as_ref()
    }

    /// The first-order movement of the gradient flow, r×d.
    pub fn gd(&self, t: f64) -> Mat<f64> {
        let s_yx = self.components.s_yx();
        Mat::from_fn(self.components.len(), self.diagonal.len(), |i, j| {
            -s_yx[i] * self.residual[(i, j)] * duhamel(self.diagonal[i], self.diagonal[j], t)
        })
    }

    /// The first-order movement of the normalized gradient flow, r×d.
    pub fn ngd(&self, t: f64) -> Mat<f64> {
        self.gd(ngd::retimed(&self.components, 0.0, &[t])[0])
    }

    /// The first-order movement of the `SpecGD` flow, r×d, for t up to min a_c*; fails for later times, where a
    /// saturated component has no direction and the polar factor no derivative.
    pub fn specgd(&self, t: f64) -> Result<Mat<f64>> {
        let r = self.components.len();
        let limits = self.components.limits();
        let first = limits.iter().copied().fold(f64::INFINITY, f64::min);
        // One rounding beyond is still the saturation itself.
        if !(0.0..=first * (1.0 + 4.0 * f64::EPSILON)).contains(&t) {
            return Err(Error::setting(
                "t",
                t,
                format!("the first-order movement of SpecGD is known from 0 to the first saturation, {first:?}"),
                "simulate later times",
            ));
        }
        Ok(Mat::from_fn(r, self.diagonal.len(), |i, j| {
            if j < r {
                return 0.0;
            }
            let ratio = self.diagonal[j] / self.diagonal[i];
            -self.residual[(i, j)] * limits[i] / self.diagonal[i] * leakage(ratio, t / limits[i])
        }))
    }

    /// The second-order movement of α_c under the gradient flow, s_yx,c Σ_j B_cj² J₂(s_c, s_c, s_j; t) ≥ 0: the lowest order at which the
    /// components move.
    pub fn gd_alpha(&self, t: f64) -> Vec<f64> {
        let s_yx = self.components.s_yx();
        (0..self.components.len())
            .map(|i| {
                let terms = (0..self.diagonal.len()).filter(|&j| j != i);
                s_yx[i]
                    * terms
                        .map(|j| self.residual[(i, j)].powi(2) * second_duhamel(self.diagonal[i], self.diagonal[j], t))
                        .sum::<f64>()
            })
            .collect()
    }

    /// A bound on ‖W_B(t) − W_0(t)‖_F of the gradient flow that holds for every B, not only to first order:
    /// (Σ_i (s_yx,i ‖B_i‖₂ J(s_i, λ; t))²)^{1/2} with the rows B_i of B and the smallest eigenvalue λ of Σ_xx.
    pub fn gd_bound(&self, t: f64) -> f64 {
        (0..self.components.len())
            .map(|i| {
                let row = (0..self.diagonal.len()).map(|j| self.residual[(i, j)].powi(2)).sum::<f64>().sqrt();
                (self.components.s_yx()[i] * row * duhamel(self.diagonal[i], self.smallest, t)).powi(2)
            })
            .sum::<f64>()
            .sqrt()
    }

    /// The time at which the first component of `SpecGD` saturates when B couples the components with each other only:
    /// 1/λ_max(S_yx^{−1/2} (S + B)_rr S_yx^{−1/2}), exactly. Without B it is min a_c*; with it, it is earlier.
    ///
    /// Fails if the eigenvalue decomposition does not converge.
    pub fn first_saturation(&self) -> Result<f64> {
        let r = self.components.len();
        let s_yx = self.components.s_yx();
        let scaled = Mat::from_fn(r, r, |i, j| {
            let entry = if i == j { self.diagonal[i] } else { self.residual[(i, j)] };
            part(Part::SaturationPencil, entry) / (s_yx[i] * s_yx[j]).sqrt()
        });
        let values = scaled.self_adjoint_eigenvalues(Side::Lower).map_err(|_| Error::Svd { rows: r, cols: r })?;
        Ok(1.0 / values[r - 1])
    }

    /// The largest first-order movement ‖δ(t)‖_F over all B with ‖B‖_F = 1, under the gradient flow.
    pub fn gd_gain(&self, t: f64) -> f64 {
        let (r, d) = (self.components.len(), self.diagonal.len());
        let s_yx = self.components.s_yx();
        let mut largest = 0.0_f64;
        for i in 0..r {
            for j in i + 1..d {
                // B_ij = B_ji = 1/√2; both entries move W where both are components.
                let other = if j < r { s_yx[j] } else { 0.0 };
                let size = 0.5_f64.sqrt() * s_yx[i].hypot(other);
                largest = largest.max(size * duhamel(self.diagonal[i], self.diagonal[j], t));
            }
        }
        largest
    }

    /// The same under the normalized gradient flow.
    pub fn ngd_gain(&self, t: f64) -> f64 {
        self.gd_gain(ngd::retimed(&self.components, 0.0, &[t])[0])
    }

    /// The same for `SpecGD`, up to the first saturation; 0 if there is nothing but the components (d = r). Fails as [`Self::specgd`].
    pub fn specgd_gain(&self, t: f64) -> Result<f64> {
        let (r, d) = (self.components.len(), self.diagonal.len());
        let mut unit = self.clone();
        unit.residual = Mat::from_fn(d, d, |_, _| 0.5_f64.sqrt());
        Ok((r < d).then(|| unit.specgd(t)).transpose()?.map_or(0.0, |movement| movement.norm_max()))
    }
}

/// J(s, λ; t) = ∫₀ᵗ ∫₀ᵘ e^{−s v − λ(u − v)} dv du, the divided difference −ψ\[s, λ\] of ψ(x) = (1 − e^{−x t})/x; t²/2 for small t and
/// 1/(s λ) in the limit.
fn duhamel(s: f64, lambda: f64, t: f64) -> f64 {
    let largest = s.max(lambda);
    if largest * t < 0.5 {
        // t² Σ_n (−t)ⁿ h_n/(n + 2)! with the complete symmetric polynomials h_n(s, λ); 16 terms leave 0.5^16 · 17/18! ≈ 4e-20.
        let (mut sum, mut symmetric, mut power, mut factor) = (0.0, 1.0, 1.0, 0.5);
        for n in 0..16 {
            sum += factor * symmetric;
            power *= s * t;
            symmetric = symmetric * lambda * t + power;
            factor /= -(f64::from(n) + 3.0);
        }
        return part(Part::Duhamel, t * t * sum);
    }
    let value = if (s - lambda).abs() < 1e-5 * largest {
        // Equal to first order in the difference at the middle.
        let middle = 0.5 * (s + lambda);
        let x = middle * t;
        let decay = if x.is_finite() { (-x).exp() * (1.0 + x) } else { 0.0 };
        (1.0 - decay) / (middle * middle)
    } else {
        (psi(lambda, t) - psi(s, t)) / (s - lambda)
    };
    part(Part::Duhamel, value)
}

/// J₂(s, s, λ; t) = ∫₀ᵗ of the twofold Duhamel integral, the divided difference ψ\[s, s, λ\]: t³/6 for small t and 1/(s² λ) in the limit.
fn second_duhamel(s: f64, lambda: f64, t: f64) -> f64 {
    let largest = s.max(lambda);
    let value = if largest * t < 0.5 {
        // t³ Σ_n (−t)ⁿ h_n(s, s, λ)/(n + 3)!.
        let (mut sum, mut factor) = (0.0, 1.0 / 6.0);
        let (mut pair, mut triple, mut power) = (1.0, 1.0, 1.0);
        for n in 0..16 {
            sum += factor * triple;
            power *= s * t;
            pair = pair * s * t + power;
            triple = triple * lambda * t + pair;
            factor /= -(f64::from(n) + 4.0);
        }
        t * t * t * sum
    } else if (s - lambda).abs() < 1e-4 * largest {
        // ψ''/2 at the mean of the three arguments.
        let mean = (2.0 * s + lambda) / 3.0;
        let x = mean * t;
        let decay = if x.is_finite() { (-x).exp() * (1.0 + x + 0.5 * x * x) } else { 0.0 };
        (1.0 - decay) / (mean * mean * mean)
    } else {
        let x = s * t;
        let decay = if x.is_finite() { (-x).exp() * (1.0 + x) } else { 0.0 };
        let equal = (1.0 - decay) / (s * s);
        ((psi(lambda, t) - psi(s, t)) / (s - lambda) - equal) / (s - lambda)
    };
    part(Part::SecondDuhamel, value)
}

/// (1 − e^{−s t})/s, t at s = 0.
fn psi(s: f64, t: f64) -> f64 {
    if s == 0.0 { t } else { -(-s * t).exp_m1() / s }
}

/// h(ρ, x) = (1 − q^ρ)/ρ − (q^ρ − q)/(1 − ρ) with q = 1 − x, x from 0 to 1: x²/2 for small x and 1/ρ at x = 1.
fn leakage(rho: f64, x: f64) -> f64 {
    if x >= 1.0 {
        return part(Part::LeakageDrift, 1.0 / rho);
    }
    let log = (-x).ln_1p();
    let drift = if rho == 0.0 { -log } else { -(rho * log).exp_m1() / rho };
    let exponent = (rho - 1.0) * log;
    let slope = if exponent == 0.0 { 1.0 } else { exponent.exp_m1() / exponent };
    part(Part::LeakageDrift, drift) + part(Part::LeakageReturn, (1.0 - x) * log * slope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quadrature::GaussLegendre;

    #[test]
    fn duhamel_integrals_are_their_definitions() {
        let rule = GaussLegendre::new(24);
        for (s, lambda) in [(1.0, 0.3), (0.3, 1.0), (2.0, 2.0), (2.0, 2.0 + 1e-6), (1.5, 0.0), (0.7, 0.7 + 1e-3), (0.0, 0.0)] {
            for t in [1e-6_f64, 0.01, 0.2, 0.499, 0.51, 1.0, 4.0] {
                let kernel = |u: f64| rule.integrate(0.0, u, |v| (-s * v - lambda * (u - v)).exp());
                let exact = rule.integrate(0.0, t, kernel);
                assert!((duhamel(s, lambda, t) / exact - 1.0).abs() < 1e-9, "{s}, {lambda}, {t}");
                let twice = |u: f64| rule.integrate(0.0, u, |v| v * (-s * v - lambda * (u - v)).exp());
                let exact = rule.integrate(0.0, t, twice);
                let value = second_duhamel(s, lambda, t);
                assert!((value / exact - 1.0).abs() < 1e-7, "{s}, {lambda}, {t}: {value} against {exact}");
            }
        }
        assert!((duhamel(2.0, 0.5, f64::INFINITY) - 1.0).abs() < 1e-15);
        assert!((duhamel(2.0, 2.0, f64::INFINITY) - 0.25).abs() < 1e-15);
        assert!((second_duhamel(2.0, 0.5, 1e3) - 0.5).abs() < 1e-14);
    }

    #[test]
    fn leakage_solves_its_equation() {
        // h' = (x − ρ h)/(1 − x), from C' = −(s_j C + t B)/(s_i (a − t)) with C = −B a/s_i · h, x = t/a.
        for rho in [0.0, 1e-9, 0.3, 1.0, 1.0 + 1e-9, 2.5] {
            for x in [0.01, 0.3, 0.7, 0.95] {
                let step = 1e-5;
                let slope = (leakage(rho, x + step) - leakage(rho, x - step)) / (2.0 * step);
                let expected = (x - rho * leakage(rho, x)) / (1.0 - x);
                assert!((slope - expected).abs() < 1e-6 * expected.abs().max(1.0), "{rho}, {x}: {slope} against {expected}");
            }
            assert!((leakage(rho, 1e-4) / 5e-9 - 1.0).abs() < 1e-3);
        }
        assert!((leakage(0.5, 1.0) - 2.0).abs() < 1e-15 && (leakage(0.5, 1.0 - 1e-14) - 2.0).abs() < 1e-6);
    }
}
