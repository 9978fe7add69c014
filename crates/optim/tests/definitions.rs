//! The rules against their defining formulas, written out element by element: the settings that the reference
//! trajectories leave out.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::{Device, Tensor};
use common::{Single, frobenius, max_abs, max_difference, normal, rule, run};
use isorate_optim::Scale;

const STEPS: u64 = 7;

fn gradients() -> Vec<Tensor> {
    (0..STEPS).map(|k| normal(&[3, 4], 10 + k)).collect()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// Runs a formula for one element, `f(step, weight, gradient, state) → weight`, over all elements.
fn elementwise(start: &Tensor, f: impl Fn(usize, f64, f64, &mut [f64; 2]) -> f64) -> Tensor {
    let mut w = values(start);
    let mut states = vec![[0.0; 2]; w.len()];
    for (k, gradient) in gradients().iter().enumerate() {
        for ((w, g), state) in w.iter_mut().zip(values(gradient)).zip(&mut states) {
            *w = f(k + 1, *w, g, state);
        }
    }
    Tensor::from_vec(w, start.shape(), &Device::Cpu).unwrap()
}

#[test]
fn sgd_with_every_setting() {
    let start = normal(&[3, 4], 1);
    for (momentum, nesterov, decay) in
        [(0.0, false, 0.0), (0.0, false, 0.3), (0.8, false, 0.0), (0.8, true, 0.0), (0.8, false, 0.3), (0.8, true, 0.3)]
    {
        let expected = elementwise(&start, |step, w, g, state| {
            let g = g + decay * w;
            state[0] = if step == 1 { g } else { momentum * state[0] + g };
            w - 0.1 * if nesterov { g + momentum * state[0] } else { state[0] }
        });
        let json = format!(r#"{{"rule":"sgd","lr":0.1,"momentum":{momentum},"nesterov":{nesterov},"weight_decay":{decay}}}"#);
        let ours = run(&start, &rule(&json), &gradients());
        assert!(max_difference(&ours, &expected) < 1e-14, "{json}");
    }
}

#[test]
fn adam_couples_weight_decay_and_adamw_does_not() {
    let start = normal(&[3, 4], 1);
    let adam = |step: usize, w: f64, g: f64, state: &mut [f64; 2]| {
        let t = i32::try_from(step).unwrap();
        state[0] = 0.8 * state[0] + 0.2 * g;
        state[1] = 0.95 * state[1] + 0.05 * g * g;
        let (m, v) = (state[0] / (1.0 - 0.8_f64.powi(t)), state[1] / (1.0 - 0.95_f64.powi(t)));
        w - 0.1 * m / (v.sqrt() + 1e-3)
    };
    let coupled = elementwise(&start, |step, w, g, state| adam(step, w, g + 0.3 * w, state));
    let decoupled = elementwise(&start, |step, w, g, state| adam(step, w, g, state) - 0.1 * 0.3 * w);
    let settings = r#""lr":0.1,"beta1":0.8,"beta2":0.95,"eps":1e-3,"weight_decay":0.3"#;
    let ours = |name| run(&start, &rule(&format!(r#"{{"rule":"{name}",{settings}}}"#)), &gradients());
    assert!(max_difference(&ours("adam"), &coupled) < 1e-13);
    assert!(max_difference(&ours("adamw"), &decoupled) < 1e-13);
}

#[test]
fn learning_rate_factor_scales_the_step_and_not_the_state() {
    let start = normal(&[3, 4], 1);
    for rule in common::all_rules() {
        let mut scheduled = Single::new(&start, &rule);
        for (k, gradient) in gradients().iter().enumerate() {
            // Not cumulative: twice the rate of a rule with half of it.
            scheduled.optimizer.set_lr_factor(if k % 2 == 0 { 7.0 } else { 2.0 }).unwrap();
            scheduled.optimizer.set_lr_factor(2.0).unwrap();
            scheduled.step(gradient).unwrap();
        }
        let plain = run(&start, &rule.clone().with_lr(2.0 * rule.lr()), &gradients());
        assert!(max_difference(&scheduled.var, &plain) < 1e-12, "{rule:?}");
    }
}

#[test]
fn scales_of_muon() {
    // [r, c], none, original, match_rms_adamw, spectral
    let table = [
        ((16, 75), 1.0, 1.0, 0.2 * 75.0_f64.sqrt(), (16.0_f64 / 75.0).sqrt()),
        ((64, 9), 1.0, 64.0_f64.sqrt() / 3.0, 1.6, 64.0_f64.sqrt() / 3.0),
        ((5, 5), 1.0, 1.0, 0.2 * 5.0_f64.sqrt(), 1.0),
    ];
    for ((r, c), none, original, rms, spectral) in table {
        for (scale, expected) in
            [(Scale::None, none), (Scale::Original, original), (Scale::MatchRmsAdamw, rms), (Scale::Spectral, spectral)]
        {
            assert!((scale.factor(r, c) - expected).abs() < 1e-15, "{scale:?} of {r}×{c}");
        }
    }
}

#[test]
fn filters_are_flattened_for_update_and_scale() {
    for (shape, (r, c)) in [([16, 3, 5, 5], (16_usize, 75_usize)), ([64, 1, 3, 3], (64, 9))] {
        let (w, g) = (normal(&shape, 1), normal(&shape, 2));
        for scale in ["none", "original", "match_rms_adamw", "spectral"] {
            let json = format!(r#"{{"rule":"muon","lr":0.1,"scale":"{scale}","weight_decay":0.5}}"#);
            let filters = run(&w, &rule(&json), std::slice::from_ref(&g));
            assert_eq!(filters.dims(), shape);
            let matrix = run(&w.reshape((r, c)).unwrap(), &rule(&json), &[g.reshape((r, c)).unwrap()]);
            assert!(max_difference(&filters.reshape((r, c)).unwrap(), &matrix) == 0.0);
        }
        // All singular values of the exact step are η·s, so its norm is η·s·√min(r, c).
        let json = r#"{"rule":"muon","lr":0.1,"orthogonalizer":"exact","scale":"spectral"}"#;
        let step = (run(&w, &rule(json), std::slice::from_ref(&g)) - &w).unwrap();
        let expected = 0.1 * (r as f64 / c as f64).sqrt() * (r.min(c) as f64).sqrt();
        assert!((frobenius(&step) - expected).abs() < 1e-12);
    }
}

#[test]
fn weight_decay_of_muon_is_not_scaled() {
    let w = normal(&[40, 4], 1);
    let zero = w.zeros_like().unwrap();
    let json = r#"{"rule":"muon","lr":0.1,"scale":"match_rms_adamw","weight_decay":0.5}"#;
    let decayed = run(&w, &rule(json), &[zero]);
    assert!(max_difference(&decayed, &(w * 0.95).unwrap()) < 1e-15);
}

#[test]
fn zero_gradients_move_nothing() {
    let start = normal(&[3, 4], 1);
    let zero = start.zeros_like().unwrap();
    for mut rule in common::all_rules() {
        match &mut rule {
            isorate_optim::RuleConfig::Sgd(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::Adam(r) => (r.weight_decay, r.eps) = (0.0, 0.0),
            isorate_optim::RuleConfig::AdamW(r) => (r.weight_decay, r.eps) = (0.0, 0.0),
            isorate_optim::RuleConfig::Muon(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::Nmd(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::Signum(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::SpecGd(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::Shampoo(r) => (r.weight_decay, r.eps) = (0.0, 0.0),
            isorate_optim::RuleConfig::Soap(r) => (r.weight_decay, r.eps) = (0.0, 0.0),
            isorate_optim::RuleConfig::Dion(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::Power(r) => r.weight_decay = 0.0,
            isorate_optim::RuleConfig::Scion(r) => r.constrained = false,
        }
        let end = run(&start, &rule, &[zero.clone(), zero.clone()]);
        assert!(max_difference(&end, &start) == 0.0, "{rule:?}");
    }
}

#[test]
fn rows_and_columns_are_normalized() {
    for shape in [[1, 6], [6, 1], [1, 1]] {
        let g = normal(&shape, 3);
        let expected = (&g / frobenius(&g)).unwrap();
        let w = g.zeros_like().unwrap();
        let step = run(&w, &rule(r#"{"rule":"specgd","lr":1}"#), std::slice::from_ref(&g));
        assert!(max_difference(&step.neg().unwrap(), &expected) < 1e-14);
        // Newton–Schulz maps the one singular value, which is 1, to 0.696436.
        let step = run(&w, &rule(r#"{"rule":"muon","lr":1,"scale":"none"}"#), std::slice::from_ref(&g));
        assert!(max_difference(&step.neg().unwrap(), &(expected * 0.696_436).unwrap()) < 1e-6);
    }
}

#[test]
fn extreme_gradients_give_finite_steps() {
    for scale in [1e-300, 1e-30, 1e30, 1e300] {
        let g = (normal(&[3, 5], 4) * scale).unwrap();
        let w = g.zeros_like().unwrap();
        let specgd = run(&w, &rule(r#"{"rule":"specgd","lr":1}"#), std::slice::from_ref(&g));
        assert!((frobenius(&specgd).powi(2) - 3.0).abs() < 1e-10, "{scale:e}");
        let ngd = run(&w, &rule(r#"{"rule":"ngd","lr":1}"#), std::slice::from_ref(&g));
        assert!((frobenius(&ngd) - 1.0).abs() < 1e-12, "{scale:e}");
        let muon = run(&w, &rule(r#"{"rule":"muon","lr":1}"#), std::slice::from_ref(&g));
        assert!(max_abs(&muon) <= 1.2, "{scale:e}");
    }
}
