//! What a step of the simulation costs, and a polar factor against the bare decomposition.
//!
//! `numpy_step.py` beside this file runs this benchmark and the same step in `NumPy` in turn, and prints the ratio.

use divan::Bencher;
use divan::counter::ItemsCount;
use faer::Mat;
use isorate_theory::{Mixture, MixtureConfig, Network, Rule, Simulation, polar_factor};

fn main() {
    divan::main();
}

/// k = 20 classes with priors 1/c, normalized, in d = 200 dimensions.
fn heavy_tailed() -> Mixture {
    let weights: Vec<f64> = (1..=20).map(|c| 1.0 / f64::from(c)).collect();
    let sum: f64 = weights.iter().sum();
    let priors = weights.iter().map(|weight| weight / sum).collect();
    Mixture::new(MixtureConfig { dim: Some(200), ..MixtureConfig::new(priors, 1.0, 1.0) }).expect("a valid mixture")
}

const STEPS: usize = 1000;

/// Steps of `SpecGD` on matrices, before the first saturation; the time is that of 1,000 steps.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn specgd_1000_steps_20x200(bencher: Bencher<'_, '_>) {
    let moments = heavy_tailed().matrix_moments().expect("200 dimensions are few");
    bencher
        .counter(ItemsCount::new(STEPS))
        .with_inputs(|| Simulation::new(&moments, &Network::LINEAR, Rule::SpecGd, 1e-6, 0).expect("valid settings"))
        .bench_local_values(|mut simulation| {
            for _ in 0..STEPS {
                simulation.advance().expect("a small step");
            }
            simulation
        });
}

/// A dense matrix without structure.
fn dense(rows: usize, cols: usize) -> Mat<f64> {
    let mut state = 1_u64;
    Mat::from_fn(rows, cols, |_, _| {
        // Knuth's linear congruential generator: any matrix of full rank will do.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    })
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn polar_factor_1024x784(bencher: Bencher<'_, '_>) {
    let matrix = dense(1024, 784);
    bencher.bench_local(|| polar_factor(matrix.as_ref()).expect("converges"));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn faer_thin_svd_1024x784(bencher: Bencher<'_, '_>) {
    faer::set_global_parallelism(faer::Par::Seq);
    let matrix = dense(1024, 784);
    bencher.bench_local(|| matrix.thin_svd().expect("converges"));
}
