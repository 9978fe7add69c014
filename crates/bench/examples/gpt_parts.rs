use candle_core::{Device, Tensor};
use isorate_models::{Gpt, GptConfig, Mode, Model as _, ParameterKind};
use isorate_optim::{AdamW, GroupRules, NamedParam, Optimizer, Role, RuleConfig};
use rand::SeedableRng as _;
use std::time::Instant;
fn main() {
    let fused = std::env::args().nth(1).is_none_or(|a| a != "plain");
    let secs: f64 = std::env::args().nth(2).map_or(8.0, |a| a.parse().unwrap());
    rayon::scope(|_| run(fused, secs));
}
fn run(fused: bool, secs: f64) {
    let config = GptConfig {
        vocabulary: 4096,
        context: 64,
        width: 128,
        layers: 2,
        heads: 4,
        mlp_ratio: 4,
        tied: std::env::var("TIED").is_ok(),
    };
    let gpt = Gpt::new(config, &mut rand_chacha::ChaCha8Rng::seed_from_u64(0), &Device::Cpu).unwrap();
    let params = gpt
        .parameters()
        .into_iter()
        .map(|p| {
            NamedParam::new(
                p.name,
                match p.kind {
                    ParameterKind::Vector => Role::Vector,
                    ParameterKind::Embedding => Role::Embedding,
                    ParameterKind::Head => Role::Head,
                    _ => Role::Matrix,
                },
                p.var,
            )
        })
        .collect();
    let mut opt = Optimizer::new(params, &GroupRules::uniform(RuleConfig::AdamW(AdamW::new(1e-3)))).unwrap();
    let ids: Vec<u32> = (0..32 * 64u32).map(|i| (i * 7919 + i * i % 977) % 4096).collect();
    let targets: Vec<u32> = ids.iter().map(|i| (i * 31 + 7) % 4096).collect();
    let t = |v: Vec<u32>| Tensor::from_vec(v, (32, 64), &Device::Cpu).unwrap();
    let (ids, targets) = (t(ids), t(targets));
    let (a, b) = (
        Tensor::randn(0f32, 1., (1024, 1024), &Device::Cpu).unwrap(),
        Tensor::randn(0f32, 1., (1024, 1024), &Device::Cpu).unwrap(),
    );
    let mut times: [Vec<f64>; 5] = Default::default();
    let start = Instant::now();
    let mut n = 0;
    while start.elapsed().as_secs_f64() < secs {
        let t0 = Instant::now();
        let _ = a.matmul(&b).unwrap();
        let t1 = Instant::now();
        let loss = if fused {
            gpt.loss(&ids, &targets, Mode::Train).unwrap()
        } else {
            isorate_kernels::cross_entropy(
                &gpt.logits(&ids, Mode::Train).unwrap().flatten(0, 1).unwrap(),
                &targets.flatten_all().unwrap(),
            )
            .unwrap()
        };
        let t2 = Instant::now();
        let grads = isorate_kernels::backward(&loss).unwrap();
        let t3 = Instant::now();
        opt.step(&grads).unwrap();
        drop(grads);
        drop(loss);
        let t4 = Instant::now();
        n += 1;
        if n <= 3 {
            continue;
        }
        for (v, d) in times.iter_mut().zip([t1 - t0, t2 - t1, t3 - t2, t4 - t3, t4 - t1]) {
            v.push(d.as_secs_f64() * 1e3);
        }
    }
    let m = times.map(|mut v| {
        v.sort_by(f64::total_cmp);
        v[v.len() / 2]
    });
    println!(
        "matmul {:.2} ms ({:.0} GFLOP/s)  forward {:.2}  backward {:.2}  optimizer {:.2}  step {:.2} ms (n {n})",
        m[0],
        2.147483648 / m[0] * 1e3,
        m[1],
        m[2],
        m[3],
        m[4]
    );
}
