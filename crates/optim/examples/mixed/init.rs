//! Seeded parameters: candle's generator for the CPU takes no seed.

use candle_core::{Device, Result, Tensor, Var};
use isorate_optim::{NamedParam, Role};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

pub struct Init {
    rng: ChaCha8Rng,
    pub params: Vec<NamedParam>,
}

impl Init {
    pub fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed), params: Vec::new() }
    }

    /// Normal entries with standard deviation √(gain/inputs), so that a layer keeps the size of what it is given.
    pub fn weight(&mut self, name: &str, shape: &[usize], gain: f32) -> Result<Tensor> {
        let inputs: usize = shape[1..].iter().product();
        let scale = (gain / inputs as f32).sqrt();
        let count = shape.iter().product();
        let values = (0..count).map(|_| scale * Distribution::<f32>::sample(&StandardNormal, &mut self.rng)).collect();
        self.add(name, &Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu)?)
    }

    pub fn constant(&mut self, name: &str, size: usize, value: f32) -> Result<Tensor> {
        self.add(name, &Tensor::full(value, size, &Device::Cpu)?)
    }

    fn add(&mut self, name: &str, value: &Tensor) -> Result<Tensor> {
        let var = Var::from_tensor(value)?;
        let tensor = var.as_tensor().clone();
        self.params.push(NamedParam::new(name, Role::infer(name, var.dims()), var));
        Ok(tensor)
    }
}
