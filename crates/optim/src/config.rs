//! The choice of a rule with its hyperparameters, as it stands in a settings file.

use candle_core::Var;
use serde::{Deserialize, Serialize};

use crate::rules::{Adam, AdamW, Muon, Nmd, Rule, Sgd, Signum, SpecGd, matrix_shape};
use crate::{Error, Result, Role};

/// One update rule with its hyperparameters.
///
/// In settings it is a table whose key `rule` chooses among `sgd`, `adam`, `adamw`, `nmd`, `signum`, `specgd` and
/// `muon`, and also `ngd` and `signgd`, which are `nmd` and `signum` without momentum. `lr` is required; every other
/// hyperparameter has the default stated in the documentation of its rule. Unknown keys are errors. Serialization
/// writes every hyperparameter, under the first seven names.
///
/// ```
/// use isorate_optim::RuleConfig;
///
/// let rule: RuleConfig = toml::from_str("rule = 'ngd'\nlr = 0.1").unwrap();
/// assert_eq!(toml::to_string(&rule).unwrap(), "rule = \"nmd\"\nlr = 0.1\nmomentum = 0.0\n");
/// assert!(toml::from_str::<RuleConfig>("rule = 'adam'\nlr = 0.1\nbeta = 0.9").is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// The names that `rule = "…"` accepts.
pub(crate) const RULE_NAMES: [&str; 9] = ["sgd", "adam", "adamw", "ngd", "nmd", "signgd", "signum", "specgd", "muon"];

impl RuleConfig {
    /// The name of the rule in settings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::AdamW(_) => "adamw",
            Self::Nmd(_) => "nmd",
            Self::Signum(_) => "signum",
            Self::SpecGd(_) => "specgd",
            Self::Muon(_) => "muon",
        }
    }

    /// The learning rate.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(rule) => rule.lr,
            Self::Adam(rule) => rule.lr,
            Self::AdamW(rule) => rule.lr,
            Self::Nmd(rule) => rule.lr,
            Self::Signum(rule) => rule.lr,
            Self::SpecGd(rule) => rule.lr,
            Self::Muon(rule) => rule.lr,
        }
    }

    /// The same rule with another learning rate, for a grid of them.
    #[must_use]
    pub fn with_lr(mut self, lr: f64) -> Self {
        match &mut self {
            Self::Sgd(rule) => rule.lr = lr,
            Self::Adam(rule) => rule.lr = lr,
            Self::AdamW(rule) => rule.lr = lr,
            Self::Nmd(rule) => rule.lr = lr,
            Self::Signum(rule) => rule.lr = lr,
            Self::SpecGd(rule) => rule.lr = lr,
            Self::Muon(rule) => rule.lr = lr,
        }
        self
    }

    /// Whether the rule needs parameters of at least two dimensions.
    pub fn needs_matrices(&self) -> bool {
        matches!(self, Self::SpecGd(_) | Self::Muon(_))
    }

    /// What vectors get when every parameter is under this rule: the rule itself if it accepts them; for SpecGD, NGD
    /// with the same learning rate, which is steepest descent in the norm that fits a vector; for Muon,
    /// [`AdamW::beside_muon`].
    #[must_use]
    pub fn for_vectors(self) -> Self {
        match self {
            Self::SpecGd(rule) => Self::Nmd(Nmd::ngd(rule.lr)),
            Self::Muon(_) => Self::AdamW(AdamW::beside_muon()),
            other => other,
        }
    }

    /// Checks every hyperparameter.
    ///
    /// # Errors
    /// [`Error::Setting`] for a learning rate that is not positive and finite, a momentum or β outside [0, 1), a
    /// negative ε or weight decay, Nesterov without momentum in SGD, or an iteration of no steps.
    pub fn validate(&self) -> Result<()> {
        match self {
            Self::Sgd(rule) => rule.validate(),
            Self::Adam(rule) => rule.validate(),
            Self::AdamW(rule) => rule.validate(),
            Self::Nmd(rule) => rule.validate(),
            Self::Signum(rule) => rule.validate(),
            Self::SpecGd(rule) => rule.validate(),
            Self::Muon(rule) => rule.validate(),
        }
    }

    /// The rule with fresh state for one parameter.
    pub(crate) fn build(&self, name: &str, role: Role, weight: &Var) -> Result<Box<dyn Rule>> {
        let matrix = || {
            matrix_shape(weight.dims()).ok_or_else(|| Error::NotAMatrix {
                name: name.to_owned(),
                shape: weight.dims().to_vec(),
                role,
                rule: self.name(),
            })
        };
        Ok(match self {
            Self::Sgd(rule) => Box::new(rule.build(weight)?),
            Self::Adam(rule) => Box::new(rule.build(weight)?),
            Self::AdamW(rule) => Box::new(rule.build(weight)?),
            Self::Nmd(rule) => Box::new(rule.build(weight)?),
            Self::Signum(rule) => Box::new(rule.build(weight)?),
            Self::SpecGd(rule) => Box::new(rule.build(matrix()?)),
            Self::Muon(rule) => Box::new(rule.build(weight, matrix()?)?),
        })
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
}

/// A rule whose momentum may be spelled out, as 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WithoutMomentum {
    lr: f64,
    #[serde(default)]
    momentum: f64,
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
            Tagged::Ngd(rule) => Self::Nmd(Nmd::ngd(rule.lr("ngd", "nmd")?)),
            Tagged::Nmd(rule) => Self::Nmd(rule),
            Tagged::SignGd(rule) => Self::Signum(Signum::signgd(rule.lr("signgd", "signum")?)),
            Tagged::Signum(rule) => Self::Signum(rule),
            Tagged::SpecGd(rule) => Self::SpecGd(rule),
            Tagged::Muon(rule) => Self::Muon(rule),
        })
    }
}
