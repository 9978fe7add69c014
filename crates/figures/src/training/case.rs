use std::collections::{BTreeMap, BTreeSet};

use isorate_results::Run;
use serde::Deserialize;
use serde_json::Value;

use super::{Rule, rule};
use crate::select::{Selection, list};
use crate::{Error, style};

/// By which validation score the step size of a run was chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Over all validation rows: accuracy, or for text the mean loss.
    #[default]
    Average,
    /// On the worst group or class; for text the loss on the rarest tokens.
    Worst,
}

impl Choice {
    /// As runs name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Worst => "worst",
        }
    }
}

/// The training runs of one data set with one network.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    /// Empty where the runs do not name one.
    pub(crate) name: &'a str,
    /// In the order of [`style::ORDER`]; never empty.
    pub(crate) rules: Vec<Rule<'a>>,
}

/// What all training runs of a case must have in common: the same data, the same network, the same budget.
const COMMON: [&str; 5] = ["data", "model", "schedule", "batch_size", "epochs"];

impl<'a> Case<'a> {
    /// A run, for what all of them have in common.
    pub(crate) fn run(&self) -> &'a Run {
        self.rules[0].runs[0]
    }

    /// The rule with this key.
    pub(crate) fn rule(&self, key: &str) -> Option<&Rule<'a>> {
        self.rules.iter().find(|rule| rule.key == key)
    }
}

/// The update rule that a run trained with; `None` for a run that trained nothing.
fn key(run: &Run) -> Option<&str> {
    run.header.spec.pointer("/optimizer/key").and_then(Value::as_str)
}

fn case(run: &Run) -> &str {
    run.header.spec.get("case").and_then(Value::as_str).unwrap_or_default()
}

impl<'a> Selection<'a> {
    /// The training runs at the step sizes of one choice, by case (in the order of their names) and update rule.
    pub(crate) fn cases(&self, choice: Choice) -> Result<Vec<Case<'a>>, Error> {
        let mut cases: BTreeMap<&str, BTreeMap<(usize, &str), Vec<&Run>>> = BTreeMap::new();
        for &run in &self.runs {
            let Some(key) = key(run).filter(|_| ["both", choice.name()].contains(&rule::selection(run))) else { continue };
            let place = style::ORDER.iter().position(|known| *known == key).unwrap_or(style::ORDER.len());
            cases.entry(case(run)).or_default().entry((place, key)).or_default().push(run);
        }
        if cases.is_empty() {
            return Err(self.missing(format!("training run with a step size chosen by `{}`", choice.name())));
        }
        cases
            .into_iter()
            .map(|(name, rules)| {
                let rules = rules.into_iter().map(|((_, key), runs)| self.rule(key, runs)).collect::<Result<_, _>>()?;
                self.comparable(Case { name, rules })
            })
            .collect()
    }

    /// The same cases at the step sizes chosen by the worst group, as far as there are runs at them.
    pub(crate) fn worst(&self, cases: &[Case<'_>]) -> Result<Vec<Case<'a>>, Error> {
        let worst = match self.cases(Choice::Worst) {
            Err(Error::Missing { .. }) => Vec::new(),
            worst => worst?,
        };
        let average = |name: &str, key: &str| cases.iter().any(|case| case.name == name && case.rule(key).is_some());
        for case in &worst {
            if let Some(Rule { key, .. }) = case.rules.iter().find(|rule| !average(case.name, rule.key)) {
                return Err(self.missing(format!("run of `{key}` with a step size chosen by `average`")));
            }
        }
        Ok(worst)
    }

    /// The run with the moments of a case's data, if there is one.
    pub(crate) fn moments(&self, name: &str) -> Result<Option<&'a Run>, Error> {
        let is_moments = |run: &&Run| run.records.iter().any(|record| record.optimizer == "data");
        let all: Vec<&Run> = self.runs.iter().copied().filter(is_moments).filter(|run| case(run) == name).collect();
        match all[..] {
            [] => Ok(None),
            [run] => Ok(Some(run)),
            _ => Err(self.mixed(format!("{} of them hold the moments of the data", all.len()))),
        }
    }

    /// One run for each seed, all at one step size.
    fn rule(&self, key: &'a str, mut runs: Vec<&'a Run>) -> Result<Rule<'a>, Error> {
        runs.sort_by_key(|run| run.header.seed);
        if let Some(pair) = runs.windows(2).find(|pair| pair[0].header.seed == pair[1].header.seed) {
            let (a, b, seed) = (&pair[0].header.run_id, &pair[1].header.run_id, pair[0].header.seed);
            return Err(self.mixed(format!("the runs {a} and {b} are both of `{key}` with seed {seed}")));
        }
        self.one(&runs, "/optimizer/step_size", &format!("step size of `{key}`"))?;
        Ok(Rule { key, runs })
    }

    fn comparable(&self, case: Case<'a>) -> Result<Case<'a>, Error> {
        let runs: Vec<&Run> = case.rules.iter().flat_map(|rule| rule.runs.iter().copied()).collect();
        for part in COMMON {
            self.one(&runs, &format!("/{part}"), &format!("setting `{part}`"))?;
        }
        Ok(case)
    }

    /// The runs that have a setting must agree on it.
    fn one(&self, runs: &[&Run], pointer: &str, what: &str) -> Result<(), Error> {
        let settings: BTreeSet<String> =
            runs.iter().filter_map(|run| run.header.spec.pointer(pointer)).map(ToString::to_string).collect();
        if settings.len() > 1 {
            let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            return Err(self.mixed(format!("their {what} is {}", list(&settings))));
        }
        Ok(())
    }
}
