//! The division of parameters into groups.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::group::matches_pattern;
use super::{Group, GroupRules, NamedParam, Role, RoutingProblem, ShapeClass};
use crate::{AdamW, Error, Muon, Result, RuleConfig};

/// An ordered list of [`Group`]s: a parameter belongs to the first group that takes it.
///
/// [`Routing::hidden`] is the usual division for Muon and its relatives, and [`GroupRules`] the one
/// by role alone; both can be given to [`Optimizer::new`](crate::Optimizer::new), as can a list written out:
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use isorate_optim::{NamedParam, Optimizer, Routing};
///
/// let routing: Routing = toml::from_str(
///     r#"
///     [[groups]]
///     name = "backbone"
///     patterns = ["blocks.0.*"]
///     frozen = true
///
///     [[groups]]
///     name = "hidden"
///     roles = ["matrix"]
///     rule = { rule = "muon", lr = 0.02, weight_decay = 0.1 }
///
///     [[groups]]
///     name = "no decay"
///     patterns = ["*.bias", "*norm*"]
///     rule = { rule = "adamw", lr = 3e-4, weight_decay = 0 }
///
///     [[groups]]
///     name = "others"
///     rule = { rule = "adamw", lr = 3e-4, weight_decay = 0.1 }
///     "#,
/// )
/// .unwrap();
///
/// let shapes: [(&str, &[usize]); 6] = [
///     ("embed.weight", &[100, 8]),
///     ("blocks.0.fc.weight", &[8, 8]),
///     ("blocks.1.fc.weight", &[8, 8]),
///     ("norm.weight", &[8]),
///     ("head.weight", &[100, 8]),
///     ("head.bias", &[100]),
/// ];
/// let variable = |(name, shape): (&str, &[usize])| Ok((name.to_owned(), Var::zeros(shape, DType::F32, &Device::Cpu)?));
/// let variables = shapes.into_iter().map(variable).collect::<isorate_optim::Result<Vec<_>>>()?;
/// let mut optimizer = Optimizer::new(NamedParam::infer_all(variables), &routing)?;
/// assert_eq!(
///     optimizer.describe(),
///     "\
/// group     rule    lr      decay  parameters  elements
/// backbone  frozen  -       -               1        64
/// hidden    muon    0.02    0.1             1        64
/// no decay  adamw   0.0003  0               2       108
/// others    adamw   0.0003  0.1             2     1,600
/// total                                     6     1,836
///
/// parameter           group     rule    role       type  shape
/// blocks.1.fc.weight  hidden    muon    matrix     f32   [8, 8]
/// embed.weight        others    adamw   embedding  f32   [100, 8]
/// head.bias           no decay  adamw   vector     f32   [100]
/// head.weight         others    adamw   head       f32   [100, 8]
/// norm.weight         no decay  adamw   vector     f32   [8]
/// blocks.0.fc.weight  backbone  frozen  matrix     f32   [8, 8]
/// "
/// );
/// // Beside the schedule of all groups, each group can have its own.
/// optimizer.set_group_lr_factor("others", 0.5)?;
/// # Ok::<(), isorate_optim::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Routing {
    /// The groups, in the order in which they are asked.
    pub groups: Vec<Group>,
}

/// The largest number of input channels of a filter that reads an image: red, green, blue and one more.
const IMAGE_CHANNELS: usize = 4;

impl Default for Routing {
    /// Hidden matrices and filters under [`Muon`] with learning rate 0.02, the rest under [`AdamW::beside_muon`]: the
    /// division of [`Routing::hidden`].
    fn default() -> Self {
        Self::hidden(RuleConfig::Muon(Muon::new(0.02)), RuleConfig::AdamW(AdamW::beside_muon()))
    }
}

impl Routing {
    /// The groups in this order.
    pub fn new(groups: impl IntoIterator<Item = Group>) -> Self {
        Self { groups: groups.into_iter().collect() }
    }

    /// Hidden matrices and filters under one rule, the rest under another, as Muon is used in practice:
    ///
    /// | group | takes | update |
    /// |---|---|---|
    /// | `buffers` | running statistics of a batch normalization: `*running_mean`, `*running_var`, `*num_batches_tracked` | frozen |
    /// | `thin filters` | filters with at most 4 input channels: the first layer of a network for images, and depthwise convolutions [c, 1, …], whose rows have no inputs in common | `others` |
    /// | `hidden` | all other parameters with [`Role::Matrix`] | `rule` |
    /// | `others` | embeddings, heads, vectors | `others` |
    ///
    /// Sources: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024, for matrices, first
    /// layers, embeddings and heads. candle keeps the running statistics among the variables; they are no parameters.
    /// A first layer with more channels (a spectrogram), the first layer of a dense network, and a last layer that
    /// [`Role::infer`] cannot tell count as hidden; a group with their names, put before these four, changes that.
    ///
    /// ```
    /// use isorate_optim::{AdamW, Muon, Role, Routing, RuleConfig};
    ///
    /// let muon = RuleConfig::Muon(Muon { weight_decay: 0.1, ..Muon::new(0.02) });
    /// let routing = Routing::hidden(muon, RuleConfig::AdamW(AdamW::beside_muon()));
    /// let rule = |name, shape: &[usize]| {
    ///     let group = routing.group_of(name, Role::infer(name, shape), shape).unwrap();
    ///     group.rule.as_ref().map(RuleConfig::name)
    /// };
    /// assert_eq!(rule("layer1.0.conv1.weight", &[64, 64, 3, 3]), Some("muon"));
    /// assert_eq!(rule("conv1.weight", &[64, 3, 7, 7]), Some("adamw"));
    /// assert_eq!(rule("fc.weight", &[1000, 512]), Some("adamw"));
    /// assert_eq!(rule("bn1.running_mean", &[64]), None);
    /// ```
    pub fn hidden(rule: RuleConfig, others: RuleConfig) -> Self {
        Self::new([
            Group::frozen("buffers").patterns(["*running_mean", "*running_var", "*num_batches_tracked"]).optional(),
            Group::new("thin filters", others.clone())
                .roles([Role::Matrix])
                .shapes([ShapeClass::Filter])
                .max_inputs(IMAGE_CHANNELS),
            Group::new("hidden", rule).roles([Role::Matrix]),
            Group::new("others", others),
        ])
    }

    /// Every matrix under one rule, whatever its role; vectors under [`RuleConfig::for_vectors`] of it: the groups of
    /// [`GroupRules::uniform`].
    pub fn uniform(rule: RuleConfig) -> Self {
        Self::from(&GroupRules::uniform(rule))
    }

    /// The group that a parameter belongs to.
    pub fn group_of(&self, name: &str, role: Role, shape: &[usize]) -> Option<&Group> {
        self.groups.iter().find(|group| group.takes(name, role, shape))
    }

    /// Checks the groups by themselves, without parameters.
    ///
    /// # Errors
    /// [`Error::Group`] when a rule is not valid, [`Error::Routing`] when the list is empty, a name is empty or appears
    /// twice, a condition cannot be met, or a group comes after one that takes everything.
    pub fn validate(&self) -> Result<()> {
        if self.groups.is_empty() {
            return Err(RoutingProblem::NoGroups.into());
        }
        let mut names: BTreeSet<&str> = BTreeSet::new();
        let mut catch_all: Option<&Group> = None;
        for (i, group) in self.groups.iter().enumerate() {
            if group.name.is_empty() {
                return Err(RoutingProblem::EmptyName { position: i + 1 }.into());
            }
            if !names.insert(&group.name) {
                return Err(RoutingProblem::DuplicateName(group.name.clone()).into());
            }
            if let Some(before) = catch_all {
                let (group, before) = (group.name.clone(), before.name.clone());
                return Err(RoutingProblem::Unreachable { group, before }.into());
            }
            group.validate()?;
            if group.takes_everything() {
                catch_all = Some(group);
            }
        }
        Ok(())
    }

    /// The index of the group of every parameter.
    pub(crate) fn assign(&self, params: &[NamedParam]) -> Result<Vec<usize>> {
        let index = |param: &NamedParam| {
            let shape = param.var.dims();
            self.groups.iter().position(|group| group.takes(&param.name, param.role, shape)).ok_or_else(|| {
                RoutingProblem::Unassigned {
                    name: param.name.clone(),
                    shape: shape.to_vec(),
                    role: param.role,
                    groups: self.names(),
                }
            })
        };
        let assigned: Vec<usize> = params.iter().map(index).collect::<Result<_, RoutingProblem>>()?;
        for (i, group) in self.groups.iter().enumerate() {
            if !group.optional {
                self.check_patterns(group, i, params, &assigned)?;
            }
        }
        Ok(assigned)
    }

    /// An error for a pattern that matches nothing, and for a group with patterns that got nothing.
    fn check_patterns(&self, group: &Group, i: usize, params: &[NamedParam], assigned: &[usize]) -> Result<()> {
        let mut first = None;
        for pattern in &group.patterns {
            let Some(matched) = params.iter().position(|param| matches_pattern(pattern, &param.name)) else {
                let names = params.iter().map(|param| param.name.clone()).collect();
                let (group, pattern) = (group.name.clone(), pattern.clone());
                return Err(RoutingProblem::UnmatchedPattern { group, pattern, names }.into());
            };
            first = first.or(Some(matched));
        }
        if let (Some(first), false) = (first, assigned.contains(&i)) {
            let reason = if assigned[first] < i {
                let before = &self.groups[assigned[first]].name;
                format!("group `{before}` before it took it\nhint: put `{}` before `{before}`", group.name)
            } else {
                "not its other conditions".to_owned()
            };
            let (group, name) = (group.name.clone(), params[first].name.clone());
            return Err(RoutingProblem::EmptyGroup { group, name, reason }.into());
        }
        Ok(())
    }

    /// The names of the groups.
    pub(crate) fn names(&self) -> Vec<String> {
        self.groups.iter().map(|group| group.name.clone()).collect()
    }
}

impl From<&Routing> for Routing {
    fn from(routing: &Routing) -> Self {
        routing.clone()
    }
}

impl From<RoutingProblem> for Error {
    fn from(problem: RoutingProblem) -> Self {
        Self::Routing(problem)
    }
}
