//! Model files: the four kinds, their trajectories, and whatever else a file may hold.

use isorate_theory::{Model, Network, Rule, Source, TrajectoryConfig, TrajectoryRow};
use proptest::prelude::*;

const STEP: Source = Source::Simulation { eta: 1e-3 };

fn follow(model: &str, rule: Rule, times: &[f64], source: Source) -> Result<Vec<TrajectoryRow>, isorate_theory::Error> {
    let config = TrajectoryConfig { rule, times: times.to_vec(), network: Network::LINEAR, source };
    Model::from_toml(model)?.trajectory(&config)
}

const MIXTURE: &str = "priors = [0.5, 0.3, 0.2]\nmean_norm = 1.5\nnoise_std = 1.0\ndim = 4\nseed = 3";
const MEANS: &str = "priors = [0.5, 0.3, 0.2]\nmeans = [[1.5, 0, 0, 0], [0, 0, 1.5, 0], [0, 1.5, 0, 0]]\nnoise_std = 1.0";
const SPECTRA: &str = "s_yx = [0.75, 0.45, 0.3]\ns_xx = [2.125, 1.675, 1.45]\ndim = 4\nseed = 7";
const MATRICES: &str = "sigma_yx = [[0.75, 0, 0, 0], [0, 0, 0.45, 0], [0, 0.3, 0, 0]]\nsigma_xx = [[2.125, 0, 0, 0], [0, 1.45, 0, 0], \
                        [0, 0, 1.675, 0], [0, 0, 0, 1]]";

#[test]
fn one_problem_in_four_kinds_of_files() {
    for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd, Rule::Power { exponent: 0.5 }] {
        for source in [Source::ClosedForm, STEP] {
            let times = [0.05, 0.2];
            let first = follow(MIXTURE, rule, &times, source).expect("valid");
            for model in [MEANS, SPECTRA, MATRICES] {
                let other = follow(model, rule, &times, source).expect("valid");
                for (a, b) in first.iter().zip(&other) {
                    assert_eq!(a.off_diagonal.is_some(), b.off_diagonal.is_some());
                    assert!(b.off_diagonal.is_none_or(|off| off < 1e-12), "{rule:?}, {model}: {b:?}");
                    for (a, b) in a.alpha.iter().zip(&b.alpha) {
                        assert!((a - b).abs() < 1e-12, "{rule:?}, {model}: {a} against {b}");
                    }
                }
            }
        }
    }
    // U and V of the dense moments are permutations: SignGD is SpecGD there, and not for random directions.
    let sign = |model| follow(model, Rule::SignGd, &[0.1], STEP).expect("valid").remove(0).alpha[0];
    assert!((sign(MATRICES) - 0.1).abs() < 1e-12 && (sign(MEANS) - 0.1).abs() < 1e-12);
    assert!((sign(MIXTURE) - 0.1).abs() > 1e-3);
}

#[test]
fn oblique_means_are_simulated_only() {
    let oblique = "priors = [0.7, 0.3]\nmeans = [[1.0, 0.0], [0.6, 0.8]]\nnoise_std = 1.0";
    let error = follow(oblique, Rule::Gd, &[1.0], Source::ClosedForm).expect_err("no closed form").to_string();
    assert!(error.starts_with("means[0], means[1]: cosine 0.6"), "{error}");
    assert!(error.contains("hint: use the simulation"), "{error}");
    let rows = follow(oblique, Rule::Gd, &[0.0, 1.0], STEP).expect("simulated");
    assert_eq!((rows[0].alpha.clone(), rows[1].off_diagonal), (vec![0.0, 0.0], None));
    // W = ∫₀¹ Σ_yx e^{−Σ_xx u} du by its series: the matrices are 2×2.
    let (priors, means) = ([0.7, 0.3], [[1.0, 0.0], [0.6, 0.8]]);
    let sigma_xx =
        |i: usize, j: usize| (0..2).map(|c| priors[c] * means[c][i] * means[c][j]).sum::<f64>() + if i == j { 1.0 } else { 0.0 };
    let mut term = [[1.0, 0.0], [0.0, 1.0]];
    let mut sum = term;
    for n in 1..40 {
        let mut next = [[0.0; 2]; 2];
        for (i, j, l) in (0..8).map(|x| (x / 4, x / 2 % 2, x % 2)) {
            next[i][j] -= term[i][l] * sigma_xx(l, j) / f64::from(n + 1);
        }
        term = next;
        (0..4).for_each(|x| sum[x / 2][x % 2] += term[x / 2][x % 2]);
    }
    for (c, alpha) in rows[1].alpha.iter().enumerate() {
        // Row c of Σ_yx is p_c μ_c, and α_c = e_cᵀ W μ_c as the means have length 1.
        let exact: f64 = (0..4).map(|x| priors[c] * means[c][x / 2] * sum[x / 2][x % 2] * means[c][x % 2]).sum();
        assert!((alpha - exact).abs() < 1e-3, "{alpha} against {exact}");
    }
}

#[test]
fn moments_off_condition_1_are_simulated_only() {
    let rotated = "sigma_yx = [[0.5, 0.0], [0.0, 0.2]]\nsigma_xx = [[2.0, 0.1], [0.1, 1.0]]";
    let error = follow(rotated, Rule::SpecGd, &[0.1], Source::ClosedForm).expect_err("no closed form").to_string();
    assert!(error.contains("residual of Condition 1 = 6.3245") && error.contains("at most 1e-6"), "{error}");
    assert!(error.contains("hint: use the simulation"), "{error}");
    assert!(follow(rotated, Rule::SpecGd, &[0.1], STEP).is_ok());
    let near = rotated.replace("0.1", "0.000001");
    assert!(follow(&near, Rule::SpecGd, &[0.1], Source::ClosedForm).is_ok());
}

#[test]
fn errors_name_the_key_the_value_and_the_rule() {
    let cases = [
        "",
        "seed = 1",
        "priors = [0.5, 0.5]",
        "priors = [0.5, 0.5]\nmean_norm = 1.0\nnoise_std = 1.0\nmeans = [[1.0], [2.0]]",
        "priors = [0.5, 0.3, 0.2]\nmeans = [[1.0, 0.0], [0.0, 1.0]]\nnoise_std = 1.0",
        "priors = [0.5, 0.5]\nmeans = [[1.0, 0.0], [0.0]]\nnoise_std = 1.0",
        "priors = [0.5, 0.5]\nmeans = [[1.0, 0.0], [0.0, nan]]\nnoise_std = 1.0",
        "s_yx = [1.0]",
        "s_yx = [1.0, 2.0]\ns_xx = [1.0]",
        "s_yx = [1.0, -2.0]\ns_xx = [1.0, 1.0]",
        "s_yx = [1.0, 2.0]\ns_xx = [1.0, 0.0]",
        "s_yx = [1e300]\ns_xx = [1e-300]",
        "s_yx = [1.0, 2.0]\ns_xx = [1.0, 1.0]\ndim = 1",
        "s_yx = []\ns_xx = []",
        "s_yx = [1.0]\ns_xx = [1.0]\npriors = [1.0]",
        "sigma_yx = [[1.0, 0.0]]\nsigma_xx = [[1.0]]",
        "sigma_yx = [[1.0, 0.0], [1.0]]\nsigma_xx = [[1.0, 0.0], [0.0, 1.0]]",
        "sigma_yx = []\nsigma_xx = []",
        "sigma_yx = [[]]\nsigma_xx = []",
        "sigma_yx = [[inf]]\nsigma_xx = [[1.0]]",
        "sigma_yx = [[nan]]\nsigma_xx = [[1.0]]",
        "sigma_yx = [[0.0]]\nsigma_xx = [[1.0]]",
        "sigma_yx = [[1.0]]\nsigma_xx = [[-1.0]]",
        "sigma_yx = [[1.0]]\nsigma_xx = [[0.0]]",
        "sigma_yx = [[1.0, 1.0]]\nsigma_xx = [[1.0, 0.0], [0.0, 0.0]]",
        "sigma_yx = [[1.0, 1.0]]\nsigma_xx = [[1.0, 0.5], [0.0, 1.0]]",
        "sigma_yx = [[1.0]]\nsigma_xx = [[1.0]]\nseed = 1",
        "priors = [0.5, 0.5]\nmean_nrom = 1.0\nnoise_std = 1.0",
        "priors = [0.5, \"x\"]",
        "not toml",
    ];
    let texts: Vec<String> =
        cases.iter().map(|text| format!("{text}\n→ {}", Model::from_toml(text).expect_err("must be rejected"))).collect();
    insta::assert_snapshot!(texts.join("\n\n"));
}

/// Numbers of every sort that TOML can write.
fn numbers() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => -2.0..2.0_f64,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, -0.0, 1.0, 1e-308, 5e-324, 1e308, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-160, 1e160]),
    ]
}

fn toml_number(value: f64) -> String {
    if value.is_nan() { "nan".into() } else { format!("{value:?}") }
}

fn list(values: &[f64]) -> String {
    format!("[{}]", values.iter().map(|value| toml_number(*value)).collect::<Vec<_>>().join(", "))
}

/// Model files with right keys and any numbers, often of shapes that fit.
fn files() -> impl Strategy<Value = String> {
    let row = |range: std::ops::Range<usize>| prop::collection::vec(numbers(), range);
    let rows = move || {
        (0_usize..4, 0_usize..4).prop_flat_map(move |(rows, cols)| {
            prop_oneof![
                3 => prop::collection::vec(prop::collection::vec(numbers(), cols), rows),
                1 => prop::collection::vec(row(0..4), 0..4),
            ]
        })
    };
    let matrix = |rows: &[Vec<f64>]| format!("[{}]", rows.iter().map(|row| list(row)).collect::<Vec<_>>().join(", "));
    prop_oneof![
        (row(0..4), numbers(), numbers(), any::<u64>()).prop_map(|(p, mean, noise, dim)| format!(
            "priors = {}\nmean_norm = {}\nnoise_std = {}\ndim = {}",
            list(&p),
            toml_number(mean),
            toml_number(noise),
            dim >> (dim % 64)
        )),
        (0.01..0.99_f64, rows(), numbers()).prop_map(move |(p, means, noise)| format!(
            "priors = [{p:?}, {:?}]\nmeans = {}\nnoise_std = {}",
            1.0 - p,
            matrix(&means),
            toml_number(noise)
        )),
        (row(0..4), row(0..4)).prop_map(|(yx, xx)| format!("s_yx = {}\ns_xx = {}", list(&yx), list(&xx))),
        (rows(), rows()).prop_map(move |(yx, xx)| format!("sigma_yx = {}\nsigma_xx = {}", matrix(&yx), matrix(&xx))),
        // Σ_xx = A Aᵀ of the size that fits.
        (1_usize..4, 1_usize..4)
            .prop_flat_map(|(k, d)| {
                (prop::collection::vec(-2.0..2.0_f64, k * d), prop::collection::vec(-2.0..2.0_f64, d * d), Just((k, d)))
            })
            .prop_map(move |(yx, a, (k, d))| {
                let yx: Vec<Vec<f64>> = (0..k).map(|i| yx[i * d..(i + 1) * d].to_vec()).collect();
                let gram = |i: usize, j: usize| (0..d).map(|l| a[i * d + l] * a[j * d + l]).sum::<f64>();
                let xx: Vec<Vec<f64>> = (0..d).map(|i| (0..d).map(|j| gram(i, j)).collect()).collect();
                format!("sigma_yx = {}\nsigma_xx = {}", matrix(&yx), matrix(&xx))
            }),
    ]
}

fn rules() -> impl Strategy<Value = Rule> {
    prop_oneof![
        Just(Rule::Gd),
        Just(Rule::Ngd),
        Just(Rule::SpecGd),
        Just(Rule::SignGd),
        numbers().prop_map(|exponent| Rule::Power { exponent }),
        numbers().prop_map(|momentum| Rule::Muon { momentum }),
    ]
}

/// A result is there with finite numbers, or an error that says something.
fn outcome(model: &str, config: &TrajectoryConfig) -> Result<(), TestCaseError> {
    match Model::from_toml(model).and_then(|model| Ok((model.len(), model.trajectory(config)?))) {
        Ok((len, rows)) => {
            prop_assert_eq!(rows.len(), config.times.len());
            for row in rows {
                prop_assert_eq!(row.alpha.len(), len);
                prop_assert!(row.alpha.iter().all(|alpha| alpha.is_finite()), "{}: {:?}", model, row);
            }
        }
        Err(error) => prop_assert!(!error.to_string().trim().is_empty()),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        if let Err(error) = Model::from_toml(&text) {
            prop_assert!(!error.to_string().trim().is_empty());
        }
    }

    #[test]
    fn a_changed_file_is_read_or_refused(
        file in prop::sample::select(vec![MIXTURE, MEANS, SPECTRA, MATRICES]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[-+.,0-9einfna\\[\\]= \n\"]"), 1..4),
    ) {
        let mut bytes = file.as_bytes().to_vec();
        for (place, text) in changes {
            let at = place.index(bytes.len());
            bytes.splice(at..=at, text.bytes());
        }
        let text = String::from_utf8(bytes).expect("all is ASCII");
        for source in [Source::ClosedForm, Source::Simulation { eta: 0.05 }] {
            let config = TrajectoryConfig { rule: Rule::SpecGd, times: vec![0.0, 0.5], network: Network::LINEAR, source };
            outcome(&text, &config)?;
        }
    }

    #[test]
    fn any_numbers_give_a_trajectory_or_a_refusal(
        file in files(),
        rule in rules(),
        (depth, delta) in (0_usize..4, prop::option::of(numbers())),
        (times, eta, simulated) in (prop::collection::vec(numbers(), 0..3), numbers(), any::<bool>()),
        steps in prop::collection::vec(0_u32..40, 0..3),
    ) {
        let Ok(network) = Network::new(depth, delta) else { return Ok(()) };
        // Half of the simulated times are whole steps.
        let times = if simulated && eta.is_finite() && eta > 0.0 && steps.len() > times.len() {
            let mut steps = steps;
            steps.sort_unstable();
            steps.into_iter().map(|n| f64::from(n) * eta).collect()
        } else {
            times
        };
        // A simulation of up to ten million steps is valid, and takes too long here.
        if simulated && times.iter().any(|t| t / eta > 1e3) {
            return Ok(());
        }
        let source = if simulated { Source::Simulation { eta } } else { Source::ClosedForm };
        outcome(&file, &TrajectoryConfig { rule, times, network, source })?;
    }
}
