//! Properties that hold for all inputs.

use faer::Mat;
use isorate_theory::{
    Components, MatrixMoments, Mixture, MixtureConfig, Network, Rule, Simulation, Source, TrajectoryConfig, discrete, losses,
    matrix_losses, polar_factor, trajectory,
};
use proptest::prelude::*;

/// Mixtures of two to five classes with priors above 2%.
fn mixtures() -> impl Strategy<Value = Mixture> {
    (prop::collection::vec(0.05..1.0_f64, 2..=5), 0.5..3.0_f64, 0.3..2.0_f64, 0_usize..4, any::<u64>()).prop_map(
        |(weights, mean_norm, noise_std, extra, seed)| {
            let sum: f64 = weights.iter().sum();
            let priors: Vec<f64> = weights.iter().map(|weight| weight / sum).collect();
            let dim = Some(priors.len() + extra);
            Mixture::new(MixtureConfig { priors, mean_norm, noise_std, dim, seed }).expect("valid")
        },
    )
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Gd),
        Just(Rule::Ngd),
        Just(Rule::SpecGd),
        (0.1..0.9_f64).prop_map(|exponent| Rule::Power { exponent }),
        (0.1..0.95_f64).prop_map(|momentum| Rule::Muon { momentum }),
    ]
}

fn largest_limit(mixture: &Mixture) -> f64 {
    mixture.components().limits().into_iter().fold(0.0, f64::max)
}

fn closed_form(mixture: &Mixture, rule: Rule, times: Vec<f64>) -> Vec<Vec<f64>> {
    let config = TrajectoryConfig { rule, times, network: Network::LINEAR, source: Source::ClosedForm };
    trajectory(mixture, &config).expect("a closed form").into_iter().map(|row| row.alpha).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_polar_factor_is_orthogonal_and_aligned(
        (rows, cols, entries) in (1_usize..6, 1_usize..6).prop_flat_map(|(rows, cols)| {
            (Just(rows), Just(cols), prop::collection::vec(-1.0..1.0_f64, rows * cols))
        })
    ) {
        let matrix = Mat::from_fn(rows, cols, |i, j| entries[i * cols + j]);
        let polar = polar_factor(matrix.as_ref()).expect("converges");
        let small = if rows <= cols { &polar * polar.transpose() } else { polar.transpose() * &polar };
        // Random matrices have full rank.
        for i in 0..small.nrows() {
            for j in 0..small.ncols() {
                let expected = if i == j { 1.0 } else { 0.0 };
                prop_assert!((small[(i, j)] - expected).abs() < 1e-12);
            }
        }
        // ⟨A, UVᵀ⟩ is the nuclear norm.
        let inner: f64 = (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j)))
            .map(|(i, j)| matrix[(i, j)] * polar[(i, j)]).sum();
        let nuclear: f64 = matrix.singular_values().expect("converges").into_iter().sum();
        prop_assert!((inner - nuclear).abs() < 1e-12);
    }

    #[test]
    fn simulated_steps_are_the_exact_discrete_form(mixture in mixtures(), rule in rules()) {
        let eta = largest_limit(&mixture) / 40.5;
        // Until the first saturation: afterwards rounding errors off the diagonal can grow (see the docs of `Simulation`).
        let steps: Vec<usize> = (0..1000).take_while(|n| *n as f64 * eta <= mixture.horizon()).collect();
        let exact = discrete(&mixture.components(), &Network::LINEAR, rule, eta, &steps).expect("valid");
        for moments in [mixture.matrix_moments().expect("small"), MatrixMoments::rotated(&mixture, 5).expect("small")] {
            let mut simulation = Simulation::new(&moments, &Network::LINEAR, rule, eta, 0).expect("valid");
            for (row, _) in exact.iter().zip(&steps) {
                for (a, b) in row.iter().zip(simulation.alpha()) {
                    prop_assert!((a - b).abs() < 1e-12, "{rule:?}: {a} against {b}");
                }
                prop_assert!(simulation.off_diagonal() < 1e-12);
                simulation.advance().expect("finite");
            }
        }
    }

    #[test]
    fn deep_simulated_steps_are_the_exact_discrete_form(
        mixture in mixtures(), rule in rules(), depth in 2_usize..=4, delta in 0.5..3.0_f64
    ) {
        let network = Network::new(depth, Some(delta)).expect("valid");
        let times = mixture.saturation_times(&network);
        let first = times.iter().copied().fold(f64::INFINITY, f64::min);
        prop_assume!(first > 0.01);
        let eta = first / 20.5;
        let steps: Vec<usize> = (0..=20).collect();
        let exact = discrete(&mixture.components(), &network, rule, eta, &steps).expect("valid");
        let moments = MatrixMoments::rotated(&mixture, 8).expect("small");
        let mut simulation = Simulation::new(&moments, &network, rule, eta, 21).expect("valid");
        for row in &exact {
            for (a, b) in row.iter().zip(simulation.alpha()) {
                prop_assert!((a - b).abs() < 1e-12, "{rule:?}, L = {depth}: {a} against {b}");
            }
            simulation.advance().expect("finite");
        }
    }

    #[test]
    fn specgd_commutes_with_rotations_and_signgd_does_not(mixture in mixtures(), seed in any::<u64>()) {
        let eta = mixture.horizon() / 20.5;
        let path = |moments: &MatrixMoments, rule: Rule| {
            let mut simulation = Simulation::new(moments, &Network::LINEAR, rule, eta, 0).expect("valid");
            for _ in 0..20 {
                simulation.advance().expect("finite");
            }
            simulation.alpha()
        };
        let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        let canonical = MatrixMoments::canonical(&mixture).expect("small");
        let (spectral, sign) = (path(&canonical, Rule::SpecGd), path(&canonical, Rule::SignGd));
        // In the canonical basis the two rules agree.
        prop_assert!(far(&spectral, &sign) < 1e-12);
        // One rotation of a few dimensions can come close to a permutation; four do not.
        let mut largest = 0.0_f64;
        for other in 0..4 {
            let rotated = MatrixMoments::rotated(&mixture, seed.wrapping_add(other)).expect("small");
            prop_assert!(far(&spectral, &path(&rotated, Rule::SpecGd)) < 1e-12);
            largest = largest.max(far(&sign, &path(&rotated, Rule::SignGd)));
        }
        prop_assert!(largest > 1e-3 * mixture.horizon());
    }

    #[test]
    fn closed_forms_rise_monotonically_to_the_common_limit(mixture in mixtures(), exponent in 0.05..0.95_f64) {
        let end = 20.0 * largest_limit(&mixture);
        let times: Vec<f64> = (0..=200).map(|i| end * f64::from(i) / 200.0).collect();
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::Power { exponent }] {
            let rows = closed_form(&mixture, rule, times.clone());
            prop_assert!(rows[0].iter().all(|a| *a == 0.0));
            for pair in rows.windows(2) {
                for ((a, b), limit) in pair[0].iter().zip(&pair[1]).zip(mixture.components().limits()) {
                    prop_assert!(b - a >= -1e-15 && *b <= limit * (1.0 + 1e-14), "{rule:?}");
                }
            }
        }
    }

    #[test]
    fn ngd_travels_at_unit_speed_on_the_path_of_gd(mixture in mixtures()) {
        // ‖α̇‖₂ = 1 before arrival: the length of a fine polygon of the path is t.
        let norm = mixture.components().limits().iter().map(|a| a * a).sum::<f64>().sqrt();
        let pieces = 4000;
        let times: Vec<f64> = (0..=pieces).map(|i| 0.95 * norm * f64::from(i) / f64::from(pieces)).collect();
        let rows = closed_form(&mixture, Rule::Ngd, times);
        let length: f64 = rows.windows(2)
            .map(|pair| pair[0].iter().zip(&pair[1]).map(|(a, b)| (b - a).powi(2)).sum::<f64>().sqrt())
            .sum();
        prop_assert!((length / (0.95 * norm) - 1.0).abs() < 1e-5, "{length}");
    }

    #[test]
    fn the_flow_is_the_limit_of_small_steps(mixture in mixtures(), exponent in 0.2..0.8_f64) {
        let c: Components = mixture.components();
        let end = 0.8 * largest_limit(&mixture);
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::Power { exponent }] {
            let times: Vec<f64> = (1..=8).map(|i| end * f64::from(i) / 8.0).collect();
            let exact = closed_form(&mixture, rule, times);
            let error = |each: usize| {
                let steps: Vec<usize> = (1..=8).map(|i| i * each).collect();
                let rows = discrete(&c, &Network::LINEAR, rule, end / (8 * each) as f64, &steps).expect("valid");
                exact.iter().flatten().zip(rows.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
            };
            let scale = largest_limit(&mixture) * (1.0 + mixture.components().s_xx().iter().fold(0.0, |a: f64, b| a.max(*b)));
            prop_assert!(error(1000) < 4e-3 * scale, "{rule:?}: {}", error(1000));
            prop_assert!(error(4000) <= 0.5 * error(1000) + end / 32_000.0, "{rule:?}");
        }
    }

    #[test]
    fn aligned_losses_are_matrix_losses(mixture in mixtures(), scale in -2.0..2.0_f64) {
        let moments = mixture.matrix_moments().expect("small");
        let alpha: Vec<f64> = (0..mixture.classes()).map(|class| scale * (1.0 + class as f64)).collect();
        let right = moments.right();
        let weights = Mat::from_fn(mixture.classes(), mixture.dim(), |i, j| alpha[i] * right[(j, i)]);
        let (a, b) = (losses(&mixture, &alpha), matrix_losses(&mixture, &moments, weights.as_ref()));
        for (a, b) in a.classes.iter().zip(&b.classes) {
            prop_assert!((a - b).abs() < 1e-12 * (1.0 + a.abs()));
        }
    }
}
