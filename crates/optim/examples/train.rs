//! Trains a small network on two interleaved spirals, with Muon on its hidden matrices and `AdamW` on everything else.
#![allow(clippy::print_stdout, reason = "the output is the purpose of this program")]

use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Linear, Module, VarBuilder, VarMap, linear, loss};
use isorate_optim::{AdamW, GroupRules, Muon, NamedParam, Optimizer, RuleConfig};

struct Network {
    hidden: [Linear; 2],
    head: Linear,
}

impl Network {
    fn new(vb: &VarBuilder) -> candle_core::Result<Self> {
        let hidden = [linear(2, 64, vb.pp("fc1"))?, linear(64, 64, vb.pp("fc2"))?];
        Ok(Self { hidden, head: linear(64, 2, vb.pp("head"))? })
    }
}

impl Module for Network {
    fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let x = self.hidden[0].forward(x)?.relu()?;
        let x = self.hidden[1].forward(&x)?.relu()?;
        self.head.forward(&x)
    }
}

/// `n` points on each of two spirals, and which spiral they belong to.
fn spirals(n: u32, device: &Device) -> candle_core::Result<(Tensor, Tensor)> {
    let mut points = Vec::new();
    let mut labels = Vec::new();
    for class in 0..2_u32 {
        for i in 0..n {
            let t = i as f32 / n as f32;
            let angle = 9.0 * t + std::f32::consts::PI * class as f32;
            points.extend([t * angle.cos(), t * angle.sin()]);
            labels.push(class);
        }
    }
    Ok((Tensor::from_vec(points, (labels.len(), 2), device)?, Tensor::new(labels, device)?))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::Cpu;
    let (x, y) = spirals(200, &device)?;
    let vars = VarMap::new();
    let network = Network::new(&VarBuilder::from_varmap(&vars, DType::F32, &device))?;

    // A VarMap iterates in the order of a hash map; `infer_all` sorts by name and derives the roles.
    let named = vars.data().lock().map_err(|e| e.to_string())?.clone();
    let groups =
        GroupRules::hidden(RuleConfig::Muon(Muon::new(0.02)), RuleConfig::AdamW(AdamW { lr: 1e-2, ..AdamW::beside_muon() }));
    let mut optimizer = Optimizer::new(NamedParam::infer_all(named), &groups)?;
    print!("{}", optimizer.describe());

    let steps = 300;
    for step in 0..=steps {
        let logits = network.forward(&x)?;
        let loss = loss::cross_entropy(&logits, &y)?;
        if step % 50 == 0 {
            let right = logits.argmax(D::Minus1)?.eq(&y)?.to_dtype(DType::F32)?.mean_all()?;
            println!("step {step:3}  loss {:.4}  accuracy {:.3}", loss.to_scalar::<f32>()?, right.to_scalar::<f32>()?);
        }
        // A linear schedule.
        optimizer.set_lr_factor(1.0 - f64::from(step) / f64::from(steps + 1))?;
        optimizer.backward_step(&loss)?;
    }
    Ok(())
}
