//! Data sets and weights from the hub.

mod progress;

use indicatif::DecimalBytes;
use isorate_figures::{Align, Cell, Column, Table};
use isorate_hub::{Hub, HubError, Plan, Source, source, sources};

use self::progress::Watch;
use crate::args::Fetch;
use crate::{Verdict, output};

pub fn run(arguments: &Fetch) -> anyhow::Result<Verdict> {
    let hub = Hub::from_env()?;
    let mut chosen: Vec<&Source> = Vec::new();
    for name in &arguments.names {
        let source = source(name)?;
        if !chosen.iter().any(|other| other.name == source.name) {
            chosen.push(source);
        }
    }
    if chosen.is_empty() {
        chosen = sources().iter().collect();
    }

    let watch = Watch::default();
    let mut failures = Vec::new();
    let mut plans = Vec::new();
    for source in chosen {
        match hub.plan(source, &watch) {
            Ok(plan) => plans.push((source, plan)),
            Err(error) => failures.push(error),
        }
    }
    if !plans.is_empty() {
        output::table(&table(&hub, &plans))?;
        let total: u64 = plans.iter().map(|(_, plan)| plan.to_download()).sum();
        let from = if total > 0 { format!(" from {}", hub.endpoint()) } else { String::new() };
        output::message(&format!("{} to download{from}; the cache is {}", DecimalBytes(total), hub.cache_dir().display()));
    }
    if !arguments.plan {
        for (source, _) in &plans {
            match hub.fetch(source, &watch) {
                Ok(fetched) => {
                    let bytes: u64 = fetched.files.iter().map(|file| file.bytes).sum();
                    watch.end(&format!("{}: {} files, {}, checked", fetched.name, fetched.files.len(), DecimalBytes(bytes)));
                }
                Err(error) => {
                    watch.clear();
                    failures.push(error);
                }
            }
        }
    }
    ended(failures)
}

/// What to say of several failures: each of them, the last by the exit code as well.
fn ended(mut failures: Vec<HubError>) -> anyhow::Result<Verdict> {
    let only_bad_files = failures.iter().all(|error| matches!(error, HubError::BadFile { .. }));
    let Some(last) = failures.pop() else { return Ok(Verdict::Passed) };
    for error in failures {
        output::error(&error.into());
    }
    if only_bad_files {
        output::error(&last.into());
        return Ok(Verdict::Failed);
    }
    Err(last.into())
}

fn table(hub: &Hub, plans: &[(&Source, Plan)]) -> Table {
    let columns = vec![
        Column::new("name", Align::Left),
        Column::new("repository", Align::Left),
        Column::new("commit", Align::Left),
        Column::new("files", Align::Right),
        Column::new("size", Align::Right),
        Column::new("there", Align::Right),
        Column::new("to download", Align::Right),
    ];
    let row = |name: &str, id: &str, commit: &str, files: usize, there: u64, missing: u64| {
        let sizes = [there + missing, there, missing].map(|bytes| Cell::text(DecimalBytes(bytes).to_string()));
        [Cell::text(name), Cell::text(id), Cell::text(commit), Cell::text(files.to_string())].into_iter().chain(sizes).collect()
    };
    let mut rows: Vec<Vec<Cell>> = plans
        .iter()
        .map(|(source, plan)| {
            let commit: String = plan.commit.chars().take(12).collect();
            row(&plan.name, &hub.source(source).id, &commit, plan.files.len(), plan.present(), plan.to_download())
        })
        .collect();
    if plans.len() > 1 {
        let sum = |value: fn(&Plan) -> u64| plans.iter().map(|(_, plan)| value(plan)).sum();
        let files = plans.iter().map(|(_, plan)| plan.files.len()).sum();
        rows.push(row("all", "", "", files, sum(Plan::present), sum(Plan::to_download)));
    }
    Table { caption: String::new(), columns, rows, headings: Vec::new() }
}
