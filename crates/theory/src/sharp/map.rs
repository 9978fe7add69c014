//! Where a bound stops to hold, and where `SpecGD` stops to win.

use super::Gap;
use crate::error::{Error, Result};
use crate::gaps::{GapRow, gap_curves};
use crate::mixture::{Mixture, MixtureConfig};
use crate::ratios::TheoremSet;

/// Priors at which a bound is tried before the first failure is narrowed down; log-spaced from 1e-4 of 1/k to 1/k.
const TRIED: usize = 24;
const SMALLEST_SHARE: f64 = 1e-4;
const BISECTIONS: usize = 30;
/// Times at which the gap's sign is read, log-spaced from t*.
const TIMES: usize = 160;

/// One minority class of prior `minority`, the other k − 1 equal.
fn equal_rest(classes: usize, mean_norm: f64, snr: f64, minority: f64) -> TheoremSet {
    let mut priors = vec![(1.0 - minority) / (classes as f64 - 1.0); classes];
    priors[0] = minority;
    TheoremSet { mean_norm, variance: mean_norm * mean_norm / snr, priors }
}

/// The smallest p_m ≤ 1/k at which gap ≥ `constant` · μ t fails somewhere on (0, t*], for k = `classes` with one minority class
/// and the others equal; `None` if it holds up to equal priors. Holding is tried at 24 log-spaced p_m from 1e-4/k, and the first
/// failure is then narrowed down by bisection; 0 where it fails for the smallest of them.
///
/// Fails for fewer than two classes, and for `mean_norm` or `snr` that is not positive and finite.
pub fn smallest_failing_prior(gap: Gap, classes: usize, mean_norm: f64, snr: f64, constant: f64) -> Result<Option<f64>> {
    if classes < 2 {
        return Err(Error::setting("classes", classes, "must be at least 2", "a minority class needs another class"));
    }
    for (name, value) in [("mean_norm", mean_norm), ("snr", snr)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(Error::setting(name, value, "must be positive and finite", "1.0 is usual"));
        }
    }
    let holds = |minority: f64| {
        let set = equal_rest(classes, mean_norm, snr, minority);
        let smallest = if gap.is_normalized() { set.smallest_normalized_flow() } else { set.smallest_gradient_flow() };
        (if gap.is_minority() { smallest.ratios.minority } else { smallest.ratios.balanced }) >= constant
    };
    let largest = 1.0 / classes as f64;
    let tried = |index: usize| largest * SMALLEST_SHARE.powf(1.0 - index as f64 / (TRIED - 1) as f64);
    let Some(first) = (0..TRIED).find(|index| !holds(tried(*index))) else {
        return Ok(None);
    };
    if first == 0 {
        return Ok(Some(0.0));
    }
    let (mut good, mut bad) = (tried(first - 1), tried(first));
    for _ in 0..BISECTIONS {
        let middle = (good * bad).sqrt();
        if holds(middle) { good = middle } else { bad = middle }
    }
    Ok(Some(bad))
}

fn of(gap: Gap, row: &GapRow) -> f64 {
    match gap {
        Gap::GfMinority => row.gf_minority_gap(),
        Gap::GfBalanced => row.gf_balanced_gap(),
        Gap::NgfMinority => row.ngf_minority_gap().unwrap_or(f64::NAN),
        Gap::NgfBalanced => row.ngf_balanced_gap().unwrap_or(f64::NAN),
    }
}

/// The time t/t* ≥ 1 at which `SpecGD` first falls behind, that is, the gap becomes negative; `None` if it is ahead at all 160
/// log-spaced times from t* to `until` · t*. Gaps below 1e-9 of the gap at t* count as none: there both losses are at their common
/// limit. Fails for `until` that is not a finite number above 1.
pub fn lead_end(mixture: &MixtureConfig, gap: Gap, until: f64) -> Result<Option<f64>> {
    if !(until.is_finite() && until > 1.0) {
        return Err(Error::setting("until", until, "must be finite and above 1", "it is a multiple of t*, such as 100"));
    }
    let mixture = Mixture::new(mixture.clone())?;
    let horizon = mixture.horizon();
    let times: Vec<f64> = (0..=TIMES).map(|index| horizon * until.powf(index as f64 / TIMES as f64)).collect();
    let gaps: Vec<f64> = gap_curves(&mixture, &times)?.iter().map(|row| of(gap, row)).collect();
    let least = -1e-9 * gaps[0].abs();
    let Some(first) = gaps.iter().position(|gap| *gap < least) else {
        return Ok(None);
    };
    if first == 0 {
        return Ok(Some(1.0));
    }
    let (mut ahead, mut behind) = (times[first - 1], times[first]);
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (ahead + behind);
        if of(gap, &gap_curves(&mixture, &[middle])?[0]) < 0.0 { behind = middle } else { ahead = middle }
    }
    Ok(Some(behind / horizon))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_where_the_closed_form_says() {
        // k = 3, SNR → 0, NGF, balanced: the ratio at t* is 1 − 1/(3N) − p_m, with N = ‖p‖.
        let found = smallest_failing_prior(Gap::NgfBalanced, 3, 1.0, 1e-9, 0.5).expect("valid").expect("fails");
        let norm = (found * found + 0.5 * (1.0 - found).powi(2)).sqrt();
        assert!((1.0 - 1.0 / (3.0 * norm) - found - 0.5).abs() < 1e-6, "{found}");
        assert!(found < 1.0 / 18.0);
        // e^{−2/3}/2 > 1/4: the minority bound of Theorem 1 holds up to equal priors.
        assert_eq!(smallest_failing_prior(Gap::GfMinority, 3, 1.0, 1.0, 0.25).expect("valid"), None);
        // Without k ≥ 3μ the balanced bound fails for every p_m.
        let every = smallest_failing_prior(Gap::GfBalanced, 3, 2.0, 1.0, 0.5).expect("valid").expect("fails");
        assert!(every.abs() < 1e-300);
    }

    #[test]
    fn bad_settings_are_errors() {
        assert!(smallest_failing_prior(Gap::GfBalanced, 1, 1.0, 1.0, 0.5).is_err());
        assert!(smallest_failing_prior(Gap::GfBalanced, 3, 0.0, 1.0, 0.5).is_err());
        assert!(smallest_failing_prior(Gap::GfBalanced, 3, 1.0, f64::NAN, 0.5).is_err());
        let mixture = MixtureConfig { priors: vec![0.9, 0.1], mean_norm: 1.0, noise_std: 1.0, dim: None, seed: 0 };
        assert!(lead_end(&mixture, Gap::GfBalanced, 1.0).is_err());
    }
}
