//! BERT.

mod config;
mod layer;

use candle_core::{Device, Result, Tensor, Var, bail};
use isorate_kernels::embedding;
use rand::Rng;

pub use config::BertConfig;
use layer::Layer;

use crate::init::normal;
use crate::layer_norm::LayerNorm;
use crate::{Linear, Mode, Model, Parameter, ParameterKind};

/// Standard deviation of the initial weights.
const STD: f64 = 0.02;

/// BERT for the classification of sentences and pairs of them (Devlin et al. 2019): normalization after each sum, exact GELU, the
/// first token's state through a map and tanh, then the head. There is no dropout.
///
/// Its inputs are ids of tokens, types of tokens (0 for the first sentence, 1 for the second) and the attention mask (1 for
/// tokens, 0 for padding), each \[n, t\] of type u32; [`Model::logits`] takes them as one tensor \[n, 3, t\].
///
/// Its tensors have the names of transformers' `BertForSequenceClassification`. [`load_weights`](crate::load_weights) also reads
/// files without the prefix `bert.`, and those that have `gamma` and `beta` for `weight` and `bias` of a `LayerNorm`; the heads
/// of pre-training in them are left.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use isorate_models::{Bert, BertConfig, Mode};
/// use rand::SeedableRng as _;
///
/// let small = BertConfig { vocab_size: 100, hidden_size: 8, num_attention_heads: 2, intermediate_size: 16, ..BertConfig::base() };
/// let bert = Bert::new(small, 3, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
/// let ids = Tensor::new(&[[2u32, 17, 3, 23, 3, 0]], &Device::Cpu)?;
/// let types = Tensor::new(&[[0u32, 0, 0, 1, 1, 0]], &Device::Cpu)?;
/// let mask = Tensor::new(&[[1u32, 1, 1, 1, 1, 0]], &Device::Cpu)?;
/// assert_eq!(bert.classify(&ids, &types, &mask, Mode::Train)?.dims(), [1, 3]);
/// assert_eq!(bert.hidden_states(&ids, &types, &mask, Mode::Train)?.dims(), [1, 6, 8]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Bert {
    config: BertConfig,
    words: Var,
    positions: Var,
    types: Var,
    norm: LayerNorm,
    layers: Vec<Layer>,
    pooler: Linear,
    head: Linear,
}

impl Bert {
    /// Weights and embeddings are drawn from N(0, .02²), from the input on; gains are 1, biases 0.
    ///
    /// # Errors
    /// An impossible size, or no classes.
    pub fn new(config: BertConfig, classes: usize, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        if let Some((setting, value, requirement)) = config.wrong() {
            bail!("a BERT with {setting} = {value}, but it must be {requirement}");
        }
        let width = config.hidden_size;
        Ok(Self {
            words: normal((config.vocab_size, width), STD, rng, device)?,
            positions: normal((config.max_position_embeddings, width), STD, rng, device)?,
            types: normal((config.type_vocab_size, width), STD, rng, device)?,
            norm: LayerNorm::new(width, config.layer_norm_eps, device)?,
            layers: (0..config.num_hidden_layers).map(|_| Layer::new(&config, rng, device)).collect::<Result<_>>()?,
            pooler: Linear::normal(width, width, STD, rng, device)?,
            head: head(width, classes, rng, device)?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// The state of each token after the last layer, \[n, t, width\].
    ///
    /// # Errors
    /// Inputs of different shapes, longer than the table of positions, with an id or a type that is not in its table, or with a
    /// sequence of padding alone.
    pub fn hidden_states(&self, ids: &Tensor, types: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, t) = ids.dims2()?;
        if types.dims() != ids.dims() || mask.dims() != ids.dims() {
            bail!(
                "ids {:?}, types {:?} and mask {:?} of a BERT's inputs must have one shape",
                ids.shape(),
                types.shape(),
                mask.shape()
            );
        }
        let longest = self.config.max_position_embeddings;
        if t > longest {
            bail!("inputs of {t} tokens are longer than the {longest} positions of this BERT\nhint: truncate them");
        }
        let words = (embedding(&mode.of(&self.words), ids)? + embedding(&mode.of(&self.types), types)?)?;
        let x = words.broadcast_add(&mode.of(&self.positions).narrow(0, 0, t)?)?;
        let mut x = self.norm.forward(&x, mode)?;
        for layer in &self.layers {
            x = layer.forward(&x, mask, mode)?;
        }
        Ok(x)
    }

    /// What the last layer sees: tanh of a map of the first token's state, \[n, width\].
    ///
    /// # Errors
    /// As [`Self::hidden_states`].
    pub fn features(&self, ids: &Tensor, types: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        let first = self.hidden_states(ids, types, mask, mode)?.narrow(1, 0, 1)?.squeeze(1)?;
        self.pooler.forward_in(&first.contiguous()?, mode)?.tanh()
    }

    /// Logits \[n, classes\].
    ///
    /// # Errors
    /// As [`Self::hidden_states`].
    pub fn classify(&self, ids: &Tensor, types: &Tensor, mask: &Tensor, mode: Mode) -> Result<Tensor> {
        self.head.forward_in(&self.features(ids, types, mask, mode)?, mode)
    }

    /// The last layer, from features to logits.
    pub fn head(&self) -> &Linear {
        &self.head
    }

    /// Puts a fresh last layer for another number of classes in the place of the old one.
    ///
    /// # Errors
    /// No classes.
    pub fn replace_head(&mut self, classes: usize, rng: &mut impl Rng) -> Result<()> {
        self.head = head(self.config.hidden_size, classes, rng, self.words.device())?;
        Ok(())
    }
}

fn head(width: usize, classes: usize, rng: &mut impl Rng, device: &Device) -> Result<Linear> {
    if classes == 0 {
        bail!("a BERT for classification needs at least one class");
    }
    Linear::normal(width, classes, STD, rng, device)
}

impl Model for Bert {
    fn logits(&self, inputs: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, three, _) = inputs.dims3()?;
        if three != 3 {
            bail!("a BERT takes ids, types and mask as [n, 3, t], not {:?}", inputs.shape());
        }
        let part = |index| inputs.narrow(1, index, 1)?.squeeze(1);
        self.classify(&part(0)?, &part(1)?, &part(2)?, mode)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let tables = [("word", &self.words), ("position", &self.positions), ("token_type", &self.types)];
        let of_table = |(name, table): (&str, &Var)| {
            Parameter::new(format!("bert.embeddings.{name}_embeddings.weight"), ParameterKind::Embedding, table)
        };
        let mut parameters: Vec<Parameter> = tables.into_iter().map(of_table).collect();
        parameters.extend(self.norm.parameters("bert.embeddings.LayerNorm"));
        let layers = self.layers.iter().enumerate();
        parameters.extend(layers.flat_map(|(i, layer)| layer.parameters(&format!("bert.encoder.layer.{i}"))));
        parameters.extend(self.pooler.parameters("bert.pooler.dense", ParameterKind::Matrix));
        parameters.extend(self.head.parameters("classifier", ParameterKind::Head));
        parameters
    }

    fn names_in_files(&self, name: &str) -> Vec<String> {
        let mut names = vec![name.to_owned()];
        names.extend(name.strip_prefix("bert.").map(str::to_owned));
        for (new, old) in [(".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta")] {
            let renamed: Vec<_> =
                names.iter().filter_map(|name| name.strip_suffix(new).map(|layer| format!("{layer}{old}"))).collect();
            names.extend(renamed);
        }
        names
    }

    /// The heads of pre-training, and the numbers 0, 1, 2, … that some versions of transformers kept.
    fn does_without(&self, name_in_file: &str) -> bool {
        name_in_file.starts_with("cls.") || name_in_file.ends_with("embeddings.position_ids")
    }
}
