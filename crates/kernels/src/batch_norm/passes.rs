//! The passes over memory of batch normalization.
//!
//! A plane is the pixels of one channel of one image.
#![allow(clippy::cast_possible_truncation, reason = "sums are f64 and elements are f32")]

use super::sums::{Group, by_group};
use crate::fresh::{Part, filled, part_of};
use crate::simd::{self, Kernel, mul_add};

/// The statistics of a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Channel {
    pub mean: f64,
    pub variance: f64,
}

/// Mean and biased variance of each channel of x [N, C, H·W].
pub(super) fn moments(x: &[f32], shape: [usize; 3]) -> Vec<Channel> {
    let [n, c, _] = shape;
    let (of_groups, images) = by_group(shape, |group, out| simd::run(Moments { x, group, out }));
    // The last group may have fewer images.
    let share = |index: usize| images.min(n - index * images) as f64 / n as f64;
    let mut channels = vec![Channel { mean: 0.0, variance: 0.0 }; c];
    for (index, group) in of_groups.chunks_exact(c).enumerate() {
        for (channel, [mean, _]) in channels.iter_mut().zip(group) {
            channel.mean += share(index) * mean;
        }
    }
    for (index, group) in of_groups.chunks_exact(c).enumerate() {
        for (channel, [mean, variance]) in channels.iter_mut().zip(group) {
            let distance = mean - channel.mean;
            channel.variance += share(index) * (variance + distance * distance);
        }
    }
    channels
}

/// Mean and variance of each channel of a group.
struct Moments<'a> {
    x: &'a [f32],
    group: &'a Group,
    out: &'a mut [[f64; 2]],
}

impl Kernel for Moments<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let Self { x, group, out } = self;
        // Sums about a number near the mean lose little where the mean is large: the mean of the first image, which cannot be
        // far from that of the group without making the variance large. What it is off by is known exactly.
        let near_mean = |channel| simd::sum(group.pixels_of(x, group.images.start, channel), |x| x) / group.plane as f32;
        let near: Vec<f32> = (0..out.len()).map(near_mean).collect();
        let about = |channel: usize| {
            let near = near[channel];
            move |x: f32, _| {
                let d = x - near;
                [d, d * d]
            }
        };
        group.sums(x, x, about, out);
        let pixels = group.pixels() as f64;
        for (out, near) in out.iter_mut().zip(&near) {
            let [mean, square] = out.map(|sum| sum / pixels);
            *out = [f64::from(*near) + mean, square - mean * mean];
        }
    }
}

/// What is computed of an element x of a channel: scale · (x − mean) + shift.
#[derive(Clone, Copy)]
struct Coefficients {
    mean: f32,
    scale: f32,
    shift: f32,
    /// 1/√(v + ε).
    inverse_std: f64,
}

impl Coefficients {
    fn new(channel: Channel, eps: f64, gamma: f32, beta: f32) -> Self {
        let inverse_std = 1.0 / (channel.variance + eps).sqrt();
        let mean = channel.mean as f32;
        let scale = f64::from(gamma) * inverse_std;
        // Beside a mean far from 0 it counts what the mean loses when it is rounded.
        let lost = channel.mean - f64::from(mean);
        Self { mean, scale: scale as f32, shift: (f64::from(beta) - scale * lost) as f32, inverse_std }
    }

    #[inline(always)]
    fn normalized<const FMA: bool>(&self, x: f32) -> f32 {
        mul_add::<FMA>(x - self.mean, self.scale, self.shift)
    }

    /// The gradient of [`Self::normalized`], given that of its maximum with 0.
    #[inline(always)]
    fn passed<const FMA: bool, const RELU: bool>(&self, x: f32, g: f32) -> f32 {
        // A product, so that a gradient that is not a number stays one.
        if RELU { g * f32::from(u8::from(self.normalized::<FMA>(x) > 0.0)) } else { g }
    }
}

/// Sums over a channel.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    /// Σ ĝ.
    pub alone: f64,
    /// Σ ĝ x̂.
    pub with_normalized: f64,
}

/// The normalization of x [N, C, H·W] by given statistics, with max(0, ·) after it or without.
pub(super) struct Normalization<'a> {
    x: &'a [f32],
    plane: usize,
    coefficients: Vec<Coefficients>,
    relu: bool,
}

impl<'a> Normalization<'a> {
    pub fn new(x: &'a [f32], plane: usize, channels: &[Channel], eps: f64, (gamma, beta): (&[f32], &[f32]), relu: bool) -> Self {
        let coefficients =
            channels.iter().zip(gamma.iter().zip(beta)).map(|(&c, (&gamma, &beta))| Coefficients::new(c, eps, gamma, beta));
        Self { x, plane, coefficients: coefficients.collect(), relu }
    }

    /// The result; with a shortcut, max(0, it + shortcut).
    pub fn forward(&self, shortcut: Option<&[f32]>) -> Vec<f32> {
        self.filled(|first, x, part| {
            let start = first * self.plane;
            let shortcut = shortcut.map(|shortcut| &shortcut[start..start + x.len()]);
            simd::run(Forward { all: self, first, x, shortcut, part });
        })
    }

    /// The sums over each channel for the gradient `g` of the result.
    pub fn sums(&self, g: &[f32]) -> Vec<Sums> {
        let channels = self.coefficients.len();
        let shape = [self.x.len() / (channels * self.plane), channels, self.plane];
        let (of_groups, _) = by_group(shape, |group, out| simd::run(GradientSums { all: self, group, g, out }));
        let mut sums = vec![Sums::default(); channels];
        for group in of_groups.chunks_exact(channels) {
            for (sums, [alone, with_distance]) in sums.iter_mut().zip(group) {
                sums.alone += alone;
                sums.with_normalized += with_distance;
            }
        }
        for (sums, k) in sums.iter_mut().zip(&self.coefficients) {
            sums.with_normalized *= k.inverse_std;
        }
        sums
    }

    /// The gradient of x for the gradient `g` of the result; with the sums over the channels if the statistics are those of x.
    pub fn gradient(&self, g: &[f32], sums: Option<&[Sums]>) -> Vec<f32> {
        let count = (self.x.len() / self.coefficients.len()) as f64;
        // − scale · (mean ĝ + x̂ mean(ĝ x̂)) as a line in x − mean.
        let lines: Option<Vec<[f32; 2]>> = sums.map(|sums| {
            let line = |(sums, k): (&Sums, &Coefficients)| {
                let scale = -f64::from(k.scale) / count;
                [(scale * sums.alone) as f32, (scale * sums.with_normalized * k.inverse_std) as f32]
            };
            sums.iter().zip(&self.coefficients).map(line).collect()
        });
        self.filled(|first, x, part| {
            let start = first * self.plane;
            simd::run(Backward { all: self, first, x, g: &g[start..start + x.len()], lines: lines.as_deref(), part });
        })
    }

    /// A result like x, from `f(first plane, x from it on, its part)`.
    fn filled(&self, f: impl Fn(usize, &[f32], &mut Part<'_>) + Sync) -> Vec<f32> {
        let length = part_of(self.plane);
        filled(self.x.len(), length, |index, part| {
            f(index * length / self.plane, &self.x[index * length..self.x.len().min((index + 1) * length)], part);
        })
    }
}

struct Forward<'a, 'b> {
    all: &'a Normalization<'a>,
    first: usize,
    x: &'a [f32],
    shortcut: Option<&'a [f32]>,
    part: &'a mut Part<'b>,
}

impl Kernel for Forward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        let plane = self.all.plane;
        for (i, x) in self.x.chunks_exact(plane).enumerate() {
            let k = self.all.coefficients[(self.first + i) % self.all.coefficients.len()];
            if let Some(shortcut) = self.shortcut {
                self.part.map2(x, &shortcut[i * plane..(i + 1) * plane], |x, s| (k.normalized::<FMA>(x) + s).max(0.0));
            } else if self.all.relu {
                self.part.map(x, |x| k.normalized::<FMA>(x).max(0.0));
            } else {
                self.part.map(x, |x| k.normalized::<FMA>(x));
            }
        }
    }
}

/// Σ ĝ and Σ ĝ (x − mean) for each channel of a group.
struct GradientSums<'a> {
    all: &'a Normalization<'a>,
    group: &'a Group,
    g: &'a [f32],
    out: &'a mut [[f64; 2]],
}

impl Kernel for GradientSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        if self.all.relu { self.sums::<FMA, true>() } else { self.sums::<FMA, false>() }
    }
}

impl GradientSums<'_> {
    #[inline(always)]
    fn sums<const FMA: bool, const RELU: bool>(self) {
        let terms = |channel: usize| {
            let k = self.all.coefficients[self.group.first + channel];
            move |x, g| {
                let g = k.passed::<FMA, RELU>(x, g);
                [g, g * (x - k.mean)]
            }
        };
        self.group.sums(self.all.x, self.g, terms, self.out);
    }
}

struct Backward<'a, 'b> {
    all: &'a Normalization<'a>,
    first: usize,
    x: &'a [f32],
    g: &'a [f32],
    lines: Option<&'a [[f32; 2]]>,
    part: &'a mut Part<'b>,
}

impl Kernel for Backward<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool, const WIDE: bool>(self) {
        if self.all.relu { self.gradient::<FMA, true>() } else { self.gradient::<FMA, false>() }
    }
}

impl Backward<'_, '_> {
    #[inline(always)]
    fn gradient<const FMA: bool, const RELU: bool>(self) {
        let planes = self.x.chunks_exact(self.all.plane).zip(self.g.chunks_exact(self.all.plane));
        for (i, (x, g)) in planes.enumerate() {
            let channel = (self.first + i) % self.all.coefficients.len();
            let k = self.all.coefficients[channel];
            let passed = |x, g| k.scale * k.passed::<FMA, RELU>(x, g);
            match self.lines.map(|lines| lines[channel]) {
                Some([start, slope]) => {
                    self.part.map2(x, g, |x, g| mul_add::<FMA>(x - k.mean, slope, passed(x, g) + start));
                }
                None => self.part.map2(x, g, passed),
            }
        }
    }
}
