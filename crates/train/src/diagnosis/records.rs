//! A diagnosis as stored numbers.

use std::collections::BTreeMap;

use isorate_results::{Header, Outcome, Provenance, Record, Run};
use isorate_theory::{Trust, Window};

use serde_json::json;

use super::DiagnosisReport;
use crate::Error;

impl DiagnosisReport {
    /// `minority_gap` and `balanced_gap` of `gd` and `ngd` over SpecGD, with the data set as the group: predicted on the split
    /// `closed-form`, measured on `train` and `held-out`.
    ///
    /// Under the key `class`, by data set and class (`mnist/3`): `prior`, `half_time_gd` and `half_time_specgd` (NaN where there is none),
    /// `minority` (1 for the smallest classes). Under `component`: `s_yx`, `s_xx` and `residual`, the eigenvector residual. Under the key
    /// `diagnosis`, by data set: `rows`, `features`, `imbalance`, `first_saturation`, `last_saturation`, `step_size`, `within` (the measures within their
    /// limits), each measure of trust by its id, and by rule and loss (`gd_minority_…`): `predicted_` and `measured_` `peak`,
    /// `peak_time`, `start`, `end` (NaN while SpecGD is ahead at the end), `early_error` and `window_error`; `equal_loss_lead`; the accuracies at the
    /// largest lead as `accuracy_minority_gd`, ….
    pub fn records(&self) -> Vec<Record> {
        let mut records = self.curves();
        let of = |key: &str| Record::at_step(0).of(key).split("train");
        for (index, class) in self.classes.iter().enumerate() {
            let group = format!("{}/{index}", self.data);
            let numbers = [
                ("prior", class.prior),
                ("half_time_gd", class.half_time_gd.unwrap_or(f64::NAN)),
                ("half_time_specgd", class.half_time_specgd.unwrap_or(f64::NAN)),
                ("minority", f64::from(u8::from(class.minority))),
            ];
            records.extend(numbers.map(|(metric, value)| of("class").metric(metric).group(&group).value(value)));
        }
        for (index, component) in self.components.iter().enumerate() {
            let group = format!("{}/{index}", self.data);
            let numbers = [("s_yx", component.s_yx), ("s_xx", component.s_xx), ("residual", component.eigenvector_residual)];
            records.extend(numbers.map(|(metric, value)| of("component").metric(metric).group(&group).value(value)));
        }
        let number = |metric: &str, value: f64| of("diagnosis").metric(metric).group(&self.data).value(value);
        records.extend([
            number("rows", self.rows as f64),
            number("features", self.features as f64),
            number("imbalance", self.imbalance),
            number("first_saturation", self.first_saturation),
            number("last_saturation", self.last_saturation),
            number("step_size", self.step_size),
            number("within", self.measures.iter().filter(|measure| measure.within).count() as f64),
            number("equal_loss_lead", self.equal_loss.as_ref().map_or(f64::NAN, |found| found.lead)),
        ]);
        records.extend(self.measures.iter().map(|measure| number(measure.id, measure.value)));
        for gap in &self.gaps {
            let mut window = |split: &str, window: Option<Window>| {
                let window = |read: fn(&Window) -> Option<f64>| window.as_ref().and_then(read).unwrap_or(f64::NAN);
                for (name, value) in [
                    ("peak", window(|w| Some(w.peak))),
                    ("peak_time", window(|w| Some(w.peak_time))),
                    ("start", window(|w| Some(w.start))),
                    ("end", window(|w| w.end)),
                ] {
                    records.push(number(&format!("{}_{}_{split}_{name}", gap.rule, gap.loss), value));
                }
            };
            window("predicted", gap.predicted);
            window("measured", gap.measured);
            for (name, value) in [("early_error", gap.early_error), ("window_error", gap.window_error)] {
                records.push(number(&format!("{}_{}_{name}", gap.rule, gap.loss), value.unwrap_or(f64::NAN)));
            }
        }
        for found in &self.accuracies {
            for (index, rule) in ["gd", "ngd", "specgd"].into_iter().enumerate() {
                for (name, values) in [("minority", found.minority), ("balanced", found.balanced)] {
                    let record = number(&format!("accuracy_{name}_{rule}"), values[index]);
                    records.push(if found.rows == "training" { record } else { record.split("held-out") });
                }
            }
        }
        records
    }

    fn curves(&self) -> Vec<Record> {
        let mut records = Vec::new();
        for gap in &self.gaps {
            let splits =
                [("closed-form", &gap.predicted_curve), ("train", &gap.measured_curve), ("held-out", &gap.held_out_curve)];
            for (split, curve) in splits {
                records.extend(curve.iter().map(|&(t, value)| {
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 20,000 steps")]
                    let step = self.in_steps(t).round() as u64;
                    let metric = format!("{}_gap", gap.loss);
                    Record::at_step(step).time(t).of(gap.rule).split(split).metric(&metric).group(&self.data).value(value)
                }));
            }
        }
        records
    }

    /// What a figure says of the data set: `NAME.title` and `NAME.verdict`.
    pub fn notes(&self) -> BTreeMap<String, String> {
        let name = &self.data;
        [(format!("{name}.title"), self.description()), (format!("{name}.verdict"), self.verdict().to_owned())].into()
    }

    /// The run that an experiment with this data set alone would store, so that one figure shows both.
    pub fn run(&self) -> Result<Run, Error> {
        let header = Header::new("d1", "default", self.seed, json!({ "kind": "diagnosis" }), Provenance::default())?;
        Ok(Run { notes: self.notes(), ..Run::new(header, Outcome::Finished, self.records()) })
    }

    /// The data set and what was done with it, in a line.
    pub fn description(&self) -> String {
        let step = self.step_ratio.map(|ratio| format!(" made {ratio}:1")).unwrap_or_default();
        format!(
            "{}{step}: {} rows, {} features ({}), {} classes, the largest {:.0} times the smallest",
            self.data,
            self.rows,
            self.features,
            self.treatment,
            self.classes.len(),
            self.imbalance
        )
    }

    /// How far the prediction can be relied on, in a few words.
    pub fn verdict(&self) -> &'static str {
        match self.trust {
            Trust::Whole => "reliable",
            Trust::Roughly => "rough",
            Trust::Early => "reliable to t* only",
            Trust::Nothing => "not reliable",
        }
    }
}
