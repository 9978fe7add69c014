//! The sizes of a BERT.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, FileProblem, Result};
use crate::weights::read;

/// The sizes of a [`Bert`](crate::Bert), under the names that they have in a `config.json` of the hub.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct BertConfig {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the layers.
    pub hidden_size: usize,
    /// How many layers.
    pub num_hidden_layers: usize,
    /// Heads of each attention; they divide the width.
    pub num_attention_heads: usize,
    /// Width within the two maps that follow the attention.
    pub intermediate_size: usize,
    /// The longest input.
    pub max_position_embeddings: usize,
    /// Kinds of tokens: the first and the second sentence of a pair.
    pub type_vocab_size: usize,
    /// Added to a variance.
    pub layer_norm_eps: f64,
}

/// What a `config.json` says of matters in which every network here is the same.
#[derive(Deserialize)]
struct Kind {
    #[serde(default = "bert")]
    model_type: String,
    #[serde(default = "gelu")]
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
}

fn bert() -> String {
    "bert".to_owned()
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl BertConfig {
    /// BERT-base, uncased (Devlin et al. 2019).
    pub fn base() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
        }
    }

    /// Reads a `config.json`.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, lacks a size or has an impossible one, or describes a network of another kind:
    /// another activation than the exact GELU, or positions that are not absolute.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes = read(path)?;
        let in_file = |problem| Error::file(path, problem);
        let unreadable = |error| in_file(FileProblem::Configuration(error));
        let kind: Kind = serde_json::from_slice(&bytes).map_err(unreadable)?;
        for (setting, value, requirement) in [
            ("model_type", kind.model_type, "bert"),
            ("hidden_act", kind.hidden_act, "gelu"),
            ("position_embedding_type", kind.position_embedding_type, "absolute"),
        ] {
            if value != requirement {
                return Err(in_file(FileProblem::Setting { setting, value, requirement }));
            }
        }
        let config: Self = serde_json::from_slice(&bytes).map_err(unreadable)?;
        match config.wrong() {
            Some((setting, value, requirement)) => Err(in_file(FileProblem::Setting { setting, value, requirement })),
            None => Ok(config),
        }
    }

    /// A setting that is not possible, its value and the rule that it breaks.
    pub(super) fn wrong(&self) -> Option<(&'static str, String, &'static str)> {
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ];
        if let Some((setting, value)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Some((setting, value.to_string(), "positive"));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Some(("num_attention_heads", self.num_attention_heads.to_string(), "a divisor of hidden_size"));
        }
        let eps = self.layer_norm_eps;
        (!(eps.is_finite() && eps >= 0.0)).then(|| ("layer_norm_eps", eps.to_string(), "finite and not negative"))
    }
}
