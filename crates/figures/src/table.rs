//! Tables: one description, three formats.

/// Side to which a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
    /// Long text: to the left, and broken into lines in LaTeX.
    Wrapped,
}

/// Head of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What stands above it.
    pub title: String,
    /// Side to which it is aligned.
    pub align: Align,
    /// Names of its fields in CSV: one, or two for a mean and its spread.
    pub fields: Vec<String>,
}

impl Column {
    /// A column whose one field in CSV has the same name.
    pub fn new(title: &str, align: Align) -> Self {
        Self { title: title.to_owned(), align, fields: vec![title.to_owned()] }
    }
}

/// One entry: what people read, and the full values.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell {
    /// In Markdown and LaTeX.
    pub shown: String,
    /// In CSV, one for each field of the column.
    pub fields: Vec<String>,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { shown: text.clone(), fields: vec![text] }
    }

    /// A number, with four significant digits where people read it; a missing one is a dash.
    pub fn number(value: Option<f64>) -> Self {
        match value {
            Some(value) => Self { shown: significant(value), fields: vec![value.to_string()] },
            None => Self { shown: "–".into(), fields: vec![String::new()] },
        }
    }
}

/// A table with a caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it shows, on which data and scale.
    pub caption: String,
    /// Heads.
    pub columns: Vec<Column>,
    /// As many cells in each row as there are columns.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// The rows as a Markdown table, with the columns aligned in the source as well; without the caption.
    pub fn markdown(&self) -> String {
        let clean = |text: &str| text.replace('|', "\\|").replace('\n', " ");
        let heads: Vec<String> = self.columns.iter().map(|column| clean(&column.title)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(|cell| clean(&cell.shown)).collect()).collect();
        let width = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            cells.chain([heads[index].chars().count(), 3]).max().unwrap_or(3)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).zip(&self.columns).map(|((cell, &width), column)| match column.align {
                Align::Right => format!(" {cell:>width$} "),
                Align::Left | Align::Wrapped => format!(" {cell:<width$} "),
            });
            format!("|{}|\n", padded.collect::<Vec<_>>().join("|"))
        };
        let rule = widths.iter().zip(&self.columns).map(|(&width, column)| match column.align {
            Align::Right => format!(" {}: ", "-".repeat(width - 1)),
            Align::Left | Align::Wrapped => format!(" {} ", "-".repeat(width)),
        });
        let rule = format!("|{}|\n", rule.collect::<Vec<_>>().join("|"));
        let mut out = line(&heads) + &rule;
        out.extend(rows.iter().map(|row| line(row)));
        out
    }

    /// The Markdown table with its caption below it: a file of its own.
    pub fn markdown_page(&self) -> String {
        format!("{}\n{}\n", self.markdown(), self.caption)
    }

    /// A `tabular` for LaTeX, with the rules of the package booktabs; the caption is a comment, as the text has its own.
    pub fn latex(&self) -> String {
        let kinds: String = self
            .columns
            .iter()
            .map(|column| match column.align {
                Align::Left => "l",
                Align::Right => "r",
                Align::Wrapped => "p{0.32\\linewidth}",
            })
            .collect();
        let line = |cells: Vec<String>| format!("  {} \\\\\n", cells.join(" & "));
        let mut out = format!("% {}\n\\begin{{tabular}}{{{kinds}}}\n  \\toprule\n", self.caption.replace('\n', " "));
        out += &line(self.columns.iter().map(|column| latex(&column.title)).collect());
        out += "  \\midrule\n";
        out.extend(self.rows.iter().map(|row| line(row.iter().map(|cell| latex(&cell.shown)).collect())));
        out + "  \\bottomrule\n\\end{tabular}\n"
    }

    /// Comma-separated values (RFC 4180) with every digit of every number.
    pub fn csv(&self) -> String {
        let field = |text: &String| {
            if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() }
        };
        let line = |fields: Vec<String>| fields.join(",") + "\n";
        let mut out = line(self.columns.iter().flat_map(|column| column.fields.iter().map(field)).collect());
        out.extend(self.rows.iter().map(|row| line(row.iter().flat_map(|cell| cell.fields.iter().map(field)).collect())));
        out
    }
}

/// A number with four significant digits: `0.1235`, `12.35`, `1.235e-9`, `0`.
pub(crate) fn significant(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return if value.is_nan() { "–".into() } else { format!("{}∞", if value < 0.0 { "−" } else { "" }) };
    }
    // Rounded first, so that 9.99996 counts as 10.
    let rounded = format!("{value:.3e}");
    let (_, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let text = match exponent {
        -4..=5 => format!("{value:.*}", usize::try_from(3 - exponent).unwrap_or(0)),
        _ => rounded,
    };
    crate::axis::minus(&text)
}

/// Text for LaTeX: special characters escaped, mathematical ones as commands.
fn latex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let math = match character {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(character);
                continue;
            }
            '\\' => r"\backslash",
            '~' => r"\sim",
            '^' => r"\hat{}",
            '<' => "<",
            '>' => ">",
            '|' => "|",
            '–' => {
                out.push_str("--");
                continue;
            }
            'α' => r"\alpha",
            'β' => r"\beta",
            'γ' => r"\gamma",
            'δ' => r"\delta",
            'Δ' => r"\Delta",
            'ε' => r"\varepsilon",
            'η' => r"\eta",
            'λ' => r"\lambda",
            'μ' | 'µ' => r"\mu",
            'σ' => r"\sigma",
            'Σ' => r"\Sigma",
            'τ' => r"\tau",
            '∇' => r"\nabla",
            '≥' => r"\geq",
            '≤' => r"\leq",
            '≠' => r"\neq",
            '≈' => r"\approx",
            '∈' => r"\in",
            '∞' => r"\infty",
            '→' => r"\to",
            '±' => r"\pm",
            '×' => r"\times",
            '÷' => r"\div",
            '·' => r"\cdot",
            '−' => "-",
            '‖' => r"\|",
            '√' => r"\surd",
            '∫' => r"\int",
            '½' => r"\tfrac12",
            '¼' => r"\tfrac14",
            '*' | '⋆' | '∗' => "^*",
            '⊤' | 'ᵀ' => r"^\top",
            '²' => "^2",
            '³' => "^3",
            '₀'..='₉' => {
                out.push_str(&format!("$_{}$", u32::from(character) - u32::from('₀')));
                continue;
            }
            other => {
                out.push(other);
                continue;
            }
        };
        out.push('$');
        out.push_str(math);
        out.push('$');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits() {
        let values = [0.0, 1.0, -0.123_456, 12_345.678, 9.999_96, 1.234_56e-9, 123_456_789.0, f64::NAN, f64::NEG_INFINITY];
        let shown: Vec<String> = values.into_iter().map(significant).collect();
        assert_eq!(shown, ["0", "1.000", "−0.1235", "12346", "10.00", "1.235e−9", "1.235e8", "–", "−∞"]);
    }

    #[test]
    fn every_format_escapes_what_it_must() {
        let table = Table {
            caption: "A caption.".into(),
            columns: vec![Column::new("na|me", Align::Left), Column::new("value", Align::Right)],
            rows: vec![
                vec![Cell::text("L_m ≥ μt/4, \"50%\" & more"), Cell::number(Some(1.0 / 3.0))],
                vec![Cell::text("‖Σ₁‖ | {x}"), Cell::number(None)],
            ],
        };
        insta::assert_snapshot!("escapes", format!("{}\n{}\n{}", table.markdown_page(), table.latex(), table.csv()));
    }
}
