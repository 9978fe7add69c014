//! F6, networks: accuracy on the minority and the majority group over training, by depth.

use isorate_results::Run;

use crate::Error;
use crate::curves::{About, View, assemble, panel};
use crate::figure::Figure;
use crate::select::Selection;
use crate::training::{Choice, case_name};

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let about = About {
        id: "f6-networks",
        experiment: "f6-networks",
        title: "Test accuracy of networks of different depth on the minority and the majority group",
        shows: "Test accuracy of networks of different depth on images whose colour does not agree with their digit (minority) and on \
                images whose colour does (majority)",
    };
    let selection = Selection::new(about.id, about.experiment, runs)?;
    let cases = selection.cases(Choice::Average)?;
    let mut panels = Vec::new();
    for group in ["minority", "majority"] {
        for case in &cases {
            let title = format!("{}: {group}", case_name(case.name));
            let view = View { shares_y: !panels.is_empty(), ..View::accuracy(&title, group) };
            panels.push(panel(&selection, &case.rules, &view)?);
        }
    }
    Ok(assemble(&about, &selection, &cases, panels.len(), panels))
}
