//! The sharp constants of Theorems 1 and 2.

use isorate_data::ImageSources;
use isorate_results::Record;
use isorate_theory::{Gap, Infimum, SharpSearch, proved_bound, search_infimum, sharp_constants};
use serde::{Deserialize, Serialize};

use super::{Findings, TheoryRun};
use crate::Error;
use crate::spec::Context;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharpConstants {
    seed: u64,
    /// The numbers of classes k for which the infimum is searched.
    classes: Vec<usize>,
    /// Starting points of a search for given k.
    starts: usize,
    /// Starting points of the search over all k.
    free_starts: usize,
}

impl TheoryRun for SharpConstants {
    fn check(&self, context: &Context, scale: &str) -> Result<(), Error> {
        if self.classes.is_empty() {
            return Err(context.error("classes", "[] must have at least one number of classes"));
        }
        if let Some(k) = self.classes.iter().find(|k| **k < 3) {
            return Err(context.error("classes", format!("{k} must be at least 3, since k >= 3 mean_norm and mean_norm >= 1")));
        }
        context.at_least_one(&format!("{scale}.starts"), self.starts)?;
        context.at_least_one(&format!("{scale}.free_starts"), self.free_starts)
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    /// gap/(μ t) of `gd` (Theorem 1) and `ngd` (Theorem 2) as `minority_ratio` and `balanced_ratio`.
    ///
    /// By k, the group: the smallest ratio found on the splits `search-mean-one` (μ = 1) and `search-mean-third` (μ = k/3), and the proved
    /// lower bounds on `proved-mean-one` and `proved-mean-third`. For the group `all`, over all k: `search`, `infimum` (the closed
    /// form) and `reported` (the constant of the theorem). Notes `<gap>.formula`, `<gap>.approached` and `<gap>.found`, with the gap's name such as
    /// `gf-minority`.
    fn execute(&self, _: &ImageSources) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        for constant in sharp_constants() {
            let gap = constant.gap;
            let mut add =
                |split: &str, group: &str, value: f64| findings.records.push(record(gap).split(split).group(group).value(value));
            let search = SharpSearch { gap, classes: None, mean_share: None, starts: self.free_starts, seed: self.seed };
            let found = search_infimum(&search)?;
            add("search", "all", found.ratio);
            add("infimum", "all", constant.infimum);
            add("reported", "all", constant.reported);
            for &k in &self.classes {
                let group = k.to_string();
                for (name, mean_share) in [("one", 1.0 / k as f64), ("third", 1.0 / 3.0)] {
                    let search = SharpSearch { classes: Some(k), mean_share: Some(mean_share), starts: self.starts, ..search };
                    add(&format!("search-mean-{name}"), &group, search_infimum(&search)?.ratio);
                    add(&format!("proved-mean-{name}"), &group, proved_bound(gap, k, mean_share * k as f64));
                }
            }
            let mut note = |name: &str, text: String| findings.notes.insert(format!("{}.{name}", gap.name()), text);
            note("formula", constant.formula.to_owned());
            note("approached", constant.approached.to_owned());
            note("found", describe(&found));
        }
        Ok(findings)
    }
}

fn record(gap: Gap) -> Record {
    let rule = if gap.is_normalized() { "ngd" } else { "gd" };
    Record::at_step(0).of(rule).metric(if gap.is_minority() { "minority_ratio" } else { "balanced_ratio" })
}

fn describe(found: &Infimum) -> String {
    let k = if found.classes < 1e5 { found.classes.to_string() } else { format!("{:.1e}", found.classes) };
    format!(
        "k = {k}, μ/k = {:.4}, SNR = {:.1e}, p_m = {:.3e} ({:.4} of its bound), largest prior {:.3}, t/t* = {:.3}",
        found.mean_norm / found.classes,
        found.snr,
        found.minority,
        found.share,
        found.majority,
        found.time
    )
}
