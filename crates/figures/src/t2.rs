//! T2: F1 in numbers.

use isorate_results::Run;

use crate::scores::{self, Score, When};
use crate::{Error, Table};

const TIMES: &[When] = &[When::Early, When::Halfway, When::End];
const SCORES: [Score<'_>; 2] =
    [Score::accuracy("minority", "minority").at(TIMES), Score::accuracy("majority", "majority").at(TIMES)];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    scores::table("t2", "f1", &SCORES, runs)
}
