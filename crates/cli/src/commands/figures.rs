use std::collections::BTreeMap;
use std::path::Path;

use isorate_data::Origin;
use isorate_figures::{Entry, catalogue, claims, draw, find};
use isorate_results::{Run, Store};
use isorate_train::Experiment;

use super::{CLAIMS, FROZEN, Workshop, check_writable, open, plan, plan_if_tuned, specification, stored};
use crate::args::{Figures, Scale};
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
    let workshop = Workshop { store: &store, device: &device, unfinished: &arguments.unfinished, again: false };
    let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for entry in &entries {
        for id in entry.experiments() {
            if !runs.contains_key(id) {
                runs.insert(id, experiment_runs(arguments, id, &workshop)?);
            }
        }
        if entry.experiments().any(|id| runs[id].is_empty()) {
            continue;
        }
        let several: Vec<Run>;
        let shown = if entry.experiments().count() == 1 {
            &runs[entry.experiment]
        } else {
            several = entry.experiments().flat_map(|id| runs[id].iter().cloned()).collect();
            &several
        };
        for path in draw(entry.id, shown, &arguments.out)? {
            output::data(&format!("{}\n", path.display()))?;
        }
    }
    if !arguments.frozen && arguments.scale == Scale::Default && arguments.images.origin == Origin::Embedded {
        compare_claims(arguments, &runs)?;
    }
    Ok(Verdict::Passed)
}

/// Says of each claim about these experiments whether the new numbers agree with the frozen ones. Where nothing is frozen, as outside of
/// the project's folder, there is nothing to say.
fn compare_claims(arguments: &Figures, runs: &BTreeMap<&str, Vec<Run>>) -> anyhow::Result<()> {
    let (Ok(text), true) = (fs_err::read_to_string(CLAIMS), Path::new(FROZEN).is_dir()) else { return Ok(()) };
    let (store, mut frozen) = (Store::open(Path::new(FROZEN))?, Vec::new());
    if store.folder() == arguments.places.store {
        return Ok(());
    }
    for id in runs.keys() {
        let file = specification(&arguments.places.experiments, id)?;
        let experiment = Experiment::read(&file)?;
        let tasks = plan_if_tuned(&file, &experiment, arguments.scale, &arguments.images.origin)?;
        frozen.extend(stored(&tasks.unwrap_or_default(), &store)?);
    }
    let new: Vec<Run> = runs.values().flatten().cloned().collect();
    let mut agreements = claims::compare(&claims::evaluate(&text, &frozen)?, &claims::evaluate(&text, &new)?);
    agreements.retain(|agreement| runs.contains_key(agreement.new.experiment.as_str()));
    for agreement in agreements.iter().filter(|agreement| agreement.verdict == claims::Verdict::Differs) {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        output::message(&format!(
            "warning: claim {}: {}, {} here; {}, {} in the frozen results",
            agreement.new.id,
            agreement.new.state,
            number(agreement.new.value),
            agreement.frozen.state,
            number(agreement.frozen.value),
        ));
    }
    if !agreements.is_empty() {
        output::message(&claims::agreement_table(&agreements).caption);
    }
    Ok(())
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

fn experiment_runs(arguments: &Figures, id: &str, workshop: &Workshop<'_>) -> anyhow::Result<Vec<Run>> {
    let file = specification(&arguments.places.experiments, id)?;
    let experiment = Experiment::read(&file)?;
    let origin = &arguments.images.origin;
    // Who asks for everything gets what can be had; who asks for a figure learns what is missing.
    let tasks = match plan_if_tuned(&file, &experiment, arguments.scale, origin)? {
        Some(tasks) => tasks,
        None if arguments.ids.is_empty() => {
            output::message(&format!(
                "{id}: left out, as no step sizes have been chosen\nhint: `isorate tune {}`",
                file.display()
            ));
            return Ok(Vec::new());
        }
        None => plan(&file, &experiment, arguments.scale, origin)?,
    };
    if !arguments.frozen {
        return workshop.ensure(&experiment, &tasks);
    }
    let runs = stored(&tasks, workshop.store)?;
    if runs.len() < tasks.len() {
        anyhow::bail!(
            "{FROZEN}: {} of the {} runs of `{id}` are not there\nhint: `just freeze` makes them again",
            tasks.len() - runs.len(),
            tasks.len()
        );
    }
    Ok(runs)
}
