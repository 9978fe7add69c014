//! Which network is trained, and what it starts from.

use serde::{Deserialize, Serialize};

use super::Context;
use super::data::{DataSpec, Form};
use crate::Error;

/// A network; `name` says which.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub(crate) enum ModelSpec {
    Mlp(Mlp),
    ResNet(ResNet),
    Gpt(Gpt),
    Bert(Bert),
}

/// A multilayer perceptron.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mlp {
    /// Widths of the hidden layers.
    pub(crate) hidden: Vec<usize>,
    pub(crate) activation: Activation,
}

/// What stands between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(0, x).
    Relu,
    /// Nothing: a deep linear network.
    Identity,
}

/// A residual network.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResNet {
    /// 18, 34 or 50.
    pub(crate) depth: u32,
    /// Channels of the first stage.
    pub(crate) width: usize,
    pub(crate) stem: StemName,
    /// Weights of the hub to start from, by their name there; the head is fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<String>,
    /// A training of its own to start from; the head is fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pretrain: Option<Pretrain>,
}

/// What an image meets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StemName {
    Cifar,
    ImageNet,
}

/// A training on balanced classes of an image set, with AdamW at a constant step size, that gives the initial weights. It has one
/// seed whatever that of the run: pre-trained weights are one file.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pretrain {
    /// The image set.
    pub(crate) images: String,
    /// Its first training images, in their order, are used.
    pub(crate) train: usize,
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) step_size: f64,
    pub(crate) seed: u64,
}

/// A transformer that predicts the next token. Vocabulary and context are those of the data.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gpt {
    pub(crate) layers: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    /// Whether the head has the matrix of the token embedding.
    pub(crate) tied: bool,
}

/// BERT with the weights and the configuration of a model of the hub.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bert {
    /// Its name there.
    pub(crate) weights: String,
}

impl ModelSpec {
    /// The names of the networks, for messages.
    pub(super) fn known() -> &'static [&'static str] {
        &["mlp", "resnet", "gpt", "bert"]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mlp(_) => "mlp",
            Self::ResNet(_) => "resnet",
            Self::Gpt(_) => "gpt",
            Self::Bert(_) => "bert",
        }
    }

    pub(super) fn check(&self, data: &DataSpec, context: &Context, setting: &str) -> Result<(), Error> {
        let at_least_one = |name: &str, size: usize| context.at_least_one(&format!("{setting}.{name}"), size);
        let expected = match self {
            Self::Mlp(_) | Self::ResNet(_) => Form::Images,
            Self::Gpt(_) => Form::Tokens,
            Self::Bert(_) => Form::Pairs,
        };
        if data.form() != expected {
            let message = format!("`{}` cannot read the set `{}`", self.name(), data.name());
            return Err(context.error(&format!("{setting}.name"), message));
        }
        if matches!(data, DataSpec::Dominoes(_)) && !matches!(self, Self::ResNet(_)) {
            let message = format!("`{}` has no features to decode; the set `dominoes` needs a `resnet`", self.name());
            return Err(context.error(&format!("{setting}.name"), message));
        }
        match self {
            Self::Mlp(mlp) => mlp.hidden.iter().try_for_each(|&width| at_least_one("hidden", width)),
            Self::ResNet(resnet) => {
                if ![18, 34, 50].contains(&resnet.depth) {
                    return Err(context.error(&format!("{setting}.depth"), format!("{} must be 18, 34 or 50", resnet.depth)));
                }
                at_least_one("width", resnet.width)?;
                if resnet.weights.is_some() && resnet.pretrain.is_some() {
                    return Err(context.error(setting, "`weights` and `pretrain` both say what to start from; leave one out"));
                }
                let Some(pretrain) = &resnet.pretrain else { return Ok(()) };
                for (name, size) in [("train", pretrain.train), ("epochs", pretrain.epochs), ("batch_size", pretrain.batch_size)]
                {
                    at_least_one(&format!("pretrain.{name}"), size)?;
                }
                context.positive(&format!("{setting}.pretrain.step_size"), pretrain.step_size)
            }
            Self::Gpt(gpt) => {
                for (name, size) in [("layers", gpt.layers), ("width", gpt.width), ("heads", gpt.heads)] {
                    at_least_one(name, size)?;
                }
                if !gpt.width.is_multiple_of(gpt.heads) {
                    let message = format!("{} must divide the width, {}", gpt.heads, gpt.width);
                    return Err(context.error(&format!("{setting}.heads"), message));
                }
                Ok(())
            }
            Self::Bert(_) => Ok(()),
        }
    }
}
