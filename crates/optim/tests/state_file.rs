//! State files: what is in them, and that a wrong or damaged one is refused whole.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use std::path::{Path, PathBuf};

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{all_rules, bits, normal, rule};
use isorate_optim::{Checkpoint, Error, GroupRules, NamedParam, Optimizer, Role, RuleConfig, StateFileProblem, WeightEma};

struct Training {
    params: Vec<NamedParam>,
    optimizer: Optimizer,
    ema: WeightEma,
    folder: tempfile::TempDir,
}

impl Training {
    /// One step from seeded weights.
    fn new(shapes: &[(&str, &[usize])], dtype: DType, rule: &RuleConfig) -> Self {
        let seeded = |(name, shape): &(&str, &[usize])| {
            let var = Var::from_tensor(&normal(shape, 7).to_dtype(dtype).unwrap()).unwrap();
            NamedParam::new(*name, if shape.len() < 2 { Role::Vector } else { Role::Matrix }, var)
        };
        let params: Vec<NamedParam> = shapes.iter().map(seeded).collect();
        let optimizer = Optimizer::new(params.clone(), &GroupRules::uniform(rule.clone())).unwrap();
        let ema = WeightEma::new(&params, 0.9).unwrap();
        let mut training = Self { params, optimizer, ema, folder: tempfile::tempdir().unwrap() };
        training.step(8);
        training
    }

    fn small() -> Self {
        Self::new(&[("w", &[2, 2])], DType::F32, &adamw())
    }

    fn step(&mut self, seed: u64) {
        let mut gradients = GradStore::default();
        for param in &self.params {
            gradients.insert(&param.var, normal(param.var.dims(), seed).to_dtype(param.var.dtype()).unwrap());
        }
        self.optimizer.step(&gradients).unwrap();
        self.ema.update().unwrap();
    }

    fn checkpoint(&mut self) -> Checkpoint<'_> {
        Checkpoint::new(&self.params, &mut self.optimizer).with_ema(&mut self.ema)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn saved(&mut self) -> Vec<u8> {
        let path = self.path("saved");
        self.checkpoint().save(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    /// The state of the optimizer alone.
    fn state(&self) -> Vec<u8> {
        let path = self.path("state");
        self.optimizer.save_state(&path).unwrap();
        std::fs::read(path).unwrap()
    }

    /// What loading these bytes as a state says, without the path; nothing may have changed then.
    fn refusal(&mut self, bytes: &[u8]) -> String {
        let (path, before) = (self.path("other"), self.saved());
        std::fs::write(&path, bytes).unwrap();
        let text = self.optimizer.load_state(&path).unwrap_err().to_string();
        assert!(self.saved() == before, "{text}");
        let text = text.strip_prefix(&format!("{}: ", path.display())).expect("the error begins with the file");
        text.to_owned()
    }

    /// The same for a checkpoint.
    fn checkpoint_refusal(&mut self, bytes: &[u8]) -> String {
        let (path, before) = (self.path("other"), self.saved());
        std::fs::write(&path, bytes).unwrap();
        let text = self.checkpoint().load(&path).unwrap_err().to_string();
        assert!(self.saved() == before, "{text}");
        text.strip_prefix(&format!("{}: ", path.display())).expect("the error begins with the file").to_owned()
    }
}

fn adamw() -> RuleConfig {
    rule(r#"{"rule":"adamw","lr":0.1}"#)
}

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

/// What is frozen has no state; its weights are in a checkpoint all the same.
#[test]
fn frozen_parameters_are_saved_with_the_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let shape = [2, 2];
    let params: Vec<NamedParam> =
        ["hot", "cold"].map(|name| NamedParam::new(name, Role::Matrix, Var::from_tensor(&normal(&shape, 7)).unwrap())).to_vec();
    let new = || {
        let groups = [Group::frozen("backbone").patterns(["cold"]), Group::new("others", adamw())];
        Optimizer::new(params.clone(), Routing::new(groups)).unwrap()
    };
    let mut optimizer = new();
    let mut gradients = GradStore::default();
    for param in &params {
        gradients.insert(&param.var, normal(&shape, 3));
    }
    optimizer.step(&gradients).unwrap();
    let expected: Vec<_> = params.iter().map(|param| bits(&param.var)).collect();
    Checkpoint::new(&params, &mut optimizer).save(&path).unwrap();
    for param in &params {
        param.var.set(&param.var.zeros_like().unwrap()).unwrap();
    }
    Checkpoint::new(&params, &mut new()).load(&path).unwrap();
    assert_eq!(params.iter().map(|param| bits(&param.var)).collect::<Vec<_>>(), expected);
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    assert!(tensors.contains_key("cold") && !tensors.keys().any(|name| name.starts_with("cold/")));
    // Thawed, it has no state to go on with.
    let mut thawed = Optimizer::new(params.clone(), &GroupRules::uniform(adamw())).unwrap();
    let text = thawed.load_state(&path).unwrap_err().to_string();
    assert!(text.contains("has no optimizer state of parameter `cold`"), "{text}");
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

#[test]
fn weights_are_saved_only_when_they_are_in_place() {
    let mut training = Training::small();
    let path = training.path("checkpoint");
    training.ema.apply().unwrap();
    assert!(matches!(training.checkpoint().save(&path), Err(Error::AveragesInPlace)));
    assert!(!path.exists());
    training.ema.restore().unwrap();
    training.checkpoint().save(&path).unwrap();
    training.ema.apply().unwrap();
    assert!(matches!(training.checkpoint().load(&path), Err(Error::AveragesInPlace)));

    let nothing: [NamedParam; 0] = [];
    let error = Checkpoint::new(&nothing, &mut training.optimizer).save(&path).unwrap_err();
    assert!(error.to_string().contains("parameter `w` of the optimizer is not among the parameters of the checkpoint"));
}

#[test]
fn bytes_depend_on_the_contents_alone() {
    let shapes: [(&str, &[usize]); 3] = [("b", &[3]), ("a.weight", &[2, 3]), ("a.bias", &[2])];
    let mut reversed = shapes;
    reversed.reverse();
    let bytes = |shapes: &[(&str, &[usize])]| Training::new(shapes, DType::F64, &rule(r#"{"rule":"muon","lr":0.1}"#)).saved();
    let first = bytes(&shapes);
    assert!(first == bytes(&shapes));
    assert!(first == bytes(&reversed));
}

#[test]
fn files_are_safetensors_that_candle_reads() {
    let mut training = Training::new(&[("b", &[2]), ("fc/w", &[2, 3])], DType::F32, &rule(r#"{"rule":"muon","lr":0.1}"#));
    let path = training.path("checkpoint.safetensors");
    training.checkpoint().save(&path).unwrap();
    let mut tensors: Vec<(String, Tensor)> = candle_core::safetensors::load(&path, &Device::Cpu).unwrap().into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let listed: Vec<String> = tensors.iter().map(|(name, t)| format!("{name} {:?} {:?}", t.dtype(), t.dims())).collect();
    assert_eq!(
        listed,
        [
            "__checksum__ U8 [32]",
            "b F32 [2]",
            "b/beta1_power F64 []",
            "b/beta2_power F64 []",
            "b/ema F32 [2]",
            "b/first F32 [2]",
            "b/second F32 [2]",
            "fc/w F32 [2, 3]",
            "fc/w/ema F32 [2, 3]",
            "fc/w/momentum F32 [2, 3]",
        ]
    );
    // The weights alone, as for inference.
    let mut map = candle_nn::VarMap::new();
    let builder = candle_nn::VarBuilder::from_varmap(&map, DType::F32, &Device::Cpu);
    let weight = builder.get((2, 3), "fc/w").unwrap();
    map.load(&path).unwrap();
    assert_eq!(bits(&weight), bits(&training.params[1].var));

    let bytes = std::fs::read(&path).unwrap();
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let entries = metadata.metadata().as_ref().unwrap();
    assert_eq!(
        entries["isorate-optim"],
        concat!(
            r#"{"version":1,"optimizer":{"steps":1,"lr_factor":"1","parameters":["#,
            r#"{"name":"b","dtype":"F32","shape":[2],"role":"vector","rule":{"rule":"adamw","lr":0.0003,"beta1":0.9,"beta2":0.95,"#,
            r#""eps":1e-10,"weight_decay":0.0},"state":["beta1_power","beta2_power","first","second"]},"#,
            r#"{"name":"fc/w","dtype":"F32","shape":[2,3],"role":"matrix","rule":{"rule":"muon","lr":0.1,"momentum":0.95,"#,
            r#""nesterov":true,"orthogonalizer":"newton-schulz","ns_steps":5,"ns_dtype":"tensor","scale":"original","weight_decay":0.0},"#,
            r#""state":["momentum"]}]},"ema":{"decay":"0.9","warmup":false,"updates":1,"parameters":["b","fc/w"]},"#,
            r#""weights":["b","fc/w"]}"#
        )
    );
}

#[test]
fn names_that_would_clash_are_refused() {
    let mut clash = Training::new(&[("w", &[2]), ("w/first", &[2])], DType::F32, &adamw());
    let path = clash.path("clash");
    let text = clash.checkpoint().save(&path).unwrap_err().to_string();
    assert!(text.contains("two tensors would be called `w/first`\nhint: "), "{text}");
    assert!(!path.exists());
    // Without the weights there is no clash.
    let before = clash.state();
    clash.optimizer.load_state(clash.path("state")).unwrap();
    assert!(clash.state() == before);
}

#[test]
fn other_tensors_of_a_model_travel_with_it() {
    let mut training = Training::small();
    let count = Var::from_tensor(&Tensor::new(&[3_i64], &Device::Cpu).unwrap()).unwrap();
    let half = Var::from_tensor(&normal(&[3], 4).to_dtype(DType::BF16).unwrap()).unwrap();
    let mut params = training.params.clone();
    params.push(NamedParam::new("bn.count", Role::Vector, count.clone()));
    params.push(NamedParam::new("bn.mean", Role::Vector, half.clone()));
    let path = training.path("all");
    Checkpoint::new(&params, &mut training.optimizer).save(&path).unwrap();
    let expected = bits(&half);
    count.set(&count.zeros_like().unwrap()).unwrap();
    half.set(&half.zeros_like().unwrap()).unwrap();
    Checkpoint::new(&params, &mut training.optimizer).load(&path).unwrap();
    assert_eq!(count.to_vec1::<i64>().unwrap(), [3]);
    assert_eq!(bits(&half), expected);
}

#[test]
fn an_old_file_survives_a_failed_write() {
    let mut training = Training::small();
    let folder = training.path("inner");
    std::fs::create_dir(&folder).unwrap();
    let text = training.optimizer.save_state(&folder).unwrap_err().to_string();
    assert_eq!(text, format!("{}: is not a regular file", folder.display()));
    let nowhere = training.path("no/such/folder/state");
    let text = training.checkpoint().save(&nowhere).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}: cannot be written: ", nowhere.display())), "{text}");
    assert!(text.ends_with("; what was there before is unchanged"), "{text}");
}

/// The limit on the size of files is a full disk that needs no rights; it is set for a process of its own.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_old_file_and_nothing_else() {
    const FOLDER: &str = "ISORATE_OPTIM_FULL_DISK";
    let big = || Training::new(&[("w", &[64, 64])], DType::F64, &adamw());
    if let Some(folder) = std::env::var_os(FOLDER) {
        let mut training = big();
        training.step(9);
        let path = Path::new(&folder).join("checkpoint");
        let error = training.checkpoint().save(&path).expect_err("the file is larger than the limit");
        assert!(matches!(&error, Error::StateFile { problem, .. } if matches!(**problem, StateFileProblem::Write(_))), "{error}");
        println!("\nrefused: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut training = big();
    training.checkpoint().save(&path).unwrap();
    let old = std::fs::read(&path).unwrap();
    let child = std::process::Command::new("sh")
        // 8 or 16 kB, by the shell; the signal that would end the process is ignored, so that writing fails.
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "a_full_disk_leaves_the_old_file_and_nothing_else", "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && text.contains("\nrefused: "), "{text}{}", String::from_utf8_lossy(&child.stderr));
    assert!(std::fs::read(&path).unwrap() == old);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_folder_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let training = Training::small();
    let folder = training.path("locked");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    // The administrator may write anyway, and then there is nothing to refuse.
    if std::fs::write(folder.join("probe"), b"").is_err() {
        let text = training.optimizer.save_state(folder.join("state")).unwrap_err().to_string();
        assert!(text.contains("cannot be written: "), "{text}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    }
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
