//! B4: how the components grow under Shampoo with accumulated statistics, beside GD and `SpecGD`.

use isorate_results::Run;

use crate::Error;
use crate::canvas::Fill;
use crate::f2::{Growth, growth, mixture};
use crate::figure::{Figure, Key, Sample};
use crate::select::Selection;
use crate::style::{self, Mark};

const RULES: [(&str, &str); 4] =
    [("gd", "GD"), ("shampoo-sum", "Shampoo, sum"), ("shampoo-average", "Shampoo, average"), ("specgd", "SpecGD")];

pub(crate) fn figure(runs: &[Run]) -> Result<Figure, Error> {
    let selection = Selection::new("b4", "b4", runs)?;
    let run = selection.single()?;
    let rules = RULES.map(|(key, title)| (key, title.to_owned()));
    let Growth { mut panels, priors, simulated } = growth(&selection, run, &rules, "time t = η · step")?;
    panels[1].x.label = "clock 2η · √step".into();
    let mut keys = vec![Key { sample: Sample::Line(style::INK), text: "flow".into() }];
    if simulated {
        keys.push(Key { sample: Sample::Mark(Mark::Circle, Fill::Outline, style::INK), text: "matrix simulation".into() });
    }
    keys.push(Key { sample: Sample::Dashed(style::INK), text: "common limit s_{yx,c} / s_{xx,c}".into() });
    let setting = |name: &str| run.header.spec.pointer(&format!("/{name}")).and_then(serde_json::Value::as_f64);
    let decay = setting("decay").map_or_else(String::new, |decay| format!(" (decay {decay}, bias correction)"));
    let caption = format!(
        "Components α_{{c}} of a linear model from W(0) = 0 with L^{{−1/4}} G R^{{−1/4}}, L and R being sums or averages{decay} of \
         GG^{{⊤}} and G^{{⊤}}G. Summed statistics slow every step alike, as 1/√step, so that their panel has the clock on which all rates \
         begin at 1. {}; {} scale. Darker: more frequent class.",
        mixture(run, &priors),
        selection.scale(),
    );
    Ok(Figure {
        id: "b4",
        title: "Growth of the components under Shampoo with accumulated statistics".into(),
        columns: 4,
        panels,
        keys,
        caption,
    })
}
