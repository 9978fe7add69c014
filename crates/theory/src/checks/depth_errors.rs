//! Deep linear models: what the idealizations δ → ∞, η → 0 and aligned bases leave out.

use faer::Mat;

use super::linear::mixtures;
use super::{Check, Group, Job, VerifyConfig};
use crate::discrete::discrete;
use crate::error::Result;
use crate::idealization::{Start, alternation, balanced_bilinear, delta_deviation, euler_error, specgd_deviation};
use crate::initialization::{aligned, balanced_pair, gaussian};
use crate::mixture::{Mixture, MixtureConfig};
use crate::moments::MatrixMoments;
use crate::network::Network;
use crate::rules::Rule;
use crate::simulation::Simulation;

pub(super) const GROUP: Group = Group {
    title: "Depth: the error of the idealization",
    statements: &[
        (
            "depth-alternation",
            "SpecGD with L layers ends in an alternation of the size L η (a_c*)^{(L−1)/L} and follows the flow exactly until then",
        ),
        ("depth-euler", "GD's steps are off the flow by −(η/2) L w^{L−1} f ln(f/f₀) + O(η²), f = w^{L−1} r"),
        ("depth-delta-times", "The saturation times tend to (a_c*)^{1/L} with the error e^{−δ}"),
        ("depth-delta-spread", "ΔT(δ) tends to ΔT from above, with the error ΔT e^{−δ}/(w_m − e^{−δ})"),
        (
            "depth-delta-path",
            "From layers e^{−δ} SpecGD is off its limit δ → ∞ by at most a_c* − (w_c* − e^{−δ})^L, and by that much",
        ),
        (
            "depth-balanced",
            "From balanced layers without alignment bilinear SpecGD, flow and steps alike, is S^{−1}((S P₀ S)^{1/2} + t S)² S^{−1} while the residual is S",
        ),
        (
            "depth-random",
            "From random layers of the size e^{−δ} SpecGD comes to the aligned path with order 1 in e^{−δ} for every L, with steps small against the layers",
        ),
        (
            "depth-parity",
            "A component whose layers have a negative product returns to zero every two SpecGD steps η > e^{−δ} for even L, and escapes for odd L",
        ),
        (
            "depth-random-gd",
            "From random layers bilinear GD delays its leading component as an aligned start at ‖(w₂ + w₁)/2‖ does, a shift that stays as δ → ∞",
        ),
    ],
    jobs: &[
        Job { ids: &["depth-alternation"], run: |config| Ok(vec![alternates(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-euler"], run: |config| Ok(vec![euler(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-delta-times", "depth-delta-spread"], run: |config| times(&mixtures(config.seed)?) },
        Job { ids: &["depth-delta-path"], run: |config| Ok(vec![path(&mixtures(config.seed)?)?]) },
        Job { ids: &["depth-balanced"], run: |config| Ok(vec![balanced(config.seed)?]) },
        Job { ids: &["depth-random"], run: |config| Ok(vec![random(config.seed)?]) },
        Job { ids: &["depth-parity"], run: |config| Ok(vec![parity(config)?]) },
        Job { ids: &["depth-random-gd"], run: |config| Ok(vec![random_gd(config.seed)?]) },
    ],
};

fn three_classes(seed: u64, dim: usize) -> Result<Mixture> {
    Mixture::new(MixtureConfig { priors: vec![0.6, 0.3, 0.1], mean_norm: 1.0, noise_std: 1.0, dim: Some(dim), seed })
}

/// Steps after its saturation over which a component is compared: later `SpecGD` may amplify rounding errors (see [`Simulation`]), for
/// L = 4 to 1e-5 within 30 steps.
const AFTER: usize = 12;

/// Distance of simulated values from the flow before, and from the two predicted values after the saturation; mixtures with d = k.
fn alternates(mixtures: &[Mixture]) -> Result<Check> {
    let (mut worst, mut share) = (0.0_f64, 0.0_f64);
    for mixture in mixtures.iter().filter(|mixture| mixture.dim() == mixture.classes()) {
        let c = mixture.components();
        for depth in [2, 3, 4] {
            let network = Network::new(depth, Some(4.0))?;
            let root = 1.0 / f64::from(network.exponent());
            for eta in [0.0137, 0.00337] {
                let ends = alternation(&c, &network, eta)?;
                let matrices = mixture.matrix_moments()?;
                let mut simulation = Simulation::new(&matrices, &network, Rule::SpecGd, eta, mixture.seed())?;
                while simulation.step() as f64 * eta < 1.3 {
                    let t = simulation.step() as f64 * eta;
                    let flow = &Rule::SpecGd.closed_form(&c, &network, &[t])?[0];
                    for (((alpha, flow), (low, high)), limit) in simulation.alpha().iter().zip(flow).zip(&ends).zip(c.limits()) {
                        let saturation = limit.powf(root) - network.layer_start();
                        if t > saturation + AFTER as f64 * eta {
                            continue;
                        }
                        let before = t < saturation;
                        let difference = if before {
                            (alpha - flow).abs()
                        } else {
                            (flow - limit).abs().max((alpha - low).abs().min((alpha - high).abs()))
                        };
                        worst = worst.max(difference);
                        let first_order = f64::from(network.exponent()) * eta * limit.powf(1.0 - root);
                        share = share.max((alpha - flow).abs() / first_order);
                    }
                    simulation.advance()?;
                }
            }
        }
    }
    let quantity = format!(
        "largest distance from the flow before and from the two predicted values up to {AFTER} steps after saturation, L = 2, 3, 4, δ = 4, η = 0.0137 and 0.00337, mixtures with d = k (largest |α − flow|: {share:.2} of L η (a*)^((L−1)/L))"
    );
    Ok(Check::at_most("depth-alternation", worst, 1e-9, quantity))
}

/// (α_n − α(t))/η by Richardson extrapolation from two step sizes, against the first-order term.
fn euler(mixtures: &[Mixture]) -> Result<Check> {
    const TIMES: usize = 12;
    let mut worst = 0.0_f64;
    for mixture in &mixtures[..2] {
        let c = mixture.components();
        let end = 5.0 / c.largest_cross();
        let times: Vec<f64> = (1..=TIMES).map(|i| end * i as f64 / TIMES as f64).collect();
        for depth in 1..=4 {
            let network = Network::new(depth, (depth > 1).then_some(1.0))?;
            let exact = Rule::Gd.closed_form(&c, &network, &times)?;
            let predicted = euler_error(&c, &network, &times)?;
            let slopes = [50, 100]
                .into_iter()
                .map(|each| {
                    let eta = end / (TIMES * each) as f64;
                    let matrices = mixture.matrix_moments()?;
                    let mut simulation = Simulation::new(&matrices, &network, Rule::Gd, eta, mixture.seed())?;
                    exact
                        .iter()
                        .map(|row| {
                            for _ in 0..each {
                                simulation.advance()?;
                            }
                            Ok(simulation.alpha().iter().zip(row).map(|(a, b)| (a - b) / eta).collect::<Vec<f64>>())
                        })
                        .collect::<Result<Vec<_>>>()
                })
                .collect::<Result<Vec<_>>>()?;
            let scale = predicted.iter().flatten().fold(0.0_f64, |a, e| a.max(e.abs()));
            for ((coarse, fine), predicted) in
                slopes[0].iter().flatten().zip(slopes[1].iter().flatten()).zip(predicted.iter().flatten())
            {
                worst = worst.max((2.0 * fine - coarse - predicted).abs() / scale);
            }
        }
    }
    let quantity = "largest difference of the extrapolated (α_n − α(t))/η from the term, relative to its largest value, 12 times, L = 1 to 4, two mixtures, η = T/600 and T/1200".to_owned();
    Ok(Check::at_most("depth-euler", worst, 0.01, quantity))
}

/// The time at which a simulated component crosses its limit, by interpolation of the layers' value, which is linear in time.
fn crossing(mixture: &Mixture, network: &Network, eta: f64) -> Result<Vec<f64>> {
    let (limits, root) = (mixture.components().limits(), 1.0 / f64::from(network.exponent()));
    let matrices = mixture.matrix_moments()?;
    let mut simulation = Simulation::new(&matrices, network, Rule::SpecGd, eta, mixture.seed())?;
    let mut found = vec![f64::INFINITY; limits.len()];
    let mut before = simulation.alpha();
    while simulation.step() as f64 * eta < 1.5 && found.iter().any(|t| t.is_infinite()) {
        simulation.advance()?;
        let alpha = simulation.alpha();
        for (class, limit) in limits.iter().enumerate() {
            if found[class].is_infinite() && alpha[class] >= limit * (1.0 - 1e-12) {
                let (a, b, wanted) = (before[class].powf(root), alpha[class].powf(root), limit.powf(root));
                found[class] = eta * (simulation.step() as f64 - (b - wanted) / (b - a));
            }
        }
        before = alpha;
    }
    Ok(found)
}

fn times(mixtures: &[Mixture]) -> Result<Vec<Check>> {
    let (mut time, mut spread, mut example) = (0.0_f64, 0.0_f64, Vec::new());
    for mixture in mixtures {
        for depth in [2, 3, 4] {
            let ideal = Network::new(depth, None)?;
            let limits = mixture.saturation_times(&ideal);
            for delta in [2.0, 4.0, 6.0] {
                let network = Network::new(depth, Some(delta))?;
                let measured = crossing(mixture, &network, 0.0101)?;
                let start = (-delta).exp();
                // A component that starts beyond its limit comes down instead.
                for (measured, limit) in measured.iter().zip(&limits).filter(|(_, limit)| **limit > start) {
                    time = time.max(((limit - measured) / start - 1.0).abs());
                }
                if mixture.saturation_times(&network).contains(&0.0) {
                    continue;
                }
                let (limit, now) = (mixture.saturation_spread(&ideal), mixture.saturation_spread(&network));
                let found = measured[mixture.majority()] / measured[mixture.minority()] - 1.0;
                spread = spread.max((found - now).abs() / (1.0 + limit));
                if depth == 2 && mixture.classes() == 3 && mixture.dim() == 3 {
                    example.push(format!("{:.4}", (found - limit) / start));
                }
            }
        }
    }
    let first =
        format!("largest |((a*)^(1/L) − simulated time)/e^(−δ) − 1|, L = 2, 3, 4, δ = 2, 4, 6, {} mixtures", mixtures.len());
    let second = format!(
        "largest |simulated − predicted ΔT(δ)|/(1 + ΔT), L = 2, 3, 4, δ = 2, 4, 6, {} mixtures (first mixture, L = 2: (ΔT(δ) − ΔT) e^δ = {})",
        mixtures.len(),
        example.join(", ")
    );
    Ok(vec![Check::at_most("depth-delta-times", time, 1e-8, first), Check::at_most("depth-delta-spread", spread, 1e-9, second)])
}

/// The largest distance of a simulation from e^{−δ} to the flow of the limit, and the predicted one.
fn path(mixtures: &[Mixture]) -> Result<Check> {
    const ETA: f64 = 2e-3;
    let (mut worst, mut constants) = (0.0_f64, Vec::new());
    for mixture in &mixtures[..2] {
        let c = mixture.components();
        for depth in [2, 3, 4] {
            for delta in [2.0, 3.0] {
                let network = Network::new(depth, Some(delta))?;
                let measured = specgd_deviation(&mixture.matrix_moments()?, &network, Start::Aligned, ETA, 0)?.alpha;
                let predicted = delta_deviation(&c, &network).into_iter().fold(0.0, f64::max);
                // The steps add at most L η (w* + η)^{L−1} for the component with the largest limit.
                let layer = c.limits().into_iter().fold(0.0, f64::max).powf(1.0 / f64::from(network.exponent()));
                let allowed = f64::from(network.exponent()) * ETA * (layer + ETA).powi(network.exponent() - 1);
                worst = worst.max((measured - predicted).abs() / allowed);
                if mixture.classes() == 3 && depth == 3 {
                    constants.push(format!("{:.3}", measured * delta.exp()));
                }
            }
        }
    }
    let quantity = format!(
        "largest |simulated − predicted deviation| over L η (w* + η)^(L−1), L = 2, 3, 4, δ = 2, 3, η = {ETA}, two mixtures (first mixture, L = 3: simulated deviation · e^δ = {})",
        constants.join(", ")
    );
    Ok(Check::at_most("depth-delta-path", worst, 1.0, quantity))
}

fn balanced(seed: u64) -> Result<Check> {
    let (mut worst, mut distance) = (0.0_f64, 0.0_f64);
    for index in 0..6 {
        let mixture = three_classes(seed.wrapping_add(index), 4)?;
        let moments = mixture.matrix_moments()?;
        // Hardly any second moment: the residual stays at Σ_yx.
        let flat =
            MatrixMoments::given(moments.sigma_yx().to_owned(), Mat::from_fn(4, 4, |i, j| if i == j { 1e-13 } else { 0.0 }))?;
        let (outer, layers) = balanced_pair(&moments, 1.0, index)?;
        let mut simulation = Simulation::from_layers(&flat, layers, Rule::SpecGd, 0.05)?;
        for _ in 0..20 {
            simulation.advance()?;
            let t = simulation.step() as f64 * 0.05;
            let exact = balanced_bilinear(moments.components().s_yx(), outer.as_ref(), t)?;
            worst = worst.max((simulation.weights() * moments.right() - exact).norm_max());
        }
        distance = distance.max((simulation.weights() * moments.right() - Mat::<f64>::identity(3, 3)).norm_max());
    }
    let quantity = format!(
        "largest difference of an entry of W V over 20 steps of η = 1/20, six Gaussian draws of size e^(−1) (largest distance from t² I at t = 1: {distance:.2})"
    );
    Ok(Check::at_most("depth-balanced", worst, 1e-10, quantity))
}

fn random(seed: u64) -> Result<Check> {
    const DELTAS: [f64; 2] = [3.0, 4.5];
    const SEEDS: u64 = 5;
    let (mut least, mut constant, mut place) = (f64::INFINITY, 0.0_f64, 0);
    for depth in [2, 3, 4] {
        let mut means = [0.0; 2];
        for (mean, delta) in means.iter_mut().zip(DELTAS) {
            let network = Network::new(depth, Some(delta))?;
            for index in 0..SEEDS {
                let moments = three_classes(seed.wrapping_add(index), 5)?.matrix_moments()?;
                let found =
                    specgd_deviation(&moments, &network, Start::Gaussian, (-delta).exp() / 16.0, seed.wrapping_add(index))?;
                let largest = found.alpha.max(found.off_diagonal);
                *mean += largest / SEEDS as f64;
                if largest * delta.exp() > constant {
                    (constant, place) = (largest * delta.exp(), depth);
                }
            }
        }
        least = least.min((means[0] / means[1]).ln() / (DELTAS[1] - DELTAS[0]));
    }
    let quantity = format!(
        "smallest observed order in e^(−δ) of the mean deviation of W over time, L = 2, 3, 4, δ = 3 and 4.5, η = e^(−δ)/16, {SEEDS} seeds, k = 3, d = 5 (largest deviation · e^δ: {constant:.2}, L = {place})"
    );
    Ok(Check::at_least("depth-random", least, 0.85, quantity))
}

/// Aligned layers with the sign of one component flipped in the first.
fn parity(config: &VerifyConfig) -> Result<Check> {
    const ETA: f64 = 0.01;
    let mut worst = 0.0_f64;
    let mixture = three_classes(config.seed, 3)?;
    let moments = mixture.matrix_moments()?;
    let limits = mixture.components().limits();
    for depth in 2..=7 {
        let network = Network::new(depth, Some(6.0))?;
        for class in 0..3 {
            let mut layers = aligned(&moments, &network, config.seed);
            let right = moments.right();
            let projected = &layers[0] * right.col(class);
            for i in 0..3 {
                for j in 0..3 {
                    layers[0][(i, j)] -= 2.0 * projected[i] * right[(j, class)];
                }
            }
            let mut simulation = Simulation::from_layers(&moments, layers, Rule::SpecGd, ETA)?;
            let start = simulation.alpha()[class];
            // Two steps lead back to the start; much later rounding errors may turn the bases and free the component.
            for _ in 0..if depth % 2 == 0 { 20 } else { 200 } {
                simulation.advance()?;
            }
            let alpha = simulation.alpha()[class];
            let (wanted, room) = if depth % 2 == 0 {
                (start, 1e-3 * ETA.powi(network.exponent()))
            } else {
                let step = f64::from(network.exponent()) * ETA;
                (
                    limits[class],
                    step * (limits[class].powf(1.0 / f64::from(network.exponent())) + ETA).powi(network.exponent() - 1),
                )
            };
            worst = worst.max((alpha - wanted).abs() / room);
        }
    }
    // How often Gaussian layers are caught.
    let mut caught = Vec::new();
    for depth in [2, 3, 4, 5] {
        let network = Network::new(depth, Some(7.0))?;
        let mut count = 0;
        for index in 0..10 {
            let moments = three_classes(config.seed.wrapping_add(index), 5)?.matrix_moments()?;
            let found = specgd_deviation(&moments, &network, Start::Gaussian, ETA, config.seed.wrapping_add(index))?;
            count += usize::from(found.trapped > 0);
        }
        caught.push(format!("L = {depth}: {count}"));
    }
    let quantity = format!(
        "largest distance from the start after 20 steps (L = 2, 4, 6; over η^L/1000) or from the limit after 200 (L = 3, 5, 7; over the alternation), each of 3 components flipped, η = {ETA}, δ = 6; of 10 draws of Gaussian layers at δ = 7 a component is trapped for {}",
        caught.join(", ")
    );
    Ok(Check::at_most("depth-parity", worst, 1.0, quantity))
}

/// The step at which the leading component passes half of its limit, from random layers and by the recursion from their effective start.
fn random_gd(seed: u64) -> Result<Check> {
    const ETA: f64 = 0.02;
    let (mut worst, mut delays) = (0.0_f64, Vec::new());
    for delta in [5.0, 8.0] {
        let network = Network::new(2, Some(delta))?;
        let mut shifts = Vec::new();
        for index in 0..4 {
            let mixture = three_classes(seed.wrapping_add(index), 5)?;
            let moments = mixture.matrix_moments()?;
            let c = mixture.components();
            let target = 0.5 * c.limits()[0];
            let layers = gaussian(&moments, &network, seed.wrapping_add(index));
            let inner = &layers[0] * moments.right();
            let overlap: f64 = (0..3).map(|j| (0.5 * (layers[1][(0, j)] + inner[(j, 0)])).powi(2)).sum();
            let steps: Vec<usize> = (0..2000).collect();
            let passed = |start: f64| -> Result<f64> {
                let rows = discrete(&c, &Network::new(2, Some(start))?, Rule::Gd, ETA, &steps)?;
                Ok(rows.iter().position(|row| row[0] >= target).map_or(f64::INFINITY, |step| step as f64))
            };
            let (expected, from_aligned) = (passed(-0.5 * overlap.ln())?, passed(delta)?);
            let mut simulation = Simulation::from_layers(&moments, layers, Rule::Gd, ETA)?;
            while simulation.alpha()[0] < target && simulation.step() < steps.len() {
                simulation.advance()?;
            }
            let measured = simulation.step() as f64;
            worst = worst.max((measured - expected).abs() * ETA);
            shifts.push(format!("{:.2}", (measured - from_aligned) * ETA));
        }
        delays.push(format!("{} at δ = {delta}", shifts.join(", ")));
    }
    let quantity = format!(
        "largest difference of the time of a_M*/2, δ = 5 and 8, η = {ETA}, four draws (delays against the aligned start e^(−δ): {})",
        delays.join("; ")
    );
    Ok(Check::at_most("depth-random-gd", worst, 0.1, quantity))
}
