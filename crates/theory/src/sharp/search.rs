//! The infimum of gap/(μ t) by compass search from many starts (Kolda, Lewis and Torczon, SIAM Review 45, 2003).

use rand::Rng;
use rayon::prelude::*;

use super::Gap;
use super::point::{Level, Point};
use crate::error::{Error, Result};
use crate::random::{Purpose, stream};

/// Coordinates of the box \[0, 1\]ⁿ: μ, SNR, p_m, t, and three for the other priors; k is the last.
const COORDINATES: usize = 8;
const CLASSES: usize = 7;
/// SNR, log-uniform.
const SNR: (f64, f64) = (1e-9, 1e12);
/// p_m relative to its bound, log-uniform up to 1.
const SMALLEST_SHARE: f64 = 1e-6;
/// k where it is free, log-uniform from 3.
const MOST_CLASSES: f64 = 1e15;
const SMALLEST_TIME: f64 = 1e-6;
const FIRST_STEP: f64 = 0.25;
const LAST_STEP: f64 = 1e-9;
/// Cycles over all coordinates for one start; a start that needs more is near the infimum, but not at it.
const MOST_CYCLES: usize = 400;

/// Where [`search_infimum`] looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SharpSearch {
    /// Which gap.
    pub gap: Gap,
    /// k; `None` to search from 3 to 1e15.
    pub classes: Option<usize>,
    /// μ/k, at most 1/3 by the condition k ≥ 3μ; `None` to search from 1/k to 1/3.
    pub mean_share: Option<f64>,
    /// Starting points: corners of the box first, then uniform draws.
    pub starts: usize,
    /// The seed of the draws.
    pub seed: u64,
}

/// The smallest gap/(μ t) found, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Infimum {
    /// gap/(μ t).
    pub ratio: f64,
    /// k, a whole number.
    pub classes: f64,
    /// μ.
    pub mean_norm: f64,
    /// SNR.
    pub snr: f64,
    /// p_m.
    pub minority: f64,
    /// p_m (5·SNR + 6k), 1 at the bound of the condition.
    pub share: f64,
    /// The largest prior.
    pub majority: f64,
    /// The distinct priors of the other classes than the minority, each with the number of classes that have it.
    pub others: Vec<(f64, f64)>,
    /// t/t*.
    pub time: f64,
}

/// The smallest gap/(μ t) over μ ≥ 1, k ≥ 3μ, p_m ≤ 1/(5·SNR + 6k) and 0 < t ≤ t*, with one class of any prior and two groups of
/// equal priors beside the minority class. Fails for fewer than 3 classes, a mean share outside (0, 1/3], or no starts.
pub fn search_infimum(search: &SharpSearch) -> Result<Infimum> {
    if let Some(k) = search.classes.filter(|k| *k < 3) {
        return Err(Error::setting(
            "classes",
            k,
            "must be at least 3, since k ≥ 3μ and μ ≥ 1",
            "leave it out to search over all k",
        ));
    }
    if let Some(share) = search.mean_share.filter(|share| !(*share > 0.0 && *share <= super::LARGEST_MEAN_SHARE)) {
        return Err(Error::setting("mean_share", share, "μ/k must be in (0, 1/3]", "leave it out to search over all μ"));
    }
    if search.starts == 0 {
        return Err(Error::setting("starts", 0, "at least one starting point is needed", "16 is plenty"));
    }
    let found: Vec<(f64, [f64; COORDINATES])> = (0..search.starts).into_par_iter().map(|index| descend(search, index)).collect();
    let mut best = &found[0];
    for other in &found[1..] {
        if other.0 < best.0 {
            best = other;
        }
    }
    let point = place(search, &best.1);
    let k = point.classes();
    Ok(Infimum {
        ratio: best.0,
        classes: k,
        mean_norm: point.mean_norm,
        snr: point.snr,
        minority: point.minority(),
        share: point.minority() * (5.0 * point.snr + 6.0 * k),
        majority: point.levels.iter().map(|level| level.prior).fold(0.0, f64::max),
        others: point.levels[1..].iter().map(|level| (level.count, level.prior)).collect(),
        time: point.time,
    })
}

/// One descent: any improvement is taken, and the step is halved when no coordinate gives one.
fn descend(search: &SharpSearch, index: usize) -> (f64, [f64; COORDINATES]) {
    let mut rng = stream(search.seed, Purpose::SharpStarts, index);
    let mut at: [f64; COORDINATES] = std::array::from_fn(|_| rng.random());
    // Every second start has p_m at its bound and t = t*, where the infima are expected.
    if index.is_multiple_of(2) {
        (at[2], at[3]) = (1.0, 1.0);
    }
    // A value that is not a number must not hide: it counts as the smallest.
    let value = |at: &[f64; COORDINATES]| {
        let ratio = place(search, at).ratio(search.gap);
        if ratio.is_nan() { f64::NEG_INFINITY } else { ratio }
    };
    let mut best = value(&at);
    let mut step = FIRST_STEP;
    for _ in 0..MOST_CYCLES {
        if step < LAST_STEP {
            break;
        }
        let mut improved = false;
        for coordinate in 0..COORDINATES {
            for move_by in [step, -step] {
                let mut trial = at;
                trial[coordinate] = (trial[coordinate] + move_by).clamp(0.0, 1.0);
                // At the edge of the box: the same point again.
                if (trial[coordinate] - at[coordinate]).abs() <= 0.0 {
                    continue;
                }
                let ratio = value(&trial);
                if ratio < best {
                    (best, at, improved) = (ratio, trial, true);
                    break;
                }
            }
        }
        if improved { step = (1.5 * step).min(FIRST_STEP) } else { step *= 0.5 }
    }
    (best, at)
}

/// The set that belongs to a point of the box; it satisfies the conditions.
fn place(search: &SharpSearch, at: &[f64; COORDINATES]) -> Point {
    let log = |low: f64, high: f64, x: f64| low * (high / low).powf(x);
    let k = search.classes.map_or_else(|| log(3.0, MOST_CLASSES, at[CLASSES]).floor().max(3.0), |k| k as f64);
    let largest = super::LARGEST_MEAN_SHARE * k;
    let mean_norm = search.mean_share.map_or_else(|| log(1.0, largest.max(1.0), at[0]), |share| share * k);
    let snr = log(SNR.0, SNR.1, at[1]);
    let minority = log(SMALLEST_SHARE, 1.0, at[2]) / (5.0 * snr + 6.0 * k);
    // Every class has at least the minority's prior; what is left is spread over one class and two groups.
    let left = 1.0 - k * minority;
    let many = k - 2.0;
    let first = (at[5] * many).floor();
    let second = many - first;
    let dominant = left * if at[4] < 1e-3 { at[4] * 1e3 / (k - 1.0) } else { at[4] };
    let others = left - dominant;
    let split = if first == 0.0 {
        0.0
    } else if second == 0.0 {
        1.0
    } else {
        at[6]
    };
    let group = |count: f64, mass: f64| Level { count, prior: minority + if count > 0.0 { mass / count } else { 0.0 } };
    let mut levels = vec![Level { count: 1.0, prior: minority }, Level { count: 1.0, prior: minority + dominant }];
    levels.extend([group(first, split * others), group(second, (1.0 - split) * others)].into_iter().filter(|l| l.count > 0.0));
    Point { mean_norm, snr, levels, time: log(SMALLEST_TIME, 1.0, at[3]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_of_the_box_satisfies_the_conditions() {
        let mut rng = stream(1, Purpose::SharpStarts, 0);
        for classes in [None, Some(3), Some(4), Some(50)] {
            let search = SharpSearch { gap: Gap::GfMinority, classes, mean_share: None, starts: 1, seed: 0 };
            for _ in 0..2000 {
                let at: [f64; COORDINATES] = std::array::from_fn(|_| {
                    if rng.random::<bool>() { rng.random() } else { f64::from(u8::from(rng.random::<bool>())) }
                });
                let point = place(&search, &at);
                let k = point.classes();
                let sum: f64 = point.levels.iter().map(|level| level.count * level.prior).sum();
                assert!((sum - 1.0).abs() < 1e-9, "{point:?}");
                assert!(point.mean_norm >= 1.0 - 1e-12 && k >= 3.0 * point.mean_norm * (1.0 - 1e-12), "{point:?}");
                assert!(point.minority() * (5.0 * point.snr + 6.0 * k) <= 1.0 + 1e-12, "{point:?}");
                assert!(point.levels.iter().all(|level| level.prior >= point.minority()), "{point:?}");
                assert!(point.time > 0.0 && point.time <= 1.0);
            }
        }
    }

    #[test]
    fn bad_searches_are_errors() {
        let good = SharpSearch { gap: Gap::GfMinority, classes: Some(3), mean_share: None, starts: 1, seed: 0 };
        assert!(search_infimum(&good).is_ok());
        assert!(search_infimum(&SharpSearch { classes: Some(2), ..good }).is_err());
        assert!(search_infimum(&SharpSearch { mean_share: Some(0.4), ..good }).is_err());
        assert!(search_infimum(&SharpSearch { mean_share: Some(f64::NAN), ..good }).is_err());
        assert!(search_infimum(&SharpSearch { starts: 0, ..good }).is_err());
    }
}
