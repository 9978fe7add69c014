//! One group of parameters: which ones it takes, and what happens to them.

use serde::{Deserialize, Serialize};

use super::{Role, RoutingProblem};
use crate::{Error, Result, RuleConfig};

/// One group of a [`Routing`](crate::Routing): which parameters it takes, and by which rule they are updated.
///
/// A parameter is taken when it meets every condition that is given; a group without conditions takes everything.
///
/// | key | condition |
/// |---|---|
/// | `patterns` | the name matches one of them: `*` stands for any characters, `.` included, `?` for one; the whole name must match, in the same case |
/// | `roles` | its [`Role`] is one of them: `matrix`, `vector`, `head`, `embedding` |
/// | `shapes` | its [`ShapeClass`] is one of them: `vector`, `matrix`, `filter` |
/// | `max_inputs` | it has at least two dimensions, and the second is at most this long |
///
/// In settings, `rule` is a [`RuleConfig`] with its own learning rate and weight decay; `frozen = true` stands in its
/// place for parameters that are not updated. A frozen parameter has no state, its gradient is not looked at, and its
/// element type does not matter.
///
/// A pattern that matches no name, and a group with patterns that gets no parameter, are errors: they are spelling
/// mistakes, or groups in the wrong order. Settings that serve several models say `optional = true`. A group without
/// patterns may stay empty, since not every model has embeddings or filters.
///
/// ```
/// use isorate_optim::{Group, RuleConfig, Role};
///
/// let group: Group = toml::from_str(
///     r#"
///     name = "attention"
///     patterns = ["blocks.*.attn.*", "blocks.*.cross_attn.*"]
///     roles = ["matrix"]
///     rule = { rule = "muon", lr = 0.02, weight_decay = 0.1 }
///     "#,
/// )?;
/// assert!(group.takes("blocks.3.attn.qkv.weight", Role::Matrix, &[1152, 384]));
/// assert!(!group.takes("blocks.3.attn.qkv.bias", Role::Vector, &[1152]));
/// assert!(!group.takes("blocks.3.mlp.fc1.weight", Role::Matrix, &[1536, 384]));
///
/// let frozen: Group = toml::from_str("name = 'backbone'\npatterns = ['encoder.*']\nfrozen = true")?;
/// assert_eq!(frozen, Group::frozen("backbone").patterns(["encoder.*"]));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Fields", try_from = "Fields")]
pub struct Group {
    /// The name, for errors, tables and [`Optimizer::set_group_lr_factor`](crate::Optimizer::set_group_lr_factor).
    pub name: String,
    /// Patterns of names; any name when empty.
    pub patterns: Vec<String>,
    /// Roles; any role when empty.
    pub roles: Vec<Role>,
    /// Classes of shapes; any shape when empty.
    pub shapes: Vec<ShapeClass>,
    /// The largest second dimension. For a filter that is the number of input channels, of one group of a grouped
    /// convolution: at most 4 for the layer that reads an image, and 1 for a depthwise convolution.
    pub max_inputs: Option<usize>,
    /// Whether patterns without a parameter are no error.
    pub optional: bool,
    /// The rule; None for frozen parameters.
    pub rule: Option<RuleConfig>,
}

/// A class of shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShapeClass {
    /// Less than two dimensions.
    Vector,
    /// Two dimensions, [r, c].
    Matrix,
    /// Three or more dimensions, as filters of a convolution, [out, in, …]. Rules for matrices see [out, in·…].
    Filter,
}

impl ShapeClass {
    /// The class of a shape.
    ///
    /// ```
    /// use isorate_optim::ShapeClass;
    ///
    /// assert_eq!(ShapeClass::of(&[64]), ShapeClass::Vector);
    /// assert_eq!(ShapeClass::of(&[64, 1]), ShapeClass::Matrix);
    /// assert_eq!(ShapeClass::of(&[64, 3, 7, 7]), ShapeClass::Filter);
    /// ```
    pub fn of(shape: &[usize]) -> Self {
        match shape.len() {
            0 | 1 => Self::Vector,
            2 => Self::Matrix,
            _ => Self::Filter,
        }
    }
}

impl Group {
    /// A group that takes every parameter and updates it by `rule`; conditions are added by the methods below.
    pub fn new(name: impl Into<String>, rule: RuleConfig) -> Self {
        Self { rule: Some(rule), ..Self::frozen(name) }
    }

    /// A group that takes every parameter and leaves it as it is.
    pub fn frozen(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            patterns: Vec::new(),
            roles: Vec::new(),
            shapes: Vec::new(),
            max_inputs: None,
            optional: false,
            rule: None,
        }
    }

    /// The group with these patterns of names.
    #[must_use]
    pub fn patterns<P: Into<String>>(mut self, patterns: impl IntoIterator<Item = P>) -> Self {
        self.patterns = patterns.into_iter().map(Into::into).collect();
        self
    }

    /// The group with these roles.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }

    /// The group with these classes of shapes.
    #[must_use]
    pub fn shapes(mut self, shapes: impl IntoIterator<Item = ShapeClass>) -> Self {
        self.shapes = shapes.into_iter().collect();
        self
    }

    /// The group with a largest second dimension.
    #[must_use]
    pub fn max_inputs(mut self, inputs: usize) -> Self {
        self.max_inputs = Some(inputs);
        self
    }

    /// The group, which may stay without parameters.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Whether a parameter meets the conditions.
    pub fn takes(&self, name: &str, role: Role, shape: &[usize]) -> bool {
        (self.patterns.is_empty() || self.patterns.iter().any(|pattern| matches_pattern(pattern, name)))
            && (self.roles.is_empty() || self.roles.contains(&role))
            && (self.shapes.is_empty() || self.shapes.contains(&ShapeClass::of(shape)))
            && self.max_inputs.is_none_or(|limit| shape.get(1).is_some_and(|&inputs| inputs <= limit))
    }

    /// Whether there are no conditions.
    pub(super) fn takes_everything(&self) -> bool {
        self.patterns.is_empty() && self.roles.is_empty() && self.shapes.is_empty() && self.max_inputs.is_none()
    }

    /// Checks the rule and the conditions.
    pub(super) fn validate(&self) -> Result<()> {
        let bad = |condition| Err(RoutingProblem::Condition { group: self.name.clone(), condition }.into());
        if self.patterns.iter().any(String::is_empty) {
            return bad("an empty pattern matches no name");
        }
        if self.max_inputs == Some(0) {
            return bad("max_inputs = 0, but every parameter has at least 1");
        }
        let rule = self.rule.as_ref().map_or(Ok(()), RuleConfig::validate);
        rule.map_err(|e| Error::Group { group: self.name.clone(), problem: Box::new(e) })
    }
}

/// Whether a pattern with `*` and `?` matches the whole name.
pub(super) fn matches_pattern(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not fit: after the star, with one more character under it.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after_star, start)) = retry else {
                    return false;
                };
                retry = Some((after_star, start + 1));
                (p, n) = (after_star, start + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// A group as it stands in settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    name: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    patterns: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shapes: Vec<ShapeClass>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_inputs: Option<usize>,
    #[serde(default, skip_serializing_if = "is_false")]
    optional: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    frozen: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<RuleConfig>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl From<Group> for Fields {
    fn from(group: Group) -> Self {
        let Group { name, patterns, roles, shapes, max_inputs, optional, rule } = group;
        Self { name, patterns, roles, shapes, max_inputs, optional, frozen: rule.is_none(), rule }
    }
}

impl TryFrom<Fields> for Group {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let Fields { name, patterns, roles, shapes, max_inputs, optional, frozen, rule } = fields;
        match (frozen, &rule) {
            (true, Some(rule)) => Err(format!("group `{name}` is frozen, but has the rule {}; remove one", rule.name())),
            (false, None) => Err(format!("group `{name}` has neither a `rule` nor `frozen = true`")),
            _ => Ok(Self { name, patterns, roles, shapes, max_inputs, optional, rule }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AdamW, Sgd};

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("*", "", true),
            ("*", "a.b", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("", "a", false),
            ("*.bias", "h.0.attn.bias", true),
            ("*.bias", "bias", false),
            ("*bias", "bias", true),
            ("*.bias", "h.bias.weight", false),
            ("blocks.*.attn.*", "blocks.10.attn.qkv.weight", true),
            ("blocks.*.attn.*", "blocks.10.mlp.attn.weight", true),
            ("blocks.*.attn.*", "blocks.10.mlp.fc1.weight", false),
            ("h.?.ln_?.weight", "h.3.ln_1.weight", true),
            ("h.?.ln_?.weight", "h.13.ln_1.weight", false),
            ("*a*a*b", "aaaaaaab", true),
            ("*a*a*b", "aaaaaaa", false),
            ("**", "x", true),
            ("?", "é", true),
            ("A*", "abc", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} on {name}");
        }
        // No exponential search.
        assert!(!matches_pattern(&"*a".repeat(200), &"a".repeat(199)));
    }

    #[test]
    fn every_condition_must_hold() {
        let all = Group::new("all", RuleConfig::Sgd(Sgd::new(0.1)));
        assert!(all.takes("", Role::Vector, &[]));
        let narrow = all.clone().roles([Role::Matrix, Role::Head]).shapes([ShapeClass::Filter]).max_inputs(4).patterns(["a*"]);
        assert!(narrow.takes("a", Role::Matrix, &[8, 4, 3, 3]));
        assert!(narrow.takes("a", Role::Head, &[8, 1, 3]));
        assert!(!narrow.takes("b", Role::Matrix, &[8, 4, 3, 3]));
        assert!(!narrow.takes("a", Role::Embedding, &[8, 4, 3, 3]));
        assert!(!narrow.takes("a", Role::Matrix, &[8, 4]));
        assert!(!narrow.takes("a", Role::Matrix, &[8, 5, 3, 3]));
        assert!(!all.max_inputs(4).takes("a", Role::Vector, &[3]));
    }

    #[test]
    fn settings_hold_a_rule_or_freeze() {
        let parse = |text: &str| toml::from_str::<Group>(text).map_err(|e| e.message().to_owned());
        let group = Group::new("g", RuleConfig::AdamW(AdamW::new(0.1))).roles([Role::Head]).shapes([ShapeClass::Matrix]);
        for group in [group.clone().max_inputs(3).optional().patterns(["a", "b"]), group, Group::frozen("f")] {
            assert_eq!(parse(&toml::to_string(&group).unwrap()).unwrap(), group);
        }
        assert_eq!(toml::to_string(&Group::frozen("f")).unwrap(), "name = \"f\"\nfrozen = true\n");
        let problem = |text: &str| parse(text).unwrap_err();
        assert_eq!(problem("name = 'g'"), "group `g` has neither a `rule` nor `frozen = true`");
        let both = problem("name = 'g'\nfrozen = true\nrule = { rule = 'sgd', lr = 1 }");
        assert_eq!(both, "group `g` is frozen, but has the rule sgd; remove one");
        assert!(problem("name = 'g'\nfrozen = true\npattern = ['a']").contains("unknown field `pattern`"));
        assert!(problem("name = 'g'\nfrozen = true\nroles = ['bias']").contains("unknown variant `bias`"));
        assert!(problem("name = 'g'\nfrozen = true\nshapes = ['conv']").contains("unknown variant `conv`"));
        assert!(problem("name = 'g'\nrule = { rule = 'sgd', lr = 1, beta = 2 }").contains("unknown field `beta`"));
        assert!(problem("frozen = true").contains("missing field `name`"));
    }

    #[test]
    fn bad_conditions_and_rules_are_named() {
        let problem = |group: &Group| group.validate().unwrap_err().to_string();
        let good = Group::new("g", RuleConfig::Sgd(Sgd::new(0.1)));
        assert!(good.validate().is_ok());
        assert_eq!(problem(&good.clone().patterns(["a", ""])), "group `g`: an empty pattern matches no name");
        assert_eq!(problem(&good.max_inputs(0)), "group `g`: max_inputs = 0, but every parameter has at least 1");
        let fast = Group::new("g", RuleConfig::Sgd(Sgd::new(-1.0)));
        assert_eq!(problem(&fast), "group `g`: sgd: lr = -1, but a learning rate must be positive and finite");
    }
}
