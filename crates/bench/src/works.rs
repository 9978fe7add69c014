//! The list of works. A new one is an entry here.

use candle_core::Var;
use candle_core::backprop::GradStore;
use isorate_kernels::backward;
use isorate_optim::{GroupRules, NamedParam, Optimizer, Orthogonalizer, Role, RuleConfig, Shampoo, Soap};

use crate::Result;
use crate::inputs::normal;
use crate::networks::Network;
use crate::operations::operations;
use crate::work::Work;

/// Steps so short that weights stay what they are, however often they are repeated.
const LR: f64 = 1e-6;

/// The side of the square matrices of the reference product.
pub(crate) const MATMUL: usize = 1024;

/// Everything that is measured, in the order in which it is shown.
pub fn works() -> Vec<Work> {
    let mut works = vec![matmul()];
    works.extend([(1024, 1024), (512, 512), (512, 784), (128, 784)].map(|shape| orthogonalize("newton-schulz", shape)));
    works.extend([(1024, 1024), (512, 512), (512, 784), (128, 784)].map(|shape| orthogonalize("newton-schulz-bf16", shape)));
    works.extend(["you", "polar-express", "exact"].map(|name| orthogonalize(name, (512, 512))));
    works.extend([batch("muon", 16, 128, true), batch("muon-bf16", 16, 128, true), batch("muon", 16, 128, false)]);
    let rules =
        ["sgd", "adam", "adamw", "nmd", "signum", "specgd", "muon", "muon-bf16", "shampoo", "soap", "dion", "scion", "power"];
    works.extend(rules.map(|name| optimizer(name, rule(name))));
    // By default Shampoo takes roots at every step; SOAP turns its bases at every tenth, which the median does not see.
    let one_root = Shampoo { precondition_every: 1_000_000, start_step: Some(1), ..Shampoo::new(LR) };
    works.push(optimizer("shampoo-between-roots", RuleConfig::Shampoo(one_root)));
    works.push(optimizer("soap-every-step", RuleConfig::Soap(Soap { precondition_every: 1, ..Soap::new(LR) })));
    works.extend(operations());
    works.extend([gradients(Network::Mlp, false), gradients(Network::Mlp, true)]);
    works.extend(["sgd", "adamw", "muon", "muon-bf16"].map(|rule| training_step(Network::Mlp, rule)));
    for (network, rule) in [
        (Network::ResNet18, "sgd"),
        (Network::NarrowResNet18, "muon"),
        (Network::ResNet50, "sgd"),
        (Network::Gpt, "adamw"),
        (Network::Bert, "adamw"),
    ] {
        works.extend([gradients(network, true), training_step(network, rule)]);
    }
    works
}

/// What follows the name of a rule or of an orthogonalizer that iterates in bfloat16.
const IN_BF16: &str = "-bf16";

/// Settings with `key` and the iteration's type from a name.
fn settings(key: &str, name: &str) -> serde_json::Value {
    let mut settings = serde_json::json!({ "rule": "muon", "lr": LR });
    settings[key] = name.trim_end_matches(IN_BF16).into();
    if name.ends_with(IN_BF16) {
        settings["ns_dtype"] = "bf16".into();
    }
    settings
}

/// A rule with its defaults.
fn rule(name: &str) -> RuleConfig {
    let settings = settings("rule", name);
    serde_json::from_value(settings).expect("the list holds names of rules, and a learning rate is all that they ask for")
}

/// An orthogonalizer with its defaults, by its name in settings.
fn orthogonalizer(name: &str) -> Orthogonalizer {
    match serde_json::from_value(settings("orthogonalizer", name)) {
        Ok(RuleConfig::Muon(muon)) => muon.orthogonalizer,
        _ => unreachable!("the list holds names of orthogonalizers"),
    }
}

/// A matrix product, f32.
fn matmul() -> Work {
    Work::new(format!("matmul/{MATMUL}x{MATMUL}"), || {
        let (a, b) = (normal((MATMUL, MATMUL), 1)?, normal((MATMUL, MATMUL), 2)?);
        Ok(Box::new(move || {
            a.matmul(&b)?;
            Ok(())
        }))
    })
    .flops(matmul_flops())
}

pub(crate) fn matmul_flops() -> f64 {
    2.0 * (MATMUL as f64).powi(3)
}

/// One orthogonalization of an f32 matrix; five steps where it is an iteration.
fn orthogonalize(name: &'static str, (rows, columns): (usize, usize)) -> Work {
    let work = Work::new(format!("orthogonalize/{name}/{rows}x{columns}"), move || {
        let (method, matrix) = (orthogonalizer(name), normal((rows, columns), 3)?);
        Ok(Box::new(move || {
            method.apply(&matrix)?;
            Ok(())
        }))
    });
    let (r, c) = (rows.min(columns) as f64, rows.max(columns) as f64);
    if name == "exact" { work } else { work.flops(5.0 * (4.0 * r * r * c + 2.0 * r.powi(3))) }
}

/// A Muon step on `count` square matrices, in one optimizer, or in one for each of them.
fn batch(muon: &'static str, count: usize, side: usize, together: bool) -> Work {
    let half = if muon.ends_with(IN_BF16) { IN_BF16 } else { "" };
    let name = format!("{}{half}", if together { "together" } else { "one-by-one" });
    let s = side as f64;
    let flops = count as f64 * 5.0 * 6.0 * s.powi(3);
    Work::new(format!("batch/{name}/{count}x{side}x{side}"), move || {
        let mut gradients = GradStore::default();
        let mut params = Vec::new();
        for i in 0..count {
            let var = Var::from_tensor(&normal((side, side), 10 + i as u64)?)?;
            gradients.insert(&var, normal((side, side), 100 + i as u64)?);
            params.push(NamedParam::new(format!("w{i}"), Role::Matrix, var));
        }
        let groups = GroupRules::uniform(rule(muon));
        let chunk = if together { count } else { 1 };
        let mut optimizers: Vec<Optimizer> =
            params.chunks(chunk).map(|params| Optimizer::new(params.to_vec(), &groups)).collect::<Result<_, _>>()?;
        Ok(Box::new(move || {
            for optimizer in &mut optimizers {
                optimizer.step(&gradients)?;
            }
            Ok(())
        }))
    })
    .flops(flops)
}

/// One step of an optimizer on the network, from given gradients.
fn optimizer(name: &str, rule: RuleConfig) -> Work {
    Work::new(format!("optimizer/{name}"), move || {
        let training = Network::Mlp.training()?;
        let gradients = backward(&training.loss()?)?;
        let mut optimizer = Optimizer::new(training.params(), &GroupRules::uniform(rule.clone()))?;
        Ok(Box::new(move || {
            optimizer.step(&gradients)?;
            Ok(())
        }))
    })
}

/// The loss of a batch, and its gradients.
fn gradients(network: Network, with_backward: bool) -> Work {
    let name = if with_backward { "forward-backward" } else { "forward" };
    Work::new(format!("train/{}/{name}", network.name()), move || {
        let training = network.training()?;
        Ok(Box::new(move || {
            let loss = training.loss()?;
            if with_backward {
                backward(&loss)?;
            }
            Ok(())
        }))
    })
    .flops(network.flops(with_backward))
}

/// A whole training step: forward, backward, optimizer.
fn training_step(network: Network, name: &'static str) -> Work {
    Work::new(format!("train/{}/{name}", network.name()), move || {
        let training = network.training()?;
        let mut optimizer = Optimizer::new(training.params(), &GroupRules::uniform(rule(name)))?;
        Ok(Box::new(move || {
            optimizer.backward_step(&training.loss()?)?;
            Ok(())
        }))
    })
    .training_step()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let works = works();
        let names: BTreeSet<&str> = works.iter().map(Work::name).collect();
        assert_eq!(names.len(), works.len());
    }

    #[test]
    fn nominal_flops_are_those_of_the_documentation() {
        let flops = |name: &str| works().into_iter().find(|work| work.name() == name).and_then(|work| work.nominal_flops());
        // r = 512, c = 784: 4·512²·784 = 822,083,584 and 2·512³ = 268,435,456.
        assert_eq!(flops("orthogonalize/newton-schulz/512x784"), Some(5.0 * 1_090_519_040.0));
        assert_eq!(flops("orthogonalize/newton-schulz/1024x1024"), Some(15.0 * flops("matmul/1024x1024").unwrap_or_default()));
        assert_eq!(flops("optimizer/muon"), None);
        assert_eq!(flops("orthogonalize/exact/512x512"), None);
    }
}
