//! The part that a parameter plays in a network.

use serde::{Deserialize, Serialize};

/// The part that a parameter plays in a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A hidden weight matrix, or the filters of a convolution.
    Matrix,
    /// A bias, a gain, a token, and whatever else is no map from inputs to outputs.
    Vector,
    /// The weight matrix of the output layer.
    Head,
    /// A table of embeddings: one row for each token, position or relative distance.
    Embedding,
}

/// Layers that are tables, wherever they are: those of BERT, GPT-2, Llama, T5, OPT, Pythia, CLIP, ViT, Swin and SAM.
/// Also every layer whose last word, between `_`, is one of [`EMBEDDING_WORDS`].
const EMBEDDINGS: [&str; 11] = [
    "embed_in",
    "embed_positions",
    "embed_tokens",
    "rel_pos_h",
    "rel_pos_w",
    "relative_attention_bias",
    "relative_position_bias",
    "relative_position_bias_table",
    "shared",
    "wpe",
    "wte",
];
const EMBEDDING_WORDS: [&str; 4] = ["emb", "embed", "embedding", "embeddings"];

/// Layers that are an output, wherever they are.
const HEADS: [&str; 8] = ["classifier", "embed_out", "head", "heads", "lm_head", "qa_outputs", "score", "seq_relationship"];
/// Layers that are an output at the top of the model, or directly within a layer of [`HEADS`] or [`HEAD_BLOCKS`]; the
/// same names are common for hidden layers within blocks.
const HEADS_AT_TOP: [&str; 6] = ["decoder", "fc", "linear", "out", "out_proj", "output"];
/// Blocks that end in an output.
const HEAD_BLOCKS: [&str; 1] = ["predictions"];
/// Outer segments that only wrap the whole model.
const WRAPPERS: [&str; 4] = ["_orig_mod", "model", "module", "net"];

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

    /// Guesses the role of a parameter from its name and its shape.
    ///
    /// It is a heuristic, right on the names that torchvision, timm and transformers give to ResNet, ViT, BERT, GPT-2
    /// and Llama. The last layer of a model that only counts its layers (`layers.3.weight`) cannot be told from the
    /// hidden ones: such a model states its roles itself, or has a [`Group`](crate::Group) with the name. The first of
    /// these rules that applies decides; names are compared in lower case, `.` and `/` separate segments, and the
    /// layer is the last segment before a final `weight`, numbers skipped (`classifier.6.weight` is `classifier`):
    ///
    /// 1. Less than two dimensions: vector.
    /// 2. At most one dimension longer than 1, and three dimensions or a name that does not end in `weight`: vector
    ///    (a class token [1, 1, d], a gain [d, 1, 1]).
    /// 3. A layer called `wte`, `wpe`, `shared`, `embed_tokens`, `relative_position_bias_table` and the like, or whose
    ///    last word is `emb`, `embed`, `embedding` or `embeddings`: embedding.
    /// 4. A name that ends in `bias`: vector.
    /// 5. A layer called `head`, `heads`, `lm_head`, `classifier`, `score`, `qa_outputs`, `embed_out` or
    ///    `seq_relationship`, or one called `fc`, `linear`, `out`, `out_proj`, `output` or `decoder` at the top of the
    ///    model or within a head: head.
    /// 6. Three or more dimensions, the first of them 1, and a name that does not end in `weight`: embedding (a table of
    ///    positions [1, n, d]).
    /// 7. Three dimensions and a name that does not end in `weight`: vector (a stack of matrices [experts, r, c] is not
    ///    one matrix).
    /// 8. Otherwise: matrix.
    ///
    /// ```
    /// use isorate_optim::Role;
    ///
    /// assert_eq!(Role::infer("fc1.weight", &[200, 784]), Role::Matrix);
    /// assert_eq!(Role::infer("layer1.0.conv1.weight", &[64, 64, 3, 3]), Role::Matrix);
    /// assert_eq!(Role::infer("fc.weight", &[1000, 512]), Role::Head);
    /// assert_eq!(Role::infer("fc.bias", &[1000]), Role::Vector);
    /// assert_eq!(Role::infer("cls_token", &[1, 1, 768]), Role::Vector);
    /// assert_eq!(Role::infer("pos_embed", &[1, 197, 768]), Role::Embedding);
    /// assert_eq!(Role::infer("wte.weight", &[50257, 768]), Role::Embedding);
    /// ```
    pub fn infer(name: &str, shape: &[usize]) -> Self {
        let name = name.to_lowercase();
        let mut path: Vec<&str> = name.split(['.', '/']).collect();
        let last = path.last().copied().unwrap_or_default();
        // Recurrent layers have weight_ih_l0, attention layers in_proj_weight.
        let weight =
            last == "weight" || last.ends_with("_weight") || last.starts_with("weight_ih") || last.starts_with("weight_hh");
        if last == "weight" && path.len() > 1 {
            path.pop();
        }
        while path.len() > 1 && path.last().is_some_and(|segment| segment.bytes().all(|b| b.is_ascii_digit())) {
            path.pop();
        }
        let long = shape.iter().filter(|&&length| length > 1).count();

        if shape.len() < 2 || (long < 2 && (shape.len() > 2 || !weight)) {
            Self::Vector
        } else if is_embedding(&path) {
            Self::Embedding
        } else if last.ends_with("bias") {
            Self::Vector
        } else if is_head(&path) {
            Self::Head
        } else if shape.len() > 2 && shape[0] == 1 && !weight {
            Self::Embedding
        } else if shape.len() == 3 && !weight {
            Self::Vector
        } else {
            Self::Matrix
        }
    }
}

fn is_embedding(path: &[&str]) -> bool {
    path.last().is_some_and(|layer| {
        EMBEDDINGS.contains(layer) || layer.rsplit('_').next().is_some_and(|word| EMBEDDING_WORDS.contains(&word))
    })
}

/// The layer's own name counts: `head.mlp` is hidden.
fn is_head(path: &[&str]) -> bool {
    let Some((layer, outer)) = path.split_last() else {
        return false;
    };
    let at_top = outer.iter().all(|segment| WRAPPERS.contains(segment));
    let in_head = outer.last().is_some_and(|block| HEADS.contains(block) || HEAD_BLOCKS.contains(block));
    HEADS.contains(layer) || (HEADS_AT_TOP.contains(layer) && (at_top || in_head))
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
