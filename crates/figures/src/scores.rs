//! Tables of training runs: scores early and at the end, with the step sizes of both choices, time and memory.

use isorate_results::{Outcome, Run};

use crate::select::Selection;
use crate::table::{Align, Cell, Column, Table, full};
use crate::training::{Case, Choice, Measure, Rule, Spread, caption, case_name, count_epochs, epochs, nearest};
use crate::{Error, style};

/// When a score is tabulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// After the first epoch, or a quarter of the training if that is earlier.
    Early,
    Halfway,
    End,
}

impl When {
    fn name(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Halfway => "halfway",
            Self::End => "end",
        }
    }

    /// The measured epoch that is meant, after the first step.
    fn epoch(self, case: &Case<'_>, of: Measure<'_>) -> Option<f64> {
        let trained: Vec<f64> = epochs(&case.rules, of).into_iter().filter(|&epoch| epoch > 0.0).collect();
        let end = *trained.last()?;
        let wanted = match self {
            Self::Early => (end / 4.0).min(1.0),
            Self::Halfway => end / 2.0,
            Self::End => end,
        };
        nearest(&trained, wanted)
    }
}

/// How a score is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Percent,
    Nats,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Percent => "%",
            Self::Nats => "nats",
        }
    }

    fn cell(self, spread: Option<Spread>) -> Cell {
        let (factor, decimals) = match self {
            Self::Percent => (100.0, 1),
            Self::Nats => (1.0, 3),
        };
        let Some(Spread { mean, deviation, seeds }) = spread.map(|spread| spread.times(factor)) else {
            return Cell { shown: "–".into(), fields: vec![String::new(), String::new(), "0".into()] };
        };
        let shown = match deviation {
            Some(deviation) => format!("{mean:.decimals$} ± {deviation:.decimals$}"),
            None => format!("{mean:.decimals$}"),
        };
        Cell { shown, fields: vec![full(mean), deviation.map_or_else(String::new, full), seeds.to_string()] }
    }
}

/// One score, at one or more times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score<'a> {
    pub(crate) title: &'a str,
    pub(crate) of: Measure<'a>,
    pub(crate) unit: Unit,
    pub(crate) times: &'a [When],
}

impl<'a> Score<'a> {
    /// Test accuracy on a group, early and at the end.
    pub(crate) const fn accuracy(title: &'a str, group: &'a str) -> Self {
        Self { title, of: Measure::accuracy(group), unit: Unit::Percent, times: &[When::Early, When::End] }
    }

    pub(crate) const fn on(self, split: &'a str) -> Self {
        Self { of: Measure { split, ..self.of }, ..self }
    }

    pub(crate) const fn at(self, times: &'a [When]) -> Self {
        Self { times, ..self }
    }

    /// The times that are different measurements in one of the cases.
    fn different(&self, cases: &[Case<'_>]) -> Vec<(When, Vec<f64>)> {
        let mut found: Vec<(When, Vec<f64>)> = Vec::new();
        for &when in self.times {
            let epochs: Vec<f64> = cases.iter().filter_map(|case| when.epoch(case, self.of)).collect();
            if !epochs.is_empty() && found.iter().all(|other| other.1 != epochs) {
                found.push((when, epochs));
            }
        }
        found
    }
}

/// The table of one experiment: a row for each rule, two where the two choices took different step sizes.
pub(crate) fn table(id: &str, experiment: &str, scores: &[Score<'_>], runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new(id, experiment, runs)?;
    let cases = selection.cases(Choice::Average)?;
    let worst = selection.worst(&cases)?;
    let mut columns = vec![
        Column { title: "optimizer".into(), align: Align::Left, fields: vec!["case".into(), "optimizer".into()] },
        Column::new("chosen by", Align::Left),
        Column::new("step size", Align::Right),
        Column::new("seeds", Align::Left),
    ];
    let mut shown: Vec<(&Score<'_>, When)> = Vec::new();
    for score in scores {
        let times = score.different(&cases);
        if times.is_empty() {
            return Err(selection.missing(format!("{} after the first step", score.of)));
        }
        for (when, epochs) in times {
            let same = epochs.windows(2).all(|pair| pair[0].to_bits() == pair[1].to_bits());
            let at = if same { count_epochs(epochs[0]) } else { when.name().to_owned() };
            let (title, unit) = (format!("{}, {at}", score.title), score.unit.name());
            let fields = ["mean", "standard deviation"].map(|what| format!("{title}: {what} ({unit})")).into_iter();
            let fields = fields.chain([format!("{title}: seeds")]).collect();
            columns.push(Column { title, align: Align::Right, fields });
            shown.push((score, when));
        }
    }
    let fields = vec!["training: mean (s)".into(), "training: standard deviation (s)".into()];
    columns.push(Column { title: "training (s)".into(), align: Align::Right, fields });
    columns.push(Column { title: "memory (MB)".into(), align: Align::Right, fields: vec!["peak memory (bytes)".into()] });

    let (mut rows, mut headings) = (Vec::new(), Vec::new());
    for case in &cases {
        if cases.len() > 1 {
            headings.push((rows.len(), case_name(case.name)));
        }
        let other = worst.iter().find(|other| other.name == case.name);
        for rule in &case.rules {
            let differs = other.and_then(|other| other.rule(rule.key)).filter(|rule| rule.chosen_by() == Choice::Worst.name());
            for rule in [Some(rule), differs].into_iter().flatten() {
                let mut row = about(case.name, rule);
                for (score, when) in &shown {
                    let spread = when.epoch(case, score.of).and_then(|epoch| rule.at(score.of, epoch));
                    row.push(score.unit.cell(spread));
                }
                row.extend(costs(rule));
                rows.push(row);
            }
        }
    }
    let shows = "Scores on test data, mean ± standard deviation over seeds, at the step sizes chosen on validation data by the average and by \
                 the worst group or class (one row where both chose the same), with the time spent in training steps and the most memory that \
                 the process held; accuracies in percent, losses in nats";
    Ok(Table { caption: caption(shows, &selection, &cases, None), columns, rows, headings })
}

fn about(case: &str, rule: &Rule<'_>) -> Vec<Cell> {
    let name = style::rule(rule.key).name;
    let count = |of: fn(&Run) -> bool| rule.runs.iter().filter(|run| of(run)).count();
    let stopped = [
        (count(|run| matches!(run.outcome, Outcome::Diverged { .. })), "diverged"),
        (count(|run| matches!(run.outcome, Outcome::Failed { .. })), "failed"),
    ];
    let stopped: Vec<String> =
        stopped.into_iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    let seeds = match stopped[..] {
        [] => rule.runs.len().to_string(),
        _ => format!("{} ({})", rule.runs.len(), stopped.join(", ")),
    };
    let step = rule.step_size().map_or_else(|| "–".to_owned(), |step| step.to_string());
    vec![
        Cell { shown: name.clone(), fields: vec![case.to_owned(), name] },
        Cell::text(rule.chosen_by()),
        Cell { fields: vec![rule.step_size().map_or_else(String::new, full)], shown: step },
        Cell::text(seeds),
    ]
}

fn costs(rule: &Rule<'_>) -> [Cell; 2] {
    let seconds = match rule.train_seconds() {
        None => Cell { shown: "–".into(), fields: vec![String::new(); 2] },
        Some(Spread { mean, deviation, .. }) => Cell {
            shown: deviation.map_or_else(|| format!("{mean:.1}"), |deviation| format!("{mean:.1} ± {deviation:.1}")),
            fields: vec![full(mean), deviation.map_or_else(String::new, full)],
        },
    };
    let memory = match rule.peak_memory() {
        None => Cell::number(None),
        Some(bytes) => Cell { shown: format!("{:.0}", bytes as f64 / 1e6), fields: vec![bytes.to_string()] },
    };
    [seconds, memory]
}
