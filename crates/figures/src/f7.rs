//! F7: worst-group accuracy with a spurious feature: original, core feature alone, and decoded.

use isorate_results::Run;

use crate::Error;
use crate::curves::{self, About, View};
use crate::figure::Figure;

const WORST: &str = "worst-group";
const VIEWS: [View<'_>; 3] = [
    View::accuracy("original", WORST),
    View::accuracy("core only", WORST).on("core-only").sharing_y(),
    View::accuracy("decoded", WORST).on("decoded").sharing_y(),
];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "f7",
        experiment: "f7",
        title: "Worst-group accuracy with a spurious feature: original, on the core feature alone, and decoded",
        shows: "Accuracy on the worst group of test images: as they are (original), with the spurious half hidden (core only), and of a \
                logistic regression fitted on the network's features of group-balanced held-out images (decoded)",
    };
    curves::figure(&about, &VIEWS, runs)
}
