//! Condition 1 up to a residual: the first-order movements of the trajectories against matrix simulations.

use faer::Mat;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{Check, Group, Job, VerifyConfig, is_worse};
use crate::error::Result;
use crate::linalg::frobenius;
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::perturbation::Perturbation;
use crate::random::{Purpose, orthonormal, stream};
use crate::rules::Rule;
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Condition 1 up to a residual",
    statements: &[
        ("condition1-residual", "The residual that is measured is the one that was put in"),
        ("condition1-gd", "A residual B moves GD by −s_yx,i B_ij J(s_i, s_j; t) to first order (Duhamel)"),
        ("condition1-gd-order", "The movement of GD divided by the residual tends to the first-order one with order 1"),
        ("condition1-gd-bound", "GD moves by no more than its bound, for every size of the residual"),
        ("condition1-alpha", "The components α_c of GD move only at second order, by s_yx,c Σ_j B_cj² J₂ ≥ 0"),
        ("condition1-ngd", "NGD moves as GD at the re-timed instant: its clock does not move to first order"),
        (
            "condition1-specgd",
            "SpecGD moves only towards the complement, by −B_ij a_i*/s_i h(s_j/s_i, t/a_i*), until a component saturates",
        ),
        ("condition1-specgd-order", "The movement of SpecGD divided by the residual tends to the first-order one with order 1"),
        ("condition1-specgd-span", "A residual among the components leaves SpecGD at t U Vᵀ exactly until the first saturation"),
        (
            "condition1-specgd-saturation",
            "With a residual among the components SpecGD first saturates at 1/λ_max(S_yx^{−1/2} Vᵀ Σ_xx V S_yx^{−1/2})",
        ),
    ],
    jobs: &[
        Job { ids: &["condition1-residual"], run: |config| Ok(vec![residual(config)?]) },
        Job { ids: &["condition1-gd"], run: |config| Ok(vec![first_order(config, "condition1-gd", Rule::Gd)?]) },
        Job { ids: &["condition1-gd-order"], run: |config| Ok(vec![order(config, "condition1-gd-order", Rule::Gd)?]) },
        Job { ids: &["condition1-gd-bound"], run: |config| Ok(vec![bound(config)?]) },
        Job { ids: &["condition1-alpha"], run: |config| Ok(vec![alpha(config)?]) },
        Job { ids: &["condition1-ngd"], run: |config| Ok(vec![first_order(config, "condition1-ngd", Rule::Ngd)?]) },
        Job { ids: &["condition1-specgd"], run: |config| Ok(vec![first_order(config, "condition1-specgd", Rule::SpecGd)?]) },
        Job {
            ids: &["condition1-specgd-order"],
            run: |config| Ok(vec![order(config, "condition1-specgd-order", Rule::SpecGd)?]),
        },
        Job { ids: &["condition1-specgd-span", "condition1-specgd-saturation"], run: span },
    ],
};

/// Problems, each with its own B.
const SETS: usize = 12;

/// A problem that satisfies Condition 1, and a direction B to leave it in, ‖B‖_F = ‖S‖_F.
struct Problem {
    cross: Mat<f64>,
    diagonal: Vec<f64>,
    residual: Mat<f64>,
    basis: Mat<f64>,
    /// min a_c*.
    first: f64,
}

impl Problem {
    /// Two to five components and one to four more dimensions; with `coupled` B also couples the two, otherwise it is among the
    /// components only.
    fn new(config: &VerifyConfig, index: usize, coupled: bool) -> Self {
        let mut rng = stream(config.seed, Purpose::Residuals, index);
        let (r, d) = (2 + index % 4, 3 + index % 4 + index / 4 % 4);
        let s_yx: Vec<f64> = (0..r).map(|c| 0.7_f64.powf(c as f64 + 0.4 * rng.random::<f64>())).collect();
        let diagonal: Vec<f64> = (0..d).map(|_| 0.5 + rng.random::<f64>()).collect();
        let mut residual = Mat::zeros(d, d);
        for i in 0..r {
            for j in i + 1..if coupled { d } else { r } {
                let entry: f64 = StandardNormal.sample(&mut rng);
                residual[(i, j)] = entry;
                residual[(j, i)] = entry;
            }
        }
        let scale = diagonal.iter().map(|s| s * s).sum::<f64>().sqrt() / frobenius(residual.as_ref());
        let basis = orthonormal(d, d, &mut rng);
        let left = orthonormal(r, r, &mut rng);
        let weighted = Mat::from_fn(r, r, |i, c| left[(i, c)] * s_yx[c]);
        let cross: Mat<f64> = &weighted * basis.subcols(0, r).transpose();
        let first = s_yx.iter().zip(&diagonal).map(|(yx, xx)| yx / xx).fold(f64::INFINITY, f64::min);
        Self { cross, diagonal, residual: faer::Scale(scale) * residual, basis, first }
    }

    /// Dense moments with the residual ε B.
    fn moments(&self, epsilon: f64) -> Result<MatrixMoments> {
        let d = self.diagonal.len();
        let inner = Mat::from_fn(d, d, |i, j| epsilon * self.residual[(i, j)] + if i == j { self.diagonal[i] } else { 0.0 });
        MatrixMoments::given(self.cross.clone(), &self.basis * inner * self.basis.transpose())
    }

    /// The times at which a rule is compared: GD on both sides of its time constants, NGD and `SpecGD` on their way.
    fn times(&self, rule: Rule) -> [f64; 2] {
        match rule {
            Rule::Gd => [0.5, 3.0],
            _ => [0.4 * self.first, 0.9 * self.first],
        }
    }
}

/// W(t) of the flow from two simulations: 2 W_{η/2} − W_η is of second order in η.
fn flow(moments: &MatrixMoments, rule: Rule, t: f64, steps: usize) -> Result<Mat<f64>> {
    let weights = |steps: usize| -> Result<Mat<f64>> {
        let mut simulation = Simulation::new(moments, &Network::LINEAR, rule, t / steps as f64, 0)?;
        while simulation.step() < steps {
            simulation.advance()?;
        }
        Ok(simulation.weights().to_owned())
    };
    Ok(faer::Scale(2.0) * weights(2 * steps)? - weights(steps)?)
}

/// The measured and the first-order movement, r×d in the bases of the perturbed moments.
fn movement(problem: &Problem, rule: Rule, epsilon: f64, t: f64, steps: usize) -> Result<(Mat<f64>, Mat<f64>)> {
    let moments = problem.moments(epsilon)?;
    let perturbation = Perturbation::of(&moments)?;
    let moved = flow(&moments, rule, t, steps)? - flow(&problem.moments(0.0)?, rule, t, steps)?;
    let measured = moments.left().transpose() * moved * perturbation.basis();
    let predicted = match rule {
        Rule::Gd => perturbation.gd(t),
        Rule::Ngd => perturbation.ngd(t),
        _ => perturbation.specgd(t)?,
    };
    Ok((measured, predicted))
}

fn residual(config: &VerifyConfig) -> Result<Check> {
    let mut worst = 0.0_f64;
    for index in 0..SETS {
        let problem = Problem::new(config, index, true);
        for epsilon in [1e-4, 1e-2, 0.1] {
            let moments = problem.moments(epsilon)?;
            let found = [moments.condition1()?.relative, Perturbation::of(&moments)?.relative()];
            worst = found.iter().map(|found| (found / epsilon - 1.0).abs()).fold(worst, f64::max);
        }
    }
    let quantity = format!("largest relative error of ‖B‖_F/‖S_xx‖_F, {SETS} random B at 1e-4, 1e-2 and 0.1 in random bases");
    Ok(Check::at_most("condition1-residual", worst, 1e-9, quantity))
}

fn first_order(config: &VerifyConfig, id: &'static str, rule: Rule) -> Result<Check> {
    const EPSILON: f64 = 1e-4;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for index in 0..SETS {
        let problem = Problem::new(config, index, true);
        for t in problem.times(rule) {
            let (measured, predicted) = movement(&problem, rule, EPSILON, t, 200)?;
            let error = frobenius((&measured - &predicted).as_ref()) / frobenius(predicted.as_ref());
            if is_worse(error, worst) {
                (worst, place) = (error, format!("set {index}, t = {t:.3}"));
            }
        }
    }
    let quantity = format!(
        "largest ‖δW/ε − first order‖/‖first order‖, simulated at ε = {EPSILON:e}, {SETS} random problems and B, 2 times ({place})"
    );
    // What ε itself and the squares of the step sizes leave.
    Ok(Check::at_most(id, worst, 2e-3, quantity))
}

/// The order of the remainder, from ε = 0.04 to 0.02.
fn order(config: &VerifyConfig, id: &'static str, rule: Rule) -> Result<Check> {
    let (mut least, mut place) = (f64::INFINITY, String::new());
    for index in 0..SETS {
        let problem = Problem::new(config, index, true);
        let t = problem.times(rule)[0];
        let remainder = |epsilon: f64| -> Result<f64> {
            let (measured, predicted) = movement(&problem, rule, epsilon, t, 200)?;
            Ok(frobenius((&measured - &predicted).as_ref()) / epsilon)
        };
        let order = (remainder(0.04)? / remainder(0.02)?).log2();
        if is_worse(-order, -least) {
            (least, place) = (order, format!("set {index}"));
        }
    }
    let quantity =
        format!("smallest observed order of ‖δW/ε − first order‖ from ε = 0.04 to 0.02, {SETS} random problems and B ({place})");
    Ok(Check::at_least(id, least, 0.8, quantity))
}

fn bound(config: &VerifyConfig) -> Result<Check> {
    let (mut worst, mut place) = (0.0_f64, String::new());
    for index in 0..SETS {
        let problem = Problem::new(config, index, true);
        for epsilon in [1e-3, 1e-2, 0.1] {
            let moments = problem.moments(epsilon)?;
            let perturbation = Perturbation::of(&moments)?;
            for t in [0.5, 3.0, 20.0] {
                let moved = flow(&moments, Rule::Gd, t, 100)? - flow(&problem.moments(0.0)?, Rule::Gd, t, 100)?;
                let share = frobenius(moved.as_ref()) / perturbation.gd_bound(t);
                if is_worse(share, worst) {
                    (worst, place) = (share, format!("set {index}, ε = {epsilon}, t = {t}"));
                }
            }
        }
    }
    let quantity =
        format!("largest simulated ‖δW‖_F over its bound, {SETS} random problems and B, ε = 1e-3, 1e-2, 0.1, 3 times ({place})");
    Ok(Check::at_most("condition1-gd-bound", worst, 1.0, quantity))
}

fn alpha(config: &VerifyConfig) -> Result<Check> {
    const EPSILON: f64 = 1e-3;
    let (mut worst, mut place) = (0.0_f64, String::new());
    for index in 0..SETS {
        let problem = Problem::new(config, index, true);
        for t in problem.times(Rule::Gd) {
            let (measured, _) = movement(&problem, Rule::Gd, EPSILON, t, 200)?;
            let predicted = Perturbation::of(&problem.moments(EPSILON)?)?.gd_alpha(t);
            let size = predicted.iter().copied().fold(0.0, f64::max);
            let error =
                predicted.iter().enumerate().map(|(c, value)| (measured[(c, c)] - value).abs()).fold(0.0, f64::max) / size;
            if is_worse(error, worst) {
                (worst, place) = (error, format!("set {index}, t = {t}"));
            }
        }
    }
    let quantity = format!(
        "largest |δα_c/ε² − second order| over the largest second-order term, simulated at ε = {EPSILON:e}, {SETS} random problems and B, 2 times ({place})"
    );
    Ok(Check::at_most("condition1-alpha", worst, 0.01, quantity))
}

fn span(config: &VerifyConfig) -> Result<Vec<Check>> {
    const STEPS: f64 = 150.3;
    let (mut worst, mut latest) = (0.0_f64, 0.0_f64);
    for index in 0..SETS {
        let problem = Problem::new(config, index, false);
        let moments = problem.moments(0.1)?;
        let saturation = Perturbation::of(&moments)?.first_saturation()?;
        let eta = problem.first / STEPS;
        let polar: Mat<f64> = moments.left() * moments.right().transpose();
        let mut simulation = Simulation::new(&moments, &Network::LINEAR, Rule::SpecGd, eta, 0)?;
        // Off the path of all components at the same rate, by more than rounding: one of them has turned back.
        let mut left_at = None;
        while left_at.is_none() && simulation.step() < 400 {
            simulation.advance()?;
            let t = simulation.step() as f64 * eta;
            let away = frobenius((simulation.weights() - faer::Scale(t) * &polar).as_ref());
            if t <= saturation {
                worst = worst.max(away);
            }
            if away > 0.5 * eta {
                left_at = Some(t);
            }
        }
        // The step after the first grid point beyond the saturation goes back: η to 2η late.
        let late = left_at.map_or(f64::INFINITY, |t| (t - saturation) / eta);
        latest = latest.max((late - 1.5).abs());
    }
    let before =
        format!("largest ‖W − t U Vᵀ‖_F up to the predicted first saturation, simulated, {SETS} random B of 0.1 ‖S_xx‖_F");
    let time = format!(
        "largest distance, in steps, of the first step back from its place 1 to 2 steps after the prediction, less 1/2, {SETS} random B of 0.1 ‖S_xx‖_F"
    );
    Ok(vec![
        Check::at_most("condition1-specgd-span", worst, config.tolerance, before),
        Check::at_most("condition1-specgd-saturation", latest, 0.5 + 1e-6, time),
    ])
}
