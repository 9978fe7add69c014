//! Properties that hold for every matrix: orthogonality, invariances, and the equality of rules in special cases.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::{DType, Device, Tensor};
use common::{all_rules, bits, frobenius, max_difference, normal, rule, run, with_singular_values};
use isorate_optim::{NewtonSchulz, Orthogonalizer};
use proptest::prelude::*;

fn eye(n: usize) -> Tensor {
    Tensor::eye(n, DType::F64, &Device::Cpu).unwrap()
}

/// A random orthogonal matrix.
fn rotation(n: usize, seed: u64) -> Tensor {
    Orthogonalizer::Exact.apply(&normal(&[n, n], seed)).unwrap()
}

fn product(factors: &[&Tensor]) -> Tensor {
    factors[1..].iter().fold(factors[0].clone(), |x, y| x.contiguous().unwrap().matmul(y).unwrap())
}

/// Singular values from 1 down to `smallest`, evenly spaced in the logarithm.
fn geometric(count: usize, smallest: f64) -> Vec<f64> {
    (0..count).map(|i| smallest.powf(i as f64 / (count.max(2) - 1) as f64)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn exact_orthogonalizer_gives_the_polar_factor(r in 1_usize..14, c in 1_usize..14, seed: u64, double: bool) {
        let (dtype, tolerance) = if double { (DType::F64, 1e-12) } else { (DType::F32, 1e-5) };
        let x = with_singular_values(r, c, &geometric(r.min(c), 1e-2), seed >> 1).to_dtype(dtype).unwrap();
        let o = Orthogonalizer::Exact.apply(&x).unwrap();
        prop_assert_eq!(o.dtype(), dtype);
        prop_assert_eq!(o.dims(), &[r, c]);
        let o = o.to_dtype(DType::F64).unwrap();
        let t = o.t().unwrap();
        // Rows (or columns) are orthonormal …
        let gram = if r <= c { o.matmul(&t).unwrap() } else { t.matmul(&o).unwrap() };
        prop_assert!(max_difference(&gram, &eye(r.min(c))) < tolerance);
        // … and X = O·H with H symmetric: with a positive semidefinite H, that is what defines the polar factor.
        let h = t.matmul(&x.to_dtype(DType::F64).unwrap()).unwrap();
        prop_assert!(max_difference(&h, &h.t().unwrap()) < tolerance);
        let trace: f64 = (0..c).map(|i| h.get(i).unwrap().get(i).unwrap().to_scalar::<f64>().unwrap()).sum();
        let nuclear: f64 = geometric(r.min(c), 1e-2).iter().sum();
        prop_assert!((trace - nuclear).abs() < tolerance * 10.0, "trace of H is the sum of the singular values");
    }

    #[test]
    fn dropped_singular_values_leave_a_partial_isometry(r in 2_usize..12, c in 2_usize..12, k: usize, seed: u64, double: bool) {
        let (dtype, tolerance) = if double { (DType::F64, 1e-10) } else { (DType::F32, 1e-4) };
        let rank = 1 + k % (r.min(c) - 1);
        let x = with_singular_values(r, c, &vec![1.0; rank], seed >> 1).to_dtype(dtype).unwrap();
        let o = Orthogonalizer::Exact.apply(&x).unwrap();
        prop_assert!((frobenius(&o).powi(2) - rank as f64).abs() < tolerance);
        // With all singular values 1, X is its own polar factor.
        prop_assert!(max_difference(&o, &x) < tolerance);
    }

    #[test]
    fn spectral_rules_commute_with_rotations(r in 1_usize..9, c in 1_usize..9, seed: u64) {
        let seed = seed >> 2;
        let (p, q) = (rotation(r, seed), rotation(c, seed + 1));
        let w = normal(&[r, c], seed + 2);
        // Singular values away from 0, where the polar factor changes slowly.
        let gradients = [
            with_singular_values(r, c, &geometric(r.min(c), 0.1), seed),
            with_singular_values(r, c, &geometric(r.min(c), 0.1), seed + 1),
        ];
        let rotated: Vec<Tensor> = gradients.iter().map(|g| product(&[&p, g, &q])).collect();
        for (json, gradients, rotated) in [
            (r#"{"rule":"specgd","lr":0.1}"#, &gradients[..], &rotated[..]),
            (r#"{"rule":"muon","lr":0.1}"#, &gradients[..1], &rotated[..1]),
            (r#"{"rule":"nmd","lr":0.1}"#, &gradients[..], &rotated[..]),
            (r#"{"rule":"sgd","lr":0.1,"momentum":0.9}"#, &gradients[..], &rotated[..]),
        ] {
            let plain = product(&[&p, &run(&w, &rule(json), gradients), &q]);
            let other = run(&product(&[&p, &w, &q]), &rule(json), rotated);
            prop_assert!(max_difference(&plain, &other) < 1e-9, "{json}");
        }
    }

    #[test]
    fn muon_without_momentum_is_specgd(r in 1_usize..10, c in 1_usize..10, seed: u64, nesterov: bool) {
        let w = normal(&[r, c], seed);
        let gradients = [normal(&[r, c], seed ^ 1), normal(&[r, c], seed ^ 2)];
        let json = format!(
            r#"{{"rule":"muon","lr":0.1,"momentum":0,"nesterov":{nesterov},"orthogonalizer":"exact","scale":"none"}}"#
        );
        let muon = run(&w, &rule(&json), &gradients);
        let specgd = run(&w, &rule(r#"{"rule":"specgd","lr":0.1}"#), &gradients);
        prop_assert_eq!(bits(&muon), bits(&specgd));
    }

    #[test]
    fn normalized_rules_ignore_the_scale_of_the_loss(r in 1_usize..8, c in 1_usize..8, seed: u64, exponent in -600_i32..600) {
        let scale = 2.0_f64.powi(exponent);
        let w = normal(&[r, c], seed);
        let gradients = [normal(&[r, c], seed ^ 1), normal(&[r, c], seed ^ 2)];
        let scaled: Vec<Tensor> = gradients.iter().map(|g| (g * scale).unwrap()).collect();
        for json in [
            r#"{"rule":"ngd","lr":0.1}"#,
            r#"{"rule":"nmd","lr":0.1}"#,
            r#"{"rule":"signum","lr":0.1}"#,
            r#"{"rule":"specgd","lr":0.1}"#,
        ] {
            let plain = run(&w, &rule(json), &gradients);
            let other = run(&w, &rule(json), &scaled);
            prop_assert!(max_difference(&plain, &other) < 1e-9, "{json}, 2^{exponent}");
        }
    }

    #[test]
    fn a_transposed_problem_has_transposed_steps(r in 1_usize..9, c in 1_usize..9, seed: u64) {
        let (w, g) = (normal(&[r, c], seed), normal(&[r, c], seed ^ 1));
        for json in [r#"{"rule":"specgd","lr":0.1}"#, r#"{"rule":"muon","lr":0.1,"scale":"match_rms_adamw"}"#] {
            let plain = run(&w, &rule(json), std::slice::from_ref(&g));
            let other = run(&w.t().unwrap(), &rule(json), &[g.t().unwrap()]);
            prop_assert!(max_difference(&plain.t().unwrap(), &other) < 1e-9, "{json}");
        }
    }
}

#[test]
fn signgd_does_not_commute_with_rotations() {
    // g = e₁e₁ᵀ, rotated by 45°: Pg = (1, 1)ᵀe₁ᵀ/√2. SignGD on g moves one entry by η, and the rotated step is
    // η(1, 1)ᵀe₁ᵀ/√2; on Pg it moves two entries by η.
    let h = 0.5_f64.sqrt();
    let p = Tensor::new(&[[h, -h], [h, h]], &Device::Cpu).unwrap();
    let g = Tensor::new(&[[1.0_f64, 0.0], [0.0, 0.0]], &Device::Cpu).unwrap();
    let w = g.zeros_like().unwrap();
    let signgd = rule(r#"{"rule":"signgd","lr":1}"#);
    let rotated_step = product(&[&p, &run(&w, &signgd, std::slice::from_ref(&g))]);
    let step_of_rotated = run(&w, &signgd, &[product(&[&p, &g])]);
    assert!(max_difference(&rotated_step, &Tensor::new(&[[-h, 0.0], [-h, 0.0]], &Device::Cpu).unwrap()) < 1e-15);
    assert!(max_difference(&step_of_rotated, &Tensor::new(&[[-1.0, 0.0], [-1.0, 0.0]], &Device::Cpu).unwrap()) < 1e-15);
}

#[test]
fn float32_orthogonalizers_follow_float64_ones() {
    // Wide, tall and square, with singular values over three decades: those that the truncation of the exact one keeps.
    for (r, c, seed) in [(24, 300, 1), (300, 24, 2), (40, 40, 3), (30, 50, 4)] {
        let single = with_singular_values(r, c, &geometric(r.min(c), 1e-3), seed).to_dtype(DType::F32).unwrap();
        let double = single.to_dtype(DType::F64).unwrap();
        let norm = (r.min(c) as f64).sqrt();
        let exact = |x: &Tensor| Orthogonalizer::Exact.apply(x).unwrap();
        assert!(max_difference(&exact(&single), &exact(&double)) < 1e-6, "exact {r}×{c}");
        for steps in [1, 3, 5, 10] {
            let ns = Orthogonalizer::NewtonSchulz(NewtonSchulz { steps, ..NewtonSchulz::default() });
            let (a, b) = (ns.apply(&single).unwrap().to_dtype(DType::F64).unwrap(), ns.apply(&double).unwrap());
            let error = frobenius(&(a - b).unwrap()) / norm;
            assert!(error < 1e-3, "{steps} steps on {r}×{c}: {error:e}");
        }
    }
}

#[test]
fn the_type_of_the_iteration_is_a_setting() {
    let x = normal(&[6, 9], 7).to_dtype(DType::F32).unwrap();
    let with = |dtype: &str| {
        let json = format!(r#"{{"rule":"muon","lr":1,"momentum":0,"ns_dtype":"{dtype}"}}"#);
        run(&x.zeros_like().unwrap(), &rule(&json), std::slice::from_ref(&x))
    };
    let exact = with("f64");
    assert_eq!(exact.dtype(), DType::F32);
    assert_eq!(bits(&with("tensor")), bits(&with("f32")));
    let single = max_difference(&with("f32"), &exact);
    let half = max_difference(&with("f16"), &exact);
    assert!(single < 1e-5, "{single:e}");
    assert!(half > single && half < 2e-2, "{half:e}");
}

#[test]
fn two_runs_are_identical() {
    let w = normal(&[20, 90], 1).to_dtype(DType::F32).unwrap();
    let gradients: Vec<Tensor> = (2..6).map(|s| normal(&[20, 90], s).to_dtype(DType::F32).unwrap()).collect();
    for rule in all_rules() {
        assert_eq!(bits(&run(&w, &rule, &gradients)), bits(&run(&w, &rule, &gradients)), "{rule:?}");
    }
}
