//! Scores of training runs that claims compare, and the comparisons.

use std::collections::BTreeSet;

use isorate_results::Run;
use serde::Deserialize;

use crate::Error;
use crate::select::{Selection, list};
use crate::training::{Case, Choice, Measure, Rule, Spread, count_epochs, epochs, nearest, value_at, values};

/// A score of training runs, at one time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// The case, where the experiment has several. Runs of a scale without this case say nothing.
    #[serde(default)]
    pub case: Option<String>,
    /// `test`, `core-only`, `decoded` or `train`.
    #[serde(default = "test")]
    pub split: String,
    /// `accuracy`, `top1`, `top5`, `learned`, or `loss`, of which less is better.
    #[serde(default = "accuracy")]
    pub metric: String,
    /// `minority`, `worst-group`, `bin-9`, ….
    pub group: String,
    /// When; the measured epoch that is nearest to it counts, and if training ended before, the claim was not tested. Without it, at the end.
    #[serde(default)]
    pub epoch: Option<f64>,
    /// By which validation score step sizes were chosen.
    #[serde(default)]
    pub chosen_by: Choice,
}

fn test() -> String {
    "test".into()
}

fn accuracy() -> String {
    "accuracy".into()
}

/// What a comparison came to.
#[derive(Clone, Copy)]
pub(super) enum Outcome {
    /// There are no runs of the rules, the case or the epoch.
    NotTested,
    /// One of the rules stopped before in every seed.
    Stopped,
    /// A mean, and the measured epoch that it is from, where it is from one.
    Found(Spread, Option<f64>),
}

impl std::fmt::Display for Measured {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let metric = match self.metric.as_str() {
            "top1" => "top-1 accuracy",
            "top5" => "top-5 accuracy",
            "learned" => "learned share",
            other => other,
        };
        let split = if self.metric == "learned" { String::new() } else { format!("{} ", self.split) };
        write!(formatter, "{} {split}{metric}", self.group)?;
        if let Some(case) = &self.case {
            write!(formatter, " on {case}")?;
        }
        match self.epoch {
            Some(epoch) => write!(formatter, " after {}", count_epochs(epoch))?,
            None => write!(formatter, " at the end")?,
        }
        if self.chosen_by == Choice::Worst { write!(formatter, ", step sizes by the worst group") } else { Ok(()) }
    }
}

impl Measured {
    fn of(&self) -> Measure<'_> {
        Measure::new(&self.split, &self.metric, &self.group)
    }

    /// 1 where more is better.
    fn sign(&self) -> f64 {
        if self.metric == "loss" { -1.0 } else { 1.0 }
    }

    /// The case that is meant, or the only one; `None` if this scale does not have it.
    fn case<'a>(&self, selection: &Selection<'a>, name: Option<&str>) -> Result<Option<Case<'a>>, Error> {
        let mut cases = selection.cases(self.chosen_by)?;
        match name.or(self.case.as_deref()) {
            Some(name) => Ok(cases.into_iter().find(|case| case.name == name)),
            None if cases.len() == 1 => Ok(cases.pop()),
            None => {
                let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
                Err(selection.mixed(format!("a claim must say which case it is about; there are {}", list(&names))))
            }
        }
    }

    /// The measured epoch that is meant; `None` if training ended before.
    fn measured(&self, selection: &Selection<'_>, case: &Case<'_>, of: Measure<'_>) -> Result<Option<f64>, Error> {
        let epochs = epochs(&case.rules, of);
        let Some(&last) = epochs.last() else { return Err(selection.missing(of)) };
        match self.epoch {
            None => Ok(Some(last)),
            Some(epoch) if last < epoch - 1e-6 => Ok(None),
            Some(epoch) => Ok(nearest(&epochs, epoch)),
        }
    }

    /// The smallest of the leads of the first rule of each pair over the second.
    pub(super) fn least_lead(&self, selection: &Selection<'_>, pairs: &[(&str, &str)]) -> Result<Outcome, Error> {
        let Some(case) = self.case(selection, None)? else { return Ok(Outcome::NotTested) };
        let Some(epoch) = self.measured(selection, &case, self.of())? else { return Ok(Outcome::NotTested) };
        let score = |run: &Run| Some(self.sign() * value_at(run, self.of(), epoch)?);
        Ok(least(pairs.iter().map(|(better, worse)| Some(lead(rule(&case, better)?, rule(&case, worse)?, score))), epoch))
    }

    /// The largest difference between two of the rules.
    pub(super) fn largest_difference(&self, selection: &Selection<'_>, rules: &[String]) -> Result<Outcome, Error> {
        let pairs: Vec<(&str, &str)> =
            rules.iter().flat_map(|a| rules.iter().filter(move |b| *b != a).map(move |b| (a.as_str(), b.as_str()))).collect();
        // The smallest lead is the largest difference, the other way round.
        Ok(match self.least_lead(selection, &pairs)? {
            Outcome::Found(least, epoch) => Outcome::Found(Spread { mean: -least.mean, ..least }, epoch),
            other => other,
        })
    }

    /// By how much one rule is more even over the groups than the most even of the others.
    pub(super) fn evenness_lead(&self, selection: &Selection<'_>, of: &str, over: &[String]) -> Result<Outcome, Error> {
        let Some(case) = self.case(selection, None)? else { return Ok(Outcome::NotTested) };
        let groups = self.groups(&case);
        let first = match &groups[..] {
            [] => return Err(selection.missing(self.of())),
            // One group alone is neither even nor uneven.
            [_] => return Ok(Outcome::NotTested),
            [first, ..] => first,
        };
        let Some(epoch) = self.measured(selection, &case, Measure { group: first, ..self.of() })? else {
            return Ok(Outcome::NotTested);
        };
        let evenness = |run: &Run| {
            let values: Option<Vec<f64>> =
                groups.iter().map(|group| value_at(run, Measure { group, ..self.of() }, epoch)).collect();
            Some(-unevenness(&values?))
        };
        Ok(least(over.iter().map(|other| Some(lead(rule(&case, of)?, rule(&case, other)?, evenness))), epoch))
    }

    /// The groups that `bins` or `components` stands for, as far as they were measured.
    fn groups(&self, case: &Case<'_>) -> Vec<String> {
        let prefix = if self.group == "bins" { "bin-" } else { "" };
        let records = case.rules.iter().flat_map(|rule| &rule.runs).flat_map(|run| &run.records);
        let indices: BTreeSet<usize> = records
            .filter(|record| record.split == self.split && record.metric == self.metric && record.value.is_finite())
            .filter_map(|record| record.group.strip_prefix(prefix)?.parse().ok())
            .collect();
        indices.into_iter().map(|index| format!("{prefix}{index}")).collect()
    }

    /// How many epochs earlier one rule gets to a score in the second case than in the first.
    pub(super) fn epochs_saved(
        &self,
        selection: &Selection<'_>,
        of: &str,
        (shallow, deep): (&str, &str),
        fraction: f64,
    ) -> Result<Outcome, Error> {
        let (Some(shallow), Some(deep)) = (self.case(selection, Some(shallow))?, self.case(selection, Some(deep))?) else {
            return Ok(Outcome::NotTested);
        };
        let (Some(slow), Some(quick)) = (rule(&shallow, of), rule(&deep, of)) else { return Ok(Outcome::NotTested) };
        let Some(end) = slow.curve(self.of()).last().copied() else { return Ok(Outcome::Stopped) };
        let level = fraction * end.spread.mean;
        let saved: Vec<f64> = pairs(slow, quick)
            .filter_map(|(slow, quick)| {
                Some(time_to(&values(slow, self.of()), level)? - time_to(&values(quick, self.of()), level)?)
            })
            .collect();
        Ok(Spread::of(&saved).map_or(Outcome::Stopped, |saved| Outcome::Found(saved, None)))
    }

    /// How much larger the lead of one rule over each of the others is in the second case than in the first.
    pub(super) fn lead_growth(
        &self,
        selection: &Selection<'_>,
        of: &str,
        over: &[String],
        (from, to): (&str, &str),
    ) -> Result<Outcome, Error> {
        let (Some(from), Some(to)) = (self.case(selection, Some(from))?, self.case(selection, Some(to))?) else {
            return Ok(Outcome::NotTested);
        };
        let (Some(early), Some(late)) = (self.measured(selection, &from, self.of())?, self.measured(selection, &to, self.of())?)
        else {
            return Ok(Outcome::NotTested);
        };
        let at = |run: &Run, epoch: f64| Some(self.sign() * value_at(run, self.of(), epoch)?);
        let growth = |other: &String| {
            let (ours, theirs) = ((rule(&from, of)?, rule(&to, of)?), (rule(&from, other)?, rule(&to, other)?));
            let before = pairs(ours.0, theirs.0).filter_map(|(a, b)| Some((a.header.seed, at(a, early)? - at(b, early)?)));
            let before: Vec<(u64, f64)> = before.collect();
            let after = pairs(ours.1, theirs.1).filter_map(|(a, b)| Some((a.header.seed, at(a, late)? - at(b, late)?)));
            let grown = after.filter_map(|(seed, lead)| Some(lead - before.iter().find(|(other, _)| *other == seed)?.1));
            Some(Spread::of(&grown.collect::<Vec<_>>()))
        };
        Ok(least(over.iter().map(growth), late))
    }
}

/// The rule with this key; `AdamW` stands in for Adam where that was not run.
fn rule<'a, 'b>(case: &'b Case<'a>, key: &str) -> Option<&'b Rule<'a>> {
    case.rule(key).or_else(|| case.rule("adamw").filter(|_| key == "adam"))
}

/// The runs of two rules with the same seed.
fn pairs<'a>(a: &Rule<'a>, b: &Rule<'a>) -> impl Iterator<Item = (&'a Run, &'a Run)> {
    a.runs.iter().filter_map(move |run| Some((*run, *b.runs.iter().find(|other| other.header.seed == run.header.seed)?)))
}

/// By how much one rule is above another, over the seeds that both were measured with.
fn lead(ours: &Rule<'_>, others: &Rule<'_>, score: impl Fn(&Run) -> Option<f64>) -> Option<Spread> {
    let differences: Vec<f64> = pairs(ours, others).filter_map(|(a, b)| Some(score(a)? - score(b)?)).collect();
    Spread::of(&differences)
}

/// The smallest of the leads; the outer `None` is a rule without runs, the inner one a rule without measurement.
fn least(leads: impl Iterator<Item = Option<Option<Spread>>>, epoch: f64) -> Outcome {
    let Some(leads) = leads.collect::<Option<Vec<_>>>() else { return Outcome::NotTested };
    let Some(leads) = leads.into_iter().collect::<Option<Vec<_>>>() else { return Outcome::Stopped };
    leads
        .into_iter()
        .min_by(|a, b| a.mean.total_cmp(&b.mean))
        .map_or(Outcome::NotTested, |lead| Outcome::Found(lead, Some(epoch)))
}

/// (max − min)/mean; infinite where the mean is not positive.
fn unevenness(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if mean > 0.0 { (high - low) / mean } else { f64::INFINITY }
}

/// When a curve first is at a level, linear between its points; its last epoch if it never is.
fn time_to(curve: &[(f64, f64)], level: f64) -> Option<f64> {
    let Some(index) = curve.iter().position(|point| point.1 >= level) else { return curve.last().map(|point| point.0) };
    let (x1, y1) = curve[index];
    Some(match index.checked_sub(1).map(|before| curve[before]) {
        Some((x0, y0)) if y1 > y0 => x0 + (x1 - x0) * (level - y0) / (y1 - y0),
        _ => x1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_level() {
        let curve = [(0.0, 0.1), (1.0, 0.3), (2.0, 0.7)];
        assert!((time_to(&curve, 0.5).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(time_to(&curve, 0.05), Some(0.0));
        assert_eq!(time_to(&curve, 0.8), Some(2.0));
        assert_eq!(time_to(&[], 0.8), None);
    }

    #[test]
    fn unevenness_is_relative() {
        assert!((unevenness(&[1.0, 2.0, 3.0]) - 1.0).abs() < 1e-12);
        assert!(unevenness(&[0.0, 0.0]).is_infinite());
    }
}
