use faer::Mat;
use rand_distr::{Distribution, StandardNormal};

use crate::discrete::discrete;
use crate::error::{Error, Result};
use crate::linalg::frobenius;
use crate::mixture::Mixture;
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::perturbation::Perturbation;
use crate::random::{Purpose, orthonormal, stream};
use crate::rules::Rule;
use crate::simulation::Simulation;

/// Times at which a trajectory is compared.
const MARKS: usize = 20;

/// How far a simulated trajectory is from the one that Condition 1 predicts; see [`movement`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Movement {
    /// max_t ‖W(t) − U diag(α(t)) Vᵀ‖_F over ‖α(T)‖₂, with α predicted from the components.
    pub weights: f64,
    /// max_t max_c |\[Uᵀ W(t) V\]_cc − α_c(t)| over max_c α_c(T).
    pub components: f64,
    /// The first-order term of `weights` (see [`Perturbation`]).
    pub first_order: f64,
    /// The largest first-order term over all residuals of the same Frobenius norm.
    pub largest_first_order: f64,
}

/// Simulates a rule (GD, NGD or `SpecGD`) on moments from W = 0 to T = `horizon` in `steps` steps, and compares it with the exact discrete
/// form that its components would have if Condition 1 held.
///
/// Fails for another rule, for a `horizon` beyond min a_c*, where the first-order term of `SpecGD` ends, for fewer than 20 steps, or for
/// a step size at which gradient descent diverges.
pub fn movement(moments: &MatrixMoments, rule: Rule, horizon: f64, steps: usize) -> Result<Movement> {
    let components = moments.components();
    let perturbation = Perturbation::of(moments)?;
    first_order(&perturbation, rule, 0.0)?;
    if steps < MARKS {
        return Err(Error::setting("steps", steps, format!("must be at least {MARKS}"), "200 steps resolve the trajectories"));
    }
    let eta = horizon / steps as f64;
    let limit = 2.0 / moments.largest_eigenvalue();
    if rule == Rule::Gd && eta >= limit {
        return Err(Error::Unstable { eta, limit, largest: moments.largest_eigenvalue() });
    }
    let marks: Vec<usize> = (1..=MARKS).map(|i| i * steps / MARKS).collect();
    let predicted = discrete(components, &Network::LINEAR, rule, eta, &marks)?;
    let last = &predicted[MARKS - 1];
    let (whole, highest) = (last.iter().map(|a| a * a).sum::<f64>().sqrt(), last.iter().copied().fold(0.0, f64::max));

    let mut simulation = Simulation::new(moments, &Network::LINEAR, rule, eta, 0)?;
    let mut found = Movement { weights: 0.0, components: 0.0, first_order: 0.0, largest_first_order: 0.0 };
    for (&mark, alpha) in marks.iter().zip(&predicted) {
        while simulation.step() < mark {
            simulation.advance()?;
        }
        let (left, right) = (moments.left(), moments.right());
        let scaled = Mat::from_fn(left.nrows(), alpha.len(), |i, c| left[(i, c)] * alpha[c]);
        let moved = simulation.weights() - scaled * right.transpose();
        found.weights = found.weights.max(frobenius(moved.as_ref()) / whole);
        let apart = simulation.alpha().iter().zip(alpha).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        found.components = found.components.max(apart / highest);
        // The last mark is the horizon itself, whatever the product of steps and η rounds to.
        let t = (mark as f64 * eta).min(horizon);
        let (size, gain) = first_order(&perturbation, rule, t)?;
        found.first_order = found.first_order.max(size / whole);
        found.largest_first_order = found.largest_first_order.max(perturbation.absolute() * gain / whole);
    }
    Ok(found)
}

/// ‖δ(t)‖_F to first order, and the largest for ‖B‖_F = 1.
fn first_order(perturbation: &Perturbation, rule: Rule, t: f64) -> Result<(f64, f64)> {
    let (movement, gain) = match rule {
        Rule::Gd => (perturbation.gd(t), perturbation.gd_gain(t)),
        Rule::Ngd => (perturbation.ngd(t), perturbation.ngd_gain(t)),
        Rule::SpecGd => (perturbation.specgd(t)?, perturbation.specgd_gain(t)?),
        _ => return Err(Error::setting("rule", rule.name(), "has no first-order term here", "use gd, ngd or specgd")),
    };
    Ok((frobenius(movement.as_ref()), gain))
}

/// The components of a mixture in random bases, with a random residual of Condition 1, ‖B‖_F = `relative` ‖S_xx‖_F.
///
/// B is symmetric with independent normal entries among the components and towards the complement, and none on the diagonal and in the
/// complement. Bases and B come from the mixture's seed and `draw`. Fails if Σ_xx is no longer positive semidefinite.
pub fn perturbed(mixture: &Mixture, relative: f64, draw: usize) -> Result<MatrixMoments> {
    let (k, d) = (mixture.classes(), mixture.dim());
    MatrixMoments::check_dim(d)?;
    if !(relative.is_finite() && relative >= 0.0) {
        return Err(Error::setting("residual", relative, "must be finite and not negative", "0.01 is a small residual"));
    }
    let mut rng = stream(mixture.seed(), Purpose::Residuals, 1_000_000 + draw);
    let (left, basis) = (orthonormal(k, k, &mut rng), orthonormal(d, d, &mut rng));
    let components = mixture.components();
    let variance = mixture.noise_std().powi(2);
    let diagonal: Vec<f64> = (0..d).map(|i| components.s_xx().get(i).copied().unwrap_or(variance)).collect();
    let mut inner = Mat::zeros(d, d);
    for i in 0..k {
        for j in i + 1..d {
            let entry: f64 = StandardNormal.sample(&mut rng);
            inner[(i, j)] = entry;
            inner[(j, i)] = entry;
        }
    }
    let size = relative * diagonal.iter().map(|s| s * s).sum::<f64>().sqrt() / frobenius(inner.as_ref());
    let inner = Mat::from_fn(d, d, |i, j| if i == j { diagonal[i] } else { size * inner[(i, j)] });
    let weighted = Mat::from_fn(k, k, |i, c| left[(i, c)] * components.s_yx()[c]);
    let cross = weighted * basis.subcols(0, k).transpose();
    MatrixMoments::given(cross, &basis * inner * basis.transpose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mixture::MixtureConfig;

    #[test]
    fn the_first_order_is_what_small_residuals_do_and_no_more_than_its_largest() {
        let config = MixtureConfig { priors: vec![0.5, 0.3, 0.2], mean_norm: 1.0, noise_std: 1.0, dim: Some(6), seed: 2 };
        let mixture = Mixture::new(config).expect("valid");
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd] {
            for draw in 0..3 {
                let moments = perturbed(&mixture, 1e-3, draw).expect("small");
                assert!((moments.condition1().expect("converges").relative / 1e-3 - 1.0).abs() < 1e-9);
                let found = movement(&moments, rule, mixture.horizon(), 400).expect("valid");
                assert!((found.weights / found.first_order - 1.0).abs() < 0.02, "{rule:?}: {found:?}");
                assert!(found.first_order <= found.largest_first_order * (1.0 + 1e-9), "{rule:?}: {found:?}");
            }
            let exact = movement(&perturbed(&mixture, 0.0, 0).expect("small"), rule, mixture.horizon(), 100).expect("valid");
            assert!(exact.weights < 1e-12 && exact.components < 1e-12, "{exact:?}");
        }
    }

    #[test]
    fn bad_settings_are_errors() {
        let config = MixtureConfig { priors: vec![0.5, 0.5], mean_norm: 1.0, noise_std: 1.0, dim: Some(3), seed: 2 };
        let mixture = Mixture::new(config).expect("valid");
        let moments = perturbed(&mixture, 0.01, 0).expect("small");
        assert!(movement(&moments, Rule::SignGd, 0.1, 100).is_err());
        assert!(movement(&moments, Rule::Gd, 0.1, 3).is_err());
        assert!(movement(&moments, Rule::SpecGd, 10.0, 100).is_err());
        assert!(movement(&moments, Rule::Gd, 1e6, 100).is_err());
        assert!(perturbed(&mixture, f64::NAN, 0).is_err());
        assert!(perturbed(&mixture, 10.0, 0).is_err());
    }
}
