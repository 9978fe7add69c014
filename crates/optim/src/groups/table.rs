//! The tables of what went where.

use super::Group;
use crate::RuleConfig;
use crate::optimizer::Assignment;
use crate::rules::matrix_shape;

/// A group with what the table of groups says about it.
pub(crate) struct GroupLine<'a> {
    pub group: &'a Group,
    /// The factor of its learning rate.
    pub lr_factor: f64,
}

/// A table of the groups, and one of the parameters.
pub(crate) fn describe(groups: &[GroupLine<'_>], assignments: &[&Assignment]) -> String {
    format!("{}\n{}", group_table(groups, assignments), parameter_table(assignments))
}

fn group_table(groups: &[GroupLine<'_>], assignments: &[&Assignment]) -> String {
    let mut rows = vec![["group", "rule", "lr", "decay", "parameters", "elements"].map(str::to_owned).to_vec()];
    let sums = |name: Option<&str>| {
        let members = assignments.iter().filter(|a| name.is_none_or(|name| a.group == name));
        members.fold((0, 0), |(count, elements), a| (count + 1, elements + a.shape.iter().product::<usize>()))
    };
    for GroupLine { group, lr_factor } in groups {
        let (lr, decay) = group
            .rule
            .as_ref()
            .map_or_else(|| ("-".to_owned(), "-".to_owned()), |rule| (rate(rule.lr(), *lr_factor), number(rule.weight_decay())));
        let (count, elements) = sums(Some(&group.name));
        let rule = group.rule.as_ref().map_or("frozen", RuleConfig::name).to_owned();
        rows.push(vec![group.name.clone(), rule, lr, decay, thousands(count), thousands(elements)]);
    }
    let (count, elements) = sums(None);
    let empty = String::new;
    rows.push(vec!["total".to_owned(), empty(), empty(), empty(), thousands(count), thousands(elements)]);
    aligned(&rows, 4)
}

fn parameter_table(assignments: &[&Assignment]) -> String {
    let mut rows = vec![["parameter", "group", "rule", "role", "type", "shape"].map(str::to_owned).to_vec()];
    for a in assignments {
        let shape = match matrix_shape(&a.shape) {
            Some((r, c)) if a.shape.len() > 2 && a.rule.as_ref().is_some_and(RuleConfig::flattens_filters) => {
                format!("{:?} as [{r}, {c}]", a.shape)
            }
            _ => format!("{:?}", a.shape),
        };
        let role = a.role.name().to_owned();
        rows.push(vec![a.name.clone(), a.group.clone(), a.rule_name().to_owned(), role, a.dtype.as_str().to_owned(), shape]);
    }
    aligned(&rows, usize::MAX)
}

/// Columns two spaces apart; from column `right` on, to the right.
fn aligned(rows: &[Vec<String>], right: usize) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let length = |cell: &String| cell.chars().count();
    let widths: Vec<usize> = (0..columns).map(|j| rows.iter().map(|row| length(&row[j])).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(j, (cell, &width))| if j < right { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// A learning rate, with the factor that is not 1.
#[allow(clippy::float_cmp, reason = "1 is exact, the factor of every group at the start")]
fn rate(lr: f64, factor: f64) -> String {
    if factor == 1.0 { number(lr) } else { format!("{} × {}", number(lr), number(factor)) }
}

fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 1e-4 { value.to_string() } else { format!("{value:e}") }
}

/// Digits in threes.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
