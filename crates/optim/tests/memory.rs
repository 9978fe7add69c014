//! What Muon holds: one momentum for each parameter, and scratch that is reused; within a step, a direction and an
//! orthogonal matrix for each parameter. Counted by the allocator. A test of its own: nothing else allocates beside it.
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

    reserve_product_buffers();
    let before = HEAP.current_usage();
    let held = || HEAP.current_usage().saturating_sub(before);
    let mut optimizer = Optimizer::new(params, &GroupRules::uniform(RuleConfig::Muon(Muon::new(0.02)))).unwrap();
    let momenta = held();
    assert!((parameters..parameters + BOOKKEEPING).contains(&momenta), "{momenta} bytes of state, {parameters} of parameters");

    for _ in 0..3 {
        optimizer.step(&gradients).unwrap();
    }
    let warm = held();
    assert!(warm - momenta <= SCRATCH * parameters, "{} bytes of scratch, {parameters} of parameters", warm - momenta);
    // A thread makes buffers of its own when it first takes a small matrix, at whichever step that is.
    let late = BOOKKEEPING * rayon::current_num_threads();
    let resident = resident_bytes();
    HEAP.reset_peak_usage();
    for _ in 0..50 {
        optimizer.step(&gradients).unwrap();
        assert!(held() <= warm + late, "{} bytes after a step, {warm} before", held());
    }
    let transient = HEAP.peak_usage().saturating_sub(before + warm);
    println!("parameters {parameters}, state {momenta}, kept after 3 steps {warm}, within a step {transient} more");
    assert!(transient <= 2 * parameters + late, "{transient} bytes within a step, {parameters} of parameters");
    if let (Some(before), Some(after)) = (resident, resident_bytes()) {
        println!("resident after 3 steps {before}, after 53 {after}");
        assert!(after <= before + parameters, "resident memory grew from {before} to {after} bytes");
    }
}

/// Scratch that stays, at most, in units of the parameters: two matrices of the largest size, and five squares of the
/// smaller side.
const SCRATCH: usize = 4;

/// The matrix product reserves, once for each thread, address space of twice the last cache (64 MiB for one of 32 MiB) and
/// touches only as much of it as the factors need. That is a matter of the machine and not of the optimizer.
fn reserve_product_buffers() {
    let product = || {
        let x = faer::Mat::<f32>::identity(32, 32);
        faer::linalg::matmul::matmul(&mut faer::Mat::zeros(32, 32), faer::Accum::Replace, &x, &x, 1.0, faer::Par::Seq);
    };
    product();
    rayon::broadcast(|_| product());
}

/// Resident memory of this process, where the system tells it as Linux does.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? << 10)
}
