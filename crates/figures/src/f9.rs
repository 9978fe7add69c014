//! F9: loss and accuracy of language models by the frequency of the token.

use isorate_results::Run;

use crate::Error;
use crate::bins;
use crate::curves::{About, Height, Over, View, assemble, panel, title};
use crate::figure::Figure;
use crate::select::Selection;
use crate::training::{Choice, Measure};

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "f9",
        experiment: "f9",
        title: "Loss, top-1 and top-5 accuracy of language models by the frequency of the token",
        shows: "Test loss by the frequency of the token to be predicted at the end of training, loss on the rarest tokens over training, \
                and shares of tokens that are predicted first and among the first five at the end of training; bins of \
                about equally many tokens of the training text, the most frequent types first",
    };
    let selection = Selection::new(about.id, about.experiment, runs)?;
    let cases = selection.cases(Choice::Average)?;
    let mut panels = Vec::new();
    for case in &cases {
        let rarest = bins::group(bins::measured(&selection, case)?.last().copied().unwrap_or_default());
        let named = |text: &str| title(&cases, case, text);
        let over_training = View {
            title: &named("loss, rarest bin"),
            of: Measure::new("test", "loss", &rarest),
            over: Over::Epochs,
            height: Height::Fitted("test loss (nats)"),
            shares_y: false,
        };
        panels.push(bins::panel(&selection, case, &named("loss at the end"), "loss", Height::Fitted("test loss (nats)"))?);
        panels.push(panel(&selection, &case.rules, &over_training)?);
        panels.push(bins::panel(&selection, case, &named("top-1"), "top1", Height::Percent("test accuracy (%)"))?);
        panels.push(bins::panel(&selection, case, &named("top-5"), "top5", Height::Percent("test accuracy (%)"))?);
    }
    Ok(assemble(&about, &selection, &cases, 4, panels))
}
