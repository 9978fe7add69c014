//! Parameter groups: which parameter gets which rule.

use candle_core::Var;
use serde::{Deserialize, Serialize};

use crate::{AdamW, Error, Result, RuleConfig};

/// The group of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A hidden weight matrix, or the filters of a convolution.
    Matrix,
    /// A bias, a gain, or any other tensor of less than two dimensions.
    Vector,
    /// The weight matrix of the output layer.
    Head,
    /// A table of embeddings.
    Embedding,
}

impl Role {
    /// All roles, in their order.
    pub const ALL: [Self; 4] = [Self::Matrix, Self::Vector, Self::Head, Self::Embedding];

    /// The name of the role in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Matrix => "matrix",
            Self::Vector => "vector",
            Self::Head => "head",
            Self::Embedding => "embedding",
        }
    }

    /// Guesses the role of a parameter from its shape and its name.
    ///
    /// A tensor of less than two dimensions is a [`Role::Vector`], whatever its name. Otherwise the name of the layer
    /// decides: the last segment between `.` or `/`, or the one before a final `weight`, in lower case. The names
    /// `embed`, `embedding`, `embeddings`, `emb`, `tok_embeddings`, `embed_tokens`, `word_embeddings`,
    /// `position_embeddings`, `token_type_embeddings`, `wte` and `wpe` mean [`Role::Embedding`]; `head`, `lm_head`,
    /// `classifier`, `fc`, `output` and `out` mean [`Role::Head`]; any other is a [`Role::Matrix`]. A model that names
    /// its layers otherwise should state the roles itself.
    ///
    /// ```
    /// use isorate_optim::Role;
    ///
    /// assert_eq!(Role::infer("fc1.weight", &[200, 784]), Role::Matrix);
    /// assert_eq!(Role::infer("head.weight", &[10, 200]), Role::Head);
    /// assert_eq!(Role::infer("head.bias", &[10]), Role::Vector);
    /// assert_eq!(Role::infer("wte.weight", &[50257, 768]), Role::Embedding);
    /// ```
    pub fn infer(name: &str, shape: &[usize]) -> Self {
        const EMBEDDINGS: [&str; 11] = [
            "embed",
            "embedding",
            "embeddings",
            "emb",
            "tok_embeddings",
            "embed_tokens",
            "word_embeddings",
            "position_embeddings",
            "token_type_embeddings",
            "wte",
            "wpe",
        ];
        const HEADS: [&str; 6] = ["head", "lm_head", "classifier", "fc", "output", "out"];
        if shape.len() < 2 {
            return Self::Vector;
        }
        let name = name.to_lowercase();
        let mut segments: Vec<&str> = name.split(['.', '/']).collect();
        if segments.len() > 1 && segments.last() == Some(&"weight") {
            segments.pop();
        }
        // The layer's own name counts; `embeddings.dense` is a matrix, and so is `head.mlp`.
        match segments.last() {
            Some(last) if EMBEDDINGS.contains(last) => Self::Embedding,
            Some(last) if HEADS.contains(last) => Self::Head,
            _ => Self::Matrix,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// The rule of each group.
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
    /// [`Error::Group`] for the first group whose rule is not valid.
    pub fn validate(&self) -> Result<()> {
        for role in Role::ALL {
            self.get(role).validate().map_err(|e| Error::Group { role, problem: Box::new(e) })?;
        }
        Ok(())
    }
}

/// A parameter with its name and its group.
#[derive(Clone, Debug)]
pub struct NamedParam {
    /// The name, used in errors and in [`Optimizer::describe`](crate::Optimizer::describe).
    pub name: String,
    /// The group.
    pub role: Role,
    /// The parameter itself. Clones of a `Var` share their values.
    pub var: Var,
}

impl NamedParam {
    /// A parameter with its name and its group.
    pub fn new(name: impl Into<String>, role: Role, var: Var) -> Self {
        Self { name: name.into(), role, var }
    }

    /// Parameters sorted by name, with roles from [`Role::infer`].
    ///
    /// The order of the input does not matter, so the entries of a `candle_nn::VarMap`, which come in the order of a
    /// hash map, can be given as they are.
    pub fn infer_all(vars: impl IntoIterator<Item = (String, Var)>) -> Vec<Self> {
        let mut params: Vec<Self> =
            vars.into_iter().map(|(name, var)| Self { role: Role::infer(&name, var.dims()), name, var }).collect();
        params.sort_by(|a, b| a.name.cmp(&b.name));
        params
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Muon, SpecGd};

    #[test]
    fn roles_follow_shape_then_name() {
        let cases: [(&str, &[usize], Role); 14] = [
            ("layers.0.weight", &[3, 4], Role::Matrix),
            ("conv1.weight", &[16, 3, 5, 5], Role::Matrix),
            ("head.weight", &[3, 4], Role::Head),
            ("head", &[3, 4], Role::Head),
            ("model/lm_head/weight", &[3, 4], Role::Head),
            ("fc.weight", &[3, 4], Role::Head),
            ("fc1.weight", &[3, 4], Role::Matrix),
            ("head.mlp.weight", &[3, 4], Role::Matrix),
            ("weight", &[3, 4], Role::Matrix),
            ("Embedding.weight", &[3, 4], Role::Embedding),
            ("bert.embeddings.word_embeddings.weight", &[3, 4], Role::Embedding),
            ("embeddings.LayerNorm.weight", &[4], Role::Vector),
            ("head.bias", &[4], Role::Vector),
            ("temperature", &[], Role::Vector),
        ];
        for (name, shape, expected) in cases {
            assert_eq!(Role::infer(name, shape), expected, "{name}");
        }
    }

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
