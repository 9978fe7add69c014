//! T9: F9 in numbers.

use isorate_results::Run;

use crate::scores::{self, Score, Unit, When};
use crate::select::Selection;
use crate::training::{Choice, Measure};
use crate::{Error, Table, bins};

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    let selection = Selection::new("t9", "f9", runs)?;
    let (mut first, mut last) = (usize::MAX, 0);
    for case in selection.cases(Choice::Average)? {
        let bins = bins::measured(&selection, &case)?;
        first = bins.first().map_or(first, |&bin| first.min(bin));
        last = bins.last().map_or(last, |&bin| last.max(bin));
    }
    let (frequent, rare) = (bins::group(first), bins::group(last));
    let loss = |title, group, times| Score { title, of: Measure::new("test", "loss", group), unit: Unit::Nats, times };
    let share = |title, metric, group| {
        let of = Measure::new("test", metric, group);
        Score { title, of, unit: Unit::Percent, times: &[When::End] }
    };
    let both: &[When] = &[When::Early, When::End];
    let scores = [
        loss("loss", "all", both),
        loss("loss, rarest bin", &rare, both),
        loss("loss, most frequent bin", &frequent, &[When::End]),
        share("top-1", "top1", "all"),
        share("top-1, rarest bin", "top1", &rare),
        share("top-5, rarest bin", "top5", &rare),
    ];
    scores::table("t9", "f9", &scores, runs)
}
