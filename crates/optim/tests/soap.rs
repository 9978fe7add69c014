//! SOAP against its defining formulas and its special cases.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;
#[path = "common/dense.rs"]
mod dense;

use candle_core::{DType, Device, Tensor};
use common::{Single, bits, frobenius, max_abs, max_difference, normal, rule, run, with_singular_values};
use dense::{mat, scaled, tensor};
use faer::{Mat, Side};
use isorate_optim::{Orthogonalizer, RuleConfig, Soap};
use proptest::prelude::*;

/// The weights by the definition. Sides without a basis keep the identity. Unlike the rule, the first moment is kept
/// outside the bases.
fn by_definition(settings: &Soap, start: &Tensor, gradients: &[Tensor]) -> Tensor {
    let Soap { lr, beta1, beta2, eps, weight_decay, precondition_every, max_precond_dim, .. } = *settings;
    let beta = settings.shampoo_beta.unwrap_or(beta2);
    let mut w = mat(start);
    let (r, c) = w.shape();
    let identity = |n| Mat::<f64>::identity(n, n);
    let (mut factors, mut bases) = ([Mat::zeros(r, r), Mat::zeros(c, c)], [identity(r), identity(c)]);
    let has_basis = [r, c].map(|n| n <= max_precond_dim);
    let (mut m, mut v) = (Mat::<f64>::zeros(r, c), Mat::<f64>::zeros(r, c));
    for (t, gradient) in gradients.iter().enumerate() {
        let g = mat(gradient);
        if t > 0 {
            let seen = bases[0].transpose() * &g * &bases[1];
            m = scaled(&m, beta1) + scaled(&g, 1.0 - beta1);
            v = Mat::from_fn(r, c, |i, j| beta2 * v[(i, j)] + (1.0 - beta2) * seen[(i, j)].powi(2));
            let inside = bases[0].transpose() * &m * &bases[1];
            let quotient = Mat::from_fn(r, c, |i, j| inside[(i, j)] / (v[(i, j)].sqrt() + eps));
            let n = &bases[0] * quotient * bases[1].transpose();
            let power = i32::try_from(t).unwrap();
            w -= scaled(&n, lr * (1.0 - beta2.powi(power)).sqrt() / (1.0 - beta1.powi(power)));
            w = scaled(&w, 1.0 - lr * weight_decay);
        }
        let products = [&g * g.transpose(), g.transpose() * &g];
        for side in (0..2).filter(|&side| has_basis[side]) {
            factors[side] = scaled(&factors[side], beta) + scaled(&products[side], 1.0 - beta);
            let n = factors[side].nrows();
            if t == 0 {
                let eigen = factors[side].self_adjoint_eigen(Side::Lower).unwrap();
                bases[side] = Mat::from_fn(n, n, |i, j| eigen.U()[(i, n - 1 - j)]);
            } else if t % precondition_every == 0 {
                let image = &factors[side] * &bases[side];
                let estimate = |j: usize| (0..n).map(|i| bases[side][(i, j)] * image[(i, j)]).sum::<f64>();
                let mut order: Vec<usize> = (0..n).collect();
                order.sort_by(|&a, &b| estimate(b).total_cmp(&estimate(a)));
                v = Mat::from_fn(r, c, |i, j| if side == 0 { v[(order[i], j)] } else { v[(i, order[j])] });
                bases[side] = gram_schmidt(&Mat::from_fn(n, n, |i, j| image[(i, order[j])]));
            }
        }
    }
    tensor(&w)
}

/// Q of a QR decomposition, twice for accuracy.
fn gram_schmidt(a: &Mat<f64>) -> Mat<f64> {
    let mut q = a.clone();
    for _ in 0..2 {
        for j in 0..q.ncols() {
            for k in 0..j {
                let along: f64 = (0..q.nrows()).map(|i| q[(i, j)] * q[(i, k)]).sum();
                for i in 0..q.nrows() {
                    q[(i, j)] -= along * q[(i, k)];
                }
            }
            let norm = q.col(j).norm_l2();
            for i in 0..q.nrows() {
                q[(i, j)] /= norm;
            }
        }
    }
    q
}

#[test]
fn follows_its_definition_with_every_setting() {
    // Where the first factor would be singular, its side keeps the identity, so that no basis is arbitrary.
    for ((r, c), max_precond_dim) in [((4, 4), 10), ((3, 5), 3), ((5, 3), 3), ((3, 3), 0)] {
        let start = normal(&[r, c], 1);
        let gradients: Vec<Tensor> = (0..12).map(|k| normal(&[r, c], 10 + k)).collect();
        for precondition_every in [1, 2, 5, 100] {
            for shampoo_beta in [None, Some(0.0), Some(0.7)] {
                let settings = Soap {
                    beta1: 0.8,
                    beta2: 0.9,
                    shampoo_beta,
                    eps: 1e-3,
                    weight_decay: 0.3,
                    precondition_every,
                    max_precond_dim,
                    ..Soap::new(0.05)
                };
                let ours = run(&start, &RuleConfig::Soap(settings), &gradients);
                let difference = max_difference(&ours, &by_definition(&settings, &start, &gradients));
                assert!(difference < 1e-9, "{settings:?}: {difference:e}");
            }
        }
    }
}

#[test]
fn the_first_step_only_initializes_and_the_second_is_of_known_length() {
    let w = normal(&[4, 6], 1);
    let mut single = Single::new(&w, &rule(r#"{"rule":"soap","lr":0.1,"weight_decay":0}"#));
    single.step(&normal(&[4, 6], 2)).unwrap();
    assert_eq!(bits(&single.var), bits(&w));
    single.step(&normal(&[4, 6], 3)).unwrap();
    // η·sign in the basis: every one of the 24 entries is ±η, up to ε.
    let step = (single.var.as_tensor() - &w).unwrap();
    assert!((frobenius(&step) - 0.1 * 24.0_f64.sqrt()).abs() < 1e-5);
    // The first step does not decay either.
    let decaying = rule(r#"{"rule":"soap","lr":0.1,"weight_decay":0.5}"#);
    assert_eq!(bits(&run(&w, &decaying, &[normal(&[4, 6], 2)])), bits(&w));
}

#[test]
fn without_bases_it_is_adam_from_the_second_gradient_on() {
    // ε stands at different places, so it is 0.
    let adam = rule(r#"{"rule":"adam","lr":0.1,"beta1":0.95,"beta2":0.95,"eps":0}"#);
    let soap = rule(r#"{"rule":"soap","lr":0.1,"eps":0,"weight_decay":0,"max_precond_dim":2,"precondition_every":1}"#);
    for shape in [&[3, 4][..], &[7], &[1], &[], &[3, 2, 2]] {
        let w = normal(shape, 1);
        let gradients: Vec<Tensor> = (2..8).map(|k| normal(shape, k)).collect();
        let expected = run(&w, &adam, &gradients[1..]);
        assert!(max_difference(&run(&w, &soap, &gradients), &expected) < 1e-13, "{shape:?}");
    }
}

#[test]
fn filters_are_flattened() {
    let w = normal(&[6, 2, 3, 3], 1);
    let gradients: Vec<Tensor> = (2..6).map(|k| normal(&[6, 2, 3, 3], k)).collect();
    let rule = rule(r#"{"rule":"soap","lr":0.1,"precondition_every":2}"#);
    let filters = run(&w, &rule, &gradients);
    assert_eq!(filters.dims(), [6, 2, 3, 3]);
    let flat: Vec<Tensor> = gradients.iter().map(|g| g.reshape((6, 18)).unwrap()).collect();
    assert_eq!(bits(&filters), bits(&run(&w.reshape((6, 18)).unwrap(), &rule, &flat)));
}

#[test]
fn zero_and_rank_deficient_gradients_give_finite_steps() {
    for (r, c) in [(4, 6), (6, 4), (4, 4), (1, 5), (5, 1), (1, 1)] {
        let w = normal(&[r, c], 1);
        let zero = w.zeros_like().unwrap();
        let low = with_singular_values(r, c, &[2.0], 7);
        let full = normal(&[r, c], 3);
        for dtype in [DType::F32, DType::F64] {
            let [w, zero, low, full] = [&w, &zero, &low, &full].map(|t| t.to_dtype(dtype).unwrap());
            for eps in ["0", "1e-8"] {
                let json = format!(r#"{{"rule":"soap","lr":0.1,"eps":{eps},"weight_decay":0.5,"precondition_every":1}}"#);
                let decayed = run(&w, &rule(&json), &[zero.clone(), zero.clone(), zero.clone()]);
                assert!(max_difference(&decayed, &(&w * 0.9025).unwrap()) < 1e-6, "{json}");
                for order in [[&zero, &low, &full, &zero], [&low, &low, &low, &low], [&full, &zero, &zero, &low]] {
                    let end = run(&w, &rule(&json), &order.map(Clone::clone));
                    assert!(max_abs(&end).is_finite() && max_abs(&end) < 10.0, "{r}×{c}, {json}");
                }
            }
        }
    }
}

#[test]
fn the_basis_follows_the_factors() {
    // Gradients g = s·U D Vᵀ with random signs s of the entries of D have the factors' eigenvectors U and V. After the
    // bases have turned to them, a gradient with one such direction moves W in this direction alone.
    let (u, v) = (rotation(4, 1), rotation(4, 2));
    let diagonal = |values: [f64; 4]| {
        Tensor::from_vec((0..16).map(|k| if k % 5 == 0 { values[k / 5] } else { 0.0 }).collect::<Vec<_>>(), (4, 4), &Device::Cpu)
            .unwrap()
    };
    let turned = |d: &Tensor| u.matmul(d).unwrap().matmul(&v.t().unwrap()).unwrap();
    let mut gradients = vec![normal(&[4, 4], 3)];
    for k in 0..400_usize {
        let sign = |bit: usize| if (k * 7 + 3) >> bit & 1 == 1 { 1.0 } else { -1.0 };
        gradients.push(turned(&diagonal([8.0 * sign(0), 4.0 * sign(1), 2.0 * sign(2), sign(3)])));
    }
    let w = gradients[0].zeros_like().unwrap();
    let settings = r#"{"rule":"soap","lr":0.1,"beta1":0,"weight_decay":0,"precondition_every":5}"#;
    let mut single = Single::new(&w, &rule(settings));
    for gradient in &gradients {
        single.step(gradient).unwrap();
    }
    let before = single.var.as_tensor().copy().unwrap();
    single.step(&turned(&diagonal([0.0, 4.0, 0.0, 0.0]))).unwrap();
    let step = (single.var.as_tensor() - before).unwrap();
    let inside = u.t().unwrap().matmul(&step).unwrap().matmul(&v).unwrap().to_vec2::<f64>().unwrap();
    for (i, row) in inside.iter().enumerate() {
        for (j, x) in row.iter().enumerate() {
            let expected = if (i, j) == (1, 1) { -0.1 } else { 0.0 };
            assert!((x - expected).abs() < 1e-3, "entry {i}, {j}: {x}");
        }
    }
}

fn rotation(n: usize, seed: u64) -> Tensor {
    Orthogonalizer::Exact.apply(&normal(&[n, n], seed)).unwrap()
}

fn turned(p: &Tensor, x: &Tensor, q: &Tensor) -> Tensor {
    p.matmul(x).unwrap().matmul(q).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Square matrices only: otherwise the first factors have a null space, whose basis is arbitrary.
    #[test]
    fn soap_commutes_with_rotations_of_square_matrices(n in 1_usize..7, seed: u64, period in 1_usize..4) {
        let seed = seed >> 4;
        let (p, q) = (rotation(n, seed), rotation(n, seed + 1));
        let w = normal(&[n, n], seed + 2);
        // Singular values of the first gradient that are well apart, for eigenvectors that are well determined.
        let sigma: Vec<f64> = (0..n).map(|i| 1.5_f64.powf(-(i as f64))).collect();
        let mut gradients = vec![with_singular_values(n, n, &sigma, seed + 3)];
        gradients.extend((5..9).map(|k| normal(&[n, n], seed + k)));
        let rotated: Vec<Tensor> = gradients.iter().map(|g| turned(&p, g, &q)).collect();
        let rule = rule(&format!(r#"{{"rule":"soap","lr":0.1,"eps":1e-3,"precondition_every":{period}}}"#));
        let plain = turned(&p, &run(&w, &rule, &gradients), &q);
        let other = run(&turned(&p, &w, &q), &rule, &rotated);
        prop_assert!(max_difference(&plain, &other) < 1e-8);
    }
}
