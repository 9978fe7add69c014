//! Loss and accuracy of a network by class, by group and by the frequency of tokens.

use std::cmp::Ordering;

use candle_core::{Device, Tensor};
use isorate_results::Record;

use crate::Error;
use crate::network::Network;
use crate::sets::{HeldOut, Parts, RowParts};

/// More groups than this are not told apart: Colored-MNIST has 100.
const MOST_GROUPS: usize = 10;

/// What was counted on a part.
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

impl HeldOut {
    /// For rows with a label: `loss` (mean cross-entropy, nats) and what [`RowParts::accuracies`] lists. For text: `loss`, `top1` and
    /// `top5`, over all tokens and by bin.
    ///
    /// `base` says step, epoch and optimizer. A row with a logit that is not finite counts as wrong.
    pub(crate) fn measure(&self, network: &Network, device: &Device, base: &Record) -> Result<Vec<Record>, Error> {
        let base = base.clone().split(self.split);
        match &self.parts {
            Parts::Rows(parts) => {
                let (mut loss, mut predicted) = (0.0, Vec::with_capacity(parts.labels.len()));
                self.each_batch(network, device, |logits, _| {
                    for row in logits.to_vec2::<f32>()? {
                        loss += cross_entropy(&row, parts.labels[predicted.len()] as usize);
                        predicted.push(argmax(&row));
                    }
                    Ok(())
                })?;
                let mut records = vec![base.clone().metric("loss").value(loss / parts.labels.len() as f64)];
                records.extend(parts.accuracies(&predicted, &base));
                Ok(records)
            }
            Parts::Tokens(bins) => {
                let mut counted = vec![Tokens::default(); bins.len()];
                self.each_batch(network, device, |logits, targets| {
                    let targets: Vec<u32> = targets.flatten_all()?.to_vec1()?;
                    let logits = logits.flatten_to(1)?.to_vec2::<f32>()?;
                    for (row, target) in logits.iter().zip(targets) {
                        counted[bins.bin(target)].add(row, target as usize);
                    }
                    Ok(())
                })?;
                Ok(token_records(&counted, &base))
            }
        }
    }

    fn each_batch(
        &self,
        network: &Network,
        device: &Device,
        mut see: impl FnMut(Tensor, Tensor) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let rows: Vec<usize> = (0..self.inputs.len()).collect();
        for rows in rows.chunks(self.inputs.measured_at_once()) {
            let (inputs, targets) = self.inputs.batch(rows, device)?;
            see(network.logits(&inputs)?, targets)?;
        }
        Ok(())
    }
}

impl RowParts {
    /// Metric `accuracy`: over `all`; of the `majority` and the `minority`; by `class-C`; by `group-G` where there are at most
    /// ten; `worst-class`; and `worst-group`, where there are groups: of those or, where they are too many, of majority and
    /// minority.
    pub(crate) fn accuracies(&self, predicted: &[Option<usize>], base: &Record) -> Vec<Record> {
        let few_groups = self.groups.as_ref().filter(|(_, count)| *count <= MOST_GROUPS);
        let mut all = Tally::default();
        let mut halves = [Tally::default(), Tally::default()];
        let mut by_class = vec![Tally::default(); self.classes];
        let mut by_group = vec![Tally::default(); few_groups.map_or(0, |(_, count)| *count)];
        for (row, (predicted, &label)) in predicted.iter().zip(&self.labels).enumerate() {
            let correct = *predicted == Some(label as usize);
            all.add(correct);
            by_class[label as usize].add(correct);
            if let Some(&minority) = self.minority.get(row) {
                halves[usize::from(minority)].add(correct);
            }
            if let Some((groups, _)) = few_groups {
                by_group[groups[row]].add(correct);
            }
        }
        let mut records = Vec::new();
        let mut accuracy = |group: &str, value: Option<f64>| {
            records.extend(value.map(|value| base.clone().metric("accuracy").group(group).value(value)));
        };
        let worst = |tallies: &[Tally]| tallies.iter().filter_map(Tally::accuracy).min_by(f64::total_cmp);
        accuracy("all", all.accuracy());
        accuracy("majority", halves[0].accuracy());
        accuracy("minority", halves[1].accuracy());
        for (class, tally) in by_class.iter().enumerate() {
            accuracy(&format!("class-{class}"), tally.accuracy());
        }
        accuracy("worst-class", worst(&by_class));
        for (group, tally) in by_group.iter().enumerate() {
            accuracy(&format!("group-{group}"), tally.accuracy());
        }
        if self.groups.is_some() {
            accuracy("worst-group", worst(if by_group.is_empty() { &halves } else { &by_group }));
        }
        records
    }
}

/// What was counted on the tokens of a bin.
#[derive(Clone, Debug, Default)]
struct Tokens {
    count: usize,
    loss: f64,
    top1: usize,
    top5: usize,
}

impl Tokens {
    fn add(&mut self, row: &[f32], target: usize) {
        self.count += 1;
        self.loss += cross_entropy(row, target);
        if row.iter().all(|logit| logit.is_finite()) {
            // Of equal scores the smaller id comes first, as in `argmax`.
            let before = |(id, score): (usize, &f32)| match score.total_cmp(&row[target]) {
                Ordering::Greater => true,
                Ordering::Equal => id < target,
                Ordering::Less => false,
            };
            let better = row.iter().enumerate().filter(|&entry| before(entry)).count();
            self.top1 += usize::from(better == 0);
            self.top5 += usize::from(better < 5);
        }
    }
}

fn token_records(bins: &[Tokens], base: &Record) -> Vec<Record> {
    let all = bins.iter().fold(Tokens::default(), |sum, bin| Tokens {
        count: sum.count + bin.count,
        loss: sum.loss + bin.loss,
        top1: sum.top1 + bin.top1,
        top5: sum.top5 + bin.top5,
    });
    let named = bins.iter().enumerate().map(|(i, bin)| (format!("bin-{i}"), bin));
    let mut records = Vec::new();
    for (group, bin) in std::iter::once(("all".to_owned(), &all)).chain(named).filter(|(_, bin)| bin.count > 0) {
        let count = bin.count as f64;
        for (metric, value) in [("loss", bin.loss), ("top1", bin.top1 as f64), ("top5", bin.top5 as f64)] {
            records.push(base.clone().metric(metric).group(&group).value(value / count));
        }
    }
    records
}

/// The first index of the largest entry; none if an entry is not finite.
pub(crate) fn argmax(row: &[f32]) -> Option<usize> {
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

/// softmax(row), in double precision inside.
pub(crate) fn softmax(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = row.iter().map(|&logit| f64::from(logit - max).exp()).sum();
    for value in row {
        #[allow(clippy::cast_possible_truncation, reason = "a probability")]
        let probability = (f64::from(*value - max).exp() / sum) as f32;
        *value = probability;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(records: &[Record], metric: &str, group: &str) -> Option<f64> {
        records.iter().find(|r| r.metric == metric && r.group == group).map(|r| r.value)
    }

    #[test]
    fn rows_are_counted_by_hand() {
        let parts = RowParts {
            labels: vec![0, 1, 2, 0, 1],
            classes: 3,
            minority: vec![false, true, true, false, true],
            groups: Some((vec![0, 3, 5, 1, 2], 6)),
        };
        let base = Record::at_step(7).epoch(0.5).of("muon").split("test");
        let records = parts.accuracies(&[Some(0), Some(1), Some(0), None, Some(0)], &base);
        assert_eq!(value(&records, "accuracy", "all"), Some(0.4));
        assert_eq!(value(&records, "accuracy", "majority"), Some(0.5));
        assert_eq!(value(&records, "accuracy", "minority"), Some(1.0 / 3.0));
        assert_eq!(value(&records, "accuracy", "class-0"), Some(0.5));
        assert_eq!(value(&records, "accuracy", "worst-class"), Some(0.0));
        assert_eq!(value(&records, "accuracy", "group-3"), Some(1.0));
        assert_eq!(value(&records, "accuracy", "group-4"), None, "nobody is there");
        assert_eq!(value(&records, "accuracy", "worst-group"), Some(0.0));
        assert!(records.iter().all(|r| r.step == 7 && r.epoch == Some(0.5) && r.optimizer == "muon" && r.split == "test"));
    }

    #[test]
    fn many_groups_are_two_halves() {
        let (labels, groups) = (vec![0, 0, 0], Some((vec![0, 40, 99], 100)));
        let parts = RowParts { labels, classes: 10, minority: vec![false, true, true], groups };
        let records = parts.accuracies(&[Some(0), Some(0), Some(1)], &Record::at_step(0));
        assert_eq!(value(&records, "accuracy", "worst-group"), Some(0.5));
        assert!(!records.iter().any(|r| r.group.starts_with("group-")));
    }

    #[test]
    fn tokens_are_counted_by_hand() {
        let mut bin = Tokens::default();
        bin.add(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 0);
        bin.add(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 1);
        bin.add(&[0.0, 5.0, 2.0, 3.0, 4.0, 5.0], 1);
        bin.add(&[0.0, 5.0, 2.0, 3.0, 4.0, f32::NAN], 1);
        assert_eq!((bin.count, bin.top1, bin.top5), (4, 1, 2));
        let records = token_records(&[Tokens::default(), Tokens { loss: 2.0, ..bin }], &Record::at_step(0));
        assert_eq!(value(&records, "top5", "bin-1"), Some(0.5));
        assert_eq!(value(&records, "loss", "all"), Some(0.5));
        assert_eq!(value(&records, "loss", "bin-0"), None);
    }

    #[test]
    fn an_empty_part_has_no_accuracy_and_nan_is_wrong() {
        assert_eq!(Tally::default().accuracy(), None);
        assert_eq!(argmax(&[f32::NAN, 1.0]), None);
        assert_eq!(argmax(&[1.0, 1.0]), Some(0));
    }

    #[test]
    fn probabilities_add_up() {
        let mut row = [1000.0, 1001.0, 999.0];
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((f64::from(row[1]) - 1.0 / (1.0 + (-1f64).exp() + (-2f64).exp())).abs() < 1e-6);
        assert!((cross_entropy(&[1000.0, 1001.0, 999.0], 1) + f64::from(row[1]).ln()).abs() < 1e-6);
    }
}
