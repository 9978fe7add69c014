//! Shapes and rotations: the scale of filters by their flattened shape, which rules commute with rotations of rows and
//! columns, and by how much the others do not.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::Tensor;
use common::{all_rules, bits, frobenius, max_difference, normal, rule, run, with_singular_values};
use isorate_optim::{Orthogonalizer, RuleConfig, Scion, ScionNorm};
use proptest::prelude::*;

const FILTERS: [usize; 4] = [16, 3, 5, 5];
const FLAT: [usize; 2] = [16, 75];

#[test]
fn every_scale_of_filters_counts_their_flattened_shape() {
    // ‖ΔW‖_F of one step with η = 1 from the definitions, [r, c] = [16, 75]: UVᵀ has 16 singular values 1.
    let (r, c, k) = (16.0_f64, 75.0_f64, 25.0_f64);
    let cases = [
        (r#""rule":"muon","scale":"none","orthogonalizer":"exact""#, r.sqrt()),
        (r#""rule":"muon","scale":"original","orthogonalizer":"exact""#, r.sqrt()),
        (r#""rule":"muon","scale":"match_rms_adamw","orthogonalizer":"exact""#, 0.2 * c.sqrt() * r.sqrt()),
        (r#""rule":"muon","scale":"spectral","orthogonalizer":"exact""#, (r / c).sqrt() * r.sqrt()),
        (r#""rule":"scion","norm":"spectral","orthogonalizer":"exact""#, (r / c).sqrt() * r.sqrt()),
        (r#""rule":"scion","norm":"spectral-max","orthogonalizer":"exact""#, r.sqrt()),
        (r#""rule":"scion","norm":"spectral-conv","orthogonalizer":"exact""#, (r / 3.0).sqrt() / k * r.sqrt()),
        (r#""rule":"scion","norm":"auto","orthogonalizer":"exact""#, (r / 3.0).sqrt() / k * r.sqrt()),
        (r#""rule":"scion","norm":"sign""#, (r * c).sqrt() / c),
        (r#""rule":"scion","norm":"col-norm""#, r.sqrt() * c.sqrt()),
        (r#""rule":"scion","norm":"row-norm""#, r.sqrt() / c.sqrt()),
        (r#""rule":"scion","norm":"bias-rms""#, (r * c).sqrt()),
        // P is orthonormal and the columns of Q have length 1, so ‖PQᵀ‖_F² is the rank.
        (r#""rule":"dion","weight_decay":0"#, (r / c).sqrt() * r.sqrt()),
        (r#""rule":"dion","weight_decay":0,"rank":4"#, (r / c).sqrt() * 2.0),
    ];
    // Where upstream went wrong: r/c as 5/5, the kernel's height and width, or as 16/3 without the kernel.
    for (json, expected) in cases {
        let step =
            run(&normal(&FILTERS, 1).zeros_like().unwrap(), &rule(&format!(r#"{{{json},"lr":1}}"#)), &[normal(&FILTERS, 2)]);
        assert_eq!(step.dims(), FILTERS);
        assert!((frobenius(&step) / expected - 1.0).abs() < 1e-12, "{json}: {} instead of {expected}", frobenius(&step));
    }
}

#[test]
fn filters_move_as_the_matrix_that_they_flatten_to() {
    let gradients: Vec<Tensor> = (2..5).map(|seed| normal(&FILTERS, seed)).collect();
    let flat = |t: &Tensor| t.reshape(&FLAT[..]).unwrap();
    let mut compared = 0;
    for rule in all_rules() {
        if matches!(&rule, RuleConfig::Scion(Scion { norm: ScionNorm::Auto, .. })) {
            // It takes another norm for filters.
            continue;
        }
        let filters = run(&normal(&FILTERS, 1), &rule, &gradients);
        let matrix = run(&flat(&normal(&FILTERS, 1)), &rule, &gradients.iter().map(flat).collect::<Vec<_>>());
        assert_eq!(bits(&flat(&filters)), bits(&matrix), "{rule:?}");
        compared += 1;
    }
    assert!(compared > 15);
}

/// A random orthogonal matrix.
fn rotation(n: usize, seed: u64) -> Tensor {
    Orthogonalizer::Exact.apply(&normal(&[n, n], seed)).unwrap()
}

/// QW, or WQ.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Left,
    Right,
}

/// ‖rule(QW) − Q·rule(W)‖_F relative to the distance moved, for gradients Qg, or the same on the right. Steps of a 1×1
/// matrix may take each other back, so a distance under 0.01 counts as that.
fn asymmetry(rule: &RuleConfig, shape: [usize; 2], steps: u64, side: Side, seed: u64) -> f64 {
    let q = rotation(if side == Side::Left { shape[0] } else { shape[1] }, seed);
    let turn = |x: &Tensor| match side {
        Side::Left => q.matmul(x).unwrap(),
        Side::Right => x.contiguous().unwrap().matmul(&q).unwrap(),
    };
    let w = normal(&shape, seed + 1);
    // Singular values away from 0, where the polar factor changes slowly.
    let count = shape[0].min(shape[1]);
    let sigma: Vec<f64> = (0..count).map(|i| 0.1_f64.powf(i as f64 / count as f64)).collect();
    let gradients: Vec<Tensor> = (0..steps).map(|k| with_singular_values(shape[0], shape[1], &sigma, seed + 10 * k)).collect();
    let plain = run(&w, rule, &gradients);
    let turned = run(&turn(&w), rule, &gradients.iter().map(turn).collect::<Vec<_>>());
    frobenius(&(turned - turn(&plain)).unwrap()) / frobenius(&(plain - w).unwrap()).max(0.01)
}

/// Muon with every orthogonalizer that needs no settings of its own; serde names them.
fn muons() -> Vec<RuleConfig> {
    let error = serde_json::from_str::<RuleConfig>(r#"{"rule":"muon","lr":0.1,"orthogonalizer":"?"}"#).unwrap_err().to_string();
    let muons: Vec<RuleConfig> = error
        .split('`')
        .skip(3)
        .step_by(2)
        .filter_map(|name| serde_json::from_str(&format!(r#"{{"rule":"muon","lr":0.1,"orthogonalizer":"{name}"}}"#)).ok())
        .collect();
    assert!(muons.len() >= 2, "{error}");
    muons
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn spectral_rules_commute_with_rotations_of_either_side(r in 1_usize..9, c in 1_usize..9, seed: u64) {
        let mut rules = muons();
        rules.extend([
            rule(r#"{"rule":"specgd","lr":0.1,"weight_decay":0.1}"#),
            rule(r#"{"rule":"power","lr":0.1,"momentum":0.9}"#),
            rule(r#"{"rule":"power","lr":0.1,"exponent":0.1}"#),
            rule(r#"{"rule":"scion","lr":0.1,"norm":"spectral"}"#),
            rule(r#"{"rule":"scion","lr":0.1,"norm":"bias-rms"}"#),
        ]);
        for rule in rules {
            for side in [Side::Left, Side::Right] {
                let difference = asymmetry(&rule, [r, c], 2, side, seed >> 8);
                prop_assert!(difference < 1e-8, "{rule:?}, {side:?}: {difference:e}");
            }
        }
    }

    // P = qr(MQ) turns with M, and R = MᵀP does not notice: Dion commutes with rotations of the long side.
    #[test]
    fn dion_commutes_with_rotations_of_the_long_side(long in 1_usize..9, short in 1_usize..9, rank in 0.2_f64..1.0, seed: u64) {
        let (long, short) = (long.max(short), long.min(short));
        let rule = rule(&format!(r#"{{"rule":"dion","lr":0.1,"rank_fraction":{rank}}}"#));
        for (shape, side) in [([long, short], Side::Left), ([short, long], Side::Right)] {
            if shape[0] < shape[1] || side == Side::Left {
                let difference = asymmetry(&rule, shape, 3, side, seed >> 8);
                prop_assert!(difference < 1e-7, "{shape:?}, rank {rank}, {side:?}: {difference:e}");
            }
        }
    }
}

/// How far a rule is from commuting, in the first step and averaged over 20 rotations of an 8×8 problem.
fn mean_asymmetry(rule: &RuleConfig, side: Side) -> f64 {
    (0..20).map(|seed| asymmetry(rule, [8, 8], 1, side, 1000 * seed)).sum::<f64>() / 20.0
}

#[test]
fn other_rules_do_not_commute_and_this_is_by_how_much() {
    for (json, left, right) in [
        (r#"{"rule":"signgd","lr":0.1}"#, true, true),
        (r#"{"rule":"signum","lr":0.1}"#, true, true),
        (r#"{"rule":"adam","lr":0.1}"#, true, true),
        (r#"{"rule":"adamw","lr":0.1,"weight_decay":0}"#, true, true),
        (r#"{"rule":"scion","lr":0.1,"norm":"sign","constrained":false}"#, true, true),
        // The norms of columns are those of the rotated columns, but columns are not mixed.
        (r#"{"rule":"scion","lr":0.1,"norm":"col-norm","constrained":false}"#, false, true),
        (r#"{"rule":"scion","lr":0.1,"norm":"row-norm","constrained":false}"#, true, false),
        // Q₀ is the same in both runs: only if it turned with the short side would the steps be the same.
        (r#"{"rule":"dion","lr":0.1,"rank":4,"weight_decay":0}"#, false, true),
    ] {
        for (side, fails) in [(Side::Left, left), (Side::Right, right)] {
            let mean = mean_asymmetry(&rule(json), side);
            println!("{json} {side:?}: ‖rule(QW) − Q·rule(W)‖ is {mean:.2e} of the step");
            assert_eq!(mean > 0.2, fails, "{json} {side:?}: {mean:e}");
            assert!(fails || mean < 1e-9, "{json} {side:?}: {mean:e}");
        }
    }
}

#[test]
fn dion_goes_to_the_polar_factor_where_the_gradient_stays() {
    // Power iteration on one gradient: the steps become √(r/c)·UVᵀ, of which nothing depends on Q₀.
    for shape in [[7, 4], [4, 7], [5, 5]] {
        let g = with_singular_values(shape[0], shape[1], &[1.0, 0.6, 0.3, 0.1], 5);
        let gradients = vec![g.clone(); 30];
        let dion = rule(r#"{"rule":"dion","lr":1,"weight_decay":0}"#);
        let start = g.zeros_like().unwrap();
        let last = (run(&start, &dion, &gradients) - run(&start, &dion, &gradients[1..])).unwrap();
        let polar = (Orthogonalizer::Exact.apply(&g).unwrap() * -(shape[0] as f64 / shape[1] as f64).sqrt()).unwrap();
        let difference = max_difference(&last, &polar);
        assert!(difference < 1e-9, "{shape:?}: {difference:e}");
    }
}
