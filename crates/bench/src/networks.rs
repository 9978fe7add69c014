//! The networks whose training is measured, each with one batch.

use candle_core::{Device, Tensor};
use isorate_models::{Activation, Bert, BertConfig, Gpt, GptConfig, Mlp, Mode, Model, ResNet, ResNetConfig, ResNetDepth, Stem};
use isorate_optim::{NamedParam, Role};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::Result;
use crate::inputs::{normal, whole};

/// A network and its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// 784-512-512-10 with ReLU, batch 128.
    Mlp,
    /// ResNet-18 in its form for small images, 32×32×3, batch 64.
    ResNet18,
    /// The same with 16 channels instead of 64 after the stem, 28×28×1, batch 128.
    NarrowResNet18,
    /// ResNet-50 in its form for small images, 32×32×3, batch 32.
    ResNet50,
    /// Two blocks of width 128 with 4 heads, context 64, 4,096 tokens, batch 32.
    Gpt,
    /// BERT of the size of MiniLM: 6 layers of width 384 with 12 heads, 30,522 tokens; batch 8, length 128, 3 classes.
    Bert,
}

const MLP: [usize; 4] = [784, 512, 512, 10];
/// Length of the inputs of BERT.
const TOKENS: usize = 128;

impl Network {
    pub fn name(self) -> &'static str {
        match self {
            Self::Mlp => "mlp",
            Self::ResNet18 => "resnet18",
            Self::NarrowResNet18 => "resnet18-narrow",
            Self::ResNet50 => "resnet50",
            Self::Gpt => "gpt",
            Self::Bert => "bert",
        }
    }

    fn batch(self) -> usize {
        match self {
            Self::Mlp | Self::NarrowResNet18 => 128,
            Self::ResNet18 => 64,
            Self::ResNet50 | Self::Gpt => 32,
            Self::Bert => 8,
        }
    }

    fn resnet(self) -> ResNetConfig {
        let (width, channels) = if self == Self::NarrowResNet18 { (16, 1) } else { (64, 3) };
        let depth = if self == Self::ResNet50 { ResNetDepth::D50 } else { ResNetDepth::D18 };
        ResNetConfig { depth, stem: Stem::Cifar, width, channels, classes: 10 }
    }

    fn gpt() -> GptConfig {
        GptConfig { vocabulary: 4096, context: 64, width: 128, layers: 2, heads: 4, mlp_ratio: 4, tied: false }
    }

    fn bert() -> BertConfig {
        BertConfig {
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            ..BertConfig::base()
        }
    }

    fn side(self) -> usize {
        if self == Self::NarrowResNet18 { 28 } else { 32 }
    }

    /// The network with initial weights, and its batch.
    pub fn training(self) -> Result<Training> {
        let (mut rng, device, batch) = (ChaCha8Rng::seed_from_u64(0), Device::Cpu, self.batch());
        let model: Box<dyn Model> = match self {
            Self::Mlp => Box::new(Mlp::new(&MLP, Activation::Relu, true, &mut rng, &device)?),
            Self::ResNet18 | Self::NarrowResNet18 | Self::ResNet50 => Box::new(ResNet::new(self.resnet(), &mut rng, &device)?),
            Self::Gpt => Box::new(Gpt::new(Self::gpt(), &mut rng, &device)?),
            Self::Bert => Box::new(Bert::new(Self::bert(), 3, &mut rng, &device)?),
        };
        let (inputs, targets) = match self {
            Self::Mlp => (normal((batch, MLP[0]), 1)?, whole(batch, 10, 2)?),
            Self::ResNet18 | Self::NarrowResNet18 | Self::ResNet50 => {
                (normal((batch, self.resnet().channels, self.side(), self.side()), 1)?, whole(batch, 10, 2)?)
            }
            Self::Gpt => (whole((batch, 64), 4096, 1)?, whole((batch, 64), 4096, 2)?),
            Self::Bert => {
                let ids = whole((batch, TOKENS), 30_522, 1)?;
                let types = ids.zeros_like()?;
                (Tensor::stack(&[&ids, &types, &ids.ones_like()?], 1)?, whole(batch, 3, 2)?)
            }
        };
        Ok(Training { model, inputs, targets })
    }

    /// Multiplications and additions of the matrix products and convolutions of a pass; the backward pass has as many for the
    /// weights, and again as many for the inputs of every layer but the first.
    pub fn flops(self, with_backward: bool) -> f64 {
        let layers = self.layers();
        let forward: f64 = layers.iter().sum();
        let batch = 2.0 * self.batch() as f64;
        if with_backward { batch * (3.0 * forward - layers.first().unwrap_or(&0.0)) } else { batch * forward }
    }

    /// Multiplications of each layer for one example. GPT's first product is not on data, which a first entry of 0 says.
    fn layers(self) -> Vec<f64> {
        match self {
            Self::Mlp => MLP.windows(2).map(|pair| (pair[0] * pair[1]) as f64).collect(),
            Self::ResNet18 | Self::NarrowResNet18 => {
                let ResNetConfig { width, channels, classes, .. } = self.resnet();
                let mut side = self.side();
                let mut layers = vec![(side * side * 9 * channels * width) as f64];
                for stage in 0..4 {
                    let outputs = width << stage;
                    let inputs = if stage == 0 { width } else { outputs / 2 };
                    side = if stage == 0 { side } else { side.div_ceil(2) };
                    let convolution = |inputs: usize, kernel: usize| (side * side * kernel * inputs * outputs) as f64;
                    layers.extend([convolution(inputs, 9), 3.0 * convolution(outputs, 9)]);
                    if stage > 0 {
                        layers.push(convolution(inputs, 1));
                    }
                }
                layers.push((8 * width * classes) as f64);
                layers
            }
            Self::ResNet50 => {
                let ResNetConfig { width, channels, classes, .. } = self.resnet();
                let (mut side, mut inputs) = (self.side(), width);
                let mut layers = vec![(side * side * 9 * channels * width) as f64];
                for (stage, blocks) in [3, 4, 6, 3].into_iter().enumerate() {
                    let inner = width << stage;
                    for block in 0..blocks {
                        layers.push((side * side * inputs * inner) as f64);
                        if stage > 0 && block == 0 {
                            side = side.div_ceil(2);
                        }
                        layers.push((side * side * inner * (9 * inner + 4 * inner)) as f64);
                        if block == 0 {
                            layers.push((side * side * inputs * 4 * inner) as f64);
                        }
                        inputs = 4 * inner;
                    }
                }
                layers.push((inputs * classes) as f64);
                layers
            }
            Self::Bert => {
                let BertConfig { hidden_size: width, num_hidden_layers, intermediate_size: inner, .. } = Self::bert();
                let layer = TOKENS * (width * (4 * width + 2 * inner) + 2 * TOKENS * width);
                vec![0.0, (num_hidden_layers * layer + width * width + 3 * width) as f64]
            }
            Self::Gpt => {
                let GptConfig { vocabulary, context, width, layers, mlp_ratio, .. } = Self::gpt();
                let block = width * width * (4 + 2 * mlp_ratio) + 2 * context * width;
                vec![0.0, (context * (layers * block + width * vocabulary)) as f64]
            }
        }
    }
}

/// A network that is trained on one batch, again and again.
pub(crate) struct Training {
    model: Box<dyn Model>,
    inputs: Tensor,
    targets: Tensor,
}

impl Training {
    pub fn loss(&self) -> Result<Tensor> {
        Ok(self.model.loss(&self.inputs, &self.targets, Mode::Train)?)
    }

    /// Every weight matrix and filter, the head and embeddings among them, counts as a matrix, as in the experiments that
    /// study a rule.
    pub fn params(&self) -> Vec<NamedParam> {
        let parameters = self.model.parameters().into_iter();
        let role = |dims: &[usize]| if dims.len() == 1 { Role::Vector } else { Role::Matrix };
        parameters.map(|parameter| NamedParam::new(parameter.name, role(parameter.var.dims()), parameter.var)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flops_are_those_counted_by_hand() {
        // 784·512 + 512·512 + 512·10 multiplications for each of 128 examples.
        let counted = |network: Network, backward, by_hand: f64| assert!((network.flops(backward) - by_hand).abs() < 0.5);
        counted(Network::Mlp, false, 2.0 * 128.0 * 668_672.0);
        counted(Network::Mlp, true, 2.0 * 128.0 * (3.0 * 668_672.0 - 401_408.0));
        // torchvision's count for ResNet-18 on 32×32 pixels with a 3×3 stem: 0.555 · 10⁹ multiplications.
        assert!((Network::ResNet18.flops(false) / (2.0 * 64.0) - 0.5554e9).abs() < 1e6);
        // And 1.30 · 10⁹ for ResNet-50 there.
        assert!((Network::ResNet50.flops(false) / (2.0 * 32.0) - 1.298e9).abs() < 5e6);
        // Matrices of 384·384·12 in each layer, and 2·128·384 for the scores and their sums, for each of 128 tokens.
        counted(Network::Bert, false, 2.0 * 8.0 * (6.0 * 128.0 * (1_769_472.0 + 98_304.0) + 148_608.0));
        // Matrices of 128·128·12 in each block, and 2·64·128 for the scores and their sums, for each of 64 tokens.
        counted(Network::Gpt, false, 2.0 * 32.0 * 64.0 * (2.0 * 212_992.0 + 524_288.0));
    }

    #[test]
    fn every_network_trains() {
        for network in [Network::Mlp, Network::NarrowResNet18, Network::Gpt, Network::Bert] {
            let training = network.training().unwrap();
            let gradients = isorate_kernels::backward(&training.loss().unwrap()).unwrap();
            assert!(training.params().iter().all(|param| gradients.get(&param.var).is_some()), "{network:?}");
        }
    }
}
