use candle_core::Device;
use proptest::prelude::*;

use super::*;
use crate::testing::{numbers, pass, reference, same_on_any_threads, uniform};

/// A mask \[b, t\] that marks some keys of each sequence, or none: causal attention.
fn some_keys(b: usize, t: usize, causal: bool) -> Option<Vec<bool>> {
    (!causal).then(|| (0..b).flat_map(|b| (0..t).map(move |j| (j + b).is_multiple_of(3) || j == t / 2)).collect())
}

fn as_tensor(marked: &[bool], t: usize) -> Tensor {
    Tensor::from_iter(marked.iter().map(|&marked| u32::from(marked)), &Device::Cpu).unwrap().reshape(((), t)).unwrap()
}

fn ours(qkv: &Tensor, heads: usize, marked: Option<&Vec<bool>>) -> Result<Tensor> {
    match marked {
        None => causal_attention(qkv, heads),
        Some(marked) => masked_attention(qkv, heads, &as_tensor(marked, qkv.dim(1)?)),
    }
}

/// For each head and query the softmax over the keys that it sees.
fn plain(qkv: &[f64], (b, t, heads, d): (usize, usize, usize, usize), marked: Option<&Vec<bool>>) -> Vec<f64> {
    let mut out = vec![0.0; b * t * heads * d];
    let part = |b: usize, t_: usize, index: usize, head: usize| &qkv[((b * t + t_) * 3 + index) * heads * d + head * d..][..d];
    for (b, head) in (0..b).flat_map(|b| (0..heads).map(move |head| (b, head))) {
        for i in 0..t {
            let score = |j| part(b, i, 0, head).iter().zip(part(b, j, 1, head)).map(|(q, k)| q * k).sum::<f64>();
            let keys: Vec<usize> = (0..t).filter(|&j| marked.map_or(j <= i, |marked| marked[b * t + j])).collect();
            let weights: Vec<f64> = keys.iter().map(|&j| (score(j) / (d as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (&j, weight) in keys.iter().zip(&weights) {
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
    for marked in [true, false].map(|causal| some_keys(b, t, causal)) {
        let result = same_on_any_threads(|| pass(&[&qkv], &g, |x| ours(&x[0], heads, marked.as_ref())));
        let op = Attention { heads, marked };
        result.assert_near(&pass(&[&qkv], &g, |x| op.composed(&x[0])), 1e-5);
        if b * t * t * heads * heads * d * d < 60_000 {
            let plain = |x: &[Vec<f64>]| plain(&x[0], (b, t, heads, d), op.marked.as_ref());
            result.assert_near(&reference(&[&qkv], &g, plain), 1e-5);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn is_the_formula(b in 1..3_usize, t in 1..20_usize, heads in 1..4_usize, d in 1..7_usize, seed in 0..1000_u64) {
        agrees(b, t, heads, d, seed);
    }

    /// What stands at padding changes nothing elsewhere, not even a bit, and gets no gradient as a key or a value.
    #[test]
    fn padding_is_not_seen(t in 2..40_usize, tokens in 1..39_usize, seed in 0..1000_u64) {
        let (tokens, heads, width) = (tokens.min(t - 1), 2, 6);
        let qkv = uniform(&[1, t, 3 * width], seed);
        let other = Tensor::cat(&[&qkv.narrow(1, 0, tokens).unwrap(), &uniform(&[1, t - tokens, 3 * width], seed + 1)], 1).unwrap();
        let marked: Vec<bool> = (0..t).map(|j| j < tokens).collect();
        let g = uniform(&[1, t, width], seed + 2);
        let [one, two] = [qkv, other].map(|qkv| pass(&[&qkv], &g, |x| ours(&x[0], heads, Some(&marked))));
        prop_assert_eq!(&one.y[..tokens * width], &two.y[..tokens * width]);
        for row in one.gradients[0].chunks(3 * width).skip(tokens) {
            prop_assert!(row[width..].iter().all(|&g| g == 0.0), "{row:?}");
        }
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
    for marked in [true, false].map(|causal| some_keys(1, 20, causal)) {
        let out = numbers(&ours(&qkv, 2, marked.as_ref()).unwrap());
        assert!(out.iter().all(|x| x.is_finite()));
    }
}

/// What is not a number reaches all places after it, and none in the blocks before; without causality those that see it.
#[test]
fn what_is_not_finite_comes_out() {
    let (t, width, place) = (50, 8, 33);
    for (index, causal) in (0..3).flat_map(|index| [(index, true), (index, false)]) {
        let mut qkv = numbers(&uniform(&[1, t, 3 * width], 5));
        qkv[place * 3 * width + index * width] = f32::NAN;
        let qkv = Tensor::from_vec(qkv, (1, t, 3 * width), &Device::Cpu).unwrap();
        let rows = ours(&qkv, 1, some_keys(1, t, causal).as_ref()).unwrap().to_vec3::<f32>().unwrap();
        for (i, row) in rows[0].iter().enumerate() {
            let nan = row.iter().any(|x| x.is_nan());
            let reached = if index == 0 { i == place } else { i >= place || !causal };
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
    // Masks: one that is not contiguous, and what they cannot be.
    let marked = some_keys(2, 5, false).unwrap();
    let mask = as_tensor(&marked, 5);
    let turned = mask.t().unwrap().contiguous().unwrap().t().unwrap();
    let result = |mask: &Tensor| masked_attention(&contiguous, 2, mask);
    assert_eq!(numbers(&result(&turned).unwrap()), numbers(&result(&mask).unwrap()));
    let error = |mask: &Tensor| result(mask).unwrap_err().to_string();
    assert!(error(&as_tensor(&marked, 2)).contains("a mask of shape [2, 5] and type u32, not [5, 2] and U32"));
    assert!(error(&mask.to_dtype(DType::U8).unwrap()).contains("not [2, 5] and U8"));
    let none = as_tensor(&[true, true, true, true, true, false, false, false, false, false], 5);
    assert!(error(&none).contains("marks no token of sequence 1"));
}
