//! What Muon holds: one momentum for each parameter, and scratch that is reused; within a step, a direction and an
//! orthogonal matrix for each parameter. Counted by the allocator. A test of its own: nothing else allocates beside it.
//!
//! The scratch itself has no bound here: faer's product reserves, for each thread, addresses for some multiple of the
//! processor's last cache, of which it touches what it needs.
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
    let resident = resident_bytes();
    HEAP.reset_peak_usage();
    for _ in 0..50 {
        optimizer.step(&gradients).unwrap();
        assert!(held() <= warm + BOOKKEEPING, "{} bytes after a step, {warm} before", held());
    }
    let transient = HEAP.peak_usage().saturating_sub(before + warm);
    println!("parameters {parameters}, state {momenta}, kept after 3 steps {warm}, within a step {transient} more");
    assert!(transient <= 2 * parameters + BOOKKEEPING, "{transient} bytes within a step, {parameters} of parameters");
    if let (Some(before), Some(after)) = (resident, resident_bytes()) {
        println!("resident after 3 steps {before}, after 53 {after}");
        assert!(after <= before + parameters, "resident memory grew from {before} to {after} bytes");
    }
}

/// Resident memory of this process, where the system tells it as Linux does.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}
