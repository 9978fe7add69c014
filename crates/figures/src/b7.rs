//! B7: does it matter which parameters Muon gets?

use isorate_results::Run;

use crate::curves::About;
use crate::figure::Figure;
use crate::{Error, ablation};

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "b7",
        experiment: "b7",
        title: "Muon on different parameters of the same network",
        shows: "Test accuracy on the minority and on the worst part of the data with Muon on different parameters; the others are under the \
                rule of the specification",
    };
    ablation::figure(&about, runs)
}
