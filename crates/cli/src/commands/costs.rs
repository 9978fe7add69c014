use std::collections::BTreeSet;
use std::path::Path;

use isorate_data::Origin;
use isorate_figures::{Align, Cell, Column, Table, catalogue};
use isorate_results::Store;
use isorate_train::Experiment;
use serde::Serialize;

use super::{FROZEN, plan_if_tuned, specification, stored};
use crate::args::{Costs, Format};
use crate::{Verdict, output};

/// What the stored runs of one experiment took.
#[derive(Serialize)]
struct Cost {
    experiment: &'static str,
    scale: &'static str,
    /// Runs in the store.
    runs: usize,
    /// Runs that the specification asks for.
    planned: usize,
    /// Wall times, added up.
    minutes: f64,
    devices: BTreeSet<String>,
}

pub fn run(arguments: &Costs) -> anyhow::Result<Verdict> {
    let store = Store::open(if arguments.frozen { Path::new(FROZEN) } else { &arguments.places.store })?;
    let mut costs: Vec<Cost> = Vec::new();
    for entry in catalogue() {
        if costs.iter().any(|cost| cost.experiment == entry.experiment) {
            continue;
        }
        let file = specification(&arguments.places.experiments, entry.experiment)?;
        let experiment = Experiment::read(&file)?;
        let tasks = plan_if_tuned(&file, &experiment, arguments.scale, &Origin::Embedded)?.unwrap_or_default();
        let runs = stored(&tasks, &store)?;
        costs.push(Cost {
            experiment: entry.experiment,
            scale: isorate_train::Scale::from(arguments.scale).name(),
            runs: runs.len(),
            planned: tasks.len(),
            minutes: runs.iter().fold(0.0, |sum, run| sum + run.header.provenance.wall_seconds) / 60.0,
            devices: runs.into_iter().map(|run| run.header.provenance.device).collect(),
        });
    }
    match arguments.format {
        Format::Json => output::data(&format!("{}\n", serde_json::to_string_pretty(&costs)?))?,
        Format::Table => output::table(&table(&costs))?,
    }
    Ok(Verdict::Passed)
}

fn table(costs: &[Cost]) -> Table {
    let columns = [("experiment", Align::Left), ("runs", Align::Right), ("minutes", Align::Right), ("device", Align::Left)];
    let row = |cost: &Cost| {
        let devices = cost.devices.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let runs = format!("{} of {}", cost.runs, cost.planned);
        vec![
            Cell::text(cost.experiment.to_uppercase()),
            Cell::text(runs),
            Cell::text(format!("{:.1}", cost.minutes)),
            Cell::text(devices),
        ]
    };
    Table {
        caption: String::new(),
        columns: columns.map(|(title, align)| Column::new(title, align)).into(),
        rows: costs.iter().map(row).collect(),
        headings: Vec::new(),
    }
}
