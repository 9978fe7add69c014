//! The entry point of `isorate trajectory`: values, error texts and extreme inputs.

use isorate_theory::{
    Error, Mixture, MixtureConfig, Network, Rule, Source, TrajectoryConfig, TrajectoryRow, VerifyConfig, gap_curves, trajectory,
    verify,
};

fn config(priors: &[f64]) -> MixtureConfig {
    MixtureConfig { priors: priors.to_vec(), mean_norm: 1.0, noise_std: 1.0, dim: None, seed: 7 }
}

fn mixture() -> Mixture {
    Mixture::new(config(&[0.5, 0.3, 0.2])).expect("valid")
}

fn rows(mixture: &Mixture, rule: Rule, times: &[f64], network: Network, source: Source) -> Result<Vec<TrajectoryRow>, Error> {
    trajectory(mixture, &TrajectoryConfig { rule, times: times.to_vec(), network, source })
}

const STEP: Source = Source::Simulation { eta: 1e-3 };
const MUON: Rule = Rule::Muon { momentum: 0.9 };
const POWER: Rule = Rule::Power { exponent: 0.5 };

#[test]
fn mixtures_are_read_from_toml() {
    let read = |text: &str| toml::from_str::<MixtureConfig>(text);
    let config = read("priors = [0.5, 0.5]\nmean_norm = 1\nnoise_std = 0.5").expect("valid");
    assert_eq!((config.dim, config.seed), (None, 0));
    let full = "priors = [0.5, 0.5]\nmean_norm = 1.5\nnoise_std = 0.5\ndim = 7\nseed = 3";
    let mixture = Mixture::new(read(full).expect("valid")).expect("valid");
    assert_eq!((mixture.dim(), mixture.seed()), (7, 3));
    assert_eq!(Mixture::new(mixture.config()).expect("valid"), mixture);
    for (text, word) in [
        ("priors = [0.5, 0.5]\nmean_norm = 1\nnoise_std = 1\nnoise = 2", "noise"),
        ("priors = [0.5, 0.5]\nmean_norm = 1", "noise_std"),
        ("priors = 0.5\nmean_norm = 1\nnoise_std = 1", "priors"),
        ("priors = [0.5, 0.5]\nmean_norm = 1\nnoise_std = 1\ndim = -1", "dim"),
    ] {
        let error = read(text).expect_err("must be rejected").to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn simulation_follows_the_closed_form_of_the_paper_example() {
    let times = [0.0, 0.05, 0.1, 0.2, 0.3, 0.5];
    for (rule, tolerance) in [(Rule::Gd, 5e-4), (Rule::Ngd, 1.5e-3), (Rule::SpecGd, 1.0e-3), (POWER, 1e-3)] {
        let theory = rows(&mixture(), rule, &times, Network::LINEAR, Source::ClosedForm).expect("closed form");
        let simulated = rows(&mixture(), rule, &times, Network::LINEAR, STEP).expect("simulation");
        for (a, b) in theory.iter().zip(&simulated) {
            assert!(a.off_diagonal.is_none() && b.off_diagonal.expect("matrices") < 1e-3);
            for (a, b) in a.alpha.iter().zip(&b.alpha) {
                assert!((a - b).abs() < tolerance, "{rule:?}: {a} against {b}");
            }
        }
    }
}

#[test]
fn times_must_increase() {
    for times in [&[0.3, 0.0][..], &[0.1, 0.1], &[0.0, 0.2, 0.1]] {
        for source in [Source::ClosedForm, STEP] {
            let error = rows(&mixture(), Rule::Ngd, times, Network::LINEAR, source).expect_err("must be rejected").to_string();
            assert!(error.contains("the times must increase"), "{error}");
        }
    }
    let times = [0.0, 0.1, 0.1 + 1e-14, 0.3];
    for source in [Source::ClosedForm, STEP] {
        let rows = rows(&mixture(), Rule::Ngd, &times, Network::LINEAR, source).expect("valid");
        assert_eq!(rows.iter().map(|row| row.t).collect::<Vec<f64>>(), times);
        assert_eq!(rows[0].alpha, [0.0; 3]);
        assert!((rows[1].alpha[0] - rows[2].alpha[0]).abs() < 1e-12);
    }
}

#[test]
fn the_simulation_does_not_depend_on_which_times_are_read() {
    let few = rows(&mixture(), Rule::SpecGd, &[0.25], Network::LINEAR, STEP).expect("valid");
    let many = rows(&mixture(), Rule::SpecGd, &[0.05, 0.1, 0.25], Network::LINEAR, STEP).expect("valid");
    assert_eq!(few[0], many[2]);
}

#[test]
fn seeds_and_dimensions_change_the_directions_but_not_the_path() {
    let other = Mixture::new(MixtureConfig { seed: 8, dim: Some(9), ..config(&[0.5, 0.3, 0.2]) }).expect("valid");
    let a = rows(&mixture(), Rule::Ngd, &[0.2], Network::LINEAR, STEP).expect("valid");
    let b = rows(&other, Rule::Ngd, &[0.2], Network::LINEAR, STEP).expect("valid");
    for (a, b) in a[0].alpha.iter().zip(&b[0].alpha) {
        assert!((a - b).abs() < 1e-12);
    }
    // SignGD sees the directions.
    let a = rows(&mixture(), Rule::SignGd, &[0.1], Network::LINEAR, STEP).expect("valid");
    let b = rows(&other, Rule::SignGd, &[0.1], Network::LINEAR, STEP).expect("valid");
    assert!((a[0].alpha[0] - b[0].alpha[0]).abs() > 1e-3);
}

#[test]
fn errors_name_what_is_wrong_and_how_to_go_on() {
    let m = mixture();
    let deep = Network::new(2, None).expect("valid");
    let small = Network::new(3, Some(30.0)).expect("valid");
    let cases = [
        rows(&m, Rule::SignGd, &[1.0], Network::LINEAR, Source::ClosedForm),
        rows(&m, MUON, &[1.0], Network::LINEAR, Source::ClosedForm),
        rows(&m, Rule::Ngd, &[1.0], small, Source::ClosedForm),
        rows(&m, POWER, &[1.0], Network::new(3, None).expect("valid"), Source::ClosedForm),
        rows(&m, Rule::Gd, &[1.0], deep, Source::ClosedForm),
        rows(&m, Rule::Ngd, &[1.0], deep, STEP),
        rows(&m, Rule::SignGd, &[1.0], deep, STEP),
        rows(&m, Rule::Gd, &[0.5, -1.0], Network::LINEAR, Source::ClosedForm),
        rows(&m, Rule::Gd, &[f64::NAN], Network::LINEAR, STEP),
        rows(&m, Rule::Gd, &[0.25], Network::LINEAR, Source::Simulation { eta: 0.1 }),
        rows(&m, Rule::Gd, &[1.0], Network::LINEAR, Source::Simulation { eta: -0.1 }),
        rows(&m, Rule::Gd, &[1e300], Network::LINEAR, STEP),
        rows(&m, Rule::Gd, &[1e14], Network::LINEAR, Source::Simulation { eta: 1e11 }),
        rows(&m, Rule::Gd, &[1.0, 0.5], Network::LINEAR, STEP),
        rows(&m, Rule::Power { exponent: -1.0 }, &[1.0], Network::LINEAR, STEP),
    ];
    let texts: Vec<String> = cases.into_iter().map(|case| case.expect_err("must be rejected").to_string()).collect();
    insta::assert_snapshot!(texts.join("\n\n"));
}

#[test]
fn a_dimension_too_large_for_matrices_is_an_error_of_the_simulation_only() {
    let large = Mixture::new(MixtureConfig { dim: Some(1 << 40), ..config(&[0.5, 0.5]) }).expect("valid");
    assert!(rows(&large, Rule::Ngd, &[0.1], Network::LINEAR, Source::ClosedForm).is_ok());
    let error = rows(&large, Rule::Ngd, &[0.1], Network::LINEAR, STEP).expect_err("too large").to_string();
    assert!(error.starts_with("dim = 1099511627776"), "{error}");
}

#[test]
fn no_times_and_time_zero() {
    for source in [Source::ClosedForm, STEP] {
        assert!(rows(&mixture(), Rule::Ngd, &[], Network::LINEAR, source).expect("valid").is_empty());
        assert_eq!(rows(&mixture(), Rule::Ngd, &[0.0], Network::LINEAR, source).expect("valid")[0].alpha, [0.0; 3]);
    }
    let start = Network::new(2, Some(1.0)).expect("valid");
    for (rule, source) in [(Rule::Gd, Source::ClosedForm), (Rule::SpecGd, Source::ClosedForm), (MUON, STEP), (Rule::SignGd, STEP)]
    {
        for a in &rows(&mixture(), rule, &[0.0], start, source).expect("valid")[0].alpha {
            assert!((a - (-2.0_f64).exp()).abs() < 1e-14);
        }
    }
}

#[test]
fn extreme_mixtures_stay_finite() {
    for (priors, mean_norm, noise_std) in [
        (vec![1.0 - 1e-12, 1e-12], 1.0, 1.0),
        (vec![0.5, 0.5], 1e6, 1e-6),
        (vec![0.7, 0.3], 1.0, 1e-9),
        (vec![0.7, 0.3], 1e-9, 1.0),
        (vec![1.0 - 1e-100, 1e-100], 1e100, 1e-100),
        (vec![0.9, 0.1], 1e-100, 1e100),
    ] {
        let mixture = Mixture::new(MixtureConfig { mean_norm, noise_std, ..config(&priors) }).expect("valid");
        let scale = mixture.horizon();
        let times = [0.0, 1e-6 * scale, 0.5 * scale, scale, 1e3 * scale];
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, POWER] {
            let rows = rows(&mixture, rule, &times, Network::LINEAR, Source::ClosedForm).expect("closed form");
            assert!(rows.iter().flat_map(|row| &row.alpha).all(|a| a.is_finite() && *a >= 0.0), "{rule:?} {priors:?}");
        }
        for row in gap_curves(&mixture, &times).expect("valid") {
            assert!(row.gf_minority_gap().is_finite() && row.ngf_balanced_gap().expect("linear").is_finite());
        }
        let source = Source::Simulation { eta: scale / 4.0 };
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::SignGd, POWER, MUON] {
            match rows(&mixture, rule, &[scale], Network::LINEAR, source) {
                Ok(rows) => assert!(rows[0].alpha.iter().all(|a| a.is_finite())),
                Err(error) => {
                    assert!(matches!(error, Error::Unstable { .. } | Error::Diverged { .. } | Error::Svd { .. }), "{error}");
                }
            }
        }
    }
}

#[test]
fn a_rare_class_is_not_truncated_away() {
    // p_m = 1e-12: its singular value is far above the rounding of the gradient and SpecGD moves it at full rate.
    let mixture = Mixture::new(config(&[1.0 - 1e-12, 1e-12])).expect("valid");
    let eta = mixture.horizon() / 10.0;
    let row = rows(&mixture, Rule::SpecGd, &[5.0 * eta], Network::LINEAR, Source::Simulation { eta }).expect("valid");
    assert!((row[0].alpha[1] / (5.0 * eta) - 1.0).abs() < 1e-6, "{:?}", row[0]);
}

#[test]
fn huge_steps_diverge_or_stay_finite() {
    let huge = Source::Simulation { eta: 1e12 };
    let error = rows(&mixture(), Rule::Gd, &[1e15], Network::LINEAR, huge).expect_err("diverges");
    assert!(matches!(error, Error::Unstable { .. }), "{error}");
    for rule in [Rule::Ngd, Rule::SpecGd, Rule::SignGd, MUON] {
        let rows = rows(&mixture(), rule, &[1e15], Network::LINEAR, huge).expect("bounded steps");
        assert!(rows[0].alpha.iter().all(|a| a.is_finite()));
    }
    let deep = Network::new(4, Some(1.0)).expect("valid");
    assert!(matches!(rows(&mixture(), Rule::Gd, &[1e15], deep, huge), Err(Error::Diverged { .. })));
}

#[test]
fn gradient_descent_is_refused_from_its_limit_on() {
    // max s_xx = 1.5.
    let below = Source::Simulation { eta: 1.3 };
    let last = rows(&mixture(), Rule::Gd, &[1300.0], Network::LINEAR, below).expect("stable");
    assert!((last[0].alpha[0] - 1.0 / 3.0).abs() < 1e-12);
    for rule in [Rule::Gd, Rule::Power { exponent: 1.0 }] {
        let error = rows(&mixture(), rule, &[4.0], Network::LINEAR, Source::Simulation { eta: 4.0 / 3.0 });
        let error = error.expect_err("unstable").to_string();
        assert!(error.contains("eta < 2/max s_xx = 1.3333333333333333"), "{error}");
    }
    // In d > k the noise is the largest eigenvalue of a mixture with a small mean.
    let config = MixtureConfig { mean_norm: 0.1, noise_std: 2.0, dim: Some(6), ..config(&[0.5, 0.5]) };
    let small = Mixture::new(config).expect("valid");
    assert!(rows(&small, Rule::Gd, &[0.49], Network::LINEAR, Source::Simulation { eta: 0.49 }).is_ok());
    assert!(rows(&small, Rule::Gd, &[0.5], Network::LINEAR, Source::Simulation { eta: 0.5 }).is_err());
}

#[test]
fn depth_brings_components_together() {
    let m = mixture();
    for depth in 1..=4 {
        let network = Network::new(depth, None).expect("valid");
        let times = m.saturation_times(&network);
        assert!((times[0] / times[2] - 1.0 - m.saturation_spread(&network)).abs() < 1e-12);
        let rows = rows(&m, Rule::SpecGd, &[0.1, 0.35], network, Source::ClosedForm).expect("closed form");
        assert!((rows[0].alpha[0] - 0.1_f64.powi(i32::try_from(depth).expect("small"))).abs() < 1e-15);
        let simulated =
            trajectory(&m, &TrajectoryConfig { rule: Rule::SpecGd, times: vec![0.1], network, source: STEP }).expect("recursion");
        assert!((simulated[0].alpha[0] - rows[0].alpha[0]).abs() < 1e-13);
    }
}

#[test]
fn every_check_passes_at_the_default_size() {
    for check in verify(&VerifyConfig::default()).expect("valid") {
        assert!(check.pass, "{check:?}");
    }
}
