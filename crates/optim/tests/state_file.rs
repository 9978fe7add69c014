//! State files: what is in them, and how they are written.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::saved::{Training, adamw};
use common::{bits, normal, rule};
use isorate_optim::{Checkpoint, Error, Group, GroupRules, NamedParam, Optimizer, Role, Routing, StateFileProblem};

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
