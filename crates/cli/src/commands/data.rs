//! What data sets there are, and what is in them.

mod facts;
mod sheet;
mod text;

use isorate_data::{Entry, OpenOptions, catalogue, entry_named};
use isorate_figures::{Align, Cell, Column, Table, contact_sheet};
use isorate_hub::{Hub, Source};
use isorate_results::write_atomic;

use self::facts::Facts;
use super::check_writable;
use crate::args::{DataCommand, Format, Inspect};
use crate::{Verdict, output};

pub fn run(command: &DataCommand) -> anyhow::Result<Verdict> {
    match command {
        DataCommand::List(arguments) => list(arguments.format)?,
        DataCommand::Inspect(arguments) => inspect(arguments)?,
    }
    Ok(Verdict::Passed)
}

fn list(format: Format) -> anyhow::Result<()> {
    let hub = Hub::from_env()?;
    let rows: Vec<Row> = catalogue().iter().map(|entry| Row::of(entry, &hub)).collect::<anyhow::Result<_>>()?;
    match format {
        Format::Json => output::data(&format!("{}\n", serde_json::to_string_pretty(&rows)?)),
        Format::Table => output::table(&table(&rows)),
    }
}

/// A line of the list.
#[derive(serde::Serialize)]
struct Row {
    name: &'static str,
    form: &'static str,
    description: &'static str,
    /// Of the complete set, by split.
    hub_rows: &'static [(&'static str, usize)],
    embedded_rows: &'static [(&'static str, usize)],
    made_of: &'static [&'static str],
    embedded: bool,
    licence: Option<&'static str>,
    hub: Option<HubRow>,
}

#[derive(serde::Serialize)]
struct HubRow {
    id: &'static str,
    revision: &'static str,
    /// What the lock file says was fetched.
    fetched: bool,
}

impl Row {
    fn of(entry: &'static Entry, hub: &Hub) -> anyhow::Result<Self> {
        let source = isorate_hub::sources().iter().find(|source| source.name == entry.name);
        let row = |source: &'static Source| -> anyhow::Result<HubRow> {
            let fetched = hub.held(source)?.is_some_and(|plan| plan.to_download() == 0);
            Ok(HubRow { id: &source.id, revision: &source.revision, fetched })
        };
        Ok(Self {
            name: entry.name,
            form: entry.form.name(),
            description: entry.description,
            hub_rows: entry.hub_rows,
            embedded_rows: entry.embedded_rows,
            made_of: entry.made_of,
            embedded: entry.is_embedded(),
            licence: source.map(|source| source.licence.as_str()),
            hub: source.map(row).transpose()?,
        })
    }

    fn place(&self) -> String {
        let hub = self.hub.as_ref().map(|hub| if hub.fetched { "hub, fetched" } else { "hub, not fetched" });
        let here = match (self.embedded, self.made_of) {
            (true, []) => Some("embedded"),
            (_, []) => None,
            (true, _) => Some("made"),
            (false, _) => Some("made; needs the hub"),
        };
        here.into_iter().chain(hub).collect::<Vec<_>>().join("; ")
    }
}

fn table(rows: &[Row]) -> Table {
    let of = |row: &Row| {
        let counts = |rows: &[(&str, usize)]| {
            let counts: Vec<String> = rows.iter().map(|(_, count)| text::thousands(*count)).collect();
            if counts.is_empty() { "–".into() } else { counts.join(" + ") }
        };
        vec![
            Cell::text(row.name),
            Cell::text(row.form),
            Cell::text(row.description),
            Cell::text(counts(row.embedded_rows)),
            Cell::text(counts(row.hub_rows)),
            Cell::text(row.place()),
            Cell::text(row.licence.unwrap_or("–")),
        ]
    };
    Table {
        caption: String::new(),
        columns: vec![
            Column::new("name", Align::Left),
            Column::new("form", Align::Left),
            Column::new("what", Align::Wrapped),
            Column::new("rows in the program", Align::Right),
            Column::new("rows on the hub", Align::Right),
            Column::new("where", Align::Wrapped),
            Column::new("licence", Align::Wrapped),
        ],
        rows: rows.iter().map(of).collect(),
        headings: Vec::new(),
    }
}

fn inspect(arguments: &Inspect) -> anyhow::Result<()> {
    let entry = entry_named(&arguments.name)?;
    if let Some(out) = &arguments.out {
        check_writable(out)?;
    }
    let options = OpenOptions { origin: arguments.images.origin.clone(), seed: arguments.seed, imbalance: arguments.imbalance };
    let hub = Hub::from_env()?;
    let opened = entry.open(&hub, &options)?;
    // Drawn before anything is said, so that a set without images is refused as a whole.
    let sheet = match &arguments.out {
        Some(_) => Some(contact_sheet(&sheet::sheet(entry, &opened, arguments.seed)?)?),
        None => None,
    };
    let facts = Facts::of(entry, &opened);
    match arguments.format {
        Format::Json => output::data(&format!("{}\n", serde_json::to_string_pretty(&facts)?))?,
        Format::Table => output::data(&text::text(&facts))?,
    }
    if let (Some(out), Some(sheet)) = (&arguments.out, sheet) {
        let path = out.join(format!("{}.png", entry.name));
        write_atomic(&path, &sheet)?;
        output::message(&path.display().to_string());
    }
    Ok(())
}
