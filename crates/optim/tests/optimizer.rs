//! The optimizer as a whole: what it accepts, what a failed step leaves behind, what it says about itself.
#![allow(clippy::float_cmp, clippy::unwrap_used, reason = "tests compare exact values and fail by a panic")]

mod common;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use common::{Single, all_rules, bits, max_difference, normal, rule};
use isorate_optim::{Error, GroupRules, Muon, NamedParam, Optimizer, Role, RuleConfig, SpecGd};

fn var(shape: &[usize]) -> Var {
    Var::from_tensor(&normal(shape, 1)).unwrap()
}

fn muon() -> GroupRules {
    GroupRules::hidden_with_adamw(RuleConfig::Muon(Muon::new(0.02)))
}

fn message(params: Vec<NamedParam>, groups: &GroupRules) -> String {
    Optimizer::new(params, groups).unwrap_err().to_string()
}

#[test]
fn unfit_parameters_are_named() {
    let vector_under_muon = vec![NamedParam::new("fc1.bias", Role::Matrix, var(&[4]))];
    assert_eq!(
        message(vector_under_muon, &muon()),
        "parameter `fc1.bias` of shape [4] is in group `matrix` under muon, which needs at least two dimensions\n\
         hint: give it the role `vector`, put a group that takes it before `matrix`, or choose another rule for the group"
    );
    let mut specgd = GroupRules::uniform(RuleConfig::SpecGd(SpecGd::new(0.1)));
    specgd.vector = specgd.matrix.clone();
    let text = message(vec![NamedParam::new("scale", Role::Vector, var(&[]))], &specgd);
    assert!(text.starts_with("parameter `scale` of shape [] is in group `vector` under specgd"), "{text}");

    let twice = vec![NamedParam::new("a", Role::Matrix, var(&[2, 2])), NamedParam::new("a", Role::Matrix, var(&[2, 2]))];
    assert_eq!(message(twice, &muon()), "parameter `a` is listed twice");
    let tied = var(&[2, 2]);
    let shared = vec![NamedParam::new("wte", Role::Embedding, tied.clone()), NamedParam::new("head", Role::Head, tied)];
    assert!(message(shared, &muon()).starts_with("parameters `wte` and `head` are the same variable"));
    let empty = Var::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
    let text = message(vec![NamedParam::new("e", Role::Matrix, empty)], &muon());
    assert_eq!(text, "parameter `e` of shape [0, 3] has no elements");
    assert_eq!(message(vec![], &muon()), "the optimizer was given no parameters");
    let mut invalid = muon();
    invalid.vector = invalid.vector.with_lr(f64::NAN);
    let text = message(vec![NamedParam::new("w", Role::Matrix, var(&[2, 2]))], &invalid);
    assert_eq!(text, "group `vector`: adamw: lr = NaN, but a learning rate must be positive and finite");
}

#[test]
fn a_bad_gradient_changes_nothing() {
    for rule in all_rules() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let (a, b) = (var(&[3, 4]), var(&[2, 5]));
            let params = vec![NamedParam::new("w", Role::Matrix, a.clone()), NamedParam::new("second", Role::Matrix, b.clone())];
            let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap();
            let mut step = |ga: &Tensor, gb: &Tensor| {
                let mut gradients = GradStore::default();
                gradients.insert(&a, ga.clone());
                gradients.insert(&b, gb.clone());
                optimizer.step(&gradients)
            };
            step(&normal(&[3, 4], 5), &normal(&[2, 5], 6)).unwrap();
            let before = (bits(&a), bits(&b));
            let mut values = normal(&[10], 7).to_vec1::<f64>().unwrap();
            values[9] = bad;
            let poisoned = Tensor::from_vec(values, (2, 5), &Device::Cpu).unwrap();
            let error = step(&normal(&[3, 4], 8), &poisoned).unwrap_err();
            assert!(matches!(&error, Error::NonFiniteGradient { name } if name == "second"), "{error}");
            assert_eq!((bits(&a), bits(&b)), before);
            // The states are untouched too: the next step is the one that would have come without the failure.
            step(&normal(&[3, 4], 9), &normal(&[2, 5], 10)).unwrap();
            let mut undisturbed = Single::new(&normal(&[3, 4], 1), &rule);
            undisturbed.step(&normal(&[3, 4], 5)).unwrap();
            undisturbed.step(&normal(&[3, 4], 9)).unwrap();
            assert_eq!(bits(&a), bits(&undisturbed.var), "{rule:?}");
        }
    }
}

#[test]
fn parameters_without_gradient_are_skipped_with_their_state() {
    for rule in all_rules() {
        let (a, b) = (var(&[3, 4]), var(&[3, 4]));
        let params = vec![NamedParam::new("a", Role::Matrix, a.clone()), NamedParam::new("w", Role::Matrix, b.clone())];
        let mut optimizer = Optimizer::new(params, &GroupRules::uniform(rule.clone())).unwrap();
        for seed in 0..4 {
            let mut gradients = GradStore::default();
            gradients.insert(&a, normal(&[3, 4], 20 + seed));
            if seed % 2 == 0 {
                gradients.insert(&b, normal(&[3, 4], 20 + seed));
            }
            optimizer.step(&gradients).unwrap();
        }
        let expected = common::run(&normal(&[3, 4], 1), &rule, &[normal(&[3, 4], 20), normal(&[3, 4], 22)]);
        assert_eq!(bits(&b), bits(&expected), "{rule:?}");
        let error = optimizer.step(&GradStore::default()).unwrap_err();
        assert!(error.to_string().starts_with("none of the 2 parameters has a gradient\nhint: "), "{error}");
    }
}

#[test]
fn a_gradient_of_another_shape_or_type_is_named() {
    let mut single = Single::new(&normal(&[3, 4], 1), &rule(r#"{"rule":"ngd","lr":1}"#));
    let text = single.step(&normal(&[4, 3], 2)).unwrap_err().to_string();
    assert_eq!(text, "the gradient of parameter `w` is F64 of shape [4, 3], but the parameter is F64 of shape [3, 4]");
    let single_precision = normal(&[3, 4], 2).to_dtype(DType::F32).unwrap();
    let text = single.step(&single_precision).unwrap_err().to_string();
    assert!(text.starts_with("the gradient of parameter `w` is F32 of shape [3, 4]"), "{text}");
    assert!(max_difference(&single.var, &normal(&[3, 4], 1)) == 0.0);
}

#[test]
fn gradients_may_be_views() {
    for rule in all_rules() {
        let start = normal(&[3, 4], 1);
        // The parameter itself, a broadcast and a transposed tensor, against the same numbers in memory of their own.
        let mut itself = Single::new(&start, &rule);
        let own = itself.var.as_tensor().clone();
        itself.step(&own).unwrap();
        assert_eq!(bits(&itself.var), bits(&common::run(&start, &rule, std::slice::from_ref(&start))));
        let one = Tensor::new(1.0_f64, &Device::Cpu).unwrap().broadcast_as((3, 4)).unwrap();
        let ones = Tensor::ones((3, 4), DType::F64, &Device::Cpu).unwrap();
        assert_eq!(bits(&common::run(&start, &rule, &[one])), bits(&common::run(&start, &rule, &[ones])));
        let other = normal(&[4, 3], 2).t().unwrap();
        let copied = other.contiguous().unwrap();
        assert_eq!(bits(&common::run(&start, &rule, &[other])), bits(&common::run(&start, &rule, &[copied])));
    }
}

#[test]
fn the_order_of_parameters_does_not_matter() {
    let names = ["b.weight", "a.weight", "c.bias"];
    let shapes: [&[usize]; 3] = [&[3, 4], &[4, 4], &[3]];
    let run = |order: [usize; 3]| {
        let vars: Vec<Var> = shapes.iter().map(|s| var(s)).collect();
        let params = NamedParam::infer_all(order.map(|i| (names[i].to_owned(), vars[i].clone())));
        let sorted: Vec<&str> = params.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(sorted, ["a.weight", "b.weight", "c.bias"]);
        let mut optimizer = Optimizer::new(params, &muon()).unwrap();
        for _ in 0..3 {
            let loss = vars.iter().map(|v| v.sqr().unwrap().sum_all().unwrap()).reduce(|x, y| (x + y).unwrap());
            optimizer.backward_step(&loss.unwrap()).unwrap();
        }
        vars.iter().map(|v| bits(v)).collect::<Vec<_>>()
    };
    assert_eq!(run([0, 1, 2]), run([2, 1, 0]));
}

#[test]
fn learning_rate_factors_are_checked() {
    let mut single = Single::new(&normal(&[3, 4], 1), &rule(r#"{"rule":"ngd","lr":1}"#));
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(single.optimizer.set_lr_factor(bad), Err(Error::LrFactor(_))));
    }
    single.optimizer.set_lr_factor(0.0).unwrap();
    single.step(&normal(&[3, 4], 2)).unwrap();
    assert_eq!(bits(&single.var), bits(&normal(&[3, 4], 1)));
}

#[test]
fn orthogonalizers_reject_what_they_cannot_handle() {
    use isorate_optim::{NewtonSchulz, Orthogonalizer};
    let ns = Orthogonalizer::NewtonSchulz(NewtonSchulz::default());
    for orthogonalizer in [Orthogonalizer::Exact, ns] {
        for shape in [&[3][..], &[2, 3, 4], &[0, 3]] {
            let t = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
            assert!(matches!(orthogonalizer.apply(&t), Err(Error::MatrixShape { .. })));
        }
        let half = Tensor::ones((2, 3), DType::F16, &Device::Cpu).unwrap();
        assert!(matches!(orthogonalizer.apply(&half), Err(Error::MatrixDtype { .. })));
    }
    for bad in [f64::NAN, f64::INFINITY] {
        let t = Tensor::new(&[[1.0, bad]], &Device::Cpu).unwrap();
        assert!(matches!(Orthogonalizer::Exact.apply(&t), Err(Error::NonFiniteMatrix)));
    }
}
