use crate::{Error, Table};

/// The line after which the table of claims begins.
pub const BEGIN: &str = "<!-- claims:begin -->";
/// The line before which the table of claims ends.
pub const END: &str = "<!-- claims:end -->";

/// The text with `table` as Markdown between the two markers, in place of what stood there.
///
/// # Errors
/// [`Error::Markers`] unless each marker occurs once, the first one first.
pub fn splice(text: &str, table: &Table) -> Result<String, Error> {
    let wrong = |found: String| Error::Markers { begin: BEGIN, end: END, found };
    for marker in [BEGIN, END] {
        let count = text.matches(marker).count();
        if count != 1 {
            return Err(wrong(format!("`{marker}` occurs {count} times")));
        }
    }
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| wrong(format!("`{BEGIN}` is missing")))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| wrong(format!("`{END}` comes first")))?;
    Ok(format!("{before}{BEGIN}\n{}\n{}\n{END}{after}", table.markdown(), table.caption))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Align, Cell, Column};

    fn table() -> Table {
        Table {
            caption: "One.".into(),
            columns: vec![Column::new("a", Align::Left)],
            rows: vec![vec![Cell::text("x")]],
            headings: Vec::new(),
        }
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = format!("# Head\n{BEGIN}\nold\n{END}\ntail\n");
        let once = splice(&text, &table()).unwrap();
        assert_eq!(once, format!("# Head\n{BEGIN}\n| a   |\n| --- |\n| x   |\n\nOne.\n{END}\ntail\n"));
        assert_eq!(splice(&once, &table()).unwrap(), once);
    }

    #[test]
    fn markers_must_be_there_once_and_in_order() {
        for (text, found) in [
            ("nothing".to_owned(), "occurs 0 times"),
            (format!("{BEGIN}{BEGIN}{END}"), "occurs 2 times"),
            (format!("{END}{BEGIN}"), "comes first"),
        ] {
            let message = splice(&text, &table()).unwrap_err().to_string();
            assert!(message.contains(found), "{message}");
        }
    }
}
