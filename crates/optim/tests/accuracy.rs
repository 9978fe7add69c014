//! The accuracy of the orthogonalizers, as the table in docs/orthogonalizers.md.
//!
//! The test computes every number anew and compares it with the file. With `ISORATE_UPDATE_DOCS=1` it writes the file.
#![allow(clippy::unwrap_used, reason = "tests fail by a panic")]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use common::{frobenius, with_singular_values};
use isorate_optim::{ExactPolar, IterationDtype, NewtonSchulz, OddPolynomial, Orthogonalize};

const INTRODUCTION: &str = "\
# Which orthogonalizer

- **Jordan's quintic**, five steps (`newton-schulz`, the default): what Muon was published with and what
  `torch.optim.Muon` does. Singular values end anywhere between 0.68 and 1.13, so the result is 20 to 30% away from
  UVᵀ however well the matrix is conditioned. Take it to reproduce published runs.
- **You** (`you`): the same work, and 2% away from UVᵀ as long as no singular value lies under 0.01·‖X‖_F. Take it
  for directions close to UVᵀ when the small singular values are noise.
- **Polar Express** (`polar-express`): the same work, with the steepest start: it still lifts singular values of
  0.001·‖X‖_F to 0.86, where the other two reach 0.47, and is 5 to 15% away from UVᵀ elsewhere. Take it for
  ill-conditioned matrices.
- **Exact** (`exact`): UVᵀ up to rounding, whatever the condition number; what SpecGD is defined by. On the CPU it
  takes 1.6 to 2.6 times as long as five steps (512×512 and 128×784 in f32, one thread). On other devices the
  matrix is copied to the CPU and back. It drops singular values at or under max(r, c)·ε·σ_max, where ε belongs to
  the type of the matrix: in f32 that is 8e-6·σ_max for 64×64 and 6e-5·σ_max for 512×512.

Every iteration maps small singular values to multiples of themselves, for σ/‖X‖_F near 0 485, 493 and 970 times as
large (in the order above), so none brings the part of the spectrum under 1e-4·‖X‖_F near 1. That is a truncation
too, but a smooth one.

# Accuracy

Matrices with random singular vectors and singular values from 1 down to 1/κ, evenly spaced in the logarithm;
k = min(r, c), and O is the result.

- residual: ‖OᵀO − I‖_F/√k, on the side of length k;
- distance: ‖O − UVᵀ‖_F/√k, and in the spectral norm ‖O − UVᵀ‖₂;
- f32: ‖O₃₂ − O‖_F/√k, the difference when matrix and iteration are in f32. Rectangular matrices take the Gram form
  of the iteration, square ones the plain form;
- bf16: the same difference when the iteration is in bfloat16, ‖O₁₆ − O‖_F/√k, and the residual of O₁₆.

UVᵀ comes from the singular vectors that made the matrix, and everything but the last three columns is in f64.

";

const SHAPES: [(usize, usize); 4] = [(64, 64), (64, 256), (256, 64), (512, 512)];
const CONDITIONS: [f64; 5] = [1.0, 10.0, 1e2, 1e4, 1e6];

/// A name, the method, and the same in bfloat16.
type Named = (&'static str, Box<dyn Orthogonalize>, Option<Box<dyn Orthogonalize>>);

fn methods() -> Vec<Named> {
    let dtype = IterationDtype::BF16;
    let polynomial =
        |name, it: OddPolynomial| -> Named { (name, Box::new(it.clone()), Some(Box::new(OddPolynomial { dtype, ..it }))) };
    vec![
        ("Jordan ×5", Box::new(NewtonSchulz::jordan(5)), Some(Box::new(NewtonSchulz { steps: 5, dtype }))),
        polynomial("You", OddPolynomial::you()),
        polynomial("Polar Express", OddPolynomial::polar_express()),
        ("Exact", Box::new(ExactPolar), None),
    ]
}

/// A matrix with its polar factor.
fn sample((rows, columns): (usize, usize), condition: f64) -> (Tensor, Tensor) {
    let k = rows.min(columns);
    let sigma: Vec<f64> = (0..k).map(|i| condition.powf(-(i as f64) / (k - 1) as f64)).collect();
    (with_singular_values(rows, columns, &sigma, 7), with_singular_values(rows, columns, &vec![1.0; k], 7))
}

fn spectral_norm(x: &Tensor) -> f64 {
    let (rows, columns) = x.dims2().unwrap();
    let values: Vec<f64> = x.flatten_all().unwrap().to_vec1().unwrap();
    faer::MatRef::from_row_major_slice(&values, rows, columns).singular_values().unwrap()[0]
}

fn measure(method: &dyn Orthogonalize, half: Option<&dyn Orthogonalize>, x: &Tensor, polar: &Tensor) -> [Option<f64>; 6] {
    let (rows, columns) = x.dims2().unwrap();
    let k = rows.min(columns);
    let root = (k as f64).sqrt();
    let o = method.orthogonalize(x).unwrap();
    let residual = |o: &Tensor| {
        let t = o.t().unwrap().contiguous().unwrap();
        let gram = if rows <= columns { o.matmul(&t) } else { t.matmul(o) }.unwrap();
        frobenius(&(gram - Tensor::eye(k, DType::F64, &Device::Cpu).unwrap()).unwrap()) / root
    };
    let half = half.map(|half| half.orthogonalize(x).unwrap());
    let difference = (&o - polar).unwrap();
    let single = method.orthogonalize(&x.to_dtype(DType::F32).unwrap()).unwrap().to_dtype(DType::F64).unwrap();
    [
        Some(residual(&o)),
        Some(frobenius(&difference) / root),
        Some(spectral_norm(&difference)),
        Some(frobenius(&(single - &o).unwrap()) / root),
        half.as_ref().map(|half| frobenius(&(half - &o).unwrap()) / root),
        half.as_ref().map(residual),
    ]
}

fn text(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".into() };
    if value >= 1e-3 { format!("{value:.3}") } else { format!("{value:.0e}") }
}

fn table() -> String {
    let mut table = String::from(
        "| orthogonalizer | shape | κ | residual | distance, F | distance, 2 | f32 | bf16 | residual, bf16 |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let samples: Vec<_> =
        SHAPES.iter().flat_map(|&shape| CONDITIONS.map(|condition| (shape, condition, sample(shape, condition)))).collect();
    for (name, method, half) in methods() {
        for ((rows, columns), condition, (x, polar)) in &samples {
            let numbers = measure(&*method, half.as_deref(), x, polar).map(text).join(" | ");
            let condition = if *condition < 1e3 { condition.to_string() } else { format!("{condition:e}") };
            writeln!(table, "| {name} | {rows}×{columns} | {condition} | {numbers} |").unwrap();
        }
    }
    table
}

/// Numbers agree to 2%; those of rounding errors, which depend on the processor, within a factor of 8.
fn agree(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 0.02 * a.max(b) + 6e-4 || (a.max(b) < 5e-3 && a < 8.0 * b && b < 8.0 * a),
        _ => a == b,
    }
}

#[test]
fn the_table_is_what_the_orthogonalizers_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/orthogonalizers.md");
    let computed = format!("{INTRODUCTION}{}", table());
    if std::env::var_os("ISORATE_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &computed).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    let hint = "hint: ISORATE_UPDATE_DOCS=1 writes the file anew";
    assert_eq!(computed.lines().count(), written.lines().count(), "{}: {hint}", path.display());
    for (ours, theirs) in computed.lines().zip(written.lines()) {
        let same = ours == theirs
            || (ours.starts_with('|')
                && ours.split('|').count() == theirs.split('|').count()
                && ours.split('|').zip(theirs.split('|')).all(|(a, b)| agree(a.trim(), b.trim())));
        assert!(same, "{}\n  computed: {ours}\n  written:  {theirs}\n{hint}", path.display());
    }
}
