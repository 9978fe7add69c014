//! The sharp constants of Theorems 1 and 2, and what is left of the theorems without their conditions.
//!
//! The proofs are in `docs/sharp-constants.md`.

mod map;
mod point;
mod search;

use serde::{Deserialize, Serialize};

use crate::gaps::{GF_BALANCED, GF_MINORITY, NGF_MINORITY};
use crate::part::{Part, part};
pub use map::{lead_end, smallest_failing_prior};
pub use search::{Infimum, SharpSearch, search_infimum};

/// The largest value of κ = (SNR p_m + k p_m)/(1 + SNR p_m) that p_m ≤ 1/(5·SNR + 6k) allows.
const LARGEST_KAPPA: f64 = 1.0 / 6.0;
/// The largest μ/k that k ≥ 3μ allows.
const LARGEST_MEAN_SHARE: f64 = 1.0 / 3.0;

/// One of the four loss gaps of Theorems 1 and 2 (arXiv 2510.22980).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gap {
    /// L_m^GF − L_m^Spec, Theorem 1.
    GfMinority,
    /// L_bal^GF − L_bal^Spec, Theorem 1.
    GfBalanced,
    /// L_m^NGF − L_m^Spec, Theorem 2.
    NgfMinority,
    /// L_bal^NGF − L_bal^Spec, Theorem 2.
    NgfBalanced,
}

impl Gap {
    /// All four, in the order of the theorems.
    pub const ALL: [Self; 4] = [Self::GfMinority, Self::GfBalanced, Self::NgfMinority, Self::NgfBalanced];

    /// The name in files: `gf-minority`, `gf-balanced`, `ngf-minority`, `ngf-balanced`.
    pub fn name(self) -> &'static str {
        match self {
            Self::GfMinority => "gf-minority",
            Self::GfBalanced => "gf-balanced",
            Self::NgfMinority => "ngf-minority",
            Self::NgfBalanced => "ngf-balanced",
        }
    }

    /// Whether the slow rule is the normalized flow.
    pub fn is_normalized(self) -> bool {
        matches!(self, Self::NgfMinority | Self::NgfBalanced)
    }

    /// Whether the loss is the minority class's; otherwise it is the balanced one.
    pub fn is_minority(self) -> bool {
        matches!(self, Self::GfMinority | Self::NgfMinority)
    }

    /// The constant c of the bound gap ≥ c μ t as reported; for the balanced NGF gap, where public sources give none, the 1/2 that
    /// the other balanced gap has.
    pub fn reported_constant(self) -> f64 {
        match self {
            Self::GfMinority => GF_MINORITY,
            Self::GfBalanced => GF_BALANCED,
            Self::NgfMinority => NGF_MINORITY,
            Self::NgfBalanced => 0.5,
        }
    }
}

/// The infimum of gap/(μ t) under the conditions of a theorem; proved in [`derivations::sharp_constants`](crate::derivations).
#[derive(Debug, Clone, PartialEq)]
pub struct SharpConstant {
    /// Which gap.
    pub gap: Gap,
    /// The reported constant.
    pub reported: f64,
    /// The infimum over μ ≥ 1, k ≥ 3μ, p_m ≤ 1/(5·SNR + 6k), all priors, and 0 < t ≤ t*. No set attains it.
    pub infimum: f64,
    /// The closed form of the infimum.
    pub formula: &'static str,
    /// The sequence of sets along which the ratio tends to it; always with p_m at its bound and t = t*.
    pub approached: &'static str,
}

/// The infima of gap/(μ t) under the conditions of Theorems 1 and 2, in the order of [`Gap::ALL`].
///
/// ```
/// let constants = isorate_theory::sharp_constants();
/// // The constant 1/2 fails for the balanced NGF gap; the others hold with room to spare.
/// let holds: Vec<bool> = constants.iter().map(|c| c.infimum >= c.reported).collect();
/// assert_eq!(holds, [true, true, true, false]);
/// ```
pub fn sharp_constants() -> [SharpConstant; 4] {
    Gap::ALL.map(|gap| {
        let (formula, approached) = match gap {
            Gap::GfMinority => (
                "e^{−1/18} (10 + e^{−1/18})/12",
                "k → ∞, μ = k/3, SNR p_m → 0 with SNR² p_m → ∞, one class has all that is left, the others p_m",
            ),
            Gap::GfBalanced => ("3 e^{−1/9} − 25/12", "k → ∞, μ = k/3, the other priors equal"),
            Gap::NgfMinority => ("17/18 − 1/√(1 + 17²/2)", "k = 3, SNR → 0, the other priors equal; any μ"),
            Gap::NgfBalanced => ("17/18 − 12/√582", "k = 3, SNR → 0, the other priors equal; any μ"),
        };
        let infimum = if gap.is_normalized() { proved_bound(gap, 3, 1.0) } else { gf_bound(gap, LARGEST_MEAN_SHARE) };
        SharpConstant { gap, reported: gap.reported_constant(), infimum, formula, approached }
    })
}

/// A proved lower bound of gap/(μ t) for k = `classes` ≥ 2 and ‖μ_c‖ = `mean_norm`, over all SNR, all priors with
/// p_m ≤ 1/(5·SNR + 6k), and 0 < t ≤ t*.
///
/// - GF, with y = μ/k < 1/√2: balanced 1 − g − (1 − g²)/12 with g = 6 (1 − e^{−y/6}), sharp as k → ∞ for fixed y; minority
///   (1 − x)(1 − (1 + x)/12) with x = 1 − e^{−y/6}, sharp as k → ∞. NaN where y is larger.
/// - NGF: the infimum itself for every k and any μ > 0. With q = 1/(6k) and N² = q² + (1 − q)²/(k − 1): minority
///   1 − q/N − (k − 1)/(12k), balanced 1 − 1/(kN) − (k − 1)/(12k).
pub fn proved_bound(gap: Gap, classes: usize, mean_norm: f64) -> f64 {
    let k = classes as f64;
    if gap.is_normalized() { ngf_infimum(gap, k) } else { gf_bound(gap, mean_norm / k) }
}

fn gf_bound(gap: Gap, share: f64) -> f64 {
    if share.is_nan() || share >= std::f64::consts::FRAC_1_SQRT_2 {
        return f64::NAN;
    }
    let grown = part(Part::SharpGrowth, -(-share * LARGEST_KAPPA).exp_m1());
    let x = if gap.is_minority() { grown } else { grown / LARGEST_KAPPA };
    1.0 - x - part(Part::SharpKappa, 0.5 * LARGEST_KAPPA * (1.0 - x * x))
}

fn ngf_infimum(gap: Gap, k: f64) -> f64 {
    let q = LARGEST_KAPPA / k;
    let norm = (q * q + (1.0 - q).powi(2) / (k - 1.0)).sqrt();
    let x = part(Part::SharpDirection, if gap.is_minority() { q / norm } else { 1.0 / (k * norm) });
    1.0 - x - part(Part::SharpNoise, 0.5 * LARGEST_KAPPA * (k - 1.0) / k)
}

/// The infimum of gap/(μ t) when the condition on p_m is dropped and k ≥ 3μ (GF) or nothing (NGF) is kept, for k = `classes` and
/// ‖μ_c‖ = `mean_norm`: e^{−2μ/k}/2 for both losses of GF (for μ/k < 1/√2; NaN beyond), (1 − 1/√k)²/2 for both of NGF. All four
/// are positive, so `SpecGD` is ahead at all times in (0, t*], and all are attained by equal priors at t = t*.
pub fn infimum_without_prior_condition(gap: Gap, classes: usize, mean_norm: f64) -> f64 {
    let k = classes as f64;
    if gap.is_normalized() {
        return part(Part::SharpFree, 0.5 * (1.0 - k.sqrt().recip()).powi(2));
    }
    let share = mean_norm / k;
    if share.is_nan() || share >= std::f64::consts::FRAC_1_SQRT_2 {
        return f64::NAN;
    }
    part(Part::SharpFree, 0.5 * (-2.0 * share).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_forms_are_the_numbers_of_the_documentation() {
        let e = (-1.0_f64 / 18.0).exp();
        let expected = [
            e * (10.0 + e) / 12.0,
            3.0 * (-1.0_f64 / 9.0).exp() - 25.0 / 12.0,
            17.0 / 18.0 - (1.0_f64 + 289.0 / 2.0).sqrt().recip(),
            17.0 / 18.0 - 12.0 / 582.0_f64.sqrt(),
        ];
        for (constant, expected) in sharp_constants().iter().zip(expected) {
            assert!((constant.infimum - expected).abs() < 1e-14, "{constant:?} {expected}");
        }
    }

    #[test]
    fn the_infima_by_class_count_are_smallest_where_it_is_said() {
        for gap in [Gap::NgfMinority, Gap::NgfBalanced] {
            let all: Vec<f64> = (3..2000).map(|k| proved_bound(gap, k, 1.0)).collect();
            assert!(all[1..].iter().all(|value| *value > all[0]), "{gap:?}");
            assert!((all[all.len() - 1] - 11.0 / 12.0).abs() < 0.03);
        }
        assert!(proved_bound(Gap::NgfBalanced, 4, 1.0) < 0.5 && proved_bound(Gap::NgfBalanced, 5, 1.0) > 0.5);
    }

    #[test]
    fn no_bound_is_given_where_none_is_proved() {
        assert!(proved_bound(Gap::GfBalanced, 3, 3.0).is_nan());
        assert!(proved_bound(Gap::GfMinority, 3, f64::NAN).is_nan());
        assert!(infimum_without_prior_condition(Gap::GfBalanced, 3, 3.0).is_nan());
        assert!(proved_bound(Gap::NgfBalanced, 3, 3e9) > 0.4);
    }
}
