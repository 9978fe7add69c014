//! Losses along the paths of the three rules, measured on rows.

use isorate_data::{ClassLoss, LabelledFeatures, class_losses};
use isorate_theory::{LabelledMoments, LossRow, Plan, Prediction, Rule, Window, follow, largest_error};

use super::report::{EqualLoss, GapReport};
use crate::Error;

/// Times of a predicted curve.
const POINTS: usize = 160;

/// By number of steps, then by class.
pub(super) type Path = Vec<Vec<ClassLoss>>;

/// The paths of the three rules, measured on one set of rows.
pub(super) struct Part {
    pub(super) gd: Path,
    pub(super) ngd: Path,
    pub(super) specgd: Path,
    /// The classes that have rows.
    present: Vec<usize>,
}

impl Part {
    fn path(&self, rule: &str) -> &Path {
        match rule {
            "gd" => &self.gd,
            "ngd" => &self.ngd,
            _ => &self.specgd,
        }
    }

    /// The mean over all classes.
    fn balanced(&self, losses: &[ClassLoss]) -> f64 {
        self.present.iter().map(|&class| losses[class].loss).sum::<f64>() / self.present.len() as f64
    }
}

/// The mean over the minority classes.
pub(super) fn minority(losses: &[ClassLoss], classes: &[usize]) -> f64 {
    classes.iter().map(|&class| losses[class].loss).sum::<f64>() / classes.len() as f64
}

/// Losses of the three rules after the same numbers of steps.
pub(super) struct Curves {
    pub(super) steps: Vec<usize>,
    pub(super) train: Part,
    pub(super) held_out: Option<Part>,
    /// The prediction at the same times.
    predicted: Vec<LossRow>,
    pub(super) minority: Vec<usize>,
}

impl Curves {
    pub(super) fn measure(
        data: &LabelledMoments,
        prediction: &Prediction,
        plan: &Plan,
        train: &LabelledFeatures<'_, f64>,
        held_out: Option<&LabelledFeatures<'_, f64>>,
    ) -> Result<Self, Error> {
        let mut paths = Vec::new();
        let mut held_paths = Vec::new();
        for rule in [Rule::Gd, Rule::Ngd, Rule::SpecGd] {
            let (mut path, mut held_path) = (Path::new(), Path::new());
            follow::<Error>(data.moments(), rule, plan.eta, &plan.steps, |_, weights| {
                path.push(class_losses(train, weights)?);
                if let Some(rows) = held_out {
                    held_path.push(class_losses(rows, weights)?);
                }
                Ok(())
            })?;
            paths.push(path);
            held_paths.push(held_path);
        }
        let part = |mut paths: Vec<Path>, rows: &LabelledFeatures<'_, f64>| {
            let mut take = || paths.pop().unwrap_or_default();
            let (specgd, ngd, gd) = (take(), take(), take());
            let present =
                (0..rows.classes()).filter(|&class| rows.labels().iter().any(|&label| label as usize == class)).collect();
            Part { gd, ngd, specgd, present }
        };
        Ok(Self {
            steps: plan.steps.clone(),
            train: part(paths, train),
            held_out: held_out.map(|rows| part(held_paths, rows)),
            predicted: prediction.at(&plan.times())?,
            minority: data.minority(),
        })
    }
}

/// A predicted gap at one time.
fn predicted_gap(row: &LossRow, rule: &str, loss: &str, minority: &[usize]) -> f64 {
    let path = if rule == "gd" { &row.gd } else { &row.ngd };
    let gap = |class: usize| path[class] - row.specgd[class];
    match loss {
        "minority" => minority.iter().map(|&class| gap(class)).sum::<f64>() / minority.len() as f64,
        _ => (0..path.len()).map(gap).sum::<f64>() / path.len() as f64,
    }
}

/// The four gap curves.
pub(super) fn gaps(curves: &Curves, prediction: &Prediction, plan: &Plan) -> Result<Vec<GapReport>, Error> {
    let times = plan.times();
    let end = times.last().copied().unwrap_or(0.0);
    let dense: Vec<f64> = (0..=POINTS).map(|i| end * (i as f64 / POINTS as f64).powi(2)).collect();
    let rows = prediction.at(&dense)?;
    let first = prediction.first_saturation();
    let mut reports = Vec::new();
    for (loss, rule) in [("minority", "gd"), ("minority", "ngd"), ("balanced", "gd"), ("balanced", "ngd")] {
        let predicted_curve: Vec<(f64, f64)> =
            rows.iter().map(|row| (row.t, predicted_gap(row, rule, loss, &curves.minority))).collect();
        let measured = |part: &Part| -> Vec<(f64, f64)> {
            let of = |losses: &[ClassLoss]| match loss {
                "minority" => minority(losses, &curves.minority),
                _ => part.balanced(losses),
            };
            let pairs = part.path(rule).iter().zip(&part.specgd);
            times.iter().zip(pairs).map(|(&t, (ours, spec))| (t, of(ours) - of(spec))).collect()
        };
        let measured_curve = measured(&curves.train);
        let held_out_curve = curves.held_out.as_ref().map(measured).unwrap_or_default();
        let same_times: Vec<(f64, f64)> =
            curves.predicted.iter().map(|row| (row.t, predicted_gap(row, rule, loss, &curves.minority))).collect();
        let window = Window::of(&measured_curve);
        let until = window.and_then(|window| window.end).unwrap_or(end);
        reports.push(GapReport {
            loss,
            rule,
            predicted: Window::of(&predicted_curve),
            measured: window,
            held_out: Window::of(&held_out_curve),
            early_error: largest_error(&same_times, &measured_curve, first),
            window_error: largest_error(&same_times, &measured_curve, until),
            predicted_curve,
            measured_curve,
            held_out_curve,
        });
    }
    Ok(reports)
}

/// The largest lead over normalized gradient descent at equal training loss: NGD follows the path of GD, so this holds whatever their
/// step sizes.
pub(super) fn equal_loss(curves: &Curves, data: &LabelledMoments, plan: &Plan) -> Option<EqualLoss> {
    let part = &curves.train;
    let training = |losses: &[ClassLoss]| losses.iter().zip(data.priors()).map(|(l, p)| p * l.loss).sum::<f64>();
    let ngd: Vec<(f64, f64)> = part.ngd.iter().map(|losses| (training(losses), minority(losses, &curves.minority))).collect();
    let mut best: Option<EqualLoss> = None;
    for (index, losses) in part.specgd.iter().enumerate().skip(1) {
        let (loss, rare) = (training(losses), minority(losses, &curves.minority));
        let Some(after) = ngd.iter().position(|(training, _)| *training <= loss).filter(|&after| after > 0) else { continue };
        let ((l0, m0), (l1, m1)) = (ngd[after - 1], ngd[after]);
        let part = (l0 - loss) / (l0 - l1);
        let lead = m0 + part * (m1 - m0) - rare;
        if best.as_ref().is_none_or(|best| lead > best.lead) {
            let (s0, s1) = (plan.steps[after - 1] as f64, plan.steps[after] as f64);
            let ngd_step = s0 + part * (s1 - s0);
            best = Some(EqualLoss { lead, training_loss: loss, ngd_step, specgd_step: plan.steps[index] });
        }
    }
    best
}
