//! A transformer that predicts the next token.

mod block;
mod names;

use candle_core::{Device, Result, Tensor, Var, bail};
use isorate_kernels::{add, affine, embedding, linear_cross_entropy};
use rand::Rng;

use crate::init::normal;
use crate::layer_norm::LayerNorm;
use crate::{Mode, Model, Parameter, ParameterKind};
use block::Block;

/// The standard deviation of initial weights.
const STD: f64 = 0.02;
/// What layer norms add to a variance.
const EPS: f64 = 1e-5;

/// The sizes of a [`Gpt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GptConfig {
    /// Tokens that there are.
    pub vocabulary: usize,
    /// The longest sequence.
    pub context: usize,
    /// Numbers that stand for a token between blocks; a multiple of `heads`.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads of attention in a block.
    pub heads: usize,
    /// Hidden units of a block's perceptron for each number of `width`; 4 in GPT-2.
    pub mlp_ratio: usize,
    /// Whether the head has the matrix of the token embedding instead of its own.
    pub tied: bool,
}

/// The transformer of GPT-2: learned positions, blocks of x ↦ x + attention(LN(x)) and x ↦ x + MLP(LN(x)) with the tanh form
/// of GELU, a last layer norm (ε 10⁻⁵) and a head without biases. There is no dropout.
///
/// Parameters have the names of `GPT2LMHeadModel` in Hugging Face's transformers (`transformer.h.0.attn.c_attn.weight`).
/// Every matrix here is \[out, in\] as in nanoGPT, so that an update rule sees them alike; the files of transformers hold
/// those within blocks as \[in, out\], and [`load_weights`](crate::load_weights) and [`save_weights`](crate::save_weights) turn them
/// around.
///
/// Initial weights are GPT-2's: N(0, 0.02²), where a block adds to its input N(0, 0.02²/(2·`layers`)); biases 0, gains 1.
///
/// Source: A. Radford et al., "Language models are unsupervised multitask learners", 2019.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use isorate_models::{Gpt, GptConfig, Mode, Model as _};
/// use rand::SeedableRng as _;
///
/// let config = GptConfig { vocabulary: 50, context: 16, width: 8, layers: 2, heads: 2, mlp_ratio: 4, tied: false };
/// let gpt = Gpt::new(config, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0), &Device::Cpu)?;
/// let ids = Tensor::zeros((3, 16), DType::U32, &Device::Cpu)?;
/// assert_eq!(gpt.logits(&ids, Mode::Train)?.dims(), [3, 16, 50]);
/// let loss = gpt.loss(&ids, &ids, Mode::Train)?.to_scalar::<f32>()?;
/// assert!((loss - 50.0_f32.ln()).abs() < 0.1);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Gpt {
    config: GptConfig,
    tokens: Var,
    positions: Var,
    blocks: Vec<Block>,
    norm: LayerNorm,
    /// None if it is that of the tokens.
    head: Option<Var>,
}

impl Gpt {
    /// A network with initial weights, drawn from the input on.
    ///
    /// # Errors
    /// A size of 0, or a width that the heads cannot share.
    pub fn new(config: GptConfig, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let GptConfig { vocabulary, context, width, layers, heads, mlp_ratio, tied } = config;
        if [vocabulary, context, width, layers, heads, mlp_ratio].contains(&0) || !width.is_multiple_of(heads) {
            bail!("a GPT needs positive sizes and a width that is a multiple of its heads; got {config:?}");
        }
        let tokens = normal((vocabulary, width), STD, rng, device)?;
        let positions = normal((context, width), STD, rng, device)?;
        let blocks = (0..layers).map(|_| Block::new(&config, rng, device)).collect::<Result<_>>()?;
        let norm = LayerNorm::new(width, EPS, device)?;
        let head = if tied { None } else { Some(normal((vocabulary, width), STD, rng, device)?) };
        Ok(Self { config, tokens, positions, blocks, norm, head })
    }

    /// What it is made of.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// What the head sees, \[b, t, width\], for token ids \[b, t\] of type u32.
    ///
    /// # Errors
    /// An id that is no token; more places than the context has.
    pub fn features(&self, ids: &Tensor, mode: Mode) -> Result<Tensor> {
        let (batch, length) = ids.dims2()?;
        if length > self.config.context {
            bail!("a GPT with a context of {} tokens got ids of shape {:?}", self.config.context, ids.shape());
        }
        let places: Vec<u32> = (0..batch).flat_map(|_| (0..).take(length)).collect();
        let places = Tensor::from_vec(places, (batch, length), ids.device())?;
        let mut x = add(&embedding(&mode.of(&self.tokens), ids)?, &embedding(&mode.of(&self.positions), &places)?)?;
        for block in &self.blocks {
            x = block.forward(&x, mode)?;
        }
        self.norm.forward(&x, mode)
    }

    fn head(&self) -> &Var {
        self.head.as_ref().unwrap_or(&self.tokens)
    }
}

impl Model for Gpt {
    /// The scores of the next token after each, \[b, t, vocabulary\], for token ids \[b, t\] of type u32.
    fn logits(&self, ids: &Tensor, mode: Mode) -> Result<Tensor> {
        affine(&self.features(ids, mode)?, &mode.of(self.head()), None)
    }

    /// The mean loss over all places, for ids and targets \[b, t\]; logits are never held for all of them.
    fn loss(&self, ids: &Tensor, targets: &Tensor, mode: Mode) -> Result<Tensor> {
        linear_cross_entropy(&self.features(ids, mode)?, &mode.of(self.head()), targets)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = vec![
            Parameter::new("transformer.wte.weight", ParameterKind::Embedding, &self.tokens),
            Parameter::new("transformer.wpe.weight", ParameterKind::Embedding, &self.positions),
        ];
        for (index, block) in self.blocks.iter().enumerate() {
            parameters.extend(block.parameters(&format!("transformer.h.{index}")));
        }
        parameters.extend(self.norm.parameters("transformer.ln_f"));
        parameters.extend(self.head.iter().map(|head| Parameter::new(names::HEAD, ParameterKind::Head, head)));
        parameters
    }

    fn names_in_files(&self, name: &str) -> Vec<String> {
        names::in_files(name)
    }

    fn does_without(&self, name_in_file: &str) -> bool {
        names::is_mask(name_in_file) || (self.config.tied && name_in_file == names::HEAD)
    }

    fn is_turned_in_files(&self, name: &str) -> bool {
        names::is_turned(name)
    }
}
