use std::collections::BTreeSet;
use std::path::Path;

use isorate_data::Origin;
use isorate_figures::claims;
use isorate_results::{Store, write_atomic};
use isorate_train::Experiment;

use super::{FROZEN, plan_if_tuned, specification, stored};
use crate::args::{Claims, Format};
use crate::{Verdict, output};

pub fn run(arguments: &Claims) -> anyhow::Result<Verdict> {
    let text = fs_err::read_to_string(&arguments.claims)?;
    let store = Store::open(if arguments.frozen { Path::new(FROZEN) } else { &arguments.places.store })?;
    let mut runs = Vec::new();
    let experiments: BTreeSet<String> = claims::parse(&text)?.into_iter().map(|claim| claim.experiment).collect();
    for id in experiments {
        let file = specification(&arguments.places.experiments, &id)?;
        let experiment = Experiment::read(&file)?;
        let tasks = plan_if_tuned(&file, &experiment, arguments.scale, &Origin::Embedded)?;
        runs.extend(stored(&tasks.unwrap_or_default(), &store)?);
    }
    let states = claims::evaluate(&text, &runs)?;
    let table = claims::table(&states);
    match (&arguments.write, arguments.format) {
        (Some(path), _) => {
            let before = fs_err::read_to_string(path)?;
            let after = claims::splice(&before, &table)?;
            if before != after && arguments.check {
                output::message(&format!(
                    "{}: its claims table is not the one that the results give\nhint: `just readme` writes it",
                    path.display()
                ));
                return Ok(Verdict::Failed);
            }
            if before != after {
                write_atomic(path, after.as_bytes())?;
            }
        }
        (None, Format::Json) => output::data(&format!("{}\n", serde_json::to_string_pretty(&states)?))?,
        (None, Format::Table) => output::table(&table)?,
    }
    Ok(Verdict::Passed)
}
