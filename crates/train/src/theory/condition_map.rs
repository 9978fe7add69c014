//! Where the bounds of Theorems 1 and 2 hold, and until when `SpecGD` is ahead.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{Gap, MixtureConfig, lead_end, smallest_failing_prior};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun};
use crate::Error;
use crate::spec::Context;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConditionMap {
    /// The numbers of classes k, each of which is a curve.
    classes: Vec<usize>,
    /// SNR from 10^low to 10^high.
    low: f64,
    high: f64,
    /// Values of SNR, evenly spaced in the logarithm.
    points: usize,
    /// The longest time at which the lead is looked for, as a multiple of t*.
    until: f64,
}

impl TheoryRun for ConditionMap {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        if self.classes.is_empty() {
            return Err(context.error("classes", "[] must have at least one number of classes"));
        }
        if let Some(k) = self.classes.iter().find(|k| **k < 2) {
            return Err(context.error("classes", format!("{k} must be at least 2")));
        }
        if !(self.low.is_finite() && self.high.is_finite() && self.low < self.high && self.low >= -12.0 && self.high <= 12.0) {
            return Err(context.error("low", format!("{} must be below high, {}, both from -12 to 12", self.low, self.high)));
        }
        if !(self.until.is_finite() && self.until > 1.0) {
            return Err(context.error("until", format!("{} must be finite and above 1", self.until)));
        }
        context.at_least_one(&format!("{scale}.points"), self.points)
    }

    fn seed(&self) -> u64 {
        0
    }

    /// By k, the group, and place on the SNR axis, the step: under `mixture`, `snr` and `prior_bound` = 1/(5·SNR + 6k) (for k = 2, which
    /// k ≥ 3μ with μ ≥ 1 excludes, the same formula). One minority class, the others equal.
    ///
    /// Under `gd` (μ = k/3) and `ngd` (any μ), split `closed-form`: `minority_boundary` and `balanced_boundary`, the smallest p_m at
    /// which the reported constant (1/2 for the balanced NGF gap) fails on (0, t*], 1/k where it holds up to equal priors, 0 where it fails from 1e-4/k on; and
    /// `minority_lead` and `balanced_lead`, the time t/t* at which SpecGD falls behind for μ = k/3 and p_m at `prior_bound`, NaN where it is ahead
    /// at all times looked at.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mut records = Vec::new();
        for &classes in &self.classes {
            let k = classes as f64;
            let mean_norm = k / 3.0;
            let group = classes.to_string();
            for index in 0..self.points {
                let place = index as f64 / (self.points - 1).max(1) as f64;
                let snr = 10_f64.powf(self.low + (self.high - self.low) * place);
                let bound = 1.0 / (5.0 * snr + 6.0 * k);
                let base = |rule: &str, metric: &str| {
                    Record::at_step(index as u64).of(rule).split("closed-form").metric(metric).group(&group)
                };
                records.push(base("mixture", "snr").value(snr));
                records.push(base("mixture", "prior_bound").value(bound));
                let mut priors = vec![(1.0 - bound) / (k - 1.0); classes];
                priors[0] = bound;
                let mixture = MixtureConfig { priors, mean_norm, noise_std: mean_norm / snr.sqrt(), dim: None, seed: 0 };
                for gap in Gap::ALL {
                    let rule = if gap.is_normalized() { "ngd" } else { "gd" };
                    let loss = if gap.is_minority() { "minority" } else { "balanced" };
                    let boundary = smallest_failing_prior(gap, classes, mean_norm, snr, gap.reported_constant())?;
                    records.push(base(rule, &format!("{loss}_boundary")).value(boundary.unwrap_or(1.0 / k)));
                    let lead = lead_end(&mixture, gap, self.until)?;
                    records.push(base(rule, &format!("{loss}_lead")).value(lead.unwrap_or(f64::NAN)));
                }
            }
        }
        Ok(records.into())
    }
}
