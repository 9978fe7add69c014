//! Dion, Scion and the spectral-power rule: what their definitions say beyond the reference trajectories.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use common::{Single, bits, frobenius, max_abs, max_difference, normal, rule, run, with_singular_values};
use isorate_optim::{Dion, Error, GroupRules, NamedParam, Optimizer, Orthogonalizer, Rank, Role, RuleConfig};

fn matrix(rows: &[&[f64]]) -> Tensor {
    let flat: Vec<f64> = rows.concat();
    Tensor::from_vec(flat, (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
}

/// Minus one step from zero weights for a parameter of this role.
fn direction(role: Role, json: &str, gradient: &Tensor) -> Tensor {
    let var = Var::from_tensor(&gradient.zeros_like().unwrap()).unwrap();
    let params = vec![NamedParam::new("w", role, var.clone())];
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule(json))).unwrap();
    let mut gradients = GradStore::default();
    gradients.insert(&var, gradient.clone());
    optimizer.step(&gradients).unwrap();
    var.as_detached_tensor().neg().unwrap()
}

#[test]
fn decoupled_decay_is_apart_from_the_step() {
    let (w, g) = (normal(&[4, 6], 1), normal(&[4, 6], 2));
    for name in ["ngd", "nmd", "signgd", "signum", "specgd", "power"] {
        let decayed = run(&w, &rule(&format!(r#"{{"rule":"{name}","lr":0.1,"weight_decay":0.5}}"#)), std::slice::from_ref(&g));
        let step = run(&w.zeros_like().unwrap(), &rule(&format!(r#"{{"rule":"{name}","lr":0.1}}"#)), std::slice::from_ref(&g));
        let expected = ((&w * 0.95).unwrap() + step).unwrap();
        assert!(max_difference(&decayed, &expected) < 1e-15, "{name}");
        // A zero gradient leaves the decay.
        let zero = run(&w, &rule(&format!(r#"{{"rule":"{name}","lr":0.1,"weight_decay":0.5}}"#)), &[w.zeros_like().unwrap()]);
        assert!(max_difference(&zero, &(&w * 0.95).unwrap()) < 1e-15, "{name}");
    }
}

#[test]
fn ends_of_the_spectral_power_are_specgd_and_gradient_descent() {
    for shape in [[5, 8], [8, 5], [6, 6], [1, 7]] {
        for dtype in [candle_core::DType::F32, candle_core::DType::F64] {
            let w = normal(&shape, 1).to_dtype(dtype).unwrap();
            let gradients: Vec<Tensor> = (2..5).map(|seed| normal(&shape, seed).to_dtype(dtype).unwrap()).collect();
            let end = |json: &str| bits(&run(&w, &rule(json), &gradients));
            assert_eq!(end(r#"{"rule":"power","lr":0.1,"exponent":0}"#), end(r#"{"rule":"specgd","lr":0.1}"#));
            assert_eq!(end(r#"{"rule":"power","lr":0.1,"exponent":1}"#), end(r#"{"rule":"sgd","lr":0.1}"#));
            let muon = r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact","nesterov":false,"scale":"none","momentum":0.9}"#;
            assert_eq!(end(r#"{"rule":"power","lr":0.1,"exponent":0,"momentum":0.9}"#), end(muon));
        }
    }
}

#[test]
fn singular_values_take_the_power() {
    let sigma = [3.0, 1.0, 0.04, 0.0009];
    for (rows, columns) in [(6, 4), (4, 6)] {
        for power in [0.1, 0.5, 0.9] {
            for scale in [1.0, 1e-130, 1e130] {
                let g = with_singular_values(rows, columns, &sigma.map(|s| s * scale), 3);
                let raised = sigma.map(|s: f64| (s * scale).powf(power));
                let expected = with_singular_values(rows, columns, &raised, 3);
                let json = format!(r#"{{"rule":"power","lr":1,"exponent":{power}}}"#);
                let difference = max_difference(&direction(Role::Matrix, &json, &g), &expected);
                assert!(difference < 1e-11 * raised[0], "p = {power}, {scale:e}: {difference:e}");
                // f32: through the Gram matrix. Its own rounding moves singular values by ε·σ_max.
                if scale == 1.0 {
                    let single = direction(Role::Matrix, &json, &g.to_dtype(candle_core::DType::F32).unwrap());
                    assert!(max_difference(&single, &expected) < 1e-3, "p = {power}");
                }
            }
        }
    }
}

#[test]
fn a_vector_under_the_spectral_power_is_a_column() {
    let g = normal(&[7], 1);
    for power in [0.0, 0.25, 1.0] {
        let json = format!(r#"{{"rule":"power","lr":1,"exponent":{power}}}"#);
        let expected = (&g * frobenius(&g).powf(power - 1.0)).unwrap();
        assert!(max_difference(&direction(Role::Vector, &json, &g), &expected) < 1e-14);
    }
    let scalar = Tensor::new(-2.0_f64, &Device::Cpu).unwrap();
    let step = direction(Role::Vector, r#"{"rule":"power","lr":1}"#, &scalar);
    assert!((step.to_scalar::<f64>().unwrap() + 2.0_f64.sqrt()).abs() < 1e-15);
}

#[test]
fn norms_of_scion_by_hand() {
    let g = matrix(&[&[3.0, -2.0, 0.0], &[-4.0, 0.0, 0.0]]);
    let scion = |norm: &str| format!(r#"{{"rule":"scion","lr":1,"norm":"{norm}","orthogonalizer":"exact"}}"#);
    let plain = |norm: &str| format!(r#"{{"rule":"scion","lr":1,"norm":"{norm}"}}"#);
    let close = |a: &Tensor, b: &Tensor| assert!(max_difference(a, b) < 1e-14, "{a} {b}");
    let third = 1.0 / 3.0;
    close(&direction(Role::Head, &plain("sign"), &g), &matrix(&[&[third, -third, 0.0], &[-third, 0.0, 0.0]]));
    let root = 2.0_f64.sqrt();
    close(&direction(Role::Matrix, &plain("col-norm"), &g), &matrix(&[&[0.6 * root, -root, 0.0], &[-0.8 * root, 0.0, 0.0]]));
    let (r3, r13) = (3.0_f64.sqrt(), 13.0_f64.sqrt());
    let rows = matrix(&[&[3.0 / r13 / r3, -2.0 / r13 / r3, 0.0], &[-1.0 / r3, 0.0, 0.0]]);
    close(&direction(Role::Matrix, &plain("row-norm"), &g), &rows);
    let rms = (29.0_f64 / 6.0).sqrt();
    close(&direction(Role::Matrix, &plain("bias-rms"), &g), &(&g / rms).unwrap());
    let polar = Orthogonalizer::Exact.apply(&g).unwrap();
    close(&direction(Role::Matrix, &scion("spectral"), &g), &(&polar * (2.0_f64 / 3.0).sqrt()).unwrap());
    close(&direction(Role::Matrix, &scion("spectral-max"), &g), &polar);
    let tall = direction(Role::Matrix, &scion("spectral-max"), &g.t().unwrap());
    close(&tall, &(polar.t().unwrap() * 1.5_f64.sqrt()).unwrap());
    // A table [vocabulary, dimension] is the transpose of the layer's matrix.
    close(&direction(Role::Embedding, &plain("col-norm"), &g), &(rows * 3.0).unwrap());
    close(
        &direction(Role::Embedding, &plain("row-norm"), &g),
        &matrix(&[&[0.6 / root, -1.0 / root, 0.0], &[-0.8 / root, 0.0, 0.0]]),
    );
}

#[test]
fn auto_chooses_the_norm_by_role_and_shape() {
    for (role, shape, norm) in [
        (Role::Matrix, &[4, 6][..], "spectral"),
        (Role::Matrix, &[4, 3, 2], "spectral-conv"),
        (Role::Matrix, &[4, 3, 2, 2], "spectral-conv"),
        (Role::Head, &[4, 6], "sign"),
        (Role::Embedding, &[4, 6], "col-norm"),
        (Role::Vector, &[6], "bias-rms"),
        (Role::Vector, &[1, 1, 6], "bias-rms"),
        (Role::Head, &[6], "bias-rms"),
        (Role::Vector, &[], "bias-rms"),
    ] {
        let g = normal(shape, 1);
        let auto = direction(role, r#"{"rule":"scion","lr":0.5}"#, &g);
        let named = direction(role, &format!(r#"{{"rule":"scion","lr":0.5,"norm":"{norm}"}}"#), &g);
        assert_eq!(bits(&auto), bits(&named), "{role} {shape:?}");
    }
}

#[test]
fn constrained_weights_come_into_the_ball_and_stay_there() {
    let shape = [6, 4];
    let radius = 0.5;
    let json = format!(r#"{{"rule":"scion","lr":0.1,"radius":{radius},"norm":"spectral","orthogonalizer":"exact"}}"#);
    let gradients: Vec<Tensor> = (2..82).map(|seed| normal(&shape, seed)).collect();
    let spectral_norm = |w: &Tensor| {
        // ‖W‖ is the limit of the power iteration on WᵀW.
        let gram = w.t().unwrap().matmul(w).unwrap();
        let mut v = Tensor::ones((4, 1), candle_core::DType::F64, &Device::Cpu).unwrap();
        for _ in 0..500 {
            let next = gram.matmul(&v).unwrap();
            v = (&next / frobenius(&next)).unwrap();
        }
        frobenius(&w.matmul(&v).unwrap())
    };
    let edge = radius * 1.5_f64.sqrt();
    let inside = run(&normal(&shape, 1).zeros_like().unwrap(), &rule(&json), &gradients);
    assert!(spectral_norm(&inside) <= edge * (1.0 + 1e-12));
    let start = (normal(&shape, 1) * 10.0).unwrap();
    let from_outside = run(&start, &rule(&json), &gradients);
    assert!(spectral_norm(&start) > 20.0 * edge && spectral_norm(&from_outside) < 1.02 * edge);
}

#[test]
fn matrix_norms_of_scion_do_not_take_vectors() {
    let mut groups = GroupRules::uniform(rule(r#"{"rule":"scion","lr":0.1,"norm":"sign"}"#));
    groups.vector = groups.matrix.clone();
    let bias = NamedParam::new("fc.bias", Role::Vector, Var::from_tensor(&normal(&[3], 1)).unwrap());
    let text = Optimizer::new(vec![bias], &groups).unwrap_err().to_string();
    assert!(text.contains("`fc.bias`") && text.contains("under scion, which needs at least two dimensions"), "{text}");
}

#[test]
fn ranks_that_do_not_fit_are_named() {
    let groups = GroupRules::uniform(rule(r#"{"rule":"dion","lr":0.1,"rank":4}"#));
    let param = |shape: &[usize]| vec![NamedParam::new("fc1.weight", Role::Matrix, Var::from_tensor(&normal(shape, 1)).unwrap())];
    let text = Optimizer::new(param(&[3, 9]), &groups).unwrap_err().to_string();
    assert_eq!(
        text,
        "parameter `fc1.weight` is a 3×9 matrix, too small for dion with rank = 4\n\
         hint: a rank is at most min(r, c); give `rank_fraction`, or another rule to its group"
    );
    assert!(Optimizer::new(param(&[4, 9]), &groups).is_ok());
    assert_eq!([Rank::Fraction(1.0), Rank::Fraction(0.5), Rank::Fraction(1e-9)].map(|rank| rank.of(5, 9)), [5, 3, 1]);
}

#[test]
fn the_start_of_dion_depends_on_seed_and_name_alone() {
    let g = normal(&[6, 5], 1);
    let step = |seed: u64, names: &[&str], dion: usize| {
        let vars: Vec<Var> = names.iter().map(|_| Var::from_tensor(&g.zeros_like().unwrap()).unwrap()).collect();
        let params = names.iter().zip(&vars).map(|(name, var)| NamedParam::new(*name, Role::Matrix, var.clone())).collect();
        let settings = Dion { rank: Rank::Absolute(2), seed, ..Dion::new(1.0) };
        let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Dion(settings))).unwrap();
        let mut gradients = GradStore::default();
        for var in &vars {
            gradients.insert(var, g.clone());
        }
        optimizer.step(&gradients).unwrap();
        bits(&vars[dion])
    };
    assert_eq!(step(0, &["a", "b"], 0), step(0, &["b", "a"], 1));
    assert_ne!(step(0, &["a", "b"], 0), step(0, &["a", "b"], 1));
    assert_ne!(step(0, &["a", "b"], 0), step(1, &["a", "b"], 0));
}

#[test]
fn dion_finds_directions_that_come_later() {
    // The first gradients have rank 1; Q must not have lost its other columns by then.
    for (rows, columns) in [(6, 4), (4, 6), (5, 5)] {
        let dion = rule(r#"{"rule":"dion","lr":1,"weight_decay":0}"#);
        let mut single = Single::new(&normal(&[rows, columns], 1), &dion);
        let mut step = |g: &Tensor| {
            let before = single.var.as_detached_tensor().copy().unwrap();
            single.step(g).unwrap();
            (single.var.as_tensor() - before).unwrap()
        };
        // All columns of P that are there have length 1, and so have those of Q: ‖PQᵀ‖_F² counts them.
        let count = |step: Tensor| frobenius(&step).powi(2) * columns as f64 / rows as f64;
        for _ in 0..3 {
            let rank1 = count(step(&with_singular_values(rows, columns, &[3.0], 7)));
            assert!((rank1 - 1.0).abs() < 1e-9, "{rank1}");
        }
        let rank2 = count(step(&with_singular_values(rows, columns, &[3.0], 9)));
        assert!((rank2 - 2.0).abs() < 1e-9, "{rank2}");
        let full = count(step(&normal(&[rows, columns], 11)));
        assert!((full - rows.min(columns) as f64).abs() < 1e-9, "{full}");
    }
}

#[test]
fn error_feedback_reaches_directions_beyond_the_rank() {
    // Rank 1 against a gradient with singular values 1 and 0.5: what is not applied gathers in M until it is.
    let g = matrix(&[&[1.0, 0.0], &[0.0, 0.5], &[0.0, 0.0]]);
    let dion = rule(r#"{"rule":"dion","lr":0.01,"rank":1,"weight_decay":0,"momentum":0.5}"#);
    let moved = run(&g.zeros_like().unwrap(), &dion, &vec![g.clone(); 200]).to_vec2::<f64>().unwrap();
    assert!(moved[0][0] < -0.5 && moved[1][1] < -0.5, "{moved:?}");
}

#[test]
fn dion_without_scale_of_the_loss() {
    // A power of two changes no digit of M, P or Q.
    let gradients: Vec<Tensor> = (2..5).map(|seed| normal(&[5, 7], seed)).collect();
    for exponent in [-300, -20, 20, 300] {
        let scaled: Vec<Tensor> = gradients.iter().map(|g| (g * 2.0_f64.powi(exponent)).unwrap()).collect();
        for json in [
            r#"{"rule":"dion","lr":0.1,"rank":3}"#,
            r#"{"rule":"scion","lr":0.1,"norm":"col-norm"}"#,
            r#"{"rule":"scion","lr":0.1,"norm":"bias-rms"}"#,
            r#"{"rule":"scion","lr":0.1,"norm":"spectral","orthogonalizer":"exact"}"#,
        ] {
            let plain = run(&normal(&[5, 7], 1), &rule(json), &gradients);
            let other = run(&normal(&[5, 7], 1), &rule(json), &scaled);
            assert!(max_difference(&plain, &other) < 1e-12, "{json}, 2^{exponent}");
        }
    }
}

#[test]
fn a_momentum_of_dion_that_overflows_is_an_error_and_changes_nothing() {
    let dion = rule(r#"{"rule":"dion","lr":0.1,"momentum":0.9}"#);
    let start = normal(&[3, 4], 2);
    let huge = (start.ones_like().unwrap() * (f64::MAX / 2.0)).unwrap();
    let mut single = Single::new(&start, &dion);
    // Finite gradients, whose sum is not.
    let (mut taken, mut failure) = (Vec::new(), None);
    for _ in 0..5 {
        let before = bits(&single.var);
        match single.step(&huge) {
            Ok(()) => taken.push(huge.clone()),
            Err(error) => {
                assert_eq!(bits(&single.var), before);
                failure = Some(error);
                break;
            }
        }
    }
    assert!(matches!(&failure, Some(Error::Update { name, .. }) if name == "w"), "{failure:?}");
    single.step(&normal(&[3, 4], 4)).unwrap();
    taken.push(normal(&[3, 4], 4));
    let undisturbed = run(&start, &dion, &taken);
    assert_eq!(bits(&single.var), bits(&undisturbed));
    assert!(max_abs(&undisturbed) < 10.0);
}
