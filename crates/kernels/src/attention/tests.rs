use candle_core::Device;
use proptest::prelude::*;

use super::*;
use crate::testing::{numbers, pass, reference, same_on_any_threads, uniform};

/// For each head and query the softmax over the keys up to it.
fn plain(qkv: &[f64], (b, t, heads, d): (usize, usize, usize, usize)) -> Vec<f64> {
    let mut out = vec![0.0; b * t * heads * d];
    let part = |b: usize, t_: usize, index: usize, head: usize| &qkv[((b * t + t_) * 3 + index) * heads * d + head * d..][..d];
    for (b, head) in (0..b).flat_map(|b| (0..heads).map(move |head| (b, head))) {
        for i in 0..t {
            let score = |j| part(b, i, 0, head).iter().zip(part(b, j, 1, head)).map(|(q, k)| q * k).sum::<f64>();
            let weights: Vec<f64> = (0..=i).map(|j| (score(j) / (d as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (j, weight) in weights.iter().enumerate() {
                let out = &mut out[((b * t + i) * heads + head) * d..][..d];
                out.iter_mut().zip(part(b, j, 2, head)).for_each(|(out, v)| *out += weight / total * v);
            }
        }
    }
    out
}

fn agrees(b: usize, t: usize, heads: usize, d: usize, seed: u64) {
    // Larger scores than one would otherwise draw.
    let qkv = (uniform(&[b, t, 3 * heads * d], seed) * 2.0).unwrap();
    let g = uniform(&[b, t, heads * d], seed + 1);
    let ours = same_on_any_threads(|| pass(&[&qkv], &g, |x| causal_attention(&x[0], heads)));
    ours.assert_near(&pass(&[&qkv], &g, |x| composed(&x[0], heads)), 1e-5);
    if b * t * t * heads * heads * d * d < 60_000 {
        ours.assert_near(&reference(&[&qkv], &g, |x| plain(&x[0], (b, t, heads, d))), 1e-5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn is_the_formula(b in 1..3_usize, t in 1..20_usize, heads in 1..4_usize, d in 1..7_usize, seed in 0..1000_u64) {
        agrees(b, t, heads, d, seed);
    }
}

#[test]
fn whole_blocks_and_beyond() {
    for (b, t, heads, d) in [(3, 64, 4, 32), (1, 16, 1, 16), (2, 17, 2, 48), (1, 65, 1, 33), (1, 40, 3, 5)] {
        agrees(b, t, heads, d, 7);
    }
}

#[test]
fn large_scores_are_no_trouble() {
    let qkv = (uniform(&[1, 20, 12], 3) * 200.0).unwrap();
    let out = numbers(&causal_attention(&qkv, 2).unwrap());
    assert!(out.iter().all(|x| x.is_finite()));
}

/// What is not a number reaches all places after it, and none in the blocks before.
#[test]
fn what_is_not_finite_comes_out() {
    let (t, width, place) = (50, 8, 33);
    for index in 0..3 {
        let mut qkv = numbers(&uniform(&[1, t, 3 * width], 5));
        qkv[place * 3 * width + index * width] = f32::NAN;
        let qkv = Tensor::from_vec(qkv, (1, t, 3 * width), &Device::Cpu).unwrap();
        let ours = causal_attention(&qkv, 1).unwrap().to_vec3::<f32>().unwrap();
        for (i, row) in ours[0].iter().enumerate() {
            let nan = row.iter().any(|x| x.is_nan());
            let reached = if index == 0 { i == place } else { i >= place };
            assert!(nan == reached || (32..place).contains(&i), "part {index}, place {i}: {row:?}");
        }
    }
}

#[test]
fn other_layouts_and_wrong_sizes() {
    let qkv = uniform(&[5, 2, 12], 6).transpose(0, 1).unwrap();
    let contiguous = qkv.contiguous().unwrap();
    assert_eq!(numbers(&causal_attention(&qkv, 2).unwrap()), numbers(&causal_attention(&contiguous, 2).unwrap()));
    for heads in [0, 3] {
        let error = causal_attention(&contiguous, heads).unwrap_err().to_string();
        assert!(error.contains("[2, 5, 12]"), "{error}");
    }
    assert_eq!(causal_attention(&uniform(&[2, 0, 12], 1), 2).unwrap().dims(), [2, 0, 4]);
}
