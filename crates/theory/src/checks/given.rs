//! The linear model beyond the mixture with means of one length: other means, given moments, other bases.

use faer::{Mat, Side};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::linear::{MUON, POWER, horizon};
use super::{Check, Group, Job, VerifyConfig, largest_difference};
use crate::components::Components;
use crate::discrete::discrete;
use crate::error::{Error, Result};
use crate::gaussian_mixture::GaussianMixture;
use crate::model::Model;
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::random::{Purpose, orthonormal, stream};
use crate::rules::Rule;
use crate::simulation::Simulation;
use crate::trajectory::{Source, TrajectoryConfig};

pub(super) const GROUP: Group = Group {
    title: "Moments that come from no mixture, and other means",
    statements: &[
        ("given-gd", "GD simulated on given moments is a_c*(1 − (1 − η s_xx,c)^n)"),
        ("given-ngd", "NGD simulated on given moments is the recursion α ← α + η r/‖r‖₂"),
        ("given-specgd", "SpecGD simulated on given moments walks the grid η n and alternates around a_c*"),
        ("given-power", "The power rule simulated on given moments is the recursion α ← α + η sign(r)|r|^p"),
        ("given-muon", "Muon simulated on given moments is SpecGD on the averaged residual of each component"),
        ("given-flow", "On given moments GD, NGD and the power rule tend to their closed forms with order 1 in η"),
        ("given-specgd-flow", "On given moments SpecGD stays within one step of min(t, a_c*)"),
        ("unequal-means", "Orthogonal means of unequal length: s_yx = p_c‖μ_c‖ and s_xx = p_c‖μ_c‖² + σ² give every rule's path"),
        ("oblique-means", "Means that are not orthogonal: the simulation descends the loss ½E‖y − Wx‖² of the mixture itself"),
        ("signgd-permuted", "SignGD equals SpecGD whenever U and V are permutations with signs"),
        ("signgd-given", "SignGD equals SpecGD on given moments in permuted bases, and not in rotated ones"),
    ],
    jobs: &[
        Job { ids: &["given-gd"], run: |config| Ok(vec![discrete_form(config, "given-gd", Rule::Gd)?]) },
        Job { ids: &["given-ngd"], run: |config| Ok(vec![discrete_form(config, "given-ngd", Rule::Ngd)?]) },
        Job { ids: &["given-specgd"], run: |config| Ok(vec![discrete_form(config, "given-specgd", Rule::SpecGd)?]) },
        Job { ids: &["given-power"], run: |config| Ok(vec![discrete_form(config, "given-power", POWER)?]) },
        Job { ids: &["given-muon"], run: |config| Ok(vec![discrete_form(config, "given-muon", MUON)?]) },
        Job { ids: &["given-flow"], run: |config| Ok(vec![flow(config)?]) },
        Job { ids: &["given-specgd-flow"], run: |config| Ok(vec![specgd_flow(config)?]) },
        Job { ids: &["unequal-means"], run: |config| Ok(vec![unequal_means(config)?]) },
        Job { ids: &["oblique-means"], run: |config| Ok(vec![oblique_means(config)?]) },
        Job { ids: &["signgd-permuted"], run: |config| Ok(vec![sign_permuted(config)?]) },
        Job { ids: &["signgd-given"], run: |config| Ok(vec![sign_given(config)?]) },
    ],
};

/// Sets of given moments.
const SETS: usize = 8;

/// Spectra that no mixture has: a mixture's s_xx,c rises with s_yx,c, here both are drawn on their own, log-uniformly.
fn spectra(config: &VerifyConfig, index: usize) -> Result<Components> {
    let mut rng = stream(config.seed, Purpose::Spectra, index);
    let (r, extra) = (2 + index % 4, [0, 3, 1, 0][index / 2 % 4]);
    let mut draw = |low: f64, high: f64| low * (high / low).powf(rng.random::<f64>());
    let mut s_yx: Vec<f64> = (0..r).map(|_| draw(0.05, 1.0)).collect();
    // The order in which `MatrixMoments::given` finds them.
    s_yx.sort_by(|a, b| b.total_cmp(a));
    Components::new(s_yx, (0..r).map(|_| draw(0.4, 3.0)).collect(), r + extra)
}

/// Dense moments with these spectra in random bases, with k = r or more outputs, and a rank-deficient Σ_xx where d > r; their
/// decomposition is found again from the matrices.
fn dense(config: &VerifyConfig, index: usize) -> Result<(Components, MatrixMoments)> {
    let components = spectra(config, index)?;
    let mut rng = stream(config.seed, Purpose::Spectra, 1000 + index);
    let left = orthonormal(components.len() + index % 3, components.len(), &mut rng);
    let right = orthonormal(components.dim(), components.len(), &mut rng);
    let exact = MatrixMoments::with_bases(components.clone(), left, right);
    let given = MatrixMoments::given(exact.sigma_yx().to_owned(), exact.sigma_xx().to_owned())?;
    Ok((components, given))
}

/// α of the simulation after each number of steps (ascending).
fn simulate(moments: &MatrixMoments, rule: Rule, eta: f64, steps: &[usize]) -> Result<Vec<Vec<f64>>> {
    let mut simulation = Simulation::new(moments, &Network::LINEAR, rule, eta, 0)?;
    simulation.alphas_at(steps)
}

fn discrete_form(config: &VerifyConfig, id: &'static str, rule: Rule) -> Result<Check> {
    const STEPS: usize = 200;
    let mut worst = 0.0_f64;
    for index in 0..SETS {
        let (c, moments) = dense(config, index)?;
        // No component lands on its limit, and NGD does not arrive, after which it alternates as a whole.
        let eta = horizon(&c, rule) / (STEPS as f64 - 0.63);
        let mut steps: Vec<usize> = (0..STEPS).collect();
        let mut exact = discrete(&c, &Network::LINEAR, rule, eta, &steps)?;
        if rule == MUON {
            // Off the diagonal a step is (M_ij − M_ji)/(m_i + m_j), m the momentum of each component: after one of them has changed its
            // sign the denominator passes near 0 and rounding errors may grow to any size. The overshoot before is compared.
            let turn = exact.windows(2).position(|pair| pair[0].iter().zip(&pair[1]).any(|(a, b)| b < a));
            steps.truncate(turn.unwrap_or(STEPS));
            exact.truncate(steps.len());
        }
        worst = worst.max(largest_difference(&exact, &simulate(&moments, rule, eta, &steps)?));
    }
    let span = if rule == MUON { "until the first component turns back" } else { "199 steps to the horizon" };
    let quantity = format!("largest difference of α, {span}, {SETS} sets of random spectra in random bases (k ≥ r, d ≥ r)");
    Ok(Check::at_most(id, worst, config.tolerance, quantity))
}

fn flow(config: &VerifyConfig) -> Result<Check> {
    let (mut least, mut place) = (f64::INFINITY, String::new());
    for index in 0..SETS {
        let (c, moments) = dense(config, index)?;
        for rule in [Rule::Gd, Rule::Ngd, POWER] {
            // Inside the smooth part of the path: NGD arrives, and the power rule's components saturate, in finite time.
            let end = match rule {
                Rule::Power { exponent } => {
                    0.9 * c
                        .pairs()
                        .map(|(yx, xx)| yx.powf(1.0 - exponent) / ((1.0 - exponent) * xx))
                        .fold(f64::INFINITY, f64::min)
                }
                _ => 0.9 * horizon(&c, rule),
            };
            let times: Vec<f64> = (1..=10).map(|i| end * f64::from(i) / 10.0).collect();
            let exact = rule.closed_form(&c, &Network::LINEAR, &times)?;
            let error = |each: usize| -> Result<f64> {
                let steps: Vec<usize> = (1..=10).map(|i| i * each).collect();
                Ok(largest_difference(&exact, &simulate(&moments, rule, end / (10 * each) as f64, &steps)?))
            };
            let order = (error(40)? / error(80)?).log2();
            if order < least {
                (least, place) = (order, format!("{}, set {index}", rule.name()));
            }
        }
    }
    let quantity =
        format!("smallest observed order from η = T/400 to T/800 over {SETS} sets of random spectra and 3 rules ({place})");
    Ok(Check::at_least("given-flow", least, 0.9, quantity))
}

fn specgd_flow(config: &VerifyConfig) -> Result<Check> {
    let mut worst = 0.0_f64;
    for index in 0..SETS {
        let (c, moments) = dense(config, index)?;
        let eta = 1.2 * horizon(&c, Rule::SpecGd) / 150.0;
        let steps: Vec<usize> = (0..=150).collect();
        let times: Vec<f64> = steps.iter().map(|&n| n as f64 * eta).collect();
        let exact = Rule::SpecGd.closed_form(&c, &Network::LINEAR, &times)?;
        worst = worst.max(largest_difference(&exact, &simulate(&moments, Rule::SpecGd, eta, &steps)?) / eta);
    }
    let quantity = format!("largest |α − min(t, a*)|/η, 150 steps to 1.2 max a*, {SETS} sets of random spectra");
    Ok(Check::at_most("given-specgd-flow", worst, 1.0, quantity))
}

/// Priors and directions of a mixture; lengths of the means between 0.5 and 3.
fn random_means(config: &VerifyConfig, index: usize, orthogonal: bool) -> Result<GaussianMixture> {
    let mut rng = stream(config.seed, Purpose::ObliqueMeans, index);
    let (k, d) = (2 + index % 3, 4 + index % 4);
    let directions = if orthogonal {
        orthonormal(d, k, &mut rng)
    } else {
        let gaussian: Mat<f64> = Mat::from_fn(d, k, |_, _| StandardNormal.sample(&mut rng));
        Mat::from_fn(d, k, |i, c| gaussian[(i, c)] / gaussian.col(c).norm_l2())
    };
    let weights: Vec<f64> = (0..k).map(|_| 0.1 + rng.random::<f64>()).collect();
    let total: f64 = weights.iter().sum();
    let lengths: Vec<f64> = (0..k).map(|_| 0.5 + 2.5 * rng.random::<f64>()).collect();
    let means: Vec<Vec<f64>> = (0..k).map(|c| (0..d).map(|i| lengths[c] * directions[(i, c)]).collect()).collect();
    GaussianMixture::new(weights.iter().map(|weight| weight / total).collect(), &means, 0.5 + rng.random::<f64>())
}

fn unequal_means(config: &VerifyConfig) -> Result<Check> {
    let mut worst = 0.0_f64;
    for index in 0..SETS {
        let mixture = random_means(config, index, true)?;
        let c = mixture.components()?;
        let first = c.limits().into_iter().fold(f64::INFINITY, f64::min);
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, POWER, MUON] {
            // Up to the first saturation: with d > k rounding errors outside the means' span can grow afterwards.
            let eta = first / 60.5;
            let steps: Vec<usize> = (0..=60).collect();
            let times = steps.iter().map(|&n| n as f64 * eta).collect();
            let config = TrajectoryConfig { rule, times, network: Network::LINEAR, source: Source::Simulation { eta } };
            let simulated = Model::GaussianMixture(mixture.clone()).trajectory(&config)?;
            let simulated: Vec<Vec<f64>> = simulated.into_iter().map(|row| row.alpha).collect();
            worst = worst.max(largest_difference(&discrete(&c, &Network::LINEAR, rule, eta, &steps)?, &simulated));
        }
    }
    let quantity = format!("largest difference of α by class to the discrete forms, 60 steps, 5 rules, {SETS} random mixtures");
    Ok(Check::at_most("unequal-means", worst, config.tolerance, quantity))
}

/// Descent on the loss itself, in loops: ∇ = Σ_c p_c (W μ_c − e_c) μ_cᵀ + σ² W from samples' classes, and U Vᵀ = (G Gᵀ)^{−1/2} G from an
/// eigenvalue decomposition.
fn brute_force(priors: &[f64], means: &[Vec<f64>], noise: f64, rule: Rule, eta: f64, steps: usize) -> Result<Vec<f64>> {
    let (k, d) = (priors.len(), means[0].len());
    let mut weights = Mat::<f64>::zeros(k, d);
    for _ in 0..steps {
        let mut gradient = Mat::from_fn(k, d, |i, j| noise * noise * weights[(i, j)]);
        for (class, mean) in means.iter().enumerate() {
            for row in 0..k {
                let output: f64 = (0..d).map(|j| weights[(row, j)] * mean[j]).sum();
                let error = output - f64::from(u8::from(row == class));
                for j in 0..d {
                    gradient[(row, j)] += priors[class] * error * mean[j];
                }
            }
        }
        let direction = match rule {
            Rule::Ngd => faer::Scale(1.0 / gradient.norm_l2()) * &gradient,
            Rule::SignGd => Mat::from_fn(k, d, |i, j| gradient[(i, j)].signum()),
            Rule::SpecGd => {
                let gram: Mat<f64> = &gradient * gradient.transpose();
                let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| Error::Svd { rows: k, cols: k })?;
                let inverse = Mat::from_fn(k, k, |i, j| eigen.U()[(i, j)] / eigen.S().column_vector()[j].sqrt());
                inverse * (eigen.U().transpose() * &gradient)
            }
            _ => gradient,
        };
        weights -= faer::Scale(eta) * direction;
    }
    let alpha = |(c, mean): (usize, &Vec<f64>)| {
        let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt();
        (0..d).map(|j| weights[(c, j)] * mean[j]).sum::<f64>() / length
    };
    Ok(means.iter().enumerate().map(alpha).collect())
}

fn oblique_means(config: &VerifyConfig) -> Result<Check> {
    let mut worst = 0.0_f64;
    for index in 0..SETS {
        let mixture = random_means(config, index, false)?;
        let (priors, means, noise) = mixture.parts();
        let moments = mixture.matrix_moments()?;
        for rule in [Rule::Gd, Rule::Ngd, Rule::SignGd, Rule::SpecGd] {
            // GD is stable at a quarter of its limit; the others stay clear of the optimum, where the polar factor is ill-conditioned.
            let eta = if rule == Rule::Gd { 0.5 / moments.largest_eigenvalue() } else { 1e-3 };
            let expected = brute_force(&priors, &means, noise, rule, eta, 30)?;
            let times = vec![30.0 * eta];
            let config = TrajectoryConfig { rule, times, network: Network::LINEAR, source: Source::Simulation { eta } };
            let found = Model::GaussianMixture(mixture.clone()).trajectory(&config)?.remove(0).alpha;
            worst = worst.max(largest_difference(&[found], &[expected]));
        }
    }
    let quantity = format!(
        "largest difference of α by class to loops over the classes, 30 steps of GD, NGD, SignGD and SpecGD, {SETS} random mixtures"
    );
    // An inverse root of G Gᵀ has the square of G's condition number.
    Ok(Check::at_most("oblique-means", worst, 1e3 * config.tolerance, quantity))
}

fn sign_permuted(config: &VerifyConfig) -> Result<Check> {
    let mixtures = super::linear::mixtures(config.seed)?;
    let mut worst = 0.0_f64;
    for mixture in &mixtures {
        let c = mixture.components();
        // 100 steps through all saturations; no error off the diagonal can grow, as entries of rounding size get no step.
        let eta = c.limits().into_iter().fold(0.0, f64::max) / 99.37;
        let steps: Vec<usize> = (0..=100).collect();
        let exact = discrete(&c, &Network::LINEAR, Rule::SpecGd, eta, &steps)?;
        for seed in 0..4 {
            let moments = MatrixMoments::permuted(mixture, config.seed.wrapping_add(seed))?;
            worst = worst.max(largest_difference(&exact, &simulate(&moments, Rule::SignGd, eta, &steps)?));
        }
    }
    let quantity = format!(
        "largest difference of simulated SignGD to SpecGD's form, 100 steps, 4 pairs of permutations, {} mixtures",
        mixtures.len()
    );
    Ok(Check::at_most("signgd-permuted", worst, config.tolerance, quantity))
}

/// The value is the largest difference in permuted bases; rotated bases must differ by a hundredth of max a* at least, or it is infinite.
fn sign_given(config: &VerifyConfig) -> Result<Check> {
    let (mut worst, mut least) = (0.0_f64, f64::INFINITY);
    for index in 0..SETS {
        let c = spectra(config, index)?;
        let largest = c.limits().into_iter().fold(0.0, f64::max);
        let eta = largest / 99.37;
        let steps: Vec<usize> = (0..=100).collect();
        let exact = discrete(&c, &Network::LINEAR, Rule::SpecGd, eta, &steps)?;
        // Component c in output r − 1 − c and input d − r + c, every second one with a sign.
        let (r, d) = (c.len(), c.dim());
        let left = Mat::from_fn(r, r, |i, j| if i + j + 1 == r { [1.0, -1.0][j % 2] } else { 0.0 });
        let right = Mat::from_fn(d, r, |i, j| if i == d - r + j { [1.0, -1.0][j / 2 % 2] } else { 0.0 });
        let permuted = MatrixMoments::with_bases(c.clone(), left, right);
        worst = worst.max(largest_difference(&exact, &simulate(&permuted, Rule::SignGd, eta, &steps)?));
        // One rotation of two dimensions can be near a permutation: the farthest of four counts.
        let mut far = 0.0_f64;
        for seed in 0..4 {
            let rotated = MatrixMoments::from_spectra(c.clone(), config.seed.wrapping_add(seed))?;
            far = far.max(largest_difference(&exact, &simulate(&rotated, Rule::SignGd, eta, &steps)?));
        }
        least = least.min(far / largest);
    }
    let quantity = format!(
        "largest difference of simulated SignGD to SpecGD's form in permuted bases, 100 steps, {SETS} sets of random spectra (in rotated bases at least {least:.2} max a*)"
    );
    let value = if least >= 0.01 { worst } else { f64::INFINITY };
    Ok(Check::at_most("signgd-given", value, config.tolerance, quantity))
}
