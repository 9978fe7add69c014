//! The one place that prints.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Width};
use isorate_figures::{Align, Cell, Table};

/// Prints data. A reader that has seen enough (`| head`) is no error.
pub fn data(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Prints a table: fitted to the window on a terminal, else as Markdown.
pub fn table(table: &Table) -> anyhow::Result<()> {
    let window = terminal_size::terminal_size().filter(|_| std::io::stdout().is_terminal());
    match window {
        Some((terminal_size::Width(width), _)) => data(&fitted(table, width.max(NARROWEST))),
        None => data(&table.markdown()),
    }
}

/// Below this, words are broken on every line.
const NARROWEST: u16 = 80;

/// The table in lines of at most `width`: short columns as they are, long text broken at spaces.
fn fitted(table: &Table, width: u16) -> String {
    let longest = |index: usize| {
        let cells = table.rows.iter().map(|row| row[index].shown.chars().count());
        cells.chain([table.columns[index].title.chars().count()]).max().unwrap_or(0)
    };
    let wrapped = |index: &usize| table.columns[*index].align == Align::Wrapped;
    // One space on either side of each column.
    let fixed: usize = (0..table.columns.len()).map(|index| 2 + if wrapped(&index) { 0 } else { longest(index) }).sum();
    let shared = (0..table.columns.len()).filter(wrapped).count().max(1);
    let each = usize::from(width).saturating_sub(fixed) / shared;
    let part = |rows: &[Vec<Cell>]| {
        let mut part = comfy_table::Table::new();
        part.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        if rows.is_empty() {
            part.set_header(table.columns.iter().map(|column| column.title.as_str()));
        }
        part.add_rows(rows.iter().map(|row| row.iter().map(|cell| cell.shown.as_str())));
        for (index, column) in table.columns.iter().enumerate() {
            let Some(setting) = part.column_mut(index) else { continue };
            let content = if column.align == Align::Wrapped { each.max(12) } else { longest(index) };
            // The constraint counts the spaces on either side.
            setting.set_constraint(ColumnConstraint::Absolute(Width::Fixed(u16::try_from(content + 2).unwrap_or(u16::MAX))));
            setting.set_cell_alignment(if column.align == Align::Right { CellAlignment::Right } else { CellAlignment::Left });
        }
        part.trim_fmt() + "\n"
    };
    let mut starts: Vec<usize> = table.headings.iter().map(|(row, _)| *row).collect();
    if starts.first() != Some(&0) {
        starts.insert(0, 0);
    }
    let mut out = part(&[]);
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(table.rows.len());
        if let Some((_, heading)) = table.headings.iter().find(|(row, _)| *row == start) {
            out.extend(["\n", heading, "\n", &"─".repeat(heading.chars().count()), "\n"]);
        }
        out += &part(&table.rows[start..end]);
    }
    out
}

/// Prints a message to standard error; a closed one is no reason to stop.
pub fn message(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints an error with its causes; a hint within it stands on its own line.
pub fn error(error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Transparent errors repeat their cause.
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    message(&format!("error: {text}"));
}

#[cfg(test)]
mod tests {
    use isorate_figures::Column;

    use super::*;

    #[test]
    fn tables_fit_the_window() {
        let table = Table {
            caption: String::new(),
            columns: vec![
                Column::new("id", Align::Left),
                Column::new("statement", Align::Wrapped),
                Column::new("value", Align::Right),
                Column::new("pass", Align::Left),
            ],
            rows: vec![
                vec![
                    Cell::text("thm1-minority"),
                    Cell::text(
                        "Theorem 1: L_m of GF exceeds that of Spec by at least μ t/4 on (0, t*] wherever its conditions hold",
                    ),
                    Cell::number(Some(0.8714)),
                    Cell::text("yes"),
                ],
                vec![Cell::text("lemma"), Cell::text("short"), Cell::number(Some(1.25e-13)), Cell::text("no")],
            ],
            headings: vec![(0, "Theorems".into()), (1, "Lemmas".into())],
        };
        let text = fitted(&table, 80);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text);
    }
}
