//! A data set in words and tables.

use std::fmt::Write as _;

use isorate_figures::{Align, Cell, Column, Table};

use super::facts::{Facts, Share, Split};

/// Classes or groups that are shown in full; of more, the totals say enough.
const MOST_SHARES: usize = 40;
/// Of a text, its beginning.
const TEXT_LENGTH: usize = 160;

pub fn text(facts: &Facts) -> String {
    let mut text = format!("{}: {}\n\n", facts.name, facts.description);
    for (what, value) in [("origin", &facts.origin), ("licence", &facts.licence), ("citation", &facts.citation)] {
        let _ = writeln!(text, "{what}: {value}");
    }
    if !facts.files.is_empty() {
        let _ = write!(text, "\n{}", files(facts).markdown());
    }
    if !facts.splits.is_empty() {
        let _ = write!(text, "\n{}", splits(facts).markdown());
    }
    let tables = [
        shares_table("class", &facts.splits, |split| split.classes.clone()),
        shares_table("group", &facts.splits, |split| split.groups.clone()),
        shares_table("tokens of", &facts.splits, token_bins),
    ];
    for table in tables.iter().flatten() {
        let _ = write!(text, "\n{}", table.markdown());
    }
    for split in facts.splits.iter().filter(|split| !split.examples.is_empty()) {
        let _ = writeln!(text, "\n{}, for example:", split.name);
        for example in &split.examples {
            let _ = writeln!(text, "  {}", beginning(example));
        }
    }
    text
}

fn files(facts: &Facts) -> Table {
    let row = |file: &super::facts::File| {
        vec![
            Cell::text(file.name.as_str()),
            Cell::text(thousands(usize::try_from(file.bytes).unwrap_or(usize::MAX))),
            Cell::text(file.checksum.as_str()),
            Cell::text(file.path.as_deref().unwrap_or("in the program")),
        ]
    };
    Table {
        caption: String::new(),
        columns: vec![
            Column::new("file", Align::Left),
            Column::new("bytes", Align::Right),
            Column::new("checksum", Align::Left),
            Column::new("place", Align::Left),
        ],
        rows: facts.files.iter().map(row).collect(),
        headings: Vec::new(),
    }
}

fn splits(facts: &Facts) -> Table {
    let ratio = |ratio: Option<f64>| Cell::text(ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.1}")));
    let present = |shares: &[Share]| match shares.len() {
        0 => Cell::text("–"),
        all => {
            let present = shares.iter().filter(|share| share.rows > 0).count();
            Cell::text(if present == all { all.to_string() } else { format!("{present} of {all}") })
        }
    };
    let row = |split: &Split| {
        vec![
            Cell::text(split.name.as_str()),
            Cell::text(thousands(split.rows)),
            present(&split.classes),
            ratio(split.class_imbalance_ratio),
            present(&split.groups),
            ratio(split.group_imbalance_ratio),
        ]
    };
    Table {
        caption: String::new(),
        columns: vec![
            Column::new("split", Align::Left),
            Column::new("rows", Align::Right),
            Column::new("classes", Align::Right),
            Column::new("imbalance ratio", Align::Right),
            Column::new("groups", Align::Right),
            Column::new("group imbalance ratio", Align::Right),
        ],
        rows: facts.splits.iter().map(row).collect(),
        headings: Vec::new(),
    }
}

fn token_bins(split: &Split) -> Vec<Share> {
    split.token_bins.iter().map(|bin| Share { name: bin.types.clone(), rows: bin.tokens, published: None }).collect()
}

/// Rows of each class or group, or tokens of each bin, in each split; none where there is nothing to count or too much to read.
fn shares_table(what: &str, splits: &[Split], part: fn(&Split) -> Vec<Share>) -> Option<Table> {
    let shares: Vec<Vec<Share>> = splits.iter().map(part).collect();
    let first = shares.iter().find(|shares| !shares.is_empty())?;
    if first.len() > MOST_SHARES {
        return None;
    }
    let published = shares.iter().flatten().any(|share| share.published.is_some());
    let mut columns = vec![Column::new(what, Align::Left)];
    for split in splits {
        columns.push(Column::new(&split.name, Align::Right));
        columns.push(Column::new("%", Align::Right));
    }
    if published {
        columns.push(Column::new("published, train", Align::Right));
    }
    let row = |index: usize| {
        let mut cells = vec![Cell::text(first[index].name.as_str())];
        for shares in &shares {
            let all: usize = shares.iter().map(|share| share.rows).sum();
            let rows = shares.get(index).map(|share| share.rows);
            cells.push(Cell::text(rows.map_or_else(|| "–".to_owned(), thousands)));
            cells.push(Cell::text(rows.map_or_else(String::new, |rows| percent(rows, all))));
        }
        if published {
            let counted = shares.iter().find_map(|shares| shares.get(index)?.published);
            cells.push(Cell::text(counted.map_or_else(|| "–".to_owned(), thousands)));
        }
        cells
    };
    Some(Table { caption: String::new(), columns, rows: (0..first.len()).map(row).collect(), headings: Vec::new() })
}

/// `part` of `whole`, in percent.
pub fn percent(part: usize, whole: usize) -> String {
    format!("{:.2}", 100.0 * part as f64 / whole.max(1) as f64)
}

/// With commas between groups of three digits.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.char_indices() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The first line or so, on one line.
fn beginning(example: &str) -> String {
    let line = example.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(TEXT_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (162_770, "162,770"), (2_119_719, "2,119,719")];
        for (number, text) in cases {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(beginning("  a\n b "), "a b");
        let long = "é".repeat(200);
        assert_eq!(beginning(&long).chars().count(), TEXT_LENGTH + 1);
    }
}
