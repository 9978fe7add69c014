//! Parameters divided into groups: what goes where, what is refused, and what frozen and slowed groups do.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;
#[allow(dead_code, reason = "each test uses a part")]
#[path = "common/names.rs"]
mod names;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{all_rules, bits, max_difference, normal, rule};
use isorate_optim::{
    AdamW, Error, Group, GroupRules, Muon, NamedParam, Optimizer, Result, Role, Routing, RoutingProblem, RuleConfig, Sgd,
    ShapeClass,
};
use names::Entry;

fn sgd(lr: f64) -> RuleConfig {
    RuleConfig::Sgd(Sgd::new(lr))
}

fn zeros(model: &[Entry]) -> Vec<NamedParam> {
    let variable = |(name, shape): &Entry| (name.clone(), Var::zeros(shape.as_slice(), DType::F32, &Device::Cpu).unwrap());
    NamedParam::infer_all(model.iter().map(variable))
}

fn small() -> Vec<NamedParam> {
    zeros(&names::mlp(&[6, 5, 4, 3]))
}

fn problem(groups: impl IntoIterator<Item = Group>) -> String {
    Optimizer::new(small(), Routing::new(groups)).unwrap_err().to_string()
}

#[test]
fn default_routing_of_known_models() {
    let muon = RuleConfig::Muon(Muon { weight_decay: 0.1, ..Muon::new(0.02) });
    let routing = Routing::hidden(muon, RuleConfig::AdamW(AdamW::beside_muon()));
    for (name, model, table) in [
        ("mlp", names::mlp(&[784, 512, 512, 10]), include_str!("tables/mlp.txt")),
        ("resnet18", names::resnet18(), include_str!("tables/resnet18.txt")),
        ("gpt", names::gpt(12, 64, 1000, 128), include_str!("tables/gpt.txt")),
        ("bert", names::bert(2), include_str!("tables/bert.txt")),
        ("vit", names::vit(1), include_str!("tables/vit.txt")),
    ] {
        let described = Optimizer::new(zeros(&model), &routing).unwrap().describe();
        assert_eq!(described, table, "tests/tables/{name}.txt is not what `describe` says:\n{described}");
    }
}

#[test]
fn thin_filters_are_no_hidden_matrices() {
    let routing = Routing::default();
    let group = |shape: &[usize]| routing.group_of("features.0.0.weight", Role::Matrix, shape).unwrap().name.clone();
    assert_eq!(group(&[64, 1, 3, 3]), "thin filters");
    assert_eq!(group(&[64, 4, 3, 3]), "thin filters");
    assert_eq!(group(&[64, 5, 3, 3]), "hidden");
    assert_eq!(group(&[64, 80, 3]), "hidden");
    assert_eq!(group(&[64, 3]), "hidden");
}

#[test]
fn the_first_group_that_takes_a_parameter_gets_it() {
    let groups = [
        Group::new("last layer", sgd(0.1)).patterns(["head.*"]),
        Group::new("biases", sgd(0.2)).shapes([ShapeClass::Vector]),
        Group::frozen("input").patterns(["fc1.*"]),
        Group::new("rest", sgd(0.3)),
    ];
    let optimizer = Optimizer::new(small(), Routing::new(groups)).unwrap();
    let pairs: Vec<_> = optimizer.assignments().map(|a| (a.name.as_str(), a.group.as_str(), a.rule_name())).collect();
    let expected = [
        ("fc1.bias", "biases", "sgd"),
        ("fc2.bias", "biases", "sgd"),
        ("fc2.weight", "rest", "sgd"),
        ("head.bias", "last layer", "sgd"),
        ("head.weight", "last layer", "sgd"),
        ("fc1.weight", "input", "frozen"),
    ];
    assert_eq!(pairs, expected);
    let rates: Vec<_> = optimizer.assignments().map(|a| a.rule.as_ref().map(RuleConfig::lr)).collect();
    assert_eq!(rates, [Some(0.2), Some(0.2), Some(0.3), Some(0.1), Some(0.1), None]);
}

#[test]
fn a_parameter_that_no_group_takes_is_named() {
    let text = problem([Group::new("hidden", sgd(0.1)).roles([Role::Matrix]), Group::new("head", sgd(0.1)).patterns(["head*"])]);
    assert_eq!(
        text,
        "no group takes parameter `fc1.bias` of shape [5] and role `vector`; tried `hidden`, `head`\n\
         hint: end the list with a group without conditions, with a rule for the rest or frozen"
    );
}

#[test]
fn patterns_without_a_parameter_are_named() {
    let rest = || Group::new("rest", sgd(0.1));
    assert_eq!(
        problem([Group::new("head", sgd(0.1)).patterns(["head.*", "haed.*"]), rest()]),
        "group `head`: the pattern `haed.*` matches no parameter; there are `fc1.bias`, `fc1.weight`, `fc2.bias`, \
         `fc2.weight`, `head.bias`, `head.weight`\n\
         hint: a pattern covers the whole name, and `*` stands for any characters; settings for several models say \
         optional = true"
    );
    let matrices = Group::new("all", sgd(0.1)).roles([Role::Matrix, Role::Head]);
    assert_eq!(
        problem([matrices, Group::new("head", sgd(0.1)).patterns(["head.weight"]), rest()]),
        "group `head` gets no parameter: `head.weight` matches its patterns, but group `all` before it took it\n\
         hint: put `head` before `all`"
    );
    assert_eq!(
        problem([Group::new("head", sgd(0.1)).patterns(["head.*"]).shapes([ShapeClass::Filter]), rest()]),
        "group `head` gets no parameter: `head.weight` matches its patterns, but not its other conditions"
            .replace("head.weight", "head.bias")
    );
    // Optional groups, and groups without patterns, may stay empty; a pattern may lose some of its parameters.
    let filters = Group::new("filters", sgd(0.1)).shapes([ShapeClass::Filter]);
    let optional = Group::new("optional", sgd(0.1)).patterns(["x*"]).optional();
    let some = Group::new("some", sgd(0.1)).patterns(["*.weight", "head*"]);
    let biases = Group::new("biases", sgd(0.1)).patterns(["*.bias"]);
    let optimizer = Optimizer::new(small(), Routing::new([filters, optional, biases, some])).unwrap();
    assert!(optimizer.describe().contains("\noptional  sgd   0.1  0               0         0\n"), "{}", optimizer.describe());
}

#[test]
fn contradictory_groups_are_named() {
    assert_eq!(problem([]), "there are no parameter groups");
    assert_eq!(problem([Group::frozen("")]), "group 1 of the list has an empty name");
    let twice = [Group::frozen("a").roles([Role::Head]), Group::new("a", sgd(1.0))];
    assert_eq!(problem(twice), "two groups are called `a`");
    assert_eq!(
        problem([Group::new("rest", sgd(1.0)), Group::frozen("head").roles([Role::Head])]),
        "group `head` can get no parameter, since `rest` before it has no conditions\nhint: put `rest` last"
    );
    assert_eq!(
        problem([Group::frozen("all")]),
        "all 6 parameters are frozen\nhint: leave the optimizer out, or give a group a rule"
    );
    let fast = problem([Group::new("rest", sgd(f64::INFINITY))]);
    assert_eq!(fast, "group `rest`: sgd: lr = inf, but a learning rate must be positive and finite");
    let vectors = problem([Group::new("muon", RuleConfig::Muon(Muon::new(0.1)))]);
    assert_eq!(
        vectors,
        "parameter `fc1.bias` of shape [5] is in group `muon` under muon, which needs at least two dimensions\n\
         hint: give it the role `vector`, put a group that takes it before `muon`, or choose another rule for the group"
    );
}

#[test]
fn settings_read_back() {
    for routing in [Routing::default(), Routing::from(&GroupRules::hidden_with_adamw(rule(r#"{"rule":"nmd","lr":1}"#)))] {
        assert_eq!(toml::from_str::<Routing>(&toml::to_string(&routing).unwrap()).unwrap(), routing);
        assert_eq!(serde_json::from_value::<Routing>(serde_json::to_value(&routing).unwrap()).unwrap(), routing);
        assert!(routing.validate().is_ok());
    }
    let text = toml::from_str::<Routing>("[[group]]\nname = 'a'\nfrozen = true").unwrap_err().to_string();
    assert!(text.contains("unknown field `group`, expected `groups`"), "{text}");
}

#[test]
fn rules_by_role_are_a_routing() {
    let rules = GroupRules::hidden_with_adamw(RuleConfig::Muon(Muon::new(0.02)));
    let by_role = Optimizer::new(small(), &rules).unwrap();
    for a in by_role.assignments() {
        assert_eq!(a.group, a.role.name());
        assert_eq!(a.rule.as_ref(), Some(rules.get(a.role)));
    }
    assert_eq!(*by_role.routing(), Routing::from(&rules));
    assert_eq!(Routing::uniform(sgd(0.1)), Routing::from(&GroupRules::uniform(sgd(0.1))));
}

/// Two parameters, of which the second is frozen.
fn half_frozen(dtype: DType) -> (Var, Var, Result<Optimizer>) {
    let (a, b) = (Var::from_tensor(&normal(&[3, 4], 1)).unwrap(), Var::zeros((3, 4), dtype, &Device::Cpu).unwrap());
    let params = vec![NamedParam::new("a", Role::Matrix, a.clone()), NamedParam::new("b", Role::Matrix, b.clone())];
    let groups = [Group::frozen("fixed").patterns(["b"]), Group::new("rest", rule(r#"{"rule":"muon","lr":0.1}"#))];
    (a, b, Optimizer::new(params, Routing::new(groups)))
}

#[test]
fn frozen_parameters_stay_and_their_gradients_are_not_looked_at() {
    // Types without arithmetic here are no obstacle: nothing is computed.
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::U8, DType::I64, DType::F8E4M3] {
        let (a, b, optimizer) = half_frozen(dtype);
        let mut optimizer = optimizer.unwrap();
        let mut gradients = GradStore::default();
        gradients.insert(&a, normal(&[3, 4], 2));
        gradients.insert(&b, Tensor::full(f32::NAN, 7, &Device::Cpu).unwrap());
        optimizer.step(&gradients).unwrap();
        let alone = common::run(&normal(&[3, 4], 1), &rule(r#"{"rule":"muon","lr":0.1}"#), &[normal(&[3, 4], 2)]);
        assert_eq!(bits(&a), bits(&alone));
        assert_eq!(bits(&b.to_dtype(DType::F32).unwrap()), [0; 12]);
        // A gradient for the frozen one alone is none.
        gradients.remove(&a);
        assert!(matches!(optimizer.step(&gradients), Err(Error::NoGradients { parameters: 1 })));
        let line = format!("b          fixed  frozen  matrix  {:<4}  [3, 4]", dtype.as_str());
        assert!(optimizer.describe().lines().any(|l| l == line), "{}", optimizer.describe());
    }
}

#[test]
fn frozen_and_updated_names_of_one_variable_are_refused() {
    let tied = Var::from_tensor(&normal(&[3, 4], 1)).unwrap();
    let params = vec![NamedParam::new("head", Role::Head, tied.clone()), NamedParam::new("wte", Role::Embedding, tied)];
    let routing = Routing::new([Group::frozen("tables").roles([Role::Embedding]), Group::new("rest", sgd(1.0))]);
    assert!(matches!(Optimizer::new(params, routing), Err(Error::SharedVariable { .. })));
}

#[test]
fn groups_have_their_own_learning_rate_factor() {
    for rule in all_rules() {
        let vars = [1, 2].map(|seed| Var::from_tensor(&normal(&[3, 4], seed)).unwrap());
        let [a, b] = &vars;
        let params = vec![NamedParam::new("a", Role::Matrix, a.clone()), NamedParam::new("b", Role::Matrix, b.clone())];
        let routing = Routing::new([Group::new("slow", rule.clone()).patterns(["a"]), Group::new("rest", rule.clone())]);
        let mut optimizer = Optimizer::new(params, routing).unwrap();
        optimizer.set_lr_factor(2.0).unwrap();
        optimizer.set_group_lr_factor("slow", 9.0).unwrap();
        optimizer.set_group_lr_factor("slow", 0.25).unwrap();
        assert_eq!(optimizer.group_lr_factor("slow").unwrap(), 0.25);
        assert_eq!(optimizer.group_lr_factor("rest").unwrap(), 1.0);
        let gradients = [normal(&[3, 4], 5), normal(&[3, 4], 6)];
        for gradient in &gradients {
            let mut store = GradStore::default();
            for var in &vars {
                store.insert(var, gradient.clone());
            }
            optimizer.step(&store).unwrap();
        }
        for (name, var, seed, factor) in [("a", a, 1, 0.5), ("b", b, 2, 2.0)] {
            let with = rule.clone().with_lr(rule.lr() * factor);
            let mut alone = common::Single::named(name, &normal(&[3, 4], seed), &with);
            for gradient in &gradients {
                alone.step(gradient).unwrap();
            }
            assert!(max_difference(var, &alone.var) < 1e-12, "{rule:?}");
        }
    }
}

#[test]
fn factors_of_groups_are_checked_and_shown() {
    let groups = [Group::new("matrices", sgd(0.1)).shapes([ShapeClass::Matrix]), Group::new("rest", sgd(3e-5))];
    let mut optimizer = Optimizer::new(small(), Routing::new(groups)).unwrap();
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(optimizer.set_group_lr_factor("rest", bad), Err(Error::LrFactor(_))));
    }
    let text = optimizer.set_group_lr_factor("matrix", 0.5).unwrap_err().to_string();
    assert_eq!(text, "no group is called `matrix`; there are `matrices`, `rest`");
    let unknown = optimizer.group_lr_factor("x").unwrap_err();
    assert!(matches!(unknown, Error::Routing(RoutingProblem::UnknownGroup { .. })));
    optimizer.set_group_lr_factor("rest", 0.5).unwrap();
    let expected = "\
group     rule  lr          decay  parameters  elements
matrices  sgd   0.1         0               3        62
rest      sgd   3e-5 × 0.5  0               3        12
total                                       6        74
";
    assert!(optimizer.describe().starts_with(expected), "{}", optimizer.describe());
    optimizer.set_lr_factor(0.5).unwrap();
    assert!(optimizer.describe().contains("\nrest      sgd   3e-5 × 0.25  0  "), "{}", optimizer.describe());
}

#[test]
fn the_order_of_the_list_changes_nothing() {
    let entries = names::gpt(11, 4, 6, 5);
    let run = |order: &[usize]| {
        let vars: Vec<Var> = (0..entries.len()).map(|i| Var::from_tensor(&normal(&entries[i].1, i as u64)).unwrap()).collect();
        let named = |&i: &usize| NamedParam::new(&entries[i].0, Role::infer(&entries[i].0, &entries[i].1), vars[i].clone());
        let mut optimizer = Optimizer::new(order.iter().map(named).collect(), Routing::default()).unwrap();
        for step in 0..3 {
            let mut gradients = GradStore::default();
            for (i, var) in vars.iter().enumerate() {
                gradients.insert(var, normal(&entries[i].1, 1000 * (step + 1) + i as u64));
            }
            optimizer.step(&gradients).unwrap();
        }
        (vars.iter().map(|v| bits(v)).collect::<Vec<_>>(), optimizer.describe())
    };
    let forward: Vec<usize> = (0..entries.len()).collect();
    let backward: Vec<usize> = forward.iter().rev().copied().collect();
    // 7 and the number of entries have no common divisor.
    assert_ne!(entries.len() % 7, 0);
    let mixed: Vec<usize> = forward.iter().map(|i| i * 7 % entries.len()).collect();
    let expected = run(&forward);
    assert!(expected.1.find("h.2.ln_1.bias").unwrap() < expected.1.find("h.10.ln_1.bias").unwrap());
    assert_eq!(run(&backward), expected);
    assert_eq!(run(&mixed), expected);
}
