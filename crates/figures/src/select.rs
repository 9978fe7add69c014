//! Chooses from the stored runs those that one figure shows, and their records.

use std::collections::BTreeSet;

use isorate_results::{Record, Run};

use crate::Error;
use crate::figure::Pair;

/// The runs of one experiment, which all have one scale; never empty.
pub(crate) struct Selection<'a> {
    /// The figure or table they are for, for messages.
    figure: &'a str,
    experiment: &'a str,
    pub(crate) runs: Vec<&'a Run>,
}

/// Which records: everything that a curve has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) optimizer: &'a str,
    pub(crate) split: &'a str,
    pub(crate) metric: &'a str,
    pub(crate) group: &'a str,
}

impl Of<'_> {
    fn is(&self, record: &Record) -> bool {
        record.optimizer == self.optimizer
            && record.split == self.split
            && record.metric == self.metric
            && record.group == self.group
    }
}

impl std::fmt::Display for Of<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { optimizer, split, metric, group } = self;
        write!(formatter, "record with optimizer `{optimizer}`, split `{split}`, metric `{metric}`, group `{group}`")
    }
}

impl<'a> Selection<'a> {
    /// The runs of `experiment`, or the reason why there is no picture of them.
    pub(crate) fn new(figure: &'a str, experiment: &'a str, runs: &'a [Run]) -> Result<Self, Error> {
        let runs: Vec<&Run> = runs.iter().filter(|run| run.header.experiment == experiment).collect();
        let scales: BTreeSet<&str> = runs.iter().map(|run| run.header.scale.as_str()).collect();
        let selection = Self { figure, experiment, runs };
        match scales.len() {
            0 => Err(Error::NoRuns { figure: figure.to_owned(), experiment: experiment.to_owned() }),
            1 => Ok(selection),
            _ => Err(selection.mixed(format!("their scales are {}", list(&scales)))),
        }
    }

    /// `smoke`, `default` or `paper`.
    pub(crate) fn scale(&self) -> &'a str {
        &self.runs[0].header.scale
    }

    pub(crate) fn missing(&self, what: impl std::fmt::Display) -> Error {
        Error::Missing { figure: self.figure.to_owned(), experiment: self.experiment.to_owned(), what: what.to_string() }
    }

    pub(crate) fn mixed(&self, what: String) -> Error {
        Error::Mixed { figure: self.figure.to_owned(), experiment: self.experiment.to_owned(), what }
    }

    /// The one run of an experiment that has only one.
    pub(crate) fn single(&self) -> Result<&'a Run, Error> {
        match self.runs[..] {
            [run] => Ok(run),
            _ => Err(self.mixed(format!(
                "there should be one, and there are {}: {}",
                self.runs.len(),
                self.runs.iter().map(|run| run.header.run_id.as_str()).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// The finite values over time, by time; an error if there are none.
    pub(crate) fn over_time(&self, run: &Run, of: Of<'_>) -> Result<Vec<Pair>, Error> {
        let points = over_time(run, of);
        if points.is_empty() { Err(self.missing(of)) } else { Ok(points) }
    }

    /// The one value that there is; an error if there is none, or if it is not finite.
    pub(crate) fn number(&self, run: &Run, of: Of<'_>) -> Result<f64, Error> {
        let mut values = run.records.iter().filter(|record| of.is(record) && record.value.is_finite()).map(|record| record.value);
        values.next().ok_or_else(|| self.missing(of))
    }

    /// The finite values of the groups that are numbers, by number; an error if there are none.
    pub(crate) fn by_index(&self, run: &Run, optimizer: &str, metric: &str) -> Result<Vec<f64>, Error> {
        let mut values: Vec<(usize, f64)> = run
            .records
            .iter()
            .filter(|record| record.optimizer == optimizer && record.metric == metric && record.value.is_finite())
            .filter_map(|record| Some((record.group.parse().ok()?, record.value)))
            .collect();
        values.sort_by_key(|&(index, _)| index);
        let gap = values.iter().enumerate().find(|&(place, &(index, _))| place != index).map(|(place, _)| place);
        if gap.is_some() || values.is_empty() {
            let group = gap.unwrap_or(0);
            return Err(self.missing(format!("record with optimizer `{optimizer}`, metric `{metric}`, group `{group}`")));
        }
        Ok(values.into_iter().map(|(_, value)| value).collect())
    }
}

/// The finite values over time, by time.
pub(crate) fn over_time(run: &Run, of: Of<'_>) -> Vec<Pair> {
    let mut points: Vec<Pair> = run
        .records
        .iter()
        .filter(|record| of.is(record) && record.value.is_finite())
        .filter_map(|record| Some((record.time.filter(|time| time.is_finite())?, record.value)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// `a`, `b` and `c`.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => "none".into(),
    }
}

/// A curve at `x`, by linear interpolation; `None` outside of it.
pub(crate) fn interpolate(points: &[Pair], x: f64) -> Option<f64> {
    let after = points.partition_point(|point| point.0 < x);
    match (after.checked_sub(1).map(|before| points[before]), points.get(after)) {
        (_, Some(&(at, y))) if at <= x => Some(y),
        (Some((x0, y0)), Some(&(x1, y1))) => Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_stays_inside() {
        let points = [(0.0, 1.0), (2.0, 5.0)];
        assert_eq!(interpolate(&points, 0.0), Some(1.0));
        assert_eq!(interpolate(&points, 1.0), Some(3.0));
        assert_eq!(interpolate(&points, 2.0), Some(5.0));
        assert_eq!(interpolate(&points, 2.1), None);
        assert_eq!(interpolate(&points, -0.1), None);
        assert_eq!(interpolate(&[], 0.0), None);
    }
}
