//! A state file that is damaged or belongs to something else is refused whole, with a message that says why.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use std::path::Path;

use candle_core::{DType, Var};
use common::saved::{Training, adamw};
use common::{all_rules, bits, normal, rule};
use isorate_optim::{Error, Group, GroupRules, NamedParam, Optimizer, Role, Routing, StateFileProblem, WeightEma};

/// Replaces a text of the header by another of the same length, with a new checksum.
fn forged(bytes: &[u8], text: &str, by: &str) -> Vec<u8> {
    assert_eq!(text.len(), by.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len() - text.len()).filter(|&at| bytes[at..].starts_with(text.as_bytes())).collect();
    assert!(!places.is_empty(), "{text}");
    for at in places {
        bytes[at..at + by.len()].copy_from_slice(by.as_bytes());
    }
    let end = bytes.len() - 32;
    let checksum = blake3::hash(&bytes[..end]);
    bytes[end..].copy_from_slice(checksum.as_bytes());
    bytes
}

#[test]
fn every_truncation_and_every_altered_byte_is_refused() {
    let mut training = Training::small();
    let whole = training.saved();
    training.step(9);
    let before = training.saved();
    assert!(before != whole);
    let path = training.path("damaged");
    let mut refused = 0;
    let mut refuse = |bytes: &[u8], what: &dyn Fn() -> String| {
        std::fs::write(&path, bytes).unwrap();
        let error = training.checkpoint().load(&path).expect_err(&what());
        assert!(matches!(&error, Error::StateFile { file, .. } if *file == path), "{}: {error}", what());
        refused += 1;
    };
    for length in 0..whole.len() {
        refuse(&whole[..length], &|| format!("cut to {length} bytes"));
    }
    for at in 0..whole.len() {
        // One bit, another, a blank that stays a blank for JSON, all bits.
        for mask in [0x01, 0x80, b' ' ^ b'\t', 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            refuse(&bytes, &|| format!("byte {at} altered by {mask:#x}"));
        }
    }
    refuse(&[&whole[..], b" "].concat(), &|| "one byte more".to_owned());
    assert_eq!(refused, 5 * whole.len() + 1);
    assert!(training.saved() == before, "weights, state and averages are as before");
    std::fs::write(&path, &whole).unwrap();
    training.checkpoint().load(&path).unwrap();
    assert!(training.saved() == whole);
}

#[test]
fn another_model_is_refused() {
    let mut training = Training::new(&[("a", &[2, 3]), ("b", &[3])], DType::F32, &adamw());
    let other = |shapes: &[(&str, &[usize])]| Training::new(shapes, DType::F32, &adamw());
    let mut refusals = |mut other: Training| {
        let state = training.refusal(&other.state());
        (state, training.checkpoint_refusal(&other.saved()))
    };
    let model = "\nhint: the file belongs to another model";
    let both = |text: &str| (text.to_owned(), text.to_owned());
    let of = |text: &str| (text.replace("SECTION", "optimizer state"), text.replace("SECTION", "optimizer state"));
    assert_eq!(refusals(other(&[("a", &[2, 3])])), of(&format!("has no SECTION of parameter `b`{model}")));
    assert_eq!(
        refusals(other(&[("a", &[2, 3]), ("b", &[3]), ("c", &[3])])),
        of("has SECTION of parameter `c`, which the model lacks\nhint: the file belongs to another model")
    );
    assert_eq!(
        refusals(other(&[("a", &[2, 3]), ("bias", &[3])])),
        of("has no SECTION of parameter `b`\nhint: it has one of `bias`, of the same shape, which the model lacks; was the \
            parameter renamed?")
    );
    assert_eq!(
        refusals(other(&[("a", &[3, 2]), ("b", &[3])])),
        both(&format!("parameter `a` has shape [3, 2] in the file, but [2, 3] in the model{model}"))
    );
    assert_eq!(
        refusals(Training::new(&[("a", &[2, 3]), ("b", &[3])], DType::F64, &adamw())),
        both("parameter `a` is F64 in the file, but F32 in the model\nhint: build the model in F64")
    );
}

#[test]
fn another_rule_or_hyperparameter_is_refused_but_the_learning_rate_may_differ() {
    let mut training = Training::small();
    let hint = "\nhint: build the optimizer with the settings of the run that wrote the file; only the learning rate may differ";
    let mut refusal = |json: &str| {
        let other = Training::new(&[("w", &[2, 2])], DType::F32, &rule(json));
        training.refusal(&other.state())
    };
    let expected = format!(r#"parameter `w` was under rule = "muon", but now is under rule = "adamw"{hint}"#);
    assert_eq!(refusal(r#"{"rule":"muon","lr":0.1}"#), expected);
    let expected = format!("parameter `w` was under beta2 = 0.95, but now is under beta2 = 0.999{hint}");
    assert_eq!(refusal(r#"{"rule":"adamw","lr":0.1,"beta2":0.95}"#), expected);
    let expected = format!("parameter `w` was under weight_decay = 0.0, but now is under weight_decay = 0.01{hint}");
    assert_eq!(refusal(r#"{"rule":"adamw","lr":0.1,"weight_decay":0}"#), expected);

    // Another learning rate: the state is that of the file, the rate is not.
    let mut other = Training::new(&[("w", &[2, 2])], DType::F32, &rule(r#"{"rule":"adamw","lr":0.2}"#));
    other.optimizer.set_lr_factor(0.1 + 0.2).unwrap();
    let path = training.path("other lr");
    other.optimizer.save_state(&path).unwrap();
    training.step(9);
    training.optimizer.load_state(&path).unwrap();
    assert_eq!(training.optimizer.assignments().next().unwrap().rule, Some(adamw()));
    assert_eq!(training.optimizer.steps(), 1);
    assert_eq!(training.optimizer.lr_factor().to_bits(), (0.1_f64 + 0.2).to_bits());
}

#[test]
fn another_role_or_group_is_refused() {
    let w = || NamedParam::new("w", Role::Matrix, Var::from_tensor(&normal(&[2, 2], 7)).unwrap());
    let new = |param: NamedParam| Optimizer::new(vec![param], &GroupRules::uniform(adamw())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let mut factors = new(w());
    factors.set_group_lr_factor("matrix", 0.1 + 0.2).unwrap();
    factors.save_state(&path).unwrap();

    let mut same = new(w());
    same.load_state(&path).unwrap();
    assert_eq!(same.group_lr_factor("matrix").unwrap().to_bits(), (0.1_f64 + 0.2).to_bits());
    let text = new(NamedParam { role: Role::Head, ..w() }).load_state(&path).unwrap_err().to_string();
    assert!(text.contains("parameter `w` was under role = matrix, but now is under role = head\nhint: "), "{text}");
    let mut other = Optimizer::new(vec![w()], Routing::new([Group::new("all", adamw())])).unwrap();
    let text = other.load_state(&path).unwrap_err().to_string();
    assert!(
        text.contains("group `matrix` has a learning-rate factor of 0.30000000000000004, but there is no such group"),
        "{text}"
    );
    factors.set_group_lr_factor("matrix", 1.0).unwrap();
    factors.save_state(&path).unwrap();
    other.load_state(&path).unwrap();
}

#[test]
fn every_rule_refuses_the_state_of_every_other() {
    let shapes: [(&str, &[usize]); 1] = [("w", &[4, 3])];
    let rules = all_rules();
    let mut trainings: Vec<Training> = rules.iter().map(|rule| Training::new(&shapes, DType::F64, rule)).collect();
    let states: Vec<Vec<u8>> = trainings.iter().map(Training::state).collect();
    for (training, rule) in trainings.iter_mut().zip(&rules) {
        for (state, other) in states.iter().zip(&rules) {
            if rule != other {
                let text = training.refusal(state);
                assert!(text.starts_with("parameter `w` was under "), "{text}");
            }
        }
    }
}

#[test]
fn wrong_parts_of_a_state_are_named() {
    let mut training = Training::new(&[("w", &[2, 2])], DType::F32, &adamw());
    let state = training.state();
    assert_eq!(training.refusal(&forged(&state, "second", "sekond")), "parameter `w`, adamw: `second` is missing");
    let sgd = rule(r#"{"rule":"sgd","lr":0.1}"#);
    let mut stateless = Training::new(&[("w", &[2, 2])], DType::F32, &sgd);
    let with_momentum = Training::new(&[("w", &[2, 2])], DType::F32, &rule(r#"{"rule":"sgd","lr":0.1,"momentum":0.5}"#));
    let text = stateless.refusal(&forged(&with_momentum.state(), r#"momentum\":0.5"#, r#"momentum\":0.0"#));
    assert!(text.starts_with("parameter `w`, sgd: `") && text.ends_with("` does not belong to this rule"), "{text}");
    // A tensor of another shape with as many bytes.
    let flat = forged(&state, r#""w/first":{"dtype":"F32","shape":[2,2]"#, r#""w/first":{"dtype":"F32","shape":[4,1]"#);
    let expected = "parameter `w`, adamw: `first` has shape [4, 1], but [2, 2] is needed";
    assert_eq!(training.refusal(&flat), expected);
    // Tensors and description must agree.
    let text = training.refusal(&forged(&state, r#""w/first""#, r#""w/fifth""#));
    assert_eq!(text, "tensor `w/first` is described, but missing");
    let text = training.refusal(&forged(&state, r#"[\"beta1_power\","#, "[                "));
    assert_eq!(text, "tensor `w/beta1_power` is not described");
    let text = training.refusal(&forged(&state, r#"\"lr_factor\":\"1\""#, r#"\"lr_factor\":\"x\""#));
    assert!(text.starts_with("the metadata entry `isorate-optim`: "), "{text}");
}

#[test]
fn other_versions_and_other_files_are_refused() {
    let mut training = Training::small();
    let state = training.state();
    let text = training.refusal(&forged(&state, r#"\"version\":1"#, r#"\"version\":2"#));
    let hint = "\nhint: read it with the release that wrote it";
    assert_eq!(text, format!("has version 2 of the format, but only version 1 is supported{hint}"));

    let path = training.path("weights.safetensors");
    training.params[0].var.save_safetensors("w", &path).unwrap();
    let text = training.refusal(&std::fs::read(&path).unwrap());
    assert!(text.starts_with("the metadata has no entry `isorate-optim`, so this is no state file\nhint: "), "{text}");
    for bytes in [&b""[..], b"not a safetensors file at all", &[0xff; 64], &[0; 64]] {
        let text = training.refusal(bytes);
        assert!(text.starts_with("not a complete safetensors file: ") && text.contains("\nhint: "), "{text}");
    }

    let problem = |training: &mut Training, path: &Path| match training.optimizer.load_state(path).unwrap_err() {
        Error::StateFile { file, problem } if file == path => *problem,
        other => panic!("{other}"),
    };
    let missing = training.path("missing");
    let folder = training.folder.path().to_owned();
    assert!(matches!(problem(&mut training, &missing), StateFileProblem::Read(_)));
    assert!(matches!(problem(&mut training, &folder), StateFileProblem::NotAFile));
    #[cfg(unix)]
    assert!(matches!(problem(&mut training, Path::new("/dev/zero")), StateFileProblem::NotAFile));

    // A state is not an average, nor the reverse.
    let average = training.path("average");
    training.ema.save(&average).unwrap();
    assert!(matches!(problem(&mut training, &average), StateFileProblem::NoSection("optimizer state")));
    let text = training.checkpoint_refusal(&state);
    assert!(text.starts_with("has no weight average\nhint: "), "{text}");
}

#[test]
fn averages_are_saved_with_their_settings() {
    let mut training = Training::small();
    let path = training.path("average");
    training.ema.save(&path).unwrap();
    let averages = |ema: &WeightEma| ema.averages().map(|(_, average)| bits(average)).collect::<Vec<_>>();
    let expected = averages(&training.ema);
    training.step(9);
    let later = averages(&training.ema);
    assert_ne!(later, expected);
    training.ema.load(&path).unwrap();
    assert_eq!((averages(&training.ema), training.ema.updates()), (expected.clone(), 1));
    training.step(10);

    let refused = |mut ema: WeightEma| {
        let before = averages(&ema);
        let text = ema.load(&path).unwrap_err().to_string();
        assert_eq!(averages(&ema), before);
        text.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
    };
    let hint = "\nhint: build it with the settings of the run that wrote the file";
    let other = WeightEma::new(&training.params, 0.99).unwrap();
    assert_eq!(refused(other), format!("the average has decay = 0.9, but here decay = 0.99{hint}"));
    let other = WeightEma::new(&training.params, 0.9).unwrap().with_warmup();
    assert_eq!(refused(other), format!("the average has warmup = false, but here warmup = true{hint}"));
    let renamed = [NamedParam { name: "v".to_owned(), ..training.params[0].clone() }];
    let text = refused(WeightEma::new(&renamed, 0.9).unwrap());
    let expected = "has no weight average of parameter `v`\nhint: it has one of `w`, of the same shape, which the model \
                    lacks; was the parameter renamed?";
    assert_eq!(text, expected);
    let two = [training.params[0].clone(), renamed[0].clone()];
    let two = WeightEma::new(&two, 0.9).unwrap();
    two.save(training.path("two")).unwrap();
    let text = training.ema.load(training.path("two")).unwrap_err().to_string();
    assert!(text.contains("has weight average of parameter `v`, which the model lacks"), "{text}");
}
