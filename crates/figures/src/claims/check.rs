//! The forms of checks, and how each is decided by the runs of its experiment.

use isorate_results::Run;
use serde::Deserialize;

use super::State;
use crate::figure::Pair;
use crate::select::{Of, Selection, interpolate, list};
use crate::stopping::{CONTENDERS, lead, stops};
use crate::training::{self, Spread, count_epochs};
use crate::{Error, style, t1};

/// What must be true of the runs of one experiment.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Check {
    /// The test accuracy of one update rule is above that of each of the others after `epoch` epochs: the mean lead over the
    /// strongest of them, paired by seed, is above `bound` (fractions).
    AccuracyLead {
        /// The rule that leads.
        of: String,
        /// The rules that it leads over.
        over: Vec<String>,
        /// `minority`, `majority`, `all` or `class-0`, ….
        group: String,
        /// When; the measured epoch that is nearest to it counts, and if training ended before, the claim was not run.
        epoch: f64,
        /// The lead that is asked for.
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
    pub(super) bound: Option<f64>,
    pub(super) state: State,
}

fn name(key: &str) -> String {
    style::rule(key).name
}

fn names(keys: &[String]) -> String {
    keys.iter().map(|key| name(key)).collect::<Vec<_>>().join(", ")
}

fn decide(holds: bool) -> State {
    if holds { State::Holds } else { State::Fails }
}

impl Check {
    /// The rule that the check itself breaks, if it does.
    pub(super) fn validate(&self) -> Result<(), String> {
        type Parts<'a> = (Vec<(&'a str, f64)>, Option<&'a [String]>, Option<&'a str>);
        let (numbers, lists, split): Parts<'_> = match self {
            Self::AccuracyLead { over, epoch, bound, .. } => (vec![("epoch", *epoch), ("bound", *bound)], Some(over), None),
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
            Self::MajorityFirst { fraction, .. } if *fraction <= 0.0 || *fraction >= 1.0 => {
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
            Self::AccuracyLead { of, over, group, epoch, .. } => {
                format!(
                    "lead of {} in {group} test accuracy over the best of {} after {}",
                    name(of),
                    names(over),
                    count_epochs(*epoch)
                )
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
            Self::AccuracyLead { bound, .. }
            | Self::StoppingLead { bound, .. }
            | Self::EqualSlopes { bound, .. }
            | Self::MajorityFirst { bound, .. }
            | Self::SameLimit { bound, .. }
            | Self::GapAboveBound { bound, .. } => Some(*bound),
            Self::Number { at_least, at_most, .. } => at_least.or(*at_most),
            Self::TheoryCheck { .. } => None,
        }
    }

    pub(super) fn not_run(&self) -> Finding {
        Finding { quantity: self.quantity(), value: None, spread: None, bound: self.bound(), state: State::NotRun }
    }

    fn found(&self, value: f64, holds: bool) -> Finding {
        Finding { value: Some(value), state: decide(holds), ..self.not_run() }
    }

    /// Decides the check.
    pub(super) fn find(&self, claim: &str, selection: &Selection<'_>) -> Result<Finding, Error> {
        let wrong = |reason: String| Error::Claim { claim: claim.to_owned(), reason };
        match self {
            Self::AccuracyLead { of, over, group, epoch, bound } => {
                self.accuracy_lead(selection, (of, over), group, *epoch, *bound)
            }
            Self::StoppingLead { of, over, score, data, basis, bound } => {
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
                    return Ok(self.not_run());
                };
                let leads: Option<Vec<Spread>> = others.iter().map(|others| lead(&ours, others)).collect();
                let Some(least) = leads.and_then(|leads| leads.into_iter().min_by(|a, b| a.mean.total_cmp(&b.mean))) else {
                    return Ok(self.not_run());
                };
                let mut finding = Finding { spread: least.deviation, ..self.found(least.mean, least.mean > *bound) };
                finding.quantity.push_str(&format!(", mean over {} seeds", least.seeds));
                Ok(finding)
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
                    bound: found.bound,
                    state: decide(found.pass),
                })
            }
        }
    }

    fn accuracy_lead(
        &self,
        selection: &Selection<'_>,
        (of, over): (&String, &[String]),
        group: &str,
        epoch: f64,
        bound: f64,
    ) -> Result<Finding, Error> {
        let rules = selection.rules()?;
        let epochs = training::epochs(&rules, group);
        let Some(measured) = training::nearest(&epochs, epoch) else {
            return Err(selection.missing(format!("record with split `test`, metric `accuracy`, group `{group}`")));
        };
        let runs = |key: &String| rules.iter().find(|rule| rule.key == key).map(|rule| rule.runs.as_slice());
        let ended = epochs.last().is_none_or(|&last| last < epoch - 1e-6);
        let (Some(ours), Some(others)) = (runs(of), over.iter().map(runs).collect::<Option<Vec<_>>>()) else {
            return Ok(self.not_run());
        };
        if ended {
            return Ok(self.not_run());
        }
        // The strongest of the others decides. A rule without any measurement there diverged in every seed: then nothing is shown.
        let leads: Option<Vec<Spread>> = others.iter().map(|others| Spread::of(&paired(ours, others, group, measured))).collect();
        let weakest = leads.and_then(|leads| leads.into_iter().min_by(|a, b| a.mean.total_cmp(&b.mean)));
        let mut finding = match weakest {
            Some(lead) => Finding { spread: lead.deviation, ..self.found(lead.mean, lead.mean > bound) },
            None => Finding { state: State::Fails, ..self.not_run() },
        };
        let asked = format!("after {}", count_epochs(epoch));
        finding.quantity = finding.quantity.replace(&asked, &format!("after {}", count_epochs(measured)));
        if let Some(lead) = weakest {
            finding.quantity.push_str(&match lead.seeds {
                1 => ", one seed".to_owned(),
                seeds => format!(", mean over {seeds} seeds"),
            });
        }
        Ok(finding)
    }
}

/// Differences in accuracy at one epoch, seed by seed.
fn paired(ours: &[&Run], others: &[&Run], group: &str, epoch: f64) -> Vec<f64> {
    let pairs = ours.iter().filter_map(|run| Some((run, others.iter().find(|other| other.header.seed == run.header.seed)?)));
    pairs.filter_map(|(a, b)| Some(training::accuracy_at(a, group, epoch)? - training::accuracy_at(b, group, epoch)?)).collect()
}

/// The trajectories of F2 under one rule.
struct Components {
    /// `α_c` over time, by component.
    paths: Vec<Vec<Pair>>,
    priors: Vec<f64>,
    limits: Vec<f64>,
}

impl Components {
    fn of(selection: &Selection<'_>, rule: &str, split: &str) -> Result<Self, Error> {
        let run = selection.single()?;
        let priors = selection.by_index(run, "mixture", "prior")?;
        let limits = selection.by_index(run, "mixture", "limit")?;
        if limits.len() != priors.len() {
            return Err(selection.missing(format!("limit for each of the {} priors", priors.len())));
        }
        let paths = (0..priors.len())
            .map(|component| {
                let group = component.to_string();
                selection.over_time(run, Of { optimizer: rule, split, metric: "alpha", group: &group })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { paths, priors, limits })
    }

    /// Largest (max − min)/mean of the components over the times at which none is above nine tenths of its limit.
    fn unevenness(&self) -> Option<f64> {
        let times = self.paths.first()?.iter().map(|point| point.0).filter(|&time| time > 0.0);
        times
            .filter_map(|time| self.paths.iter().map(|path| interpolate(path, time)).collect::<Option<Vec<f64>>>())
            .filter(|alphas| alphas.iter().zip(&self.limits).all(|(alpha, limit)| *alpha <= 0.9 * limit))
            .filter_map(|alphas| {
                let mean = alphas.iter().sum::<f64>() / alphas.len() as f64;
                let low = alphas.iter().copied().fold(f64::INFINITY, f64::min);
                let high = alphas.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                (mean > 0.0).then(|| (high - low) / mean)
            })
            .max_by(f64::total_cmp)
    }

    /// When a component reaches a fraction of its limit; the last time if it does not.
    fn time_to(&self, component: usize, fraction: f64) -> f64 {
        let path = &self.paths[component];
        let goal = fraction * self.limits[component];
        let Some(index) = path.iter().position(|point| point.1 >= goal) else {
            return path.last().map_or(0.0, |point| point.0);
        };
        let (t1, a1) = path[index];
        match index.checked_sub(1).map(|before| path[before]) {
            Some((t0, a0)) if a1 > a0 => t0 + (t1 - t0) * (goal - a0) / (a1 - a0),
            _ => t1,
        }
    }

    /// Over neighbours in the order of the priors, the smallest time of the rarer by the time of the more frequent class.
    fn smallest_time_ratio(&self, fraction: f64) -> Option<f64> {
        let mut order: Vec<usize> = (0..self.priors.len()).collect();
        order.sort_by(|&a, &b| self.priors[b].total_cmp(&self.priors[a]));
        order
            .windows(2)
            .filter(|pair| self.priors[pair[0]] > self.priors[pair[1]])
            .map(|pair| self.time_to(pair[1], fraction) / self.time_to(pair[0], fraction))
            .min_by(f64::total_cmp)
    }

    /// Largest relative distance from the limit at the last time.
    fn distance(&self) -> f64 {
        let ends = self.paths.iter().filter_map(|path| path.last());
        ends.zip(&self.limits).map(|(end, limit)| (end.1 / limit - 1.0).abs()).fold(0.0, f64::max)
    }
}
