//! F8: worst-group and average accuracy of fine-tuned networks.

use isorate_results::Run;

use crate::Error;
use crate::curves::{self, About, Over, View};
use crate::figure::Figure;

const VIEWS: [View<'_>; 3] = [
    View::accuracy("worst group", "worst-group"),
    View::accuracy("average", "all").sharing_y(),
    View::accuracy("worst group over time", "worst-group").over(Over::Time).sharing_y(),
];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "f8",
        experiment: "f8",
        title: "Worst-group and average test accuracy of fine-tuned networks",
        shows: "Test accuracy of fine-tuned networks on the worst group and over all test rows over epochs, and on the worst group over \
                the time spent in training steps, without measuring",
    };
    curves::figure(&about, &VIEWS, runs)
}
