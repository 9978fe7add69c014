//! T3: F3 in numbers.

use isorate_results::Run;

use crate::scores::{self, Score};
use crate::{Error, Table};

const SCORES: [Score<'_>; 3] = [
    Score::accuracy("rare classes", "minority"),
    Score::accuracy("frequent classes", "majority"),
    Score::accuracy("worst class", "worst-class"),
];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    scores::table("t3", "f3", &SCORES, runs)
}
