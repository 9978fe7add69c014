//! Shampoo against its defining formulas, its special cases and its blocks.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;
#[path = "common/dense.rs"]
mod dense;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{Single, bits, frobenius, max_abs, max_difference, normal, rule, run, with_singular_values};
use dense::{mat, scaled, tensor};
use faer::{Mat, Side};
use isorate_optim::{Error, Graft, GroupRules, NamedParam, Optimizer, Orthogonalizer, Role, RuleConfig, Shampoo};
use proptest::prelude::*;

/// (A + εI)^(−1/4)
fn fourth_root(a: &Mat<f64>, eps: f64) -> Mat<f64> {
    let n = a.nrows();
    let shifted = Mat::from_fn(n, n, |i, j| a[(i, j)] + if i == j { eps } else { 0.0 });
    let eigen = shifted.self_adjoint_eigen(Side::Lower).unwrap();
    let u = eigen.U();
    let powers = Mat::from_fn(n, n, |i, j| u[(i, j)] * eigen.S().column_vector()[j].powf(-0.25));
    &powers * u.transpose()
}

/// The weights after each step by the definition, with roots in the steps listed.
fn by_definition(settings: &Shampoo, start: &Tensor, gradients: &[Tensor], root_steps: &[i32]) -> Tensor {
    let Shampoo { lr, beta1, beta2, eps, weight_decay, graft, .. } = *settings;
    let mut w = mat(start);
    let (r, c) = w.shape();
    let (mut left, mut right) = (Mat::zeros(r, r), Mat::zeros(c, c));
    let (mut m, mut v) = (Mat::<f64>::zeros(r, c), Mat::<f64>::zeros(r, c));
    let mut roots = None;
    for (t, gradient) in (1_i32..).zip(gradients) {
        let g = mat(gradient);
        let share = if beta2 == 1.0 { 1.0 } else { 1.0 - beta2 };
        left = scaled(&left, beta2) + scaled(&(&g * g.transpose()), share);
        right = scaled(&right, beta2) + scaled(&(g.transpose() * &g), share);
        m = scaled(&m, beta1) + scaled(&g, 1.0 - beta1);
        let average = scaled(&m, 1.0 / (1.0 - beta1.powi(t)));
        let d = match graft {
            Graft::None | Graft::Sgd => average.clone(),
            Graft::Adam { beta2, eps } => {
                v = Mat::from_fn(r, c, |i, j| beta2 * v[(i, j)] + (1.0 - beta2) * g[(i, j)].powi(2));
                Mat::from_fn(r, c, |i, j| average[(i, j)] / ((v[(i, j)] / (1.0 - beta2.powi(t))).sqrt() + eps))
            }
        };
        if root_steps.contains(&t) {
            let correction = if beta2 == 1.0 { 1.0 } else { 1.0 - beta2.powi(t) };
            let root = |a| fourth_root(&scaled(a, 1.0 / correction), eps);
            roots = Some((root(&left), root(&right)));
        }
        let p = match &roots {
            None => d,
            Some((left, right)) => {
                let p = left * &average * right;
                let factor = if graft == Graft::None { 1.0 } else { d.norm_l2() / (p.norm_l2() + 1e-16) };
                scaled(&p, factor)
            }
        };
        w = scaled(&w, 1.0 - lr * weight_decay) - scaled(&p, lr);
    }
    tensor(&w)
}

#[test]
fn follows_its_definition_with_every_setting() {
    let grafts = [Graft::None, Graft::Sgd, Graft::Adam { beta2: 0.8, eps: 1e-3 }];
    // (period, start, the steps that then compute roots)
    let schedules: [(usize, Option<usize>, &[i32]); 5] = [
        (1, None, &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (3, None, &[3, 6, 9]),
        (4, Some(3), &[3, 4, 8]),
        (3, Some(1), &[1, 3, 6, 9]),
        (2, Some(20), &[]),
    ];
    for (r, c) in [(3, 5), (5, 3), (4, 4)] {
        let start = normal(&[r, c], 1);
        let gradients: Vec<Tensor> = (0..9).map(|k| normal(&[r, c], 10 + k)).collect();
        for beta2 in [1.0, 0.9, 0.0] {
            for beta1 in [0.0, 0.8] {
                for graft in grafts {
                    for (precondition_every, start_step, steps) in schedules {
                        let settings = Shampoo {
                            beta1,
                            beta2,
                            eps: 1e-3,
                            weight_decay: 0.3,
                            precondition_every,
                            start_step,
                            graft,
                            ..Shampoo::new(0.05)
                        };
                        let ours = run(&start, &RuleConfig::Shampoo(settings), &gradients);
                        let expected = by_definition(&settings, &start, &gradients, steps);
                        assert!(max_difference(&ours, &expected) < 1e-12, "{settings:?}");
                    }
                }
            }
        }
    }
}

fn eps_free(json: &str) -> RuleConfig {
    rule(&format!(r#"{{"rule":"shampoo","lr":1,"eps":0{json}}}"#))
}

#[test]
fn one_step_without_eps_is_specgd() {
    let specgd = rule(r#"{"rule":"specgd","lr":1}"#);
    for (r, c) in [(4, 7), (7, 4), (5, 5), (1, 6), (6, 1), (1, 1)] {
        let full: Vec<f64> = (0..r.min(c)).map(|i| 3.0 / (i + 1) as f64).collect();
        let mut matrices = vec![with_singular_values(r, c, &full, 3)];
        if r.min(c) > 1 {
            matrices.push(with_singular_values(r, c, &full[..r.min(c) - 1], 4));
        }
        for g in matrices {
            let w = g.zeros_like().unwrap();
            let expected = run(&w, &specgd, std::slice::from_ref(&g));
            for form in ["", r#","beta2":0.9"#, r#","beta2":0"#] {
                let step = run(&w, &eps_free(form), std::slice::from_ref(&g));
                assert!(max_difference(&step, &expected) < 1e-12, "{r}×{c}, {form}");
                // A tiny ε on matrices of full rank: (σ² + ε)^(−1/2)σ ≈ 1 − ε/(2σ²).
                let tiny = rule(&format!(r#"{{"rule":"shampoo","lr":1,"eps":1e-12{form}}}"#));
                let step = run(&w, &tiny, std::slice::from_ref(&g));
                assert!(max_difference(&step, &expected) < 1e-10, "{r}×{c}, {form}");
            }
        }
    }
}

#[test]
fn one_step_for_a_vector_is_ngd() {
    for shape in [&[6][..], &[1], &[]] {
        let g = normal(shape, 5);
        let w = g.zeros_like().unwrap();
        let ngd = run(&w, &rule(r#"{"rule":"ngd","lr":1}"#), std::slice::from_ref(&g));
        assert!(max_difference(&run(&w, &eps_free(""), std::slice::from_ref(&g)), &ngd) < 1e-13, "{shape:?}");
    }
}

#[test]
fn a_vector_has_one_factor_with_the_whole_root() {
    // In a second step with g₂ ⊥ g₁ and β₁ = 0, L = g₁g₁ᵀ + g₂g₂ᵀ and L^(−1/2)g₂ = g₂/‖g₂‖; with g₂ = 2g₁, 2/√5 of it.
    let (x, y) = (Tensor::new(&[3.0_f64, 0.0], &Device::Cpu).unwrap(), Tensor::new(&[0.0_f64, 5.0], &Device::Cpu).unwrap());
    let w = x.zeros_like().unwrap();
    let shampoo = eps_free(r#","beta1":0"#);
    let orthogonal = run(&w, &shampoo, &[x.clone(), y]).to_vec1::<f64>().unwrap();
    assert!((orthogonal[0] + 1.0).abs() < 1e-14 && (orthogonal[1] + 1.0).abs() < 1e-14);
    let parallel = run(&w, &shampoo, &[x.clone(), (x * 2.0).unwrap()]).to_vec1::<f64>().unwrap();
    assert!((parallel[0] + 1.0 + 2.0 / 5.0_f64.sqrt()).abs() < 1e-14 && parallel[1] == 0.0);
}

#[test]
fn a_block_that_fits_is_the_matrix() {
    let (w, gradients) = (normal(&[5, 7], 1), [normal(&[5, 7], 2), normal(&[5, 7], 3)]);
    for graft in ["none", "sgd", "adam"] {
        let with =
            |max_dim: usize| rule(&format!(r#"{{"rule":"shampoo","lr":0.1,"eps":1e-6,"graft":"{graft}","max_dim":{max_dim}}}"#));
        let whole = bits(&run(&w, &with(1024), &gradients));
        assert_eq!(bits(&run(&w, &with(7), &gradients)), whole);
        assert_ne!(bits(&run(&w, &with(6), &gradients)), whole);
    }
}

#[test]
fn blocks_are_separate_parameters() {
    // 6×7 by 3: pieces of 3 and 3 rows, 3, 3 and 1 columns.
    let pieces = [((0, 3), [(0, 3), (3, 3), (6, 1)]), ((3, 3), [(0, 3), (3, 3), (6, 1)])];
    let cut = |t: &Tensor, (r, rs): (usize, usize), (c, cs): (usize, usize)| {
        t.narrow(0, r, rs).unwrap().narrow(1, c, cs).unwrap().contiguous().unwrap()
    };
    let w = normal(&[6, 7], 1);
    let gradients: Vec<Tensor> = (2..7).map(|k| normal(&[6, 7], k)).collect();
    for graft in ["none", "sgd", "adam"] {
        let settings = r#""lr":0.1,"eps":1e-6,"beta2":0.9,"weight_decay":0.1,"precondition_every":2"#;
        let rule = rule(&format!(r#"{{"rule":"shampoo",{settings},"graft":"{graft}","max_dim":3}}"#));
        let whole = run(&w, &rule, &gradients);
        for (rows, columns) in pieces {
            for columns in columns {
                let parts: Vec<Tensor> = gradients.iter().map(|g| cut(g, rows, columns)).collect();
                let alone = run(&cut(&w, rows, columns), &rule, &parts);
                assert!(max_difference(&cut(&whole, rows, columns), &alone) < 1e-14, "{graft}, {rows:?} {columns:?}");
            }
        }
    }
    // A vector in pieces of 4, 4 and 1.
    let (v, g) = (normal(&[9], 1), normal(&[9], 2));
    let whole = run(&v, &rule(r#"{"rule":"shampoo","lr":0.1,"eps":0,"max_dim":4}"#), std::slice::from_ref(&g));
    let piece = |t: &Tensor| t.narrow(0, 4, 4).unwrap().contiguous().unwrap();
    let expected = (piece(&v) - (piece(&g) * (0.1 / frobenius(&piece(&g)))).unwrap()).unwrap();
    assert!(max_difference(&piece(&whole), &expected) < 1e-14);
}

#[test]
fn filters_are_flattened() {
    let (w, g) = (normal(&[6, 2, 3, 3], 1), normal(&[6, 2, 3, 3], 2));
    let rule = rule(r#"{"rule":"shampoo","lr":0.1,"eps":1e-6,"graft":"adam","max_dim":10}"#);
    let filters = run(&w, &rule, std::slice::from_ref(&g));
    assert_eq!(filters.dims(), [6, 2, 3, 3]);
    let matrix = run(&w.reshape((6, 18)).unwrap(), &rule, &[g.reshape((6, 18)).unwrap()]);
    assert_eq!(bits(&filters), bits(&matrix));
}

#[test]
fn a_grafted_step_has_the_length_of_the_other_rule() {
    let w = normal(&[4, 6], 1);
    let graft = r#""graft":"adam","graft_beta2":0.95,"graft_eps":1e-3"#;
    let settings = r#""lr":0.1,"eps":1e-6,"precondition_every":2,"start_step":3"#;
    let pairs = [
        (format!(r#"{{"rule":"shampoo",{settings},{graft}}}"#), r#"{"rule":"adam","lr":0.1,"beta2":0.95,"eps":1e-3}"#),
        (format!(r#"{{"rule":"shampoo",{settings},"beta1":0,"graft":"sgd"}}"#), r#"{"rule":"sgd","lr":0.1}"#),
    ];
    for (grafted, other) in pairs {
        let ungrafted =
            rule(&format!(r#"{{"rule":"shampoo",{settings}{}}}"#, if other.contains("sgd") { r#","beta1":0"# } else { "" }));
        let [mut grafted, mut other, mut plain] = [rule(&grafted), rule(other), ungrafted].map(|rule| Single::new(&w, &rule));
        for step in 1..8 {
            let gradient = normal(&[4, 6], 10 + step);
            let move_of = |single: &mut Single| {
                let before = single.var.as_tensor().copy().unwrap();
                single.step(&gradient).unwrap();
                (single.var.as_tensor() - before).unwrap()
            };
            let (a, b, c) = (move_of(&mut grafted), move_of(&mut other), move_of(&mut plain));
            assert!((frobenius(&a) / frobenius(&b) - 1.0).abs() < 1e-12, "step {step}");
            // Before the first roots it is the other rule; then it has the direction of Shampoo.
            let direction = if step < 3 { &b } else { &c };
            let cosine =
                (&a * direction).unwrap().sum_all().unwrap().to_scalar::<f64>().unwrap() / (frobenius(&a) * frobenius(direction));
            assert!((cosine - 1.0).abs() < 1e-12, "step {step}");
            assert!(step < 3 || max_difference(&a, &b) > 1e-3);
        }
    }
}

#[test]
fn zero_and_rank_deficient_gradients_give_finite_steps() {
    let zero = normal(&[4, 6], 1).zeros_like().unwrap();
    let low = with_singular_values(4, 6, &[2.0], 7);
    let w = normal(&[4, 6], 1);
    for dtype in [DType::F32, DType::F64] {
        let [w, zero, low] = [&w, &zero, &low].map(|t| t.to_dtype(dtype).unwrap());
        for eps in ["0", "1e-12"] {
            for graft in ["none", "sgd", "adam"] {
                let json = format!(r#"{{"rule":"shampoo","lr":0.1,"eps":{eps},"graft":"{graft}","weight_decay":0.5}}"#);
                let decayed = run(&w, &rule(&json), &[zero.clone(), zero.clone()]);
                assert!(max_difference(&decayed, &(&w * 0.9025).unwrap()) < 1e-6, "{json}");
                for order in [[&zero, &low, &zero], [&low, &low, &low], [&low, &zero, &low]] {
                    let end = run(&w, &rule(&json), &order.map(Clone::clone));
                    assert!(max_abs(&end).is_finite() && max_abs(&end) < 10.0, "{json}");
                }
            }
        }
    }
}

#[test]
fn extreme_gradients_are_normalized() {
    for scale in [1e-120, 1e-30, 1e30, 1e120] {
        let g = (normal(&[3, 5], 4) * scale).unwrap();
        let step = run(&g.zeros_like().unwrap(), &eps_free(""), std::slice::from_ref(&g));
        assert!((frobenius(&step).powi(2) - 3.0).abs() < 1e-10, "{scale:e}");
    }
}

#[test]
fn an_overflow_names_the_parameter_and_changes_nothing() {
    let w = normal(&[3, 4], 1).to_dtype(DType::F32).unwrap();
    let vars = [Var::from_tensor(&w).unwrap(), Var::from_tensor(&w).unwrap()];
    let params = ["first", "second"].into_iter().zip(&vars).map(|(name, var)| NamedParam::new(name, Role::Matrix, var.clone()));
    let rule = rule(r#"{"rule":"shampoo","lr":0.1,"eps":1e-6,"graft":"adam"}"#);
    let mut optimizer = Optimizer::new(params.collect(), &GroupRules::uniform(rule.clone())).unwrap();
    let good = normal(&[3, 4], 2).to_dtype(DType::F32).unwrap();
    let bad = (&good * 1e25).unwrap();
    let mut step = |first: &Tensor, second: &Tensor| {
        let mut gradients = GradStore::default();
        gradients.insert(&vars[0], first.clone());
        gradients.insert(&vars[1], second.clone());
        optimizer.step(&gradients)
    };
    step(&good, &good).unwrap();
    let before = vars.each_ref().map(|var| bits(var));
    let error = step(&good, &bad).unwrap_err();
    assert!(matches!(&error, Error::Update { problem, .. } if matches!(**problem, Error::NonFiniteFactor { .. })));
    assert!(error.to_string().starts_with("updating parameter `second` with shampoo: a "), "{error}");
    assert_eq!(vars.each_ref().map(|var| bits(var)), before);
    // The states are also as before: the run goes on as if the bad gradient had never come.
    step(&good, &good).unwrap();
    let expected = bits(&run(&w, &rule, &[good.clone(), good.clone()]));
    assert_eq!(vars.each_ref().map(|var| bits(var)), [expected.clone(), expected]);
    // An ε whose root leaves the range of f32.
    let tiny = common::rule(r#"{"rule":"shampoo","lr":0.1,"eps":1e-200}"#);
    let message = Single::new(&w, &tiny).step(&good.zeros_like().unwrap()).unwrap_err().to_string();
    assert!(message.contains("factor of the preconditioner"), "{message}");
}

fn rotation(n: usize, seed: u64) -> Tensor {
    Orthogonalizer::Exact.apply(&normal(&[n, n], seed)).unwrap()
}

fn turned(p: &Tensor, x: &Tensor, q: &Tensor) -> Tensor {
    p.matmul(x).unwrap().matmul(q).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn shampoo_commutes_with_rotations(r in 1_usize..8, c in 1_usize..8, seed: u64, sum: bool, sgd: bool) {
        let seed = seed >> 3;
        let (p, q) = (rotation(r, seed), rotation(c, seed + 1));
        let w = normal(&[r, c], seed + 2);
        let gradients: Vec<Tensor> = (3..7).map(|k| normal(&[r, c], seed + k)).collect();
        let rotated: Vec<Tensor> = gradients.iter().map(|g| turned(&p, g, &q)).collect();
        let (beta2, graft) = (if sum { 1.0 } else { 0.9 }, if sgd { "sgd" } else { "none" });
        let rule = rule(&format!(
            r#"{{"rule":"shampoo","lr":0.1,"eps":1e-4,"beta2":{beta2},"precondition_every":2,"weight_decay":0.1,"graft":"{graft}"}}"#
        ));
        let plain = turned(&p, &run(&w, &rule, &gradients), &q);
        let other = run(&turned(&p, &w, &q), &rule, &rotated);
        prop_assert!(max_difference(&plain, &other) < 1e-9);
    }

    #[test]
    fn a_transposed_problem_has_transposed_steps(r in 1_usize..8, c in 1_usize..8, seed: u64) {
        let seed = seed >> 1;
        let w = normal(&[r, c], seed);
        let gradients = [normal(&[r, c], seed + 1), normal(&[r, c], seed + 2)];
        let rule = rule(r#"{"rule":"shampoo","lr":0.1,"eps":1e-4,"graft":"adam"}"#);
        let other = run(&w.t().unwrap(), &rule, &gradients.each_ref().map(|g| g.t().unwrap()));
        prop_assert!(max_difference(&run(&w, &rule, &gradients).t().unwrap(), &other) < 1e-10);
    }
}
