//! Every implementation of the tiles against the arithmetic, number by number.

use half::bf16;
use proptest::prelude::*;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::Threads;
use crate::bf16::arithmetic::{add_pair, rounded, widened};
use crate::bf16::portable::Portable;
use crate::bf16::product::Job;
use crate::bf16::{Panels, Scale};

/// Kinds of numbers that a matrix may hold.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// In [-1, 1].
    Plain,
    /// Of every exponent, so that sums overflow, vanish and pass through subnormal numbers.
    Wide,
    /// Around the smallest normal products, so that most results are subnormal or next to it.
    Small,
    /// Every pattern of 16 bits: infinities and NaN too.
    Any,
}

fn matrix(count: usize, kind: Kind, rng: &mut ChaCha8Rng) -> Vec<bf16> {
    let with_exponent = |rng: &mut ChaCha8Rng, exponents: std::ops::RangeInclusive<u16>| {
        bf16::from_bits(rng.random_range(0..=1_u16) << 15 | rng.random_range(exponents) << 7 | rng.random_range(0..128))
    };
    let number = |rng: &mut ChaCha8Rng| match kind {
        Kind::Plain => bf16::from_f32(rng.random_range(-1.0..1.0)),
        Kind::Wide => with_exponent(rng, 0..=254),
        Kind::Small => with_exponent(rng, 50..=72),
        Kind::Any => bf16::from_bits(rng.random()),
    };
    (0..count).map(|_| number(rng)).collect()
}

/// out ← α·LR + β·out by its definition.
fn by_definition(
    out: &[bf16],
    left: impl Fn(usize, usize) -> bf16,
    right: impl Fn(usize, usize) -> bf16,
    [r, k, c]: [usize; 3],
    scale: Scale,
) -> Vec<bf16> {
    let bits = |x: bf16| u32::from(x.to_bits());
    let element = |i: usize, j: usize| {
        let sum = (0..k).step_by(2).fold(0.0, |sum, l| {
            let pair = |x: &dyn Fn(usize) -> bf16| bits(x(l)) | if l + 1 < k { bits(x(l + 1)) << 16 } else { 0 };
            add_pair(sum, pair(&|l| left(i, l)), pair(&|l| right(l, j)))
        });
        let scaled = scale.product * sum;
        rounded(if scale.before == 0.0 { scaled } else { scaled + scale.before * widened(out[i * c + j]) })
    };
    (0..r * c).map(|index| element(index / c, index % c)).collect()
}

/// The results of every implementation that runs here, with names.
fn implementations(job: &Job<'_>, out: &[bf16]) -> Vec<(String, Vec<bf16>)> {
    let mut results = Vec::new();
    for threads in [Threads::One, Threads::All] {
        let mut portable = out.to_vec();
        job.run_on(&Portable::new(job), &mut portable, threads);
        results.push((format!("portable, {threads:?}"), portable));
        let mut plain = out.to_vec();
        job.run_on(&crate::bf16::portable::AsItStands(Portable::new(job)), &mut plain, threads);
        results.push((format!("portable without AVX2, {threads:?}"), plain));
        #[cfg(target_arch = "x86_64")]
        if let Some(processor) = crate::bf16::avx512::Avx512::detect() {
            let mut instruction = out.to_vec();
            job.run_on(&processor, &mut instruction, threads);
            results.push((format!("AVX-512, {threads:?}"), instruction));
        }
    }
    results
}

fn assert_same(name: &str, ours: &[bf16], expected: &[bf16], which: impl Fn(usize) -> bool) {
    for (index, (a, b)) in ours.iter().zip(expected).enumerate().filter(|(index, _)| which(*index)) {
        assert_eq!(a.to_bits(), b.to_bits(), "{name}: element {index} is {a:?}, not {b:?}");
    }
}

fn check([r, k, c]: [usize; 3], kinds: [Kind; 2], scale: Scale, seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (left, right) = (matrix(r * k, kinds[0], &mut rng), matrix(k * c, kinds[1], &mut rng));
    let out = matrix(r * c, Kind::Any, &mut rng);
    let expected = by_definition(&out, |i, l| left[i * k + l], |l, j| right[l * c + j], [r, k, c], scale);
    let (mut rows, mut columns) = (Panels::new(), Panels::new());
    rows.set_rows(&left, (r, k), Threads::One);
    columns.set_columns(&right, (k, c), Threads::One);
    for (name, ours) in implementations(&Job { rows: &rows, columns: &columns, scale, lower: false }, &out) {
        assert_same(&name, &ours, &expected, |_| true);
    }
    // LLᵀ
    let out = matrix(r * r, Kind::Any, &mut rng);
    let expected = by_definition(&out, |i, l| left[i * k + l], |l, j| left[j * k + l], [r, k, r], scale);
    for (name, ours) in implementations(&Job { rows: &rows, columns: &rows, scale, lower: true }, &out) {
        assert_same(&name, &ours, &expected, |index| index % r <= index / r);
    }
}

const KINDS: [Kind; 4] = [Kind::Plain, Kind::Wide, Kind::Small, Kind::Any];
const SCALES: [Scale; 3] =
    [Scale { product: 1.0, before: 0.0 }, Scale { product: 1.0, before: 3.4445 }, Scale { product: -4.775, before: 2.0315 }];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn all_implementations_have_the_bits_of_the_definition(
        r in 1_usize..70, k in 1_usize..40, c in 1_usize..120,
        left in 0_usize..4, right in 0_usize..4, scale in 0_usize..3, seed: u64,
    ) {
        check([r, k, c], [KINDS[left], KINDS[right]], SCALES[scale], seed);
    }
}

/// Sizes at and around the borders of tiles, panels and pieces.
#[test]
fn borders_of_tiles_and_pieces() {
    for (seed, size) in
        [[1, 1, 1], [8, 2, 48], [9, 3, 49], [7, 1, 47], [16, 5, 16], [17, 4, 17], [1, 300, 2], [2, 3, 300], [300, 3, 50]]
            .into_iter()
            .enumerate()
    {
        for kind in KINDS {
            check(size, [kind, Kind::Plain], SCALES[seed % 3], seed as u64);
        }
    }
}

/// The sums themselves, before they are rounded to bf16, for many pairs of awkward numbers.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_instruction_is_what_the_arithmetic_says() {
    use crate::bf16::product::Processor as _;
    let Some(processor) = crate::bf16::avx512::Avx512::detect() else {
        eprintln!("no AVX512-BF16 here");
        return;
    };
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut rows, mut columns) = (Panels::new(), Panels::new());
    for round in 0..6_000 {
        let depth = rng.random_range(1..12);
        let mut numbers = |size: usize| matrix(size * depth, KINDS[round % 4], &mut rng);
        let (left, right) = (numbers(16), numbers(48));
        rows.set_rows(&left, (16, depth), Threads::One);
        columns.set_rows(&right, (48, depth), Threads::One);
        let job = Job { rows: &rows, columns: &columns, scale: SCALES[0], lower: false };
        let portable = Portable::new(&job);
        for row in 0..2 {
            let (tile, emulated) = (processor.tile::<3>(&job, row, 0), portable.tile::<3>(&job, row, 0));
            for (i, (tile, emulated)) in tile.iter().zip(&emulated).enumerate() {
                for (j, (&a, &b)) in tile.as_flattened().iter().zip(emulated.as_flattened()).enumerate() {
                    let row = rows.panel(0).iter().map(|pairs| pairs[8 * row + i]);
                    let column = columns.panel(j / 16).iter().map(|pairs| pairs[j % 16]);
                    let defined = row.zip(column).fold(0.0, |sum, (a, b)| add_pair(sum, a, b));
                    let same = |x: f32, y: f32| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
                    assert!(same(a, defined) && same(b, defined), "{a:e} and {b:e}, not {defined:e} in round {round}");
                }
            }
        }
    }
}
