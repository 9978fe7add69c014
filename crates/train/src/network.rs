//! The networks that can be trained, behind one face.

use std::path::Path;

use candle_core::{Device, Tensor};
use isorate_data::stream;
use isorate_models::{
    Bert, BertConfig, Gpt, GptConfig, HeadWeights, Mlp, Mode, Model, ParameterKind, ResNet, ResNetConfig, ResNetDepth, Stem,
    load_weights,
};
use isorate_optim::{NamedParam, Role};
use serde_json::{Value, json};

use crate::pretraining;
use crate::sets::Outputs;
use crate::source::{self, Source};
use crate::spec::model::{Activation, ModelSpec, StemName};
use crate::{Error, Stop};

/// A network as described, with the files that it starts from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelRun {
    pub(crate) spec: ModelSpec,
    pub(crate) sources: Vec<Source>,
}

/// A network.
pub(crate) enum Network {
    Mlp(Mlp),
    ResNet(Box<ResNet>),
    Gpt(Gpt),
    Bert(Box<Bert>),
}

/// What the inputs of a network are like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Channels, height and width of images; zeros for text.
    pub(crate) image: [usize; 3],
    pub(crate) outputs: Outputs,
}

impl ModelRun {
    /// Everything that the initial weights depend on but the seed.
    pub(crate) fn spec(&self) -> Value {
        let mut spec = serde_json::to_value(&self.spec).unwrap_or(Value::Null);
        if !self.sources.is_empty() {
            spec["source"] = json!(source::labels(&self.sources));
            spec["checksum"] = json!(source::checksums(&self.sources));
        }
        spec
    }

    /// A network with initial weights: seeded, from a file of the hub, or from a training of its own, which is made once and kept in
    /// `work`. What replaces a head is seeded.
    pub(crate) fn build(&self, shape: Shape, seed: u64, device: &Device, (work, stop): (&Path, &Stop)) -> Result<Network, Error> {
        let mut rng = stream(seed, "initialization", 0);
        let [channels, height, width] = shape.image;
        match (&self.spec, shape.outputs) {
            (ModelSpec::Mlp(mlp), Outputs::Classes(classes)) => {
                let mut widths = vec![channels * height * width];
                widths.extend(&mlp.hidden);
                widths.push(classes);
                let activation = match mlp.activation {
                    Activation::Relu => isorate_models::Activation::Relu,
                    Activation::Identity => isorate_models::Activation::Identity,
                };
                Ok(Network::Mlp(Mlp::new(&widths, activation, true, &mut rng, device)?))
            }
            (ModelSpec::ResNet(spec), Outputs::Classes(classes)) => {
                let depth = match spec.depth {
                    18 => ResNetDepth::D18,
                    34 => ResNetDepth::D34,
                    _ => ResNetDepth::D50,
                };
                let stem = match spec.stem {
                    StemName::Cifar => Stem::Cifar,
                    StemName::ImageNet => Stem::ImageNet,
                };
                let config = ResNetConfig { depth, stem, width: spec.width, channels, classes };
                let mut resnet = ResNet::new(config, &mut rng, device)?;
                if let (Some(pretrain), [source, ..]) = (&spec.pretrain, &self.sources[..]) {
                    let weights = pretraining::weights(pretrain, config, source, device, work, stop)?;
                    load_weights(&resnet, &weights, HeadWeights::Keep)?;
                } else if let (Some(_), [source, ..]) = (&spec.weights, &self.sources[..]) {
                    load_weights(&resnet, &source.file("weights")?, HeadWeights::Keep)?;
                    resnet.replace_head(classes, &mut rng)?;
                }
                Ok(Network::ResNet(Box::new(resnet)))
            }
            (ModelSpec::Gpt(gpt), Outputs::Tokens { vocabulary, context }) => {
                let config = GptConfig {
                    vocabulary,
                    context,
                    width: gpt.width,
                    layers: gpt.layers,
                    heads: gpt.heads,
                    mlp_ratio: 4,
                    tied: gpt.tied,
                };
                Ok(Network::Gpt(Gpt::new(config, &mut rng, device)?))
            }
            (ModelSpec::Bert(_), Outputs::Classes(classes)) => {
                let [source, ..] = &self.sources[..] else {
                    return Err(Error::Run("a BERT starts from weights of the hub, and there are none".into()));
                };
                let config = BertConfig::open(&source.file("config")?)?;
                let bert = Bert::new(config, classes, &mut rng, device)?;
                load_weights(&bert, &source.file("weights")?, HeadWeights::Keep)?;
                Ok(Network::Bert(Box::new(bert)))
            }
            (spec, outputs) => Err(Error::Run(format!("the network `{}` cannot tell {outputs:?}", spec.name()))),
        }
    }
}

impl Network {
    fn model(&self) -> &dyn Model {
        match self {
            Self::Mlp(mlp) => mlp,
            Self::ResNet(resnet) => &**resnet,
            Self::Gpt(gpt) => gpt,
            Self::Bert(bert) => &**bert,
        }
    }

    /// What the network takes for inputs as [`Inputs::batch`](crate::inputs::Inputs::batch) makes them.
    fn input(&self, inputs: &Tensor) -> Result<Tensor, Error> {
        Ok(match self {
            Self::Mlp(_) => inputs.flatten_from(1)?,
            _ => inputs.clone(),
        })
    }

    /// The scores of each class, \[n, classes\], or of each next token, \[n, context, vocabulary\].
    pub(crate) fn logits(&self, inputs: &Tensor) -> Result<Tensor, Error> {
        Ok(self.model().logits(&self.input(inputs)?, Mode::Evaluate)?)
    }

    /// The mean cross-entropy in a step of training.
    pub(crate) fn loss(&self, inputs: &Tensor, targets: &Tensor) -> Result<Tensor, Error> {
        Ok(self.model().loss(&self.input(inputs)?, targets, Mode::Train)?)
    }

    /// What the last layer sees, \[n, width\], where that can be had.
    pub(crate) fn features(&self, inputs: &Tensor) -> Result<Option<Tensor>, Error> {
        match self {
            Self::ResNet(resnet) => Ok(Some(resnet.features(inputs, Mode::Evaluate)?)),
            _ => Ok(None),
        }
    }

    /// All parameters with their roles.
    pub(crate) fn parameters(&self) -> Vec<NamedParam> {
        let named = |parameter: isorate_models::Parameter| {
            let role = match parameter.kind {
                ParameterKind::Filter | ParameterKind::Matrix => Role::Matrix,
                ParameterKind::Head if parameter.var.dims().len() > 1 => Role::Head,
                ParameterKind::Embedding => Role::Embedding,
                ParameterKind::Head | ParameterKind::Vector => Role::Vector,
            };
            NamedParam::new(parameter.name, role, parameter.var)
        };
        self.model().parameters().into_iter().map(named).collect()
    }

    /// Parameters and buffers: all that a checkpoint must hold.
    pub(crate) fn state(&self) -> Vec<NamedParam> {
        let buffers = self.model().buffers().into_iter().map(|(name, var)| NamedParam::new(name, Role::Vector, var));
        self.parameters().into_iter().chain(buffers).collect()
    }
}
