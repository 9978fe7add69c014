use isorate_optim::{GroupRules, RuleConfig};
use serde::{Deserialize, Serialize};

use super::{Context, Scale, Scales, unknown};
use crate::Error;

/// A network trained by several optimizers on Colored-MNIST, several seeds each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    title: String,
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    kind: String,
    pub(crate) data: ColoredMnistSpec,
    pub(crate) model: MlpSpec,
    pub(crate) batch_size: usize,
    /// Test and validation accuracy are measured this often, and before the first step.
    pub(crate) evaluations_per_epoch: usize,
    pub(crate) optimizers: Vec<OptimizerSpec>,
    scale: Scales<TrainingScale>,
}

/// Colored-MNIST as `isorate-data` builds it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColoredMnistSpec {
    pub(crate) name: String,
    /// Fraction of the training images in their digit's own colour.
    pub(crate) correlation: f64,
}

/// A multilayer perceptron.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MlpSpec {
    pub(crate) name: String,
    /// Widths of the hidden layers.
    pub(crate) hidden: Vec<usize>,
    pub(crate) activation: Activation,
}

/// What stands between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// Nothing: a deep linear network.
    Identity,
}

/// An optimizer: its rule for each role of parameter, and the step sizes to choose from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    /// Its name in results and figures.
    pub key: String,
    /// The grid that tuning chooses from.
    pub step_sizes: Vec<f64>,
    /// Rule of hidden matrices, less its `lr`, which is the step size.
    matrix: toml::Table,
    /// Rule of biases.
    vector: toml::Table,
    /// Rule of the last layer; as `matrix` if not given.
    head: Option<toml::Table>,
}

/// The sizes that a scale decides.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingScale {
    /// Training images.
    pub(crate) train: usize,
    /// Held-out training images, for choosing step sizes.
    pub(crate) validation: usize,
    /// Test images.
    pub(crate) test: usize,
    pub(crate) epochs: usize,
    /// Seeds of the runs that figures show.
    pub(crate) seeds: Vec<u64>,
    /// Seeds of the runs that choose step sizes; none of the above.
    pub(crate) tuning_seeds: Vec<u64>,
}

/// Images in the embedded training and test set.
const EMBEDDED: [usize; 2] = [12_000, 4_000];
/// And in the complete ones.
const COMPLETE: [usize; 2] = [60_000, 10_000];

const RULES: [&str; 9] = ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "specgd", "muon"];

impl OptimizerSpec {
    /// The rules at one step size.
    pub(crate) fn groups(&self, step_size: f64, context: &Context) -> Result<GroupRules, Error> {
        let rule = |role: &str, table: &toml::Table| self.rule(role, table, step_size, context);
        let matrix = rule("matrix", &self.matrix)?;
        let head = self.head.as_ref().map(|table| rule("head", table)).transpose()?;
        Ok(GroupRules {
            head: head.unwrap_or_else(|| matrix.clone()),
            vector: rule("vector", &self.vector)?,
            // An MLP has no embedding; were there one, it would be a matrix like the others.
            embedding: matrix.clone(),
            matrix,
        })
    }

    fn rule(&self, role: &str, table: &toml::Table, step_size: f64, context: &Context) -> Result<RuleConfig, Error> {
        let setting = format!("optimizers.{}.{role}", self.key);
        match table.get("rule") {
            None => return Err(context.error(&setting, "has no `rule`")),
            Some(rule) => match rule.as_str() {
                Some(rule) if RULES.contains(&rule) => {}
                Some(rule) => return Err(context.error(&setting, unknown("rule", rule, &RULES))),
                None => return Err(context.error(&setting, format!("rule = {rule} must be text"))),
            },
        }
        let mut table = table.clone();
        if table.contains_key("lr") {
            return Err(context.error(&setting, "`lr` comes from `step_sizes` and cannot be set here"));
        }
        table.insert("lr".into(), toml::Value::Float(step_size));
        let config: RuleConfig = table.try_into().map_err(|error: toml::de::Error| context.error(&setting, error.message()))?;
        config.validate().map_err(|error| context.error(&setting, error.to_string()))?;
        Ok(config)
    }
}

impl TrainingScale {
    /// Whether the embedded sets have as many images as are asked for.
    pub(crate) fn check_embedded(&self, context: &Context, scale: Scale) -> Result<(), Error> {
        let hint = "\nhint: `isorate fetch mnist` and --data hub take the complete set";
        self.check_at_most(context, scale, EMBEDDED, "embedded", hint)
    }

    fn check_at_most(
        &self,
        context: &Context,
        scale: Scale,
        [train, test]: [usize; 2],
        which: &str,
        hint: &str,
    ) -> Result<(), Error> {
        let together = self.train.saturating_add(self.validation);
        for (name, what, size, most) in
            [("train", "train and validation images together", together, train), ("test", "test images", self.test, test)]
        {
            if size > most {
                let setting = format!("scale.{}.{name}", scale.name());
                return Err(context.error(&setting, format!("{size} {what}, and the {which} set has {most}{hint}")));
            }
        }
        Ok(())
    }
}

impl Training {
    /// The sizes at a scale, if the experiment has it.
    pub fn at(&self, scale: Scale) -> Option<&TrainingScale> {
        self.scale.get(scale)
    }

    pub(super) fn check(&self, context: &Context) -> Result<(), Error> {
        if self.data.name != "colored-mnist" {
            return Err(context.error("data.name", unknown("data set", &self.data.name, &["colored-mnist"])));
        }
        if !(0.0..=1.0).contains(&self.data.correlation) {
            return Err(context.error("data.correlation", format!("{} must lie in [0, 1]", self.data.correlation)));
        }
        if self.model.name != "mlp" {
            return Err(context.error("model.name", unknown("model", &self.model.name, &["mlp"])));
        }
        for &width in &self.model.hidden {
            context.at_least_one("model.hidden", width)?;
        }
        context.at_least_one("batch_size", self.batch_size)?;
        context.at_least_one("evaluations_per_epoch", self.evaluations_per_epoch)?;
        if self.optimizers.is_empty() {
            return Err(context.error("optimizers", "[] must name at least one optimizer"));
        }
        for (i, optimizer) in self.optimizers.iter().enumerate() {
            if self.optimizers[..i].iter().any(|other| other.key == optimizer.key) {
                return Err(context.error("optimizers", format!("the key `{}` stands there twice", optimizer.key)));
            }
            let setting = format!("optimizers.{}.step_sizes", optimizer.key);
            if optimizer.step_sizes.is_empty() {
                return Err(context.error(&setting, "[] must name at least one step size"));
            }
            for &step_size in &optimizer.step_sizes {
                context.positive(&setting, step_size)?;
            }
            if optimizer.step_sizes.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err(context.error(&setting, format!("{:?} must increase", optimizer.step_sizes)));
            }
            optimizer.groups(optimizer.step_sizes[0], context)?;
        }
        for (scale, sizes) in self.scale.iter() {
            let setting = |name: &str| format!("scale.{}.{name}", scale.name());
            for (name, size) in
                [("train", sizes.train), ("validation", sizes.validation), ("test", sizes.test), ("epochs", sizes.epochs)]
            {
                context.at_least_one(&setting(name), size)?;
            }
            sizes.check_at_most(context, scale, COMPLETE, "complete", "")?;
            context.seeds(&setting("seeds"), &sizes.seeds)?;
            context.seeds(&setting("tuning_seeds"), &sizes.tuning_seeds)?;
            if let Some(seed) = sizes.tuning_seeds.iter().find(|seed| sizes.seeds.contains(seed)) {
                return Err(context.error(
                    &setting("tuning_seeds"),
                    format!("{seed} is also in `seeds`; a step size must not be chosen on the runs that are shown"),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use isorate_data::{Split, mnist};

    use super::EMBEDDED;

    #[test]
    fn the_embedded_sizes_are_those_of_the_data() {
        for (split, size) in Split::ALL.into_iter().zip(EMBEDDED) {
            assert_eq!(mnist().load(split).unwrap().len(), size);
        }
    }
}
