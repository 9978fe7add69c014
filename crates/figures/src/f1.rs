//! F1: accuracy on the majority and the minority group over training, and the spectrum of the data's moments.

use isorate_results::Run;

use crate::Error;
use crate::curves::{View, end_labels, panel, spread_keys};
use crate::figure::{Figure, Panel};
use crate::moments::Moments;
use crate::select::Selection;
use crate::training::{Case, Choice, caption};

/// The update rules that the figure of the paper compares; all must be there.
const COMPARED: [&str; 3] = ["muon", "nmd", "signum"];
const VIEWS: [View<'_>; 2] =
    [View::accuracy("Minority: colour misleads", "minority"), View::accuracy("Majority: colour agrees", "majority").sharing_y()];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("f1", "f1", runs)?;
    let cases = selection.cases(Choice::Average)?;
    let [Case { name, rules }] = &cases[..] else {
        return Err(selection.mixed(format!("there should be one case, and there are {}", cases.len())));
    };
    for key in COMPARED {
        if !rules.iter().any(|rule| rule.key == key) {
            return Err(selection.missing(format!("training run of `{key}`")));
        }
    }
    let Some(moments) = selection.moments(name)? else {
        return Err(selection.missing("run with the moments of the data (optimizer `data`)"));
    };
    let moments = Moments::of(&selection, moments)?;
    let mut panels = Vec::new();
    for view in VIEWS {
        panels.push(Panel { labels: end_labels(rules, view.of, 100.0), ..panel(&selection, rules, &view)? });
    }
    panels.push(moments.panel());
    let mut keys = spread_keys(&cases);
    keys.extend(Moments::keys());
    let shows = "Test accuracy on images whose colour does not agree with their digit (a) and on images whose colour does (b)";
    let caption = caption(shows, &selection, &cases, Some(Choice::Average)) + &moments.caption();
    Ok(Figure {
        id: "f1",
        title: "Test accuracy by group over training, and the spectrum of the data's moments".into(),
        columns: 3,
        panels,
        keys,
        caption,
    })
}
