//! Residual networks.

mod block;
mod layer;
mod names;

use candle_core::{Device, Result, Tensor, Var, bail};
use isorate_kernels::{global_avg_pool, max_pool2d};
use rand::Rng;

use block::{Block, BlockKind};
use layer::{ConvNorm, Then};

use crate::{Linear, Mode, Model, Parameter, ParameterKind};

/// Which of the residual networks of He et al. (2016).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResNetDepth {
    /// ResNet-18: 2, 2, 2 and 2 blocks of two convolutions.
    D18,
    /// ResNet-34: 3, 4, 6 and 3 blocks of two convolutions.
    D34,
    /// ResNet-50: 3, 4, 6 and 3 blocks of three, the stride in the 3×3 one ("v1.5", as torchvision has it).
    D50,
}

impl ResNetDepth {
    fn blocks(self) -> (BlockKind, [usize; 4]) {
        match self {
            Self::D18 => (BlockKind::Basic, [2, 2, 2, 2]),
            Self::D34 => (BlockKind::Basic, [3, 4, 6, 3]),
            Self::D50 => (BlockKind::Bottleneck, [3, 4, 6, 3]),
        }
    }
}

/// What an image meets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// A 3×3 convolution: for images of some 32×32 pixels.
    Cifar,
    /// A 7×7 convolution with stride 2, and the largest of each 3×3 pixels with stride 2: for images of some 224×224 pixels.
    ImageNet,
}

/// What a [`ResNet`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// How many blocks of which kind.
    pub depth: ResNetDepth,
    /// What stands before them.
    pub stem: Stem,
    /// Channels after the stem; they double three times. 64 in the paper.
    pub width: usize,
    /// Channels of the images.
    pub channels: usize,
    /// How many classes there are.
    pub classes: usize,
}

/// A residual network (He et al. 2016, with the activation after the sum) on images \[batch, channels, height, width\].
///
/// Its tensors have torchvision's names: `conv1.weight`, `bn1.running_mean`, `layer2.0.downsample.0.weight`, `fc.bias`.
/// [`load_weights`](crate::load_weights) reads files of torchvision and timm, and of Hugging Face's transformers.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use isorate_models::{Mode, Model as _, ResNet, ResNetConfig, ResNetDepth, Stem};
/// use rand::SeedableRng as _;
///
/// let config = ResNetConfig { depth: ResNetDepth::D18, stem: Stem::Cifar, width: 4, channels: 1, classes: 10 };
/// let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
/// let resnet = ResNet::new(config, &mut rng, &Device::Cpu)?;
/// let images = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// assert_eq!(resnet.logits(&images, Mode::Train)?.dims(), [2, 10]);
/// assert_eq!(resnet.features(&images, Mode::Evaluate)?.dims(), [2, 32]);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResNet {
    config: ResNetConfig,
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    head: Linear,
}

impl ResNet {
    /// Filters are drawn from N(0, 2/(out·kh·kw)), layer by layer from the input on, then the head as in [`Linear::new`]; gains
    /// are 1, biases of the normalizations 0.
    ///
    /// # Errors
    /// A width, number of channels or of classes of 0.
    pub fn new(config: ResNetConfig, rng: &mut impl Rng, device: &Device) -> Result<Self> {
        let ResNetConfig { depth, stem, width, channels, classes } = config;
        if width == 0 || channels == 0 || classes == 0 {
            bail!("a ResNet needs a positive width, channels and classes; got {width}, {channels} and {classes}");
        }
        let (kernel, stride) = match stem {
            Stem::Cifar => (3, 1),
            Stem::ImageNet => (7, 2),
        };
        let stem = ConvNorm::new((channels, width), kernel, stride, rng, device)?;
        let (kind, blocks) = depth.blocks();
        let mut inputs = width;
        let mut stages = Vec::with_capacity(blocks.len());
        for (i, count) in blocks.into_iter().enumerate() {
            let width = width << i;
            let mut stage = Vec::with_capacity(count);
            for j in 0..count {
                let stride = if i > 0 && j == 0 { 2 } else { 1 };
                stage.push(Block::new(kind, inputs, width, stride, rng, device)?);
                inputs = width * kind.expansion();
            }
            stages.push(stage);
        }
        Ok(Self { config, stem, stages, head: Linear::new(inputs, classes, true, rng, device)? })
    }

    /// What it is made of.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// What the last layer sees: each channel's mean over the image, \[batch, 8·width\], for ResNet-50 \[batch, 32·width\].
    ///
    /// # Errors
    /// Images of other channels; in training a batch that leaves a channel with one value at some layer.
    pub fn features(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        let (_, channels, _, _) = images.dims4()?;
        if channels != self.config.channels {
            bail!("this ResNet takes images of {} channels, not {:?}", self.config.channels, images.shape());
        }
        let mut x = self.stem.forward(images, Then::Relu, mode)?;
        if self.config.stem == Stem::ImageNet {
            x = max_pool2d(&x, 3, 2, 1)?;
        }
        for block in self.stages.iter().flatten() {
            x = block.forward(&x, mode)?;
        }
        global_avg_pool(&x)
    }

    /// The last layer, from features to logits.
    pub fn head(&self) -> &Linear {
        &self.head
    }

    /// Puts a fresh last layer for another number of classes in the place of the old one: for fine-tuning.
    ///
    /// # Errors
    /// No classes.
    pub fn replace_head(&mut self, classes: usize, rng: &mut impl Rng) -> Result<()> {
        if classes == 0 {
            bail!("a ResNet needs at least one class");
        }
        let weight = self.head.weight();
        self.head = Linear::new(weight.dim(1)?, classes, true, rng, weight.device())?;
        self.config.classes = classes;
        Ok(())
    }

    /// Each convolution with its normalization, and the names of both.
    fn layers(&self) -> Vec<(String, String, &ConvNorm)> {
        let mut layers = vec![("conv1".to_owned(), "bn1".to_owned(), &self.stem)];
        for (i, stage) in self.stages.iter().enumerate() {
            for (j, block) in stage.iter().enumerate() {
                let prefix = format!("layer{}.{j}", i + 1);
                let chain = block.chain.iter().enumerate();
                layers.extend(chain.map(|(k, l)| (format!("{prefix}.conv{}", k + 1), format!("{prefix}.bn{}", k + 1), l)));
                let shortcut = block.shortcut.iter();
                layers.extend(shortcut.map(|l| (format!("{prefix}.downsample.0"), format!("{prefix}.downsample.1"), l)));
            }
        }
        layers
    }
}

impl Model for ResNet {
    fn logits(&self, images: &Tensor, mode: Mode) -> Result<Tensor> {
        self.head.forward_in(&self.features(images, mode)?, mode)
    }

    fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        for (conv, norm, layer) in self.layers() {
            parameters.push(Parameter::new(format!("{conv}.weight"), ParameterKind::Filter, &layer.filters));
            parameters.push(Parameter::new(format!("{norm}.weight"), ParameterKind::Vector, &layer.gamma));
            parameters.push(Parameter::new(format!("{norm}.bias"), ParameterKind::Vector, &layer.beta));
        }
        parameters.extend(self.head.parameters("fc", ParameterKind::Head));
        parameters
    }

    fn buffers(&self) -> Vec<(String, Var)> {
        let of_layer = |(_, norm, layer): (String, String, &ConvNorm)| {
            [
                (format!("{norm}.running_mean"), layer.running_mean.clone()),
                (format!("{norm}.running_var"), layer.running_variance.clone()),
            ]
        };
        self.layers().into_iter().flat_map(of_layer).collect()
    }

    fn names_in_files(&self, name: &str) -> Vec<String> {
        std::iter::once(name.to_owned()).chain(names::hugging_face(name)).collect()
    }

    /// PyTorch counts the batches that a normalization has seen, for averages of another kind.
    fn does_without(&self, name_in_file: &str) -> bool {
        name_in_file.ends_with(".num_batches_tracked")
    }
}
