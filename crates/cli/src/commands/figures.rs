use std::collections::BTreeMap;
use std::path::Path;

use isorate_figures::{Entry, catalogue, draw, find};
use isorate_optim::OpenDevice;
use isorate_results::{Run, Store};
use isorate_train::Experiment;

use super::{FROZEN, check_writable, ensure, open, plan, specification, stored};
use crate::args::Figures;
use crate::{Verdict, output};

pub fn run(arguments: &Figures) -> anyhow::Result<Verdict> {
    let entries = choose(&arguments.ids)?;
    if arguments.list {
        let width = entries.iter().map(|entry| entry.id.len()).max().unwrap_or(0);
        let lines = entries.iter().map(|entry| format!("{:width$}  {}\n", entry.id, entry.title));
        output::data(&lines.collect::<String>())?;
        return Ok(Verdict::Passed);
    }
    check_writable(&arguments.out)?;
    let store = Store::open(if arguments.frozen { Path::new(FROZEN) } else { &arguments.places.store })?;
    let device = open(arguments.device);
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for entry in &entries {
        if !runs.contains_key(entry.experiment) {
            runs.insert(entry.experiment, experiment_runs(arguments, entry.experiment, &store, &device)?);
        }
        for path in draw(entry.id, &runs[entry.experiment], &arguments.out)? {
            output::data(&format!("{}\n", path.display()))?;
        }
    }
    Ok(Verdict::Passed)
}

/// The entries named, in the catalogue's order; all if none is named.
fn choose(ids: &[String]) -> anyhow::Result<Vec<&'static Entry>> {
    let mut chosen = Vec::new();
    for id in ids {
        let Some(entry) = find(id) else {
            let known: Vec<&str> = catalogue().map(|entry| entry.id).collect();
            anyhow::bail!(isorate_train::unknown("figure or table", id, &known));
        };
        chosen.push(entry.id);
    }
    Ok(catalogue().filter(|entry| ids.is_empty() || chosen.contains(&entry.id)).collect())
}

fn experiment_runs(arguments: &Figures, id: &str, store: &Store, device: &OpenDevice) -> anyhow::Result<Vec<Run>> {
    let file = specification(&arguments.places.experiments, id)?;
    let experiment = Experiment::read(&file)?;
    let tasks = plan(&file, &experiment, arguments.scale, &arguments.images.origin)?;
    if !arguments.frozen {
        return ensure(&experiment, &tasks, store, device);
    }
    let runs = stored(&tasks, store)?;
    if runs.len() < tasks.len() {
        anyhow::bail!(
            "{FROZEN}: {} of the {} runs of `{id}` are not there\nhint: `just freeze` makes them again",
            tasks.len() - runs.len(),
            tasks.len()
        );
    }
    Ok(runs)
}
