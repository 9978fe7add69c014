//! T7: F7 in numbers.

use isorate_results::Run;

use crate::scores::{self, Score, When};
use crate::{Error, Table};

const WORST: &str = "worst-group";
const SCORES: [Score<'_>; 4] = [
    Score::accuracy("worst group", WORST),
    Score::accuracy("core only", WORST).on("core-only"),
    Score::accuracy("decoded", WORST).on("decoded"),
    Score::accuracy("average", "all").at(&[When::End]),
];

pub(crate) fn table(runs: &[Run]) -> Result<Table, Error> {
    scores::table("t7", "f7", &SCORES, runs)
}
