//! F3: accuracy on rare and frequent classes over training, under class imbalance.

use isorate_results::Run;

use crate::Error;
use crate::curves::{self, About, Over, View};
use crate::figure::Figure;

const VIEWS: [View<'_>; 3] = [
    View::accuracy("rare classes", "minority"),
    View::accuracy("frequent classes", "majority").sharing_y(),
    View::accuracy("rare classes over time", "minority").over(Over::Time).sharing_y(),
];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "f3",
        experiment: "f3",
        title: "Test accuracy on rare and frequent classes over epochs, and over training time",
        shows: "Test accuracy on the rare half of the classes and on the frequent half over epochs, and on the rare half over the time \
                spent in training steps, without measuring",
    };
    curves::figure(&about, &VIEWS, runs)
}
