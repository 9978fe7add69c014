//! Holds docs/from-pytorch.md to the code: the keys that it names exist, and no key or option of PyTorch is left out.
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

use std::collections::BTreeSet;

use candle_core::{D, DType, Device, Module, Tensor, Var};
use candle_nn::{LayerNorm, RmsNorm};
use isorate_optim::{
    Accumulator, AdamW, Checkpoint, Group, GroupRules, NamedParam, Optimizer, Result, Role, Routing, RuleConfig, Schedule,
    SpectralProbe, WeightEma, clip_grad_norm, clip_grad_value,
};

const PAGE: &str = include_str!("../docs/from-pytorch.md");

/// The rules that PyTorch and the other sources have, with the options of their constructors.
const OPTIONS: [(&str, &[&str]); 8] = [
    ("sgd", &["lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize", "foreach", "differentiable", "fused"]),
    (
        "adam",
        &[
            "lr",
            "betas",
            "eps",
            "weight_decay",
            "amsgrad",
            "foreach",
            "maximize",
            "capturable",
            "differentiable",
            "fused",
            "decoupled_weight_decay",
        ],
    ),
    ("adamw", &["lr", "betas", "eps", "weight_decay", "amsgrad", "maximize", "foreach", "capturable", "differentiable", "fused"]),
    ("muon", &["lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn"]),
    (
        "shampoo",
        &[
            "lr",
            "betas",
            "beta3",
            "epsilon",
            "momentum",
            "dampening",
            "weight_decay",
            "max_preconditioner_dim",
            "precondition_frequency",
            "start_preconditioning_step",
            "inv_root_override",
            "exponent_multiplier",
            "use_nesterov",
            "use_bias_correction",
            "use_decoupled_weight_decay",
            "grafting_config",
            "use_merge_dims",
            "use_pytorch_compile",
            "distributed_config",
            "preconditioner_dtype",
            "precision_config",
            "use_protected_eigh",
            "track_root_inv_residuals",
            "pytorch_compile_backend",
        ],
    ),
    (
        "soap",
        &[
            "lr",
            "betas",
            "shampoo_beta",
            "eps",
            "weight_decay",
            "precondition_frequency",
            "max_precond_dim",
            "merge_dims",
            "precondition_1d",
            "normalize_grads",
            "data_format",
            "correct_bias",
        ],
    ),
    (
        "dion",
        &[
            "replicate_mesh",
            "outer_shard_mesh",
            "inner_shard_mesh",
            "replicate_mesh_grad_sync",
            "rank_fraction",
            "rank_multiple_of",
            "lr",
            "mu",
            "betas",
            "weight_decay",
            "epsilon",
            "power_iters",
            "qr_method",
            "cqr_warmup_steps",
            "rcqr_oversample",
            "mixed_precision_config",
        ],
    ),
    ("scion", &["lr", "momentum", "norm", "norm_kwargs", "scale", "unconstrained"]),
];

/// Keys that a rule does not write while they have their default.
const UNWRITTEN: [(&str, &[&str]); 6] = [
    ("muon", &["coefficients", "ns_steps", "ns_dtype"]),
    ("shampoo", &["start_step", "graft_beta2", "graft_eps"]),
    ("soap", &["shampoo_beta"]),
    ("dion", &["rank"]),
    ("scion", &["ns_steps", "ns_dtype"]),
    ("sgd", &[]),
];

/// The schedulers of `torch.optim.lr_scheduler` and `swa_utils`.
const SCHEDULERS: [&str; 17] = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "SWALR",
    "LinearLR",
];

/// The code in a cell: what stands between backticks.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of the first table under the heading that ends with `ending`, as cells.
fn table(ending: &str) -> Vec<Vec<&'static str>> {
    let heading = PAGE.lines().find(|line| line.starts_with('#') && line.ends_with(ending));
    let heading = heading.unwrap_or_else(|| panic!("a heading that ends with {ending}"));
    let section = PAGE.lines().skip_while(|line| *line != heading).skip(1);
    let rows = section.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    rows.skip(2).map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

fn rule_table(rule: &str) -> Vec<Vec<&'static str>> {
    table(&format!("`rule = \"{rule}\"`"))
}

/// The error of the settings with one more key. Its value fits no key, so there always is one.
fn refusal(rule: &str, key: &str) -> String {
    let settings = serde_json::json!({ "rule": rule, "lr": 0.1, key: { "no": "value" } });
    serde_json::from_value::<RuleConfig>(settings).unwrap_err().to_string()
}

#[test]
fn every_key_on_the_page_exists_and_every_key_is_on_the_page() {
    for (rule, _) in OPTIONS {
        assert!(refusal(rule, "nonsense").contains("unknown field `nonsense`"), "{}", refusal(rule, "nonsense"));
        let on_page: BTreeSet<&str> = rule_table(rule).iter().flat_map(|row| code(row[1])).collect();
        for key in &on_page {
            assert!(!refusal(rule, key).contains("unknown field"), "{rule} has no key `{key}`");
        }
        let default: RuleConfig = serde_json::from_value(serde_json::json!({ "rule": rule, "lr": 0.1 })).unwrap();
        let written = serde_json::to_value(default).unwrap();
        let written = written.as_object().unwrap().keys().map(String::as_str).filter(|key| *key != "rule");
        let unwritten = UNWRITTEN.iter().filter(|(name, _)| *name == rule).flat_map(|(_, keys)| keys.iter().copied());
        for key in written.chain(unwritten) {
            assert!(on_page.contains(key), "`{key}` of {rule} is not on the page");
        }
    }
}

#[test]
fn every_option_of_pytorch_is_on_the_page() {
    for (rule, options) in OPTIONS {
        let on_page: Vec<&str> = rule_table(rule).iter().flat_map(|row| code(row[0])).collect();
        for option in options {
            let times = on_page.iter().filter(|o| o == &option).count();
            assert_eq!(times, 1, "`{option}` of {rule}");
        }
    }
    let rows = table("Schedules");
    for scheduler in SCHEDULERS {
        let named = |row: &Vec<&str>| code(row[0]).iter().any(|c| c.split('(').next() == Some(scheduler));
        assert!(rows.iter().any(named), "{scheduler} is not on the page");
    }
}

/// The paths, as text; each must exist for this to compile.
macro_rules! existing {
    ($($path:path),* $(,)?) => {{
        $(let _ = $path;)*
        [$(stringify!($path).replace(' ', "")),*]
    }};
}

#[test]
fn every_item_on_the_page_exists() {
    let mut known: BTreeSet<String> = existing![
        AdamW::beside_muon,
        Optimizer::set_lr_factor,
        Optimizer::set_group_lr_factor,
        Routing::hidden,
        Schedule::cosine,
        Schedule::factor,
        Schedule::linear,
        Schedule::step,
        Schedule::trapezoid,
        WeightEma::new,
        clip_grad_norm,
        clip_grad_value,
        RmsNorm::forward_diff,
        candle_nn::ops::softmax_last_dim,
    ]
    .into();
    // Generic functions, which are no values by themselves.
    let generic = ["Group::frozen", "NamedParam::new", "NamedParam::infer_all", "Optimizer::save_state", "Optimizer::load_state"];
    known.extend(generic.map(str::to_owned));
    // The tests below use these.
    known.extend(["candle_nn::ops::softmax", "candle_nn::RmsNorm", "candle_nn::LayerNorm"].map(str::to_owned));
    let _: fn(&'static str) -> Group = Group::frozen;
    let _: fn(&'static str, Role, Var) -> NamedParam = NamedParam::new;
    let _: fn(Vec<(String, Var)>) -> Vec<NamedParam> = NamedParam::infer_all;
    let _: fn(&Optimizer, &'static str) -> Result<()> = Optimizer::save_state;
    let _: fn(&mut Optimizer, &'static str) -> Result<()> = Optimizer::load_state;
    // Types.
    let _: Option<(Accumulator, Checkpoint<'_>, GroupRules, SpectralProbe)> = None;

    let prose = PAGE.split("```").step_by(2);
    let paths: BTreeSet<&str> =
        prose.flat_map(code).map(|c| c.split(['(', ' ']).next().unwrap()).filter(|c| c.contains("::")).collect();
    assert!(paths.len() > 15, "{paths:?}");
    for path in paths {
        assert!(known.contains(path), "`{path}`");
    }
}

/// If this fails, candle has learned it, and the page can lose its warning.
#[test]
fn fused_operations_stop_gradients() {
    let w = Var::new(&[[0.1_f32, 0.2], [0.3, 0.5]], &Device::Cpu).unwrap();
    let ones = Tensor::ones(2, DType::F32, &Device::Cpu).unwrap();
    let fused: [(&str, Tensor); 3] = [
        ("softmax_last_dim", candle_nn::ops::softmax_last_dim(&w).unwrap()),
        ("RmsNorm", RmsNorm::new(ones.clone(), 1e-6).forward(&w).unwrap()),
        ("LayerNorm", LayerNorm::new(ones.clone(), ones.clone(), 1e-6).forward(&w).unwrap()),
    ];
    for (name, output) in fused {
        let gradients = output.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&w).is_none(), "{name} has a gradient");
    }
    let composed: [(&str, Tensor); 2] = [
        ("softmax", candle_nn::ops::softmax(&w, D::Minus1).unwrap()),
        ("forward_diff", RmsNorm::new(ones, 1e-6).forward_diff(&w).unwrap()),
    ];
    for (name, output) in composed {
        let gradients = output.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&w).is_some(), "{name} has no gradient");
    }
}
