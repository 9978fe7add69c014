//! Tables: one description, three formats.

use crate::axis::{minus, superscript};

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

    /// A number, with at most four significant digits where people read it; a missing one is a dash.
    pub fn number(value: Option<f64>) -> Self {
        match value {
            Some(value) => Self { shown: significant(value), fields: vec![full(value)] },
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
    /// Headings: each stands before the row with this index. CSV has none.
    pub headings: Vec<(usize, String)>,
}

impl Table {
    /// The rows as a Markdown table, with the columns aligned in the source as well; without the caption.
    pub fn markdown(&self) -> String {
        // Stars would start emphasis; in code they would show the backslash.
        let stars = |text: String| if text.contains('`') { text } else { text.replace('*', "\\*") };
        let clean = |text: &str| stars(text.replace('|', "\\|").replace('\n', " "));
        let heads: Vec<String> = self.columns.iter().map(|column| clean(&column.title)).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(|cell| clean(&cell.shown)).collect()).collect();
        let width = |index: usize| {
            let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.chars().count());
            let headings = self.headings.iter().filter(|_| index == 0).map(|(_, heading)| clean(heading).chars().count() + 4);
            cells.chain(headings).chain([heads[index].chars().count(), 3]).max().unwrap_or(3)
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
        for (index, row) in rows.iter().enumerate() {
            if let Some(heading) = self.heading(index) {
                let mut cells = vec![String::new(); heads.len()];
                cells[0] = format!("**{}**", clean(heading));
                out += &line(&cells);
            }
            out += &line(row);
        }
        out
    }

    fn heading(&self, row: usize) -> Option<&str> {
        self.headings.iter().find(|(before, _)| *before == row).map(|(_, heading)| heading.as_str())
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
        for (index, row) in self.rows.iter().enumerate() {
            if let Some(heading) = self.heading(index) {
                let space = if index > 0 { "  \\addlinespace\n" } else { "" };
                out += &format!("{space}  \\multicolumn{{{}}}{{l}}{{\\textbf{{{}}}}} \\\\\n", self.columns.len(), latex(heading));
            }
            out += &line(row.iter().map(|cell| latex(&cell.shown)).collect());
        }
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

/// Every digit of a number, in the shortest form that reads back to it.
pub(crate) fn full(value: f64) -> String {
    format!("{value:?}")
}

/// A number with four significant digits, or fewer where they say it exactly: `0.1235`, `0.25`, `1.235×10⁻⁹`, `0`.
pub(crate) fn significant(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() { "–".into() } else { format!("{}∞", if value < 0.0 { "−" } else { "" }) };
    }
    // Rounded first, so that 9.99996 counts as 10.
    let rounded = format!("{value:.3e}");
    let (digits, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (digits, power) = match exponent {
        -4..=5 => (format!("{value:.*}", usize::try_from(3 - exponent).unwrap_or(0)), String::new()),
        _ => (digits.to_owned(), format!("×10{}", superscript(exponent))),
    };
    let short = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    let same = format!("{short}e{}", if power.is_empty() { 0 } else { exponent }).parse() == Ok(value);
    format!("{}{power}", minus(if same { short } else { &digits }))
}

/// Text for LaTeX: special characters escaped, mathematical ones as commands, `L_m` and `10⁻³` as subscript and power.
fn latex(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut index = 0;
    while let Some(&character) = characters.get(index) {
        let run = |from: usize, is: fn(char) -> bool| characters[from..].iter().take_while(|&&next| is(next)).count();
        // A subscript belongs to one letter that stands alone.
        let alone = index > 0 && characters[index - 1].is_alphabetic() && !(index > 1 && characters[index - 2].is_alphanumeric());
        let subscript = if character == '_' && alone { subscript(&characters[index + 1..]) } else { 0 };
        let power = run(index, |next| raised(next).is_some());
        if let Some((exponent, length)) = exponent(&characters[index..]) {
            out.push_str(&format!("\\textsuperscript{{{}}}", latex(&exponent)));
            index += length;
        } else if subscript > 0 {
            let letters: String = characters[index + 1..=index + subscript].iter().collect();
            out.push_str(&format!("$_{{{letters}}}$"));
            index += 1 + subscript;
        } else if power > 0 {
            let digits: String = characters[index..index + power].iter().copied().filter_map(raised).collect();
            out.push_str(&format!("$^{{{digits}}}$"));
            index += power;
        } else {
            match command(character) {
                Some(command) => out.push_str(&command),
                None => out.push(character),
            }
            index += 1;
        }
    }
    out
}

/// What a `^` raises, and how many characters say so: `^n`, or all between the braces of `^{1/L}`.
fn exponent(rest: &[char]) -> Option<(String, usize)> {
    match rest {
        ['^', '{', inner @ ..] => {
            let length = inner.iter().position(|&next| next == '}')?;
            Some((inner[..length].iter().collect(), length + 3))
        }
        ['^', next, ..] if next.is_alphanumeric() => Some((next.to_string(), 2)),
        _ => None,
    }
}

/// How many characters after a `_` belong to the subscript: letters and digits, and one further index after a comma that
/// is not followed by a space, as in `s_xx,c`. A raised digit is a power of the whole, as in `α_j²`.
fn subscript(rest: &[char]) -> usize {
    let name =
        |rest: &[char]| rest.iter().take_while(|&&next| next.is_alphanumeric() && next != 'ᵀ' && raised(next).is_none()).count();
    let first = name(rest);
    let second = if first > 0 && rest.get(first) == Some(&',') { name(&rest[first + 1..]) } else { 0 };
    if second > 0 { first + 1 + second } else { first }
}

/// The digit or sign that a raised character stands for.
fn raised(character: char) -> Option<char> {
    "⁰¹²³⁴⁵⁶⁷⁸⁹⁻".chars().zip("0123456789-".chars()).find(|&(from, _)| from == character).map(|(_, to)| to)
}

/// What LaTeX needs for a character, if not the character itself.
fn command(character: char) -> Option<String> {
    let math = match character {
        '&' | '%' | '$' | '#' | '_' | '{' | '}' => return Some(format!("\\{character}")),
        '–' => return Some("--".into()),
        '₀'..='₉' => return Some(format!("$_{}$", u32::from(character) - u32::from('₀'))),
        '\\' => r"\backslash",
        '~' => r"\sim",
        '^' => r"\hat{}",
        '<' => "<",
        '>' => ">",
        '|' => "|",
        'α' => r"\alpha",
        'β' => r"\beta",
        'γ' => r"\gamma",
        'δ' => r"\delta",
        'Δ' => r"\Delta",
        'ε' => r"\varepsilon",
        'η' => r"\eta",
        'θ' => r"\theta",
        'κ' => r"\kappa",
        'λ' => r"\lambda",
        'μ' | 'µ' => r"\mu",
        'σ' => r"\sigma",
        'Σ' => r"\Sigma",
        'ρ' => r"\rho",
        'τ' => r"\tau",
        'φ' => r"\varphi",
        '∇' => r"\nabla",
        '≥' => r"\geq",
        '≤' => r"\leq",
        '≠' => r"\neq",
        '≈' => r"\approx",
        '∈' => r"\in",
        '∞' => r"\infty",
        '∝' => r"\propto",
        '⊗' => r"\otimes",
        '⌊' => r"\lfloor",
        '⌋' => r"\rfloor",
        '…' => r"\dots",
        '→' => r"\to",
        '←' => r"\leftarrow",
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
        _ => return None,
    };
    Some(format!("${math}$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn significant_digits() {
        let values = [
            0.0,
            1.0,
            0.25,
            -0.123_456,
            0.010_004,
            12_345.678,
            9.999_96,
            1.234_56e-9,
            1e-12,
            123_456_789.0,
            f64::NAN,
            f64::NEG_INFINITY,
        ];
        let shown: Vec<String> = values.into_iter().map(significant).collect();
        assert_eq!(
            shown,
            ["0", "1", "0.25", "−0.1235", "0.01000", "12346", "10.00", "1.235×10⁻⁹", "1×10⁻¹²", "1.235×10⁸", "–", "−∞"]
        );
    }

    #[test]
    fn every_format_escapes_what_it_must() {
        let table = Table {
            caption: "A caption.".into(),
            columns: vec![Column::new("na|me", Align::Left), Column::new("value", Align::Right)],
            rows: vec![
                vec![Cell::text("L_m ≥ μt/4, \"50%\" & more"), Cell::number(Some(1.0 / 3.0))],
                vec![Cell::text("‖Σ₁‖ | {x} colored_mnist α_12"), Cell::number(Some(-2.5e-13))],
                vec![Cell::text("10⁻³·x²"), Cell::number(None)],
            ],
            headings: vec![(0, "First & last".into()), (2, "Alone".into())],
        };
        insta::assert_snapshot!("escapes", format!("{}\n{}\n{}", table.markdown_page(), table.latex(), table.csv()));
    }

    #[test]
    fn latex_sets_indices_and_powers() {
        assert_eq!(latex("s_xx,c t"), "s$_{xx,c}$ t");
        assert_eq!(latex("L_m, L_bal"), "L$_{m}$, L$_{bal}$");
        assert_eq!(latex("Σ_j α_j²"), "$\\Sigma$$_{j}$ $\\alpha$$_{j}$$^{2}$");
        assert_eq!(latex("(1 − η)^n"), "(1 $-$ $\\eta$)\\textsuperscript{n}");
        assert_eq!(latex("e^{−s_xx,c t}"), "e\\textsuperscript{$-$s$_{xx,c}$ t}");
        assert_eq!(latex("a^{b"), "a$\\hat{}$\\{b");
    }
}
