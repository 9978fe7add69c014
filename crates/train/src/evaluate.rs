//! Accuracy and loss of a classifier by class and by group.

use candle_core::{Device, Tensor};
use isorate_models::Mlp;
use isorate_results::Record;

use crate::Error;

/// Rows of the evaluation set that go through the network at once.
const BATCH: usize = 1000;

/// A data set on the device, ready to be measured on.
pub(crate) struct EvaluationSet {
    /// Name of the split in the results.
    pub(crate) split: &'static str,
    batches: Vec<Tensor>,
    labels: Vec<u32>,
    /// Whether the spurious feature agrees with the label.
    majority: Vec<bool>,
    classes: usize,
}

/// What was counted on one set.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tally {
    correct: usize,
    count: usize,
}

impl Tally {
    fn add(&mut self, correct: bool) {
        self.correct += usize::from(correct);
        self.count += 1;
    }
    /// None for an empty part: it has no accuracy.
    fn accuracy(&self) -> Option<f64> {
        (self.count > 0).then(|| self.correct as f64 / self.count as f64)
    }
}

impl EvaluationSet {
    /// `pixels` holds `labels.len()` rows.
    pub(crate) fn new(
        split: &'static str,
        pixels: &[f32],
        labels: &[u32],
        majority: Vec<bool>,
        classes: usize,
        device: &Device,
    ) -> Result<Self, Error> {
        let width = pixels.len() / labels.len().max(1);
        let batches = pixels
            .chunks(BATCH * width.max(1))
            .map(|rows| Ok(Tensor::from_slice(rows, (rows.len() / width, width), device)?))
            .collect::<Result<_, Error>>()?;
        Ok(Self { split, batches, labels: labels.to_vec(), majority, classes })
    }

    /// One record for each of: loss (mean cross-entropy, nats); accuracy over all, by group, by class; and
    /// `group_balanced_accuracy`, the mean of the two groups' accuracies.
    ///
    /// `base` says step, epoch and optimizer. A row with a logit that is not finite counts as wrong.
    pub(crate) fn measure(&self, model: &Mlp, base: &Record) -> Result<Vec<Record>, Error> {
        let mut logits = Vec::with_capacity(self.labels.len());
        for batch in &self.batches {
            logits.extend(model.forward(&batch.detach())?.to_vec2::<f32>()?);
        }
        let mut all = Tally::default();
        let mut groups = [Tally::default(), Tally::default()];
        let mut by_class = vec![Tally::default(); self.classes];
        let mut loss = 0.0;
        for ((row, &label), &majority) in logits.iter().zip(&self.labels).zip(&self.majority) {
            let label = label as usize;
            let correct = argmax(row) == Some(label);
            all.add(correct);
            groups[usize::from(!majority)].add(correct);
            by_class[label].add(correct);
            loss += cross_entropy(row, label);
        }
        let record =
            |metric: &str, group: &str, value: f64| base.clone().split(self.split).metric(metric).group(group).value(value);
        let mut records = vec![record("loss", "all", loss / self.labels.len() as f64)];
        let mut accuracy = |group: &str, tally: &Tally| {
            records.extend(tally.accuracy().map(|value| record("accuracy", group, value)));
        };
        accuracy("all", &all);
        accuracy("majority", &groups[0]);
        accuracy("minority", &groups[1]);
        for (class, tally) in by_class.iter().enumerate() {
            accuracy(&format!("class-{class}"), tally);
        }
        if let (Some(majority), Some(minority)) = (groups[0].accuracy(), groups[1].accuracy()) {
            records.push(record("group_balanced_accuracy", "all", f64::midpoint(majority, minority)));
        }
        Ok(records)
    }
}

/// The first index of the largest entry; none if an entry is not finite.
fn argmax(row: &[f32]) -> Option<usize> {
    row.iter().all(|logit| logit.is_finite()).then(|| {
        let mut best = 0;
        for (i, logit) in row.iter().enumerate() {
            if *logit > row[best] {
                best = i;
            }
        }
        best
    })
}

/// −log softmax(row)\[label\].
fn cross_entropy(row: &[f32], label: usize) -> f64 {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    sum.ln() - f64::from(row[label] - max)
}

#[cfg(test)]
mod tests {
    use isorate_models::Activation;

    use super::*;
    use isorate_data::stream;

    #[test]
    fn the_tallies_are_those_counted_by_hand() {
        // A linear network whose logits are its inputs.
        let mlp = Mlp::new(&[3, 3], Activation::Identity, false, &mut stream(0, "test", 0), &Device::Cpu).unwrap();
        mlp.layers()[0].weight().set(&Tensor::eye(3, candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
        let rows = [[2.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 1.0, 0.5], [5.0, 0.0, 1.0]];
        let pixels: Vec<f32> = rows.concat();
        let set = EvaluationSet::new("test", &pixels, &[0, 1, 2, 0], vec![true, false, false, true], 3, &Device::Cpu).unwrap();
        let records = set.measure(&mlp, &Record::at_step(7).epoch(0.5).of("muon")).unwrap();
        let value = |metric: &str, group: &str| {
            records.iter().find(|r| r.metric == metric && r.group == group).map(|r| (r.value * 1e6).round() / 1e6)
        };
        assert_eq!(value("accuracy", "all"), Some(0.75));
        assert_eq!(value("accuracy", "majority"), Some(1.0));
        assert_eq!(value("accuracy", "minority"), Some(0.5));
        assert_eq!(value("accuracy", "class-0"), Some(1.0));
        assert_eq!(value("accuracy", "class-2"), Some(0.0));
        assert_eq!(value("group_balanced_accuracy", "all"), Some(0.75));
        let expected: f64 = rows
            .iter()
            .zip([0, 1, 2, 0])
            .map(|(row, label)| row.iter().map(|&x: &f32| f64::from(x).exp()).sum::<f64>().ln() - f64::from(row[label]))
            .sum::<f64>()
            / 4.0;
        assert_eq!(value("loss", "all"), Some((expected * 1e6).round() / 1e6));
        assert!(records.iter().all(|r| r.step == 7 && r.epoch == Some(0.5) && r.optimizer == "muon" && r.split == "test"));
    }

    #[test]
    fn an_empty_part_has_no_accuracy_and_nan_is_wrong() {
        assert_eq!(Tally::default().accuracy(), None);
        assert_eq!(argmax(&[f32::NAN, 1.0]), None);
        assert_eq!(argmax(&[1.0, 1.0]), Some(0));
    }
}
