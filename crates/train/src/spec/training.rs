use isorate_optim::{Group, Role, Routing, RuleConfig, Schedule, ShapeClass};
use serde::{Deserialize, Serialize};

use super::data::DataSpec;
use super::model::ModelSpec;
use super::{Context, Scale, Scales, unknown};
use crate::Error;

/// Networks trained on data sets by several optimizers, several seeds each.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    title: String,
    #[allow(dead_code, reason = "read before, to know which form to expect")]
    kind: String,
    pub(crate) batch_size: usize,
    #[serde(default)]
    pub(crate) schedule: ScheduleName,
    /// Held-out sets are measured this often, and before the first step.
    pub(crate) evaluations_per_epoch: usize,
    pub(crate) optimizers: Vec<OptimizerSpec>,
    scale: Scales<TrainingScale>,
}

/// How the step size changes over a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScheduleName {
    /// Not at all.
    #[default]
    Constant,
    /// Along half a period of a cosine to 0.
    Cosine,
}

impl ScheduleName {
    pub(crate) fn over(self, steps: u64) -> Schedule {
        match self {
            Self::Constant => Schedule::constant(),
            Self::Cosine => Schedule::cosine(steps),
        }
    }
}

/// An optimizer: its rule for each role of parameter, and the step sizes to choose from.
///
/// A rule has the step size of the run as its `lr`, unless it says one of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    /// Its name in results and figures.
    pub key: String,
    /// The grid that tuning begins with.
    pub step_sizes: Vec<f64>,
    /// Rule of hidden matrices.
    matrix: toml::Table,
    /// Rule of the filters of convolutions; as `matrix` if not given.
    filter: Option<toml::Table>,
    /// Rule of the last layer; as `matrix` if not given.
    head: Option<toml::Table>,
    /// Rule of embeddings; as `matrix` if not given.
    embedding: Option<toml::Table>,
    /// Rule of biases and gains.
    vector: toml::Table,
}

/// What a scale decides.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingScale {
    pub(crate) epochs: usize,
    /// Seeds of the runs that figures show.
    pub(crate) seeds: Vec<u64>,
    /// Seeds of the runs that choose step sizes; none of the above.
    pub(crate) tuning_seeds: Vec<u64>,
    pub(crate) cases: Vec<Case>,
}

/// A data set with a network.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its name in results, figures and chosen step sizes.
    pub(crate) key: String,
    pub(crate) data: DataSpec,
    pub(crate) model: ModelSpec,
    /// In the place of the scale's.
    epochs: Option<usize>,
    /// In the place of the experiment's.
    batch_size: Option<usize>,
}

impl Case {
    pub(crate) fn epochs(&self, scale: &TrainingScale) -> usize {
        self.epochs.unwrap_or(scale.epochs)
    }

    pub(crate) fn batch_size(&self, training: &Training) -> usize {
        self.batch_size.unwrap_or(training.batch_size)
    }
}

const RULES: [&str; 14] =
    ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "specgd", "power", "muon", "shampoo", "soap", "dion", "scion"];

impl OptimizerSpec {
    /// The rules at one step size: a group for each role, and one for filters.
    pub(crate) fn routing(&self, step_size: f64, context: &Context) -> Result<Routing, Error> {
        let rule = |role: &str, table: &toml::Table| self.rule(role, table, step_size, context);
        let matrix = rule("matrix", &self.matrix)?;
        let own = |role: &str, table: &Option<toml::Table>| table.as_ref().map_or(Ok(matrix.clone()), |table| rule(role, table));
        let group = |role: Role, name: &str, rule| Group::new(name, rule).roles([role]);
        let filters = Group::new("filter", own("filter", &self.filter)?).roles([Role::Matrix]).shapes([ShapeClass::Filter]);
        Ok(Routing::new([
            filters,
            group(Role::Matrix, "matrix", matrix.clone()),
            group(Role::Head, "head", own("head", &self.head)?),
            group(Role::Embedding, "embedding", own("embedding", &self.embedding)?),
            group(Role::Vector, "vector", rule("vector", &self.vector)?),
        ]))
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
        if role == "matrix" && table.contains_key("lr") {
            return Err(context.error(&setting, "`lr` comes from `step_sizes` and cannot be set here"));
        }
        table.entry("lr").or_insert(toml::Value::Float(step_size));
        let config: RuleConfig = table.try_into().map_err(|error: toml::de::Error| context.error(&setting, error.message()))?;
        config.validate().map_err(|error| context.error(&setting, error.to_string()))?;
        Ok(config)
    }

    fn check(&self, context: &Context) -> Result<(), Error> {
        let setting = format!("optimizers.{}.step_sizes", self.key);
        if self.step_sizes.is_empty() {
            return Err(context.error(&setting, "[] must name at least one step size"));
        }
        for &step_size in &self.step_sizes {
            context.positive(&setting, step_size)?;
        }
        if self.step_sizes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(context.error(&setting, format!("{:?} must increase", self.step_sizes)));
        }
        self.routing(self.step_sizes[0], context).map(drop)
    }
}

impl Training {
    /// The settings of a scale, if the experiment has it.
    pub fn at(&self, scale: Scale) -> Option<&TrainingScale> {
        self.scale.get(scale)
    }

    pub(super) fn check(&self, context: &Context) -> Result<(), Error> {
        context.at_least_one("batch_size", self.batch_size)?;
        context.at_least_one("evaluations_per_epoch", self.evaluations_per_epoch)?;
        if self.optimizers.is_empty() {
            return Err(context.error("optimizers", "[] must name at least one optimizer"));
        }
        for (i, optimizer) in self.optimizers.iter().enumerate() {
            if self.optimizers[..i].iter().any(|other| other.key == optimizer.key) {
                return Err(context.error("optimizers", format!("the key `{}` stands there twice", optimizer.key)));
            }
            optimizer.check(context)?;
        }
        self.scale.iter().try_for_each(|(scale, settings)| settings.check(scale, context))
    }
}

impl TrainingScale {
    fn check(&self, scale: Scale, context: &Context) -> Result<(), Error> {
        let setting = |name: &str| format!("scale.{}.{name}", scale.name());
        context.at_least_one(&setting("epochs"), self.epochs)?;
        context.seeds(&setting("seeds"), &self.seeds)?;
        context.seeds(&setting("tuning_seeds"), &self.tuning_seeds)?;
        if let Some(seed) = self.tuning_seeds.iter().find(|seed| self.seeds.contains(seed)) {
            return Err(context.error(
                &setting("tuning_seeds"),
                format!("{seed} is also in `seeds`; a step size must not be chosen on the runs that are shown"),
            ));
        }
        if self.cases.is_empty() {
            return Err(context.error(&setting("cases"), "[] must name at least one case"));
        }
        for (i, case) in self.cases.iter().enumerate() {
            if self.cases[..i].iter().any(|other| other.key == case.key) {
                return Err(context.error(&setting("cases"), format!("the key `{}` stands there twice", case.key)));
            }
            let setting = setting(&format!("cases.{}", case.key));
            for (name, value) in [("epochs", case.epochs), ("batch_size", case.batch_size)] {
                value.map_or(Ok(()), |value| context.at_least_one(&format!("{setting}.{name}"), value))?;
            }
            case.data.check(context, &format!("{setting}.data"))?;
            case.model.check(&case.data, context, &format!("{setting}.model"))?;
        }
        Ok(())
    }
}
