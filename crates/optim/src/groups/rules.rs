//! One rule for each role.

use serde::{Deserialize, Serialize};

use super::{Group, Role, Routing};
use crate::{AdamW, Result, RuleConfig};

/// One rule for each [`Role`]: a [`Routing`] of four groups with the names of the roles.
///
/// In settings, `matrix` is required; `head` and `embedding` take its rule when they are missing, and `vector` takes
/// [`RuleConfig::for_vectors`] of it. Serialization writes all four.
///
/// ```
/// use isorate_optim::{GroupRules, RuleConfig};
///
/// let groups: GroupRules = toml::from_str(
///     r#"
///     matrix = { rule = "muon", lr = 0.02 }
///     vector = { rule = "adamw", lr = 3e-4 }
///     "#,
/// )
/// .unwrap();
/// assert_eq!(groups.head, groups.matrix);
/// assert!(matches!(groups.vector, RuleConfig::AdamW(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Given")]
pub struct GroupRules {
    /// The rule for [`Role::Matrix`].
    pub matrix: RuleConfig,
    /// The rule for [`Role::Vector`].
    pub vector: RuleConfig,
    /// The rule for [`Role::Head`].
    pub head: RuleConfig,
    /// The rule for [`Role::Embedding`].
    pub embedding: RuleConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    matrix: RuleConfig,
    vector: Option<RuleConfig>,
    head: Option<RuleConfig>,
    embedding: Option<RuleConfig>,
}

impl From<Given> for GroupRules {
    fn from(given: Given) -> Self {
        let uniform = Self::uniform(given.matrix);
        Self {
            matrix: uniform.matrix,
            vector: given.vector.unwrap_or(uniform.vector),
            head: given.head.unwrap_or(uniform.head),
            embedding: given.embedding.unwrap_or(uniform.embedding),
        }
    }
}

impl GroupRules {
    /// Every matrix under one rule, heads and embeddings included, as in the experiments that study a rule; vectors
    /// under [`RuleConfig::for_vectors`] of it.
    pub fn uniform(rule: RuleConfig) -> Self {
        Self { vector: rule.clone().for_vectors(), head: rule.clone(), embedding: rule.clone(), matrix: rule }
    }

    /// Hidden matrices under one rule and everything else under another, as Muon is used in practice, with
    /// [`AdamW::beside_muon`] as the other.
    pub fn hidden(rule: RuleConfig, others: RuleConfig) -> Self {
        Self { matrix: rule, vector: others.clone(), head: others.clone(), embedding: others }
    }

    /// [`GroupRules::hidden`] with [`AdamW::beside_muon`].
    pub fn hidden_with_adamw(rule: RuleConfig) -> Self {
        Self::hidden(rule, RuleConfig::AdamW(AdamW::beside_muon()))
    }

    /// The rule of a group.
    pub fn get(&self, role: Role) -> &RuleConfig {
        match role {
            Role::Matrix => &self.matrix,
            Role::Vector => &self.vector,
            Role::Head => &self.head,
            Role::Embedding => &self.embedding,
        }
    }

    /// Checks the rules of all groups.
    ///
    /// # Errors
    /// [`Error::Group`](crate::Error::Group) for the first group whose rule is not valid.
    pub fn validate(&self) -> Result<()> {
        Routing::from(self).validate()
    }
}

impl From<&GroupRules> for Routing {
    fn from(rules: &GroupRules) -> Self {
        let group = |role: Role| Group::new(role.name(), rules.get(role).clone()).roles([role]);
        Self { groups: Role::ALL.map(group).to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Muon, SpecGd};

    #[test]
    fn missing_groups_follow_the_matrices() {
        let groups: GroupRules = toml::from_str("matrix = { rule = 'specgd', lr = 0.1 }").unwrap();
        assert_eq!(groups, GroupRules::uniform(RuleConfig::SpecGd(SpecGd::new(0.1))));
        assert_eq!(groups.vector.name(), "nmd");
        let written = toml::to_string(&groups).unwrap();
        assert_eq!(toml::from_str::<GroupRules>(&written).unwrap(), groups);
        for role in Role::ALL {
            assert!(written.contains(&format!("[{role}]")), "{written}");
        }
    }

    #[test]
    fn unknown_groups_and_invalid_rules_are_named() {
        let unknown = toml::from_str::<GroupRules>("matrix = { rule = 'ngd', lr = 1 }\nbias = { rule = 'ngd', lr = 1 }");
        assert!(unknown.unwrap_err().to_string().contains("unknown field `bias`"));
        let mut groups = GroupRules::hidden_with_adamw(RuleConfig::Muon(Muon::new(0.02)));
        assert!(groups.validate().is_ok());
        groups.head = groups.head.with_lr(-1.0);
        let message = groups.validate().unwrap_err().to_string();
        assert_eq!(message, "group `head`: adamw: lr = -1, but a learning rate must be positive and finite");
    }
}
