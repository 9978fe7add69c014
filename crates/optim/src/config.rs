//! The choice of a rule with its hyperparameters, as it stands in a settings file.

use candle_core::Var;
use serde::{Deserialize, Serialize};

use crate::rules::{
    Adam, AdamW, Dion, Muon, Nmd, Power, Rule, Scion, ScionNorm, Sgd, Shampoo, Signum, Soap, SpecGd, matrix_shape,
};
use crate::{Error, Result, Role};

/// What every set of hyperparameters can do.
pub(crate) trait Hyper {
    /// The name of the rule in settings.
    const NAME: &'static str;
    /// The weight decay.
    fn weight_decay(&self) -> f64;
    /// Checks every hyperparameter.
    fn validate(&self) -> Result<()>;
    /// The rule with fresh state for one parameter.
    fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>>;
}

/// The parameter that a rule is built for.
#[derive(Clone, Copy)]
pub(crate) struct Param<'a> {
    pub name: &'a str,
    pub role: Role,
    /// The name of its group.
    pub group: &'a str,
    /// f32 or f64.
    pub var: &'a Var,
}

impl Param<'_> {
    /// The matrix [r, c] that a rule for matrices sees.
    pub fn matrix(&self, rule: &'static str) -> Result<(usize, usize)> {
        matrix_shape(self.var.dims()).ok_or_else(|| Error::NotAMatrix {
            name: self.name.to_owned(),
            shape: self.var.dims().to_vec(),
            group: self.group.to_owned(),
            rule,
        })
    }
}

/// One update rule with its hyperparameters.
///
/// In settings it is a table whose key `rule` chooses among `sgd`, `adam`, `adamw`, `nmd`, `signum`, `specgd`, `muon`,
/// `shampoo`, `soap`, `dion`, `scion` and `power`, and also `ngd` and `signgd`, which are `nmd` and `signum` without
/// momentum. `lr` is required; every other hyperparameter has the default stated in the documentation of its rule.
/// Unknown keys are errors. Serialization uses the first twelve names and writes every hyperparameter that has a meaning
/// of its own; `weight_decay` of `nmd`, `signum`, `specgd` and `power` only when it is not 0.
///
/// ```
/// use isorate_optim::RuleConfig;
///
/// let rule: RuleConfig = toml::from_str("rule = 'ngd'\nlr = 0.1").unwrap();
/// assert_eq!(toml::to_string(&rule).unwrap(), "rule = \"nmd\"\nlr = 0.1\nmomentum = 0.0\n");
/// assert!(toml::from_str::<RuleConfig>("rule = 'adam'\nlr = 0.1\nbeta = 0.9").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase", try_from = "Tagged")]
pub enum RuleConfig {
    /// Stochastic gradient descent with momentum.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
    /// Normalized momentum descent; NGD without momentum.
    Nmd(Nmd),
    /// Sign descent with momentum; SignGD without.
    Signum(Signum),
    /// Spectral gradient descent.
    SpecGd(SpecGd),
    /// Muon.
    Muon(Muon),
    /// Shampoo.
    Shampoo(Shampoo),
    /// SOAP.
    Soap(Soap),
    /// Dion.
    Dion(Dion),
    /// Scion.
    Scion(Scion),
    /// The spectral-power rule.
    Power(Power),
}

/// The names that `rule = "…"` accepts.
pub(crate) const RULE_NAMES: [&str; 14] =
    ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "specgd", "muon", "shampoo", "soap", "dion", "scion", "power"];

/// The same expression for the hyperparameters of whichever rule it is.
macro_rules! each {
    ($config:expr, $rule:ident => $body:expr) => {
        match $config {
            RuleConfig::Sgd($rule) => $body,
            RuleConfig::Adam($rule) => $body,
            RuleConfig::AdamW($rule) => $body,
            RuleConfig::Nmd($rule) => $body,
            RuleConfig::Signum($rule) => $body,
            RuleConfig::SpecGd($rule) => $body,
            RuleConfig::Muon($rule) => $body,
            RuleConfig::Shampoo($rule) => $body,
            RuleConfig::Soap($rule) => $body,
            RuleConfig::Dion($rule) => $body,
            RuleConfig::Scion($rule) => $body,
            RuleConfig::Power($rule) => $body,
        }
    };
}

fn name_of<H: Hyper>(_: &H) -> &'static str {
    H::NAME
}

impl RuleConfig {
    /// The name of the rule in settings.
    pub fn name(&self) -> &'static str {
        each!(self, rule => name_of(rule))
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        each!(self, rule => rule.lr)
    }

    /// The same rule with another learning rate, for a grid of them.
    #[must_use]
    pub fn with_lr(mut self, lr: f64) -> Self {
        each!(&mut self, rule => rule.lr = lr);
        self
    }

    /// The weight decay: 1 for Scion in its constrained form, 0 in the other.
    pub fn weight_decay(&self) -> f64 {
        each!(self, rule => rule.weight_decay())
    }

    /// Whether the rule needs parameters of at least two dimensions.
    pub fn needs_matrices(&self) -> bool {
        match self {
            Self::SpecGd(_) | Self::Muon(_) | Self::Dion(_) => true,
            Self::Scion(rule) => rule.norm.needs_matrices(),
            _ => false,
        }
    }

    /// Whether the rule treats a tensor of three or more dimensions as a matrix.
    pub(crate) fn flattens_filters(&self) -> bool {
        !matches!(self, Self::Sgd(_) | Self::Adam(_) | Self::AdamW(_) | Self::Nmd(_) | Self::Signum(_))
    }

    /// What vectors get when every parameter is under this rule: the rule itself if it accepts them; for SpecGD, NGD
    /// with the same learning rate, which is steepest descent in the norm that fits a vector; for Muon and Dion,
    /// [`AdamW::beside_muon`]; for Scion, Scion in the norm for vectors.
    #[must_use]
    pub fn for_vectors(self) -> Self {
        match self {
            Self::SpecGd(rule) => Self::Nmd(Nmd { weight_decay: rule.weight_decay, ..Nmd::ngd(rule.lr) }),
            Self::Muon(_) | Self::Dion(_) => Self::AdamW(AdamW::beside_muon()),
            Self::Scion(rule) if rule.norm.needs_matrices() => Self::Scion(Scion { norm: ScionNorm::Auto, ..rule }),
            other => other,
        }
    }

    /// Checks every hyperparameter.
    ///
    /// # Errors
    /// [`Error::Setting`] for a learning rate that is not positive and finite, a momentum or β outside its range, a
    /// negative ε or weight decay, Nesterov without momentum in SGD, or an iteration, period or block size of 0.
    pub fn validate(&self) -> Result<()> {
        each!(self, rule => rule.validate())
    }

    /// The rule with fresh state for one parameter.
    pub(crate) fn build(&self, param: &Param<'_>) -> Result<Box<dyn Rule>> {
        each!(self, rule => rule.build(param))
    }
}

/// What settings may say: the rules and their forms without momentum.
#[derive(Deserialize)]
#[serde(tag = "rule", rename_all = "lowercase")]
enum Tagged {
    Sgd(Sgd),
    Adam(Adam),
    AdamW(AdamW),
    Ngd(WithoutMomentum),
    Nmd(Nmd),
    SignGd(WithoutMomentum),
    Signum(Signum),
    SpecGd(SpecGd),
    Muon(Muon),
    Shampoo(Shampoo),
    Soap(Soap),
    Dion(Dion),
    Scion(Scion),
    Power(Power),
}

/// A rule whose momentum may be spelled out, as 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithoutMomentum {
    lr: f64,
    #[serde(default)]
    momentum: f64,
    #[serde(default)]
    weight_decay: f64,
}

impl WithoutMomentum {
    fn lr(&self, rule: &str, instead: &str) -> Result<f64, String> {
        if self.momentum == 0.0 {
            Ok(self.lr)
        } else {
            Err(format!("{rule}: momentum = {}, but {rule} has none; use rule = \"{instead}\"", self.momentum))
        }
    }
}

impl TryFrom<Tagged> for RuleConfig {
    type Error = String;

    fn try_from(tagged: Tagged) -> Result<Self, String> {
        Ok(match tagged {
            Tagged::Sgd(rule) => Self::Sgd(rule),
            Tagged::Adam(rule) => Self::Adam(rule),
            Tagged::AdamW(rule) => Self::AdamW(rule),
            Tagged::Ngd(rule) => Self::Nmd(Nmd { weight_decay: rule.weight_decay, ..Nmd::ngd(rule.lr("ngd", "nmd")?) }),
            Tagged::Nmd(rule) => Self::Nmd(rule),
            Tagged::SignGd(rule) => {
                Self::Signum(Signum { weight_decay: rule.weight_decay, ..Signum::signgd(rule.lr("signgd", "signum")?) })
            }
            Tagged::Signum(rule) => Self::Signum(rule),
            Tagged::SpecGd(rule) => Self::SpecGd(rule),
            Tagged::Muon(rule) => Self::Muon(rule),
            Tagged::Shampoo(rule) => Self::Shampoo(rule),
            Tagged::Soap(rule) => Self::Soap(rule),
            Tagged::Dion(rule) => Self::Dion(rule),
            Tagged::Scion(rule) => Self::Scion(rule),
            Tagged::Power(rule) => Self::Power(rule),
        })
    }
}
