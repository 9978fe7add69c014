//! Decoded accuracy: what the features of the last layer hold, whatever the last layer makes of them.

use candle_core::Device;
use isorate_results::Record;

use crate::Error;
use crate::inputs::Inputs;
use crate::logistic::LogisticRegression;
use crate::network::Network;
use crate::sets::{HeldOut, Parts};

/// The penalty of the regression relative to the mean loss, times the number of rows: scikit-learn's C = 1.
const RIDGE: f64 = 1.0;

/// Metric `accuracy` on the split `decoded`: that of a logistic regression, fitted on the features of the last layer of group-balanced
/// rows, on the rows of `test` (deep feature reweighting; Kirichenko et al. 2023, arXiv 2204.02937). Nothing where features are
/// not finite.
pub(crate) fn decoded(
    network: &Network,
    balanced: &Inputs,
    test: &HeldOut,
    device: &Device,
    base: &Record,
) -> Result<Vec<Record>, Error> {
    let Parts::Rows(parts) = &test.parts else { return Ok(Vec::new()) };
    let (Some((fitted, labels, dim)), Some((tested, _, _))) =
        (features(network, balanced, device)?, features(network, &test.inputs, device)?)
    else {
        return Ok(Vec::new());
    };
    if !fitted.iter().chain(&tested).all(|value| value.is_finite()) {
        return Ok(Vec::new());
    }
    let regression = LogisticRegression::fit(&fitted, dim, &labels, parts.classes, RIDGE)?;
    let predicted: Vec<Option<usize>> = regression.predict(&tested).into_iter().map(|class| Some(class as usize)).collect();
    Ok(parts.accuracies(&predicted, &base.clone().split("decoded")))
}

/// The features of all rows, row after row, with the labels and the number of features; none if the network has none.
#[allow(clippy::type_complexity, reason = "three parts of one thing that lives for a line")]
fn features(network: &Network, inputs: &Inputs, device: &Device) -> Result<Option<(Vec<f64>, Vec<u32>, usize)>, Error> {
    let rows: Vec<usize> = (0..inputs.len()).collect();
    let (mut values, mut labels, mut dim) = (Vec::new(), Vec::new(), 0);
    for rows in rows.chunks(inputs.measured_at_once()) {
        let (images, targets) = inputs.batch(rows, device)?;
        let Some(features) = network.features(&images)? else { return Ok(None) };
        dim = features.dim(1)?;
        values.extend(features.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from));
        labels.extend(targets.to_vec1::<u32>()?);
    }
    Ok(Some((values, labels, dim)))
}
