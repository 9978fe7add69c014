//! The forms of checks, and how each is decided by the runs of its experiment.

use serde::Deserialize;

use super::State;
use super::components::Components;
use super::measured::{Measured, Outcome};
use crate::select::{Of, Selection, interpolate, list};
use crate::stopping::{CONTENDERS, lead, stops};
use crate::training::{Spread, count_epochs};
use crate::{Error, style, t1};

/// What must be true of the runs of one experiment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Check {
    /// One update rule scores above each of the others: the mean lead over the strongest of them, paired by seed, is above `bound`.
    Lead {
        /// The rule that leads.
        of: String,
        /// The rules that it leads over.
        over: Vec<String>,
        /// The score.
        on: Measured,
        /// The lead that is asked for.
        bound: f64,
    },
    /// Every rule of a tier scores above every rule of the next: the smallest mean lead, paired by seed, is above `bound`.
    Order {
        /// From the best to the worst.
        tiers: Vec<Vec<String>>,
        /// The score.
        on: Measured,
        /// The lead that is asked for.
        bound: f64,
    },
    /// Rules score alike: the largest mean difference between two of them, paired by seed, is at most `bound`.
    Alike {
        /// The rules.
        of: Vec<String>,
        /// The score.
        on: Measured,
        /// The largest difference.
        bound: f64,
    },
    /// One rule is more even than each of the others over the groups that `on.group` stands for: by the mean difference of (max − min)/mean
    /// over them, paired by seed, to the most even of the others.
    Evener {
        /// The rule that is more even.
        of: String,
        /// The others.
        over: Vec<String>,
        /// The score; its group is `bins` or `components`.
        on: Measured,
        /// The difference that is asked for.
        bound: f64,
    },
    /// A deeper network gets to a score earlier: by more than `bound` epochs in the mean, paired by seed.
    DepthSpeedsUp {
        /// The rule.
        of: String,
        /// The case of the shallow network.
        shallow: String,
        /// The case of the deep one.
        deep: String,
        /// The score; its case and epoch stay open.
        on: Measured,
        /// The score to get to, as a fraction of the mean score of the shallow network at the end.
        fraction: f64,
        /// The epochs that are asked for.
        bound: f64,
    },
    /// The lead of one rule over each of the others is larger in one case than in another, by more than `bound` in the mean, paired by seed.
    LeadGrows {
        /// The rule that leads.
        of: String,
        /// The rules that it leads over.
        over: Vec<String>,
        /// The case with the smaller lead.
        from: String,
        /// The case with the larger one.
        to: String,
        /// The score; its case stays open.
        on: Measured,
        /// The growth that is asked for.
        bound: f64,
    },
    /// Stopped at its best, one update rule is above each of the others stopped at theirs: the mean lead in test score over the strongest of
    /// them, paired by seed, is above `bound` (fractions). Stopping points are chosen on validation data.
    StoppingLead {
        /// The rule that leads.
        of: String,
        /// The rules that it leads over.
        over: Vec<String>,
        /// `balanced` or `worst`.
        score: String,
        /// The training data, such as `n-2000` or `population`.
        data: String,
        /// `rotated` (means in random directions) or `canonical`: the directions that the others are given.
        basis: String,
        /// The lead that is asked for.
        bound: f64,
    },
    /// All components grow alike until the first one is near its limit: their largest relative difference is at most `bound`.
    EqualSlopes {
        /// The rule.
        of: String,
        /// `closed-form` or `simulation`.
        split: String,
        /// The largest (max − min)/mean of the components, at times at which none is above nine tenths of its limit.
        bound: f64,
    },
    /// More frequent classes are learned first: each component needs more than `bound` times as long as that of the next more frequent
    /// class to reach the given fraction of its limit.
    MajorityFirst {
        /// The rule.
        of: String,
        /// `closed-form` or `simulation`.
        split: String,
        /// The fraction of the limit.
        fraction: f64,
        /// The smallest ratio of times.
        bound: f64,
    },
    /// All rules end at the same limits: the largest relative distance of a component from its limit at the last time is at most `bound`.
    SameLimit {
        /// The rules.
        of: Vec<String>,
        /// `closed-form` or `simulation`.
        split: String,
        /// The largest relative distance.
        bound: f64,
    },
    /// A loss gap to `SpecGD` stays above the bound of its theorem: the smallest quotient of the two over (0, t*] is at least `bound`.
    GapAboveBound {
        /// `gd` or `ngd`.
        of: String,
        /// `minority` or `balanced`.
        gap: String,
        /// `closed-form` or `simulation`.
        split: String,
        /// The smallest quotient.
        bound: f64,
    },
    /// One stored number is at least or at most a bound.
    Number {
        /// What measured it, as the records' optimizer.
        of: String,
        /// The data that it was measured on.
        split: String,
        /// What was measured.
        metric: String,
        /// The part of the data.
        group: String,
        /// What it is, for readers.
        quantity: String,
        /// The least value that is asked for.
        #[serde(default)]
        at_least: Option<f64>,
        /// The largest value that is allowed.
        #[serde(default)]
        at_most: Option<f64>,
    },
    /// A check of the theory passes.
    TheoryCheck {
        /// Its name in T1.
        check: String,
    },
}

/// What came out.
pub(super) struct Finding {
    pub(super) quantity: String,
    pub(super) value: Option<f64>,
    pub(super) spread: Option<f64>,
    /// Over how many seeds `value` is a mean.
    pub(super) seeds: Option<usize>,
    pub(super) bound: Option<f64>,
    pub(super) state: State,
}

pub(super) fn name(key: &str) -> String {
    style::rule(key).name
}

pub(super) fn names(keys: &[String]) -> String {
    keys.iter().map(|key| name(key)).collect::<Vec<_>>().join(", ")
}

/// One rule, or the best of several.
fn best(keys: &[String]) -> String {
    if keys.len() > 1 { format!("the best of {}", names(keys)) } else { names(keys) }
}

fn decide(holds: bool) -> State {
    if holds { State::Reproduced } else { State::NotReproduced }
}

impl Check {
    /// The rule that the check itself breaks, if it does.
    pub(super) fn validate(&self) -> Result<(), String> {
        type Parts<'a> = (Vec<(&'a str, f64)>, Option<&'a [String]>, Option<&'a str>);
        let (numbers, lists, split): Parts<'_> = match self {
            Self::Order { tiers, on, bound } => {
                if tiers.len() < 2 || tiers.iter().any(Vec::is_empty) {
                    return Err("`tiers` needs two lists of rules or more, none of them empty".into());
                }
                (vec![("epoch", on.epoch.unwrap_or(0.0)), ("bound", *bound)], None, None)
            }
            Self::Lead { over, on, bound, .. }
            | Self::Evener { over, on, bound, .. }
            | Self::LeadGrows { over, on, bound, .. }
            | Self::Alike { of: over, on, bound } => {
                (vec![("epoch", on.epoch.unwrap_or(0.0)), ("bound", *bound)], Some(over), None)
            }
            Self::DepthSpeedsUp { fraction, bound, .. } => (vec![("fraction", *fraction), ("bound", *bound)], None, None),
            Self::StoppingLead { over, bound, .. } => (vec![("bound", *bound)], Some(over), None),
            Self::EqualSlopes { split, bound, .. } | Self::GapAboveBound { split, bound, .. } => {
                (vec![("bound", *bound)], None, Some(split))
            }
            Self::MajorityFirst { split, fraction, bound, .. } => {
                (vec![("fraction", *fraction), ("bound", *bound)], None, Some(split))
            }
            Self::SameLimit { of, split, bound } => (vec![("bound", *bound)], Some(of), Some(split)),
            Self::TheoryCheck { .. } => (vec![], None, None),
            Self::Number { at_least, at_most, .. } => match (at_least, at_most) {
                (Some(bound), None) => (vec![("at_least", *bound)], None, None),
                (None, Some(bound)) => (vec![("at_most", *bound)], None, None),
                _ => return Err("one of `at_least` and `at_most` must be given".into()),
            },
        };
        if let Some((name, value)) = numbers.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
            return Err(format!("`{name}` is {value} and must be a finite number that is not negative"));
        }
        if lists.is_some_and(<[String]>::is_empty) {
            return Err("the list of rules to compare is empty".into());
        }
        if let Some(split) = split.filter(|split| !["closed-form", "simulation"].contains(split)) {
            return Err(format!("`split` is `{split}` and must be `closed-form` or `simulation`"));
        }
        match self {
            Self::Evener { on, .. } if !["bins", "components"].contains(&on.group.as_str()) => {
                Err(format!("`on.group` is `{}` and must be `bins` or `components`", on.group))
            }
            Self::MajorityFirst { fraction, .. } | Self::DepthSpeedsUp { fraction, .. }
                if *fraction <= 0.0 || *fraction >= 1.0 =>
            {
                Err(format!("`fraction` is {fraction} and must lie between 0 and 1"))
            }
            Self::StoppingLead { score, .. } if !["balanced", "worst"].contains(&score.as_str()) => {
                Err(format!("`score` is `{score}` and must be `balanced` or `worst`"))
            }
            Self::StoppingLead { basis, .. } if !["rotated", "canonical"].contains(&basis.as_str()) => {
                Err(format!("`basis` is `{basis}` and must be `rotated` or `canonical`"))
            }
            Self::GapAboveBound { gap, .. } if !["minority", "balanced"].contains(&gap.as_str()) => {
                Err(format!("`gap` is `{gap}` and must be `minority` or `balanced`"))
            }
            _ => Ok(()),
        }
    }

    fn quantity(&self) -> String {
        match self {
            Self::Lead { of, over, on, .. } => format!("lead of {} over {} in {on}", name(of), best(over)),
            Self::Order { tiers, on, .. } => {
                let tiers: Vec<String> = tiers.iter().map(|tier| names(tier)).collect();
                format!("smallest lead in the order {} in {on}", tiers.join(" > "))
            }
            Self::Alike { of, on, .. } => format!("largest difference between {} in {on}", names(of)),
            Self::Evener { of, over, on, .. } => {
                format!("unevenness, (max − min)/mean over {on}: the least of {} less that of {}", names(over), name(of))
            }
            Self::DepthSpeedsUp { of, shallow, deep, on, fraction, .. } => {
                format!("epochs by which {} gets earlier to {fraction} of the end in {on}, {deep} against {shallow}", name(of))
            }
            Self::LeadGrows { of, over, from, to, on, .. } => {
                format!("growth of the lead of {} over {} in {on}, from {from} to {to}", name(of), best(over))
            }
            Self::StoppingLead { of, over, score, data, basis, .. } => {
                format!(
                    "lead of {} in {score} test accuracy over the best of {}, each at its best stopping point, {}{}",
                    name(of),
                    names(over),
                    data.replace("n-", "n = "),
                    if basis == "canonical" { ", means along coordinate axes" } else { "" },
                )
            }
            Self::EqualSlopes { of, split, .. } => {
                format!("{}: largest relative difference of the components before saturation, {split}", name(of))
            }
            Self::MajorityFirst { of, split, fraction, .. } => {
                format!(
                    "{}: smallest ratio of the times to {fraction} of the limit, next rarer to more frequent class, {split}",
                    name(of)
                )
            }
            Self::SameLimit { of, split, .. } => {
                format!("{}: largest relative distance from the limit at the last time, {split}", names(of))
            }
            Self::GapAboveBound { of, gap, split, .. } => {
                format!("{}: smallest {gap} loss gap ÷ bound on (0, t*], {split}", name(of))
            }
            Self::TheoryCheck { check } => format!("check `{check}`"),
            Self::Number { quantity, .. } => quantity.clone(),
        }
    }

    fn bound(&self) -> Option<f64> {
        match self {
            Self::Lead { bound, .. }
            | Self::Order { bound, .. }
            | Self::Alike { bound, .. }
            | Self::Evener { bound, .. }
            | Self::DepthSpeedsUp { bound, .. }
            | Self::LeadGrows { bound, .. }
            | Self::StoppingLead { bound, .. }
            | Self::EqualSlopes { bound, .. }
            | Self::MajorityFirst { bound, .. }
            | Self::SameLimit { bound, .. }
            | Self::GapAboveBound { bound, .. } => Some(*bound),
            Self::Number { at_least, at_most, .. } => at_least.or(*at_most),
            Self::TheoryCheck { .. } => None,
        }
    }

    /// What is said where no runs can decide.
    pub(super) fn not_tested(&self) -> Finding {
        Finding {
            quantity: self.quantity(),
            value: None,
            spread: None,
            seeds: None,
            bound: self.bound(),
            state: State::NotTested,
        }
    }

    /// What came out of a comparison of training runs, of which `holds` decides on the mean.
    fn compared(&self, on: &Measured, outcome: Outcome, holds: impl Fn(f64) -> bool) -> Finding {
        let (found, epoch) = match outcome {
            Outcome::NotTested => return self.not_tested(),
            // A rule without any measurement there stopped in every seed: that shows nothing in favour of the claim.
            Outcome::Stopped => return Finding { state: State::NotReproduced, ..self.not_tested() },
            Outcome::Found(found, epoch) => (found, epoch),
        };
        let mut finding = self.found(found.mean, holds(found.mean));
        if let (Some(asked), Some(measured)) = (on.epoch, epoch) {
            let after = |epoch| format!("after {}", count_epochs(epoch));
            finding.quantity = finding.quantity.replace(&after(asked), &after(measured));
        }
        finding.quantity.push_str(&match found.seeds {
            1 => ", one seed".to_owned(),
            seeds => format!(", mean over {seeds} seeds"),
        });
        Finding { spread: found.deviation, seeds: Some(found.seeds), ..finding }
    }

    fn found(&self, value: f64, holds: bool) -> Finding {
        Finding { value: Some(value), state: decide(holds), ..self.not_tested() }
    }

    /// Decides the check.
    pub(super) fn find(&self, claim: &str, selection: &Selection<'_>) -> Result<Finding, Error> {
        let wrong = |reason: String| Error::Claim { claim: claim.to_owned(), reason };
        match self {
            Self::Lead { of, over, on, bound } => {
                let pairs = over.iter().map(|other| (of.as_str(), other.as_str())).collect::<Vec<_>>();
                Ok(self.compared(on, on.least_lead(selection, &pairs)?, |lead| lead > *bound))
            }
            Self::Order { tiers, on, bound } => {
                let pairs = tiers.windows(2).flat_map(|pair| {
                    pair[0].iter().flat_map(move |better| pair[1].iter().map(move |worse| (better.as_str(), worse.as_str())))
                });
                Ok(self.compared(on, on.least_lead(selection, &pairs.collect::<Vec<_>>())?, |lead| lead > *bound))
            }
            Self::Alike { of, on, bound } => {
                Ok(self.compared(on, on.largest_difference(selection, of)?, |difference| difference <= *bound))
            }
            Self::Evener { of, over, on, bound } => {
                Ok(self.compared(on, on.evenness_lead(selection, of, over)?, |lead| lead > *bound))
            }
            Self::DepthSpeedsUp { of, shallow, deep, on, fraction, bound } => {
                Ok(self.compared(on, on.epochs_saved(selection, of, (shallow, deep), *fraction)?, |saved| saved > *bound))
            }
            Self::LeadGrows { of, over, from, to, on, bound } => {
                Ok(self.compared(on, on.lead_growth(selection, of, over, (from, to))?, |growth| growth > *bound))
            }
            Self::StoppingLead { of, over, score, data, basis, bound } => {
                self.stopping_lead(selection, (of, over), score, (data, basis), *bound)
            }
            Self::EqualSlopes { of, split, bound } => {
                let value = Components::of(selection, of, split)?
                    .unevenness()
                    .ok_or_else(|| wrong(format!("no {split} time lies before the first saturation")))?;
                Ok(self.found(value, value <= *bound))
            }
            Self::MajorityFirst { of, split, fraction, bound } => {
                let value = Components::of(selection, of, split)?
                    .smallest_time_ratio(*fraction)
                    .ok_or_else(|| wrong("all classes have the same prior".into()))?;
                Ok(self.found(value, value > *bound))
            }
            Self::SameLimit { of, split, bound } => {
                let mut value = 0.0_f64;
                for rule in of {
                    value = value.max(Components::of(selection, rule, split)?.distance());
                }
                Ok(self.found(value, value <= *bound))
            }
            Self::GapAboveBound { of, gap, split, bound } => {
                let run = selection.single()?;
                let curve = |split, metric: &str| selection.over_time(run, Of { optimizer: of, split, metric, group: "linear" });
                let gaps = curve(split, &format!("{gap}_gap"))?;
                let bounds = curve("closed-form", &format!("{gap}_bound"))?;
                let quotients = gaps.iter().filter_map(|&(time, gap)| {
                    let below = interpolate(&bounds, time).filter(|below| *below > 0.0)?;
                    Some(gap / below)
                });
                let value = quotients
                    .min_by(f64::total_cmp)
                    .ok_or_else(|| wrong("the gap and a positive bound have no time in common".into()))?;
                Ok(self.found(value, value >= *bound))
            }
            Self::Number { of, split, metric, group, at_least, at_most, .. } => {
                let run = selection.single()?;
                let of = Of { optimizer: of, split, metric, group };
                let value = selection.number(run, of)?;
                let holds = at_least.is_none_or(|bound| value >= bound) && at_most.is_none_or(|bound| value <= bound);
                Ok(self.found(value, holds))
            }
            Self::TheoryCheck { check } => {
                let run = selection.single()?;
                let checks = t1::checks(selection, run)?;
                let Some(found) = checks.iter().find(|found| found.id == check) else {
                    let known: Vec<&str> = checks.iter().map(|found| found.id).collect();
                    return Err(wrong(format!("there is no check `{check}`; there are {}", list(&known))));
                };
                Ok(Finding {
                    quantity: found.quantity.to_owned(),
                    value: found.value,
                    spread: None,
                    seeds: None,
                    bound: found.bound,
                    state: decide(found.pass),
                })
            }
        }
    }

    fn stopping_lead(
        &self,
        selection: &Selection<'_>,
        (of, over): (&String, &[String]),
        score: &str,
        (data, basis): (&str, &str),
        bound: f64,
    ) -> Result<Finding, Error> {
        let run = selection.single()?;
        let metric = format!("best_{score}");
        let find = |rule: &String, basis: &str| {
            let contender = CONTENDERS.into_iter().find(|known| known.rule == rule && known.basis == basis);
            contender.map(|contender| stops(run, contender, data, &metric)).filter(|stops| !stops.is_empty())
        };
        // The leader's path does not depend on the directions: it was run in random ones.
        let (Some(ours), Some(others)) =
            (find(of, "rotated"), over.iter().map(|rule| find(rule, basis)).collect::<Option<Vec<_>>>())
        else {
            return Ok(self.not_tested());
        };
        let leads: Option<Vec<Spread>> = others.iter().map(|others| lead(&ours, others)).collect();
        let Some(least) = leads.and_then(|leads| leads.into_iter().min_by(|a, b| a.mean.total_cmp(&b.mean))) else {
            return Ok(self.not_tested());
        };
        let seeds = Some(least.seeds);
        let mut finding = Finding { spread: least.deviation, seeds, ..self.found(least.mean, least.mean > bound) };
        finding.quantity.push_str(&format!(", mean over {} seeds", least.seeds));
        Ok(finding)
    }
}
