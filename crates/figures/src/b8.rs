//! B8: how exact must Muon's polar factor be?

use isorate_results::Run;

use crate::curves::About;
use crate::figure::Figure;
use crate::{Error, ablation};

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "b8",
        experiment: "b8",
        title: "Muon with 1, 3 and 5 Newton–Schulz steps and with the exact polar factor",
        shows: "Test accuracy on the minority and on the worst part of the data under Muon with different numbers of Newton–Schulz steps, \
                and with the exact polar factor",
    };
    ablation::figure(&about, runs)
}
