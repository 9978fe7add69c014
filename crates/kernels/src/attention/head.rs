//! The attention of one sequence, head by head and some queries at a time.

use crate::product::{Strided, product};
use crate::simd::{Kernel, LANES, exponentials, sum2};

/// Queries that are worked on together. In causal attention the keys after the last of them are left out.
const QUERIES: usize = 16;

/// Which keys a query sees.
#[derive(Clone, Copy)]
pub(super) enum Mask<'a> {
    /// Those up to its own place.
    Causal,
    /// Those that are marked, one at least.
    Keys(&'a [bool]),
}

impl Mask<'_> {
    /// Where the keys end that the first queries, as many as said, may see.
    fn seen(self, queries: usize) -> usize {
        match self {
            Self::Causal => queries,
            Self::Keys(marked) => marked.len(),
        }
    }
}

/// t, h and d.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub length: usize,
    pub heads: usize,
    pub width: usize,
}

impl Sizes {
    /// h·d.
    fn model(self) -> usize {
        self.heads * self.width
    }

    /// t, filled up to whole vectors.
    fn long(self) -> usize {
        self.length.next_multiple_of(LANES)
    }

    /// d, filled up to whole vectors.
    fn wide(self) -> usize {
        self.width.next_multiple_of(LANES)
    }

    /// Where queries (0), keys (1) or values (2) of a head begin in a row of `qkv`.
    fn part(self, index: usize, head: usize) -> usize {
        (index * self.heads + head) * self.width
    }
}

/// Matrices with rows filled up with zeros to whole vectors.
#[derive(Default)]
pub(super) struct Scratch {
    keys: Vec<f32>,
    keys_t: Vec<f32>,
    values: Vec<f32>,
    values_t: Vec<f32>,
    queries: Vec<f32>,
    grad: Vec<f32>,
    probabilities: Vec<f32>,
    of_scores: Vec<f32>,
    of_keys: Vec<f32>,
    of_values: Vec<f32>,
    out: Vec<f32>,
}

/// Zeros in the place of what was there.
fn clear(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.clear();
    buffer.resize(length, 0.0);
    buffer
}

/// Columns from `start` on of rows that are `stride` long, \[rows, width\], into rows of `wide` elements.
fn copy(into: &mut [f32], wide: usize, from: &[f32], (start, stride, width): (usize, usize, usize)) {
    for (into, from) in into.chunks_exact_mut(wide).zip(from.chunks_exact(stride)) {
        into[..width].copy_from_slice(&from[start..start + width]);
    }
}

/// The way back of [`copy`].
fn copy_back(into: &mut [f32], (start, stride, width): (usize, usize, usize), from: &[f32], wide: usize) {
    for (into, from) in into.chunks_exact_mut(stride).zip(from.chunks_exact(wide)) {
        into[start..start + width].copy_from_slice(&from[..width]);
    }
}

/// [`copy`] of the transpose: \[width, rows\] in rows of `long` elements.
fn copy_transposed(into: &mut [f32], long: usize, from: &[f32], (start, stride, width): (usize, usize, usize)) {
    for (column, from) in from.chunks_exact(stride).enumerate() {
        for (row, value) in from[start..start + width].iter().enumerate() {
            into[row * long + column] = *value;
        }
    }
}

pub(super) struct Forward<'a> {
    pub sizes: Sizes,
    pub mask: Mask<'a>,
    /// \[t, 3·h·d\].
    pub qkv: &'a [f32],
    /// \[t, h·d\].
    pub out: &'a mut [f32],
    pub scratch: &'a mut Scratch,
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let Self { sizes, mask, qkv, out, scratch } = self;
        let (model, wide, long) = (sizes.model(), sizes.wide(), sizes.long());
        let stride = 3 * model;
        let keys_t = clear(&mut scratch.keys_t, sizes.width * long);
        let values = clear(&mut scratch.values, sizes.length * wide);
        let probabilities = clear(&mut scratch.probabilities, QUERIES * long);
        let block = clear(&mut scratch.out, QUERIES * wide);
        for head in 0..sizes.heads {
            copy_transposed(keys_t, long, qkv, (sizes.part(1, head), stride, sizes.width));
            copy(values, wide, qkv, (sizes.part(2, head), stride, sizes.width));
            for (index, out) in out.chunks_mut(QUERIES * model).enumerate() {
                let (first, count) = (index * QUERIES, out.len() / model);
                let queries = Strided { values: &qkv[first * stride + sizes.part(0, head)..], row: stride, column: 1 };
                attend::<FMA>(sizes, mask, queries, keys_t, (first, count), probabilities);
                let weights = Strided { values: probabilities, row: long, column: 1 };
                product::<FMA, false>((count, wide, mask.seen(first + count)), weights, (values, wide), (block, wide));
                copy_back(out, (sizes.part(0, head), model, sizes.width), block, wide);
            }
        }
    }
}

/// The probabilities \[count, long\] of the keys for `count` queries from `first` on.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "probabilities are f32")]
fn attend<const FMA: bool>(
    sizes: Sizes,
    mask: Mask<'_>,
    queries: Strided<'_>,
    keys_t: &[f32],
    (first, count): (usize, usize),
    probabilities: &mut [f32],
) {
    let long = sizes.long();
    let some = mask.seen(first + count).next_multiple_of(LANES);
    product::<FMA, false>((count, some, sizes.width), queries, (keys_t, long), (probabilities, long));
    let scale = 1.0 / (sizes.width as f32).sqrt();
    for (row, probabilities) in probabilities.chunks_exact_mut(long).take(count).enumerate() {
        let (seen, future) = probabilities[..some].split_at_mut(mask.seen(first + row + 1));
        future.fill(0.0);
        if let Mask::Keys(marked) = mask {
            for (score, marked) in seen.iter_mut().zip(marked) {
                *score = if *marked { *score } else { f32::NEG_INFINITY };
            }
        }
        let (_, total) = exponentials::<FMA>(seen, scale);
        let share = (1.0 / total) as f32;
        for weight in seen {
            *weight *= share;
        }
    }
}

pub(super) struct Backward<'a> {
    pub sizes: Sizes,
    pub mask: Mask<'a>,
    /// \[t, 3·h·d\].
    pub qkv: &'a [f32],
    /// \[t, h·d\].
    pub grad: &'a [f32],
    /// \[t, 3·h·d\].
    pub of_qkv: &'a mut [f32],
    pub scratch: &'a mut Scratch,
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// With P the probabilities, O = PV and the gradient G of O, for each block of queries: the gradient of V gets `PᵀG`; that
    /// of the scores is S = P ∘ (H − rowsums(P ∘ H))/√d with H = `GVᵀ`, that of Q is SK, and that of K gets `SᵀQ`.
    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let Self { sizes, mask, qkv, grad, of_qkv, scratch } = self;
        let (width, model, wide, long) = (sizes.width, sizes.model(), sizes.wide(), sizes.long());
        let stride = 3 * model;
        let keys = clear(&mut scratch.keys, sizes.length * wide);
        let keys_t = clear(&mut scratch.keys_t, width * long);
        let values_t = clear(&mut scratch.values_t, width * long);
        let queries = clear(&mut scratch.queries, QUERIES * wide);
        let of_out = clear(&mut scratch.grad, QUERIES * wide);
        let probabilities = clear(&mut scratch.probabilities, QUERIES * long);
        let of_scores = clear(&mut scratch.of_scores, QUERIES * long);
        let block = clear(&mut scratch.out, QUERIES * wide);
        for head in 0..sizes.heads {
            let [of_q, of_k, of_v] = [0, 1, 2].map(|index| (sizes.part(index, head), stride, width));
            copy(keys, wide, qkv, of_k);
            copy_transposed(keys_t, long, qkv, of_k);
            copy_transposed(values_t, long, qkv, of_v);
            let of_keys = clear(&mut scratch.of_keys, sizes.length * wide);
            let of_values = clear(&mut scratch.of_values, sizes.length * wide);
            let blocks = qkv.chunks(QUERIES * stride).zip(grad.chunks(QUERIES * model));
            for (index, ((qkv, grad), of_qkv)) in blocks.zip(of_qkv.chunks_mut(QUERIES * stride)).enumerate() {
                let (first, count) = (index * QUERIES, grad.len() / model);
                let seen = mask.seen(first + count);
                copy(queries, wide, qkv, of_q);
                copy(of_out, wide, grad, (sizes.part(0, head), model, width));
                attend::<FMA>(sizes, mask, Strided::rows(queries, wide), keys_t, (first, count), probabilities);
                let some = seen.next_multiple_of(LANES);
                product::<FMA, false>((count, some, width), Strided::rows(of_out, wide), (values_t, long), (of_scores, long));
                slopes_of_softmax(of_scores, mask, probabilities, long, (first, count), 1.0 / (width as f32).sqrt());
                product::<FMA, false>((count, wide, seen), Strided::rows(of_scores, long), (keys, wide), (block, wide));
                copy_back(of_qkv, of_q, block, wide);
                product::<FMA, true>((seen, wide, count), Strided::columns(of_scores, long), (queries, wide), (of_keys, wide));
                let weights_t = Strided::columns(probabilities, long);
                product::<FMA, true>((seen, wide, count), weights_t, (of_out, wide), (of_values, wide));
            }
            copy_back(of_qkv, of_k, of_keys, wide);
            copy_back(of_qkv, of_v, of_values, wide);
        }
    }
}

/// From the gradients of probabilities to those of the scores, in place.
#[inline(always)]
fn slopes_of_softmax(
    grad: &mut [f32],
    mask: Mask<'_>,
    probabilities: &[f32],
    long: usize,
    (first, count): (usize, usize),
    scale: f32,
) {
    for (row, (grad, weights)) in grad.chunks_exact_mut(long).zip(probabilities.chunks_exact(long)).take(count).enumerate() {
        let (grad, future) = grad.split_at_mut(mask.seen(first + row + 1));
        future.fill(0.0);
        let weights = &weights[..grad.len()];
        let mean = sum2(grad, weights, |g, p| g * p);
        grad.iter_mut().zip(weights).for_each(|(g, p)| *g = p * (*g - mean) * scale);
    }
}
