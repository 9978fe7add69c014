//! What Muon holds: one momentum for each parameter, and scratch that is reused. Counted by the allocator, so that the
//! numbers are those of the program and not of the machine. A test of its own: nothing else allocates beside it.
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use isorate_optim::{GroupRules, Muon, NamedParam, Optimizer, Role, RuleConfig};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The weight matrices of the network 784-512-512-10.
const SHAPES: [(usize, usize); 3] = [(512, 784), (512, 512), (10, 512)];
/// Names, slots, hash maps: everything that is not an array of numbers.
const BOOKKEEPING: usize = 64 << 10;

#[test]
fn muon_holds_one_momentum_for_each_parameter_and_reuses_its_scratch() {
    let mut gradients = GradStore::default();
    let mut params = Vec::new();
    for (i, shape) in SHAPES.into_iter().enumerate() {
        let var = Var::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        gradients.insert(&var, Tensor::rand(-1.0_f32, 1.0, shape, &Device::Cpu).unwrap());
        params.push(NamedParam::new(format!("w{i}"), Role::Matrix, var));
    }
    let bytes = |(rows, columns): (usize, usize)| rows * columns * size_of::<f32>();
    let parameters: usize = SHAPES.map(bytes).iter().sum();

    let before = HEAP.current_usage();
    let held = || HEAP.current_usage().saturating_sub(before);
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Muon(Muon::new(0.02)))).unwrap();
    let momenta = held();
    assert!((parameters..parameters + BOOKKEEPING).contains(&momenta), "{momenta} bytes of state, {parameters} of parameters");

    // Threads, and buffers of the matrix product, are made once.
    for _ in 0..3 {
        optimizer.step(&gradients).unwrap();
    }
    let warm = held();
    HEAP.reset_peak_usage();
    for _ in 0..50 {
        optimizer.step(&gradients).unwrap();
        assert!(held() <= warm + BOOKKEEPING, "{} bytes after a step, {warm} before", held());
    }
    let peak = HEAP.peak_usage().saturating_sub(before);
    println!("parameters {parameters}, held after making {momenta}, after 3 steps {warm}, peak of 50 more {peak}");
    assert!(peak - momenta <= SCRATCH * parameters, "{} bytes of scratch, {parameters} of parameters", peak - momenta);
}

/// Scratch of a step at most, in units of the parameters: the directions, and a few squares of the smaller side.
const SCRATCH: usize = 4;
