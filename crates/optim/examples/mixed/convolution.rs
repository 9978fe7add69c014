//! Four shapes at random places and sizes in noise, and a convolutional network that names them.

use candle_core::{Device, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::init::Init;
use crate::run::{Batch, Task};

const SIDE: usize = 16;
/// Circle, square, plus, cross.
const CLASSES: u32 = 4;
const NOISE: f32 = 0.35;

/// The two filters' layers and the two matrices: conv 1→16, pool, conv 16→32, pool, 512→64, 64→4.
struct Network {
    conv1: (Tensor, Tensor),
    conv2: (Tensor, Tensor),
    hidden: (Tensor, Tensor),
    head: (Tensor, Tensor),
}

pub fn task() -> Result<Task> {
    let mut init = Init::new(1);
    let mut layer = |name: &str, shape: &[usize]| {
        let weight = init.weight(&format!("{name}.weight"), shape, 2.0)?;
        Ok::<_, candle_core::Error>((weight, init.constant(&format!("{name}.bias"), shape[0], 0.0)?))
    };
    let network = Network {
        conv1: layer("conv1", &[16, 1, 3, 3])?,
        conv2: layer("conv2", &[32, 16, 3, 3])?,
        hidden: layer("hidden", &[64, 32 * SIDE * SIDE / 16])?,
        head: layer("head", &[CLASSES as usize, 64])?,
    };
    Ok(Task {
        name: "shapes in noise, convolutional network",
        params: init.params,
        muon_lr: 0.05,
        adamw_lr: 5e-3,
        steps: 150,
        forward: Box::new(move |images| network.forward(images)),
        batch,
        least_accuracy: 0.95,
    })
}

impl Network {
    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let convolve = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| {
            let channels = bias.elem_count();
            let x = x.conv2d(weight, 1, 1, 1, 1)?.broadcast_add(&bias.reshape((1, channels, 1, 1))?)?;
            x.relu()?.max_pool2d(2)
        };
        let linear = |x: &Tensor, (weight, bias): &(Tensor, Tensor)| x.matmul(&weight.t()?)?.broadcast_add(bias);
        let x = convolve(&convolve(images, &self.conv1)?, &self.conv2)?;
        let x = linear(&x.flatten_from(1)?, &self.hidden)?.relu()?;
        linear(&x, &self.head)
    }
}

/// `count` images, [count, 1, side, side], and their classes, [count].
fn batch(seed: u64, count: usize) -> Result<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pixels = Vec::with_capacity(count * SIDE * SIDE);
    let mut labels = Vec::with_capacity(count);
    for _ in 0..count {
        let class = rng.random_range(0..CLASSES);
        let radius: f32 = rng.random_range(3.0..5.0);
        let mut center = || rng.random_range(radius..(SIDE - 1) as f32 - radius);
        let (x0, y0) = (center(), center());
        for i in 0..SIDE * SIDE {
            let (x, y) = ((i % SIDE) as f32 - x0, (i / SIDE) as f32 - y0);
            // The distance from the line that is drawn.
            let distance = match class {
                0 => (x.hypot(y) - radius).abs(),
                1 => (x.abs().max(y.abs()) - radius).abs(),
                2 => x.abs().min(y.abs()).max(x.abs().max(y.abs()) - radius),
                _ => ((x.abs() - y.abs()).abs() / 2.0_f32.sqrt()).max(x.hypot(y) - radius),
            };
            let noise: f32 = StandardNormal.sample(&mut rng);
            pixels.push((1.2 - distance).clamp(0.0, 1.0) + NOISE * noise);
        }
        labels.push(class);
    }
    let inputs = Tensor::from_vec(pixels, (count, 1, SIDE, SIDE), &Device::Cpu)?;
    Ok(Batch { inputs, labels: Tensor::new(labels, &Device::Cpu)? })
}
