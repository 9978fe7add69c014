//! A parameter with its name, and the order of names.

use std::cmp::Ordering;

use candle_core::Var;

use crate::Role;

/// A parameter with its name and its role.
#[derive(Clone, Debug)]
pub struct NamedParam {
    /// The name: patterns, errors and [`Optimizer::describe`](crate::Optimizer::describe) refer to it.
    pub name: String,
    /// The role.
    pub role: Role,
    /// The parameter itself. Clones of a `Var` share their values.
    pub var: Var,
}

impl NamedParam {
    /// A parameter with its name and its role.
    pub fn new(name: impl Into<String>, role: Role, var: Var) -> Self {
        Self { name: name.into(), role, var }
    }

    /// Parameters in the natural order of their names (`h.2` before `h.10`), with roles from [`Role::infer`].
    ///
    /// The order of the input does not matter, so the entries of a `candle_nn::VarMap`, which come in the order of a
    /// hash map, can be given as they are.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use candle_nn::{VarBuilder, VarMap, linear};
    /// use isorate_optim::NamedParam;
    ///
    /// let variables = VarMap::new();
    /// let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    /// linear(4, 3, builder.pp("h.10"))?;
    /// linear(4, 3, builder.pp("h.2"))?;
    /// let entries = variables.data().lock().unwrap().clone();
    /// let names: Vec<String> = NamedParam::infer_all(entries).into_iter().map(|p| p.name).collect();
    /// assert_eq!(names, ["h.2.bias", "h.2.weight", "h.10.bias", "h.10.weight"]);
    /// # Ok::<(), isorate_optim::Error>(())
    /// ```
    pub fn infer_all(vars: impl IntoIterator<Item = (String, Var)>) -> Vec<Self> {
        let mut params: Vec<Self> =
            vars.into_iter().map(|(name, var)| Self { role: Role::infer(&name, var.dims()), name, var }).collect();
        params.sort_by(|a, b| natural(&a.name, &b.name));
        params
    }
}

/// Compares names with runs of digits as numbers. Only equal names are equal.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a, b);
    loop {
        let ((text_x, rest_x), (text_y, rest_y)) = (split(x, false), split(y, false));
        let ((digits_x, next_x), (digits_y, next_y)) = (split(rest_x, true), split(rest_y, true));
        let order = text_x.cmp(text_y).then_with(|| number(digits_x).cmp(&number(digits_y)));
        if order.is_ne() {
            return order;
        }
        if next_x.is_empty() || next_y.is_empty() {
            // Names that differ only in leading zeros.
            return next_x.len().cmp(&next_y.len()).then_with(|| a.cmp(b));
        }
        (x, y) = (next_x, next_y);
    }
}

/// The longest start of digits, or of everything else, and the rest.
fn split(text: &str, digits: bool) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

/// Orders digits of any length by their value.
fn number(digits: &str) -> (usize, &str) {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let sorted = [
            "",
            "01",
            "1",
            "2",
            "a",
            "a1",
            "a1.",
            "a2",
            "a2b3",
            "a2b20",
            "a10",
            "a18446744073709551616",
            "a18446744073709551617",
            "b",
            "h",
            "h2",
            "h.2.ln.bias",
            "h.2.weight",
            "h.10.bias",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(natural(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
    }
}
