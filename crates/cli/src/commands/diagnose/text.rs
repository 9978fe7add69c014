//! A diagnosis in words.

use std::fmt::Write as _;

use isorate_theory::{Trust, Window};
use isorate_train::{DiagnosisReport, GapReport};

/// Classes that are shown; of more, the rarest.
const MOST_CLASSES: usize = 20;
/// A lead in loss that is worth a sentence, and one that is worth another optimizer: 2% and 10% of the 0.5 that the loss of a class starts at.
const NOTABLE: f64 = 0.01;
const WORTHWHILE: f64 = 0.05;

/// The whole report.
pub fn text(report: &DiagnosisReport) -> String {
    let mut text = String::new();
    let parts = [header(report), classes(report), leads(report), accuracies(report), measures(report), conclusion(report)];
    for part in parts.iter().filter(|part| !part.is_empty()) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(part);
    }
    text
}

fn header(report: &DiagnosisReport) -> String {
    let mut text = format!("{}\n", report.description());
    let features = match report.treatment.as_str() {
        "raw" => "as they are (pixels from 0 to 1), so that their mean is one of the things to learn",
        "centered" => "with their mean subtracted",
        _ => "with their mean subtracted, each column divided by its standard deviation",
    };
    let _ = writeln!(text, "features: {features}; --features chooses");
    if !report.constant_columns.is_empty() {
        let count = report.constant_columns.len();
        let named: Vec<&str> = report.constant_columns.iter().take(3).map(String::as_str).collect();
        let more = if count > named.len() { ", …" } else { "" };
        let fate = if report.treatment == "raw" { "kept" } else { "left out" };
        let _ = writeln!(text, "{count} constant columns {fate}: {}{more}", named.join(", "));
    }
    let _ = match report.held_out_rows {
        0 => writeln!(
            text,
            "no rows held out: the rarest class has fewer than 40, so all numbers are of the rows that were learned from"
        ),
        rows => writeln!(text, "{rows} rows held out to measure on: {}", report.held_out_from),
    };
    let _ = writeln!(
        text,
        "class means: length {} on average; noise: {} in each feature; signal to noise {}",
        number(report.mean_length),
        number(report.noise_std),
        number(report.snr)
    );
    let _ = writeln!(
        text,
        "step size {} for all rules (gradient descent is stable below {}); time is step size times steps",
        number(report.step_size),
        number(report.stability_limit)
    );
    text
}

fn classes(report: &DiagnosisReport) -> String {
    let mut order: Vec<usize> = (0..report.classes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(report.classes[index].count));
    let left_out = order.len().saturating_sub(MOST_CLASSES);
    let mut rows = vec![["class", "rows", "share", "GD half", "SpecGD half", "direction", "overlap"].map(str::to_owned)];
    for &index in &order[left_out..] {
        let class = &report.classes[index];
        let steps = |time: Option<f64>| time.map_or_else(|| "never".to_owned(), |time| steps(report, time));
        rows.push([
            if class.minority { format!("{} (rarest)", class.name) } else { class.name.clone() },
            class.count.to_string(),
            format!("{:.1}%", 100.0 * class.prior),
            steps(class.half_time_gd),
            steps(class.half_time_specgd),
            (class.component + 1).to_string(),
            format!("{:.2}", class.overlap),
        ]);
    }
    let mut text = String::from(
        "Classes, with the predicted step at which a linear model gives half of its final score to a class's own members\n",
    );
    text.push_str(&aligned(&rows));
    if left_out > 0 {
        let _ = writeln!(text, "  ({left_out} more frequent classes are not shown)");
    }
    text.push_str("  direction: the one of the data's components, by strength, that carries most of the class; overlap: how much, 1 being all\n");
    text
}

fn leads(report: &DiagnosisReport) -> String {
    let mut rows = vec![["loss of", "over", "", "largest", "at step", "until step"].map(str::to_owned)];
    for gap in &report.gaps {
        let of = if gap.loss == "minority" { "the rarest" } else { "all equally" };
        let mut add = |what: &str, window: Option<Window>| {
            let [largest, at, until] = match window {
                None => ["none", "", ""].map(str::to_owned),
                Some(window) => [
                    number(window.peak),
                    steps(report, window.peak_time),
                    window.end.map_or_else(|| format!("> {}", report.steps), |end| steps(report, end)),
                ],
            };
            rows.push([of.to_owned(), gap.rule.to_uppercase(), what.to_owned(), largest, at, until]);
        };
        add("predicted", gap.predicted);
        add("measured", gap.measured);
        if report.held_out_rows > 0 {
            add("held out", gap.held_out);
        }
    }
    let mut text = format!(
        "Lead of SpecGD (the loss of a class starts at 0.5; until: a twentieth of the lead is left; {} steps were followed)\n",
        report.steps
    );
    text.push_str(&aligned(&rows));
    let first = steps(report, report.first_saturation);
    let errors = |read: fn(&GapReport) -> Option<f64>| {
        report
            .gaps
            .iter()
            .filter_map(read)
            .fold(None, |largest: Option<f64>, error| Some(largest.map_or(error, |l| l.max(error))))
    };
    let shown =
        |error: Option<f64>| error.map_or_else(|| "nothing to compare".to_owned(), |error| format!("{:.0}%", 100.0 * error));
    let _ = writeln!(
        text,
        "  largest error of a predicted lead, by the largest measured one: {} up to step {first} (t*, the first saturation), {} over the window",
        shown(errors(|gap| gap.early_error)),
        shown(errors(|gap| gap.window_error))
    );
    text
}

fn accuracies(report: &DiagnosisReport) -> String {
    let mut rows = vec![["rows", "step", "classes", "GD", "NGD", "SpecGD"].map(str::to_owned)];
    for found in &report.accuracies {
        for (classes, values) in [("the rarest", found.minority), ("all equally", found.balanced)] {
            let [gd, ngd, spec] = values.map(|value| format!("{:.1}%", 100.0 * value));
            rows.push([found.rows.clone(), found.step.to_string(), classes.to_owned(), gd, ngd, spec]);
        }
    }
    format!(
        "Accuracy of the linear model when SpecGD's measured lead over NGD in the loss of the rarest classes is largest\n{}",
        aligned(&rows)
    )
}

fn measures(report: &DiagnosisReport) -> String {
    let mut text = String::from("How near the data are to what the theory assumes\n");
    let mut rows = vec![["", "value", "limit", ""].map(str::to_owned)];
    for measure in &report.measures {
        let sign = if measure.ideal > measure.limit { "≥" } else { "≤" };
        let verdict = if measure.within { "near".to_owned() } else { format!("far: {}", measure.consequence) };
        rows.push([measure.name.to_owned(), number(measure.value), format!("{sign} {}", number(measure.limit)), verdict]);
    }
    for [name, value, limit, verdict] in rows.into_iter().skip(1) {
        let _ = writeln!(text, "  {name}\n    {value} ({limit}) {verdict}");
    }
    if let Some(ideal) = &report.ideal {
        let _ = match ideal.violated_conditions.as_slice() {
            [] => writeln!(
                text,
                "  the theorems' lower bounds hold for a mixture with these shares, lengths and noise, up to step {}",
                steps(report, ideal.horizon)
            ),
            violated => {
                // Of `k ≥ 3μ does not hold: k = 10, …` and `p_m ≤ 1/(5·SNR + 6k) = 0.01 does not hold: …`, the condition.
                let condition = |text: &String| {
                    let text = text.split(" does not hold").next().unwrap_or_default();
                    text.split(" = ").next().unwrap_or_default().to_owned()
                };
                let conditions: Vec<String> = violated.iter().map(condition).collect();
                writeln!(
                    text,
                    "  the theorems give no lower bound for a mixture with these shares, lengths and noise: it violates {}",
                    conditions.join(", ")
                )
            }
        };
    }
    text
}

fn conclusion(report: &DiagnosisReport) -> String {
    let mut text = String::from("Conclusion\n");
    let first = steps(report, report.first_saturation);
    let trust = match report.trust {
        Trust::Whole => "The data are near the theory: the predicted curves can be relied on to about a tenth.".to_owned(),
        Trust::Roughly => {
            "The data are not quite near the theory: the predicted curves are a rough guide, to about a quarter.".to_owned()
        }
        Trust::Early => format!(
            "The data are far from the theory after step {first}: rely on the prediction up to there, and on the measured curves after it."
        ),
        Trust::Nothing => {
            "The data are too far from the theory: do not rely on the predicted curves, but on the measured ones.".to_owned()
        }
    };
    let _ = writeln!(text, "  {trust}");
    let _ = writeln!(text, "  {}", recommendation(report));
    if let Some(equal) = &report.equal_loss {
        let _ = if equal.lead > NOTABLE {
            writeln!(
                text,
                "  It is not only speed: at the same training loss {} (SpecGD step {}, NGD step {:.0}) the lead is {}.",
                number(equal.training_loss),
                equal.specgd_step,
                equal.ngd_step,
                number(equal.lead)
            )
        } else {
            writeln!(text, "  At the same training loss nothing of a lead is left: any difference is a matter of the step size.")
        };
    }
    text.push_str(
        "  All this is about a linear model under the squared loss, at one step size for all rules; a network learns its features as well.\n",
    );
    wrapped(&text)
}

/// Lines broken at 100 characters, with the indentation of their beginning.
fn wrapped(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let mut width = 0;
        for word in line.split_whitespace() {
            let length = word.chars().count();
            if width > 0 && width + 1 + length > 100 {
                out.push('\n');
                width = 0;
            }
            if width == 0 {
                out.push_str(indent);
                width = indent.len();
            } else {
                out.push(' ');
                width += 1;
            }
            out.push_str(word);
            width += length;
        }
        out.push('\n');
    }
    out
}

/// The answer: from the held-out rows where there are some, else from the training rows.
fn recommendation(report: &DiagnosisReport) -> String {
    let measured =
        report.gap("minority", "ngd").and_then(|gap| if report.held_out_rows > 0 { gap.held_out } else { gap.measured });
    let rows = if report.held_out_rows > 0 { "held-out rows" } else { "the rows that were learned from" };
    match measured {
        Some(window) if window.peak >= NOTABLE => {
            let until = window
                .end
                .map_or_else(|| format!("at least step {}", report.steps), |end| format!("step {}", steps(report, end)));
            let promise = if window.peak >= WORTHWHILE { "is worth trying" } else { "may help a little" };
            let from =
                if window.start > 0.0 { format!("step {}", steps(report, window.start)) } else { "the first step".to_owned() };
            let mut text = format!(
                "A spectral optimizer (Muon, Shampoo) {promise}: on {rows} SpecGD was ahead of normalized gradient descent on the rarest \
                 classes from {from} until {until}, most at step {} (loss lower by {}).",
                steps(report, window.peak_time),
                number(window.peak)
            );
            if report.accuracies.last().is_some_and(|found| found.minority[2] <= 0.0) {
                text.push_str(" But even then the linear model recognizes none of the rarest rows.");
            }
            text
        }
        _ => format!(
            "There is no reason to expect a spectral optimizer to help: on {rows} SpecGD had no lead worth mentioning over normalized \
             gradient descent on the rarest classes."
        ),
    }
}

fn steps(report: &DiagnosisReport, time: f64) -> String {
    let steps = report.in_steps(time);
    if steps < 10.0 { format!("{steps:.1}") } else { format!("{steps:.0}") }
}

/// At most three significant digits.
fn number(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    if !(1e-4..1e6).contains(&value.abs()) {
        return format!("{value:.2e}");
    }
    #[expect(clippy::cast_possible_truncation, reason = "from −4 to 5")]
    let decimals = usize::try_from(2 - value.abs().log10().floor() as i32).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Columns of one width, the first and all text to the left.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "  {}", cells.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.0, 0.012_34, 12.34, 123_456.0, 1e-7, 2.0].map(number), ["0", "0.0123", "12.3", "123456", "1.00e-7", "2"]);
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "bb"], ["ccc", "d"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "  a    bb\n  ccc  d\n");
    }
}
