//! Joint diagonalization, the common limit, losses, orders of saturation and rotations.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};

use super::linear::mixtures;
use super::{Check, Group, Job, VerifyConfig, largest_difference};
use crate::discrete::discrete;
use crate::error::{Error, Result};
use crate::losses::{losses, matrix_losses};
use crate::mixture::Mixture;
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::rules::Rule;
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Condition 1, limits and orders",
    statements: &[
        ("lemma-moments", "The mixture's moments are jointly diagonal: s_yx = μ p, s_xx = μ² p + σ² (Condition 1 and its lemma)"),
        ("lemma-limit", "The least-squares solution is aligned with the limits a_c* = s_yx,c/s_xx,c"),
        ("limit-common", "GD, NGD, SpecGD and the power flow share the limit a_c*"),
        ("loss-matrix", "L_c = ½[(1 − μ α_c)² + σ² Σ_j α_j²] is the loss of the simulated matrix"),
        ("order-specgd", "Under SpecGD weaker components saturate first"),
        ("order-gd", "Under GD dominant components reach half of their limit first"),
        ("rotation-specgd", "SpecGD gives the same α in any pair of bases"),
        ("rotation-signgd", "SignGD depends on the bases"),
        ("signgd-canonical", "SignGD equals SpecGD in the canonical basis"),
    ],
    jobs: &[
        Job { ids: &["lemma-moments"], run: |config| Ok(vec![moments(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["lemma-limit"], run: |config| Ok(vec![least_squares(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["limit-common"], run: |config| Ok(vec![common_limit(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["loss-matrix"], run: |config| Ok(vec![loss(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["order-specgd"], run: |config| Ok(vec![order(&mixtures(config.seed)?, "order-specgd")?]) },
        Job { ids: &["order-gd"], run: |config| Ok(vec![order(&mixtures(config.seed)?, "order-gd")?]) },
        Job { ids: &["rotation-specgd"], run: |config| Ok(vec![rotation_specgd(config, &mixtures(config.seed)?)?]) },
        Job { ids: &["rotation-signgd"], run: |config| Ok(vec![rotation_signgd(&mixtures(config.seed)?)?]) },
        Job { ids: &["signgd-canonical"], run: |config| Ok(vec![sign_canonical(config, &mixtures(config.seed)?)?]) },
    ],
};

/// The lemma from the spectra of the dense moments: eigenvalues of Σ_xx and singular values of Σ_yx, computed from the matrices
/// without the bases, and the residuals of the diagonalization with them.
fn moments(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let matrices = mixture.matrix_moments()?;
        let (k, d) = (mixture.classes(), mixture.dim());
        let broken = || Error::Svd { rows: d, cols: d };
        let eigen = matrices.sigma_xx().self_adjoint_eigenvalues(Side::Lower).map_err(|_| broken())?;
        let singular = matrices.sigma_yx().singular_values().map_err(|_| broken())?;
        let c = mixture.components();
        let mut expected: Vec<f64> = c.s_xx().to_vec();
        expected.resize(d, mixture.noise_std().powi(2));
        worst = worst.max(spectrum_difference(eigen, expected)).max(spectrum_difference(singular, c.s_yx().to_vec()));
        let v = matrices.right();
        let rotated: Mat<f64> = matrices.sigma_xx() * v;
        let cross = matrices.to_components(matrices.sigma_yx());
        for class in 0..k {
            for row in 0..d {
                worst = worst.max((rotated[(row, class)] - c.s_xx()[class] * v[(row, class)]).abs());
            }
            for row in 0..k {
                let expected = if row == class { c.s_yx()[class] } else { 0.0 };
                worst = worst.max((cross[(row, class)] - expected).abs());
            }
        }
    }
    let quantity = format!("largest error of spectra and bases, {} mixtures with random orthonormal means", mixtures.len());
    Ok(Check::at_most("lemma-moments", worst, config.tolerance, quantity))
}

fn spectrum_difference(mut a: Vec<f64>, mut b: Vec<f64>) -> f64 {
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    largest_difference(&[a], &[b])
}

fn least_squares(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let matrices = mixture.matrix_moments()?;
        // W Σ_xx = Σ_yx, transposed: Σ_xx Wᵀ = Σ_yxᵀ.
        let transposed: Mat<f64> = matrices.sigma_xx().partial_piv_lu().solve(matrices.sigma_yx().transpose().to_owned());
        let weights = transposed.transpose().to_owned();
        let aligned = matrices.to_components(weights.as_ref());
        for (class, limit) in mixture.components().limits().into_iter().enumerate() {
            worst = worst.max((aligned[(class, class)] - limit).abs());
        }
        worst = worst.max(matrices.off_diagonal(weights.as_ref()));
    }
    let quantity = format!("largest error of Uᵀ Σ_yx Σ_xx⁻¹ V against diag(a*), {} mixtures", mixtures.len());
    Ok(Check::at_most("lemma-limit", worst, config.tolerance, quantity))
}

fn common_limit(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let rules = [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::Power { exponent: 0.5 }];
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let c = mixture.components();
        let limits = vec![c.limits()];
        // 60 time constants of the slowest component under GD: e^{−60} is far below rounding.
        let slowest = c.s_xx().iter().copied().fold(f64::INFINITY, f64::min);
        let norm = limits[0].iter().map(|a| a * a).sum::<f64>().sqrt();
        let t = 60.0 * (1.0 / slowest).max(norm) + 60.0;
        for rule in rules {
            worst = worst.max(largest_difference(&rule.closed_form(&c, &Network::LINEAR, &[t])?, &limits));
        }
    }
    let quantity = format!("largest |α(t) − a*| of the four closed forms at a late t, {} mixtures", mixtures.len());
    Ok(Check::at_most("limit-common", worst, config.tolerance, quantity))
}

fn loss(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let matrices = mixture.matrix_moments()?;
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd] {
            let mut simulation = Simulation::new(&matrices, &Network::LINEAR, rule, 0.01, mixture.seed())?;
            for _ in 0..10 {
                simulation.advance()?;
            }
            let aligned = losses(mixture, &simulation.alpha());
            let matrix = matrix_losses(mixture, &matrices, simulation.weights());
            worst = worst.max(largest_difference(&[aligned.classes], &[matrix.classes]));
        }
    }
    let quantity = format!("largest difference of L_c to ½E‖y − Wx‖² after 10 steps of each rule, {} mixtures", mixtures.len());
    Ok(Check::at_most("loss-matrix", worst, config.tolerance, quantity))
}

/// Pairs of classes with p_i < p_j that reach their mark in the wrong order. The marks: a* under `SpecGD` in the simulation (first
/// step at which the next step would pass it), a*/2 under GD by its closed discrete form.
fn order(mixtures: &[Mixture], id: &'static str) -> Result<Check> {
    let spectral = id == "order-specgd";
    let (mut wrong, mut pairs) = (0_u32, 0_u32);
    for mixture in mixtures {
        let c = mixture.components();
        let limits = c.limits();
        let largest = limits.iter().copied().fold(0.0, f64::max);
        let (rule, eta, share) =
            if spectral { (Rule::SpecGd, largest / 400.0, 1.0) } else { (Rule::Gd, 1.0 / (200.0 * c.largest_second()), 0.5) };
        let matrices = mixture.matrix_moments()?;
        let mut simulation = Simulation::new(&matrices, &Network::LINEAR, rule, eta, mixture.seed())?;
        let mut reached: Vec<Option<usize>> = vec![None; c.len()];
        // GD needs ln 2/(η s) steps for half a limit, at most 200 ln 2 · max s/min s; SpecGD 400.
        while reached.iter().any(Option::is_none) && simulation.step() < 100_000 {
            simulation.advance()?;
            for ((mark, alpha), limit) in reached.iter_mut().zip(simulation.alpha()).zip(&limits) {
                let slack = if spectral { eta } else { 0.0 };
                if mark.is_none() && alpha > share * limit - slack {
                    *mark = Some(simulation.step());
                }
            }
        }
        for (i, p) in mixture.priors().iter().enumerate() {
            for (j, q) in mixture.priors().iter().enumerate() {
                if p < q {
                    pairs += 1;
                    let (a, b) = (reached[i].unwrap_or(usize::MAX), reached[j].unwrap_or(usize::MAX));
                    let ordered = if spectral { a <= b } else { a >= b };
                    wrong += u32::from(!ordered || a == usize::MAX || b == usize::MAX);
                }
            }
        }
    }
    let quantity = format!("pairs of classes out of order in the simulation, of {pairs} pairs");
    Ok(Check::at_most(id, f64::from(wrong), 0.0, quantity))
}

/// α every tenth step until the first component saturates.
fn path_in(matrices: &MatrixMoments, rule: Rule, eta: f64, steps: usize) -> Result<Vec<Vec<f64>>> {
    let mut simulation = Simulation::new(matrices, &Network::LINEAR, rule, eta, 0)?;
    let mut rows = Vec::new();
    for step in 0..steps {
        simulation.advance()?;
        if step % 10 == 9 {
            rows.push(simulation.alpha());
        }
    }
    Ok(rows)
}

const ROTATIONS: u64 = 3;

/// The largest difference of a rule's α between the canonical basis and random pairs of bases.
fn rotation_difference(mixture: &Mixture, rule: Rule) -> Result<f64> {
    let largest = mixture.components().limits().iter().copied().fold(0.0, f64::max);
    let eta = largest / 100.0;
    let canonical = path_in(&MatrixMoments::canonical(mixture)?, rule, eta, 100)?;
    let mut worst = 0.0_f64;
    for seed in 0..ROTATIONS {
        let rotated = path_in(&MatrixMoments::rotated(mixture, seed)?, rule, eta, 100)?;
        worst = worst.max(largest_difference(&canonical, &rotated));
    }
    Ok(worst)
}

fn rotation_specgd(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        worst = worst.max(rotation_difference(mixture, Rule::SpecGd)?);
    }
    let quantity = format!(
        "largest difference of α to the canonical basis, 100 steps, {ROTATIONS} pairs of random bases, {} mixtures",
        mixtures.len()
    );
    Ok(Check::at_most("rotation-specgd", worst, config.tolerance, quantity))
}

fn rotation_signgd(mixtures: &[Mixture]) -> Result<Check> {
    let mut least = f64::INFINITY;
    for mixture in mixtures {
        let largest = mixture.components().limits().iter().copied().fold(0.0, f64::max);
        least = least.min(rotation_difference(mixture, Rule::SignGd)? / largest);
    }
    let quantity = format!(
        "smallest over {} mixtures of the largest difference of α to the canonical basis, relative to max a*",
        mixtures.len()
    );
    Ok(Check::at_least("rotation-signgd", least, 0.01, quantity))
}

fn sign_canonical(config: &VerifyConfig, mixtures: &[Mixture]) -> Result<Check> {
    let mut worst = 0.0_f64;
    for mixture in mixtures {
        let c = mixture.components();
        let eta = c.limits().iter().copied().fold(0.0, f64::max) / 100.0;
        let steps: Vec<usize> = (1..=10).map(|i| 10 * i).collect();
        let exact = discrete(&c, &Network::LINEAR, Rule::SpecGd, eta, &steps)?;
        let simulated = path_in(&MatrixMoments::canonical(mixture)?, Rule::SignGd, eta, 100)?;
        worst = worst.max(largest_difference(&exact, &simulated));
    }
    let quantity =
        format!("largest difference of α from the simulation to SpecGD's form, 100 steps, {} mixtures", mixtures.len());
    Ok(Check::at_most("signgd-canonical", worst, config.tolerance, quantity))
}
