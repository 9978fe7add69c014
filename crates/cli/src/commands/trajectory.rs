use std::fmt::Write as _;

use anyhow::Context as _;
use clap::ValueEnum as _;
use isorate_theory::{Error, Model, Network, Rule, TrajectoryConfig};

use crate::args::{Source, Trajectory};
use crate::{Verdict, output};

pub fn run(arguments: &Trajectory) -> anyhow::Result<Verdict> {
    let file = arguments.model.display();
    let text = fs_err::read_to_string(&arguments.model)?;
    let model = Model::from_toml(&text).with_context(|| file.to_string())?;
    let name = arguments.rule.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let config = TrajectoryConfig {
        rule: Rule::from_options(&name, arguments.power, arguments.momentum)?,
        times: arguments.times.clone(),
        network: Network::new(arguments.depth, arguments.delta)?,
        source: match arguments.source {
            Source::ClosedForm => isorate_theory::Source::ClosedForm,
            Source::Simulation => isorate_theory::Source::Simulation { eta: arguments.eta },
        },
    };
    let rows = model.trajectory(&config).map_err(|error| match error {
        // What the file says, in the light of the options.
        Error::NotOrthogonal { .. } | Error::Condition1 { .. } => anyhow::Error::from(error).context(file.to_string()),
        error => error.into(),
    })?;
    let mut csv = String::from("t");
    for c in 0..model.len() {
        write!(csv, ",alpha_{c}")?;
    }
    csv.push('\n');
    for row in rows {
        // The shortest text that reads back to the same number.
        write!(csv, "{}", row.t)?;
        for alpha in row.alpha {
            write!(csv, ",{alpha}")?;
        }
        csv.push('\n');
    }
    output::data(&csv)?;
    Ok(Verdict::Passed)
}
