//! T8: F8 in numbers.

use isorate_results::Run;

use crate::scores::{self, Score};
use crate::{Error, Table};

const SCORES: [Score<'_>; 2] = [Score::accuracy("worst group", "worst-group"), Score::accuracy("average", "all")];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    scores::table("t8", "f8", &SCORES, runs)
}
