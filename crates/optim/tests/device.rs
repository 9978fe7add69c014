//! Every rule on another device against the CPU. The device is named by the environment variable `ISORATE_TEST_DEVICE`,
//! such as `cuda`; without it only the fallback is tested, since a comparison of the CPU with itself would show nothing.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]
#![allow(clippy::print_stdout, reason = "a test that compared nothing says so, and one that did says how close")]

mod common;

use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{all_rules, max_abs, max_difference, normal, rule};
use isorate_optim::{
    DeviceChoice, Error, GroupRules, IterationDtype, NamedParam, NewtonSchulz, Optimizer, Orthogonalizer, Role, RuleConfig,
    replay_on,
};

const VARIABLE: &str = "ISORATE_TEST_DEVICE";

/// The device to test, which must be there when it is named; otherwise a line that says that nothing is tested.
fn device() -> Option<Device> {
    let Ok(name) = std::env::var(VARIABLE) else {
        println!("{VARIABLE} is not set: nothing was compared");
        return None;
    };
    let open = name.parse::<DeviceChoice>().unwrap().open();
    assert!(open.note.is_none(), "{VARIABLE}: {}", open.note.unwrap());
    assert!(!open.device.is_cpu(), "{VARIABLE} must name another device than the CPU");
    Some(open.device)
}

/// The types that weights can have on a device.
fn dtypes(device: &Device) -> Vec<DType> {
    let all = [DType::F32, DType::F64, DType::BF16, DType::F16];
    all.into_iter().filter(|dtype| !(device.is_metal() && *dtype == DType::F64)).collect()
}

/// Every rule. SOAP is missing: on a matrix that is not square its first basis is arbitrary where the first gradient has no
/// part, so two correct computations differ; it has a test of its own.
fn rules() -> Vec<RuleConfig> {
    let more = [
        r#"{"rule":"shampoo","lr":0.1,"precondition_every":2}"#,
        r#"{"rule":"shampoo","lr":0.1,"precondition_every":2,"graft":"adam"}"#,
    ];
    let mut rules: Vec<RuleConfig> = all_rules().into_iter().filter(|rule| rule.name() != "soap").chain(more.map(rule)).collect();
    for rule in &mut rules {
        // The one factor of a vector is singular in the first steps, and ε^(−1/2) enlarges the rounding in its null space.
        if let RuleConfig::Shampoo(shampoo) = rule {
            shampoo.eps = 1e-4;
        }
    }
    rules
}

/// Largest difference that counts as agreement after five steps of size 0.1 each, for weights up to `largest`.
///
/// Rules that move elements alone differ by the rounding of a few operations. Iterations and decompositions enlarge the
/// rounding of small singular values, by up to 3.4445⁵ in the case of Newton–Schulz. Weights in half precision can be
/// rounded to the neighbouring number, here in two of the steps.
fn tolerance(rule: &RuleConfig, dtype: DType, largest: f64) -> f64 {
    let elementwise = matches!(rule.name(), "sgd" | "adam" | "adamw" | "nmd" | "signum");
    match dtype {
        DType::F64 if elementwise => 1e-13,
        DType::F64 => 1e-10,
        DType::F32 if elementwise => 3e-6,
        DType::F32 => 3e-4,
        DType::BF16 => 2.0 * largest * 2.0_f64.powi(-7),
        _ => 2.0 * largest * 2.0_f64.powi(-10),
    }
}

/// The weights after one step for each gradient, computed on `device` and returned on the CPU.
fn run(start: &Tensor, rule: &RuleConfig, gradients: &[Tensor], device: &Device) -> Tensor {
    let var = Var::from_tensor(&start.to_device(device).unwrap()).unwrap();
    let params = vec![NamedParam::new("w", Role::Matrix, var.clone())];
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap();
    for gradient in gradients {
        optimizer.step(&store(&[(&var, gradient)])).unwrap();
    }
    var.as_detached_tensor().to_device(&Device::Cpu).unwrap()
}

/// Gradients of variables, on the variables' devices.
fn store(gradients: &[(&Var, &Tensor)]) -> GradStore {
    let mut store = GradStore::default();
    for (var, gradient) in gradients {
        store.insert(var, gradient.to_device(var.device()).unwrap());
    }
    store
}

#[test]
fn every_rule_agrees_with_the_cpu() {
    let Some(device) = device() else { return };
    let shapes: [&[usize]; 6] = [&[24], &[12, 20], &[20, 12], &[6, 3, 3, 3], &[1, 7], &[96, 256]];
    let mut failures = Vec::new();
    for dtype in dtypes(&device) {
        for rule in rules() {
            for shape in shapes.into_iter().filter(|shape| shape.len() > 1 || !rule.needs_matrices()) {
                let start = normal(shape, 1).to_dtype(dtype).unwrap();
                let gradients: Vec<Tensor> = (2..7).map(|seed| normal(shape, seed).to_dtype(dtype).unwrap()).collect();
                let expected = run(&start, &rule, &gradients, &Device::Cpu);
                let result = run(&start, &rule, &gradients, &device);
                assert_eq!((result.dtype(), result.shape()), (expected.dtype(), expected.shape()));
                // Half precision can round small steps away.
                let full = matches!(dtype, DType::F32 | DType::F64);
                assert!(!full || max_difference(&expected, &start) > 1e-4, "{} moves the weights", rule.name());
                let difference = max_difference(&expected, &result);
                let tolerance = tolerance(&rule, dtype, max_abs(&expected));
                println!("{:<8} {dtype:?} {shape:?}: {difference:.1e} of {tolerance:.1e}", rule.name());
                if difference.is_nan() || difference > tolerance {
                    failures.push(format!("{rule:?} {dtype:?} {shape:?}: {difference:e} is more than {tolerance:e}"));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn soap_agrees_with_the_cpu_on_square_matrices() {
    let Some(device) = device() else { return };
    let soap = rule(r#"{"rule":"soap","lr":0.1,"precondition_every":2}"#);
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-2)] {
        if device.is_metal() && dtype == DType::F64 {
            continue;
        }
        let start = normal(&[12, 12], 1).to_dtype(dtype).unwrap();
        let gradients: Vec<Tensor> = (2..8).map(|seed| normal(&[12, 12], seed).to_dtype(dtype).unwrap()).collect();
        let expected = run(&start, &soap, &gradients, &Device::Cpu);
        let difference = max_difference(&expected, &run(&start, &soap, &gradients, &device));
        println!("soap {dtype:?}: {difference:.1e} of {tolerance:.1e}");
        assert!(difference <= tolerance, "{dtype:?}: {difference:e}");
    }
}

#[test]
fn reference_trajectories_are_reproduced() {
    let Some(device) = device() else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    // The sources may be elsewhere than where the test was built.
    let folder = if folder.is_dir() { folder } else { "crates/optim/tests/golden".into() };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    assert!(files.len() >= 45, "{} trajectories", files.len());
    let mut failures = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if device.is_metal() && !["muon-torch", "shampoo", "soap"].iter().any(|start| name.starts_with(start)) {
            continue; // f64
        }
        let replay = replay_on(&file, &device).unwrap();
        println!("{name}: {:.2e} of {:.0e}", replay.max_abs_diff, replay.tolerance);
        if !replay.agrees() {
            failures.push(format!("{name}: {:e} at step {}", replay.max_abs_diff, replay.worst_step));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn orthogonalizers_agree_with_the_cpu() {
    let Some(device) = device() else { return };
    // The iteration in bfloat16 is compared with float64; its own resolution is 2⁻⁸, and each step enlarges errors.
    let iterations = [(IterationDtype::Tensor, 1e-3), (IterationDtype::F16, 0.05), (IterationDtype::BF16, 0.3)];
    for shape in [[64, 64], [40, 160], [160, 40], [1, 9], [9, 1]] {
        let x = normal(&shape, 5);
        for dtype in [DType::F32, DType::F64] {
            if device.is_metal() && dtype == DType::F64 {
                continue;
            }
            let typed = x.to_dtype(dtype).unwrap();
            let there = typed.to_device(&device).unwrap();
            let exact = Orthogonalizer::Exact.apply(&there).unwrap();
            assert!(exact.device().same_device(&device) && exact.dtype() == dtype);
            let difference =
                max_difference(&exact.to_device(&Device::Cpu).unwrap(), &Orthogonalizer::Exact.apply(&typed).unwrap());
            assert!(difference < 1e-12, "exact {dtype:?} {shape:?}: {difference:e}");
            for (iteration, tolerance) in iterations {
                let tolerance = if iteration == IterationDtype::Tensor && dtype == DType::F64 { 1e-10 } else { tolerance };
                let there = Orthogonalizer::NewtonSchulz(NewtonSchulz { dtype: iteration, ..NewtonSchulz::default() })
                    .apply(&there)
                    .unwrap();
                assert!(there.device().same_device(&device) && there.dtype() == dtype);
                let here = Orthogonalizer::NewtonSchulz(NewtonSchulz::default()).apply(&x).unwrap();
                let difference = max_difference(&there.to_device(&Device::Cpu).unwrap(), &here);
                println!("Newton–Schulz in {iteration:?}, {dtype:?} {shape:?}: {difference:.1e} of {tolerance:.1e}");
                assert!(difference <= tolerance, "{iteration:?} {dtype:?} {shape:?}: {difference:e}");
            }
        }
    }
}

#[test]
fn a_bad_gradient_on_the_device_changes_nothing() {
    let Some(device) = device() else { return };
    for dtype in dtypes(&device) {
        let vars: Vec<Var> = (0..3)
            .map(|seed| Var::from_tensor(&normal(&[3, 4], seed).to_dtype(dtype).unwrap().to_device(&device).unwrap()).unwrap())
            .collect();
        let before: Vec<Vec<u64>> = vars.iter().map(bits).collect();
        let params =
            vars.iter().zip(["a", "b", "c"]).map(|(var, name)| NamedParam::new(name, Role::Matrix, var.clone())).collect();
        let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule(r#"{"rule":"muon","lr":0.1}"#))).unwrap();
        let good = normal(&[3, 4], 9).to_dtype(dtype).unwrap();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut values = normal(&[3, 4], 9).flatten_all().unwrap().to_vec1::<f64>().unwrap();
            values[7] = bad;
            let bad = Tensor::from_vec(values, (3, 4), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let error = optimizer.step(&store(&[(&vars[0], &good), (&vars[1], &bad), (&vars[2], &bad)])).unwrap_err();
            assert!(matches!(&error, Error::NonFiniteGradient { name } if name == "b"), "{dtype:?}: {error}");
            assert_eq!(vars.iter().map(bits).collect::<Vec<_>>(), before, "{dtype:?}");
        }
        optimizer.step(&store(&[(&vars[0], &good)])).unwrap();
        assert_ne!(bits(&vars[0]), before[0]);
    }
}

/// All values, bit for bit, read from the device.
fn bits(var: &Var) -> Vec<u64> {
    common::bits(&var.as_detached_tensor().to_device(&Device::Cpu).unwrap())
}

#[test]
fn zero_and_extreme_gradients() {
    let Some(device) = device() else { return };
    let start = normal(&[5, 6], 1).to_dtype(DType::F32).unwrap();
    let ngd = rule(r#"{"rule":"ngd","lr":0.1}"#);
    for scale in [1e-36, 1e-25, 1e-10, 1e10, 1e25, 1e36] {
        let gradient = (normal(&[5, 6], 2) * scale).unwrap().to_dtype(DType::F32).unwrap();
        let there = run(&start, &ngd, std::slice::from_ref(&gradient), &device);
        let here = run(&start, &ngd, &[gradient], &Device::Cpu);
        assert!(max_difference(&there, &here) < 1e-6, "{scale:e}");
    }
    let zero = start.zeros_like().unwrap();
    for rule in rules() {
        let there = run(&start, &rule, &[zero.clone(), zero.clone()], &device);
        let here = run(&start, &rule, &[zero.clone(), zero.clone()], &Device::Cpu);
        assert!(max_difference(&there, &here) < 1e-6, "{}", rule.name());
    }
}

#[test]
fn a_model_can_lie_on_two_devices() {
    let Some(device) = device() else { return };
    let here = Var::from_tensor(&normal(&[4, 3], 1)).unwrap();
    let dtype = if device.is_metal() { DType::F32 } else { DType::F64 };
    let there = Var::from_tensor(&normal(&[4, 3], 1).to_dtype(dtype).unwrap().to_device(&device).unwrap()).unwrap();
    let params = vec![NamedParam::new("here", Role::Matrix, here.clone()), NamedParam::new("there", Role::Matrix, there.clone())];
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule(r#"{"rule":"muon","lr":0.1}"#))).unwrap();
    let gradient = normal(&[4, 3], 2);
    optimizer.step(&store(&[(&here, &gradient), (&there, &gradient.to_dtype(dtype).unwrap())])).unwrap();
    let difference = max_difference(&here, &there.as_detached_tensor().to_device(&Device::Cpu).unwrap());
    assert!(difference < if dtype == DType::F64 { 1e-10 } else { 3e-4 }, "{difference:e}");
    // A gradient on the wrong device is refused before anything moves.
    let before = bits(&here);
    let mut gradients = store(&[(&here, &gradient)]);
    gradients.insert(&there, gradient.to_dtype(dtype).unwrap());
    let error = optimizer.step(&gradients).unwrap_err();
    assert!(matches!(&error, Error::GradientDevice { name, .. } if name == "there"), "{error}");
    assert_eq!(bits(&here), before);
}

/// A file written on one device is read on the other, and the training goes on as it would have.
#[test]
fn states_move_between_devices() {
    let Some(device) = device() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let gradients: Vec<Tensor> = (2..8).map(|seed| normal(&[6, 8], seed).to_dtype(DType::F32).unwrap()).collect();
    let start = normal(&[6, 8], 1).to_dtype(DType::F32).unwrap();
    let new = |weight: &Tensor, rule: &RuleConfig, device: &Device| {
        let var = Var::from_tensor(&weight.to_device(device).unwrap().copy().unwrap()).unwrap();
        let params = vec![NamedParam::new("w", Role::Matrix, var.clone())];
        (Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap(), var)
    };
    for rule in rules() {
        let expected = run(&start, &rule, &gradients, &Device::Cpu);
        for (from, to) in [(&device, &Device::Cpu), (&Device::Cpu, &device)] {
            let (mut first, var) = new(&start, &rule, from);
            for gradient in &gradients[..3] {
                first.step(&store(&[(&var, gradient)])).unwrap();
            }
            first.save_state(&path).unwrap();
            let (mut second, var) = new(&var.as_detached_tensor(), &rule, to);
            second.load_state(&path).unwrap();
            assert_eq!(second.steps(), 3);
            for gradient in &gradients[3..] {
                second.step(&store(&[(&var, gradient)])).unwrap();
            }
            let difference = max_difference(&expected, &var.as_detached_tensor().to_device(&Device::Cpu).unwrap());
            assert!(difference <= tolerance(&rule, DType::F32, 1.0), "{rule:?} to {to:?}: {difference:e}");
        }
    }
}

#[test]
fn a_device_that_is_not_there_is_one_line_and_the_cpu() {
    for choice in [DeviceChoice::Cuda(63), DeviceChoice::Metal(63)] {
        let open = choice.open();
        assert!(open.device.is_cpu());
        assert_eq!(open.name, DeviceChoice::Cpu);
        let note = open.note.unwrap();
        assert!(note.starts_with(&format!("{choice} cannot be used: ")), "{note}");
        assert!(note.ends_with("; the CPU is used instead") && !note.contains('\n'), "{note}");
    }
}
